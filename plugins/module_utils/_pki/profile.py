# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What our certificates contain: names, extensions and lifetime; and whether one on disk still does.

A CA may be limited to names (RFC 5280 section 4.2.1.10). A kind of name for which the constraints name no subtree is
not limited by them. So a CA for host names excludes all IP addresses, and the other way round (CA/Browser Forum
Baseline Requirements 7.1.5).

BoringSSL, which Envoy and gRPC are made with, cannot compare addresses: it refuses every certificate with one, once a
CA above it permits or excludes any. So a CA for a server that has addresses limits them only when that is asked for.
It also refuses a certificate whose common name could be a host name and which has no subject alternative name.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label, name_text, san_text, time_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec

_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")  # X.680's PrintableString
_MAILBOX = re.compile(r"[!-?A-~]+@[!-?A-~]+")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_OID = re.compile(r"[0-2](\.\d+)+")


def attribute(oid: x509.ObjectIdentifier, key: str, value: str) -> x509.NameAttribute[str]:
    # What cryptography would encode as one of the narrower string types, and so as something that cannot be read.
    if oid in _printable_attributes() and not _PRINTABLE.fullmatch(value):
        raise MtlsError(
            f"the subject's {key} {value!r} is not possible: it may hold letters, digits, spaces and '()+,-./:=? only."
        )
    if oid in {NameOID.EMAIL_ADDRESS, NameOID.DOMAIN_COMPONENT} and not value.isascii():
        raise MtlsError(f"the subject's {key} {value!r} is not possible: it may hold ASCII characters only.")
    try:
        return x509.NameAttribute(oid, value)
    except ValueError as exc:
        raise MtlsError(f"the subject's {key} {value!r} is not possible: {exc}.") from exc


def _printable_attributes() -> frozenset[x509.ObjectIdentifier]:
    return frozenset(
        {NameOID.COUNTRY_NAME, NameOID.SERIAL_NUMBER, NameOID.DN_QUALIFIER, NameOID.JURISDICTION_COUNTRY_NAME}
    )


def parse_subject(pairs: t.Iterable[t.Mapping[str, t.Any]]) -> x509.Name:
    """Turn the option ``subject`` into a name. Raises MtlsError when that is not possible or the name is empty."""
    name = x509.Name([attribute(attribute_oid(key), key, value) for key, value in map(pair, pairs)])
    if not list(name):
        raise MtlsError("the subject is empty.")
    return name


def pair(pair: t.Mapping[str, t.Any]) -> tuple[str, str]:
    if len(pair) != 1:
        raise MtlsError(
            f"the subject must be a list of dictionaries with one pair each, as in [{{CN: www}}, {{O: Example}}], "
            f"but one has {len(pair)} pairs."
        )
    ((key, value),) = pair.items()
    if value is None or not str(value):
        raise MtlsError(f"the subject's {key} is empty.")
    return key, str(value)


def _attribute_names() -> dict[str, x509.ObjectIdentifier]:
    return {
        "C": NameOID.COUNTRY_NAME,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "L": NameOID.LOCALITY_NAME,
        "STREET": NameOID.STREET_ADDRESS,
        "POSTALCODE": NameOID.POSTAL_CODE,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "CN": NameOID.COMMON_NAME,
        "SN": NameOID.SURNAME,
        "GN": NameOID.GIVEN_NAME,
        "TITLE": NameOID.TITLE,
        "SERIALNUMBER": NameOID.SERIAL_NUMBER,
        "UID": NameOID.USER_ID,
        "DC": NameOID.DOMAIN_COMPONENT,
        "EMAILADDRESS": NameOID.EMAIL_ADDRESS,
    }


def attribute_oid(key: str) -> x509.ObjectIdentifier:
    known = _attribute_names()
    if key.upper() in known:
        return known[key.upper()]
    if _OID.fullmatch(key):
        with contextlib.suppress(ValueError):
            return x509.ObjectIdentifier(key)
    raise MtlsError(f"the subject has the unknown attribute {key!r}. Known are {', '.join(known)} and dotted numbers.")


def ordered_pairs(name: x509.Name) -> list[dict[str, str]]:
    """Give ``name`` in the form of the option ``subject``: one-pair dictionaries in encoded order."""
    short = {oid: key for key, oid in _attribute_names().items()}
    return [{short.get(attribute.oid, attribute.oid.dotted_string): str(attribute.value)} for attribute in name]


def parse_sans(texts: t.Iterable[str]) -> tuple[x509.GeneralName, ...]:
    """Turn ``DNS:``, ``IP:``, ``URI:`` and ``email:`` strings into names, in order, each once.

    Raises MtlsError naming the string that is not possible.
    """
    found: dict[x509.GeneralName, None] = {}
    for text in texts:
        kind, _colon, value = text.partition(":")
        builder = {"dns": _dns, "ip": _ip, "uri": _uri, "email": _email}.get(kind.strip().lower())
        if builder is None or not value:
            raise MtlsError(f"the subject alternative name {text!r} does not start with DNS:, IP:, URI: or email:.")
        found[builder(text, value.strip())] = None
    return tuple(found)


def _dns(text: str, value: str) -> x509.GeneralName:
    if names.parse_ip(value) is not None:
        raise MtlsError(f"the subject alternative name {text!r} is an IP address. Write IP:{value}.")
    if not value.isascii() or not names.is_dns_name(value, wildcard=True):
        raise MtlsError(
            f"the subject alternative name {text!r} is not a DNS name. Its labels are letters, digits and hyphens, "
            "without underscores; a wildcard must be the whole first label, and international names are written in "
            "their xn-- form."
        )
    return x509.DNSName(value)


def _ip(text: str, value: str) -> x509.GeneralName:
    if "%" in value:  # a certificate holds the address alone, so a zone would differ on every run
        raise MtlsError(
            f"the subject alternative name {text!r} has a zone, which a certificate cannot hold. Leave it out."
        )
    try:
        return x509.IPAddress(ipaddress.ip_address(value))
    except ValueError as exc:
        raise MtlsError(f"the subject alternative name {text!r} is not an IP address.") from exc


def _uri(text: str, value: str) -> x509.GeneralName:
    if not _URI.fullmatch(value):
        raise MtlsError(f"the subject alternative name {text!r} is not a URI with a scheme, in ASCII without spaces.")
    return x509.UniformResourceIdentifier(value)


def _email(text: str, value: str) -> x509.GeneralName:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import constraints  # noqa: PLC0415  (rare)

    if not _MAILBOX.fullmatch(value) or not constraints.well_formed_mailbox(value):
        raise MtlsError(f"the subject alternative name {text!r} is not a mailbox like user@example.com.")
    return x509.RFC822Name(value)


# A client's clock may be a little behind ours.
BACKDATE = datetime.timedelta(minutes=5)
DEFAULT_LIFETIME = datetime.timedelta(days=365)
_SHOWN = 5


def leaf(
    spec: CertificateSpec,
    public_key: PublicKeyTypes,
    authority: x509.Certificate,
    *,
    serial_number: int,
    now: datetime.datetime,
) -> x509.CertificateBuilder:
    """Give an RFC 5280 version 3 leaf certificate that does not outlive its CA, to be signed."""
    now = now.replace(microsecond=0)
    public_key = t.cast("CertificatePublicKeyTypes", public_key)
    builder = (
        certificate_builder.start(
            spec.subject,
            authority.subject,
            public_key,
            not_before=max(now - BACKDATE, authority.not_valid_before_utc),
            not_after=min(now + (spec.lifetime or DEFAULT_LIFETIME), authority.not_valid_after_utc),
            serial_number=serial_number,
            usage=_key_usage(spec, public_key),
        )
        .add_extension(x509.ExtendedKeyUsage([_purpose(spec)]), critical=False)
        .add_extension(certificate_builder.authority_key_identifier(authority), critical=False)
    )
    if spec.sans:
        # RFC 5280 4.2.1.6: critical when the subject is empty.
        builder = builder.add_extension(x509.SubjectAlternativeName(spec.sans), critical=not list(spec.subject))
    return builder


def differences(certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
    """Say in words what about ``certificate`` is not as in ``spec``: subject, alternative names, usage, profile."""
    reasons = []
    if certificate.subject != spec.subject:
        reasons.append(f"the subject is {name_text(certificate.subject)}, specified is {name_text(spec.subject)}")
    try:
        found = _extensions(certificate)
    except ValueError as exc:
        return [*reasons, f"its extensions cannot be read ({exc})"]
    reasons += different_sans(certificate, spec)
    purposes = found.get(x509.ExtendedKeyUsage)
    if purposes is None or list(purposes.value) != [_purpose(spec)]:
        reasons.append(f"its extended key usage is not {spec.usage} alone")
    expected: tuple[x509.ExtensionType, ...] = (
        _key_usage(spec, certificate.public_key()),
        x509.BasicConstraints(ca=False, path_length=None),
    )
    for value in expected:
        extension = found.get(type(value))
        if extension is None or not extension.critical or extension.value != value:
            words = "key usage" if isinstance(value, x509.KeyUsage) else "basic constraints"
            reasons.append(f"its {words} extension is not that of a {spec.usage} certificate")
    return reasons


def different_sans(certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
    """Say what is wrong with the subject alternative names. Raises ValueError when they cannot be read."""
    have, want = set(sans_text(certificate)), {san_text(san) for san in spec.sans}
    if have == want:
        return []
    changes = [f"without {san}" for san in sorted(want - have)] + [f"with {san}" for san in sorted(have - want)]
    return [f"the subject alternative names are not as specified: {', '.join(changes)}"]


def is_clamped(certificate: x509.Certificate, end: datetime.datetime) -> bool:
    """Whether a certificate lives as long as its CA, until ``end``, so that a new one would not live longer."""
    return certificate.not_valid_after_utc >= end


def outliving_note(leaves: t.Mapping[str, x509.Certificate], authority: x509.Certificate) -> list[str]:
    """Say which certificates live longer than a CA above them, which external issuers may let them."""
    end = authority.not_valid_after_utc
    names = sorted(name for name, leaf in leaves.items() if leaf.not_valid_after_utc > end)
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return [
        f"{len(names)} certificate{'s' if len(names) > 1 else ''} ({shown}) would outlive the CA {label(authority)}, "
        f"which ends at {time_text(end)}: from then on they are refused. Have that CA renewed before."
    ]


def sans_text(certificate: x509.Certificate) -> list[str]:
    """Give the subject alternative names in the form of the option ``sans``."""
    extension = _extensions(certificate).get(x509.SubjectAlternativeName)
    return [] if extension is None else [san_text(name) for name in extension.value]


def _extensions(certificate: x509.Certificate) -> dict[t.Any, x509.Extension[t.Any]]:
    return {type(extension.value): extension for extension in certificate.extensions}


def _purpose(spec: CertificateSpec) -> x509.ObjectIdentifier:
    return ExtendedKeyUsageOID.SERVER_AUTH if spec.usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH


def _key_usage(spec: CertificateSpec, public_key: PublicKeyTypes) -> x509.KeyUsage:
    # keyEncipherment is for a server's RSA key exchange in TLS 1.2; a client only ever signs.
    return certificate_builder.key_usage(
        key_encipherment=spec.usage == "server" and isinstance(public_key, rsa.RSAPublicKey)
    )


# As BoringSSL's x509v3_looks_like_dns_name has it.
_HOST_LIKE = re.compile(r"(\*\.)?[A-Za-z0-9_:.-]+")
_ALL_ADDRESSES = ("0.0.0.0/0", "::/0")


def parse_permitted(texts: t.Iterable[str]) -> tuple[x509.GeneralName, ...]:
    """Turn ``DNS:``, ``IP:``, ``URI:`` and ``email:`` strings into subtrees; an IP may be a network.

    The subtree of a URI is a host, or a domain with a dot in front. Raises MtlsError naming what is not possible.
    """
    found: list[x509.GeneralName] = []
    for text in texts:
        kind, _colon, value = text.partition(":")
        if kind.strip().lower() == "ip" and value:
            found.append(_address_subtree(text, value.strip()))
        elif kind.strip().lower() == "uri" and value:
            found.append(_domain_subtree(x509.UniformResourceIdentifier, text, value.strip()))
        elif kind.strip().lower() == "email" and "@" not in value and value:
            found.append(_domain_subtree(x509.RFC822Name, text, value.strip()))
        else:
            found += (_subtree(name) for name in parse_sans([text]))
    return tuple(found)


def _domain_subtree(
    kind: type[x509.UniformResourceIdentifier | x509.RFC822Name], text: str, value: str
) -> x509.GeneralName:
    if not value.isascii() or not names.is_dns_name(value.removeprefix(".")):
        raise MtlsError(f"the permitted name {text!r} is not a host, or a domain with a dot in front.")
    return kind(value)


def _address_subtree(text: str, value: str) -> x509.IPAddress:
    if "%" in value:
        raise MtlsError(f"the permitted name {text!r} has a zone, which a certificate cannot hold. Leave it out.")
    try:
        return x509.IPAddress(ipaddress.ip_network(value))
    except ValueError as exc:
        raise MtlsError(f"the permitted name {text!r} is not an IP address or network.") from exc


def _subtree(name: x509.GeneralName) -> x509.GeneralName:
    """Give the smallest subtree that holds ``name``; that of a wildcard is the domain behind it."""
    if isinstance(name, x509.DNSName):
        return x509.DNSName(name.value.removeprefix("*.").lower())
    if isinstance(name, x509.IPAddress):
        return x509.IPAddress(ipaddress.ip_network(name.value))
    return name


def permitting(subtrees: t.Iterable[x509.GeneralName], sans: t.Sequence[x509.GeneralName]) -> x509.NameConstraints:
    """Make the constraints that permit ``subtrees`` and the host names and addresses among ``sans``, and no others."""
    given = list(subtrees)
    limits_addresses = any(isinstance(subtree, x509.IPAddress) for subtree in given)
    kinds: tuple[type[x509.GeneralName], ...] = (x509.DNSName, x509.IPAddress) if limits_addresses else (x509.DNSName,)
    names_or_networks = list(dict.fromkeys([*given, *(_subtree(name) for name in sans if isinstance(name, kinds))]))
    permitted = [
        subtree
        for subtree in names_or_networks
        if not any(_covers(other, subtree) for other in names_or_networks if other != subtree)
    ]
    excluded: list[x509.GeneralName] = []
    if not any(isinstance(name, x509.IPAddress) for name in (*permitted, *sans)):
        excluded += (x509.IPAddress(ipaddress.ip_network(subtree)) for subtree in _ALL_ADDRESSES)
    if not any(isinstance(subtree, x509.DNSName) for subtree in permitted):
        excluded.append(x509.DNSName(""))
    return x509.NameConstraints(permitted_subtrees=permitted or None, excluded_subtrees=excluded or None)


def _covers(base: x509.GeneralName, other: x509.GeneralName) -> bool:
    if isinstance(base, x509.DNSName) and isinstance(other, x509.DNSName):
        return other.value.endswith(f".{base.value}")
    if isinstance(base, x509.IPAddress) and isinstance(other, x509.IPAddress):
        wide, narrow = t.cast("tuple[ipaddress.IPv4Network, ipaddress.IPv4Network]", (base.value, other.value))
        return wide.version == narrow.version and narrow.subnet_of(wide)
    return False


def unpermitted(spec: CertificateSpec, constraints: x509.NameConstraints, *, title: str) -> list[str]:
    """Say which names of a certificate ``constraints`` do not permit, and what to do; ``title`` names the CA."""
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.constraints import forbids  # noqa: PLC0415  (rare)

    every: list[x509.GeneralName] = [*spec.sans]
    if list(spec.subject):
        every.append(x509.DirectoryName(spec.subject))
    reasons = [reason for reason in (forbids(constraints, name) for name in every) if reason is not None]
    found = [
        f"Certificate {spec.name}: {title} may not issue it, as its name constraints {reason}. Leave that name out, "
        f"or change to a CA that is made for it: add the name to permitted_names, rotate the CA, and use the name when "
        "the rotation is over."
        for reason in reasons
    ]
    if spec.usage == "client" and not spec.sans and (name := _host_like_common_name(spec.subject)):
        found.append(
            f"Certificate {spec.name}: {title} has name constraints, and then Envoy, and so every Istio gateway, "
            f"refuses a client whose common name could be a host name ({name!r}) and that has no sans. Give it one, "
            f"for example URI:spiffe://example.com/{spec.name}, or a common name with a space."
        )
    return found


def _host_like_common_name(subject: x509.Name) -> str:
    common_names = [str(attribute.value) for attribute in subject if attribute.oid == NameOID.COMMON_NAME]
    return next((name for name in common_names if _HOST_LIKE.fullmatch(name)), "")


def constraints_text(constraints: x509.NameConstraints) -> str:
    """Say in words what a CA is limited to."""
    permitted = ", ".join(san_text(subtree) for subtree in constraints.permitted_subtrees or ())
    return f"for {permitted} only" if permitted else "for no host names and addresses"
