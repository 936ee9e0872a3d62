# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who issued what: is it a CA, is it self-issued, did this CA sign that certificate or list.

Names are compared as RFC 5280 section 7.1 says, in whatever encoding; what cannot be read is a no.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, describe, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import EXTENSION_ERRORS, PARSE_ERRORS
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import signature

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

_Value = t.TypeVar("_Value", bound="x509.ExtensionType")


def extension(signed: x509.Certificate | x509.CertificateRevocationList, kind: type[_Value]) -> _Value | None:
    """Return the content of the extension of class ``kind``; None when it is not there or cannot be read."""
    try:
        return signed.extensions.get_extension_for_class(kind).value
    except EXTENSION_ERRORS:
        return None


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether the basic constraints say CA:TRUE."""
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether subject and issuer are the same name."""
    parts = _parts(certificate)
    return _same(parts.subject, parts.issuer)


def same_authority(certificate: x509.Certificate, other: x509.Certificate) -> bool:
    """Whether two certificates have one name and one key: what the one has signed, the other has."""
    return _parts(certificate).spki == _parts(other).spki and _same(_parts(certificate).subject, _parts(other).subject)


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` has the name that ``certificate`` gives for its issuer, and the key that signed it."""
    return _same(_parts(certificate).issuer, _parts(issuer).subject) and _signed(certificate, issuer)


def is_crl_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether ``crl`` is a revocation list of the CA ``issuer``."""
    try:
        name = crl.issuer.public_bytes()
    except PARSE_ERRORS:
        return False
    return _same(name, _parts(issuer).subject) and _signed(crl, issuer)


def _parts(certificate: x509.Certificate) -> der.CertificateParts:
    return der.certificate_parts(describe.der_of(certificate))


def _same(one: bytes, other: bytes) -> bool:
    try:
        return one == other or names.canonical_name(one) == names.canonical_name(other)
    except ValueError:
        return False


def _signed(signed: signature.Signed, issuer: x509.Certificate) -> bool:
    try:
        return signature.signature_problem(signed, issuer.public_key()) is None
    except PARSE_ERRORS:
        return False
