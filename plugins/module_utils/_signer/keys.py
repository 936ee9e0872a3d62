# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects that cryptography takes for private keys, while something else signs.

Every signature is verified against the public key before it is handed on.
"""

from __future__ import annotations

import contextlib
import functools
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import public_bytes_of

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography import x509

    PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class UnavailableError(MtlsError):
    """The token is not there: it was taken out, is switched off, or cannot be reached."""


class Signer(t.Protocol):
    """Where a key is, and what signs with it."""

    @property
    def name(self) -> str:
        """The option that describes it."""

    @property
    def label(self) -> str:
        """What the key is called in messages."""

    @property
    def place(self) -> str:
        """Where the key is, for a plan."""

    def public_key(self) -> PublicKey | None:
        """Return the public key, None when the signer does not have it. Raises MtlsError when it cannot be asked."""

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm, public_key: PublicKey) -> t.Sequence[bytes]:
        """Return what may be the signature of ``data``, an ECDSA one in DER or as r and s. Raises MtlsError."""


class SignFunction(t.Protocol):
    """What makes a signature that is verified, or stands in for one."""

    def __call__(self, data: bytes, algorithm: hashes.HashAlgorithm) -> bytes: ...


def private_key(public_key: PublicKey, sign: SignFunction) -> PrivateKey:
    """Return a private key for ``public_key`` that signs by ``sign``. Raises MtlsError for a kind that cannot be."""
    from ansible_collections.kyma.mtls.plugins.module_utils._signer import private_keys  # noqa: PLC0415  (subclasses)

    if isinstance(public_key, rsa.RSAPublicKey):
        return private_keys.RsaKey(public_key, sign)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return private_keys.EcKey(public_key, sign)
    raise MtlsError("A CA key that is not a file must be an RSA or ECDSA key.")


def of_certificate(
    signer: Signer, certificates: t.Iterable[x509.Certificate]
) -> tuple[x509.Certificate, PrivateKey] | None:
    """Return the certificate whose key ``signer`` has, and that key; None when there is no such. Raises MtlsError."""
    known = signer.public_key()
    for certificate in certificates:
        found = certificate.public_key()
        if isinstance(found, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)) and _has(signer, found, known):
            return certificate, of_known_certificate(signer, certificate)
    return None


def of_known_certificate(signer: Signer, certificate: x509.Certificate) -> PrivateKey:
    """Return the key of a certificate that ``signer`` is known to have; whether that holds, its signatures show."""
    public_key = t.cast("PublicKey", certificate.public_key())
    return private_key(public_key, functools.partial(_signed_by, signer, public_key))


def _has(signer: Signer, public_key: PublicKey, known: PublicKey | None) -> bool:
    if known is not None:
        return same(known, public_key)
    with contextlib.suppress(MtlsError):  # the signer does not know its public key: see what verifies its signatures
        return bool(signature(signer, b"", hashes.SHA256(), public_key))
    return False


def _signed_by(signer: Signer, public_key: PublicKey, data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    return signature(signer, data, algorithm, public_key)


def signature(signer: Signer, data: bytes, algorithm: hashes.HashAlgorithm, public_key: PublicKey) -> bytes:
    """Have ``signer`` sign ``data``, and return the signature once ``public_key`` has verified it. Raises MtlsError."""
    answers = signer.sign(data, algorithm, public_key)
    for answer in answers:
        for form in _forms(answer, public_key):
            try:
                _verify(public_key, form, data, algorithm)
            except (InvalidSignature, ValueError):
                continue
            return form
    raise MtlsError(
        f"{signer.label} returned {max(map(len, answers), default=0)} bytes that are not a signature by the CA's key: "
        "they do not verify with its public key. Nothing was signed. Check that it signs with the right key, and in "
        f"the right way: {_expected(public_key, algorithm)}."
    )


def same(one: PublicKey, other: PublicKey) -> bool:
    """Whether two public keys are the same."""
    return public_bytes_of(one) == public_bytes_of(other)


def stand_in(public_key: PublicKey) -> bytes:
    """Return bytes in the form of a signature, for a plan that is only shown."""
    is_rsa = isinstance(public_key, rsa.RSAPublicKey)
    return b"\0" * (public_key.key_size // 8) if is_rsa else encode_dss_signature(1, 1)


def _expected(public_key: PublicKey, algorithm: hashes.HashAlgorithm) -> str:
    kind = "PKCS #1 v1.5" if isinstance(public_key, rsa.RSAPublicKey) else "ECDSA"
    return f"{kind} over a digest of {algorithm.digest_size} bytes ({algorithm.name})"


def _forms(answer: bytes, public_key: PublicKey) -> t.Iterator[bytes]:
    yield answer
    size = (public_key.key_size + 7) // 8
    if isinstance(public_key, ec.EllipticCurvePublicKey) and len(answer) == 2 * size:
        yield encode_dss_signature(int.from_bytes(answer[:size]), int.from_bytes(answer[size:]))


def _verify(public_key: PublicKey, form: bytes, data: bytes, algorithm: hashes.HashAlgorithm) -> None:
    if isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(form, data, padding.PKCS1v15(), algorithm)
    else:
        public_key.verify(form, data, ec.ECDSA(algorithm))
