# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The seam for what signs: a CA whose key is not a file here issues as well as one whose key is."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import certificates, issue, keys, parameters, profile, spec
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import read_register
from ansible_collections.kyma.mtls.tests.limbo import zoo
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import Home


@dataclasses.dataclass(frozen=True)
class ByCommand:
    """An issuer that hands a certificate request to another program, as one that asks Vault or ACME would."""

    home: Home
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    label: str = "the CA of another program"
    is_external: t.ClassVar[bool] = True
    is_signing: t.ClassVar[bool] = True

    @property
    def not_after(self) -> datetime.datetime:
        return self.certificate.not_valid_after_utc

    def has_issued(self, certificate: x509.Certificate) -> bool:
        return certificate.issuer == self.certificate.subject

    def differences(self, certificate: x509.Certificate, spec: spec.CertificateSpec) -> list[str]:
        return profile.differences(certificate, spec)

    def require_can_sign(self, *, now: datetime.datetime, what: str) -> None:
        if shutil.which("openssl") is None:
            raise MtlsError(f"{what} cannot be issued at {now}: openssl is not installed.")

    def submit(
        self,
        spec: spec.CertificateSpec,
        key: keys.LeafKey,
        *,
        serial_number: int,
        now: datetime.datetime,
    ) -> t.Callable[[], x509.Certificate]:
        del now
        request = x509.CertificateSigningRequestBuilder().subject_name(spec.subject)
        for extension in (
            x509.BasicConstraints(ca=False, path_length=None),
            zoo.usage("digital_signature"),
        ):
            request = request.add_extension(extension, critical=True)
        usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
        signed = request.add_extension(usage, critical=False).sign(key, hashes.SHA256())
        asked = self.home.path / "request.pem"
        asked.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        command = ["openssl", "x509", "-req", "-in", str(asked), "-CA", str(self.home.ca_cert)]
        command += ["-CAkey", str(self.home.ca_key), "-set_serial", str(serial_number), "-days", "365"]
        done = subprocess.run([*command, "-copy_extensions", "copy"], capture_output=True, check=True)
        return lambda: x509.load_pem_x509_certificate(done.stdout)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_an_issuer_without_a_key_here_issues_records_and_is_settled(home: Home) -> None:
    another: issuer.Issuer = ByCommand(home, home.certificate)
    now = datetime.datetime.now(datetime.UTC)
    specs = parameters.parse_certificates([home.client("one"), home.client("two")], now=now)

    def run() -> t.Sequence[certificates.CertificateStep]:
        now = datetime.datetime.now(datetime.UTC)  # what was issued begins when it was
        register = read_register(home.register)
        steps = certificates.plan(specs, issuer=another, register=register, now=now)
        issue.IssueCertificates(steps, another, register, 1, now).apply()
        return steps

    assert [step.action for step in run()] == ["issue", "issue"]
    home.leaf("one").verify_directly_issued_by(home.certificate)
    assert [step.action for step in run()] == ["none", "none"]
    assert read_register(home.register).count == 2


def test_a_key_that_cannot_sign_is_named_before_anything_is_written(tmp_path: Path, home: Home) -> None:
    from cryptography.hazmat.primitives.asymmetric import dsa  # noqa: PLC0415  (only here)

    odd = issuer.LocalIssuer(home.certificate, home.ca_cert, t.cast("t.Any", dsa.generate_private_key(2048)), "", ())
    now = datetime.datetime.now(datetime.UTC)
    specs = parameters.parse_certificates([home.client("one", directory=str(tmp_path / "one"))], now=now)
    with pytest.raises(MtlsError, match=r"The key of the CA .* cannot sign: .* Use a CA with an RSA key"):
        certificates.plan(specs, issuer=odd, register=read_register(None), now=now)
    assert not (tmp_path / "one").exists()
