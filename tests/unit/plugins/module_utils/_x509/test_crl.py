# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.crl import RevocationLists
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy
from ansible_collections.kyma.mtls.tests.limbo import zoo

POINT = x509.UniformResourceIdentifier("http://crl.example/1")
ROOT = zoo.make("Root")
POINTS = x509.CRLDistributionPoints([x509.DistributionPoint([POINT], None, None, None)])


def scope(**options: object) -> tuple[x509.ExtensionType, bool]:
    fields = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**fields, **options}), True


def judged(end: zoo.Made, *lists: str, issuer: zoo.Made = ROOT, required: bool = False) -> str | None:
    crls = tuple(one for text in lists for one in load.load_crls(text.encode(), source="crl").crls)
    revocation = RevocationLists(Policy(now=zoo.NOW, crls=crls, require_crl=required))
    return revocation.problem(Cert(end.certificate), Cert(issuer.certificate))


def test_without_lists_nothing_is_judged_unless_demanded():
    end = zoo.leaf(ROOT)
    assert judged(end) is None
    assert "require_crl" in str(judged(end, required=True))


def test_a_fresh_list_that_is_silent_is_good_news():
    assert judged(zoo.leaf(ROOT), zoo.crl(ROOT), required=True) is None


def test_a_revoked_certificate_is_told_with_the_time():
    end = zoo.leaf(ROOT)
    assert "revoked at 2030-05-31T12:00:00Z" in str(judged(end, zoo.crl(ROOT, end)))


def test_a_stale_list_is_believed_when_it_revokes_and_not_when_it_is_silent():
    end = zoo.leaf(ROOT)
    assert "revoked" in str(judged(end, zoo.crl(ROOT, end, days=(-9, -1))))
    assert "stale" in str(judged(end, zoo.crl(ROOT, days=(-9, -1))))
    assert judged(end, zoo.crl(ROOT, days=(-9, -1)), zoo.crl(ROOT)) is None


@pytest.mark.parametrize(
    ("extension", "covers"),
    [
        (scope(only_contains_user_certs=True), True),
        (scope(only_contains_ca_certs=True), False),
        (scope(only_contains_attribute_certs=True), False),
        (scope(indirect_crl=True), False),
        (scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})), False),
        (scope(full_name=[POINT]), True),
        (scope(full_name=[x509.UniformResourceIdentifier("http://other.example/")]), False),
        ((x509.DeltaCRLIndicator(1), True), False),
    ],
)
def test_a_list_counts_only_within_its_scope(extension, covers):
    end = zoo.leaf(ROOT, extra=[(POINTS, False)])
    assert (judged(end, zoo.crl(ROOT, extra=[extension]), required=True) is None) is covers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (zoo.crl(ROOT, days=(1, 9)), "not valid before"),
        (zoo.crl(ROOT, number=None), "CRL number is missing"),
        (zoo.crl(ROOT, extra=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"0"), True)]), "1.2.3"),
        (zoo.crl(zoo.make("Root", own_key=zoo.key("forger")), without_aki=True), "not validly signed"),
    ],
)
def test_a_list_that_is_not_usable_is_a_refusal_that_says_why(text, said):
    assert said in str(judged(zoo.leaf(ROOT), text))


def test_an_authority_without_the_right_to_sign_lists_is_not_believed():
    mute = zoo.make("Root", key_usage=zoo.usage("key_cert_sign"))
    assert "cRLSign" in str(judged(zoo.leaf(mute), zoo.crl(mute), issuer=mute))


def test_a_list_of_another_authority_or_of_another_key_says_nothing():
    end = zoo.leaf(ROOT)
    other, earlier = zoo.make("Other"), zoo.make("Root", own_key=zoo.key("earlier"))
    assert judged(end, zoo.crl(other, end), zoo.crl(earlier, end)) is None


def test_a_removal_from_a_delta_list_is_no_revocation():
    end = zoo.leaf(ROOT)
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(end.certificate.serial_number)
        .revocation_date(zoo.NOW)
        .add_extension(x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)
        .build()
    )
    assert judged(end, zoo.crl(ROOT, entries=[entry])) is None
