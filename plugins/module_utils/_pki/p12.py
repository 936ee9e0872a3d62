# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PKCS#12 files, in which browsers and operating systems import a client's key and certificates."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.serialization import pkcs12
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.certificate_spec import Pkcs12

# DER of pbeWithSHAAnd3-KeyTripleDES-CBC, 1.2.840.113549.1.12.1.3 (RFC 7292 appendix C).
_LEGACY_MARK = bytes.fromhex("060a2a864886f70d010c0103")
# What OpenSSL's own pkcs12 command uses; more rounds only slow a run down, as the key lies beside it in the clear.
_ROUNDS = 2048


def build(
    spec: Pkcs12, *, key: keys.LeafKey, certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]
) -> bytes:
    """Encode key, certificate and chain.

    The profile ``modern`` is AES-256 with SHA-256; ``legacy`` is 3DES with SHA-1, the only one that the key chains of
    macOS before 15 and Android before 14 import.
    """
    builder = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(_ROUNDS)
    if spec.profile == "legacy":
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1())  # noqa: S303
    else:
        builder = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256())
    return pkcs12.serialize_key_and_certificates(
        spec.friendly_name.encode(), key, certificate, list(chain), builder.build(spec.password.encode())
    )


def _is_named(found: bytes | None, friendly_name: str) -> bool:
    # What is written in UTF-16 pairs, as an emoji is, cryptography does not read back.
    return found == friendly_name.encode() or (found is None and any(ord(letter) > 0xFFFF for letter in friendly_name))


def differences(
    data: bytes, spec: Pkcs12, *, certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]
) -> list[str]:
    """Say in words why ``data`` is not the PKCS#12 file that is specified; empty when it is."""
    try:
        found = load.load_pkcs12(data, password=spec.password.encode(), source="")
    except MtlsError:
        return ["it does not open with the password"]
    reasons = []
    if found.cert is None or found.cert.certificate != certificate:
        reasons.append("it holds another certificate")
    elif not _is_named(found.cert.friendly_name, spec.friendly_name):
        reasons.append("its friendly name is another")
    if found.key is None or not load.key_matches(certificate, found.key):
        reasons.append("it does not hold the certificate's key")
    if [entry.certificate for entry in found.additional_certs] != list(chain):
        reasons.append("it holds other CA certificates")
    if (_LEGACY_MARK in data) != (spec.profile == "legacy"):
        reasons.append(f"its profile is not {spec.profile}")
    return reasons
