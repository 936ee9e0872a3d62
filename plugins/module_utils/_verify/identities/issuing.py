# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What signs throw-away certificates."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.x509.oid import PublicKeyAlgorithmOID
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder

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


def sign(builder: x509.CertificateBuilder, authority: IssuingCa) -> x509.Certificate:
    """Return the certificate, signed by ``authority`` as its key demands."""
    if authority.certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        # Its key signs in no other way (RFC 4055 section 1.2).
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return builder.sign(authority.key, hashes.SHA256(), rsa_padding=pss)
    return builder.sign(authority.key, certificate_builder.digest(authority.key))
