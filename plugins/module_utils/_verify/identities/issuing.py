# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What signs throw-away certificates, and the extensions that all of them have.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import EXTENSION_ERRORS

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PrivateKeyTypes


@dataclass(frozen=True)
class IssuingCa:
    """A certificate that signs, with its key and what a client must present above its own certificate."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes
    presented: tuple[x509.Certificate, ...] = ()

    @classmethod
    def of(cls, certificate: x509.Certificate, key: PrivateKeyTypes) -> IssuingCa:
        """Return the CA: below an intermediate one, clients present it; a root they need not."""
        presented = () if certificate.subject == certificate.issuer else (certificate,)
        return cls(certificate, t.cast("CertificateIssuerPrivateKeyTypes", key), presented)


def sign(builder: x509.CertificateBuilder, key: CertificateIssuerPrivateKeyTypes) -> x509.Certificate:
    """Return the certificate, signed with ``key``."""
    without_hash = isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return builder.sign(key, None if without_hash else hashes.SHA256())


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """Return the key usage of a CA, or of a client."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def authority_key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the identifier that certificates issued by ``certificate`` carry."""
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except EXTENSION_ERRORS:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast("rsa.RSAPublicKey", certificate.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
