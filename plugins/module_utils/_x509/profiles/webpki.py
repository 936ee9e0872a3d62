# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The profile webpki: what the CA/Browser Forum Baseline Requirements add to RFC 5280."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, names

try:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert

_ADDRESS_PART = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")

# Second-level labels under which country registries sell names: a wildcard directly below one spans strangers.
_REGISTRY_LABELS = frozenset({"ac", "co", "com", "edu", "gob", "gov", "gouv", "mil", "ne", "net", "nom", "or", "org"})


def leaf_problems(cert: Cert) -> list[str | None]:
    """What the profile holds against an end-entity certificate."""
    return [
        _version(cert),
        _serial(cert),
        _not_a_ca(cert),
        _alternative_names(cert),
        *_common_names(cert),
        _usages(cert),
        _issuer_id(cert),
    ]


def authority_problems(cert: Cert, *, anchor: bool) -> list[str | None]:
    """What the profile holds against a CA certificate; ``anchor`` says that the caller trusts it directly."""
    problems = [_version(cert), _authority_form(cert)]
    if not anchor:
        problems.append(_serial(cert))  # old roots with the serial number 0 are in every browser
    if not anchor or cert.extension(x509.AuthorityKeyIdentifier) is not None:
        problems.append(_issuer_id(cert))  # nothing is looked for above an anchor: it needs none
    if anchor and cert.self_issued:
        problems.append(_root(cert))
    return problems


def _version(cert: Cert) -> str | None:
    if cert.certificate.version is not x509.Version.v3:
        return "it is not X.509 version 3 (profile webpki)"
    return None


def _serial(cert: Cert) -> str | None:
    return "its serial number is not positive (profile webpki)" if cert.parts.serial_number <= 0 else None


def _not_a_ca(cert: Cert) -> str | None:
    if cert.is_ca:
        return "it is a CA certificate and may not be an end-entity certificate (profile webpki)"
    return None


def _alternative_names(cert: Cert) -> str | None:
    san = cert.extension(x509.SubjectAlternativeName)
    if san is None:
        return "it has no subjectAltName (profile webpki)"
    if san.critical and cert.subject:
        return "its subjectAltName is critical although its subject is not empty (profile webpki)"
    for name in cert.sans:
        if isinstance(name, x509.DNSName) and _spans_a_registry(name.value.lower()):
            return f"its wildcard {name.value} spans a public suffix (profile webpki)"
    return None


def _spans_a_registry(pattern: str) -> bool:
    if not pattern.startswith("*."):
        return False
    labels = pattern[2:].split(".")
    return len(labels) == 1 or (len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _REGISTRY_LABELS)


def _common_names(cert: Cert) -> t.Iterator[str | None]:
    for value in strange_common_names(cert):
        shown = ", ".join(describe.san_text(name) for name in cert.sans[:20])
        yield f"its common name {value!r} is not one of its subject alternative names ({shown}) (profile webpki)"


def strange_common_names(cert: Cert) -> list[str]:
    """The common names that look like a host and are not a copy of a SAN (BR 7.1.4.3).

    Let be are, for they mislead nobody: a domain above one of the SANs, and one beside SANs of other kinds only.
    """
    exact = {str(name.value) for name in cert.sans if isinstance(name, (x509.DNSName, x509.IPAddress))}
    domains = [name.value for name in cert.sans if isinstance(name, x509.DNSName)]
    found = []
    for attribute in cert.subject_name.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        value = str(attribute.value)
        if value in exact or not _looks_like_a_host(value):
            continue
        above = not domains or any(domain.endswith(f".{value}") for domain in domains)
        if not above or not names.is_dns_name(value) or _spells_an_address(value):
            found.append(value)
    return found


def _looks_like_a_host(text: str) -> bool:
    if any(letter.isspace() for letter in text):
        return False
    return "." in text or _spells_an_address(text)


def _spells_an_address(text: str) -> bool:
    """Whether the text is an IP address in some notation, the odd ones (hexadecimal, leading zeros) included."""
    if names.parse_ip(text) is not None:
        return True
    return all(_ADDRESS_PART.fullmatch(part) for part in text.split("."))


def _usages(cert: Cert) -> str | None:
    usages = cert.extension(x509.ExtendedKeyUsage)
    if usages is None:
        return "it has no extended key usage (profile webpki)"
    if usages.critical:
        return "its extended key usage is critical (profile webpki)"
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in list(usages.value):
        return "its extended key usage has anyExtendedKeyUsage (profile webpki)"
    return None


def _issuer_id(cert: Cert) -> str | None:
    found = cert.value(x509.AuthorityKeyIdentifier)
    if found is None:
        return "it has no authorityKeyIdentifier (profile webpki)"
    if found.key_identifier is None:
        return "its authorityKeyIdentifier has no key identifier (profile webpki)"
    if found.authority_cert_issuer is not None or found.authority_cert_serial_number is not None:
        return "its authorityKeyIdentifier names an issuer or a serial number (profile webpki)"
    return None


def _authority_form(cert: Cert) -> str | None:
    basic = cert.extension(x509.BasicConstraints)
    if basic is not None and not basic.critical:
        return "its basicConstraints are not critical (profile webpki)"
    if cert.extension(x509.SubjectKeyIdentifier) is None:
        return "it has no subjectKeyIdentifier (profile webpki)"
    return None


def _root(cert: Cert) -> str | None:
    if cert.extension(x509.ExtendedKeyUsage) is not None:
        return "it is a root with an extended key usage (profile webpki)"
    own, named = cert.value(x509.SubjectKeyIdentifier), cert.value(x509.AuthorityKeyIdentifier)
    if own is not None and named is not None and named.key_identifier != own.digest:
        return "it is a root whose authorityKeyIdentifier is not its own subjectKeyIdentifier (profile webpki)"
    return None
