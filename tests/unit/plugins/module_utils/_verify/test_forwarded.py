# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""X-Forwarded-Client-Cert, as a workload reads it."""

from __future__ import annotations

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import forwarded
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.identity_headers import expected_value
from ansible_collections.kyma.mtls.tests.servers.pki import Pki, make_leaf, name

GATEWAY = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
HOP = f'By=spiffe://cluster.local/ns/test/sa/shop;Hash={"ab" * 32};Subject="";URI={GATEWAY}'


@pytest.fixture(scope="module")
def certificate(pki: Pki) -> x509.Certificate:
    sans = [x509.UniformResourceIdentifier("spiffe://test/a,b"), x509.DNSName("a.test")]
    return make_leaf(pki.client_ca, subject=name(common_name='A "B", C', cn_first=True), sans=sans).certificate


def element(certificate: x509.Certificate, **changes: str) -> str:
    """Return the gateway's element about a client, as Envoy writes it."""
    fields = {
        "Hash": expected_value("%DOWNSTREAM_PEER_FINGERPRINT_256%", certificate).text,
        "Cert": f'"{expected_value("%DOWNSTREAM_PEER_CERT%", certificate).text}"',
        "Subject": '"' + forwarded.escaped(expected_value("%DOWNSTREAM_PEER_SUBJECT%", certificate).text) + '"',
        "URI": '"spiffe://test/a,b"',
        "DNS": "a.test",
        **changes,
    }
    return ";".join(f"{field}={value}" for field, value in fields.items() if value)


def problems(value: str | list[str], certificate: x509.Certificate | None) -> str:
    values = [value] if isinstance(value, str) else value
    return "; ".join(forwarded.mismatches({"x-forwarded-client-cert": values}, certificate))


def test_what_envoy_writes_is_read(certificate: x509.Certificate) -> None:
    assert problems(f"{element(certificate)},{HOP}", certificate) == ""
    assert problems(HOP, None) == ""
    assert forwarded.mismatches({}, None) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Hash": "00"}, "Hash in X-Forwarded-Client-Cert is"),
        ({"Cert": '"forged"'}, "Cert in X-Forwarded-Client-Cert is"),
        ({"Cert": ""}, "has no Cert"),
        ({"Subject": '"CN=forged"'}, "Subject in"),
        ({"URI": "spiffe://test/forged"}, "URI in"),
        ({"DNS": "a.test;DNS=forged.test"}, "DNS in"),
        ({"Hash": ""}, "Hash in"),
    ],
)
def test_what_differs_from_the_certificate_is_named(
    certificate: x509.Certificate, changes: dict[str, str], said: str
) -> None:
    assert said in problems(f"{element(certificate, **changes)},{HOP}", certificate)


def test_no_other_element_may_have_a_certificate(certificate: x509.Certificate) -> None:
    forged = f'Hash={"0" * 64};Cert="forged";Subject="CN=forged"'

    assert "element 2" in problems(f"{element(certificate)},{forged},{HOP}", certificate)
    assert "Subject in" in problems(f"{forged},{element(certificate)},{HOP}", certificate)
    assert "element 1" in problems(f"{forged},{HOP}", None)
    assert "arrived 2 times" in problems([element(certificate), forged], certificate)
    assert "malformed" in problems('Subject="CN=open', certificate)
    assert "is missing" in "; ".join(forwarded.mismatches({}, certificate))
