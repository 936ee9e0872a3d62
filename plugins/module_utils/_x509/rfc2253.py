# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Distinguished names as gateways print them: RFC 2253 in OpenSSL's dialect, written and read.

OpenSSL (and with it Envoy, nginx, Apache httpd and HAProxy) prints every octet above 127 as ``\\XX``, uses short
names that differ from RFC 4514's, and prints the values of unknown attributes as ``#`` and their DER in hexadecimal.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der

# A value is text, or the DER of what is no string. The parts of a multi-valued RDN have no order.
Attribute: t.TypeAlias = tuple[str, str | bytes]
RelativeName: t.TypeAlias = frozenset[Attribute]

SHORT_NAMES: t.Final = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.17": "postalCode",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.72": "role",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}

# What other programs and other versions of OpenSSL write.
_OTHER_NAMES: t.Final = {
    "commonname": "2.5.4.3",
    "surname": "2.5.4.4",
    "countryname": "2.5.4.6",
    "localityname": "2.5.4.7",
    "s": "2.5.4.8",
    "stateorprovincename": "2.5.4.8",
    "streetaddress": "2.5.4.9",
    "organizationname": "2.5.4.10",
    "organizationalunitname": "2.5.4.11",
    "postaladdress": "2.5.4.16",
    "givenname": "2.5.4.42",
    "organizationidentifier": "2.5.4.97",
    "userid": "0.9.2342.19200300.100.1.1",
    "domaincomponent": "0.9.2342.19200300.100.1.25",
    "e": "1.2.840.113549.1.9.1",
    "email": "1.2.840.113549.1.9.1",
}
_BY_NAME: t.Final = {**{name.lower(): oid for oid, name in SHORT_NAMES.items()}, **_OTHER_NAMES}

_CODECS: t.Final = {
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "latin-1",
    der.IA5_STRING: "latin-1",
    der.T61_STRING: "latin-1",
    der.BMP_STRING: "utf-16-be",
    der.UNIVERSAL_STRING: "utf-32-be",
}
_TYPE = re.compile(r"\s*(?:OID\.)?([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)\s*=[ ]*", re.IGNORECASE)
_HEX_VALUE = re.compile(r"#((?:[0-9A-Fa-f]{2})+)\s*(?=[,+;]|$)")
_SPECIAL = frozenset(',+"\\<>;')
# Nothing in it is escaped, at its edges neither.
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 .:/@_-]*[A-Za-z0-9])?")
_SEPARATORS = frozenset(",;+")


def attributes(name: bytes) -> tuple[RelativeName, ...]:
    """Return the RDNs of the DER ``name`` in the order of their encoding. Raises ValueError when it is not a name."""
    outer = der.read(name, 0, len(name))
    return tuple(frozenset((oid, _value(raw)) for oid, raw in _pairs(name, rdn)) for rdn in der.children(name, outer))


@functools.lru_cache(maxsize=64)  # thousands of clients share their issuer
def text(name: bytes) -> str:
    """Return the DER ``name`` as OpenSSL prints it. Raises ValueError when it is not a name."""
    outer = der.read(name, 0, len(name))
    relative = ["+".join(_printed(*pair) for pair in reversed(_pairs(name, rdn))) for rdn in der.children(name, outer)]
    return ",".join(reversed(relative))


def parse(printed: str) -> tuple[RelativeName, ...]:
    """Return the RDNs of a printed name in the order of their printing. Raises ValueError when it is not a name."""
    relative: list[list[Attribute]] = []
    position, separator = 0, ","
    while position < len(printed):
        found = _TYPE.match(printed, position)
        if found is None:
            raise ValueError("not a distinguished name")
        value, position = _read_value(printed, found.end())
        oid = found[1] if found[1][0].isdigit() else _BY_NAME.get(found[1].lower(), "")
        if not oid:
            raise ValueError(f"{found[1]} is not an attribute's name")
        if separator == "+":
            relative[-1].append((oid, value))
        else:
            relative.append([(oid, value)])
        separator = printed[position : position + 1]
        position += 1
    if separator in _SEPARATORS and relative:
        raise ValueError("the name ends too early")
    return tuple(frozenset(rdn) for rdn in relative)


def prints(printed: str, name: bytes) -> bool:
    """Whether ``printed`` is the DER ``name``, whichever spelling and direction the program that printed it has."""
    try:
        expected = attributes(name)
    except ValueError:
        return False
    for reading in _readings(printed):
        try:
            found = parse(reading)
        except ValueError:
            continue
        if found in (expected, tuple(reversed(expected))):
            return True
    return False


def _readings(printed: str) -> t.Iterator[str]:
    yield printed
    try:
        # UTF-8 that some server took for Latin-1, which is what HTTP once said of headers.
        yield printed.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return


def _pairs(name: bytes, rdn: der.Element) -> list[tuple[str, bytes]]:
    """Return the dotted OID and the DER of the value of each attribute."""
    found = []
    for pair in der.children(name, rdn):
        kind = der.read(name, pair.start, pair.end)
        value = der.read(name, kind.end, pair.end)
        found.append((der.dotted(name[kind.start : kind.end]), name[value.offset : value.end]))
    return found


def _value(raw: bytes) -> str | bytes:
    element = der.read(raw, 0, len(raw))
    codec = _CODECS.get(element.tag)
    if codec is None:
        return raw
    try:
        return raw[element.start : element.end].decode(codec)
    except UnicodeDecodeError:
        return raw


def _printed(oid: str, raw: bytes) -> str:
    value, short = _value(raw), SHORT_NAMES.get(oid)
    if short is None or isinstance(value, bytes):
        return f"{short or oid}=#{raw.hex().upper()}"
    if _PLAIN.fullmatch(value):
        return f"{short}={value}"
    last = len(value) - 1
    return f"{short}=" + "".join(
        _escaped(character, edge=(number in (0, last) and character == " ") or (number == 0 and character == "#"))
        for number, character in enumerate(value)
    )


def _escaped(character: str, *, edge: bool) -> str:
    if edge or character in _SPECIAL:
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return "".join(f"\\{octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))


def _read_value(printed: str, position: int) -> tuple[str | bytes, int]:
    """Return the value at ``position`` and where it ends."""
    found = _HEX_VALUE.match(printed, position)
    if found:
        return _value(bytes.fromhex(found[1])), found.end()
    quoted = printed[position : position + 1] == '"'
    position += quoted
    octets, kept = bytearray(), 0  # spaces behind the last kept octet do not count
    while position < len(printed):
        character = printed[position]
        if character == "\\":
            octet, position = _read_escape(printed, position + 1)
            octets += octet
            kept = len(octets)
            continue
        if character == '"' and quoted:
            return octets.decode("utf-8"), position + 1
        if character in _SEPARATORS and not quoted:
            break
        octets += character.encode("utf-8", "surrogatepass")
        kept = len(octets) if character != " " or quoted else kept
        position += 1
    if quoted:
        raise ValueError("a quotation mark is missing")
    return octets[:kept].decode("utf-8"), position


def _read_escape(printed: str, position: int) -> tuple[bytes, int]:
    digits = printed[position : position + 2]
    if re.fullmatch(r"[0-9A-Fa-f]{2}", digits):
        return bytes.fromhex(digits), position + 2
    # HTTP takes an escaped space off the end of a header, and leaves its escape.
    return printed[position : position + 1].encode("utf-8", "surrogatepass") or b" ", position + 1
