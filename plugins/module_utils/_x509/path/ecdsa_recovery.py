# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which keys can have made an ECDSA signature: the public key is recovered from it (SEC 1 section 4.1.6).

A signature (r, s) of a digest e is valid for exactly the keys Q = (s R - e G) / r, where R is one of the two points
with r as their x coordinate. So among thousands of candidates of one name, the one to try first is found by two
multiplications on the curve. It is only tried first: whether it made the signature is verified by cryptography.
"""

from __future__ import annotations

import typing as t

_Point: t.TypeAlias = "tuple[int, int] | None"


class _Curve(t.NamedTuple):
    """A curve y^2 = x^3 - 3x + b over the field of p, of prime order n (SEC 2 section 2). All have p = 3 mod 4."""

    p: int
    b: int
    n: int
    generator: tuple[int, int]


_CURVES = (
    _Curve(
        p=2**256 - 2**224 + 2**192 + 2**96 - 1,
        b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        n=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        generator=(
            0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
            0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        ),
    ),
    _Curve(
        p=2**384 - 2**128 - 2**96 + 2**32 - 1,
        b=0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        n=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        generator=(
            0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
            0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        ),
    ),
)


def possible_keys(r: int, s: int, digest: bytes) -> frozenset[bytes]:
    """Return the public keys, as uncompressed points, that can have made the signature; empty for other curves.

    The curve is the smallest that the two numbers fit. A key that is missing here is only not tried first.
    """
    curve = next((known for known in _CURVES if 0 < r < known.n and 0 < s < known.n), None)
    if curve is None:
        return frozenset()
    square = (r**3 - 3 * r + curve.b) % curve.p
    root = pow(square, (curve.p + 1) // 4, curve.p)
    if root * root % curve.p != square:
        return frozenset()
    e = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - curve.n.bit_length())
    inverse = pow(r, -1, curve.n)
    fixed = _multiply(curve, -e * inverse % curve.n, curve.generator)
    moving = _multiply(curve, s * inverse % curve.n, (r, root))
    size = (curve.p.bit_length() + 7) // 8
    points = (_add(curve, fixed, other) for other in (moving, _negative(curve, moving)))
    return frozenset(b"\x04" + x.to_bytes(size, "big") + y.to_bytes(size, "big") for x, y in filter(None, points))


def _negative(curve: _Curve, point: _Point) -> _Point:
    return None if point is None else (point[0], -point[1] % curve.p)


def _add(curve: _Curve, one: _Point, other: _Point) -> _Point:
    """The sum of two points; None is the point at infinity."""
    if one is None or other is None:
        return one or other
    p = curve.p
    if one[0] != other[0]:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, p)
    elif one[1] == other[1] != 0:
        slope = 3 * (one[0] ** 2 - 1) * pow(2 * one[1], -1, p)
    else:
        return None
    x = (slope**2 - one[0] - other[0]) % p
    return x, (slope * (one[0] - x) - one[1]) % p


def _multiply(curve: _Curve, factor: int, point: _Point) -> _Point:
    result: _Point = None
    while factor:
        if factor & 1:
            result = _add(curve, result, point)
        point = _add(curve, point, point)
        factor >>= 1
    return result
