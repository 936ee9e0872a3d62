# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What certificates of ours look like, and whether one on disk still does.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import name_text, san_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificateIssuerPrivateKeyTypes,
        CertificatePublicKeyTypes,
        PublicKeyTypes,
    )

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.certificate_spec import CertificateSpec

# A client's clock may be a little behind ours.
BACKDATE = datetime.timedelta(minutes=5)


def leaf(
    spec: CertificateSpec,
    public_key: PublicKeyTypes,
    authority: x509.Certificate,
    *,
    serial_number: int,
    now: datetime.datetime,
) -> x509.CertificateBuilder:
    """Give an RFC 5280 version 3 leaf certificate that does not outlive its CA, to be signed."""
    now = now.replace(microsecond=0)
    public_key = t.cast("CertificatePublicKeyTypes", public_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(spec.subject)
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(serial_number)
        .not_valid_before(max(now - BACKDATE, authority.not_valid_before_utc))
        .not_valid_after(min(now + datetime.timedelta(days=spec.days), authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(spec, public_key), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_purpose(spec)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_key_identifier(authority), critical=False)
    )
    if spec.sans:
        # RFC 5280 4.2.1.6: critical when the subject is empty.
        builder = builder.add_extension(x509.SubjectAlternativeName(spec.sans), critical=not list(spec.subject))
    return builder


def differences(certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
    """Say in words what about ``certificate`` is not as in ``spec``: subject, alternative names, usage, profile."""
    reasons = []
    if certificate.subject != spec.subject:
        reasons.append(f"the subject is {name_text(certificate.subject)}, specified is {name_text(spec.subject)}")
    try:
        found = _extensions(certificate)
    except ValueError as exc:
        return [*reasons, f"its extensions cannot be read ({exc})"]
    have, want = set(sans_text(certificate)), {san_text(san) for san in spec.sans}
    if have != want:
        changes = [f"without {one}" for one in sorted(want - have)] + [f"with {one}" for one in sorted(have - want)]
        reasons.append(f"the subject alternative names are not as specified: {', '.join(changes)}")
    purposes = found.get(x509.ExtendedKeyUsage)
    if purposes is None or list(purposes.value) != [_purpose(spec)]:
        reasons.append(f"its extended key usage is not {spec.usage} alone")
    expected: tuple[x509.ExtensionType, ...] = (
        _key_usage(spec, certificate.public_key()),
        x509.BasicConstraints(ca=False, path_length=None),
    )
    for value in expected:
        extension = found.get(type(value))
        if extension is None or not extension.critical or extension.value != value:
            words = "key usage" if isinstance(value, x509.KeyUsage) else "basic constraints"
            reasons.append(f"its {words} extension is not that of a {spec.usage} certificate")
    return reasons


def is_clamped(certificate: x509.Certificate, end: datetime.datetime) -> bool:
    """Whether a certificate lives as long as its CA, until ``end``, so that a new one would not live longer."""
    return certificate.not_valid_after_utc >= end


def sans_text(certificate: x509.Certificate) -> list[str]:
    """Give the subject alternative names in the form of the option ``sans``."""
    extension = _extensions(certificate).get(x509.SubjectAlternativeName)
    return [] if extension is None else [san_text(one) for one in extension.value]


def _extensions(certificate: x509.Certificate) -> dict[t.Any, x509.Extension[t.Any]]:
    return {type(extension.value): extension for extension in certificate.extensions}


def _purpose(spec: CertificateSpec) -> x509.ObjectIdentifier:
    return ExtendedKeyUsageOID.SERVER_AUTH if spec.usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH


def _key_usage(spec: CertificateSpec, public_key: PublicKeyTypes) -> x509.KeyUsage:
    # keyEncipherment is for a server's RSA key exchange in TLS 1.2; a client only ever signs.
    return key_usage(key_encipherment=spec.usage == "server" and isinstance(public_key, rsa.RSAPublicKey))


def key_usage(*, is_ca: bool = False, key_encipherment: bool = False) -> x509.KeyUsage:
    """Give the key usage of a CA, which signs certificates and revocation lists, or of a leaf."""
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast("t.Any", ca.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def digest(signing_key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | None:
    """SHA-256; SHA-384 for a P-384 CA, whose strength it matches; none for Ed25519, which has its own."""
    spec = keys.spec_of(signing_key)
    if spec.type == "RSA":
        return hashes.SHA256()
    if spec.type == "ECDSA":
        return hashes.SHA256() if spec.curve == "P-256" else hashes.SHA384()
    return None
