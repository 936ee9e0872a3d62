# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway of three replicas, of which one is misconfigured: found by its address, or by fresh connections."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.balancer import Balancer
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

    Replicas = t.Callable[..., list[str]]

CHECKS = ["MV-20", "MV-23", "MV-24", "MV-25", "MV-41"]
HEADERS = real.KINDS["envoy"].headers


@pytest.fixture
def replicas(pki: Pki, workload: Workload, tmp_path: Path) -> t.Iterator[Replicas]:
    """Return a function that starts an Envoy on 127.0.0.2, 127.0.0.3 ... for each of the settings."""
    started: list[real.Running] = []

    def start(*settings: dict[str, t.Any]) -> list[str]:
        for number, setting in enumerate(settings, 2):
            place = real.Setting(host=f"127.0.0.{number}", **setting)
            started.append(real.start("envoy", pki, tmp_path / str(number), workload.port, place))
        return [one.address for one in started]

    yield start
    for one in started:
        one.stop()


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ({"client_auth": "off"}, "MV-24"),
        ({"client_auth": "optional"}, "MV-24"),
        ({"client_auth": "no_ca"}, "MV-25"),
        ({"pass_headers": True}, "MV-41"),
    ],
)
def test_one_faulty_replica_is_found_by_its_address(
    fault: dict[str, t.Any], check: str, replicas: Replicas, verify_address: Verify
) -> None:
    sound, faulty = replicas({}, fault)
    report = verify_address(sound, replicas=[sound, faulty], checks=CHECKS, identity_headers=HEADERS)
    assert report.verdict == "failed", cases_text(report, "passed")
    assert outcomes(report)[check] == "failed"
    failed = [case["name"] for one in report.checks for case in one["cases"] if case["outcome"] == "failed"]
    assert failed
    assert all(name.startswith(f"replica {faulty}: ") for name in failed), failed
    assert report.replicas["addresses"] == [sound, faulty]


def test_one_faulty_replica_of_three_is_found_by_fresh_connections(replicas: Replicas, verify_address: Verify) -> None:
    addresses = replicas({}, {}, {"client_auth": "optional"})
    for seed in range(5):
        with Balancer(addresses, seed=seed) as balancer:
            report = verify_address(balancer.address, replica_count=3, replica_confidence=0.9999, checks=["MV-24"])
        assert report.verdict == "failed", cases_text(report, "passed")
        assert "no certificate, TLSv1.3, 23 fresh connections" in cases_text(report, "failed")
        assert report.replicas["connections"] == 23
        assert report.replicas["confidence"] >= 0.9999
        assert "23 fresh connections" in report.replicas["summary"]


def test_replica_that_keeps_the_good_client_out_is_found_by_fresh_connections(
    replicas: Replicas, verify_address: Verify, pki: Pki
) -> None:
    addresses = replicas({}, {"client_ca": pki.server_ca.crt})
    with Balancer(addresses) as balancer:
        report = verify_address(balancer.address, replica_count=2, checks=["MV-23"])
    assert report.verdict in {"failed", "outage"}, cases_text(report, "passed")


def test_sound_replicas_pass_both_ways(replicas: Replicas, verify_address: Verify) -> None:
    addresses = replicas({}, {})
    with Balancer(addresses) as balancer:
        report = verify_address(balancer.address, replica_count=2, checks=CHECKS, identity_headers=HEADERS)
        assert min(balancer.met) > 10
        both = verify_address(balancer.address, replica_count=2, replicas=addresses, checks=CHECKS)
    assert report.verdict == both.verdict == "passed", cases_text(report, "failed", "outage")
    assert report.replicas["connections"] == 7
    assert report.replicas["confidence"] == 0.9922
    assert "connections" not in both.replicas
    assert {"replica" in case["name"] for one in both.checks for case in one["cases"]} == {True, False}


def test_replica_that_does_not_answer_is_an_outage_unless_the_common_address_leads_to_it(
    replicas: Replicas, verify_address: Verify
) -> None:
    [sound] = replicas({})
    silent = f"127.0.0.9:{free_port()}"
    alone = verify_address(sound, replicas=[sound, silent], checks=["MV-24"])
    assert alone.verdict == "outage"
    behind = verify_address(sound, replicas=[sound, silent], replica_count=2, checks=["MV-24"])
    assert behind.verdict == "passed"
    assert (behind.replicas["silent"], behind.replicas["connections"]) == ([silent], 7)
    assert f"not answering from here: {silent}" in behind.replicas["summary"]


def test_one_replica_is_no_plan(replicas: Replicas, verify_address: Verify) -> None:
    [sound] = replicas({})
    assert verify_address(sound, checks=["MV-24"]).replicas == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"replicas": ["127.0.0.2"]}, "replicas has '127.0.0.2', but must be host:port"),
        ({"replica_confidence": 1.0}, "replica_confidence is 1.0, but must be more than 0 and less than 1"),
        ({"replica_count": 0}, "replica_count is 0"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, t.Any], said: str, verify_address: Verify) -> None:
    with pytest.raises(MtlsError, match=said.replace("(", r"\(")):
        verify_address("127.0.0.1:1", **given)
