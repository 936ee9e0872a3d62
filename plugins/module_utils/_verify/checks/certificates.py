# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's certificate and its chain: what can be judged by looking at them."""

from __future__ import annotations

import datetime
import itertools
import typing as t
import urllib.parse
import warnings

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
    from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.expiry import Threshold
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.handshake_messages import UNOBSERVABLE
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, describe, issuance, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

_MAXIMUM_LIFETIME_DAYS = 825


def parse_chain(chain: t.Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Return the served certificates; stops at the first that is none."""
    parsed: list[x509.Certificate] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd serial numbers: MV-10 says so itself
        for certificate in chain:
            try:
                parsed.append(x509.load_der_x509_certificate(certificate))
            except PARSE_ERRORS:
                break
    return tuple(parsed)


def dns_names(chain: t.Sequence[x509.Certificate]) -> list[str]:
    """Return the DNS names of the server's certificate, the first of ``chain``."""
    if not chain:
        return []
    try:
        return [name.value for name in names.subject_alternative_names(chain[0]) if isinstance(name, x509.DNSName)]
    except PARSE_ERRORS:
        return []


def check_server(
    options: VerifyOptions,
    chain: t.Sequence[x509.Certificate],
    clients: t.Sequence[Identity],
    *,
    is_whole: bool,
    verify_error: str,
) -> list[Case]:
    """MV-10 to MV-17: what the server presented. ``is_whole``: ``chain`` is all of it, and not only the leaf."""
    leaf, now = chain[0], options.now
    soon = {"warning": options.expiry_warning, "failure": options.expiry_failure}
    trusted = Outcome.FAILED if verify_error else Outcome.PASSED
    cases = [
        *check_leaf(leaf),
        *check_names(leaf, options.target.host),
        *(check_chain(chain, now=now) if is_whole else [Case("MV-13", "order", Outcome.SKIPPED, UNOBSERVABLE)]),
        Case("MV-13", "trusted", trusted, verify_error or "up to a given CA"),
        *check_strength(chain),
        check_validity("server", leaf, now=now, **soon),
        check_revocation_urls(leaf),
    ]
    if "MV-15" in options.checks:
        cases += [check_validity(client.name, client.certificate, now=now, **soon) for client in clients]
        cases += [
            check_validity(f"CA {describe.subject_text(ca)}", ca, now=now, **soon)
            for ca in dict.fromkeys((*chain[1:], *options.expected_client_cas))
            if options.expiry_failure.is_set
        ]
    if "MV-16" in options.checks:
        cases.append(check_separate_keys(leaf, clients))
    return cases


def check_leaf(leaf: x509.Certificate) -> list[Case]:
    """MV-10: the shape of the server's certificate."""
    problems: list[str] = []
    remarks: list[str] = []
    serial = der.certificate_parts(describe.der_of(leaf)).serial_number
    if serial <= 0 or serial.bit_length() > 159:
        problems.append(
            f"its serial number {describe.serial_text(serial)} is not a positive number of at most 20 octets"
        )
    try:
        if leaf.version is not x509.Version.v3:
            problems.append(f"it is X.509 {leaf.version.name}, not v3")
        if not names.subject_alternative_names(leaf):
            problems.append("it has no SAN: today's clients refuse it")
        if issuance.is_ca(leaf):
            problems.append("it is a CA's certificate")
        usages = _usages(leaf)
        if usages is None:
            remarks.append("it has no extended key usage (serverAuth is expected)")
        elif ExtendedKeyUsageOID.SERVER_AUTH not in usages:
            problems.append("its extended key usage has no serverAuth")
        elif ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
            remarks.append("its extended key usage allows any purpose")
    except PARSE_ERRORS as exc:
        problems.append(f"its extensions cannot be parsed: {first_line(exc)}")
    outcome = Outcome.FAILED if problems else Outcome.WARNING if remarks else Outcome.PASSED
    return [
        Case("MV-10", describe.label(leaf), outcome, "; ".join(problems + remarks) or "X.509 v3 for servers, with SANs")
    ]


def _usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier] | None:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None


def check_names(leaf: x509.Certificate, host: str) -> list[Case]:
    """MV-11 and MV-12: the host is named, and not more than it should be."""
    try:
        sans = names.subject_alternative_names(leaf)
    except PARSE_ERRORS as exc:
        return [Case("MV-11", host, Outcome.FAILED, f"the SANs cannot be parsed: {first_line(exc)}")]
    listed = ", ".join(describe.san_text(san) for san in sans[:8]) or "none"
    matched = names.host_matches(sans, host)
    cases = [
        Case(
            "MV-11",
            host,
            Outcome.PASSED if matched else Outcome.FAILED,
            f"{'covered by' if matched else 'not covered by'} the SANs: {listed}",
        )
    ]
    if names.parse_ip(host) is not None:
        cases.append(Case("MV-12", host, Outcome.SKIPPED, "the host is an IP address"))
        return cases
    wide = [
        str(san.value)
        for san in sans
        if isinstance(san, x509.DNSName) and "*" in san.value and not _sound_wildcard(san.value)
    ]
    deeper = f"deeper.{host}"
    if wide:
        cases.append(
            Case("MV-12", host, Outcome.FAILED, f"the wildcard is not one whole leftmost label: {', '.join(wide)}")
        )
    elif names.host_matches(sans, deeper):
        cases.append(Case("MV-12", deeper, Outcome.PASSED, f"{deeper} is covered by a SAN of its own: {listed}"))
    else:
        cases.append(Case("MV-12", deeper, Outcome.PASSED, f"{deeper} is not covered"))
    return cases


def _sound_wildcard(pattern: str) -> bool:
    return pattern.count("*") == 1 and pattern.startswith("*.") and pattern.count(".") >= 2


def check_chain(chain: t.Sequence[x509.Certificate], *, now: datetime.datetime) -> list[Case]:
    """MV-13: the order of the served chain, and nothing in it that does not belong."""
    if not chain:
        return []
    problems: list[str] = []
    notes: list[str] = []
    for position, (certificate, issuer) in enumerate(itertools.pairwise(chain), start=1):
        if not issuance.is_issued_by(certificate, issuer):
            problems.append(
                f"certificate {position + 1} ({describe.label(issuer)}) did not issue certificate {position}"
            )
        if issuer.not_valid_after_utc < now:
            problems.append(f"certificate {position + 1} ({describe.label(issuer)}) has expired")
    last = chain[-1]
    if len(chain) > 1 and issuance.is_self_issued(last):
        notes.append("it ends with its root, which clients have anyway (allowed by RFC 8446 section 4.4.2)")
    if len({describe.fingerprint_sha256(certificate) for certificate in chain}) != len(chain):
        problems.append("a certificate is in it twice")
    said = f"{len(chain)} certificate{'s' if len(chain) > 1 else ''}"
    outcome = Outcome.FAILED if problems else Outcome.PASSED
    return [Case("MV-13", "order", outcome, "; ".join([said, *problems, *notes]))]


def check_strength(chain: t.Sequence[x509.Certificate]) -> list[Case]:
    """MV-14: keys and signatures. A root's own signature protects nothing and is not looked at."""
    cases = []
    for certificate in chain:
        problems = []
        key = _public_key(certificate)
        if isinstance(key, (rsa.RSAPublicKey, dsa.DSAPublicKey)) and key.key_size < 2048:
            problems.append(f"its key has only {key.key_size} bits")
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < 256:
            problems.append(f"its curve {key.curve.name} has only {key.curve.key_size} bits")
        signature = describe.signature_facts(certificate)
        if not issuance.is_self_issued(certificate) and signature["hash"] in {"sha1", "md5", "md2"}:
            problems.append(f"it is signed with {signature['hash'].upper()}")
        facts = describe.key_facts(certificate)
        said = " ".join(str(facts[fact]) for fact in ("type", "size") if fact in facts)
        text = "; ".join(problems) or f"{said}, signed with {signature['algorithm']}"
        outcome = Outcome.FAILED if problems else Outcome.PASSED
        cases.append(Case("MV-14", describe.subject_text(certificate) or "(empty subject)", outcome, text))
    return cases


def _public_key(certificate: x509.Certificate) -> t.Any:
    try:
        return certificate.public_key()
    except PARSE_ERRORS:
        return None


def check_validity(
    name: str, certificate: x509.Certificate, *, now: datetime.datetime, warning: Threshold, failure: Threshold
) -> Case:
    """MV-15: valid now, and for how long still."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    left = describe.days_left(certificate, now=now)
    evidence = {"not_before": describe.time_text(begins), "not_after": describe.time_text(ends), "days_left": left}
    lifetime = ends - begins
    if now > ends:
        return Case("MV-15", name, Outcome.FAILED, f"expired on {describe.time_text(ends)}", evidence)
    if now < begins:
        return Case("MV-15", name, Outcome.FAILED, f"not valid before {describe.time_text(begins)}", evidence)
    if ends - now < failure.window(certificate):
        text = f"expires in {left} days, on {describe.time_text(ends)}; at least {failure} are required"
        return Case("MV-15", name, Outcome.FAILED, text, evidence)
    if ends - now < warning.window(certificate):
        return Case("MV-15", name, Outcome.WARNING, f"expires in {left} days, on {describe.time_text(ends)}", evidence)
    if name == "server" and lifetime > datetime.timedelta(days=_MAXIMUM_LIFETIME_DAYS):
        text = f"valid for {lifetime.days} days in all: Apple's clients accept at most {_MAXIMUM_LIFETIME_DAYS}"
        return Case("MV-15", name, Outcome.WARNING, text, evidence)
    return Case("MV-15", name, Outcome.PASSED, f"{left} days left, until {describe.time_text(ends)}", evidence)


def check_separate_keys(leaf: x509.Certificate, clients: t.Iterable[Identity]) -> Case:
    """MV-16: who shares a key with the server can impersonate it."""
    own = describe.spki_sha256(leaf)
    sharing = [client.name for client in clients if describe.spki_sha256(client.certificate) == own]
    if sharing:
        return Case("MV-16", "keys", Outcome.FAILED, f"the server's key is also that of: {', '.join(sharing[:5])}")
    return Case("MV-16", "keys", Outcome.PASSED, "the server's key is its own")


def check_revocation_urls(leaf: x509.Certificate) -> Case:
    """MV-17: CRL and OCSP addresses."""
    addresses: list[str] = []
    try:
        for extension in leaf.extensions:
            if isinstance(extension.value, x509.CRLDistributionPoints):
                addresses += [str(name.value) for point in extension.value for name in point.full_name or ()]
            elif isinstance(extension.value, x509.AuthorityInformationAccess):
                addresses += [
                    str(point.access_location.value)
                    for point in extension.value
                    if point.access_method == AuthorityInformationAccessOID.OCSP
                ]
    except PARSE_ERRORS as exc:
        return Case("MV-17", "pointers", Outcome.FAILED, f"the extensions cannot be parsed: {first_line(exc)}")
    if not addresses:
        text = "the certificate names no CRL and no OCSP responder; whether it is revocable otherwise cannot be seen"
        return Case("MV-17", "pointers", Outcome.SKIPPED, text)
    broken = [address for address in addresses if urllib.parse.urlsplit(address).scheme not in {"http", "ldap"}]
    if broken:
        text = f"not an http or ldap address, so fetching it could need itself: {', '.join(broken)}"
        return Case("MV-17", "pointers", Outcome.WARNING, text)
    return Case("MV-17", "pointers", Outcome.PASSED, ", ".join(addresses))
