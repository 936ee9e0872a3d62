# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys: what kind, generated, written as PEM."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509.private_key import WrongPassphraseError, load_private_key

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

    LeafKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

# OpenSSL's limit for the passphrase of a PEM file.
PASSPHRASE_MAXIMUM_BYTES = 1023
RSA_MINIMUM_BITS = 2048
RSA_MAXIMUM_BITS = 8192

# OpenSSL's names of the curves -> those of NIST, which users and RFC 8446 write.
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384"}


@dataclasses.dataclass(frozen=True)
class KeySpec:
    """The kind of a key. ``size`` is set for RSA, ``curve`` for ECDSA."""

    type: str
    size: int | None = None
    curve: str | None = None

    def __str__(self) -> str:
        detail = self.size if self.size is not None else self.curve
        return f"{self.type} {detail}" if detail is not None else self.type


def require_size(bits: int) -> None:
    """Raise MtlsError for a size that none of our RSA keys has."""
    if not RSA_MINIMUM_BITS <= bits <= RSA_MAXIMUM_BITS:
        raise MtlsError(f"key_size is {bits}, but an RSA key must have {RSA_MINIMUM_BITS} to {RSA_MAXIMUM_BITS} bits.")


def specified(kind: str, *, size: int, curve: str) -> KeySpec:
    """Give the key that options ask for. Raises MtlsError for an RSA key that is too small or too large."""
    if kind == "RSA":
        require_size(size)
        return KeySpec("RSA", size=size)
    return KeySpec("ECDSA", curve=curve) if kind == "ECDSA" else KeySpec("Ed25519")


def spec_of(key: PrivateKeyTypes | PublicKeyTypes) -> KeySpec:
    """Say what kind of key ``key`` is."""
    if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        return KeySpec("RSA", size=key.key_size)
    if isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)):
        return KeySpec("ECDSA", curve=_CURVES.get(key.curve.name, key.curve.name))
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        return KeySpec("Ed25519")
    return KeySpec(type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey"))


def generate(spec: KeySpec) -> LeafKey:
    """Make a new key. The costly work is done outside the GIL, so threads make keys in parallel."""
    if spec.type == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=spec.size or RSA_MINIMUM_BITS)
    if spec.type == "ECDSA":
        return ec.generate_private_key(ec.SECP384R1() if spec.curve == "P-384" else ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def to_pem(key: LeafKey, *, passphrase: bytes | None = None) -> bytes:
    """Write ``key`` as PKCS#8: unencrypted, which Envoy, curl and Python all read, or encrypted with ``passphrase``."""
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def is_encrypted(data: bytes) -> bool:
    """Tell whether a private key that can be read needs a passphrase."""
    if b"-----BEGIN" in data:
        return b"ENCRYPTED" in data
    try:
        load_private_key(data, source="")
    except WrongPassphraseError:
        return True
    return False
