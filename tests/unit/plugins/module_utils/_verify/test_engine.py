# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine against a real Envoy: every refusal is read, also in TLS 1.3, also under load."""

from __future__ import annotations

import collections
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.hostile import Hostile
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import (
    cases_text,
    outcomes,
    parameters,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

REFUSALS = 1000


@pytest.fixture(scope="module")
def gateway(pki: Pki, workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[real.Running]:
    if real.find("envoy") is None:
        pytest.skip("envoy is not installed")
    running = real.start("envoy", pki, tmp_path_factory.mktemp("envoy"), workload.port, real.Setting(crl=pki.crl))
    yield running
    running.stop()


def test_a_thousand_refusals_under_load_are_a_thousand_right_alerts(pki: Pki, gateway: real.Running) -> None:
    given = read_options(
        parameters(pki, gateway.address, revoked_cert=pki.revoked.crt, revoked_key=pki.revoked.key_file, timeout=60.0)
    )
    inspection, throw_away = Inspection(given), ThrowAwayIdentities(given.client, given.authority, now=given.now)
    strangers = [
        (None, 116),
        (throw_away.of_other_ca(), 48),
        (throw_away.of_impostor_ca(), 51),
        (throw_away.expired(), 45),
        (throw_away.not_yet_valid(), 45),
        (throw_away.server_only(), 43),
        (given.revoked[0].identity, 44),
        (throw_away.with_stolen_certificate(), 51),
    ]
    over = threading.Event()

    def load() -> int:
        served = 0
        while not over.is_set():
            served += inspection.attempt(given.client).kind is Kind.ANSWERED
        return served

    def refuse(number: int) -> tuple[int | None, int]:
        identity, expected = strangers[number % len(strangers)]
        return inspection.attempt(identity, version="TLSv1.3").alert, expected

    with ThreadPoolExecutor(8) as pool:
        loads = [pool.submit(load) for _client in range(3)]
        try:
            found = collections.Counter(pool.map(refuse, range(REFUSALS)))
        finally:
            over.set()
        assert all(one.result() > 0 for one in loads)
    assert sum(found.values()) == REFUSALS
    assert {pair for pair in found if pair[0] != pair[1]} == set()


def test_resumption_keeps_the_identity(gateway: real.Running, verify_address: Verify) -> None:
    report = verify_address(gateway.address, checks=["MV-05"], identity_headers=real.KINDS["envoy"].headers)
    assert outcomes(report) == {"MV-05": "passed"}
    assert "resumed, with the same identity" in cases_text(report, "passed")


def test_evidence_and_facts_are_complete(gateway: real.Running, verify_address: Verify) -> None:
    report = verify_address(gateway.address)
    check = next(one for one in report.checks if one["id"] == "MV-24")
    case = next(one for one in check["cases"] if "TLSv1.3" in one["name"])
    evidence = case["evidence"]
    assert evidence["alert_code"] == 116
    assert evidence["alert_name"] == "certificate_required"
    assert evidence["tls_version"] == "TLSv1.3"
    assert evidence["group"] == "X25519"
    assert evidence["duration_ms"] > 0
    assert report.server["sans"] == ["DNS:*.mtls.test"]
    assert report.server["tls_versions"] == ["TLSv1.2", "TLSv1.3"]
    assert "TLS_AES_128_GCM_SHA256" in report.server["suites"]["TLSv1.3"]
    assert report.server["chain"][0]["days_left"] == report.server["days_left"] == 364
    assert report.client_cas == ["CN=Test Client CA,O=Test Org"]


def test_without_the_message_callback_the_verdict_is_the_same_and_the_rest_says_why(
    gateway: real.Running, verify_address: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import handshake_messages  # noqa: PLC0415

    monkeypatch.setattr(handshake_messages, "observable", lambda: False)
    report = verify_address(gateway.address)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert outcomes(report)["MV-21"] == "skipped"
    assert handshake_messages.UNOBSERVABLE in cases_text(report, "skipped")
    assert outcomes(report)["MV-24"] == outcomes(report)["MV-10"] == outcomes(report)["MV-11"] == "passed"


def test_expectations_on_the_answer(gateway: real.Running, verify_address: Verify) -> None:
    good = {"headers.host": "httpbin\\.mtls\\.test", 'headers."x-client-ssl-cn"': "O=Test Org,CN=Test Client ?"}
    report = verify_address(gateway.address, checks=["MV-23"], expect=good)
    assert report.verdict == "passed", cases_text(report, "failed")
    report = verify_address(gateway.address, checks=["MV-23"], expect={"headers.host": "somewhere else"})
    assert report.verdict == "failed"
    assert "somewhere else" in cases_text(report, "failed")


def test_waiting_lasts_until_the_good_client_gets_in(pki: Pki, verify_address: Verify) -> None:
    server = Hostile(pki, act="reset", stage="request")
    threading.Timer(0.6, lambda: setattr(server, "act", "serve")).start()
    with server:
        report = verify_address(server.address, checks=["MV-23"], wait_for=30.0)
    assert report.verdict == "passed", cases_text(report, "outage", "failed")
    assert "reset" in report.waiting[0]
    assert "accepted: HTTP 200" in report.waiting[-1]


def test_tls_1_3_as_the_minimum_fails_a_server_with_tls_1_2(gateway: real.Running, verify_address: Verify) -> None:
    report = verify_address(gateway.address, checks=["MV-01"], minimum_tls="1.3")
    assert report.verdict == "failed"
    assert "TLSv1.2: accepted" in cases_text(report, "failed")


def test_an_ip_address_as_the_host(gateway: real.Running, verify_address: Verify) -> None:
    report = verify_address(gateway.address, url=f"https://{gateway.address}/headers", connect_to=None)
    assert report.verdict == "outage"  # this gateway serves by name only, and says nothing
    assert outcomes(report)["MV-24"] == "skipped"


def test_authorities_are_looked_at_when_expiry_fails(pki: Pki, gateway: real.Running) -> None:
    expected = parameters(pki, gateway.address, expiry_failure_days=99_999, checks=["MV-15"], timeout=60.0)
    report = verify.verify(read_options(expected))
    cases = next(one["cases"] for one in report.checks if one["id"] == "MV-15")
    failed = {one["name"] for one in cases if one["outcome"] == "failed"}
    assert {"server", "good client"} < failed
    assert any(name.startswith("CA ") for name in failed)
    assert report.verdict == "failed"
