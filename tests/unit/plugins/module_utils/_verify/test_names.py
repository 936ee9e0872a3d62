# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, resumption and identities, against a gateway that is a script."""

from __future__ import annotations

import datetime
import json
import types
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import headers, names, session
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import BY_ID
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_1, HTTP_2
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    HandshakeFacts,
    Kind,
    Observation,
    Response,
    VerifyTarget,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

IDENTITY = {"X-Id": "%DOWNSTREAM_PEER_SUBJECT%"}
GOOD = "O=Test Org,CN=Test Client"
SESSION: t.Any = object()


def answer(status: int = 200, *, echo: t.Any = None, **facts: t.Any) -> Observation:
    body = b"" if echo is None else json.dumps({"headers": echo}).encode()
    return Observation(Kind.ANSWERED, "response", "", response=Response(status, "", (), body), **facts)


def ended(kind: Kind, **facts: t.Any) -> Observation:
    return Observation(kind, "handshake", "ended", **facts)


class Script:
    """Stands for an inspection: answers attempts as ``react`` says."""

    def __init__(
        self, pki: Pki, react: t.Callable[..., Observation], *, host: str = "a.test", **options: t.Any
    ) -> None:
        self.target = VerifyTarget(host, 443, "/", ("127.0.0.1", 1), explicit_address=True)
        client = Identity("good client", (pki.client.certificate,))
        given = {
            "client": client,
            "checks": frozenset(BY_ID),
            "expect_status": frozenset({200}),
            "identity_headers": IDENTITY,
            "identity_path": "headers",
            "identity_source": "headers",
            "identity_answer_prefix": "",
            "identity_log": False,
            "timeout": 1.0,
            **options,
        }
        self.options = types.SimpleNamespace(**given)
        self.react = react
        self.offer = HTTP_1

    def attempt(self, identity: Identity | None, **how: t.Any) -> Observation:
        return self.react(identity, **how)

    def knock(self) -> Observation:
        return self.react(None)


def outcomes(cases: t.Iterable[t.Any]) -> list[str]:
    return [case.outcome.value for case in cases]


def throw_away(pki: Pki) -> ThrowAwayIdentities:
    return ThrowAwayIdentities(
        Identity("good client", (pki.client.certificate,)), None, now=datetime.datetime.now(tz=datetime.UTC)
    )


def script(pki: Pki, react: t.Callable[..., Observation], **options: t.Any) -> t.Any:
    return Script(pki, react, **options)


def test_reaching_the_workload_by_a_wrong_name_without_a_certificate_is_a_failure(pki: Pki) -> None:
    cases = names.try_wrong_names(script(pki, lambda *_args, **_how: answer()))
    assert {case.outcome.value for case in cases if "without" in case.name} == {"failed"}
    assert {case.outcome.value for case in cases if "without" not in case.name} == {"warning"}
    cases = names.try_wrong_names(script(pki, lambda *_args, **_how: ended(Kind.RESET)))
    assert set(outcomes(cases)) == {"passed"}
    cases = names.try_wrong_names(script(pki, lambda *_args, **_how: ended(Kind.TIMEOUT)))
    assert set(outcomes(cases)) == {"outage"}
    cases = names.try_wrong_names(script(pki, lambda *_args, **_how: answer(), host="127.0.0.1"))
    assert outcomes(cases) == ["skipped", "skipped"]
    cases = names.try_wrong_names(script(pki, lambda *_args, **_how: answer(404), checks=frozenset({"MV-50"})))
    assert {case.check for case in cases} == {"MV-50"}


@pytest.mark.parametrize(
    ("second", "outcome", "said"),
    [
        (answer(echo={"X-Id": GOOD}, resumed=True), "passed", "with the same identity"),
        (answer(echo={"X-Id": GOOD}), "passed", "full handshake"),
        (answer(echo={}, resumed=True), "failed", "lost the client's identity"),
        (answer(echo={"X-Id": "CN=somebody"}, resumed=True), "failed", "lost the client's identity"),
        (ended(Kind.ALERT, alert=44), "passed", "not resumed"),
        (ended(Kind.RESET), "outage", "ended"),
        (answer(500), "outage", "500"),
    ],
)
def test_a_resumed_session_keeps_the_identity(second: Observation, outcome: str, said: str, pki: Pki) -> None:
    def react(identity: Identity | None, *, session: t.Any = None, **_how: t.Any) -> Observation:
        if identity is None:
            return ended(Kind.ALERT, alert=116)
        return second if session else answer(echo={"X-Id": GOOD}, session=SESSION, seen=HandshakeFacts(early_data=0))

    cases = {case.name: case for case in session.try_resumption(script(pki, react), throw_away(pki), "TLSv1.3")}
    assert cases["resumed, TLSv1.3"].outcome == outcome
    assert said in cases["resumed, TLSv1.3"].observed
    assert cases["early data, TLSv1.3"].outcome == "passed"
    assert cases["session of a client without a certificate, TLSv1.3"].outcome == "passed"


def test_early_data_is_a_failure_and_no_resumption_is_fine(pki: Pki) -> None:
    def react(identity: Identity | None, **_how: t.Any) -> Observation:
        return answer(seen=HandshakeFacts(early_data=16384)) if identity else ended(Kind.ALERT, alert=116)

    cases = session.try_resumption(script(pki, react), throw_away(pki), "TLSv1.3")
    assert outcomes(cases) == ["failed", "passed", "passed", "passed"]
    broken = session.try_resumption(script(pki, lambda *_args, **_how: ended(Kind.CLOSED)), throw_away(pki), "TLSv1.3")
    assert outcomes(broken) == ["outage"]


@pytest.mark.parametrize("site", ["elsewhere.test", "public.example"])
def test_a_session_of_a_neighbour_site_must_not_open_the_door(site: str, pki: Pki) -> None:
    """The fault of CVE-2025-23419: a session made where no certificate is needed, used where one is."""

    def react(
        identity: Identity | None, *, server_name: str | None = "", session: t.Any = None, **_how: t.Any
    ) -> Observation:
        if identity is not None:
            return answer(echo={"X-Id": GOOD})
        if session is SESSION:
            return answer(resumed=True)
        return answer(404, session=SESSION) if server_name == site else ended(Kind.ALERT, alert=116)

    cases = session.try_resumption(script(pki, react), throw_away(pki), "TLSv1.2", ["public.example"])
    [failed] = [case for case in cases if case.outcome == "failed"]
    assert f"made under {site}" in failed.observed


def test_identity_needs_headers_and_an_echo(pki: Pki) -> None:
    client = Identity("x", (pki.client.certificate,))
    for options, observation, outcome in (
        ({"identity_headers": {}}, answer(echo={}), "skipped"),
        ({}, answer(), "skipped"),
        ({}, ended(Kind.CLOSED), "skipped"),
        ({}, answer(echo={"x-id": [GOOD]}), "passed"),
        ({}, answer(echo={"x-id": "CN=x"}), "failed"),
    ):
        found = headers.check_identity(
            script(pki, lambda *_args: ended(Kind.CLOSED), **options), observation, client, "x"
        )
        assert found.outcome == outcome


@pytest.mark.parametrize(
    ("observation", "outcome"),
    [
        (ended(Kind.ALERT, alert=42), "skipped"),
        (answer(403), "skipped"),
        (ended(Kind.RESET), "outage"),
        (answer(echo={"X-Id": GOOD}), "passed"),
    ],
)
def test_identities_that_do_not_get_in_prove_nothing(observation: Observation, outcome: str, pki: Pki) -> None:
    inspection = script(pki, lambda *_args, **_how: observation)
    assert outcomes(headers.try_test_identity(inspection, lambda: inspection.options.client)) == [outcome]


def forge(pki: Pki, react: t.Callable[[dict[str, list[str]]], Observation], **options: t.Any) -> list[t.Any]:
    def attempt(_identity: Identity | None, *, headers: t.Any = (), **_how: t.Any) -> Observation:
        sent: dict[str, list[str]] = {}
        for name, value in headers:
            sent.setdefault(name, []).append(value)
        return react(sent)

    inspection = script(pki, attempt, **options)
    return headers.try_forgeries(inspection, lambda: inspection.options.client)


def overwrite(sent: dict[str, list[str]]) -> dict[str, t.Any]:
    own = {"x-id", "x-forwarded-client-cert"}
    kept = {name: value for name, value in sent.items() if name.strip().lower() not in own}
    return {**kept, "X-Id": GOOD}


def test_forged_headers_that_are_overwritten_pass_but_look_alikes_warn(pki: Pki) -> None:
    cases = forge(pki, lambda sent: answer(echo=overwrite(sent)))
    assert {case.name: case.outcome.value for case in cases if case.outcome != "passed"} == {
        "good client: with underscores": "warning"
    }
    assert len(cases) == 7


def test_identity_that_a_header_takes_away_fails(pki: Pki) -> None:
    def react(sent: dict[str, list[str]]) -> Observation:
        return answer(echo={} if "Connection" in sent else overwrite(sent))

    [case] = [case for case in forge(pki, react) if case.outcome == "failed"]
    assert case.name == "good client: taken away by Connection"
    assert "X-Id is missing" in case.observed


def test_connection_that_ends_at_a_malformed_request_is_a_refusal_only_then(pki: Pki) -> None:
    def react(sent: dict[str, list[str]]) -> Observation:
        return answer(echo=overwrite(sent)) if "X-Kyma-Mtls-Canary" in sent else ended(Kind.CLOSED)

    assert outcomes(forge(pki, react)) == ["passed", *["outage"] * 5, "passed"]


def test_forged_headers_that_survive_fail(pki: Pki) -> None:
    assert "failed" in outcomes(forge(pki, lambda sent: answer(echo={"X-Id": GOOD, **sent})))


def test_a_disturbed_identity_fails(pki: Pki) -> None:
    def react(sent: dict[str, list[str]]) -> Observation:
        return answer(echo=overwrite(sent) if "X-Kyma-Mtls-Canary" in sent else {**overwrite(sent), "X-Id": "-"})

    assert set(outcomes(forge(pki, react))) == {"failed"}


def test_forgeries_that_are_refused_pass_and_that_break_the_server_do_not(pki: Pki) -> None:
    def react(status: int, echo: t.Any = None) -> t.Callable[[dict[str, list[str]]], Observation]:
        return lambda sent: answer(echo=overwrite(sent)) if "X-Kyma-Mtls-Canary" in sent else answer(status, echo=echo)

    refused = forge(pki, react(400))
    assert set(outcomes(refused)) == {"passed"}
    assert {case.observed for case in refused} == {"the request was refused: HTTP 400"}
    assert set(outcomes(forge(pki, react(502)))) == {"outage"}
    assert set(outcomes(forge(pki, react(200)))) == {"outage"}


def test_over_http_2_only_a_client_that_is_served_there_can_forge(pki: Pki) -> None:
    def forge_over_http_2(observation: Observation) -> list[t.Any]:
        inspection = script(pki, lambda *_args, **_how: observation)
        return headers.try_forgeries(inspection, lambda: inspection.options.client, HTTP_2)

    echo = {"X-Id": GOOD, "X-Forwarded-Client-Cert": "x"}
    assert outcomes(forge_over_http_2(answer(echo=echo))) == ["skipped"]
    assert outcomes(forge_over_http_2(answer(403, alpn="h2"))) == ["skipped"]
    assert outcomes(forge_over_http_2(ended(Kind.ALERT, alert=120))) == ["skipped"]
    assert set(outcomes(forge_over_http_2(answer(echo=echo, alpn="h2")))) == {"passed"}


def test_without_an_echo_survival_cannot_be_seen(pki: Pki) -> None:
    assert outcomes(forge(pki, lambda _sent: answer())) == ["skipped"]
    assert outcomes(forge(pki, lambda _sent: answer(echo={"Other": "x"}))) == ["skipped"]
    assert outcomes(forge(pki, lambda _sent: ended(Kind.ALERT, alert=48))) == ["skipped"]
    assert outcomes(forge(pki, lambda _sent: ended(Kind.CLOSED))) == ["outage"]


def test_without_identity_headers_a_surviving_xfcc_is_a_warning(pki: Pki) -> None:
    cases = forge(pki, lambda sent: answer(echo=sent), identity_headers={})
    assert {case.outcome.value for case in cases if "Connection" not in case.name} == {"warning"}


@pytest.mark.parametrize(
    ("observation", "outcome"),
    [
        (answer(431), "passed"),
        (answer(echo={"X-Id": GOOD}), "passed"),
        (answer(echo={}), "failed"),
        (answer(502), "warning"),
        (ended(Kind.RESET), "outage"),
        (ended(Kind.ALERT, alert=42), "passed"),
    ],
)
def test_an_oversized_identity_is_whole_or_refused(observation: Observation, outcome: str, pki: Pki) -> None:
    inspection = script(pki, lambda *_args, **_how: observation)
    throw_away: t.Any = types.SimpleNamespace(oversized=lambda _size: inspection.options.client)
    [case] = headers.try_oversized_identity(inspection, throw_away)
    assert (case.check, case.outcome) == ("MV-42", outcome)
