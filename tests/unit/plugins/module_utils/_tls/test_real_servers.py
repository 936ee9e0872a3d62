# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers, sound and misconfigured: each gets the verdict that it deserves, for the right check."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.pki import HOST, Pki, make_ca, make_leaf, name
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._tls.conftest import outcomes, told

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._tls.conftest import Verify

    Start = Callable[[str, real.Setting], real.Running]

# GnuTLS' server does not look at extended key usages: a sound configuration of it still deserves this failure.
OWN_FAULTS = {"gnutls": {"MV-28"}}
# Every fault with every server is much of the same for one more Python: there, two kinds do.
FAULTY = os.environ.get("KYMA_MTLS_SERVERS", "").split() or list(real.KINDS)


@pytest.fixture
def start(pki: Pki, workload: Workload, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a real server, or skips when it is not installed."""
    started: list[real.Running] = []

    def run(kind: str, setting: real.Setting) -> real.Running:
        program = real.KINDS[kind].program
        if real.find(program) is None:
            pytest.skip(f"{program} is not installed")
        started.append(real.start(kind, pki, tmp_path / kind, workload.port, setting))
        return started[-1]

    yield run
    for one in started:
        one.stop()


@pytest.mark.parametrize("kind", real.KINDS)
def test_sound_server_passes(kind: str, start: Start, verify_address: Verify, pki: Pki) -> None:
    server = start(kind, real.Setting(crl=pki.crl))
    report = verify_address(
        server.address,
        identity_headers=real.KINDS[kind].headers,
        revoked_cert=pki.revoked.crt,
        revoked_key=pki.revoked.key_file,
    )
    found = {check for check, outcome in outcomes(report).items() if outcome in {"failed", "outage"}}
    assert found == OWN_FAULTS.get(kind, set()), told(report, "failed", "outage")
    assert report.verdict == ("failed" if kind in OWN_FAULTS else "passed")
    assert outcomes(report)["MV-29"] == "passed"
    assert outcomes(report)["MV-35"] == "passed"


def _faulty(pki: Pki, fault: str) -> real.Setting:
    """Return the setting with ``fault``."""
    if fault in {"off", "optional", "no_ca"}:
        return real.Setting(client_auth=fault)
    if fault == "wrong client CA":
        return real.Setting(client_ca=make_ca(name(common_name="Some Other CA")).save(pki.directory, "other-ca").crt)
    if fault == "client CA bundle too wide":
        others = [make_ca(name(common_name=f"Public CA {number}")).certificate for number in range(2)]
        bundle = pki.directory / "wide.crt"
        certificates = [pki.client_ca.certificate, *others]
        bundle.write_bytes(b"".join(one.public_bytes(real.PEM) for one in certificates))
        return real.Setting(client_ca=str(bundle))
    if fault == "expired server certificate":
        holder = pki.server_certificate("expired", days=(-3, -1))
    elif fault == "missing intermediate":
        intermediate = make_ca(name(common_name="Test Server Intermediate"), issuer=pki.server_ca)
        holder = pki.server_certificate("orphan", issuer=intermediate)
    elif fault == "root only":
        intermediate = make_ca(name(common_name="Test Server Intermediate"), issuer=pki.server_ca)
        holder = pki.server_certificate("root-only", issuer=intermediate, chain=(pki.server_ca.certificate,))
    elif fault == "the root itself":
        holder = pki.server_ca
    else:
        return real.Setting(old_tls=fault == "TLS 1.0", pass_headers=fault == "headers passed through")
    return real.Setting(certificate=holder.crt, key=holder.key_file)


FAULTS = {
    "off": {"MV-20", "MV-24"},
    "optional": {"MV-20", "MV-24"},
    "no_ca": {"MV-25", "MV-26"},
    "wrong client CA": {"MV-23"},
    "client CA bundle too wide": {"MV-21"},
    "expired server certificate": {"MV-15", "MV-13"},
    "missing intermediate": {"MV-13"},
    "root only": {"MV-13"},
    "TLS 1.0": {"MV-01"},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", FAULTY)
def test_misconfigured_server_fails_for_the_right_check(
    kind: str, fault: str, start: Start, verify_address: Verify, pki: Pki
) -> None:
    server = start(kind, _faulty(pki, fault))
    report = verify_address(server.address, identity_headers=real.KINDS[kind].headers)
    failed = {check for check, outcome in outcomes(report).items() if outcome == "failed"}
    assert report.verdict == "failed", told(report, "failed", "outage", "warning")
    assert failed >= FAULTS[fault], told(report, "failed", "outage", "warning")


# Envoy and GnuTLS refuse to serve with a CA's certificate, HAProxy to serve a name that it does not have.
@pytest.mark.parametrize("kind", ["nginx", "apache", "stunnel", "openssl"])
def test_root_as_the_server_certificate_is_found(kind: str, start: Start, verify_address: Verify, pki: Pki) -> None:
    server = start(kind, _faulty(pki, "the root itself"))
    report = verify_address(server.address)
    assert report.verdict == "failed"
    assert outcomes(report)["MV-10"] == outcomes(report)["MV-11"] == "failed", told(report, "failed", "outage")


@pytest.mark.parametrize("kind", [kind for kind, facts in real.KINDS.items() if facts.headers])
def test_header_passed_through_from_the_client_is_found(
    kind: str, start: Start, verify_address: Verify, pki: Pki
) -> None:
    server = start(kind, _faulty(pki, "headers passed through"))
    report = verify_address(server.address, identity_headers=real.KINDS[kind].headers)
    assert report.verdict == "failed"
    assert outcomes(report)["MV-41"] == "failed", told(report, "passed", "skipped")


def test_every_listed_client_is_tried_and_a_refused_one_may_be_expected(
    start: Start, verify_address: Verify, pki: Pki
) -> None:
    server = start("envoy", real.Setting())
    stranger = make_leaf(make_ca(name(common_name="Elsewhere")), subject=name(common_name="stranger"))
    stranger.save(pki.directory, "stranger")
    alice = pki.client_certificate("alice", sans=[x509.UniformResourceIdentifier("spiffe://test/alice")])
    listed = [
        {"name": "alice", "cert": alice.crt, "key": alice.key_file, "key_passphrase": None, "expect": "accepted"},
        {
            "name": "stranger",
            "cert": stranger.crt,
            "key": stranger.key_file,
            "key_passphrase": None,
            "expect": "refused",
        },
    ]
    report = verify_address(server.address, clients=listed, identity_headers=real.KINDS["envoy"].headers)
    assert report.verdict == "passed", told(report, "failed", "outage")
    assert outcomes(report)["MV-33"] == "passed"
    swapped = [{**listed[0], "expect": "refused"}, {**listed[1], "expect": "accepted"}]
    report = verify_address(server.address, clients=swapped)
    assert report.verdict == "failed"
    assert {check for check, outcome in outcomes(report).items() if outcome == "failed"} == {"MV-23", "MV-33"}


def test_server_without_a_name_of_its_own_is_warned_about(start: Start, verify_address: Verify) -> None:
    server = start("envoy", real.Setting(any_name=True))
    report = verify_address(server.address, checks=["MV-23", "MV-50", "MV-51"])
    assert report.verdict == "passed"
    assert outcomes(report)["MV-50"] == outcomes(report)["MV-51"] == "warning"
    assert f"https://{HOST}/headers" == report.target["url"]


@pytest.mark.parametrize(("only", "spoken", "outcome"), [("1_2", "TLSv1.2", "warning"), ("1_3", "TLSv1.3", "passed")])
def test_one_tls_version_is_enough_for_every_refusal(
    only: str, spoken: str, outcome: str, start: Start, verify_address: Verify
) -> None:
    server = start("openssl", real.Setting(only=only))
    report = verify_address(server.address)
    assert report.verdict == "passed", told(report, "failed", "outage")
    assert report.server["tls_versions"] == [spoken]
    assert outcomes(report)["MV-01"] == outcome
    assert outcomes(report)["MV-24"] == outcomes(report)["MV-35"] == "passed"


def test_plain_tutorial_certificates_are_judged_not_choked_on(
    start: Start, verify_address: Verify, pki: Pki, tmp_path: Path
) -> None:
    """X.509 v1, serial number 0, no SAN: what openssl makes when nobody tells it better."""
    openssl = real.find("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    subject, request = "/CN=*.mtls.test/O=Old", str(tmp_path / "old.csr")
    certificate, key = str(tmp_path / "old.crt"), str(tmp_path / "old.key")
    make = [openssl, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", key, "-out", request]
    sign = [openssl, "x509", "-req", "-in", request, "-set_serial", "0", "-days", "30", "-out", certificate]
    authority = ["-CA", pki.server_ca.crt, "-CAkey", pki.server_ca.key_file]
    for command in (make, [*sign, *authority]):
        subprocess.run(command, check=True, capture_output=True)
    server = start("envoy", real.Setting(certificate=certificate, key=key))
    report = verify_address(server.address)
    assert report.verdict == "failed"
    assert outcomes(report)["MV-10"] == outcomes(report)["MV-11"] == "failed"
    assert "v1" in told(report, "failed")
    assert "serial number 0" in told(report, "failed")
    assert outcomes(report)["MV-24"] == "passed"
