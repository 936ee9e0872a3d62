# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures and the strength of what makes them."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import ML_DSA_NAMES
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, utils
except ImportError:
    pass  # the module's edge reports it

MINIMUM_RSA_BITS = 2048
MAXIMUM_RSA_BITS = 16384
MINIMUM_EC_BITS = 224
WEAK_HASHES = frozenset({"md5", "sha1"})
WEBPKI_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})

Signed: t.TypeAlias = "x509.Certificate | x509.CertificateRevocationList"


def weakness(signed: Signed) -> str | None:
    """Why the signature's algorithm is refused, as a clause; None when it is good."""
    try:
        algorithm = signed.signature_hash_algorithm
    except PARSE_ERRORS as exc:
        oid = signed.signature_algorithm_oid.dotted_string
        if oid in ML_DSA_NAMES:
            return None
        return f"its signature algorithm is not supported ({first_line(exc)})"
    if algorithm is not None and algorithm.name in WEAK_HASHES:
        return f"its signature uses {algorithm.name.upper().replace('SHA1', 'SHA-1')}, which is forgeable"
    return None


def key_weakness(key: object | None, *, webpki: bool) -> str | None:
    """Why a public key is refused, as a clause; None when it is good."""
    if key is None:
        return "its public key cannot be used (unknown kind, or damaged)"
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_weakness(key, webpki=webpki)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _ec_weakness(key, webpki=webpki)
    if isinstance(key, dsa.DSAPublicKey):
        return "its key is DSA, which is withdrawn (FIPS 186-5)"
    return "its key is neither RSA nor ECDSA (profile webpki)" if webpki else None


def _ec_weakness(key: ec.EllipticCurvePublicKey, *, webpki: bool) -> str | None:
    if key.key_size < MINIMUM_EC_BITS:
        return f"its {key.curve.name} key is shorter than {MINIMUM_EC_BITS} bits"
    if webpki and key.curve.name not in WEBPKI_CURVES:
        return f"its curve {key.curve.name} is not one of P-256, P-384, P-521 (profile webpki)"
    return None


def _rsa_weakness(key: rsa.RSAPublicKey, *, webpki: bool) -> str | None:
    if key.key_size < MINIMUM_RSA_BITS:
        return f"its RSA key of {key.key_size} bits is shorter than {MINIMUM_RSA_BITS}"
    if key.key_size > MAXIMUM_RSA_BITS:
        return f"its RSA key of {key.key_size} bits is longer than {MAXIMUM_RSA_BITS}"
    exponent = key.public_numbers().e
    if exponent < 3 or exponent % 2 == 0:
        return f"its RSA exponent {exponent} is not an odd number above 1"
    if webpki and key.key_size % 8:
        return f"the size of its RSA key, {key.key_size} bits, is not a multiple of 8 (profile webpki)"
    return None


def cost(key: object | None) -> int:
    """How much one check with ``key`` counts against the budget: 1 for usual keys, more for giant ones."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size > 4096:
        return int((key.key_size / 2048) ** 2)
    return 1


class Signature:
    """The signature on a certificate or CRL, taken apart once, for a flood of keys that may have made it."""

    def __init__(self, signed: Signed) -> None:
        self._body = signed.tbs_certificate_bytes if isinstance(signed, x509.Certificate) else signed.tbs_certlist_bytes
        self._value = signed.signature
        self._oid = signed.signature_algorithm_oid.dotted_string
        self._parameters: t.Any = None
        self._hash: t.Any = None
        self._digest: bytes | None = None
        self._prehashed: t.Any = None
        self._unreadable: str | None = None
        if self._oid in ML_DSA_NAMES:
            return
        try:
            self._parameters = signed.signature_algorithm_parameters
            self._hash = signed.signature_hash_algorithm
        except PARSE_ERRORS as exc:
            self._unreadable = f"the signature cannot be checked ({first_line(exc)})"

    def problem(self, key: object | None) -> str | None:
        """Why ``key`` did not make the signature, as a clause; None when it did."""
        if key is None:
            return "its public key cannot be used (unknown kind, or damaged)"
        try:
            return self._unreadable or self._verify(key)
        except InvalidSignature:
            return "its key did not make the signature"
        except PARSE_ERRORS as exc:
            return f"the signature cannot be checked ({first_line(exc)})"

    def _verify(self, key: object) -> str | None:
        if isinstance(key, ec.EllipticCurvePublicKey):
            return self._verify_ecdsa(key)
        if isinstance(key, rsa.RSAPublicKey):
            return self._verify_rsa(key)
        return self._verify_own_hash(key)

    def _verify_rsa(self, key: rsa.RSAPublicKey) -> str | None:
        if self._hash is None or not isinstance(self._parameters, (padding.PKCS1v15, padding.PSS)):
            return "its key is RSA but the signature is not"
        key.verify(self._value, self._body, self._parameters, self._hash)
        return None

    def _verify_ecdsa(self, key: ec.EllipticCurvePublicKey) -> str | None:
        if self._hash is None or not isinstance(self._parameters, ec.ECDSA):
            return "its key is ECDSA but the signature is not"
        key.verify(self._value, self._digested(), self._prehashed)
        return None

    def _digested(self) -> bytes:
        if self._digest is None:  # once, and not for each of thousands of keys
            hashing = hashes.Hash(self._hash)
            hashing.update(self._body)
            self._digest = hashing.finalize()
            self._prehashed = ec.ECDSA(utils.Prehashed(self._hash))
        return self._digest

    def possible_keys(self) -> frozenset[bytes]:
        """The points of the keys that can have made an ECDSA signature; empty for others, and where it is unknown.

        Only for finding the key to try first: :meth:`problem` says whether it made the signature.
        """
        if self._hash is None or not isinstance(self._parameters, ec.ECDSA):
            return frozenset()
        from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import ecdsa_recovery  # noqa: PLC0415  (rare)

        try:
            return ecdsa_recovery.possible_keys(*utils.decode_dss_signature(self._value), self._digested())
        except PARSE_ERRORS:
            return frozenset()

    def _verify_own_hash(self, key: t.Any) -> str | None:
        expected = {"1.3.101.112": ed25519.Ed25519PublicKey, "1.3.101.113": ed448.Ed448PublicKey}.get(self._oid)
        if expected is not None:
            if not isinstance(key, expected):
                return "its key is of another kind than the signature"
        elif self._oid not in ML_DSA_NAMES or _ml_dsa_name(key) != ML_DSA_NAMES[self._oid]:
            return "its key is of another kind than the signature"
        key.verify(self._value, self._body)
        return None


def signature_problem(signed: Signed, key: object | None) -> str | None:
    """Why ``key`` did not make the signature on ``signed``, as a clause; None when it did."""
    return Signature(signed).problem(key)


def _ml_dsa_name(key: object) -> str:
    """``MLDSA65PublicKey`` -> ``ML-DSA-65``: by name, as older releases of cryptography do not have the classes."""
    name = type(key).__name__
    digits = "".join(letter for letter in name if letter.isdigit())
    return f"ML-DSA-{digits}" if name.upper().startswith("MLDSA") else ""
