# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates signed with SHA-1: cryptography's builder makes no more of them, but servers may still accept them."""

from __future__ import annotations

import typing as t

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.mismatched_key import der_element
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import der_of

# AlgorithmIdentifiers: sha1WithRSAEncryption with NULL (RFC 3279 section 2.2.1), ecdsa-with-SHA1 (section 2.2.3).
_RSA_SHA1 = bytes.fromhex("300d06092a864886f70d0101050500")
_ECDSA_SHA1 = bytes.fromhex("300906072a8648ce3d0401")


def signed_with_sha1(certificate: x509.Certificate, key: t.Any) -> x509.Certificate:
    """Return ``certificate`` signed again by ``key``, with SHA-1. Raises MtlsError when that cannot be done."""
    data = der_of(certificate)
    outer = der.read(data, 0, len(data))
    body = der.read(data, outer.start, outer.end)
    serial = _second(data, body)
    algorithm = der.read(data, serial.end, body.end)
    identifier = _RSA_SHA1 if isinstance(key, rsa.RSAPrivateKey) else _ECDSA_SHA1
    to_sign = der_element(0x30, data[body.start : serial.end] + identifier + data[algorithm.end : body.end])
    try:
        signature = _sign(key, to_sign)
    except (UnsupportedAlgorithm, ValueError, TypeError) as exc:
        raise MtlsError(f"the local cryptography library cannot sign with SHA-1: {exc}") from exc
    return x509.load_der_x509_certificate(
        der_element(0x30, to_sign + identifier + der_element(0x03, b"\x00" + signature))
    )


def _second(data: bytes, body: der.Element) -> der.Element:
    """The serial number: behind the version, which a v3 certificate always has."""
    version = der.read(data, body.start, body.end)
    return der.read(data, version.end, body.end)


def _sign(key: t.Any, data: bytes) -> bytes:
    weak = hashes.SHA1()  # noqa: S303  (its weakness is the point)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), weak)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(weak))
    raise MtlsError("the client CA's key type knows no SHA-1")
