# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which identity headers can be forged; what is said of Envoy here, test_live tries."""

from __future__ import annotations

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.identity import guarded, refuse_forgeable
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import IDENTITY_HEADERS

SUBJECT, ISSUER, URI = (f"%DOWNSTREAM_PEER_{name}%" for name in ("SUBJECT", "ISSUER", "URI_SAN"))
FINGERPRINT = "%DOWNSTREAM_PEER_FINGERPRINT_256%"


def refusal(headers: dict[str, str], mode: str = "MUTUAL") -> str:
    """The words with which ``headers`` are refused; empty when they are not."""
    try:
        refuse_forgeable(headers, mode=mode)
    except MtlsError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize(
    "value",
    [
        SUBJECT,
        f"{SUBJECT} ",
        ISSUER,
        FINGERPRINT,
        "%DOWNSTREAM_PEER_SERIAL%",
        "%DOWNSTREAM_PEER_CERT%",
        "%DOWNSTREAM_PEER_CERT_V_START%",
        "%DOWNSTREAM_TLS_VERSION%",
        f"URI={URI}",
        f"{URI};",
        f"{URI}{FINGERPRINT}",
        f"{SUBJECT}{URI}",
        "constant",
        "100%%",
    ],
)
def test_values_that_are_never_empty_are_accepted(value: str) -> None:
    assert refusal({"X-A": value}) == ""


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (URI, "a client whose certificate has no URI subjectAltName"),
        ("%DOWNSTREAM_PEER_DNS_SAN%", "some clients"),
        ("%DOWNSTREAM_PEER_IP_SAN%", "some clients"),
        ("%DOWNSTREAM_PEER_EMAIL_SAN%", "some clients"),
        ("%DOWNSTREAM_PEER_OTHERNAME_SAN%", "some clients"),
        ("%DOWNSTREAM_PEER_ISSUER_SERIAL%", "resumes an earlier TLS session"),
        ("%DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256%", "resumes an earlier TLS session"),
        ("%DOWNSTREAM_TLS_SESSION_ID%", "some clients"),
        ("%TLS_JA3_FINGERPRINT%", "some clients"),
        ("%DOWNSTREAM_PEER_CERT_V_START(x)%", "some clients"),
        (f"{URI}%DOWNSTREAM_PEER_DNS_SAN%", "no URI subjectAltName"),
    ],
)
def test_values_that_can_be_empty_are_refused_with_the_cure(value: str, why: str) -> None:
    message = refusal({"X-A": value})

    assert message.startswith("The identity header X-A: ")
    if "(x)" not in value:
        assert why in message
    assert f"={value}" in message


def test_an_empty_value_is_refused() -> None:
    assert "its value is empty" in refusal({"X-A": ""})


@pytest.mark.parametrize("mode", ["SIMPLE", "OPTIONAL_MUTUAL"])
@pytest.mark.parametrize("value", [FINGERPRINT, "%DOWNSTREAM_PEER_CERT%"])
def test_a_client_without_certificate_makes_values_empty(mode: str, value: str) -> None:
    assert f"a client without a certificate, which {mode} lets in" in refusal({"X-A": value}, mode)
    assert refusal({"X-A": f"CERT={value}"}, mode) == ""


@pytest.mark.parametrize("mode", ["SIMPLE", "OPTIONAL_MUTUAL"])
@pytest.mark.parametrize("value", [SUBJECT, ISSUER])
def test_a_guarded_value_is_safe_without_a_certificate_too(mode: str, value: str) -> None:
    assert refusal({"X-A": value}, mode) == ""
    assert guarded({"X-A": value})["X-A"] == f"{value} "


@pytest.mark.parametrize(
    "value",
    ["%REQ(X-B)%", "id=%REQ(X-B?:PATH)%", "%QUERY_PARAM(id)%", "%PATH%", "%REQUESTED_SERVER_NAME%", "%TRAILER(x)%"],
)
def test_what_the_client_sends_is_no_identity(value: str) -> None:
    assert "is what the client sends" in refusal({"X-A": value})


@pytest.mark.parametrize("value", ["%NO_SUCH%", "%downstream_peer_subject%", "50%", "%REQ%", "a\rb"])
def test_what_envoy_would_not_load_is_refused(value: str) -> None:
    assert refusal({"X-A": value}).startswith("The identity header X-A: ")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("X A", "not the name of an HTTP header"),
        ("", "not the name of an HTTP header"),
        ("X:A", "not the name of an HTTP header"),
        ("X_CLIENT_CN", "write a hyphen"),
        ("Host", "choose another name"),
        (":path", "choose another name"),
        ("X-Envoy-External-Address", "choose another name"),
        ("x-forwarded-client-cert", "choose another name"),
        ("Transfer-Encoding", "choose another name"),
        ("X-Request-Id", "choose another name"),
    ],
)
def test_names_that_cannot_carry_an_identity_are_refused(name: str, why: str) -> None:
    assert why in refusal({name: "constant"})


def test_the_same_name_twice_is_refused() -> None:
    assert "the same header as X-A" in refusal({"X-A": "a", "x-a": "b"})


def test_an_unknown_mode_is_refused() -> None:
    assert "PASSTHROUGH is not one of" in refusal({}, "PASSTHROUGH")


def test_values_that_a_certificate_may_leave_empty_are_guarded_and_others_kept() -> None:
    headers = {
        "X-A": SUBJECT,
        "X-B": ISSUER,
        "X-C": f"URI={URI}",
        "X-D": f"{SUBJECT} ",
        "X-E": FINGERPRINT,
        "X-F": f"{SUBJECT}{URI}",
        "X-G": "",
    }

    assert guarded(headers) == {**headers, "X-A": f"{SUBJECT} ", "X-B": f"{ISSUER} ", "X-F": f"{SUBJECT}{URI} "}


def test_guarding_twice_changes_nothing_more() -> None:
    once = guarded(IDENTITY_HEADERS)

    assert guarded(once) == once
    assert refusal(once) == ""
