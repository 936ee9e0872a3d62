# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocation: which of the given CRLs speaks about a certificate, whether it may, and what it says.

A CRL that should speak but is not usable (stale, badly signed, malformed) is a refusal, not silence.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import signature

try:
    from cryptography import x509
    from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy


@dataclasses.dataclass
class _CrlFacts:
    """One CRL with what was found out about it once."""

    crl: x509.CertificateRevocationList
    issuer: names.CanonicalName | None
    number: int
    defect: str | None = None
    signed_by: dict[bytes, str | None] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def signature(self) -> signature.Signature:
        return signature.Signature(self.crl)

    @property
    def title(self) -> str:
        return f"the CRL {self.number} of {describe.name_text(self.crl.issuer)}"


class RevocationLists:
    """The given CRLs, asked link by link."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._views = [self._view(crl, number) for number, crl in enumerate(policy.crls, start=1)]

    def problem(self, cert: Cert, issuer: Cert) -> str | None:
        """Why the CRLs speak against ``cert``, issued by ``issuer``, as a clause about ``cert``; or None."""
        if not self._views and not self._policy.require_crl:
            return None
        covered = False
        unusable: str | None = None
        for view in self._views:
            if view.issuer != cert.issuer or self._is_of_another_key(view, issuer):
                continue
            reason = self._unusable(view, issuer)
            if reason is None or reason.endswith(_STALE):
                revoked = _revocation(view, cert)
                if revoked:
                    return revoked
            if reason is None:
                covered = covered or _in_scope(view.crl, cert)
            else:
                unusable = unusable or reason
        if covered:
            return None
        if unusable:
            return f"its revocation cannot be decided: {unusable}"
        if self._policy.require_crl:
            return f"there is no CRL of its issuer {issuer.label} that covers it, and require_crl is set"
        return None

    def _view(self, crl: x509.CertificateRevocationList, number: int) -> _CrlFacts:
        try:
            view = _CrlFacts(crl, names.canonical_name(crl.issuer.public_bytes()), number)
            view.defect = self._defect(crl)
        except PARSE_ERRORS as exc:
            return _CrlFacts(crl, None, number, f"it cannot be parsed ({first_line(exc)})")
        return view

    def _defect(self, crl: x509.CertificateRevocationList) -> str | None:
        number = next((extension for extension in crl.extensions if extension.oid == ExtensionOID.CRL_NUMBER), None)
        if number is None or number.critical:
            state = "critical" if number else "missing"
            return f"its CRL number is {state}, against RFC 5280 section 5.2.3"
        understood = {ExtensionOID.ISSUING_DISTRIBUTION_POINT, ExtensionOID.DELTA_CRL_INDICATOR}
        for extension in crl.extensions:
            if extension.critical and extension.oid not in understood:
                return f"it has an unknown critical extension ({extension.oid.dotted_string})"
        if crl.last_update_utc > self._policy.now:
            return f"it is not valid before {describe.time_text(crl.last_update_utc)}"
        if crl.next_update_utc is None:
            return "it has no nextUpdate, which RFC 5280 section 5.1.2.5 requires"
        if crl.next_update_utc < self._policy.now:
            return f"its next update was due at {describe.time_text(crl.next_update_utc)}{_STALE}"
        return None

    def _is_of_another_key(self, view: _CrlFacts, issuer: Cert) -> bool:
        """A CRL of another key under the issuer's name (a re-key) does not speak about this issuer's certificates."""
        if self._signature_problem(view, issuer) is None:
            return False
        try:
            expected = view.crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        except x509.ExtensionNotFound:
            return False
        except PARSE_ERRORS:
            return False
        return expected is not None and issuer.subject_key_id is not None and expected != issuer.subject_key_id

    def _signature_problem(self, view: _CrlFacts, issuer: Cert) -> str | None:
        spki = issuer.parts.spki
        if spki not in view.signed_by:
            view.signed_by[spki] = signature.weakness(view.crl) or view.signature.problem(issuer.key)
        return view.signed_by[spki]

    def _unusable(self, view: _CrlFacts, issuer: Cert) -> str | None:
        usage = issuer.value(x509.KeyUsage)
        if usage is not None and not usage.crl_sign:
            return f"{view.title} is signed by {issuer.label}, whose key usage does not allow it (cRLSign)"
        problem = self._signature_problem(view, issuer)
        if problem:
            return f"{view.title} is not validly signed by {issuer.label} ({problem})"
        return f"{view.title} is refused: {view.defect}" if view.defect else None


_STALE = " (stale)"


def _revocation(view: _CrlFacts, cert: Cert) -> str | None:
    """What the CRL says against the certificate. A stale one is still believed when it says revoked."""
    distribution = _distribution(view.crl)
    if distribution is not None and distribution.indirect_crl:
        return None
    entry = view.crl.get_revoked_certificate_by_serial_number(cert.parts.serial_number)
    if entry is None:
        return None
    known = {
        CRLEntryExtensionOID.CRL_REASON,
        CRLEntryExtensionOID.INVALIDITY_DATE,
        CRLEntryExtensionOID.CERTIFICATE_ISSUER,
    }
    reason = ""
    try:
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CRLReason):
                if extension.value.reason is x509.ReasonFlags.remove_from_crl:
                    return None
                reason = f", reason {extension.value.reason.value}"
            elif extension.critical and extension.oid not in known:
                reason = ", with an unknown critical remark"
    except PARSE_ERRORS:
        reason = ", with an unreadable remark"
    return f"it was revoked at {describe.time_text(entry.revocation_date_utc)}{reason} ({view.title})"


def _distribution(crl: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    try:
        return crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return None


def _in_scope(crl: x509.CertificateRevocationList, cert: Cert) -> bool:
    """Whether the CRL's silence about the certificate means that it is good."""
    if any(extension.oid == ExtensionOID.DELTA_CRL_INDICATOR for extension in crl.extensions):
        return False
    point = _distribution(crl)
    if point is None:
        return True
    if point.indirect_crl or point.only_contains_attribute_certs or point.only_some_reasons:
        return False
    if (point.only_contains_user_certs and cert.is_ca) or (point.only_contains_ca_certs and not cert.is_ca):
        return False
    return _same_point(point, cert)


def _same_point(point: x509.IssuingDistributionPoint, cert: Cert) -> bool:
    """Whether the CRL's own distribution point, if it names one, is among the certificate's."""
    if point.relative_name is not None:
        return False
    if point.full_name is None:
        return True
    own = cert.value(x509.CRLDistributionPoints)
    offered = {name for point in (own or ()) for name in (point.full_name or ())}
    return any(name in offered for name in point.full_name)
