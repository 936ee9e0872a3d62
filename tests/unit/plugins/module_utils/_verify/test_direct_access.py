# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workloads that answer past the gateway, and those that do not."""

from __future__ import annotations

import socket
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.direct_access import try_all
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import read_workloads
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.workload import Workload

DEFAULTS = {
    "identity_headers": {},
    "identity_path": "headers",
    "identity_source": "headers",
    "identity_answer_prefix": "",
    "send_methods": ["GET", "HEAD", "OPTIONS"],
}


def tried(**workload: t.Any) -> list[tuple[str, str]]:
    given = [{"name": "shop", "hosts": ["a.test", "b.test"], **workload}]
    found = try_all(read_workloads(given, certificates={}, defaults=DEFAULTS), timeout=2)
    return [(case.outcome.value, case.observed) for case in found]


def test_an_application_on_a_port_is_warned_of_once(workload: Workload) -> None:
    ((outcome, text),) = tried(upstream=f"127.0.0.1:{workload.port}")

    assert outcome == "warning"
    assert text.startswith("HTTP 200 without the gateway: every user and program")
    assert "Unix socket" in text


def test_an_address_that_was_to_be_silent_and_answers_fails(workload: Workload) -> None:
    found = tried(direct_addresses=[f"127.0.0.1:{workload.port}", f"http://127.0.0.1:{free_port()}", "nowhere"])

    assert [outcome for outcome, _text in found] == ["failed", "passed", "failed"]
    assert "HTTP 200 beside the gateway" in found[0][1]
    assert "Connection refused" in found[1][1]
    assert "is no address such as" in found[2][1]


def test_plain_http_to_a_tls_address_is_no_answer(workload: Workload) -> None:
    ((outcome, _text),) = tried(direct_addresses=[f"https://127.0.0.1:{workload.port}"])

    assert outcome == "passed"


@pytest.mark.parametrize(("mode", "directory", "outcome"), [(0o666, 0o755, "warning"), (0o600, 0o755, "passed")])
def test_a_socket_is_judged_by_who_gets_to_it(mode: int, directory: int, outcome: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place, socket.socket(socket.AF_UNIX) as listening:
        Path(place).chmod(directory)
        listening.bind(f"{place}/s")
        Path(f"{place}/s").chmod(mode)
        assert [found for found, _text in tried(upstream=f"unix:{place}/s")] == [outcome]
        Path(place).chmod(0o700)
        assert [found for found, _text in tried(upstream=f"unix:{place}/s")] == ["passed"]


def test_without_any_address_it_says_what_can_be_tried() -> None:
    ((outcome, text),) = tried()

    assert outcome == "skipped"
    assert "direct_addresses" in text


def test_what_cannot_be_looked_at_proves_nothing(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.touch()
    for upstream, said in (
        ("nowhere", "nowhere is no address that can be tried"),
        (f"unix:{plain}", f"{plain} is no socket"),
        (f"unix:{tmp_path}/gone", f"{tmp_path}/gone cannot be read: No such file or directory"),
    ):
        assert tried(upstream=upstream) == [("skipped", said)]
