# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A revocation that the gateway has is not lost by publishing an older list."""

from __future__ import annotations

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import published
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._istio_secret.gateways import Authority

ONE, TWO, BELOW = Authority("One"), Authority("Two"), Authority("Between", issuer=Authority("Above"))
REKEYED = Authority("One")
RENEWED = Authority("One", key=ONE.key, days=(-1, 300))
HOLD = x509.ReasonFlags.certificate_hold


def secret(bundle: bytes, crl: bytes | None = None) -> Secret:
    return Secret(name="s", namespace="istio-system", data={"cacert": bundle} | ({"crl": crl} if crl else {}))


HAD = secret(ONE.pem, ONE.crl(10, 11, number=5))
FORWARD = {
    "the same list": (HAD, HAD),
    "a newer list": (HAD, secret(ONE.pem, ONE.crl(10, 11, 12, number=6))),
    "a newer list, CA renewed with its key": (HAD, secret(RENEWED.pem, ONE.crl(10, 11, number=6))),
    "a first list": (secret(ONE.pem), HAD),
    "no Secret before": (None, HAD),
    "a CA more": (HAD, secret(ONE.pem + TWO.pem, ONE.crl(10, 11, number=5) + TWO.crl())),
    "the CA is gone": (HAD, secret(TWO.pem)),
    "another CA of the same name": (HAD, secret(REKEYED.pem, REKEYED.crl(number=1))),
    "an empty list is gone": (secret(ONE.pem, ONE.crl(number=5)), secret(ONE.pem)),
    "released from hold": (secret(ONE.pem, ONE.crl(10, number=5, reason=HOLD)), secret(ONE.pem, ONE.crl(number=6))),
    "no numbers, later": (
        secret(ONE.pem, ONE.crl(10, number=None, days=(-2, 9))),
        secret(ONE.pem, ONE.crl(10, number=None)),
    ),
    "what the gateway has cannot be read": (secret(b"nothing", b"nothing"), HAD),
    "no client CAs any more": (HAD, Secret(name="s", namespace="istio-system", data={"tls.crt": b"", "tls.key": b""})),
}
BACKWARD = {
    "a lower number": (HAD, secret(ONE.pem, ONE.crl(10, 11, number=4)), "(number 4, "),
    "a lower number with more revoked": (HAD, secret(ONE.pem, ONE.crl(10, 11, 12, number=4)), "is older."),
    "the same number, one vanished": (HAD, secret(ONE.pem, ONE.crl(10, number=5)), "serial number b would no longer"),
    "a higher number, one vanished": (
        HAD,
        secret(ONE.pem, ONE.crl(11, number=9)),
        "is another, in which serial number a",
    ),
    "no list": (HAD, secret(ONE.pem), "serial numbers a, b; now there is none"),
    "no list, CA renewed with its key": (HAD, secret(RENEWED.pem), "now there is none"),
    "one list of two": (
        secret(ONE.pem + TWO.pem, ONE.crl(number=5) + TWO.crl(12, number=3)),
        secret(ONE.pem + TWO.pem, ONE.crl(number=6) + TWO.crl(number=2)),
        "the gateway has a CRL of CN=Two (number 3",
    ),
    "no numbers, earlier": (
        secret(ONE.pem, ONE.crl(10, number=None)),
        secret(ONE.pem, ONE.crl(10, number=None, days=(-2, 9))),
        "is older.",
    ),
    "list of an intermediate CA that clients send": (
        secret(ONE.pem, ONE.crl() + BELOW.crl(12, number=3)),
        secret(ONE.pem, ONE.crl() + BELOW.crl(number=2)),
        "the gateway has a CRL of CN=Between (number 3",
    ),
    "many": (
        secret(ONE.pem, ONE.crl(*range(1, 10), number=5)),
        secret(ONE.pem, ONE.crl(number=6)),
        "serial numbers 1, 2, 3, 4, 5 and 4 more would no longer be revoked",
    ),
}


@pytest.mark.parametrize("name", FORWARD)
def test_list_that_loses_no_revocation_is_published(name: str) -> None:
    assert published.refuse_older(*FORWARD[name], accept=False) == []


@pytest.mark.parametrize("name", BACKWARD)
def test_list_that_loses_a_revocation_is_refused_with_the_way_out(name: str) -> None:
    current, wanted, message = BACKWARD[name]

    with pytest.raises(MtlsError) as caught:
        published.refuse_older(current, wanted, accept=False)

    assert message in str(caught.value)
    assert "set accept_older_crl (role variable gateway_accept_older_crl) for one run" in str(caught.value)
    warnings = published.refuse_older(current, wanted, accept=True)
    assert len(warnings) == 1
    assert message in warnings[0]
    assert "published all the same (accept_older_crl)" in warnings[0]


def test_list_that_was_taken_out_of_the_secret_is_noticed() -> None:
    assert published.missing_crl(secret(ONE.pem), HAD) == "crl"
    assert published.missing_crl(HAD, HAD) is None
    assert published.missing_crl(None, HAD) is None
    assert published.missing_crl(secret(ONE.pem), secret(ONE.pem)) is None
