# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers, sound and misconfigured: each gets the verdict that it deserves, for the right check."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.pki import HOST, Pki, make_ca, make_leaf, name
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify import verdicts
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

    Start = Callable[[str, real.Setting], real.Running]


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


def _setting(pki: Pki, fault: str) -> real.Setting:
    """Return the setting with ``fault``."""
    plain = {"sound": real.Setting(crl=pki.crl), "any name": real.Setting(any_name=True)}
    plain |= {one: real.Setting(client_auth=one) for one in ("off", "optional", "no_ca")}
    if fault in plain:
        return plain[fault]
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


#: The checks that a fault concerns. All others end as without it, so only Envoy is tried with those as well.
CONCERNED = {
    "client CA bundle too wide": range(20, 24),
    "expired server certificate": range(10, 18),
    "missing intermediate": range(10, 18),
    "root only": range(10, 18),
    "TLS 1.0": (1, 2, 3, 4, 34),
    "headers passed through": (23, 40, 41, 42),
    "any name": (23, 50, 51),
}


@pytest.mark.parametrize(("fault", "kind"), verdicts.servers())
def test_every_server_gets_the_verdict_that_it_deserves(
    fault: str, kind: str, start: Start, verify_address: Verify, pki: Pki
) -> None:
    server = start(kind, _setting(pki, fault))
    options: dict[str, t.Any] = {"identity_headers": real.KINDS[kind].headers}
    if fault == "sound":
        options |= {"revoked_cert": pki.revoked.crt, "revoked_key": pki.revoked.key_file}
    verdict, expected = verdicts.expected(fault, kind)
    if kind != "envoy" and fault in CONCERNED:
        options["checks"] = [f"MV-{number:02}" for number in CONCERNED[fault]]
        expected = {check: outcome for check, outcome in expected.items() if check in options["checks"]}
        verdict = "failed" if "failed" in expected.values() else "passed"
    report = verify_address(server.address, **options)
    found = {check: outcome for check, outcome in outcomes(report).items() if outcome != "passed"}
    assert (report.verdict, found) == (verdict, expected), cases_text(report, "failed", "outage", "warning")


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
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
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
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
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
    assert "v1" in cases_text(report, "failed")
    assert "serial number 0" in cases_text(report, "failed")
    assert outcomes(report)["MV-24"] == "passed"
