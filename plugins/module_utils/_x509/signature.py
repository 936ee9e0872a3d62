# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures and the strength of what makes them.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import ML_DSA_NAMES
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
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


def signature_problem(signed: Signed, key: object | None) -> str | None:
    """Why ``key`` did not make the signature on ``signed``, as a clause; None when it did."""
    if key is None:
        return "its public key cannot be used (unknown kind, or damaged)"
    body = signed.tbs_certificate_bytes if isinstance(signed, x509.Certificate) else signed.tbs_certlist_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey):
            return _verify_rsa(signed, key, body)
        if isinstance(key, ec.EllipticCurvePublicKey):
            return _verify_ecdsa(signed, key, body)
        return _verify_own_hash(signed, key, body)
    except InvalidSignature:
        return "its key did not make the signature"
    except PARSE_ERRORS as exc:
        return f"the signature cannot be checked ({first_line(exc)})"


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` has the name that ``certificate`` gives for its issuer, and made its signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except PARSE_ERRORS:
        return False
    return True


def _verify_rsa(signed: Signed, key: rsa.RSAPublicKey, body: bytes) -> str | None:
    parameters = signed.signature_algorithm_parameters
    algorithm = signed.signature_hash_algorithm
    if algorithm is None or not isinstance(parameters, (padding.PKCS1v15, padding.PSS)):
        return "its key is RSA but the signature is not"
    key.verify(signed.signature, body, parameters, algorithm)
    return None


def _verify_ecdsa(signed: Signed, key: ec.EllipticCurvePublicKey, body: bytes) -> str | None:
    parameters = signed.signature_algorithm_parameters
    if not isinstance(parameters, ec.ECDSA):
        return "its key is ECDSA but the signature is not"
    key.verify(signed.signature, body, parameters)
    return None


def _verify_own_hash(signed: Signed, key: t.Any, body: bytes) -> str | None:
    oid = signed.signature_algorithm_oid.dotted_string
    expected = {"1.3.101.112": ed25519.Ed25519PublicKey, "1.3.101.113": ed448.Ed448PublicKey}.get(oid)
    if expected is not None:
        if not isinstance(key, expected):
            return "its key is of another kind than the signature"
    elif oid not in ML_DSA_NAMES or _ml_dsa_name(key) != ML_DSA_NAMES[oid]:
        return "its key is of another kind than the signature"
    key.verify(signed.signature, body)
    return None


def _ml_dsa_name(key: object) -> str:
    """``MLDSA65PublicKey`` -> ``ML-DSA-65``: by name, because older releases of cryptography lack the classes."""
    name = type(key).__name__
    digits = "".join(one for one in name if one.isdigit())
    return f"ML-DSA-{digits}" if name.upper().startswith("MLDSA") else ""
