# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys: what kind, made new, read from disk, written as PEM.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509.key_derivation import require_bounded
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import is_consistent, pem_blocks
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import is_parse_error

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


class WrongPassphraseError(MtlsError):
    """The key is encrypted and the passphrase is missing or wrong."""


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
    """Raise MtlsError for a size that no RSA key of ours has."""
    if not RSA_MINIMUM_BITS <= bits <= RSA_MAXIMUM_BITS:
        raise MtlsError(f"key_size is {bits}, but an RSA key must have {RSA_MINIMUM_BITS} to {RSA_MAXIMUM_BITS} bits.")


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
        load(data, source="")
    except WrongPassphraseError:
        return True
    return False


def _require_bounded(data: bytes, source: str) -> None:
    with contextlib.suppress(StopIteration):
        block = next(pem_blocks(data)) if b"-----BEGIN" in data else None
        require_bounded(data if block is None else block.content or b"", what=f"The private key {source}")


def load(data: bytes, *, source: str, passphrase: bytes | None = None) -> PrivateKeyTypes:
    """Read a PEM or DER key; ``source`` names the file in errors.

    OpenSSL's own check of an RSA key tests two primes and costs as much as a signature a hundred times over, on every
    run for every client; the arithmetic of the key's numbers finds a damaged file at no cost.
    Raises WrongPassphraseError or MtlsError.
    """
    # A key in PEM that is not encrypted is derived from nothing.
    if b"-----BEGIN" not in data or b"ENCRYPTED" in data or b"OPENSSH" in data:
        _require_bounded(data, source)
    reader = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        key = reader(data, password=passphrase, unsafe_skip_rsa_key_validation=True)
        is_whole = is_consistent(key)
    except TypeError as exc:
        if passphrase is not None:  # a passphrase for a key that has none does no harm
            return load(data, source=source)
        raise WrongPassphraseError(f"The private key {source} is encrypted and no passphrase was given.") from exc
    except BaseException as exc:
        if not is_parse_error(exc):
            raise
        if passphrase is not None and b"ENCRYPTED" in data:
            raise WrongPassphraseError(
                f"The private key {source} cannot be decrypted: the passphrase is wrong or the file is damaged."
            ) from exc
        raise MtlsError(
            f"The private key {source} cannot be read: the file is damaged or holds no private key."
        ) from exc
    if not is_whole:
        raise MtlsError(f"The private key {source} is damaged: its numbers do not belong together.")
    return key
