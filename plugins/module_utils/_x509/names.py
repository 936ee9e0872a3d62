# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names: distinguished names compared as RFC 5280 section 7.1 says, hosts matched as RFC 9525 says."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import typing as t
import unicodedata

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der

with contextlib.suppress(ImportError):  # the module's edge reports it
    from cryptography import x509

# An attribute is (type, value); strings of every kind compare by their prepared text, all else by its bytes.
Attribute: t.TypeAlias = tuple[bytes, str | bytes]
CanonicalName: t.TypeAlias = tuple[tuple[Attribute, ...], ...]

_CODECS = {
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "ascii",
    der.IA5_STRING: "ascii",
    der.T61_STRING: "latin-1",
    der.BMP_STRING: "utf-16-be",
    der.UNIVERSAL_STRING: "utf-32-be",
}


@functools.lru_cache(maxsize=65536)
def canonical_name(raw: bytes) -> CanonicalName:
    """Return the comparable form of a DER name: equal forms are equal names (RFC 5280 section 7.1).

    Raises ValueError when ``raw`` is not a name.
    """
    outer = der.read(raw, 0, len(raw))
    if outer.tag != der.SEQUENCE or outer.end != len(raw):
        raise ValueError("not a distinguished name")
    return tuple(_relative_name(raw, rdn) for rdn in der.children(raw, outer))


def _relative_name(raw: bytes, rdn: der.Element) -> tuple[Attribute, ...]:
    if rdn.tag != der.SET:
        raise ValueError("not a relative distinguished name")
    attributes = [_attribute(raw, pair) for pair in der.children(raw, rdn)]
    if len(attributes) > 1:  # a set: its order means nothing
        attributes.sort(key=lambda pair: (pair[0], isinstance(pair[1], bytes), pair[1]))
    return tuple(attributes)


def _attribute(raw: bytes, pair: der.Element) -> Attribute:
    kind = der.read(raw, pair.start, pair.end)
    value = der.read(raw, kind.end, pair.end)
    if pair.tag != der.SEQUENCE or kind.tag != der.OBJECT_IDENTIFIER or value.end != pair.end:
        raise ValueError("not an attribute of a distinguished name")
    content = raw[value.start : value.end]
    codec = _CODECS.get(value.tag)
    if codec is None:
        return raw[kind.start : kind.end], raw[value.offset : value.end]
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        return raw[kind.start : kind.end], raw[value.offset : value.end]
    return raw[kind.start : kind.end], prepare_text(text)


def name_from_der(raw: bytes) -> x509.Name:
    """Return a DER name, in whatever string types it is; cryptography itself reads no Latin-1 in a T61String.

    Raises ValueError when ``raw`` is not a name or a string is not of its type.
    """
    outer = der.read(raw, 0, len(raw))
    return x509.Name(
        x509.RelativeDistinguishedName(_name_attribute(raw, pair) for pair in der.children(raw, rdn))
        for rdn in der.children(raw, outer)
    )


def _name_attribute(raw: bytes, pair: der.Element) -> x509.NameAttribute[t.Any]:
    kind = der.read(raw, pair.start, pair.end)
    value = der.read(raw, kind.end, pair.end)
    text = raw[value.start : value.end].decode(_CODECS.get(value.tag, "utf-8"))
    oid = x509.ObjectIdentifier(der.dotted(raw[kind.start : kind.end]))
    return x509.NameAttribute(oid, text, _validate=False)


def prepare_text(text: str) -> str:
    """Fold case, compatibility forms and insignificant spaces (the string preparation of RFC 4518, section 2)."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
    return " ".join(visible.split())


def same_name(one: x509.Name, other: x509.Name) -> bool:
    """Whether two names are equal by RFC 5280 section 7.1."""
    return canonical_name(one.public_bytes()) == canonical_name(other.public_bytes())


def within(name: CanonicalName, subtree: CanonicalName) -> bool:
    """Whether the directory name is in the subtree: its first RDNs are those of ``subtree``."""
    return name[: len(subtree)] == subtree


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that ``text`` spells, or None."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(text)
    return None


def ascii_host(text: str) -> str:
    """Return a host name as certificates hold it: lower case, without a final dot, U-labels as A-labels.

    Raises ValueError when it cannot be a host name.
    """
    host = a_labels(text).removesuffix(".").lower()
    if not is_dns_name(host):
        raise ValueError(f"{text!r} is not a host name")
    return host


def a_labels(text: str) -> str:
    """Return the host ``text`` in ASCII, by IDNA 2008 as browsers and curl have it (UTS 46, non-transitional).

    IDNA 2003, which Python's own codec has, makes another host of some names: strasse.de of straße.de.
    Raises ValueError when that is not possible, MtlsError when the library for it is missing.
    """
    if text.isascii():
        return text
    try:
        import idna  # noqa: PLC0415  (few names need it)
    except ImportError as exc:
        raise MtlsError(
            f"The name {text!r} has letters outside ASCII, which need the Python library idna on the target host. "
            "Install it there, or give the name in its ASCII form (xn--...)."
        ) from exc
    try:
        return idna.encode(text, uts46=True, transitional=False).decode("ascii")
    except UnicodeError as exc:
        raise ValueError(f"{text!r} is not a host name: {exc}") from exc


_LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def is_dns_name(text: str, *, wildcard: bool = False) -> bool:
    """Whether ``text`` has the preferred name syntax (RFC 1034 section 3.5), with ``wildcard`` also ``*.`` in front."""
    name = text.lower()
    if wildcard and name.startswith("*."):
        name = name[2:]
    if not name or len(name) > 253:
        return False
    return all(
        0 < len(label) <= 63
        and _LABEL_CHARACTERS.issuperset(label)
        and not label.startswith("-")
        and not label.endswith("-")
        for label in name.split(".")
    )


def dns_matches(pattern: str, host: str) -> bool:
    """Whether a SAN of kind DNS names the host (RFC 9525 section 6.3).

    A wildcard stands for exactly one label, is the whole leftmost label, and needs two labels behind it.
    """
    pattern, host = pattern.lower(), host.lower().removesuffix(".")
    if not pattern.startswith("*."):
        return pattern == host and is_dns_name(pattern)
    behind = pattern[2:]
    first, _dot, rest = host.partition(".")
    return bool(first) and "." in behind and rest == behind and is_dns_name(behind) and is_dns_name(host)


def subject_alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Return the certificate's SANs; an absent extension is no names.

    Raises ValueError (or a subclass of Exception of cryptography's) when the extension cannot be parsed.
    """
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def host_matches(sans: t.Iterable[x509.GeneralName], host: str) -> bool:
    """Whether one of the SANs names ``host``: a DNS name, an IP address, or exactly a wildcard, mailbox or URI."""
    address = parse_ip(host.strip("[]"))
    if address is not None:
        return any(isinstance(san, x509.IPAddress) and san.value == address for san in sans)
    if "://" in host:
        return any(isinstance(san, x509.UniformResourceIdentifier) and san.value == host for san in sans)
    if "@" in host:
        return any(isinstance(san, x509.RFC822Name) and same_mailbox(san.value, host) for san in sans)
    return any(isinstance(san, x509.DNSName) and _dns_san_names(san.value, host) for san in sans)


def is_reference_name(text: str) -> bool:
    """Whether :func:`host_matches` could find ``text`` in a certificate at all."""
    if parse_ip(text.strip("[]")) is not None or "://" in text or "@" in text:
        return True
    try:
        return bool(ascii_host(text.removeprefix("*.")))
    except ValueError:
        return False


def _dns_san_names(pattern: str, host: str) -> bool:
    try:
        if host.startswith("*."):
            return pattern.lower() == f"*.{ascii_host(host[2:])}"
        return dns_matches(pattern, ascii_host(host))
    except ValueError:
        return False


def same_mailbox(one: str, other: str) -> bool:
    """Whether two e-mail addresses are equal: the local part exactly, the host by case folding (RFC 5280 7.5)."""
    local, _at, host = one.rpartition("@")
    other_local, _at, other_host = other.rpartition("@")
    return local == other_local and host.lower() == other_host.lower()
