# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA on disk and calls of the batch, for the tests of this directory and of the module."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._pki import batch, reconcile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import spec_of
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import AuthoritySpec, PkiSpec
from ansible_collections.kyma.mtls.tests.limbo import zoo

NOW = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)

CaKey: t.TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def key_usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return zoo.usage(*(("key_cert_sign", "crl_sign") if key_cert_sign else ("digital_signature",)))


def make_ca(
    key: CaKey,
    *,
    organization: str = "Test Org",
    common_name: str = "Test Root CA",
    issuer: tuple[x509.Certificate, CaKey] | None = None,
    start: datetime.datetime = NOW - DAY,
    days: int = 3650,
    is_ca: bool | None = True,
    key_cert_sign: bool | None = True,
    has_key_identifier: bool = True,
    path_length: int | None = None,
) -> x509.Certificate:
    """Make a CA certificate, or one that lacks what a CA needs (None leaves the extension out)."""
    subject = name(organization, common_name)
    signer = issuer[1] if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
    )
    if is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
    if key_cert_sign is not None:
        builder = builder.add_extension(key_usage(key_cert_sign=key_cert_sign), critical=True)
    if has_key_identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def key_pem(key: CaKey, passphrase: str | None = None) -> bytes:
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


@dataclasses.dataclass
class Home:
    """A directory with a CA, and the way to run the batch there."""

    path: Path
    key: CaKey
    certificate: x509.Certificate
    options: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def ca_cert(self) -> Path:
        return self.path / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.path / "ca.key"

    @property
    def register(self) -> Path:
        return self.path / "issued.jsonl"

    def client(self, client: str = "curl", **changes: t.Any) -> dict[str, t.Any]:
        """Give the options of one client; a P-256 key, as it is made at once."""
        return {
            "name": client,
            "directory": str(self.path / "clients" / client),
            "common_name": client,
            "key_type": "ECDSA",
        } | changes

    def server(self, **changes: t.Any) -> dict[str, t.Any]:
        return (
            self.client("server", usage="server", directory=str(self.path), sans=["DNS:*.example.com", "IP:192.0.2.1"])
            | changes
        )

    def run(
        self,
        *items: dict[str, t.Any],
        now: datetime.datetime = NOW,
        check_mode: bool = False,
        **changes: t.Any,
    ) -> dict[str, t.Any]:
        options: dict[str, t.Any] = {
            "ca_cert": self.ca_cert,
            "ca_key": self.ca_key,
            "ca_key_passphrase": None,
            "ca_chain": (),
            "register": self.register,
            "concurrency": None,
        }
        return batch.run(
            batch.BatchOptions(certificates=items, check_mode=check_mode, **(options | self.options | changes)), now=now
        )

    def spec(self, state: str = "present", **changes: t.Any) -> PkiSpec:
        """What the directory should be, by its own CA, without certificates."""
        authority = AuthoritySpec("client root CA", "ca", self.certificate.subject, spec_of(self.key), 3650)
        given: dict[str, t.Any] = {"usage": "client", "authorities": (authority,), "certificates": ()}
        return PkiSpec(directory=self.path, state=state, **(given | changes))

    def reconcile(
        self, state: str, *, now: datetime.datetime = NOW, check_mode: bool = False, **changes: t.Any
    ) -> dict[str, t.Any]:
        """Run the module's work in this directory."""
        return reconcile.reconcile(self.spec(state, **changes), check_mode=check_mode, now=now)

    def file(self, end: str, client: str = "curl") -> Path:
        """Give a client's file by the end of its name, as ``.key``."""
        return self.path / "clients" / client / f"client{end}"

    def leaf(self, client: str = "curl") -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.file(".crt", client).read_bytes())

    def actions(self, result: dict[str, t.Any]) -> dict[str, str]:
        return {one["name"]: one["action"] for one in result["certificates"]}

    def reasons(self, result: dict[str, t.Any]) -> str:
        return " / ".join(reason for one in result["certificates"] for reason in one["reasons"])


def make_home(path: Path, *, key: CaKey | None = None, **changes: t.Any) -> Home:
    """Put a CA into ``path``; ``changes`` are those of make_ca."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    home = Home(path, key, make_ca(key, **changes))
    home.ca_key.write_bytes(key_pem(key))
    home.ca_key.chmod(0o600)
    home.ca_cert.write_bytes(certificate_pem(home.certificate))
    return home
