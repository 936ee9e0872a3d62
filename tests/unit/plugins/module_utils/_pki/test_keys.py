# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys: made as asked, read whatever their form, and never taken when damaged."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import WrongPassphraseError, load_private_key
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import key_pem

SPECS = [
    keys.KeySpec("RSA", size=2048),
    keys.KeySpec("ECDSA", curve="P-256"),
    keys.KeySpec("ECDSA", curve="P-384"),
    keys.KeySpec("Ed25519"),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_new_key_is_of_the_kind_asked_for_and_survives_its_file(spec: keys.KeySpec) -> None:
    key = keys.generate(spec)
    again = load_private_key(keys.to_pem(key), source="a.key")
    assert keys.spec_of(key) == keys.spec_of(again) == keys.spec_of(again.public_key()) == spec
    assert again.public_key() == key.public_key()


def test_other_kinds_are_named() -> None:
    assert str(keys.spec_of(ec.generate_private_key(ec.SECP521R1()))) == "ECDSA secp521r1"
    assert "Ed448" in str(keys.spec_of(ed448.Ed448PrivateKey.generate()))
    assert "DSA" in str(keys.spec_of(dsa.generate_private_key(2048)))


def test_der_is_read_too() -> None:
    key = keys.generate(keys.KeySpec("ECDSA"))
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert load_private_key(der, source="a.key").public_key() == key.public_key()


def test_passphrases_are_needed_wrong_right_or_superfluous() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key_pem(key, "right")
    with pytest.raises(WrongPassphraseError, match="no passphrase was given"):
        load_private_key(locked, source="a.key")
    with pytest.raises(WrongPassphraseError, match="the passphrase is wrong"):
        load_private_key(locked, source="a.key", passphrase=b"wrong")
    assert load_private_key(locked, source="a.key", passphrase=b"right").public_key() == key.public_key()
    assert load_private_key(key_pem(key), source="a.key", passphrase=b"any").public_key() == key.public_key()


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
def test_an_encrypted_key_is_told_from_one_that_is_not(encoding: serialization.Encoding) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for protection, expected in (
        (serialization.BestAvailableEncryption(b"secret"), True),
        (serialization.NoEncryption(), False),
    ):
        data = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, protection)
        assert keys.is_encrypted(data) == expected


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused_with_its_file(data: bytes) -> None:
    with pytest.raises(MtlsError, match=r"private key in a\.key"):
        load_private_key(data, source="a.key")


def test_an_rsa_key_with_one_flipped_bit_is_found_out() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    der = bytearray(
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    numbers = key.private_numbers()
    for part in (numbers.public_numbers.n, numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
        content = part.to_bytes((part.bit_length() + 7) // 8)
        damaged = bytearray(der)
        damaged[bytes(der).index(content) + len(content) // 2] ^= 4
        with pytest.raises(MtlsError, match=r"a\.key"):
            load_private_key(bytes(damaged), source="a.key")


def test_an_ecdsa_key_with_another_public_part_is_found_out() -> None:
    one, other = (ec.generate_private_key(ec.SECP256R1()) for _number in range(2))
    forms = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    der = one.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    mixed = der.replace(one.public_key().public_bytes(*forms), other.public_key().public_bytes(*forms))
    assert mixed != der
    with pytest.raises(MtlsError, match=r"a\.key"):
        load_private_key(mixed, source="a.key")
