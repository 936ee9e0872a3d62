# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Just enough DER to cut a certificate into its raw parts, whatever the state of their content.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t

SEQUENCE = 0x30
SET = 0x31
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
T61_STRING = 0x14
IA5_STRING = 0x16
UNIVERSAL_STRING = 0x1C
BMP_STRING = 0x1E

_LONG_FORM = 0x80
_MAX_LENGTH_OCTETS = 4


class Element(t.NamedTuple):
    """One DER element inside a buffer: its tag, where it starts, where its content starts and where it ends."""

    tag: int
    offset: int
    start: int
    end: int


def read(data: bytes, offset: int, limit: int) -> Element:
    """Return the element at ``offset``, which must end at or before ``limit``; raise ValueError when it does not."""
    if offset + 2 > limit:
        raise ValueError("truncated DER")
    tag = data[offset]
    length = data[offset + 1]
    start = offset + 2
    if length >= _LONG_FORM:
        octets = length - _LONG_FORM
        if not 1 <= octets <= _MAX_LENGTH_OCTETS or start + octets > limit:
            raise ValueError("impossible DER length")
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    end = start + length
    if end > limit:
        raise ValueError("truncated DER")
    return Element(tag, offset, start, end)


def children(data: bytes, parent: Element) -> t.Iterator[Element]:
    """Yield the elements directly inside ``parent``; raise ValueError when they do not fill it exactly."""
    offset = parent.start
    while offset < parent.end:
        element = read(data, offset, parent.end)
        yield element
        offset = element.end


@dataclasses.dataclass(frozen=True)
class CertificateParts:
    """The fields that identify a certificate; all but the serial number as their raw DER."""

    serial_number: int
    issuer: bytes
    subject: bytes
    spki: bytes
    inner_signature: bytes
    outer_signature: bytes


def certificate_parts(data: bytes) -> CertificateParts:
    """Cut the DER certificate ``data``; raise ValueError when it has no such structure."""
    outer = read(data, 0, len(data))
    tbs = read(data, outer.start, outer.end)
    algorithm = read(data, tbs.end, outer.end)
    field = read(data, tbs.start, tbs.end)
    if field.tag == 0xA0:  # the version; v1 has none
        field = read(data, field.end, tbs.end)
    serial = data[field.start : field.end]
    inner = read(data, field.end, tbs.end)
    issuer = read(data, inner.end, tbs.end)
    validity = read(data, issuer.end, tbs.end)
    subject = read(data, validity.end, tbs.end)
    spki = read(data, subject.end, tbs.end)
    return CertificateParts(
        serial_number=int.from_bytes(serial, "big", signed=True),
        issuer=data[issuer.offset : issuer.end],
        subject=data[subject.offset : subject.end],
        spki=data[spki.offset : spki.end],
        inner_signature=data[inner.offset : inner.end],
        outer_signature=data[algorithm.offset : algorithm.end],
    )


_EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")


def has_explicit_curve(spki: bytes) -> bool:
    """Whether a SubjectPublicKeyInfo holds an elliptic-curve key whose curve is not given by its name."""
    outer = read(spki, 0, len(spki))
    algorithm = read(spki, outer.start, outer.end)
    kind = read(spki, algorithm.start, algorithm.end)
    if spki[kind.offset : kind.end] != _EC_PUBLIC_KEY:
        return False
    return kind.end == algorithm.end or spki[kind.end] != OBJECT_IDENTIFIER
