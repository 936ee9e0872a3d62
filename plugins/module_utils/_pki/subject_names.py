# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Subjects and subject alternative names: from the text of an option to X.509 terms, and back."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import names

try:
    from cryptography import x509
    from cryptography.x509.oid import NameOID
except ImportError:
    pass  # the module's edge reports it

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
