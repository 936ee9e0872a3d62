# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cryptography takes for a private key: the forms of a signature, and what such a key cannot do."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._signer import keys, pkcs11

EC_KEY = ec.generate_private_key(ec.SECP384R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


@dataclasses.dataclass
class Made:
    """A signer that answers with what the test gives it."""

    answers: t.Sequence[bytes]
    name: str = "ca_key"
    label: str = "The key of the test"
    place: str = "the test"

    def public_key(self) -> None:
        return None

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm, public_key: t.Any) -> t.Sequence[bytes]:
        del data, algorithm, public_key
        return self.answers


def test_an_ecdsa_signature_may_be_two_numbers_and_comes_out_as_der() -> None:
    der = EC_KEY.sign(b"data", ec.ECDSA(hashes.SHA384()))
    raw = b"".join(number.to_bytes(48) for number in decode_dss_signature(der))
    for answers in ([der], [raw], [b"garbage", raw]):
        assert keys.signature(Made(answers), b"data", hashes.SHA384(), EC_KEY.public_key()) == der
    for wrong in ([], [b""], [der[:-1]], [bytes(96)], [RSA_KEY.sign(b"data", padding.PKCS1v15(), hashes.SHA384())]):
        with pytest.raises(MtlsError, match=r"are not a signature by the CA's key.*digest of 48 bytes \(sha384\)"):
            keys.signature(Made(wrong), b"data", hashes.SHA384(), EC_KEY.public_key())


def test_a_key_that_is_no_file_has_no_private_part() -> None:
    def sign(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        return RSA_KEY.sign(data, padding.PKCS1v15(), algorithm)

    key = t.cast("t.Any", keys.private_key(RSA_KEY.public_key(), sign))
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert copy.deepcopy(copy.copy(key)) is key
    assert key.sign(b"data", padding.PKCS1v15(), hashes.SHA256()) == sign(b"data", hashes.SHA256())
    with pytest.raises(MtlsError, match="not by RSASSA-PSS"):
        key.sign(b"data", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    ec_key = t.cast("t.Any", keys.private_key(EC_KEY.public_key(), sign))
    for use in (key.private_numbers, key.private_bytes, ec_key.exchange, lambda: key.decrypt(b"", None)):
        with pytest.raises(MtlsError, match="does not leave its token or service"):
            use()
    with pytest.raises(MtlsError, match="must be an RSA or ECDSA key"):
        keys.private_key(t.cast("t.Any", ed25519.Ed25519PrivateKey.generate().public_key()), sign)


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_a_point_is_read_with_and_without_its_octet_string(*, is_wrapped: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    numbers = key.public_numbers()
    point = b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
    given = b"\x04\x41" + point if is_wrapped else point
    assert pkcs11._ec_public_key(bytes.fromhex("06082a8648ce3d030107"), given, MtlsError) == key
