# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import names, times
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import build, constraints
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy
from ansible_collections.kyma.mtls.tests.limbo import zoo

Kind = x509.name._ASN1Type


def common_name(text: str, kind: Kind = Kind.UTF8String) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, kind)])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (common_name("Root"), common_name("root"), True),
        (common_name("Root CA"), common_name(" root   ca "), True),
        (common_name("Root"), common_name("Root", Kind.PrintableString), True),
        (common_name("Root"), common_name("Root", Kind.BMPString), True),
        (common_name("STRASSE"), common_name("stra\u00dfe"), True),
        (common_name("\u212bngstr\u00f6m"), common_name("\u00e5ngstro\u0308m"), True),
        (common_name("Root"), common_name("Root 2"), False),
        (common_name("RootCA"), common_name("Root CA"), False),
    ],
)
def test_names_compare_by_their_prepared_text(one, other, same):
    assert names.same_name(one, other) is same


def test_the_order_inside_a_multi_valued_part_means_nothing_and_of_the_parts_everything():
    first, second = x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b")
    sets = [x509.Name([x509.RelativeDistinguishedName(pair)]) for pair in ([first, second], [second, first])]
    assert names.same_name(*sets)
    assert not names.same_name(x509.Name([first, second]), x509.Name([second, first]))


@pytest.mark.parametrize(
    ("permitted", "excluded", "sans", "fine"),
    [
        (["DNS:example"], None, ["DNS:a.b.example"], True),
        (["DNS:example"], None, ["DNS:notexample"], False),
        (["DNS:example"], None, ["DNS:A.EXAMPLE"], True),
        (["DNS:a.example"], None, ["DNS:*.example"], False),
        (None, ["DNS:a.example"], ["DNS:*.example"], False),
        (None, ["DNS:a.b.example"], ["DNS:*.example"], True),
        (["DNS:example"], None, ["IP:192.0.2.1"], True),
        (["IP:192.0.2.0/24"], None, ["IP:192.0.2.200"], True),
        (["IP:192.0.2.0/24"], None, ["IP:192.0.3.1"], False),
        (["IP:192.0.2.0/24"], None, ["IP:::1"], False),
        (None, ["IP:2001:db8::/32"], ["IP:2001:db8::5"], False),
        (["email:example.com"], None, ["email:a@example.com"], True),
        (["email:example.com"], None, ["email:a@sub.example.com"], False),
        (["email:.example.com"], None, ["email:a@sub.example.com"], True),
        (["email:a@example.com"], None, ["email:a@EXAMPLE.com"], True),
        (["email:a@example.com"], None, ["email:A@example.com"], False),
        (["URI:example.com"], None, ["URI:https://user@example.com:8443/x"], True),
        (["URI:.example.com"], None, ["URI:spiffe://a.example.com/x"], True),
        (["URI:example.com"], None, ["URI:https://other.com/example.com"], False),
        (["URI:example.com"], None, ["URI:https://192.0.2.1/"], False),
        (None, ["URI:example.com"], ["URI:urn:x"], False),
        (["dir:leaf"], None, ["DNS:a.example"], True),
        (["dir:other"], None, ["DNS:a.example"], False),
        (None, ["dir:LEAF"], ["DNS:a.example"], False),
        (None, ["dir:leaf"], ["dir:x"], False),
    ],
)
def test_name_constraints_hold_for_every_kind_of_name(permitted, excluded, sans, fine):
    authority = zoo.make("Root", permitted=permitted, excluded=excluded)
    end = zoo.leaf(authority, sans=sans)
    assert (constraints.violation(Cert(authority.certificate), Cert(end.certificate)) is None) is fine


def test_an_e_mail_address_in_the_subject_is_constrained_when_there_is_none_in_the_san():
    subject = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@other.example")])
    authority = zoo.make("Root", permitted=["email:example.com"])
    end = zoo.leaf(authority, subject)
    assert "a@other.example" in str(constraints.violation(Cert(authority.certificate), Cert(end.certificate)))


def test_too_many_comparisons_are_refused_not_made(monkeypatch):
    monkeypatch.setattr(constraints, "MAX_COMPARISONS", 3)
    root = zoo.make("Root", excluded=["DNS:a.example", "DNS:b.example"])
    outcome = build.build(
        zoo.leaf(root).certificate, candidates=[], roots=[root.certificate], policy=Policy(now=zoo.NOW)
    )
    assert "too many to compare" in outcome.problem


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2030-06-01T12:00:00Z", "2030-06-01T12:00:00+00:00"),
        ("2030-06-01T12:00:00.9+02:00", "2030-06-01T10:00:00+00:00"),
        ("20300601120000Z", "2030-06-01T12:00:00+00:00"),
        ("+1w2d3h4m5s", "2030-06-10T15:04:05+00:00"),
        ("-30d", "2030-05-02T12:00:00+00:00"),
        ("+90", "2030-06-01T12:01:30+00:00"),
    ],
)
def test_moments_are_understood(text, wanted):
    assert times.parse_moment(text, now=zoo.NOW) == datetime.datetime.fromisoformat(wanted)


@pytest.mark.parametrize("text", ["", "+", "now", "2030-06-01T12:00:00", "2030-13-01T00:00:00Z", "+999999w", "1d"])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(MtlsError, match="RFC 3339"):
        times.parse_moment(text, now=zoo.NOW)


@pytest.mark.parametrize(
    ("san", "host", "covered"),
    [
        ("xn--strae-oqa.test", "stra\u00dfe.test", True),
        ("strasse.test", "stra\u00dfe.test", False),
        ("xn--bcher-kva.test", "B\u00dcCHER.test", True),
        ("xn--bcher-kva.test", "xn--bcher-kva.test.", True),
        ("*.xn--bcher-kva.test", "a.b\u00fccher.test", True),
        ("*.xn--bcher-kva.test", "*.b\u00fccher.test", True),
        ("*.xn--strae-oqa.test", "*.strasse.test", False),
        ("a.test", "a.test.", True),
        ("*.a.test", "*.a.test.", True),
        ("a.test", "\u2764.test", False),
    ],
)
def test_international_hosts_are_named_as_browsers_and_curl_name_them(san, host, covered):
    assert names.host_matches([x509.DNSName(san)], host) is covered
