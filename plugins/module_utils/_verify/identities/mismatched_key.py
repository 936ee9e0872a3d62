# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private key that claims a public key which is not its own.

Libraries refuse to pair a certificate with a foreign key, but they compare the public halves only. So the proof of
possession (CertificateVerify, RFC 8446 section 4.4.3) can be put to the test with a key file whose public half is
the victim's and whose secret half is noise: the signature that comes out of it is simply wrong.
"""

from __future__ import annotations

import base64
import secrets
import typing as t

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

_CURVES = {
    "secp256r1": bytes.fromhex("06082a8648ce3d030107"),
    "secp384r1": bytes.fromhex("06052b81040022"),
    "secp521r1": bytes.fromhex("06052b81040023"),
}


def key_with_wrong_secret(public_key: t.Any) -> bytes:
    """Return a PEM private key with the public half of ``public_key`` and a random secret half.

    Raises MtlsError for key types whose files carry no public half (Ed25519, Ed448).
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        return _rsa(public_key)
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _CURVES:
        return _elliptic(public_key)
    raise MtlsError("a foreign key cannot be put under a certificate of this key type (RSA and NIST curves can)")


def _rsa(public_key: rsa.RSAPublicKey) -> bytes:
    numbers = public_key.public_numbers()
    half = public_key.key_size // 2

    def noise(bits: int) -> int:
        return secrets.randbits(bits) | (1 << (bits - 1)) | 1

    prime_1, prime_2 = noise(half), noise(half)
    secret = noise(public_key.key_size - 1)
    parts = (
        0,
        numbers.n,
        numbers.e,
        secret,
        prime_1,
        prime_2,
        secret % (prime_1 - 1),
        secret % (prime_2 - 1),
        noise(half - 1),
    )
    body = b"".join(der_element(0x02, part.to_bytes(part.bit_length() // 8 + 1, "big")) for part in parts)
    return pem_block("RSA PRIVATE KEY", der_element(0x30, body))


def _elliptic(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """RFC 5915, with the optional public key present."""
    size = (public_key.curve.key_size + 7) // 8
    secret = secrets.randbits(public_key.curve.key_size - 2) | 1
    point = public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    body = (
        der_element(0x02, b"\x01")
        + der_element(0x04, secret.to_bytes(size, "big"))
        + der_element(0xA0, _CURVES[public_key.curve.name])
        + der_element(0xA1, der_element(0x03, b"\x00" + point))
    )
    return pem_block("EC PRIVATE KEY", der_element(0x30, body))


def der_element(tag: int, content: bytes) -> bytes:
    """Return one DER element."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def pem_block(label: str, der: bytes) -> bytes:
    """Return ``der`` as PEM."""
    text = base64.encodebytes(der).decode().replace("\n", "")
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()
