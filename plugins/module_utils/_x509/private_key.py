# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys and PKCS#12 files, opened with a passphrase; nothing of a key is ever in a message."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import key_derivation
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line, is_parse_error
from ansible_collections.kyma.mtls.plugins.module_utils._x509.pem import BEGIN, pem_blocks

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates

MAX_KEY_BYTES = 64 * 1024
MAX_RSA_BITS = 16384


class WrongPassphraseError(MtlsError):
    """The key is encrypted and the passphrase is missing or wrong."""


def as_secret(text: str | None) -> bytes | None:
    """Return a passphrase as the octets that it stands for; what is not text fits no key, but is no error either."""
    return text.encode("utf-8", "surrogatepass") if text else None


def load_private_key(data: bytes, *, source: str, passphrase: bytes | None = None) -> PrivateKeyTypes:
    """Return the first private key in ``data`` (PEM with anything around it, or DER).

    OpenSSL's own check of an RSA key tests two primes, which costs as much as a hundred signatures, on every run; the
    arithmetic of the key's numbers finds a damaged one as well.
    Raises WrongPassphraseError when it needs another passphrase, MtlsError when there is none or it is damaged; no key
    material is in the message.
    """
    what = f"The private key in {source}"
    is_pem = BEGIN.search(data) is not None
    material = _first_key_block(data, source) if is_pem else data
    if len(material) > MAX_KEY_BYTES:
        raise MtlsError(f"{what} is larger than {MAX_KEY_BYTES // 1024} KiB: it is not read.")
    key_derivation.require_bounded(next(pem_blocks(material)).content or b"" if is_pem else material, what=what)
    try:
        key = _loader(material, is_pem=is_pem)(material, passphrase or None)
        is_whole = is_consistent(key)
    except TypeError as exc:
        if passphrase:  # cryptography refuses a passphrase that is not needed; so do we not
            return load_private_key(data, passphrase=None, source=source)
        raise WrongPassphraseError(f"{what} is encrypted and no passphrase was given.") from exc
    except UnsupportedAlgorithm as exc:
        raise MtlsError(f"{what} is of a kind that is not supported: {first_line(exc)}.") from exc
    except BaseException as exc:
        if not is_parse_error(exc):
            raise
        if passphrase and b"ENCRYPTED" in material:
            raise WrongPassphraseError(
                f"{what} cannot be decrypted: the passphrase is wrong or the file is damaged."
            ) from exc
        raise MtlsError(f"{what} cannot be read: the file is damaged or holds no private key.") from exc
    if not is_whole:
        raise MtlsError(f"{what} is damaged: its numbers do not belong together. Check the file.")
    return key


def load_pkcs12(data: bytes, *, password: bytes | None, source: str) -> PKCS12KeyAndCertificates:
    """Return what the PKCS#12 file ``data`` holds; raises MtlsError when it cannot be opened with ``password``."""
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415  (rare, and costly to import)

    what = f"The PKCS#12 file {source}"
    key_derivation.require_bounded(data, what=what)
    try:
        found = pkcs12.load_pkcs12(data, password)
        is_whole = found.key is None or is_consistent(found.key)
    except BaseException as exc:
        if not is_parse_error(exc):
            raise
        raise MtlsError(f"{what} cannot be opened: it is damaged, or the password is wrong.") from exc
    if not is_whole:
        raise MtlsError(f"{what} cannot be used: the numbers of its private key do not belong together.")
    return found


def _loader(material: bytes, *, is_pem: bool) -> t.Callable[[bytes, bytes | None], PrivateKeyTypes]:
    if b"OPENSSH PRIVATE KEY" in material:
        return serialization.load_ssh_private_key
    load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    return lambda data, passphrase: load(data, passphrase, unsafe_skip_rsa_key_validation=True)


def _first_key_block(data: bytes, source: str) -> bytes:
    for begin in BEGIN.finditer(data):
        if begin[1].endswith(b"PRIVATE KEY"):
            end_line = b"-----END " + begin[1] + b"-----"
            end = data.find(end_line, begin.end())
            if end >= 0:
                return data[begin.start() : end + len(end_line)] + b"\n"
    raise MtlsError(f"There is no private key in {source}. It must hold a PRIVATE KEY block in PEM, or a key in DER.")


def is_consistent(key: PrivateKeyTypes) -> bool:
    """Whether the numbers of an RSA or ECDSA key belong together; those of other keys are one number."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        derived = ec.derive_private_key(key.private_numbers().private_value, key.curve)
        return derived.public_key() == key.public_key()
    if not isinstance(key, rsa.RSAPrivateKey):
        return True
    if key.key_size > MAX_RSA_BITS:
        raise ValueError("the RSA key is too long")
    numbers = key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    public = numbers.public_numbers
    return (
        p * q == public.n
        and min(p, q) > 1
        and public.e * d % (p - 1) == 1
        and public.e * d % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and numbers.iqmp * q % p == 1
    )


def public_bytes_of(key: t.Any) -> bytes:
    """Return the SubjectPublicKeyInfo of a public key in DER."""
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def key_matches(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    """Whether ``key`` is the private key of ``certificate``."""
    try:
        return public_bytes_of(certificate.public_key()) == public_bytes_of(key.public_key())
    except PARSE_ERRORS:
        return False
