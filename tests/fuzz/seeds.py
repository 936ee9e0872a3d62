# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Good input to begin with: certificates with every extension, keys of every form, lists, PKCS#12 files."""

from __future__ import annotations

import functools
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der
from ansible_collections.kyma.mtls.tests.limbo import zoo

PASSWORD = b"secret"
SEPARATOR = b"\n%%\n"

_ENCODINGS = serialization.Encoding
_FORMATS = serialization.PrivateFormat
_POLICY = (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]), False)
_POLICIES = [_POLICY, (x509.PolicyConstraints(0, 1), True), (x509.InhibitAnyPolicy(2), True)]
_POINT = x509.UniformResourceIdentifier("http://crl.example/ca.crl")
_ODD: list[tuple[x509.ExtensionType, bool]] = [
    (x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
    (x509.CRLDistributionPoints([x509.DistributionPoint([_POINT], None, None, None)]), False),
    (
        x509.AuthorityInformationAccess(
            [x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.OCSP, x509.DNSName("ocsp.example"))]
        ),
        False,
    ),
]
_SANS = ["DNS:leaf.example", "DNS:*.w.example", "IP:192.0.2.1", "email:a@example.com", "URI:https://example.com"]


class Chain(t.NamedTuple):
    end: zoo.Made
    middle: zoo.Made
    root: zoo.Made


@functools.cache
def chains() -> tuple[Chain, ...]:
    found = []
    options: dict[str, t.Any]
    for kind, options in (("ec", {}), ("rsa2048", {"pss": True}), ("ed25519", {})):
        root = zoo.make("Root", kind=kind, **options)
        middle = zoo.make(
            "Middle",
            issuer=root,
            kind=kind,
            path_length=2,
            permitted=["DNS:example", "IP:192.0.2.0/24", "email:example.com", "URI:example.com", "dir:leaf"],
            excluded=["DNS:bad.example", "dir:bad"],
            extra=_POLICIES,
            **options,
        )
        found.append(Chain(zoo.leaf(middle, sans=_SANS, extra=[_POLICY, *_ODD], kind=kind, **options), middle, root))
    return tuple(found)


def certificates() -> list[bytes]:
    found = []
    for chain in chains():
        found += [one.der for one in chain]
        found.append("".join(one.pem for one in chain).encode())
        if not chain.end.certificate.public_key_algorithm_oid.dotted_string.startswith("1.3.101"):
            bundle = [chain.middle.certificate, chain.root.certificate]
            found += [pkcs7.serialize_certificates(bundle, one) for one in (_ENCODINGS.DER, _ENCODINGS.PEM)]
    return found


def crls() -> list[bytes]:
    scope = x509.IssuingDistributionPoint(None, None, False, True, None, False, False)
    found = []
    for chain in chains():
        plain = zoo.crl(chain.middle, chain.end)
        scoped = zoo.crl(chain.root, chain.middle, extra=[(scope, True)])
        found += [plain.encode(), scoped.encode(), (plain + scoped).encode()]
    return found


def keys() -> list[bytes]:
    found = []
    for chain in chains():
        key = chain.end.key
        for form in (_FORMATS.PKCS8, _FORMATS.TraditionalOpenSSL, _FORMATS.OpenSSH):
            for encoding in (_ENCODINGS.PEM, _ENCODINGS.DER):
                try:
                    found.append(key.private_bytes(encoding, form, serialization.NoEncryption()))
                except (ValueError, TypeError):
                    continue  # not every kind of key has every form
        found.append(chain.end.key_pem(PASSWORD).encode())
    return [one for key in found for one in (key, _with_few_rounds(key))]


def _with_few_rounds(key: bytes) -> bytes:
    return key.replace(der_of_rounds(2048), der_of_rounds(1))


def der_of_rounds(number: int) -> bytes:
    content = number.to_bytes(2, "big")
    return bytes([0x02, len(content)]) + content


def pkcs12_files() -> list[bytes]:
    found = []
    for chain in chains()[:2]:
        for algorithm in (pkcs12.PBES.PBESv2SHA256AndAES256CBC, pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC):
            protection = (
                _FORMATS.PKCS12.encryption_builder()
                .kdf_rounds(2)
                .key_cert_algorithm(algorithm)
                .hmac_hash(hashes.SHA256())
                .build(PASSWORD)
            )
            others = [chain.middle.certificate, chain.root.certificate]
            found.append(
                pkcs12.serialize_key_and_certificates(b"name", chain.end.key, chain.end.certificate, others, protection)
            )
    return found


def bundles() -> list[bytes]:
    """Everything that a chain is made of in one text, as people keep it."""
    found = []
    for chain in chains():
        pem = [one.pem for one in chain]
        lists = zoo.crl(chain.root) + zoo.crl(chain.middle, zoo.leaf(chain.middle, "other"))
        found += ["".join(pem).encode(), "".join([chain.end.key_pem(), *pem, "text\n", lists]).encode()]
    return found


def secrets() -> list[bytes]:
    """The data of a Secret: chain, key, client CAs, CRLs."""
    found = []
    for chain in chains():
        served = zoo.leaf(chain.root, days=(-9, 90), own_key=chain.end.key)
        parts = [served.pem + chain.root.pem, served.key_pem(), chain.root.pem, zoo.crl(chain.root, served)]
        found.append(SEPARATOR.join(one.encode() for one in parts))
    return found


def parts_of(data: bytes) -> list[bytes]:
    return data.split(SEPARATOR)


def cut(data: bytes) -> list[bytes]:
    """The DER elements that follow each other in ``data``, as a TLS server sends them; at least one."""
    found, offset = [], 0
    try:
        while offset < len(data):
            element = der.read(data, offset, len(data))
            found.append(data[element.offset : element.end])
            offset = element.end
    except ValueError:
        found.append(data[offset:])
    return found
