# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the server's own CA is trusted for clients (MV-22): what decides it, and what is said when nothing does."""

from __future__ import annotations

import typing as t

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.pki import Pki, make_ca, name
from ansible_collections.kyma.mtls.tests.servers.tls_server import TlsServer, answer, server_context
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

CHECKS = ["MV-22", "MV-23"]


@pytest.mark.parametrize(
    ("usage", "days", "kind", "alert"),
    [
        (ExtendedKeyUsageOID.SERVER_AUTH, (-1, 30), "ec", "alert 43"),
        (None, (-1, 30), "ec", "alert 51"),  # as cert-manager issues by default
        (None, (-1, 30), "rsa", "alert 51"),
        (ExtendedKeyUsageOID.SERVER_AUTH, (-1, 30), "p384", "alert 43"),
        (None, (-3, -1), "ec", "alert 45"),
    ],
)
def test_trusted_server_ca_shows_by_what_refuses_its_own_certificate(
    usage: t.Any, days: tuple[float, float], kind: str, alert: str, pki: Pki, verify_address: Verify
) -> None:
    holder = pki.server_certificate(f"own-{kind}", usage=usage, days=days, kind=kind)
    context = server_context(pki, holder=holder)
    for trusted in (False, True):
        if trusted:
            context.load_verify_locations(pki.server_ca.crt)
        with TlsServer(context, lambda client: answer(client.echo())) as server:
            report = verify_address(server.address, checks=CHECKS, client_ca_cert=None, client_ca_key=None)
        cases = {case["name"]: case for check in report.checks for case in check["cases"] if check["id"] == "MV-22"}
        for version in ("TLSv1.2", "TLSv1.3"):
            case = cases[f"the server's own CA, {version}"]
            assert case["outcome"] == ("failed" if trusted else "passed"), case
            assert (alert if trusted else "alert 48") in case["observed"]


def test_intermediate_of_the_server_that_is_trusted_is_found_with_its_key(pki: Pki, verify_address: Verify) -> None:
    middle = make_ca(name(common_name="Test Server Intermediate"), issuer=pki.server_ca)
    middle.save(pki.directory, "middle")
    holder = pki.server_certificate("below", issuer=middle, chain=(middle.certificate,))
    for trusted, key in ((pki.client_ca, "middle"), (pki.server_ca, "middle"), (pki.server_ca, "root")):
        context = server_context(pki, holder=holder)
        context.load_verify_locations(trusted.crt)
        with TlsServer(context, lambda client: answer(client.echo())) as server:
            report = verify_address(
                server.address,
                checks=CHECKS,
                server_ca_key=middle.key_file if key == "middle" else pki.server_ca.key_file,
            )
        expected = "passed" if trusted is pki.client_ca else "failed"
        assert outcomes(report)["MV-22"] == expected, cases_text(report, "passed", "failed", "skipped")
        assert "a client of the server's CA, TLSv1.3" in cases_text(report, expected)


def test_server_that_judges_the_signature_first_is_not_decided_and_says_what_would(
    pki: Pki, verify_address: Verify, workload: Workload, tmp_path: Path
) -> None:
    """nginx lets every chain through the handshake, and answers HTTP 400 afterwards."""
    if real.find("nginx") is None:
        pytest.skip("nginx is not installed")
    server = real.start("nginx", pki, tmp_path, workload.port)
    try:
        report = verify_address(server.address, checks=CHECKS)
        with_key = verify_address(server.address, checks=CHECKS, server_ca_key=pki.server_ca.key_file)
        elsewhere = verify_address(server.address, checks=CHECKS, server_ca_key=str(tmp_path / "no.key"))
        foreign = verify_address(server.address, checks=CHECKS, server_ca_key=pki.client_ca.key_file)
    finally:
        server.stop()
    for undecided in (report, elsewhere):
        assert undecided.verdict == "passed"
        assert outcomes(undecided)["MV-22"] == "skipped"
        assert "whether the server's own CA is trusted" in cases_text(undecided, "skipped")
        assert "give server_ca_key" in cases_text(undecided, "skipped")
    assert outcomes(with_key)["MV-22"] == "passed"
    assert "belongs to no certificate of the served chain" in cases_text(foreign, "skipped")
    assert outcomes(foreign)["MV-22"] == "skipped"


def test_ca_in_common_by_intention_is_warned_of_and_not_tried(pki: Pki, verify_address: Verify) -> None:
    context = server_context(pki)
    context.load_verify_locations(pki.server_ca.crt)
    client = pki.client_certificate("of-the-server-ca", issuer=pki.server_ca)
    with TlsServer(context, lambda client: answer(client.echo())) as server:
        report = verify_address(
            server.address,
            checks=CHECKS,
            client_cert=client.crt,
            client_key=client.key_file,
            client_ca_cert=[pki.server_ca.crt, pki.client_ca.crt],
            client_ca_key=pki.server_ca.key_file,
        )
    assert report.verdict == "passed", cases_text(report, "failed")
    assert outcomes(report)["MV-22"] == "warning"
    assert "clients and server have the same CA" in cases_text(report, "warning")
