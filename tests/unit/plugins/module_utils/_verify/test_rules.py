# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's own CA and replicas, against a gateway that is a script; and when the module fails."""

from __future__ import annotations

import itertools
import types
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import plain_http, protocol, server_ca, session
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.refusals import Refusal
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.replicas import ReplicaPlan, try_again
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import client_hello
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    HandshakeFacts,
    Kind,
    Observation,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report import summary as reports
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_refusals import (
    ADMITTED,
    NOW,
    RESET,
    UNKNOWN_CA,
    Gateway,
    alert,
    answer,
    outcomes,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

OFFERS = [TlsOffer("TLSv1.3")]


def gateway(pki: Pki, react: t.Callable[[Identity | None], Observation], **options: t.Any) -> t.Any:
    made = Gateway(react)
    given = {
        "client": Identity("good client", (pki.client.certificate,)),
        "expected_client_cas": (pki.client_ca.certificate,),
        "expect_status": frozenset({200}),
        "now": NOW,
        "kit": None,
        "server_ca_key": None,
        "server_cas": (),
        "checks": frozenset({"MV-23", "MV-25"}),
        "concurrency": 1,
        **options,
    }
    made.options = types.SimpleNamespace(**given)
    return made


def _server_ca(pki: Pki, control: Observation, own: Observation, **options: t.Any) -> list[Case]:
    made = gateway(pki, lambda one: control if one and "stranger" in one.name else own, **options)
    throw_away = ThrowAwayIdentities(made.options.client, None, now=NOW)
    return server_ca.try_server_ca(made, throw_away, (pki.server.certificate,), OFFERS)


ASKED_NOBODY = Observation(Kind.RESET, "response", "reset", seen=HandshakeFacts(certificate_request=False))


@pytest.mark.parametrize(
    ("control", "own", "outcome"),
    [
        (UNKNOWN_CA, UNKNOWN_CA, "passed"),
        *((UNKNOWN_CA, alert(code), "failed") for code in (43, 44, 45, 51)),
        *((UNKNOWN_CA, alert(code), "skipped") for code in (40, 42, 46, 80)),
        (UNKNOWN_CA, RESET, "skipped"),
        (alert(51), alert(51), "skipped"),
        (alert(51), UNKNOWN_CA, "skipped"),
        (ADMITTED, UNKNOWN_CA, "failed"),
        (UNKNOWN_CA, ADMITTED, "failed"),
        (UNKNOWN_CA, ASKED_NOBODY, "skipped"),
    ],
)
def test_the_cause_of_a_refusal_tells_whether_the_server_ca_is_trusted(
    control: Observation, own: Observation, outcome: str, pki: Pki
) -> None:
    assert outcomes(_server_ca(pki, control, own)) == [outcome]


def test_a_real_client_of_the_server_ca_decides(pki: Pki) -> None:
    key = {"server_ca_key": pki.server_ca.key}
    below = {**key, "server_cas": (pki.server_ca.certificate,)}
    assert outcomes(_server_ca(pki, alert(51), ADMITTED, **below)) == ["failed", "failed"]
    assert outcomes(_server_ca(pki, alert(51), UNKNOWN_CA, **below)) == ["passed"]
    assert outcomes(_server_ca(pki, alert(51), alert(51), **key)) == ["skipped", "skipped"]


def test_without_a_chain_nothing_is_tried_and_a_common_ca_is_a_warning(pki: Pki) -> None:
    made = gateway(pki, lambda _identity: UNKNOWN_CA, expected_client_cas=(pki.server_ca.certificate,))
    throw_away = ThrowAwayIdentities(made.options.client, None, now=NOW)
    assert server_ca.try_server_ca(made, throw_away, (), OFFERS) == []
    assert outcomes(server_ca.try_server_ca(made, throw_away, (pki.server.certificate,), OFFERS)) == ["warning"]
    assert made.seen == []


def again(
    pki: Pki, good: t.Sequence[Observation], bad: t.Sequence[Observation], *tried: Case, **options: t.Any
) -> t.Any:
    """Return the cases of three fresh connections for each decisive check."""
    answers = {True: itertools.cycle(good), False: itertools.cycle(bad)}
    made = gateway(pki, lambda one: next(answers[one is not None and one.name == "good client"]), **options)
    stranger = Identity("stranger", (pki.revoked.certificate,))
    refusal = Refusal("MV-25", "stranger", lambda: stranger, frozenset({48}))
    return try_again(made, [refusal], OFFERS, tried, ReplicaPlan(count=3, connections=3))


TRIED = Case("MV-25", "stranger, TLSv1.3", Outcome.PASSED, "refused")


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ([ADMITTED], [UNKNOWN_CA], {"MV-23": "passed", "MV-25": "passed"}),
        ([ADMITTED], [UNKNOWN_CA, UNKNOWN_CA, ADMITTED], {"MV-23": "passed", "MV-25": "failed"}),
        ([ADMITTED, UNKNOWN_CA, ADMITTED], [UNKNOWN_CA], {"MV-23": "failed", "MV-25": "passed"}),
        ([ADMITTED], [RESET], {"MV-23": "passed", "MV-25": "outage"}),
    ],
)
def test_one_connection_in_three_is_enough_to_fail(
    good: list[Observation], bad: list[Observation], expected: dict[str, str], pki: Pki
) -> None:
    cases = again(pki, good, bad, TRIED)
    assert {case.check: case.outcome.value for case in cases} == expected
    for case in cases:
        mixed = len(good if case.check == "MV-23" else bad) > 1
        assert case.name.endswith(", 3 fresh connections")
        assert case.observed.endswith(" (1 of 3 times)") is mixed


def test_only_what_was_selected_and_tried_is_tried_again(pki: Pki) -> None:
    untried = Case("MV-25", "stranger, TLSv1.3", Outcome.SKIPPED, "no key")
    other = Case("MV-26", "stranger, TLSv1.3", Outcome.PASSED, "refused")
    for tried in ((), (untried,), (other,)):
        assert [case.check for case in again(pki, [ADMITTED], [UNKNOWN_CA], *tried)] == ["MV-23"]
    selected = {"checks": frozenset({"MV-25"})}
    assert [case.check for case in again(pki, [ADMITTED], [UNKNOWN_CA], TRIED, **selected)] == ["MV-25"]
    with_headers = {"checks": frozenset({"MV-41"})}
    assert [case.check for case in again(pki, [UNKNOWN_CA], [UNKNOWN_CA], **with_headers)] == ["MV-41"]


def _port_80(kind: Kind, stage: str) -> Outcome:
    options: t.Any = types.SimpleNamespace(expect_status=frozenset({200}), expect={}, identity_path="headers")
    return plain_http._check_port_80(options, Observation(kind, stage, "x"), None, "canary")[0]


def test_who_does_not_answer_on_port_80_is_closed_and_who_hangs_there_is_somebody() -> None:
    assert _port_80(Kind.UNREACHABLE, "plain") is Outcome.PASSED
    assert _port_80(Kind.TIMEOUT, "connect") is Outcome.PASSED
    assert _port_80(Kind.TIMEOUT, "plain") is Outcome.WARNING
    assert _port_80(Kind.RESET, "connect") is Outcome.WARNING


def test_plain_http_that_is_served_on_the_tls_port_fails(pki: Pki) -> None:
    made = gateway(pki, lambda _identity: ADMITTED)
    made.target = types.SimpleNamespace(address=("127.0.0.1", 80))
    made.knock = lambda: ADMITTED
    assert outcomes(plain_http.try_plain_http(made, None)) == ["failed"]


@pytest.mark.parametrize(
    ("observation", "outcome"),
    [
        (alert(48), "passed"),
        (alert(112), "outage"),
        (answer(421), "passed"),
        (answer(404), "passed"),
        (ADMITTED, "failed"),
        (RESET, "outage"),
    ],
)
def test_what_a_foreign_session_may_get(observation: Observation, outcome: str, pki: Pki) -> None:
    made = gateway(pki, lambda _identity: observation)
    assert session._check_foreign(made, observation)[0] == outcome


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (Kind.ALERT, "passed"),
        (Kind.RESET, "passed"),
        (Kind.TIMEOUT, "skipped"),
        (Kind.UNREACHABLE, "skipped"),
        (Kind.CANCELLED, "skipped"),
        (Kind.LOCAL, "skipped"),
    ],
)
def test_a_session_that_was_not_asked_for_is_no_proof_that_none_can_be_had(kind: Kind, outcome: str, pki: Pki) -> None:
    made = gateway(pki, lambda _identity: Observation(kind, "handshake", "x", alert=116))
    made.target = types.SimpleNamespace(host="a.test")
    case = session._try_foreign_session(made, "without a certificate", None, "TLSv1.3")
    assert (case.check, case.outcome) == ("MV-05", outcome)


def test_an_old_version_that_is_accepted_and_a_version_that_nobody_offered() -> None:
    offered = protocol.check_old_version(
        client_hello.TLS_1_0, client_hello.HelloAnswer("hello", version=client_hello.TLS_1_0, suite=0x002F)
    )
    assert (offered.outcome, offered.observed.split(":")[0]) == (Outcome.FAILED, "accepted")
    higher = protocol.check_old_version(
        client_hello.TLS_1_0, client_hello.HelloAnswer("hello", version=client_hello.TLS_1_2)
    )
    assert (higher.outcome, higher.observed[:26]) == (Outcome.FAILED, "the server answered with a")


@pytest.mark.parametrize(
    ("verdict", "warnings", "fail_on", "fails"),
    [
        ("passed", 0, "failed", False),
        ("passed", 1, "failed", False),
        ("passed", 0, "warning", False),
        ("passed", 1, "warning", True),
        ("failed", 0, "failed", True),
        ("outage", 0, "failed", True),
        ("failed", 0, "warning", True),
        ("failed", 1, "never", False),
    ],
)
def test_when_the_module_fails(verdict: str, warnings: int, fail_on: str, fails: bool) -> None:
    checks = [{"outcome": "passed"}, *[{"outcome": "warning"}] * warnings]
    made: t.Any = types.SimpleNamespace(verdict=verdict, checks=checks)
    assert reports.is_failure(made, fail_on) is fails
