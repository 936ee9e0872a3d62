# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Just enough DER to cut a certificate into its raw parts, whatever the state of their content."""

from __future__ import annotations

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
    start, end = _bounds(data, offset, limit)
    return Element(data[offset], offset, start, end)


def children(data: bytes, parent: Element) -> t.Iterator[Element]:
    """Yield the elements directly inside ``parent``; raise ValueError when they do not fill it exactly."""
    offset = parent.start
    while offset < parent.end:
        element = read(data, offset, parent.end)
        yield element
        offset = element.end


def dotted(content: bytes) -> str:
    """Return the content of an OBJECT IDENTIFIER as numbers with dots; empty for no content."""
    numbers, number = [], 0
    for octet in content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        return ""
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


class CertificateParts(t.NamedTuple):
    """The fields that identify a certificate; all but the serial number as their raw DER."""

    serial_number: int
    issuer: bytes
    subject: bytes
    spki: bytes
    inner_signature: bytes
    outer_signature: bytes


def certificate_parts(data: bytes) -> CertificateParts:
    """Cut the DER certificate ``data``; raise ValueError when it has no such structure."""
    outer, limit = _bounds(data, 0, len(data))
    tbs, tbs_end = _bounds(data, outer, limit)
    serial = _bounds(data, tbs, tbs_end)[1] if data[tbs] == 0xA0 else tbs  # the version; v1 has none
    # The hot path of a search among thousands: the ends of serial number, signature, issuer, validity, subject, key.
    ends = [serial]
    for _field in range(6):
        position = ends[-1]
        length = data[position + 1] if position + 2 <= tbs_end else _LONG_FORM
        end = position + 2 + length if length < _LONG_FORM else _bounds(data, position, tbs_end)[1]
        if end > tbs_end:
            raise ValueError("truncated DER")
        ends.append(end)
    inner, issuer, validity, subject, spki = ends[1:6]
    return CertificateParts(
        serial_number=int.from_bytes(data[_bounds(data, serial, tbs_end)[0] : inner], "big", signed=True),
        issuer=data[issuer:validity],
        subject=data[subject:spki],
        spki=data[spki : ends[6]],
        inner_signature=data[inner:issuer],
        outer_signature=data[tbs_end : _bounds(data, tbs_end, limit)[1]],
    )


def _bounds(data: bytes, offset: int, limit: int) -> tuple[int, int]:
    """Where the content of the element at ``offset`` starts and ends: :func:`read` for the hot path."""
    if offset + 2 > limit:
        raise ValueError("truncated DER")
    length = data[offset + 1]
    start = offset + 2
    if length >= _LONG_FORM:
        start += length - _LONG_FORM
        if length == _LONG_FORM or length > _LONG_FORM + _MAX_LENGTH_OCTETS or start > limit:
            raise ValueError("impossible DER length")
        length = int.from_bytes(data[offset + 2 : start], "big")
    if start + length > limit:
        raise ValueError("truncated DER")
    return start, start + length


_EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")


def has_explicit_curve(spki: bytes) -> bool:
    """Whether a SubjectPublicKeyInfo holds an elliptic-curve key whose curve is not given by its name."""
    outer = read(spki, 0, len(spki))
    algorithm = read(spki, outer.start, outer.end)
    kind = read(spki, algorithm.start, algorithm.end)
    if spki[kind.offset : kind.end] != _EC_PUBLIC_KEY:
        return False
    return kind.end == algorithm.end or spki[kind.end] != OBJECT_IDENTIFIER
