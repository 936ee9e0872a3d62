# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What our certificates look like, and whether one on disk still does."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import name_text, san_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.certificate_spec import CertificateSpec

# A client's clock may be a little behind ours.
BACKDATE = datetime.timedelta(minutes=5)
DEFAULT_LIFETIME = datetime.timedelta(days=365)


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
        certificate_builder.start(
            spec.subject,
            authority.subject,
            public_key,
            not_before=max(now - BACKDATE, authority.not_valid_before_utc),
            not_after=min(now + (spec.lifetime or DEFAULT_LIFETIME), authority.not_valid_after_utc),
            serial_number=serial_number,
            usage=_key_usage(spec, public_key),
        )
        .add_extension(x509.ExtendedKeyUsage([_purpose(spec)]), critical=False)
        .add_extension(certificate_builder.authority_key_identifier(authority), critical=False)
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
    reasons += different_sans(certificate, spec)
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


def different_sans(certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
    """Say what is wrong with the subject alternative names. Raises ValueError when they cannot be read."""
    have, want = set(sans_text(certificate)), {san_text(san) for san in spec.sans}
    if have == want:
        return []
    changes = [f"without {san}" for san in sorted(want - have)] + [f"with {san}" for san in sorted(have - want)]
    return [f"the subject alternative names are not as specified: {', '.join(changes)}"]


def is_clamped(certificate: x509.Certificate, end: datetime.datetime) -> bool:
    """Whether a certificate lives as long as its CA, until ``end``, so that a new one would not live longer."""
    return certificate.not_valid_after_utc >= end


def sans_text(certificate: x509.Certificate) -> list[str]:
    """Give the subject alternative names in the form of the option ``sans``."""
    extension = _extensions(certificate).get(x509.SubjectAlternativeName)
    return [] if extension is None else [san_text(name) for name in extension.value]


def _extensions(certificate: x509.Certificate) -> dict[t.Any, x509.Extension[t.Any]]:
    return {type(extension.value): extension for extension in certificate.extensions}


def _purpose(spec: CertificateSpec) -> x509.ObjectIdentifier:
    return ExtendedKeyUsageOID.SERVER_AUTH if spec.usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH


def _key_usage(spec: CertificateSpec, public_key: PublicKeyTypes) -> x509.KeyUsage:
    # keyEncipherment is for a server's RSA key exchange in TLS 1.2; a client only ever signs.
    return certificate_builder.key_usage(
        key_encipherment=spec.usage == "server" and isinstance(public_key, rsa.RSAPublicKey)
    )
