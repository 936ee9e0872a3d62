# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Port mappings and node filters, as k3d reads them."""

from __future__ import annotations

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.ports import (
    Mapping,
    read_bindings,
    read_entry,
    read_filter,
    read_ports,
    split_flag,
)


def mappings(text: str) -> list[Mapping]:
    return list(read_ports([text])[0].mappings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [Mapping(0, "", 80, "tcp")]),
        ("8080:80", [Mapping(8080, "", 80, "tcp")]),
        ("127.0.0.1:8080:80/udp", [Mapping(8080, "127.0.0.1", 80, "udp")]),
        ("127.0.0.1::80", [Mapping(0, "127.0.0.1", 80, "tcp")]),
        ("[::1]:8080:80", [Mapping(8080, "::1", 80, "tcp")]),
        ("8080-8081:80-81", [Mapping(8080, "", 80, "tcp"), Mapping(8081, "", 81, "tcp")]),
    ],
)
def test_mappings_are_read(text, expected):
    assert mappings(text) == expected


@pytest.mark.parametrize("text", ["http:80", "8080:80/icmp", "1:2:3:4", "80 80", "0:80", "8080:70000", "90-80:90-80"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(MtlsError, match="ports has the port"):
        mappings(text)


def test_ranges_of_different_lengths_are_refused():
    with pytest.raises(MtlsError, match="not of the same length"):
        mappings("8080-8082:80-81")


@pytest.mark.parametrize("entry", [4880, 80.5, None, ["80:80"]])
def test_what_is_no_text_is_refused_with_the_reason(entry):
    with pytest.raises(MtlsError, match="YAML reads 80:80 as a number"):
        read_ports([entry])


@pytest.mark.parametrize("entry", [{}, {"port": 80}, {"port": "80", "nodefilters": []}])
def test_mappings_of_another_shape_are_refused(entry):
    with pytest.raises(MtlsError, match="A mapping must have 'port'"):
        read_ports([entry])


def test_both_ways_of_writing_mean_the_same():
    assert (
        read_ports(["8080:80@server:0;agent:1"])
        == read_ports([{"port": "8080:80", "nodeFilters": ["server:0", "agent:1"]}])
        != read_ports([{"port": "8080:80"}])
    )


def test_an_at_sign_that_is_escaped_belongs_to_the_value():
    assert split_flag(r"--label=me\@home@server:*", source="k3s_args") == ("--label=me@home", ("server:*",))
    assert read_entry("--a", key="arg", source="k3s_args") == ("--a", ())


@pytest.mark.parametrize("text", ["--a@b@c", "--a@", "@server:*", ""])
def test_what_k3d_could_not_split_is_refused(text):
    with pytest.raises(MtlsError, match="Write VALUE@NODEFILTER"):
        split_flag(text, source="k3s_args")


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("all", {"server0", "server1", "agent0", "agent1", "agent2"}),
        ("server", {"server0", "server1"}),
        ("servers:*", {"server0", "server1"}),
        ("agent:0,2", {"agent0", "agent2"}),
        ("agents:1-", {"agent1", "agent2"}),
        ("agents:-1", {"agent0", "agent1"}),
        ("agent:1-1:direct", {"agent1"}),
        ("loadbalancer", set()),
    ],
)
def test_filters_select_nodes(text, selected):
    nodes = [("server", 0), ("server", 1), ("agent", 0), ("agent", 1), ("agent", 2)]
    found = read_filter(text, source="ports")
    assert {f"{role}{index}" for role, index in nodes if found.selects(role, index)} == selected


@pytest.mark.parametrize("text", ["master", "server:x", "server:", "loadbalancers", "agent:0:Direct"])
def test_filters_that_k3d_does_not_know_are_refused(text):
    with pytest.raises(MtlsError, match="which k3d does not know"):
        read_filter(text, source="ports")


@pytest.mark.parametrize(
    ("filters", "direct"),
    [
        ("server:0:direct", True),
        ("server:0:proxy", False),
        ("loadbalancer", False),
        ("loadbalancer;server:0:direct", False),
    ],
)
def test_only_direct_mappings_pass_the_load_balancer(filters, direct):
    assert (read_ports([f"80:80@{filters}"])[0].direct is not None) is direct


def test_requests_become_flags_of_k3d():
    assert read_ports([{"port": "80:80", "nodeFilters": ["server:0", "agent:0"]}])[0].flag == "80:80@server:0;agent:0"
    assert read_ports(["80:80"])[0].flag == "80:80"


def test_bindings_of_docker_are_read():
    found = read_bindings(
        {
            "443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18443"}],
            "6443": [{"HostIp": "0.0.0.0", "HostPort": "16550"}],  # noqa: S104  (a fact to be read)
            "53/udp": [{"HostIp": "", "HostPort": ""}],
            "80/tcp": None,
            "odd": [{"HostIp": "", "HostPort": "1"}],
        }
    )
    assert sorted(map(str, found)) == ["127.0.0.1:18443:443", "16550:6443", "53/udp"]
    assert read_bindings(None) == frozenset()
