# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which public keys the gateway can use, found out by trying Envoy 1.40 with each kind."""

from __future__ import annotations

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, describe
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import PublicKeyAlgorithmOID
except ImportError:
    pass  # the module's edge reports it

CURVES_OF_SERVERS = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
CURVES = {"secp224r1": "P-224", **CURVES_OF_SERVERS}
RSA_BITS_OF_SERVERS = 2048
RSA_EXPONENT_BITS = 33


def problem(certificate: x509.Certificate, *, is_server: bool) -> str | None:
    """Return why the gateway cannot use the key of ``certificate``, as a clause; None when it can.

    The key of a client CA only has to be read; that of a server has to pass Envoy's own requirements.
    """
    curves = CURVES_OF_SERVERS if is_server else CURVES
    can = f"RSA{' of 2048 bits or more' if is_server else ''}, ECDSA on {', '.join(curves.values())}, and Ed25519"
    try:
        key = certificate.public_key()
        is_pss = certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS
        is_explicit = der.has_explicit_curve(der.certificate_parts(describe.der_of(certificate)).spki)
    except PARSE_ERRORS:
        return f"its key cannot be read; Envoy can use {can}"
    kind = ""
    if is_pss:
        kind = "RSASSA-PSS only"
    elif isinstance(key, rsa.RSAPublicKey):
        if is_server and key.key_size < RSA_BITS_OF_SERVERS:
            kind = f"RSA of {key.key_size} bits"
        elif key.public_numbers().e.bit_length() > RSA_EXPONENT_BITS:
            kind = f"RSA with an exponent of {key.public_numbers().e.bit_length()} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if is_explicit:
            kind = "ECDSA on a curve that is not given by its name"
        elif key.curve.name not in curves:
            kind = f"ECDSA on {CURVES.get(key.curve.name, key.curve.name)}"
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        kind = type(key).__name__.removesuffix("PublicKey")
    return f"its key is {kind}, which Envoy does not load; it can use {can}" if kind else None
