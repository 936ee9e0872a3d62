# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Identity headers: Envoy's format strings, what the workload saw, forgeries."""

from __future__ import annotations

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import identity_headers
from ansible_collections.kyma.mtls.tests.servers.pki import Pki, make_leaf, name


@pytest.fixture(scope="module")
def certificate(pki: Pki) -> x509.Certificate:
    sans = [
        x509.UniformResourceIdentifier("spiffe://test/a"),
        x509.DNSName("a.test"),
        x509.UniformResourceIdentifier("spiffe://test/b"),
        x509.RFC822Name("a@test"),
    ]
    return make_leaf(pki.client_ca, subject=name(common_name="A. (Test)", cn_first=True), sans=sans).certificate


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("%DOWNSTREAM_PEER_SUBJECT%", "O=Test Org,CN=A. (Test)"),
        ("%DOWNSTREAM_PEER_SUBJECT% ", "O=Test Org,CN=A. (Test)"),
        ("%DOWNSTREAM_PEER_ISSUER%", "CN=Test Client CA,O=Test Org"),
        ("URI=%DOWNSTREAM_PEER_URI_SAN%", "URI=spiffe://test/a,spiffe://test/b"),
        ("%DOWNSTREAM_PEER_DNS_SAN%;%DOWNSTREAM_PEER_EMAIL_SAN%", "a.test;a@test"),
        ("%DOWNSTREAM_PEER_IP_SAN%", ""),
        ("100%% fixed", "100% fixed"),
        ("no operator", "no operator"),
    ],
)
def test_format_strings_become_what_envoy_prints(value: str, expected: str, certificate: x509.Certificate) -> None:
    found = identity_headers.expected_value(value, certificate)
    assert found.text == expected
    assert found.admits(expected)
    assert not found.admits(expected + "x")


def test_serial_number_matches_in_any_spelling_and_unknown_operators_match_anything(
    certificate: x509.Certificate,
) -> None:
    serial = identity_headers.expected_value("serial=%DOWNSTREAM_PEER_SERIAL%", certificate)
    assert serial.admits(f"serial={certificate.serial_number:x}")
    assert serial.admits(f"serial=00{certificate.serial_number:X}")
    assert not serial.admits("serial=1")
    unknown = identity_headers.expected_value("%REQ(:authority):10%-%DOWNSTREAM_PEER_DNS_SAN%", certificate)
    assert unknown.admits("anything-a.test")
    assert not unknown.admits("anything-b.test")


def test_fingerprints_and_the_coded_certificate(certificate: x509.Certificate) -> None:
    text = identity_headers.expected_value("%DOWNSTREAM_PEER_CERT%", certificate).text
    assert text.startswith("-----BEGIN%20CERTIFICATE-----%0A")
    assert not set(text) & set("\n +/=")
    assert len(identity_headers.expected_value("%DOWNSTREAM_PEER_FINGERPRINT_256%", certificate).text) == 64
    assert len(identity_headers.expected_value("%DOWNSTREAM_PEER_FINGERPRINT_1%", certificate).text) == 40


@pytest.mark.parametrize(
    "echoed", ["O=Test Org,CN=A. (Test)", ["O=Test Org,CN=A. (Test)"], " O=Test Org,CN=A. (Test) "]
)
def test_strings_and_lists_of_one_string_are_values(echoed: object, certificate: x509.Certificate) -> None:
    echo = identity_headers.read_echo({"x-Client-SSL-cn": echoed})
    assert echo is not None
    assert identity_headers.mismatches(echo, certificate, {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%"}) == []


@pytest.mark.parametrize(
    "echoed",
    [
        {},
        {"X-Id": "somebody else"},
        {"X-Id": ["O=Test Org,CN=A. (Test)", "somebody else"]},
        {"X-Id": "O=Test Org,CN=A. (Test)", "x-id": "somebody else"},
        {"X-Id": "O=Test Org,CN=A. (Test),somebody else"},
        {"X-Id": None},
    ],
)
def test_anything_else_than_the_identity_is_told(echoed: dict[str, object], certificate: x509.Certificate) -> None:
    echo = identity_headers.read_echo(echoed)
    assert echo is not None
    assert identity_headers.mismatches(echo, certificate, {"X-Id": "%DOWNSTREAM_PEER_SUBJECT%"})


@pytest.mark.parametrize("echoed", [{}, {"X-Id": ""}, {"X-Id": "(null)"}, {"X-Id": "-"}])
def test_an_empty_identity_may_be_absent_or_a_placeholder(
    echoed: dict[str, object], certificate: x509.Certificate
) -> None:
    echo = identity_headers.read_echo(echoed)
    assert echo is not None
    assert identity_headers.mismatches(echo, certificate, {"X-Id": "%DOWNSTREAM_PEER_IP_SAN%"}) == []
    assert identity_headers.mismatches(echo, certificate, {"X-Id": "%DOWNSTREAM_PEER_SUBJECT%"})


@pytest.mark.parametrize("found", [None, [], "text", 5])
def test_no_echo_is_no_echo(found: object) -> None:
    assert identity_headers.read_echo(found) is None


def test_forgeries_use_every_name_in_several_spellings() -> None:
    spellings = {name for forgery in identity_headers.forgeries(["X-Id"], "mark") for name, _value in forgery.headers}
    assert spellings == {"X-Id", "x-id", "X-ID", "X_Id", "X-Id ", "Connection", "X-Forwarded-Client-Cert"}


def test_survivors_are_told_from_look_alikes() -> None:
    echo = {"x-id": ["mark"], "x_id": ["CN=mark"], "x-other": ["fine"]}
    assert identity_headers.survivors(echo, "mark", ["X-Id"]) == (["x-id"], ["x_id"])
