# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Name constraints (RFC 5280 section 4.2.1.10), for every kind of name."""

from __future__ import annotations

import contextlib
import ipaddress
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

with contextlib.suppress(ImportError):  # the module's edge reports it
    from cryptography import x509

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert

# Comparisons of one certificate's names with one certificate's constraints; OpenSSL draws the line there as well.
MAX_COMPARISONS = 1 << 20


def syntax_problem(cert: Cert) -> str | None:
    """Why the certificate's own name constraints are malformed, as a clause; None when they are good or absent."""
    found = cert.value(x509.NameConstraints)
    if found is None:
        return None
    subtrees = [*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ())]
    if not subtrees:
        return "its name constraints are empty"
    for base in subtrees:
        if not _well_formed(base):
            return f"its name constraint {describe.san_text(base)} is malformed"
    return None


def violation(authority: Cert, cert: Cert) -> str | None:
    """Which name of ``cert`` the name constraints of ``authority`` forbid, as a clause; None when they allow all."""
    found = authority.value(x509.NameConstraints)
    if found is None:
        return None
    permitted, excluded = list(found.permitted_subtrees or ()), list(found.excluded_subtrees or ())
    try:
        subjects = _constrained_names(cert)
    except PARSE_ERRORS:
        return f"it is unknown whether its name constraints allow {cert.label}: a name there cannot be read"
    if len(subjects) * (len(permitted) + len(excluded)) > MAX_COMPARISONS:
        return f"its name constraints and the names of {cert.label} are too many to compare (limit {MAX_COMPARISONS})"
    for name in subjects:
        reason = _forbidden_by(name, permitted, excluded)
        if reason:
            return f"its name constraints {reason} in {cert.label}"
    return None


def forbids(found: x509.NameConstraints, name: x509.GeneralName) -> str | None:
    """Why the name constraints ``found`` forbid ``name``, as a clause; None when they allow it."""
    return _forbidden_by(name, list(found.permitted_subtrees or ()), list(found.excluded_subtrees or ()))


def _forbidden_by(
    name: x509.GeneralName, permitted: list[x509.GeneralName], excluded: list[x509.GeneralName]
) -> str | None:
    text = describe.san_text(name)
    for base in excluded:
        if _same_kind(name, base) and _matches(name, base, exclude=True) is not False:
            return f"exclude {text}"
    relevant = [base for base in permitted if _same_kind(name, base)]
    if relevant and not any(_matches(name, base, exclude=False) is True for base in relevant):
        return f"do not permit {text}"
    return None


def _constrained_names(cert: Cert) -> list[x509.GeneralName]:
    """The SANs, the subject where it is not empty, and its e-mail addresses where there is no SAN of that kind."""
    found: list[x509.GeneralName] = list(cert.sans)
    if cert.subject:
        found.append(x509.DirectoryName(cert.subject_name))
        if not any(isinstance(name, x509.RFC822Name) for name in found):
            attributes = cert.subject_name.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS)
            found += [x509.RFC822Name(str(attribute.value)) for attribute in attributes]
    return found


def _same_kind(name: x509.GeneralName, base: x509.GeneralName) -> bool:
    if isinstance(name, x509.OtherName) and isinstance(base, x509.OtherName):
        return bool(name.type_id == base.type_id)
    return type(name) is type(base)


def _matches(name: x509.GeneralName, base: x509.GeneralName, *, exclude: bool) -> bool | None:
    """Whether the name is in the subtree; None when that is unknown (which is never good news)."""
    if isinstance(name, x509.DNSName) and isinstance(base, x509.DNSName):
        return _dns_within(name.value, base.value, exclude=exclude)
    if isinstance(name, x509.IPAddress) and isinstance(base, x509.IPAddress):
        return _ip_within(name.value, base.value)
    if isinstance(name, x509.RFC822Name) and isinstance(base, x509.RFC822Name):
        return _mail_within(name.value, base.value)
    if isinstance(name, x509.UniformResourceIdentifier) and isinstance(base, x509.UniformResourceIdentifier):
        return _uri_within(name.value, base.value)
    if isinstance(name, x509.DirectoryName) and isinstance(base, x509.DirectoryName):
        return names.within(_canonical(name.value), _canonical(base.value))
    return None


def _canonical(name: x509.Name) -> names.CanonicalName:
    return names.canonical_name(name.public_bytes())


def _host_within(host: str, base: str) -> bool:
    return not base or host == base or host.endswith("." + base)


def _dns_within(text: str, base: str, *, exclude: bool) -> bool | None:
    name, base = text.lower(), base.lower()
    if not names.is_dns_name(name, wildcard=True):
        return None
    if not name.startswith("*."):
        return _host_within(name, base)
    behind = name[2:]
    if _host_within(behind, base):
        return True
    # The wildcard may stand for exactly the excluded host (CVE-2025-61727).
    label, _dot, parent = base.partition(".")
    return exclude and bool(label) and parent == behind


def _ip_within(value: object, base: object) -> bool | None:
    if not isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return None
    if not isinstance(base, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        return None
    return value.version == base.version and value in base


def _mail_within(text: str, base: str) -> bool | None:
    if not well_formed_mailbox(text):
        return None
    if "@" in base:
        return names.same_mailbox(text, base)
    host, base = text.rpartition("@")[2].lower(), base.lower()
    return host.endswith(base) if base.startswith(".") else host == base or not base


def _uri_within(text: str, base: str) -> bool | None:
    host = uri_host(text)
    if host is None or names.parse_ip(host.strip("[]")) is not None:
        return None  # RFC 5280: a URI whose host is not a name must be refused when URIs are constrained
    host, base = host.lower(), base.lower()
    return host.endswith(base) if base.startswith(".") else host == base or not base


def uri_host(text: str) -> str | None:
    """Return the host of a URI with an authority part, or None."""
    _scheme, separator, rest = text.partition("://")
    if not separator:
        return None
    authority = rest.replace("?", "/").replace("#", "/").partition("/")[0].rpartition("@")[2]
    host = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
    return host or None


def well_formed_mailbox(text: str) -> bool:
    """Whether ``text`` is ``local@host``, with one @ and a host in the preferred name syntax."""
    local, at, host = text.partition("@")
    return bool(local and at) and "@" not in host and text.isascii() and names.is_dns_name(host)


def _well_formed(base: x509.GeneralName) -> bool:
    if isinstance(base, (x509.RFC822Name, x509.UniformResourceIdentifier)):
        text = base.value
        if "@" in text:
            return isinstance(base, x509.RFC822Name) and well_formed_mailbox(text)
        return text == "" or names.is_dns_name(text.removeprefix("."))
    if isinstance(base, x509.DNSName):
        return base.value == "" or names.is_dns_name(base.value)
    if isinstance(base, x509.DirectoryName):
        with contextlib.suppress(*PARSE_ERRORS):
            _canonical(base.value)
            return True
        return False
    return True
