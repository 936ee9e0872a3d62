# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all certificates made here share: basic constraints, key usage, key identifiers, hash of the signature."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import EXTENSION_ERRORS

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import datetime

    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificateIssuerPrivateKeyTypes,
        CertificatePublicKeyTypes,
    )


def start(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificatePublicKeyTypes,
    *,
    not_before: datetime.datetime,
    not_after: datetime.datetime,
    serial_number: int | None = None,
    is_ca: bool = False,
    path_length: int | None = None,
    usage: x509.KeyUsage | None = None,
    subject_key: x509.SubjectKeyIdentifier | None = None,
) -> x509.CertificateBuilder:
    """Return an RFC 5280 version 3 certificate to which further extensions are added before it is signed."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial_number or x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
        .add_extension(usage or key_usage(is_ca=is_ca), critical=True)
        .add_extension(subject_key or x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def key_usage(*, is_ca: bool = False, key_encipherment: bool = False) -> x509.KeyUsage:
    """Return the key usage of a CA, which signs certificates and revocation lists, or of a leaf."""
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


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the identifier that certificates and lists issued by ``issuer`` carry."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except EXTENSION_ERRORS:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast("t.Any", issuer.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def digest(signing_key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | None:
    """SHA-256; SHA-384 for ECDSA keys longer than P-256, of the same strength; none for others, which have their own.

    So a DSA key cannot sign: no gateway accepts its signatures.
    """
    if not isinstance(signing_key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        return None
    is_long = isinstance(signing_key, ec.EllipticCurvePrivateKey) and signing_key.curve.key_size > 256
    return hashes.SHA384() if is_long else hashes.SHA256()
