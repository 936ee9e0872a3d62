# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh's own certificates: what Istio's CA issues to the gateway and to the workloads of a cluster.

They secure the second hop and give the SPIFFE identities in X-Forwarded-Client-Cert; no client ever sees them.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import EXTENSION_ERRORS

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    pass  # the module's edge reports it

#: The mesh is private to one home and never rotated by hand: it lives as long as a CA of the collection.
LIFETIME = datetime.timedelta(days=3650)
#: What is about to expire is renewed.
RENEWAL = datetime.timedelta(days=30)
_CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A mesh: its root, and one X.509-SVID a SPIFFE identity."""

    root: KeyPair
    identities: t.Mapping[str, KeyPair]


def make_mesh(identities: t.Iterable[str], *, now: datetime.datetime) -> Mesh:
    """A new mesh with SVIDs for ``identities``."""
    root = _make_root(now)
    return Mesh(root=root, identities={identity: _issue(root, identity, now) for identity in identities})


def renew(mesh: Mesh | None, identities: t.Iterable[str], *, now: datetime.datetime) -> Mesh:
    """``mesh`` with what is no longer good issued again; equal to ``mesh`` when nothing had to be."""
    if mesh is None or root_problem(mesh.root, now=now):
        return make_mesh(identities, now=now)
    return Mesh(
        root=mesh.root,
        identities={
            identity: mesh.identities[identity]
            if not identity_problem(mesh, identity, now=now)
            else _issue(mesh.root, identity, now)
            for identity in identities
        },
    )


def problems(mesh: Mesh, identities: t.Iterable[str], *, now: datetime.datetime) -> tuple[str, ...]:
    """Why ``mesh`` is not good for ``identities``; empty when it is."""
    found = root_problem(mesh.root, now=now)
    if found:
        return (found,)
    return tuple(filter(None, (identity_problem(mesh, identity, now=now) for identity in identities)))


def root_problem(root: KeyPair, *, now: datetime.datetime) -> str:
    """Why ``root`` is not good, or nothing."""
    try:
        certificate = x509.load_pem_x509_certificate(root.certificate)
        key = serialization.load_pem_private_key(root.key, password=None)
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except EXTENSION_ERRORS as exc:
        return f"The mesh's root cannot be used: {_reason(exc)}."
    if not constraints.ca or key.public_key() != certificate.public_key():
        return "The mesh's root cannot be used: it is not a CA, or the key does not match."
    return _validity_problem("The mesh's root", certificate, now)


def identity_problem(mesh: Mesh, identity: str, *, now: datetime.datetime) -> str:
    """Why the SVID of ``identity`` is not good under the mesh's root, or nothing."""
    pair = mesh.identities.get(identity)
    if pair is None:
        return f"The mesh has no certificate of {identity}."
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(mesh.root.certificate))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except EXTENSION_ERRORS as exc:
        return f"The mesh's certificate of {identity} cannot be used: {_reason(exc)}."
    if list(names) != [x509.UniformResourceIdentifier(identity)] or key.public_key() != certificate.public_key():
        return f"The mesh's certificate of {identity} cannot be used: another identity or key."
    return _validity_problem(f"The mesh's certificate of {identity}", certificate, now)


def _reason(exc: Exception) -> str:
    return str(exc).rstrip(".") or type(exc).__name__


def _validity_problem(what: str, certificate: x509.Certificate, now: datetime.datetime) -> str:
    if now < certificate.not_valid_before_utc:
        return f"{what} is not valid before {certificate.not_valid_before_utc.isoformat()}."
    if now + RENEWAL > certificate.not_valid_after_utc:
        return f"{what} expires at {certificate.not_valid_after_utc.isoformat()}."
    return ""


def _make_root(now: datetime.datetime) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    # The name that Istio's own CA has.
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
    builder = certificate_builder.start(
        name, name, key.public_key(), not_before=now - _CLOCK_SKEW, not_after=now + LIFETIME, is_ca=True, path_length=0
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def _issue(root: KeyPair, identity: str, now: datetime.datetime) -> KeyPair:
    """An X.509-SVID: no subject, therefore a critical subjectAltName (RFC 5280 section 4.2.1.6)."""
    issuer = x509.load_pem_x509_certificate(root.certificate)
    issuer_key = t.cast("ec.EllipticCurvePrivateKey", serialization.load_pem_private_key(root.key, password=None))
    key = ec.generate_private_key(ec.SECP256R1())
    not_after = min(now + LIFETIME, issuer.not_valid_after_utc)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        certificate_builder.start(
            x509.Name([]), issuer.subject, key.public_key(), not_before=now - _CLOCK_SKEW, not_after=not_after
        )
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .add_extension(certificate_builder.authority_key_identifier(issuer), critical=False)
    )
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
