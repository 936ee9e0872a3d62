# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's certificate, its chain and the client CA hints, judged by looking at them."""

from __future__ import annotations

import datetime
import ipaddress
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import certificate_request, certificates, expiry
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.expiry import Threshold
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import HandshakeFacts
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
from ansible_collections.kyma.mtls.tests.servers.pki import Pki, make_ca, make_leaf, name, new_key

NOW = datetime.datetime.now(tz=datetime.UTC)
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def leaf(pki: Pki, **changes: t.Any) -> x509.Certificate:
    given = {"subject": name(common_name="server"), "sans": [x509.DNSName("a.test")], "usage": SERVER, **changes}
    return make_leaf(pki.server_ca, **given).certificate


def extended(pki: Pki, *extensions: x509.ExtensionType) -> x509.Certificate:
    """Return a server certificate with just these extensions."""
    key = new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name="server"))
        .issuer_name(pki.server_ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=90))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(pki.server_ca.key, hashes.SHA256())


def one(cases: list[Case]) -> Case:
    [case] = cases
    return case


def test_a_sound_leaf_passes(pki: Pki) -> None:
    assert one(certificates.check_leaf(leaf(pki))).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("changes", "outcome", "said"),
    [
        ({"sans": []}, Outcome.FAILED, "no SAN"),
        ({"usage": ExtendedKeyUsageOID.CLIENT_AUTH}, Outcome.FAILED, "has no serverAuth"),
        ({"usage": None}, Outcome.WARNING, "no extended key usage"),
    ],
)
def test_faults_of_a_leaf_are_named(changes: dict[str, t.Any], outcome: Outcome, said: str, pki: Pki) -> None:
    case = one(certificates.check_leaf(leaf(pki, **changes)))
    assert case.outcome is outcome
    assert said in case.observed


def test_a_leaf_for_any_purpose_is_warned_about(pki: Pki) -> None:
    found = extended(pki, x509.SubjectAlternativeName([x509.DNSName("a.test")]), x509.ExtendedKeyUsage([SERVER, ANY]))
    case = one(certificates.check_leaf(found))
    assert case.outcome is Outcome.WARNING
    assert "any purpose" in case.observed


@pytest.mark.parametrize(
    ("sans", "host", "outcomes"),
    [
        ([x509.DNSName("a.test")], "a.test", ["passed", "passed"]),
        ([x509.DNSName("*.b.test")], "a.b.test", ["passed", "passed"]),
        ([x509.DNSName("*.b.test")], "a.a.b.test", ["failed", "passed"]),
        ([x509.DNSName("*.b.test"), x509.DNSName("deeper.a.b.test")], "a.b.test", ["passed", "passed"]),
        ([x509.DNSName("*.*.test")], "a.b.test", ["failed", "failed"]),
        ([x509.DNSName("*.test")], "a.test", ["failed", "failed"]),
        ([x509.DNSName("a*.b.test")], "ab.b.test", ["failed", "failed"]),
        ([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))], "127.0.0.1", ["passed", "skipped"]),
        ([x509.DNSName("a.test")], "127.0.0.1", ["failed", "skipped"]),
        ([], "server", ["failed", "passed"]),
    ],
)
def test_names_and_wildcards(sans: list[t.Any], host: str, outcomes: list[str], pki: Pki) -> None:
    found = certificates.check_names(leaf(pki, sans=sans), host)
    assert [case.check for case in found] == ["MV-11", "MV-12"]
    assert [case.outcome.value for case in found] == outcomes


def test_chains_in_and_out_of_order(pki: Pki) -> None:
    root = pki.server_ca.certificate
    good = leaf(pki)
    alone = one(certificates.check_chain([good], now=NOW))
    assert (alone.outcome, alone.observed) == (Outcome.PASSED, "1 certificate")
    with_root = one(certificates.check_chain([good, root], now=NOW))
    assert with_root.outcome is Outcome.PASSED
    assert with_root.observed.startswith("2 certificates; ")
    assert "RFC 8446" in with_root.observed
    for wrong, said in (
        ([good, pki.client_ca.certificate], "did not issue"),
        ([good, good], "twice"),
        ([good, root, root], "twice"),
    ):
        case = one(certificates.check_chain(wrong, now=NOW))
        assert case.outcome is Outcome.FAILED
        assert said in case.observed
    late = one(certificates.check_chain([good, root], now=NOW + datetime.timedelta(days=9999)))
    assert "has expired" in late.observed
    assert certificates.check_chain([], now=NOW) == []


def test_weak_keys_and_signatures_fail(pki: Pki) -> None:
    weak = certificates.check_strength([leaf(pki, kind="rsa1024")])
    assert one(weak).outcome is Outcome.FAILED
    assert "1024" in one(weak).observed
    small = ec.generate_private_key(ec.SECP224R1())
    assert "224" in one(certificates.check_strength([leaf(pki, key=small)])).observed
    sound = one(certificates.check_strength([leaf(pki)]))
    assert (sound.outcome, sound.observed) == (Outcome.PASSED, "ECDSA 256, signed with ecdsa-with-SHA256")


@pytest.mark.parametrize(
    ("days", "name_of", "outcome"),
    [
        ((-10, 300), "server", Outcome.PASSED),
        ((-300, 20), "server", Outcome.WARNING),
        ((-10, -1), "server", Outcome.FAILED),
        ((1, 10), "server", Outcome.FAILED),
        ((-10, 1000), "server", Outcome.WARNING),
        ((-10, 1000), "client", Outcome.PASSED),
        ((-0.1, 0.9), "client", Outcome.PASSED),  # a short life, most of it ahead
        ((-0.9, 0.1), "client", Outcome.WARNING),
    ],
)
def test_validity(days: tuple[float, float], name_of: str, outcome: Outcome, pki: Pki) -> None:
    case = certificates.check_validity(
        name_of, leaf(pki, days=days), now=NOW, warning=Threshold(percentage=25), failure=Threshold()
    )
    assert case.outcome is outcome, case.observed


@pytest.mark.parametrize(
    ("lifetime", "left", "warning", "failure", "outcome"),
    [
        # Neither at once nor never, for what lives for six days, 47 days, and ten years.
        (6, 5.9, Threshold(percentage=25), Threshold(percentage=10), Outcome.PASSED),
        (6, 1.4, Threshold(percentage=25), Threshold(percentage=10), Outcome.WARNING),
        (6, 0.5, Threshold(percentage=25), Threshold(percentage=10), Outcome.FAILED),
        (47, 46, Threshold(percentage=25), Threshold(percentage=10), Outcome.PASSED),
        (47, 11, Threshold(percentage=25), Threshold(percentage=10), Outcome.WARNING),
        (47, 4, Threshold(percentage=25), Threshold(percentage=10), Outcome.FAILED),
        (3650, 31, Threshold(percentage=25), Threshold(percentage=10), Outcome.PASSED),
        (3650, 29, Threshold(percentage=25), Threshold(), Outcome.WARNING),
        # Days win.
        (47, 20, Threshold(21, 25), Threshold(), Outcome.WARNING),
        (47, 20, Threshold(0, 99), Threshold(0, 99), Outcome.PASSED),
        (6, 5, Threshold(percentage=25), Threshold(14), Outcome.FAILED),
    ],
)
def test_the_end_is_near_by_share_or_by_days(
    lifetime: float, left: float, warning: Threshold, failure: Threshold, outcome: Outcome, pki: Pki
) -> None:
    certificate = leaf(pki, days=(left - lifetime, left))
    case = certificates.check_validity("client", certificate, now=NOW, warning=warning, failure=failure)
    assert case.outcome is outcome, case.observed
    if outcome is Outcome.FAILED:
        assert f"at least {failure} are required" in case.observed


@pytest.mark.parametrize("percentage", [-1, 100])
def test_what_is_no_share_is_refused(percentage: int) -> None:
    with pytest.raises(MtlsError, match=f"expiry_failure_percentage is {percentage}, but must be between 0 and 99"):
        expiry.threshold(None, percentage, name="expiry_failure")


@pytest.mark.parametrize("days", [-1, 10**12])
def test_days_that_no_certificate_reaches_are_refused(days: int) -> None:
    with pytest.raises(MtlsError, match=f"expiry_failure_days is {days}, but must be between 0 and 100000"):
        expiry.threshold(days, 0, name="expiry_failure")


def test_a_client_with_the_servers_key_is_found(pki: Pki) -> None:
    thief = Identity("thief", (pki.server.certificate,))
    honest = Identity("honest", (pki.client.certificate,))
    assert certificates.check_separate_keys(pki.server.certificate, [honest]).outcome is Outcome.PASSED
    case = certificates.check_separate_keys(pki.server.certificate, [honest, thief])
    assert case.outcome is Outcome.FAILED
    assert "thief" in case.observed


def test_revocation_pointers(pki: Pki) -> None:
    def points(url: str) -> x509.CRLDistributionPoints:
        place = [x509.UniformResourceIdentifier(url)]
        return x509.CRLDistributionPoints([x509.DistributionPoint(place, None, None, None)])

    ocsp = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://o.test"))]
    )
    assert certificates.check_revocation_urls(extended(pki)).outcome is Outcome.SKIPPED
    good = certificates.check_revocation_urls(extended(pki, points("http://c.test/crl"), ocsp))
    assert good.outcome is Outcome.PASSED
    assert good.observed == "http://c.test/crl, http://o.test"
    assert certificates.check_revocation_urls(extended(pki, points("https://c.test/crl"))).outcome is Outcome.WARNING


class _Unreadable:
    """Stands for a certificate whose extensions nobody can parse; Envoy and OpenSSL refuse to serve one."""

    @property
    def extensions(self) -> x509.Extensions:
        raise ValueError("invalid DER")


def test_extensions_that_cannot_be_parsed_fail() -> None:
    unreadable: t.Any = _Unreadable()
    assert certificates.check_revocation_urls(unreadable).outcome is Outcome.FAILED
    [case] = certificates.check_names(unreadable, "a.test")
    assert (case.check, case.outcome) == ("MV-11", Outcome.FAILED)


def test_what_is_no_certificate_ends_the_chain(pki: Pki) -> None:
    der = pki.server.certificate.public_bytes(serialization.Encoding.DER)
    assert len(certificates.parse_chain([der, b"garbage", der])) == 1


# Hints


def hinting(*names: x509.Name | bytes) -> HandshakeFacts:
    raw = tuple(one if isinstance(one, bytes) else one.public_bytes() for one in names)
    return HandshakeFacts(certificate_request=True, client_cas=raw)


def judged(seen: HandshakeFacts, pki: Pki, *, declared: bool = True) -> dict[str, Outcome]:
    cases = certificate_request.check_client_ca_names(
        seen,
        expected=[pki.client_ca.certificate.subject],
        declared=declared,
        server_chain=[pki.server.certificate],
    )
    return {case.check: case.outcome for case in cases}


def test_hints_are_compared_with_the_expected_cas(pki: Pki) -> None:
    own, other = pki.client_ca.certificate.subject, name(common_name="Other")
    server = pki.server_ca.certificate.subject
    assert judged(hinting(own), pki) == {"MV-21": Outcome.PASSED, "MV-22": Outcome.PASSED}
    assert judged(hinting(other), pki)["MV-21"] is Outcome.FAILED
    assert judged(hinting(own, other), pki)["MV-21"] is Outcome.FAILED
    assert judged(hinting(own, other), pki, declared=False)["MV-21"] is Outcome.WARNING
    assert judged(hinting(own, server), pki)["MV-22"] is Outcome.FAILED
    assert judged(hinting(), pki) == {"MV-21": Outcome.WARNING, "MV-22": Outcome.SKIPPED}
    assert judged(HandshakeFacts(certificate_request=False), pki)["MV-21"] is Outcome.SKIPPED
    assert judged(HandshakeFacts(), pki)["MV-21"] is Outcome.SKIPPED
    many = [own, *(name(common_name=f"Public CA {number}") for number in range(20))]
    assert judged(hinting(*many), pki, declared=False) == {"MV-21": Outcome.FAILED, "MV-22": Outcome.FAILED}
    assert judged(hinting(own, b"no name"), pki)["MV-21"] is Outcome.FAILED


def test_what_was_seen_of_the_hints_is_said(pki: Pki) -> None:
    own = pki.client_ca.certificate.subject

    def said(seen: HandshakeFacts) -> str:
        return certificate_request.check_client_ca_names(seen, expected=[own], declared=False, server_chain=[])[
            1
        ].observed

    assert said(hinting(own)) == "1 client CA"
    assert said(hinting(own, name(common_name="Other"))) == "2 client CAs"
    assert said(HandshakeFacts()) in {"no handshake got that far", certificate_request.UNOBSERVABLE}
    assert said(HandshakeFacts(certificate_request=False)) == "the server asks for no client certificate"


def test_one_ca_for_both_sides_is_a_warning(pki: Pki) -> None:
    subject = pki.server_ca.certificate.subject
    cases = certificate_request.check_client_ca_names(
        hinting(subject), expected=[subject], declared=True, server_chain=[pki.server.certificate]
    )
    assert [case.outcome for case in cases] == [Outcome.PASSED, Outcome.WARNING]


def test_a_handshake_without_a_request_fails() -> None:
    assert (
        certificate_request.check_request(HandshakeFacts(certificate_request=True), "TLSv1.3").outcome is Outcome.PASSED
    )
    assert (
        certificate_request.check_request(HandshakeFacts(certificate_request=False), "TLSv1.3").outcome
        is Outcome.FAILED
    )
    assert certificate_request.check_request(HandshakeFacts(), None).outcome is Outcome.SKIPPED
    assert (
        certificate_request.check_request(
            HandshakeFacts(certificate_request=True, late_request=True), "TLSv1.3"
        ).outcome
        is Outcome.WARNING
    )


def test_names_of_hints_are_readable() -> None:
    subject = make_ca(name(common_name="Größe", organization="A, B")).certificate.subject
    assert certificate_request.der_name_text(subject.public_bytes()) == subject.rfc4514_string()
    assert certificate_request.der_name_text(b"\x30\x00") == "(empty name)"
    assert certificate_request.der_name_text(b"\xff\x01") == "ff01"


@pytest.mark.parametrize(("days", "outcome"), [(10, Outcome.FAILED), (30, Outcome.PASSED)])
def test_days_that_are_required_must_be_left(days: int, outcome: Outcome, pki: Pki) -> None:
    certificate = leaf(pki, days=(-1, days))
    assert (
        certificates.check_validity("client", certificate, now=NOW, warning=Threshold(), failure=Threshold(20)).outcome
        is outcome
    )


@pytest.mark.parametrize(
    ("threshold", "is_set"),
    [
        (expiry.NEVER, False),
        (expiry.Threshold(days=0, percentage=25), False),
        (expiry.Threshold(days=7), True),
        (expiry.Threshold(percentage=25), True),
    ],
    ids=str,
)
def test_no_days_switch_a_percentage_off(threshold: expiry.Threshold, is_set: bool) -> None:
    assert threshold.is_set is is_set
