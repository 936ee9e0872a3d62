# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile servers: whatever they do, nothing passes by accident, nothing hangs, nothing escapes."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import REFUSALS
from ansible_collections.kyma.mtls.tests.servers.hostile import ACTS, STAGES, Hostile
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

TIMEOUT = 0.4
# Before, during and after the matrix: each may meet the timeout once. The rest is for a busy machine.
PATIENCE = 3 * TIMEOUT + 15


def run(verify_address: Verify, address: str, **changes: t.Any) -> Report:
    """Verify with a short timeout, and be sure that it was kept."""
    started = time.monotonic()
    report = verify_address(address, timeout=TIMEOUT, **changes)
    assert time.monotonic() - started < PATIENCE
    return report


def refusals_passed(report: Report) -> set[str]:
    """Return the refusal checks that passed."""
    return {check for check, outcome in outcomes(report).items() if outcome == "passed" and check in REFUSALS}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("act", ACTS)
def test_hostile_to_everyone_is_an_outage(act: str, stage: str, pki: Pki, verify_address: Verify) -> None:
    with Hostile(pki, act=act, stage=stage) as server:
        report = run(verify_address, server.address)
    assert report.verdict == "outage", cases_text(report, "failed", "outage", "warning")
    assert not refusals_passed(report), cases_text(report, "passed")
    assert outcomes(report)["MV-23"] == "outage"


@pytest.mark.parametrize("code", [0, 40, 42, 48, 70, 80, 112, 116, 255])
def test_fatal_alert_to_everyone_never_passes(code: int, pki: Pki, verify_address: Verify) -> None:
    with Hostile(pki, act=f"alert:{code}", stage="hello") as server:
        report = run(verify_address, server.address)
    assert report.verdict in {"failed", "outage"}
    assert not refusals_passed(report), cases_text(report, "passed")


@pytest.mark.parametrize("stage", ["accept", "hello"])
def test_plain_http_to_everyone_never_passes(stage: str, pki: Pki, verify_address: Verify) -> None:
    with Hostile(pki, act="plain", stage=stage) as server:
        report = run(verify_address, server.address)
    assert report.verdict == "outage"
    assert not refusals_passed(report)


# A server that has no stage before the handshake is over cannot tell strangers from good clients.
@pytest.mark.parametrize("stage", ["handshake", "request", "response"])
@pytest.mark.parametrize("act", ACTS)
def test_breaking_down_for_strangers_only_is_an_outage_not_a_refusal(
    act: str, stage: str, pki: Pki, verify_address: Verify
) -> None:
    checks = ["MV-23", "MV-24", "MV-25", "MV-26", "MV-27", "MV-28", "MV-32", "MV-35"]
    with Hostile(pki, act=act, stage=stage, audience="strangers") as server:
        report = run(verify_address, server.address, checks=checks)
    assert report.verdict == "outage", cases_text(report, "failed", "outage", "passed")
    assert not refusals_passed(report), cases_text(report, "passed")


@pytest.mark.parametrize("act", ACTS)
def test_without_client_authentication_and_breaking_down_is_no_refusal(
    act: str, pki: Pki, verify_address: Verify
) -> None:
    with Hostile(pki, act=act, stage="request", audience="strangers", ask=False) as server:
        report = run(verify_address, server.address)
    assert report.verdict in {"outage", "failed"}
    assert not refusals_passed(report), cases_text(report, "passed")


def test_server_that_dies_amid_the_matrix_is_an_outage_and_its_refusals_do_not_count(
    pki: Pki, verify_address: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify  # noqa: PLC0415

    server = Hostile(pki, act="serve")
    original = verify._VerifyRun._matrix

    def and_then_die(self: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        cases = original(self, *args, **kwargs)
        server.__exit__()
        return cases

    monkeypatch.setattr(verify._VerifyRun, "_matrix", and_then_die)
    with server:
        report = run(verify_address, server.address, checks=["MV-23", "MV-25", "MV-26"])
    assert report.verdict == "outage"
    assert not refusals_passed(report)
    assert "no longer got in" in cases_text(report, "outage")


def test_unreachable_server_is_an_outage(verify_address: Verify) -> None:
    report = run(verify_address, f"127.0.0.1:{free_port()}")
    assert report.verdict == "outage"
    assert {outcome for check, outcome in outcomes(report).items() if check != "MV-23"} == {"skipped"}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nshort",
        b"HTTP/9.9 OK\r\n\r\n",
        b"HTTP/1.1 \xff\xfe\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"\r\n" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_broken_http_is_an_outage(answer: bytes, pki: Pki, verify_address: Verify) -> None:
    with Hostile(pki, act="serve", answer=answer) as server:
        report = run(verify_address, server.address)
    assert report.verdict == "outage", cases_text(report, "passed", "failed")
    assert not refusals_passed(report)


def test_broken_workload_is_an_outage(pki: Pki, verify_address: Verify) -> None:
    with Hostile(pki, act="serve", answer=b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as server:
        report = run(verify_address, server.address)
    assert report.verdict == "outage"
    assert "503" in cases_text(report, "outage")


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 421, 495, 496, 497, 503])
def test_an_expected_status_is_no_refusal_when_everybody_gets_it(status: int, pki: Pki, verify_address: Verify) -> None:
    """An API without a token answers 401 to everybody; nobody is told from anybody by that."""
    answer = b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status
    few = {"MV-20", "MV-24", "MV-25", "MV-35", "MV-50", "MV-51"}
    every = few | {"MV-05", "MV-26", "MV-27", "MV-28", "MV-31", "MV-32"}
    # All checks for one status; for the others, some of each rule that judges a status.
    checks = None if status == 401 else ["MV-06", "MV-23", *few]
    with Hostile(pki, act="serve", ask=False, answer=answer) as server:
        report = verify_address(server.address, expect_status=[status], checks=checks)
    assert report.verdict == "failed", cases_text(report, "failed", "outage")
    assert outcomes(report)["MV-23"] == "passed"
    # On the TLS port, this server answers plain HTTP with an alert.
    assert refusals_passed(report) == {"MV-06"}, cases_text(report, "passed")
    failed = {check for check, outcome in outcomes(report).items() if outcome == "failed"}
    assert failed >= (few if checks else every)


@pytest.mark.parametrize(
    "body", [b"[" * 100000, b'{"headers": 5}', b'{"headers": {"X-Id": {"a": [1]}}}', b"\xff", b"null"]
)
def test_odd_json_is_no_crash(body: bytes, pki: Pki, verify_address: Verify) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Hostile(pki, act="serve", answer=head + body) as server:
        # It answers: the short timeout would only be met by a busy machine.
        report = verify_address(
            server.address,
            identity_headers={"X-Id": "%DOWNSTREAM_PEER_SUBJECT%"},
            checks=["MV-23", "MV-24", "MV-40", "MV-41", "MV-42"],
        )
    assert report.verdict == "failed"  # no client authentication
