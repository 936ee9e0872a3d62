# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small PKI for the test servers: a server's CA and certificate, a client's CA and clients, good and bad ones."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.kyma.mtls.tests.limbo import zoo

HOST = "httpbin.mtls.test"
PEM = serialization.Encoding.PEM


def name(*, common_name: str, organization: str = "Test Org", cn_first: bool = False) -> x509.Name:
    """Return a name of CN and O, encoded in the order that CAs (O first) or leaves (CN first) have."""
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    return x509.Name(attributes[::-1] if cn_first else attributes)


def new_key(kind: str = "ec") -> t.Any:
    """Return a private key: ec, p384, rsa, rsa1024."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    return ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())


@dataclass
class Holder:
    """A certificate with its key and its files."""

    certificate: x509.Certificate
    key: t.Any
    above: tuple[x509.Certificate, ...] = ()
    files: dict[str, str] = field(default_factory=dict)

    @property
    def crt(self) -> str:
        return self.files["crt"]

    @property
    def key_file(self) -> str:
        return self.files["key"]

    def save(self, directory: Path, stem: str, *, passphrase: bytes | None = None) -> Holder:
        """Write <stem>.crt (with the chain above) and <stem>.key."""
        directory.mkdir(parents=True, exist_ok=True)
        crt, key = directory / f"{stem}.crt", directory / f"{stem}.key"
        crt.write_bytes(b"".join(one.public_bytes(PEM) for one in (self.certificate, *self.above)))
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        key.write_bytes(self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))
        key.chmod(0o600)
        self.files = {"crt": str(crt), "key": str(key)}
        return self


def make_ca(
    subject: x509.Name, *, issuer: Holder | None = None, kind: str = "ec", path_length: int | None = None
) -> Holder:
    """Return a CA: a root, or an intermediate below ``issuer``."""
    key = new_key(kind)
    now = datetime.datetime.now(tz=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        builder = builder.add_extension(_aki(issuer), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    above = issuer.above if issuer and issuer.above else ()
    return Holder(certificate, key, above)


def make_leaf(
    issuer: Holder,
    *,
    subject: x509.Name,
    sans: t.Sequence[x509.GeneralName] = (),
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    days: tuple[float, float] = (-0.05, 365),
    kind: str = "ec",
    key: t.Any = None,
    chain: tuple[x509.Certificate, ...] = (),
) -> Holder:
    """Return an end-entity certificate of ``issuer``."""
    key = key or new_key(kind)
    now = datetime.datetime.now(tz=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_aki(issuer), critical=False)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=not list(subject))
    return Holder(builder.sign(issuer.key, hashes.SHA256()), key, chain)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return zoo.usage(*(("key_cert_sign", "crl_sign") if ca else ("digital_signature", "key_encipherment")))


def _aki(issuer: Holder) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


@dataclass
class Pki:
    """Everything that a test server and its clients need, as files in ``directory``."""

    directory: Path
    server_ca: Holder
    server: Holder
    client_ca: Holder
    client: Holder
    revoked: Holder
    crl: str

    def server_certificate(self, stem: str, **changes: t.Any) -> Holder:
        """Return and save another server certificate of the same CA."""
        given = {
            "subject": name(common_name="*.mtls.test", cn_first=True),
            "sans": [x509.DNSName("*.mtls.test")],
            "usage": ExtendedKeyUsageOID.SERVER_AUTH,
            **changes,
        }
        issuer = given.pop("issuer", self.server_ca)
        return make_leaf(issuer, **given).save(self.directory, stem)

    def client_certificate(self, stem: str, **changes: t.Any) -> Holder:
        """Return and save another client certificate of the same CA."""
        given = {"subject": name(common_name=stem, cn_first=True), **changes}
        issuer = given.pop("issuer", self.client_ca)
        return make_leaf(issuer, **given).save(self.directory, stem)


def make_pki(directory: Path, *, kind: str = "ec") -> Pki:
    """Make the PKI in ``directory``; ``kind`` is the key type of everything in it."""
    server_ca = make_ca(name(common_name="Test Server CA"), kind=kind).save(directory, "server-ca")
    client_ca = make_ca(name(common_name="Test Client CA"), kind=kind).save(directory, "client-ca")
    server = make_leaf(
        server_ca,
        subject=name(common_name="*.mtls.test", cn_first=True),
        sans=[x509.DNSName("*.mtls.test")],
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        kind=kind,
    ).save(directory, "server")
    client = make_leaf(client_ca, subject=name(common_name="Test Client", cn_first=True), kind=kind)
    revoked = make_leaf(client_ca, subject=name(common_name="Revoked Client", cn_first=True), kind=kind)
    crl = directory / "client.crl"
    crl.write_bytes(_crl(client_ca, [revoked.certificate]))
    return Pki(
        directory,
        server_ca,
        server,
        client_ca,
        client.save(directory, "client"),
        revoked.save(directory, "revoked"),
        str(crl),
    )


def _crl(issuer: Holder, revoked: t.Sequence[x509.Certificate]) -> bytes:
    now = datetime.datetime.now(tz=datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - datetime.timedelta(hours=1))
        .next_update(now + datetime.timedelta(days=30))
        .add_extension(_aki(issuer), critical=False)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for certificate in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(now - datetime.timedelta(minutes=5))
            .build()
        )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(PEM)
