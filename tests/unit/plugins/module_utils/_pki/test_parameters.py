# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of one certificate, turned into X.509 terms or refused in words."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import parameters, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW


def item(**changes: t.Any) -> dict[str, t.Any]:
    return {"name": "curl", "directory": "/pki/curl", "common_name": "ML Client Curl", **changes}


def parse(**changes: t.Any) -> CertificateSpec:
    (one,) = parameters.parse_certificates([item(**changes)], now=NOW)
    return one


def test_common_name_is_encoded_before_organization_so_that_envoy_prints_the_tutorials_text() -> None:
    assert parse(organization="ML Client Org").subject.rfc4514_string() == "O=ML Client Org,CN=ML Client Curl"


def test_subject_keeps_its_order_and_repetitions() -> None:
    pairs = [{"O": "Example"}, {"OU": "one"}, {"OU": "two"}, {"CN": "www"}, {"2.5.4.41": "by number"}]
    subject = parse(common_name=None, subject=pairs).subject
    assert profile.ordered_pairs(subject) == pairs


def test_files_are_named_by_the_usage_or_the_basename() -> None:
    assert parse().key_path.as_posix() == "/pki/curl/client.key"
    one = parse(usage="server", basename="gateway", sans=["DNS:example.com"])
    paths = (one.key_path, one.certificate_path, one.chain_path, one.p12_path)
    assert [path.name for path in paths] == ["gateway.key", "gateway.crt", "gateway-chain.pem", "gateway.p12"]


def test_what_cannot_be_made_can_still_be_removed() -> None:
    gone = {"name": "gone", "directory": "/pki/gone", "state": "absent"}
    for changes in ({}, {"key_type": "Ed25519"}, {"sans": ["x"]}, {"days": 1}):
        (one,) = parameters.parse_certificates([gone | changes], now=NOW)
        assert not one.is_present


def test_sans_keep_their_order_and_lose_their_repetitions() -> None:
    sans = parse(
        sans=["URI:spiffe://a/b", "dns:*.example.com", "IP:::1", "email:a@example.com", "URI:spiffe://a/b"]
    ).sans
    assert [str(one.value) for one in sans] == ["spiffe://a/b", "*.example.com", "::1", "a@example.com"]


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        "DNS:",
        "DNS:exa mple.com",
        "DNS:*",
        "DNS:a.*.example.com",
        "DNS:b*.example.com",
        "DNS:-a.example.com",
        "DNS:bücher.example",
        "DNS:" + "a." * 127 + "com",
        "IP:localhost",
        "IP:192.0.2.0/24",
        "URI:no-scheme",
        "URI:http://a b",
        "email:nobody",
        "RID:1.2.3",
    ],
)
def test_impossible_sans_are_refused_by_name(text: str) -> None:
    with pytest.raises(MtlsError) as caught:
        parse(sans=[text])
    assert repr(text) in str(caught.value)
    assert str(caught.value).startswith("Certificate curl: ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"common_name": None}, "neither a subject nor sans"),
        ({"subject": [{"CN": "x"}]}, "both subject and common_name"),
        ({"common_name": None, "subject": [{"CN": "x", "O": "y"}]}, "one has 2 pairs"),
        ({"common_name": None, "subject": [{"CN": ""}]}, "the subject's CN is empty"),
        ({"common_name": None, "subject": [{"XX": "y"}]}, "unknown attribute 'XX'"),
        ({"common_name": None, "subject": [{"1.99": "y"}]}, "unknown attribute '1.99'"),
        ({"common_name": None, "subject": [{"C": "Germany"}]}, "the subject's C 'Germany' is not possible"),
        ({"common_name": "c" * 65}, "65 characters, but X.509 allows 64"),
        ({"usage": "server"}, "a server certificate needs sans"),
        ({"key_size": 1024}, "key_size is 1024"),
        ({"key_size": 16384}, "key_size is 16384"),
        ({"key_type": "Ed25519"}, "Envoy, and so every Istio gateway, does not accept Ed25519"),
        ({"days": -1}, "days is -1"),
        ({"days": 30, "renew_before": 30}, "every run would renew it"),
        ({"renew_before": -1}, "renew_before is -1"),
        ({"basename": "../x"}, "the basename '../x' cannot be a file name"),
        ({"name": ".."}, "the name '..' cannot be a file name"),
        ({"name": "a/b"}, "the name 'a/b' cannot be a file name"),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(changes: dict[str, t.Any], words: str) -> None:
    with pytest.raises(MtlsError) as caught:
        parse(**changes)
    assert words in str(caught.value)


def test_all_impossible_certificates_are_named_at_once() -> None:
    with pytest.raises(MtlsError) as caught:
        parameters.parse_certificates([item(name="one", key_size=1), item(name="two", sans=["x"])], now=NOW)
    assert "Certificate one" in str(caught.value)
    assert "Certificate two" in str(caught.value)
    assert len(caught.value.details["problems"]) == 2


def test_a_name_or_a_file_may_not_be_used_twice() -> None:
    with pytest.raises(MtlsError, match="has this name twice"):
        parameters.parse_certificates([item(), item(directory="/pki/other")], now=NOW)
    with pytest.raises(MtlsError, match="belongs to certificate curl already"):
        parameters.parse_certificates([item(), item(name="other")], now=NOW)


def test_ed25519_is_for_servers() -> None:
    assert str(parse(usage="server", sans=["DNS:example.com"], key_type="Ed25519").key) == "Ed25519"


def test_a_servers_common_name_that_is_too_long_is_left_out_and_said() -> None:
    long = f"*.{'a' * 40}.{'b' * 30}.example.com"
    one = parse(usage="server", common_name=long, organization="Org", sans=[f"DNS:{long}"])
    assert one.subject.rfc4514_string() == "O=Org"
    assert "is left out" in one.notes[0]


def test_p12_takes_the_name_and_the_modern_profile_by_default_and_hides_its_password() -> None:
    p12 = parse(p12={"password": "secret"}).p12
    assert p12 is not None
    assert (p12.friendly_name, p12.profile) == ("curl", "modern")
    assert "secret" not in repr(p12)
