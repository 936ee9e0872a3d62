# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad clients, against a gateway that is a script: what counts as refused, and what as tried."""

from __future__ import annotations

import dataclasses
import datetime
import types
import typing as t

import pytest
from cryptography.exceptions import InvalidSignature

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import refusals
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import REFUSALS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import ListedClient
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer, all_offers
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import (
    HTTP_1,
    HTTP_2,
    HTTP_2_WITHOUT_ALPN,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind, Observation, Response
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.tests.servers.pki import Holder, make_ca, make_leaf, name
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.refusals import Refusal
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

NOW = datetime.datetime.now(tz=datetime.UTC)
OFFERS = [TlsOffer("TLSv1.3"), TlsOffer("TLSv1.2")]


def alert(code: int) -> Observation:
    return Observation(Kind.ALERT, "response", "alert", alert=code)


def answer(status: int) -> Observation:
    return Observation(Kind.ANSWERED, "response", "", response=Response(status, "", (), b""))


UNKNOWN_CA, ADMITTED, RESET = alert(48), answer(200), Observation(Kind.RESET, "handshake", "reset")
LOCAL = Observation(Kind.LOCAL, "before", "too weak")


class Gateway:
    """Stands for an inspection: answers as ``react`` says, and remembers whom."""

    def __init__(self, react: t.Callable[[Identity | None], Observation]) -> None:
        self.options = types.SimpleNamespace(expect_status=frozenset({200}), now=NOW)
        self.offer = HTTP_1
        self.seen: list[tuple[str, dict[str, t.Any]]] = []
        self._react = react

    def attempt(self, identity: Identity | None, **how: t.Any) -> Observation:
        self.seen.append((identity.name if identity else "nobody", how))
        return self._react(identity)


def gateway(observation: Observation) -> t.Any:
    return Gateway(lambda _identity: observation)


def refusal(check: str = "MV-25", *, holder: Holder | None = None, **changes: t.Any) -> Refusal:
    identity = Identity("x", (holder.certificate,)) if holder else None
    given: dict[str, t.Any] = {"make": lambda: identity, "expected": frozenset({48}), **changes}
    return refusals.Refusal(check, "x", **given)


def outcomes(cases: t.Iterable[t.Any]) -> list[str]:
    return [case.outcome.value for case in cases]


@pytest.mark.parametrize(
    ("observation", "outcome"),
    [(UNKNOWN_CA, "passed"), (alert(45), "warning"), (ADMITTED, "failed"), (RESET, "outage"), (LOCAL, "skipped")],
)
def test_a_bad_client_is_tried_in_every_way(observation: Observation, outcome: str) -> None:
    cases = refusals.try_refusal(gateway(observation), refusal(), OFFERS)
    assert outcomes(cases) == [outcome, outcome]
    assert [(case.check, case.name) for case in cases] == [("MV-25", "x, TLSv1.3"), ("MV-25", "x, TLSv1.2")]


def test_the_client_without_a_certificate_counts_for_the_demand_too() -> None:
    cases = refusals.try_refusal(gateway(ADMITTED), refusal("MV-24"), OFFERS[:1])
    assert [(case.check, case.outcome.value) for case in cases] == [("MV-24", "failed"), ("MV-20", "failed")]


def test_what_some_servers_may_admit_is_a_warning(pki: Pki) -> None:
    weak = refusal(holder=pki.client, outcome_if_accepted=Outcome.WARNING)
    assert outcomes(refusals.try_refusal(gateway(ADMITTED), weak, OFFERS[:1])) == ["warning"]
    assert outcomes(refusals.try_refusal(gateway(UNKNOWN_CA), weak, OFFERS[:1])) == ["passed"]


def _unmakeable() -> Identity:
    raise MtlsError("its file is gone")


@pytest.mark.parametrize(
    ("is_user_supplied", "outcome", "said"),
    [(False, "skipped", "its file is gone"), (True, "failed", "could not be tried: its file is gone")],
)
def test_who_cannot_be_made_is_skipped_and_who_was_named_fails(is_user_supplied: bool, outcome: str, said: str) -> None:
    [case] = refusals.try_refusal(
        gateway(ADMITTED), refusal(make=_unmakeable, is_user_supplied=is_user_supplied), OFFERS
    )
    assert (case.outcome, case.observed) == (outcome, said)


@pytest.mark.parametrize("is_user_supplied", [False, True])
@pytest.mark.parametrize("check", ["MV-29", "MV-33"])
@pytest.mark.parametrize(
    ("days", "observation", "given", "revoked"),
    [
        ((-1, 1), UNKNOWN_CA, "passed", "passed"),
        ((-1, 1), alert(45), "warning", "warning"),
        ((-1, 1), ADMITTED, "failed", "failed"),
        ((-1, 1), LOCAL, "failed", "failed"),
        ((-1, 1), RESET, "outage", "outage"),
        ((-2, -1), UNKNOWN_CA, "failed", "skipped"),
        ((-2, -1), alert(45), "failed", "skipped"),
        ((1, 2), answer(403), "failed", "skipped"),
        ((-2, -1), ADMITTED, "failed", "failed"),
        ((-2, -1), RESET, "outage", "outage"),
        ((-2, -1), LOCAL, "failed", "failed"),
    ],
)
def test_a_named_client_must_be_tried_and_be_valid(
    days: tuple[float, float],
    observation: Observation,
    given: str,
    revoked: str,
    check: str,
    is_user_supplied: bool,
    pki: Pki,
) -> None:
    holder = make_leaf(pki.client_ca, subject=name(common_name="mallory"), days=days)
    [case] = refusals.try_refusal(
        gateway(observation), refusal(check, holder=holder, is_user_supplied=is_user_supplied), OFFERS[:1]
    )
    if is_user_supplied:
        assert case.outcome == (revoked if check == "MV-29" else given)
    else:
        assert case.outcome is not Outcome.FAILED or observation is ADMITTED


def throw_away(pki: Pki) -> ThrowAwayIdentities:
    client = Identity("good client", (pki.client.certificate,))
    return ThrowAwayIdentities(client, IssuingCa(pki.client_ca.certificate, pki.client_ca.key), now=NOW)


def test_a_client_of_an_intermediate_ca_needs_it_in_its_chain(pki: Pki) -> None:
    sound = Gateway(lambda identity: ADMITTED if identity and ", with it" in identity.name else UNKNOWN_CA)
    cases = refusals.try_intermediate(t.cast("t.Any", sound), throw_away(pki), OFFERS)
    assert set(outcomes(cases)) == {"passed"}
    assert {case.check for case in cases} == {"MV-31", "MV-32"}
    assert len(cases) == 1 + 3 * len(OFFERS)
    cases = refusals.try_intermediate(gateway(ADMITTED), throw_away(pki), OFFERS)
    assert outcomes(cases) == ["passed", *["failed"] * 6]


@pytest.mark.parametrize(
    ("observation", "outcome", "others"),
    [(UNKNOWN_CA, "skipped", "skipped"), (answer(403), "skipped", "skipped"), (RESET, "outage", "skipped")],
)
def test_where_no_intermediate_ca_is_trusted_its_rules_cannot_be_tried(
    observation: Observation, outcome: str, others: str, pki: Pki
) -> None:
    cases = refusals.try_intermediate(gateway(observation), throw_away(pki), OFFERS)
    assert outcomes(cases) == [outcome, others, others]


def test_every_way_is_another_one_and_the_plain_ones_come_first() -> None:
    offers = all_offers("a.test")
    assert len({str(offer) for offer in offers}) == len(offers) == 31
    assert [str(offer) for offer in offers[:2]] == ["TLSv1.2", "TLSv1.3"]
    assert [offer.is_plain for offer in offers] == [True, True, *[False] * 29]
    assert len(all_offers("127.0.0.1", ["a.test"])) == 11
    others = all_offers("a.test", ["a.test", "b.test", "*.c.test", "b.test", "elsewhere.test"])
    more = [f"{version}, SNI {one}" for version in ("TLSv1.2", "TLSv1.3") for one in ("A.TEST", "b.test")]
    assert [str(offer) for offer in others[29:]] == more
    assert len(all_offers("a.test", [f"{number}.test" for number in range(99)])) == 31 - 2 + 2 * 16


def test_where_only_http_2_is_spoken_that_is_the_plain_way() -> None:
    for usual, said, number in ((HTTP_2, "ALPN h2", 31), (HTTP_2_WITHOUT_ALPN, "no ALPN, HTTP/2", 39)):
        offers = all_offers("a.test", ["b.test"], usual)
        assert [str(offer) for offer in offers if offer.is_plain] == [f"TLSv1.2, {said}", f"TLSv1.3, {said}"]
        assert len({str(offer) for offer in offers}) == len(offers) == number + 2
        assert f"TLSv1.2, {said}, suites kRSA" in map(str, offers)


@pytest.mark.parametrize("observation", [UNKNOWN_CA, RESET, answer(404), answer(503)])
def test_where_the_good_client_is_not_served_only_being_served_counts(observation: Observation) -> None:
    nobody = refusal("MV-24")
    assert refusals.try_where_unserved(gateway(observation), nobody, OFFERS[0]) == []
    served = refusals.try_where_unserved(gateway(ADMITTED), nobody, OFFERS[0])
    assert [(case.check, case.outcome) for case in served] == [("MV-24", "failed"), ("MV-20", "failed")]
    content = dataclasses.replace(answer(403), is_workloads=True)
    assert outcomes(refusals.try_where_unserved(gateway(content), refusal(), OFFERS[0])) == ["failed"]


@pytest.mark.parametrize(
    "attribute", ["serial number", "issuer name", "common name", "subject", "issuer certificate", "chain"]
)
def test_an_impostor_has_the_attribute_and_not_the_others(attribute: str, pki: Pki) -> None:
    model, forged = pki.client.certificate, throw_away(pki).with_same(attribute, [pki.client_ca.certificate])
    certificate = forged.certificate
    same = {
        "serial number": certificate.serial_number == model.serial_number,
        "issuer name": certificate.issuer == model.issuer,
        "common name": certificate.subject.rfc4514_string().split(",")[-1] in model.subject.rfc4514_string(),
        "subject": certificate.subject == model.subject,
        "issuer certificate": pki.client_ca.certificate in forged.chain,
        "chain": pki.client.certificate in forged.chain[1:],
    }
    implied = {"subject": {"subject", "common name"}}.get(attribute, {attribute})
    assert {one for one, is_same in same.items() if is_same} == implied


def test_an_impostor_in_all_differs_by_its_signature_only(pki: Pki) -> None:
    model, forged = pki.client.certificate, throw_away(pki).forged_in_all([pki.client_ca.certificate])
    for attribute in ("serial_number", "issuer", "subject"):
        assert getattr(forged.certificate, attribute) == getattr(model, attribute)
    assert forged.chain[1] == pki.client_ca.certificate
    with pytest.raises(InvalidSignature):
        forged.certificate.verify_directly_issued_by(pki.client_ca.certificate)


def test_an_impostor_needs_something_to_forge(pki: Pki) -> None:
    with pytest.raises(MtlsError, match="has no SAN"):
        throw_away(pki).with_same("SAN", [])
    with pytest.raises(MtlsError, match="not among client_ca_cert"):
        throw_away(pki).with_same("issuer certificate", [make_ca(name(common_name="Other")).certificate])


def test_listed_clients_are_named_and_those_to_be_accepted_are_not_refused(pki: Pki) -> None:
    client = Identity("good client", (pki.client.certificate,))
    options: t.Any = types.SimpleNamespace(
        client=client,
        expected_client_cas=(),
        authority=None,
        crls=(),
        revoked=(ListedClient("revoked client gone", "refused", client),),
        clients=(ListedClient("anna", "accepted", client), ListedClient("mallory", "refused", client)),
    )
    given = [one for one in refusals.all_refusals(throw_away(pki), options) if one.is_user_supplied]
    assert [(one.check, one.name) for one in given] == [("MV-29", "revoked client gone"), ("MV-33", "client mallory")]
    assert 45 not in given[1].expected
    assert given[0].expected == {44}


def test_what_cannot_be_tried_is_skipped_for_that_reason(pki: Pki) -> None:
    options = read_options(parameters(pki, "127.0.0.1:1"))
    made = ThrowAwayIdentities(options.client, None, now=options.now)
    some, every = refusals.skip_throw_away(made, options, "why"), refusals.skip_all("why")
    assert {(case.outcome.value, case.observed) for case in (*some, *every)} == {("skipped", "why")}
    assert {case.check for case in some} == {"MV-27", "MV-28", "MV-31", "MV-32", "MV-34", "MV-42"}
    assert {case.check for case in every} == REFUSALS
