# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recovered keys against signatures that cryptography has made."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.ecdsa_recovery import possible_keys

HASHES = hashes.SHA256(), hashes.SHA384(), hashes.SHA512(), hashes.SHA224()
X962 = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint


def signed(curve: ec.EllipticCurve, digest: hashes.HashAlgorithm, body: bytes) -> tuple[bytes, tuple[int, int]]:
    key = ec.generate_private_key(curve)
    return key.public_key().public_bytes(*X962), utils.decode_dss_signature(key.sign(body, ec.ECDSA(digest)))


@pytest.mark.parametrize(
    "digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512(), hashes.SHA224()], ids=lambda one: one.name
)
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda one: one.name)
def test_the_key_that_signed_is_one_of_two(curve, digest):
    for number in range(3):
        body = b"body %d" % number
        point, (r, s) = signed(curve, digest, body)
        found = possible_keys(r, s, hashlib.new(digest.name, body).digest())
        assert point in found
        assert len(found) == 2
        assert point not in possible_keys(r, s, hashlib.new(digest.name, b"other").digest())


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (5, 7), (2**521, 3), (2**700, 2**700)])
def test_numbers_that_are_no_signature_give_no_error(numbers):
    assert all(point[0] == 4 for point in possible_keys(*numbers, b"digest"))


def test_a_signature_on_a_larger_curve_gives_no_keys():
    _point, (r, s) = signed(ec.SECP521R1(), hashes.SHA512(), b"body")
    assert possible_keys(r, s, hashlib.sha512(b"body").digest()) == frozenset()
