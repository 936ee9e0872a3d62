# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one certificate must be to stand in a chain (RFC 5280 sections 4 and 6), whatever stands around it.

Each rule answers with a clause that completes "it is refused because ...".
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import constraints, signature
from ansible_collections.kyma.mtls.plugins.module_utils._x509.profiles import webpki

try:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

MAX_SERIAL_OCTETS = 20


def leaf_problems(cert: Cert, policy: Policy) -> list[str]:
    """Why the certificate cannot be the chain's first; empty when it can."""
    problems = [problem for problem in _common(cert, policy) if problem]
    if problems and cert.defect:
        return problems
    checks: list[str | None] = [
        _leaf_basics(cert),
        _leaf_key_usage(cert, policy),
        _extended_key_usage(cert, policy),
        *map(_san_problem, cert.sans),
        *_hostname_problems(cert, policy),
    ]
    if policy.webpki:
        checks += webpki.leaf_problems(cert)
    return problems + [problem for problem in checks if problem]


def leaf_remarks(cert: Cert, policy: Policy) -> list[str]:
    """What is odd about a leaf without being a reason to refuse it."""
    remarks = _remarks(cert)
    if cert.is_ca:
        remarks.append("it is a CA certificate used as an end-entity certificate")
    if not cert.sans and policy.purpose == "server":
        remarks.append("it has no subjectAltName: clients that follow RFC 9525 will match no host name with it")
    if cert.extension(x509.AuthorityKeyIdentifier) is None and not cert.self_issued:
        remarks.append("it has no authorityKeyIdentifier, which RFC 5280 section 4.2.1.1 requires")
    return remarks


def authority_problem(cert: Cert, policy: Policy, *, anchor: bool) -> str | None:
    """Why the certificate cannot issue others in a chain; None when it can."""
    for problem in _common(cert, policy):
        if problem:
            return problem
    checks = [
        _authority_basics(cert),
        _authority_key_usage(cert),
        constraints.syntax_problem(cert),
        _extended_key_usage(cert, policy),
    ]
    if policy.webpki:
        checks += webpki.authority_problems(cert, anchor=anchor)
    return next((problem for problem in checks if problem), None)


def authority_remarks(cert: Cert) -> list[str]:
    """What is odd about an authority's certificate without being a reason to refuse it."""
    remarks = _remarks(cert)
    basic = cert.extension(x509.BasicConstraints)
    if basic is not None and not basic.critical:
        remarks.append("its basicConstraints are not critical, against RFC 5280 section 4.2.1.9")
    if cert.extension(x509.SubjectKeyIdentifier) is None:
        remarks.append("it has no subjectKeyIdentifier, which RFC 5280 section 4.2.1.2 requires")
    if cert.extension(x509.AuthorityKeyIdentifier) is None and not cert.self_issued:
        remarks.append("it has no authorityKeyIdentifier, which RFC 5280 section 4.2.1.1 requires")
    return remarks


def _remarks(cert: Cert) -> list[str]:
    remarks = []
    if cert.parts.serial_number <= 0:
        remarks.append("its serial number is not positive, against RFC 5280 section 4.1.2.2")
    if cert.certificate.version is x509.Version.v1:
        remarks.append("it is X.509 version 1")
    return remarks


def _common(cert: Cert, policy: Policy) -> t.Iterator[str | None]:
    yield cert.defect
    yield _validity(cert, policy)
    if cert.parts.inner_signature != cert.parts.outer_signature:
        yield "its two signatureAlgorithm fields differ"
    if not cert.issuer:
        yield "its issuer name is empty"
    if abs(cert.parts.serial_number).bit_length() >= 8 * MAX_SERIAL_OCTETS:
        yield f"its serial number is longer than {MAX_SERIAL_OCTETS} octets"
    yield signature.key_weakness(cert.key, webpki=policy.webpki)
    yield _critical_extensions(cert, policy)


def _validity(cert: Cert, policy: Policy) -> str | None:
    at = describe.time_text(policy.now)
    if policy.now < cert.not_before:
        return f"it is not valid before {describe.time_text(cert.not_before)} (now is {at})"
    if policy.now > cert.not_after:
        return f"it expired at {describe.time_text(cert.not_after)} (now is {at})"
    return None


def _understood() -> frozenset[x509.ObjectIdentifier]:
    """The extensions that may be critical because this engine acts on them, or because they only inform."""
    return frozenset(
        {
            ExtensionOID.BASIC_CONSTRAINTS,
            ExtensionOID.KEY_USAGE,
            ExtensionOID.EXTENDED_KEY_USAGE,
            ExtensionOID.NAME_CONSTRAINTS,
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
            ExtensionOID.ISSUER_ALTERNATIVE_NAME,
            ExtensionOID.CERTIFICATE_POLICIES,
            ExtensionOID.POLICY_MAPPINGS,
            ExtensionOID.POLICY_CONSTRAINTS,
            ExtensionOID.INHIBIT_ANY_POLICY,
            ExtensionOID.CRL_DISTRIBUTION_POINTS,
        }
    )


def _critical_extensions(cert: Cert, policy: Policy) -> str | None:
    never_critical = {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: "authorityKeyIdentifier",
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: "subjectKeyIdentifier",
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS: "authorityInfoAccess",
        ExtensionOID.SUBJECT_INFORMATION_ACCESS: "subjectInfoAccess",
        ExtensionOID.FRESHEST_CRL: "freshestCRL",
    }
    always_critical = {
        ExtensionOID.POLICY_CONSTRAINTS: "policyConstraints",
        ExtensionOID.INHIBIT_ANY_POLICY: "inhibitAnyPolicy",
    }
    if not policy.webpki:  # the CA/Browser Forum makes an exception from RFC 5280 for these
        always_critical[ExtensionOID.NAME_CONSTRAINTS] = "nameConstraints"
    understood = _understood()
    for extension in cert.extensions:
        if extension.critical and extension.oid in never_critical:
            return f"its {never_critical[extension.oid]} extension is critical, which RFC 5280 forbids"
        if extension.critical and extension.oid not in understood:
            return f"it has an unknown critical extension ({extension.oid.dotted_string})"
        if not extension.critical and extension.oid in always_critical:
            return f"its {always_critical[extension.oid]} extension is not critical, which RFC 5280 requires"
    return None


def _leaf_basics(cert: Cert) -> str | None:
    if cert.extension(x509.NameConstraints) is not None and not cert.is_ca:
        return "it has name constraints but is not a CA"
    san = cert.extension(x509.SubjectAlternativeName)
    if not cert.subject and (san is None or not san.critical):
        return "its subject is empty and its subjectAltName is not a critical extension"
    if san is not None and not cert.sans:
        return "its subjectAltName is empty"
    return None


def _leaf_key_usage(cert: Cert, policy: Policy) -> str | None:
    usage = cert.value(x509.KeyUsage)
    if usage is None:
        return None
    if usage.key_cert_sign and not cert.is_ca:
        return "its key usage allows signing certificates but it is not a CA"
    if policy.purpose == "any" or cert.is_ca:
        return None
    if policy.purpose == "client" and not (usage.digital_signature or usage.key_agreement):
        return "its key usage allows neither digitalSignature nor keyAgreement, so it cannot authenticate a client"
    if not (usage.digital_signature or usage.key_encipherment or usage.key_agreement):
        return "its key usage allows none of digitalSignature, keyEncipherment, keyAgreement, so it cannot serve TLS"
    return None


def _extended_key_usage(cert: Cert, policy: Policy) -> str | None:
    usages = cert.value(x509.ExtendedKeyUsage)
    if usages is None:
        return None
    present = list(usages)
    if not present:
        return "its extended key usage is empty"
    expected = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}.get(
        policy.purpose
    )
    if expected is None or expected in present or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in present:
        return None
    return f"its extended key usage does not include {policy.purpose}Auth"


def _authority_basics(cert: Cert) -> str | None:
    if not cert.subject:
        return "it is a CA certificate with an empty subject"
    if cert.extension(x509.BasicConstraints) is None:
        return "it has no basicConstraints, so it is not a CA"
    if not cert.is_ca:
        return "its basicConstraints say CA:FALSE"
    san = cert.extension(x509.SubjectAlternativeName)
    if san is not None and not cert.sans:
        return "its subjectAltName is empty"
    return None


def _authority_key_usage(cert: Cert) -> str | None:
    usage = cert.value(x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "its key usage does not allow signing certificates (keyCertSign)"
    return None


def _san_problem(name: x509.GeneralName) -> str | None:
    if isinstance(name, x509.DNSName):
        if names.parse_ip(name.value) is not None:
            return f"its subjectAltName has the IP address {name.value} as a DNS name"
        if not names.is_dns_name(name.value, wildcard=True):
            return f"its subjectAltName {name.value!r} is not a DNS name"
    if isinstance(name, x509.RFC822Name) and not constraints.well_formed_mailbox(name.value):
        return f"its subjectAltName {name.value!r} is not an e-mail address"
    return None


def _hostname_problems(cert: Cert, policy: Policy) -> t.Iterator[str]:
    for host in policy.hostnames:
        if not names.host_matches(cert.sans, host):
            shown = ", ".join(describe.san_text(name) for name in cert.sans[:20]) or "none"
            yield f"it is not valid for {host!r} (its subject alternative names: {shown})"
