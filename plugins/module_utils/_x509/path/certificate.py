# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate as path building sees it: parsed once, lazily, and never raising."""

from __future__ import annotations

import functools
import hashlib
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, describe, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import signature

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
except ImportError:
    pass  # the module's edge reports it

_SKI_OID = bytes.fromhex("0603551d0e")
_AKI_OID = bytes.fromhex("0603551d23")

Entity: t.TypeAlias = tuple[names.CanonicalName, bytes]
_Extension = t.TypeVar("_Extension", bound="x509.ExtensionType")


class Cert:
    """One certificate, compared and hashed by its DER.

    What every search needs is read at once; other attributes that need parsing are computed on first use, and what
    cannot be parsed is in :attr:`defect`.
    """

    def __init__(self, certificate: x509.Certificate) -> None:
        """Read the basic fields; raises one of PARSE_ERRORS when they cannot be parsed."""
        self.certificate = certificate
        self.der = describe.der_of(certificate)
        self.parts = der.certificate_parts(self.der)
        self.fingerprint = hashlib.sha256(self.der).hexdigest()
        self.subject = names.canonical_name(self.parts.subject)
        self.issuer = names.canonical_name(self.parts.issuer)
        # The authority behind the certificate: its name and its key. Several certificates may speak for one.
        self.entity: Entity = self.subject, self.parts.spki
        self.self_issued = self.subject == self.issuer
        self.not_before = certificate.not_valid_before_utc
        self.not_after = certificate.not_valid_after_utc

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cert) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    @functools.cached_property
    def label(self) -> str:
        return describe.label(self.certificate)

    @functools.cached_property
    def subject_name(self) -> x509.Name:
        """The subject as an object; raises one of PARSE_ERRORS where :attr:`defect` says that it is unreadable."""
        try:
            return self.certificate.subject
        except PARSE_ERRORS:
            return names.name_from_der(self.parts.subject)

    @functools.cached_property
    def issuer_name(self) -> x509.Name:
        """The issuer as an object, likewise."""
        try:
            return self.certificate.issuer
        except PARSE_ERRORS:
            return names.name_from_der(self.parts.issuer)

    @functools.cached_property
    def key(self) -> PublicKeyTypes | None:
        """The public key, or None when it cannot be loaded (unknown kind, not on its curve ...)."""
        try:
            return self.certificate.public_key()
        except PARSE_ERRORS:
            return None

    @functools.cached_property
    def signature(self) -> signature.Signature:
        return signature.Signature(self.certificate)

    @functools.cached_property
    def _parsed(self) -> tuple[x509.Extensions | None, str | None]:
        try:
            _names = (self.subject_name, self.issuer_name)
        except PARSE_ERRORS as exc:
            return None, f"its names cannot be parsed ({first_line(exc)})"
        try:
            extensions = self.certificate.extensions
        except PARSE_ERRORS as exc:
            return None, f"its extensions cannot be parsed ({first_line(exc)})"
        if der.has_explicit_curve(self.parts.spki):
            return extensions, "its key spells out its curve instead of naming it, which RFC 5480 section 2.1.1 forbids"
        if self.certificate.version is x509.Version.v1 and len(extensions):
            return extensions, "it has extensions but claims to be X.509 version 1"
        return extensions, None

    @property
    def defect(self) -> str | None:
        """Why the certificate is malformed, as a clause; None when it is not."""
        return self._parsed[1]

    @property
    def extensions(self) -> x509.Extensions | tuple[()]:
        return self._parsed[0] or ()

    def extension(self, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
        """Return the extension of the given class, or None."""
        found: x509.Extension[_Extension] | None = next(
            (extension for extension in self.extensions if extension.oid == kind.oid), None
        )
        return found

    def value(self, kind: type[_Extension]) -> _Extension | None:
        """Return the content of the extension of the given class, or None."""
        found = self.extension(kind)
        return found.value if found is not None else None

    @property
    def is_ca(self) -> bool:
        constraints = self.value(x509.BasicConstraints)
        return constraints is not None and constraints.ca

    @property
    def path_length(self) -> int | None:
        constraints = self.value(x509.BasicConstraints)
        return constraints.path_length if constraints is not None else None

    @functools.cached_property
    def sans(self) -> tuple[x509.GeneralName, ...]:
        found = self.value(x509.SubjectAlternativeName)
        return tuple(found) if found is not None else ()

    @functools.cached_property
    def subject_key_id(self) -> bytes | None:
        """The subject key identifier; for ranking only, so read without parsing all extensions."""
        return self._identifier(_SKI_OID, 0x04)

    @functools.cached_property
    def authority_key_id(self) -> bytes | None:
        """The authority key identifier; for ranking only, so read without parsing all extensions."""
        return self._identifier(_AKI_OID, 0x80)

    def _identifier(self, oid: bytes, tag: int) -> bytes | None:
        position = self.der.rfind(oid)
        if position < 0:
            return None
        try:
            octets = der.read(self.der, position + len(oid), len(self.der))
            if octets.tag != 0x04:
                octets = der.read(self.der, octets.end, len(self.der))
            inner = der.read(self.der, octets.start, octets.end)
            if inner.tag == der.SEQUENCE:
                inner = der.read(self.der, inner.start, inner.end)
        except ValueError:
            return None
        return self.der[inner.start : inner.end] if inner.tag == tag else None


def as_cert(certificate: x509.Certificate) -> Cert | str:
    """Return the certificate's view, or as a clause why it is too damaged to have one."""
    try:
        return Cert(certificate)
    except PARSE_ERRORS as exc:
        return f"its basic fields cannot be parsed ({first_line(exc)})"
