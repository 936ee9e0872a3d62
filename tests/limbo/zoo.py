# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates for tests: correct ones by default, and wrong ones in exactly the way that a test asks for."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import ipaddress
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2030, 6, 1, 12, 0, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@functools.cache
def key(label: str, kind: str = "ec") -> t.Any:
    """Return the key of that label: made once in a process."""
    del label
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    if kind == "ml-dsa-65":
        from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415  (cryptography 47 and later)

        return mldsa.MLDSA65PrivateKey.generate()
    if kind == "p192":
        return ec.generate_private_key(ec.SECP192R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))


def name(text: str | x509.Name) -> x509.Name:
    """Return a name: ``"Root"`` is CN=Root; an empty text is the empty name."""
    if isinstance(text, x509.Name):
        return text
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def general_name(text: str) -> x509.GeneralName:
    kind, _colon, value = text.partition(":")
    if kind == "IP":
        return x509.IPAddress(ipaddress.ip_network(value) if "/" in value else ipaddress.ip_address(value))
    kinds: dict[str, t.Callable[[str], x509.GeneralName]] = {
        "DNS": x509.DNSName,
        "email": x509.RFC822Name,
        "URI": x509.UniformResourceIdentifier,
        "dir": lambda one: x509.DirectoryName(name(one)),
    }
    return kinds[kind](value)


def usage(*names: str) -> x509.KeyUsage:
    fields = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{field: field in names for field in fields})


@dataclasses.dataclass(frozen=True)
class Made:
    """A certificate and the private key that belongs to it."""

    certificate: x509.Certificate
    key: t.Any

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def key_pem(self, passphrase: bytes | None = None) -> str:
        encryption: t.Any = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        ).decode()


def make(  # noqa: PLR0913  (one parameter for each thing that a test may want different)
    subject: str | x509.Name,
    *,
    issuer: Made | None = None,
    issuer_name: str | x509.Name | None = None,
    own_key: t.Any = None,
    kind: str = "ec",
    ca: bool = True,
    path_length: int | None = None,
    days: tuple[float, float] = (-30, 365),
    sans: t.Sequence[str] = ("DNS:leaf.example",),
    eku: t.Sequence[x509.ObjectIdentifier] | None = None,
    key_usage: x509.KeyUsage | None = None,
    permitted: t.Sequence[str] | None = None,
    excluded: t.Sequence[str] | None = None,
    extra: t.Sequence[tuple[x509.ExtensionType, bool]] = (),
    without: t.Sequence[str] = (),
    serial: int | None = None,
    algorithm: t.Any = None,
    pss: bool = False,
) -> Made:
    """Issue a CA certificate (``ca=True``) or an end-entity certificate; without ``issuer`` it signs itself.

    ``without`` leaves extensions out: ``bc``, ``ku``, ``eku``, ``san``, ``ski``, ``aki``.
    """
    subject = name(subject)
    own_key = own_key or key(f"{subject.rfc4514_string()}/{kind}", kind)
    signer = issuer.key if issuer else own_key
    by = name(issuer_name) if issuer_name is not None else (issuer.certificate.subject if issuer else subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(own_key.public_key())
        .serial_number(serial if serial is not None else x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
    )
    wanted: dict[str, tuple[x509.ExtensionType, bool]] = {
        "bc": (x509.BasicConstraints(ca=ca, path_length=path_length), True),
        "ku": (key_usage or (usage("key_cert_sign", "crl_sign") if ca else usage("digital_signature")), True),
        "ski": (x509.SubjectKeyIdentifier.from_public_key(own_key.public_key()), False),
        "aki": (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    }
    if eku is not None or not ca:
        wanted["eku"] = (x509.ExtendedKeyUsage(eku if eku is not None else [SERVER, CLIENT]), False)
    if not ca and sans:
        wanted["san"] = (x509.SubjectAlternativeName([general_name(one) for one in sans]), not list(subject))
    if permitted is not None or excluded is not None:
        trees = [None if one is None else [general_name(text) for text in one] for one in (permitted, excluded)]
        wanted["nc"] = (x509.NameConstraints(*trees), True)
    for label, (extension, critical) in wanted.items():
        if label not in without:
            builder = builder.add_extension(extension, critical)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    return Made(_sign(builder, signer, algorithm, pss), own_key)


def _sign(builder: t.Any, signer: t.Any, algorithm: t.Any, pss: bool) -> t.Any:
    if not isinstance(signer, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        return builder.sign(signer, None)
    algorithm = algorithm or hashes.SHA256()
    if pss:
        scheme = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
        return builder.sign(signer, algorithm, rsa_padding=scheme)
    return builder.sign(signer, algorithm)


def leaf(issuer: Made | None, subject: str = "leaf", **options: t.Any) -> Made:
    return make(subject, issuer=issuer, ca=False, **options)


def crl(
    issuer: Made,
    *revoked: Made,
    days: tuple[float, float] = (-1, 7),
    number: int | None = 1,
    extra: t.Sequence[tuple[x509.ExtensionType, bool]] = (),
    entries: t.Sequence[x509.RevokedCertificate] = (),
    without_aki: bool = False,
) -> str:
    """Return a CRL of ``issuer`` in PEM."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW + days[0] * DAY)
        .next_update(NOW + days[1] * DAY)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(NOW - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    for ready in entries:
        builder = builder.add_revoked_certificate(ready)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), False)
    if not without_aki:
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(aki, False)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    return _sign(builder, issuer.key, None, False).public_bytes(serialization.Encoding.PEM).decode()


def with_sha1_signature(made: Made, issuer: Made) -> Made:
    """Return the certificate signed again by RSA with SHA-1, which no builder does any more."""
    old, new = bytes.fromhex("06092a864886f70d01010b"), bytes.fromhex("06092a864886f70d010105")
    body = made.certificate.tbs_certificate_bytes
    changed = body.replace(old, new, 1)
    signature = issuer.key.sign(changed, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303  (to be refused)
    data = made.der.replace(body, changed).replace(old, new).replace(made.certificate.signature, signature)
    return Made(x509.load_der_x509_certificate(data), made.key)


def altered(made: Made, issuer: Made, old: bytes, new: bytes) -> Made:
    """Return the certificate with ``old`` replaced in its signed part, by as many octets, and signed again by ECDSA."""
    body = made.certificate.tbs_certificate_bytes
    changed = body.replace(old, new)
    if changed == body or len(changed) != len(body):
        raise ValueError("nothing was replaced, or by another length")
    signature = b"\0" + issuer.key.sign(changed, ec.ECDSA(hashes.SHA256()))
    rest = made.der[made.der.index(body) + len(body) :]
    algorithm = rest[: 2 + rest[1]]
    inside = changed + algorithm + bytes([0x03, len(signature)]) + signature
    data = b"\x30\x82" + len(inside).to_bytes(2, "big") + inside
    return Made(x509.load_der_x509_certificate(data), made.key)
