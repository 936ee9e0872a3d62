# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each check makes of what it sees, without a server: the gateway is a script, or nobody is asked at all."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import types
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import (
    bypasses,
    certificates,
    control,
    expectations,
    headers,
    listed_clients,
    matrix,
    plain_http,
    protocol,
    refusals,
    replicas,
    revocation,
    rules,
    server_ca,
    session,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome, outcome_of
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection, ListedClient
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import client_hello
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import (
    HTTP_1,
    HTTP_2,
    HTTP_2_WITHOUT_ALPN,
    NO_ALPN,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import USER_AGENT
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    HandshakeFacts,
    Kind,
    Observation,
    Response,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Facts, assemble
from ansible_collections.kyma.mtls.tests.servers.pki import make_ca, make_leaf, name
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_names import (
    GOOD,
    IDENTITY,
    SESSION,
    answer,
    ended,
    outcomes,
    script,
    throw_away,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

NOW = datetime.datetime.now(tz=datetime.UTC)
ALERT, RESET, BROKEN = ended(Kind.ALERT, alert=116), ended(Kind.RESET), answer(502)
CONTENT = dataclasses.replace(answer(403), is_workloads=True)


def asked(pki: Pki, react: t.Callable[..., Observation], **options: t.Any) -> t.Any:
    """Return an inspection whose every request is answered by ``react(identity, method, path, host, headers)``."""

    def inspection(method: str, path: str) -> t.Any:
        def one(identity: Identity | None, **how: t.Any) -> Observation:
            return react(identity, method, path, how.get("host"), how.get("headers", ()))

        made = script(pki, one, method=method, **options)
        made.target = dataclasses.replace(made.target, path=path)
        made.asking_for = inspection
        return made

    return inspection("GET", "/headers")


@pytest.mark.parametrize(
    ("around", "outcome"),
    [
        (answer(403), "passed"),
        (ALERT, "passed"),
        (answer(), "failed"),
        (CONTENT, "failed"),
        (RESET, "outage"),
        (ended(Kind.TIMEOUT), "outage"),
    ],
)
def test_a_way_around_a_refusal_by_http_is_judged_by_what_it_brings(
    around: Observation, outcome: str, pki: Pki
) -> None:
    def react(identity: Identity | None, method: str, *_how: t.Any) -> Observation:
        if identity is not None:
            return answer()
        return answer(403) if method == "GET" else around

    cases = bypasses.try_bypasses(asked(pki, react))
    assert {case.name: case.outcome.value for case in cases if "method" in case.name} == {
        f"no certificate, method {method}": outcome for method in ("HEAD", "POST")
    }
    assert {case.outcome.value for case in cases if "method" not in case.name} == {"passed"}
    assert len(cases) == 11


@pytest.mark.parametrize("usual", [ALERT, RESET, answer(), CONTENT])
def test_only_a_refusal_by_http_has_ways_around(usual: Observation, pki: Pki) -> None:
    def react(identity: Identity | None, *_how: t.Any) -> Observation:
        return answer() if identity is not None else usual

    assert bypasses.try_bypasses(asked(pki, react)) == []


def test_what_the_good_client_does_not_get_is_no_way_around(pki: Pki) -> None:
    def react(identity: Identity | None, method: str, *_how: t.Any) -> Observation:
        return answer() if identity is not None and method == "HEAD" else answer(404 if identity else 403)

    assert [case.name for case in bypasses.try_bypasses(asked(pki, react))] == ["no certificate, method HEAD"]


def test_the_ways_around_are_these(pki: Pki) -> None:
    seen: list[t.Any] = []

    def react(identity: Identity | None, *how: t.Any) -> Observation:
        if identity is None:
            seen.append(how)
        return answer(403 if identity is None else 200)

    bypasses.try_bypasses(asked(pki, react))
    assert {method for method, *_others in seen} == {"GET", "HEAD", "POST"}
    assert {path for _method, path, *_others in seen} == {
        *("/headers", "//headers", "/./headers", "/header%73", "/headers/")
    }
    assert {host for _method, _path, host, _headers in seen if host} == {"A.TEST", "a.test:443", "a.test."}
    sent = [dict(headers_) for *_others, headers_ in seen if headers_]
    assert sent[0]["X-Id"] == GOOD
    assert sent[0]["X-Forwarded-Client-Cert"].startswith("Hash=")
    assert sent[1] == {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}


def test_reading_alone_is_no_proof() -> None:
    read = Case("MV-29", "x", Outcome.PASSED, "", is_proof=False)
    assert outcome_of([read]) is Outcome.SKIPPED
    assert outcome_of([dataclasses.replace(read, outcome=Outcome.WARNING)]) is Outcome.WARNING
    assert outcome_of([read, dataclasses.replace(read, is_proof=True)]) is Outcome.PASSED


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (["passed"], ["passed", "skipped"], "passed"),
        (["passed"], ["skipped"], "skipped"),
        (["skipped"], ["passed"], "skipped"),
        (["warning"], ["skipped"], "warning"),
        (["outage"], ["skipped"], "outage"),
        (["passed"], ["failed"], "failed"),
        (["passed"], [], "passed"),
    ],
)
def test_what_was_not_tried_on_one_replica_is_not_passed_by_another(
    first: list[str], second: list[str], outcome: str
) -> None:
    cases = [Case("MV-22", "x", Outcome(one), "") for one in first]
    cases += replicas.named([Case("MV-22", "x", Outcome(one), "") for one in second], ("127.0.0.2", 443))
    assert outcome_of(cases) == outcome


@pytest.mark.parametrize(("verify_error", "outcome"), [("", "passed"), ("self-signed certificate", "failed")])
def test_only_what_was_selected_of_a_servers_certificate_is_judged(verify_error: str, outcome: str, pki: Pki) -> None:
    def judge(checks: list[str] | None, *, is_whole: bool = True) -> dict[tuple[str, str], str]:
        options = read_options(parameters(pki, "127.0.0.1:1", checks=checks))
        chain = (pki.server.certificate, pki.server_ca.certificate)
        cases = certificates.check_server(
            options, chain, (options.client,), is_whole=is_whole, verify_error=verify_error
        )
        return {(case.check, case.name): case.outcome.value for case in cases}

    every = judge(None)
    assert every["MV-13", "trusted"] == outcome
    assert every["MV-13", "order"] == "passed"
    assert every["MV-15", "good client"] == every["MV-16", "keys"] == "passed"
    assert judge(None, is_whole=False)["MV-13", "order"] == "skipped"
    assert not {("MV-15", "good client"), ("MV-16", "keys")} & set(judge(["MV-10"]))


@pytest.mark.parametrize(("body", "outcome"), [(b"<html>", "failed"), (b'{"a": 1}', "passed"), (b'{"a": 2}', "failed")])
def test_the_answer_is_judged_by_what_is_expected(body: bytes, outcome: str) -> None:
    assert expectations.check_answer(body, {"a": 1}).outcome == outcome


def test_headers_that_are_not_reported_are_skipped_and_an_absent_one_is_empty(pki: Pki) -> None:
    given = {"identity_headers": {"X-San": "%DOWNSTREAM_PEER_URI_SAN%"}}

    def judge(echo: dict[str, t.Any]) -> str:
        made = script(pki, lambda *_args, **_how: answer(), **given)
        return headers.check_identity(made, answer(echo=echo), made.options.client, "x").outcome.value

    assert judge({}) == "skipped"
    assert judge({"Other": "x"}) == "skipped"
    assert judge({"X-San": ""}) == "passed"
    assert judge({"User-Agent": USER_AGENT}) == "passed"
    assert judge({"User-Agent": USER_AGENT, "X-San": "spiffe://x"}) == "failed"


@pytest.mark.parametrize("offer", [HTTP_1, HTTP_2, HTTP_2_WITHOUT_ALPN])
def test_in_http_2_no_name_ends_in_a_space(offer: t.Any, pki: Pki) -> None:
    def react(_identity: t.Any, **_how: t.Any) -> Observation:
        return answer(echo={"X-Id": GOOD, "X-Forwarded-Client-Cert": "x"}, alpn="h2")

    made = script(pki, react)
    cases = headers.try_forgeries(made, lambda: made.options.client, offer)
    assert any("space before" in case.name for case in cases) is (offer is HTTP_1)
    assert any("over HTTP/2" in case.name for case in cases) is (offer is not HTTP_1)


def test_a_claimed_header_that_is_not_reported_is_a_warning_and_another_is_none(pki: Pki) -> None:
    def react(_identity: t.Any, **_how: t.Any) -> Observation:
        return answer(echo={"X-Id": GOOD})

    made = script(pki, react)
    assert set(outcomes(headers.try_forgeries(made, lambda: made.options.client))) == {"passed"}
    made = script(pki, react, identity_headers={**IDENTITY, "X-San": "%DOWNSTREAM_PEER_URI_SAN%"})
    cases = headers.try_forgeries(made, lambda: made.options.client)
    assert [case.name for case in cases if case.outcome == "warning"] == ["good client: headers that are not reported"]


REFERENCE = json.dumps({"payroll": "of everybody", "row": 1}).encode()
ECHO = json.dumps({"headers": {"user-agent": USER_AGENT}}).encode()


@pytest.mark.parametrize(
    ("reference", "body", "expect", "is_workloads"),
    [
        (REFERENCE, REFERENCE, {}, True),
        (REFERENCE, REFERENCE[:-1], {}, False),
        (b"short", b"short", {}, False),
        (ECHO, ECHO.replace(b"{}", b"{ }") + b" ", {}, True),
        (REFERENCE, ECHO, {}, False),
        (ECHO, REFERENCE, {}, False),
        (REFERENCE, b'{"row": 1}', {"row": 1}, True),
        (REFERENCE, b'{"row": 2}', {"row": 1}, False),
        (REFERENCE, b"row", {"row": 1}, False),
        (b"", b'{"row": 1}', {"row": 1}, False),
    ],
)
def test_the_workloads_content_is_recognised(
    reference: bytes, body: bytes, expect: dict[str, t.Any], is_workloads: bool, pki: Pki
) -> None:
    inspection = Inspection(read_options(parameters(pki, "127.0.0.1:1", expect=expect)))
    inspection.reference = reference
    observation = Observation(Kind.ANSWERED, "response", "", response=Response(403, "", (), body))
    assert inspection._recognised(observation).is_workloads is is_workloads


def test_an_answer_without_a_response_is_nobodys_content(pki: Pki) -> None:
    inspection = Inspection(read_options(parameters(pki, "127.0.0.1:1", expect={"a": 1})))
    inspection.reference = REFERENCE
    assert inspection._recognised(RESET) == RESET


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (answer(echo={"X-Id": GOOD}), ["passed", "passed"]),
        (answer(echo={"X-Id": "CN=x"}), ["passed", "failed"]),
        (answer(403), ["failed"]),
        (ended(Kind.ALERT, alert=48), ["failed"]),
        (RESET, ["outage"]),
    ],
)
def test_a_listed_client_has_to_get_in_as_itself(observation: Observation, expected: list[str], pki: Pki) -> None:
    made = script(pki, lambda *_args, **_how: observation)
    made.trusted = False
    client = ListedClient("anna", "accepted", made.options.client)
    cases = listed_clients.try_client(made, client, None)
    assert outcomes(cases) == expected
    assert [case.check for case in cases] == ["MV-23", "MV-40"][: len(cases)]
    made.options.identity_headers = {}
    assert outcomes(listed_clients.try_client(made, client, None)) == expected[:1]


def test_a_listed_client_that_cannot_be_read_fails(pki: Pki) -> None:
    made = script(pki, lambda *_args, **_how: answer())
    [case] = listed_clients.try_client(made, ListedClient("anna", "accepted", None, problem="no such file"), None)
    assert (case.check, case.outcome, case.observed) == ("MV-23", "failed", "no such file")


@pytest.mark.parametrize(
    ("status", "location", "outcome"),
    [
        (301, "https://a.test/", "passed"),
        (302, "http://a.test/", "warning"),
        (301, None, "warning"),
        (200, "https://a.test/", "warning"),
    ],
)
def test_only_a_redirect_to_https_is_one_on_port_80(status: int, location: str | None, outcome: str) -> None:
    options: t.Any = types.SimpleNamespace(expect_status=frozenset({200, 301, 302}), expect={}, identity_path="headers")
    found = () if location is None else (("Server", "x"), ("Location", location))
    observation = Observation(Kind.ANSWERED, "plain", "", response=Response(status, "", found, b""))
    assert plain_http._check_port_80(options, observation, None, "canary")[0] == outcome


ON_PORT_80: list[tuple[Observation, dict[str, t.Any], bytes, str]] = [
    (ended(Kind.UNREACHABLE), {}, b"", "passed"),
    (Observation(Kind.TIMEOUT, "connect", ""), {}, b"", "passed"),
    (Observation(Kind.TIMEOUT, "response", ""), {}, b"", "warning"),
    (answer(404), {}, b"", "passed"),
    (answer(404), {"expect_status": frozenset({404})}, b"", "warning"),
    (answer(301), {}, b"", "passed"),
    (answer(200), {}, b"", "warning"),
    (answer(502), {}, b"", "warning"),
    (answer(200, echo={"x": "canary"}), {}, b"", "failed"),
    (answer(404, echo={"x": "canary"}), {}, b"", "passed"),
    (answer(200, echo={}), {"expect": {"headers": {}}}, b"", "failed"),
    (answer(200, echo={"x": 1}), {"expect": {"headers": {}}}, b"", "warning"),
    (answer(200, echo={"a": 1}), {}, b'{"headers": {"b": 2}}', "failed"),
    (answer(200, echo={"a": 1}), {}, b'{"header": {"b": 2}}', "warning"),
    (answer(200, echo={"a": 1}), {}, b"[]", "warning"),
]


@pytest.mark.parametrize(("observation", "changes", "reference", "outcome"), ON_PORT_80)
def test_on_port_80_only_the_workload_itself_is_a_failure(
    observation: Observation, changes: dict[str, t.Any], reference: bytes, outcome: str
) -> None:
    given = {"expect_status": frozenset({200}), "expect": {}, "identity_path": "headers", **changes}
    own = Response(200, "", (), reference)
    judged = plain_http._check_port_80(t.cast("t.Any", types.SimpleNamespace(**given)), observation, own, "canary")
    assert judged[0] == outcome


def test_a_closed_port_80_beside_a_forwarded_port_proves_nothing(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only at the gateway's own address is its port 80 the one that was looked at."""
    closed, other = ended(Kind.UNREACHABLE), answer(404)
    made = script(pki, lambda *_args, **_how: ended(Kind.RESET), method="GET", expect={})
    for port, explicit, seen, outcome in (
        (443, True, closed, "passed"),
        (8443, False, closed, "passed"),
        (8443, True, closed, "skipped"),
        (8443, True, other, "passed"),
        (8443, True, answer(500), "warning"),
    ):
        monkeypatch.setattr(plain_http.connection, "knock", lambda *_args, seen=seen, **_how: seen)
        made.target = dataclasses.replace(made.target, address=("127.0.0.1", port), explicit_address=explicit)
        cases = plain_http.try_plain_http(made, None)
        assert [case.outcome.value for case in cases] == ["passed", outcome]
    made.target = dataclasses.replace(made.target, address=("127.0.0.1", 80))
    assert len(plain_http.try_plain_http(made, None)) == 1


@pytest.mark.parametrize(
    ("expected", "value", "is_met"),
    [
        (True, True, True),
        (1, True, False),
        (True, 1, False),
        (5, "5", False),
        ("5", 5, True),
        ("yes", "yes", True),
        ("y.s", "yes", True),
        ("y.s", "oh yes", False),
        ('{"a+": 1}', {"a+": 1}, True),
        ("(", "x", False),
        (".*", None, False),
    ],
)
def test_an_expectation_is_a_value_or_a_regular_expression(expected: t.Any, value: t.Any, is_met: bool) -> None:
    assert (not expectations.unmet({"found": expected}, {"found": value})) is is_met


def test_only_what_is_selected_is_tried(pki: Pki) -> None:
    def jobs(offer: t.Any = HTTP_1, **options: t.Any) -> list[str]:
        made = script(pki, lambda *_args: answer(), clients=(), workloads=(), revoked=(), crls=(), **options)
        made.options.expected_client_cas, made.options.authority, made.offer = (), None, offer
        found = matrix.Matrix(
            made, throw_away(pki), (), None, None, ["TLSv1.3"], [TlsOffer("TLSv1.3")], [], "no key"
        ).jobs()
        return [t.cast("t.Any", job).func.__name__ for job in found]

    assert jobs(checks=frozenset()) == []
    assert jobs(checks=frozenset({"MV-24"})) == ["try_bypasses", "try_refusal"]
    assert jobs(checks=frozenset({"MV-50"})) == jobs(checks=frozenset({"MV-51"})) == ["try_wrong_names"]
    # With and without a certificate, in the usual HTTP and in HTTP/2.
    assert jobs(checks=frozenset({"MV-41"})) == ["try_forgeries"] * 4
    assert jobs(HTTP_2, checks=frozenset({"MV-41"})) == ["try_forgeries"] * 2


def test_listed_clients_are_tried_as_what_they_are_listed_for(pki: Pki) -> None:
    client = Identity("other", (pki.client.certificate,))
    for expect, denied_clients, tried in (
        ("accepted", "another", ["try_client"]),
        ("accepted", "other", []),  # it may not pass here, but at another workload
        ("refused", "other", ["try_refusal"]),
    ):
        made = script(
            pki,
            lambda *_args: answer(),
            clients=(ListedClient("other", expect, client),),
            checks=frozenset({"MV-23", "MV-33"}),
            denied_clients=frozenset({denied_clients}),
        )
        made.options.workloads = made.options.revoked = made.options.crls = made.options.expected_client_cas = ()
        found = matrix.Matrix(made, throw_away(pki), (), None, None, [], [TlsOffer("TLSv1.3")], [], "no key").jobs()
        assert [t.cast("t.Any", job).func.__name__ for job in found] == tried


def test_only_a_trusted_server_ca_is_told_where_the_good_client_is_refused(pki: Pki) -> None:
    chain = (pki.server.certificate,)
    other = Identity(
        "good client", (make_leaf(make_ca(name(common_name="Y")), subject=name(common_name="y")).certificate,)
    )

    def found(own: int) -> list[str]:
        def react(identity: Identity, **_how: t.Any) -> Observation:
            return ended(Kind.ALERT, alert=48 if identity.certificate != pki.server.certificate else own)

        made = script(pki, react, client=other, expected_client_cas=(), kit=None, server_ca_key=None)
        return outcomes(server_ca.find_trust(made, throw_away(pki), chain, [TlsOffer("TLSv1.3")]))

    assert [found(own) for own in (48, 51, 80)] == [[], ["failed"], []]


def _refuse(asked: list[client_hello.ClientHello], question: client_hello.ClientHello) -> client_hello.HelloAnswer:
    asked.append(question)
    return client_hello.HelloAnswer("alert", alert=40)


def test_groups_that_only_one_version_knows_are_offered_there() -> None:
    for version, is_offered in ((client_hello.TLS_1_3, True), (client_hello.TLS_1_2, False)):
        asked: list[client_hello.ClientHello] = []
        ask = functools.partial(_refuse, asked)
        protocol.accepted_suites(ask, version, [0x1301, 0xC02F], "a.test")
        assert [0x11EC in question.groups for question in asked] == [is_offered]


@pytest.mark.parametrize(
    ("minimum", "versions"), [("1.2", {"TLSv1", "TLSv1.1"}), ("1.3", {"TLSv1", "TLSv1.1", "TLSv1.2"})]
)
def test_every_version_below_the_minimum_is_tried(minimum: str, versions: set[str], pki: Pki) -> None:
    made = script(pki, lambda *_args, **_how: answer(), minimum_tls=minimum)
    made.ask = lambda _question: client_hello.HelloAnswer("alert", alert=70)
    cases = protocol.probe_versions(made, None)
    assert {case.name for case in cases if case.outcome is Outcome.PASSED} == versions


def test_the_version_that_an_old_client_gets_is_told() -> None:
    for version, said in (
        (client_hello.TLS_1_2, "accepted: TLSv1.2 with"),
        (None, "accepted: an unknown version with"),
        (client_hello.TLS_1_3, "the server answered with a version that was not offered"),
    ):
        answered = client_hello.HelloAnswer("hello", version=version, suite=0x002F)
        case = protocol.check_old_version(client_hello.TLS_1_2, answered)
        assert case.outcome is Outcome.FAILED
        assert case.observed.startswith(said)


def test_who_must_be_refused_and_what_is_only_a_warning(pki: Pki) -> None:
    options = read_options(parameters(pki, "127.0.0.1:1", crl=pki.crl))
    found = refusals.all_refusals(throw_away(pki), options)
    assert {one.check for one in found if one.is_basic} == {"MV-24", "MV-25"}
    assert {one.name for one in found if one.outcome_if_accepted is Outcome.WARNING} == {
        *("for any usage only", "RSA-1024", "SHA-1")
    }
    assert {one.outcome_if_accepted for one in found} == {Outcome.WARNING, Outcome.FAILED}
    assert [one.name for one in found if one.check == "MV-29"] == [refusals.REVOKED_TWIN]


def test_a_list_of_another_ca_makes_no_revoked_twin(pki: Pki) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(pki.server_ca.certificate.subject)
    builder = builder.last_update(now).next_update(now + datetime.timedelta(days=9))
    entry = x509.RevokedCertificateBuilder().serial_number(77).revocation_date(now).build()
    crl = builder.add_revoked_certificate(entry).sign(pki.server_ca.key, hashes.SHA256())
    options = dataclasses.replace(read_options(parameters(pki, "127.0.0.1:1")), crls=(crl,))
    assert not [one for one in refusals.all_refusals(throw_away(pki), options) if one.check == "MV-29"]
    assert outcomes(revocation.check_untried(options)) == ["skipped"]
    own = read_options(parameters(pki, "127.0.0.1:1", crl=pki.crl))
    assert revocation.check_untried(own) == []
    assert outcomes(revocation.check_untried(dataclasses.replace(own, authority=None))) == ["skipped"]


def test_why_a_revoked_client_is_refused_hangs_on_its_ca(pki: Pki) -> None:
    def alerts_for(identity: Identity | None, *authorities: x509.Certificate) -> set[int]:
        return set(refusals._why_revoked_is_refused(identity, good, authorities))

    good = Identity("good client", (pki.client.certificate,))
    client = Identity("x", (pki.revoked.certificate,))
    authority = Identity("x", (pki.client_ca.certificate,))
    assert alerts_for(client, pki.client_ca.certificate) == {44}
    assert alerts_for(authority, pki.client_ca.certificate) == {44}
    assert alerts_for(client, pki.server_ca.certificate) == {44, 48, 51}
    assert alerts_for(None, pki.server_ca.certificate) == alerts_for(client) == {44}


def _plan(pki: Pki, monkeypatch: pytest.MonkeyPatch, answering: set[int], **given: t.Any) -> replicas.ReplicaPlan:
    class Open:
        def close(self) -> None:
            pass

    def connect(address: tuple[str, int], **_how: t.Any) -> Open:
        if address[1] not in answering:
            raise ConnectionRefusedError
        return Open()

    monkeypatch.setattr(replicas, "socket", types.SimpleNamespace(create_connection=connect))
    listed = ["127.0.0.1:1", "127.0.0.1:2"]
    return replicas.make_plan(read_options(parameters(pki, "127.0.0.1:9", replicas=listed, **given)))


def test_the_plan_for_replicas_follows_from_who_answers(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = ("127.0.0.1", 1), ("127.0.0.1", 2)
    assert _plan(pki, monkeypatch, {1}) == replicas.ReplicaPlan((one, two))
    assert _plan(pki, monkeypatch, {1, 2}, replica_count=2) == replicas.ReplicaPlan((one, two))
    assert _plan(pki, monkeypatch, {1}, replica_count=2) == replicas.ReplicaPlan((one,), (two,), 2, 7)
    assert _plan(pki, monkeypatch, {1, 2}, replica_count=3) == replicas.ReplicaPlan((one, two), (), 3, 12)


@pytest.mark.parametrize(
    ("first", "second", "offer"),
    [
        (answer(), answer(), HTTP_1),
        (ended(Kind.CLOSED), answer(), HTTP_2),
        (ended(Kind.RESET), answer(), HTTP_2),
        (ended(Kind.GARBAGE), answer(), HTTP_2),
        (ended(Kind.TRUNCATED), answer(), HTTP_2),
        (ended(Kind.ALERT, alert=120), answer(), HTTP_2),
        (answer(505), answer(), HTTP_2),
        (answer(426), answer(), HTTP_2),
        (answer(403), answer(), HTTP_1),
        (answer(404), answer(), HTTP_1),
        (ended(Kind.ALERT, alert=48), answer(), HTTP_1),
        (ended(Kind.TIMEOUT), answer(), HTTP_1),
        (ended(Kind.UNREACHABLE), answer(), HTTP_1),
        (ended(Kind.LOCAL), answer(), HTTP_1),
        (ended(Kind.CLOSED), answer(403), HTTP_1),
        (ended(Kind.CLOSED), ended(Kind.CLOSED), HTTP_1),
    ],
)
def test_http_2_is_spoken_where_nobody_answers_in_http_1(
    first: Observation, second: Observation, offer: t.Any, pki: Pki
) -> None:
    made = script(pki, lambda *_args, **_how: answer(), wait_for=0.0, expect={})

    def attempt(_identity: t.Any, **_how: t.Any) -> Observation:
        return first if made.offer is HTTP_1 else second

    made.attempt = attempt
    found = control.try_good_client(made)
    assert made.offer is offer
    assert made.trusted is True
    assert found.observation is (first if offer is HTTP_1 else second)
    assert found.case.outcome is rules.check_acceptance(found.observation, expect_status={200})[0]
    assert [case.outcome for case in found.further] == ([] if offer is HTTP_1 else ["skipped"])


def test_trust_is_asked_for_in_each_http(pki: Pki) -> None:
    made = script(pki, lambda *_args, **_how: answer(), wait_for=0.0, expect={})

    def attempt(_identity: t.Any, **_how: t.Any) -> Observation:
        if made.offer is HTTP_1:
            return ended(Kind.ALERT, alert=120)
        return ended(Kind.UNTRUSTED) if made.trusted else answer()

    made.attempt = attempt
    found = control.try_good_client(made)
    assert (made.offer, made.trusted, found.verify_error, found.case.outcome) == (
        HTTP_2,
        False,
        "ended",
        Outcome.PASSED,
    )


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([RESET, RESET, answer()], ["ended", "accepted: "]),
        ([ended(Kind.LOCAL), answer()], ["ended"]),
        ([ended(Kind.UNTRUSTED), answer(), answer()], ["accepted: ", "accepted: "][:1]),
    ],
)
def test_waiting_ends_with_acceptance_and_with_what_cannot_be_tried(
    answers: list[Observation], said: list[str], pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(answers)
    made = script(pki, lambda *_args, **_how: answer(), wait_for=60.0, expect={})
    made.attempt = lambda _identity, **_how: left.pop(0)
    made.resume_after_timeout = lambda: None
    monkeypatch.setattr(control, "_may_speak_http_2_only", lambda _observation: False)
    monkeypatch.setattr(control, "_PAUSE_SECONDS", 0.0)
    found = control.try_good_client(made)
    assert [one.split(" s: ")[1][: len(two)] for one, two in zip(found.waiting, said, strict=True)] == said


def test_expectations_are_judged_of_an_accepted_answer_only(pki: Pki) -> None:
    for observation, expected in ((answer(echo={}), ["failed"]), (answer(403, echo={}), []), (RESET, [])):
        made = script(pki, lambda *_args, observation=observation, **_how: observation, wait_for=0.0, expect={"a": 1})
        assert [case.outcome for case in control.try_good_client(made).further] == expected


@pytest.mark.parametrize(
    ("observation", "is_not_spoken"),
    [
        (ended(Kind.ALERT, alert=70), True),
        (ended(Kind.ALERT, alert=40), True),
        (ended(Kind.ALERT, alert=48), False),
        (ended(Kind.ALERT, alert=40, seen=HandshakeFacts(chain=(b"x",))), False),
        (Observation(Kind.GARBAGE, "handshake", "not a TLS handshake: UNSUPPORTED_PROTOCOL"), True),
        (Observation(Kind.GARBAGE, "handshake", "not a TLS handshake: HTTP_REQUEST"), False),
        (Observation(Kind.CLOSED, "handshake", "UNSUPPORTED_PROTOCOL"), False),
        (answer(), False),
    ],
)
def test_a_version_that_is_not_spoken_is_told_from_a_refusal(observation: Observation, is_not_spoken: bool) -> None:
    assert rules.is_version_not_spoken(observation) is is_not_spoken


@pytest.mark.parametrize("kind", [Kind.UNTRUSTED, Kind.LOCAL])
def test_a_good_client_that_is_not_tried_fails(kind: Kind) -> None:
    assert rules.check_acceptance(ended(kind), expect_status={200})[0] is Outcome.FAILED


@pytest.mark.parametrize("status", [403, 404, 500])
def test_the_workloads_content_is_no_refusal_whatever_its_status(status: int) -> None:
    observation = dataclasses.replace(answer(status), is_workloads=True)
    assert rules.check_refusal(observation, expected=set(), expect_status={200})[0] is Outcome.FAILED


def test_sessions_of_every_name_are_tried_until_one_gets_in(pki: Pki) -> None:
    sessions = iter([SESSION, SESSION, SESSION, SESSION])
    resumed = iter([ended(Kind.ALERT, alert=116), answer(421), answer()])

    def react(_identity: t.Any, **how: t.Any) -> Observation:
        return answer(session=next(sessions)) if how.get("keep_session") else next(resumed)

    case = session._try_foreign_session(script(pki, react), "without a certificate", None, "TLSv1.3")
    assert case.outcome is Outcome.FAILED
    assert next(resumed, None) is None


def test_a_key_that_cannot_be_forged_leaves_the_servers_ca_undecided(pki: Pki) -> None:
    made = script(pki, lambda *_args, **_how: answer(), kit=None, server_ca_key=None, expected_client_cas=())
    odd: t.Any = types.SimpleNamespace(public_key=object, issuer=pki.server_ca.certificate.subject)
    cases = server_ca.try_server_ca(made, throw_away(pki), (odd,), [TlsOffer("TLSv1.3")])
    assert [(case.check, case.outcome) for case in cases] == [("MV-22", "skipped")]


def _report(pki: Pki, cases: list[Case], **changes: t.Any) -> Report:
    """Return the report of ``cases``; ``changes`` are the module's parameters, or facts of the run."""
    facts = {name: changes.pop(name) for name in ("control", "verify_error", "outage") if name in changes}
    options = read_options(parameters(pki, "127.0.0.1:1", **changes))
    passed = Case("MV-23", "x", Outcome.PASSED, "in")
    given: dict[str, t.Any] = {
        "first": None,
        "control": passed,
        "verify_error": "",
        "chain": (),
        "identities": (options.client,),
        "versions": [],
        "suites": {},
        "variants": {},
        "outage": False,
        "waiting": [],
        "duration": 0.0,
    }
    return assemble(options, cases, Facts(**{**given, **facts}))


def _case(check: str, outcome: str) -> Case:
    return Case(check, "x", Outcome(outcome), f"{check} is {outcome}")


@pytest.mark.parametrize(
    ("outcomes_", "changes", "verdict", "reason"),
    [
        ({"MV-23": "passed", "MV-24": "passed"}, {}, "passed", ""),
        ({"MV-23": "passed", "MV-24": "failed"}, {}, "failed", ""),
        ({"MV-23": "passed", "MV-24": "outage"}, {}, "outage", ""),
        ({"MV-23": "failed", "MV-24": "outage"}, {}, "failed", ""),
        ({"MV-23": "failed", "MV-24": "passed"}, {"outage": True}, "outage", ""),
        ({"MV-23": "passed", "MV-24": "skipped"}, {}, "failed", "no refusal could be tried: MV-24"),
        ({"MV-17": "skipped"}, {}, "failed", "nothing could be tried: MV-17"),
        ({"MV-17": "passed"}, {}, "passed", ""),
        ({"MV-17": "passed"}, {"control": _case("MV-23", "failed")}, "failed", "the good client does not get in"),
        ({"MV-17": "passed"}, {"control": None}, "passed", ""),
        ({"MV-23": "passed"}, {"control": _case("MV-23", "failed")}, "passed", ""),
        ({"MV-17": "passed"}, {"verify_error": "not trusted"}, "failed", "not trusted"),
        ({"MV-13": "passed"}, {"verify_error": "not trusted"}, "passed", ""),
        ({"MV-23": "passed", "MV-17": "skipped"}, {"require_checks": ["MV-17"]}, "failed", ""),
        ({"MV-23": "passed", "MV-17": "passed"}, {"require_checks": ["MV-17"]}, "passed", ""),
    ],
)
def test_the_verdict_follows_from_the_outcomes(
    outcomes_: dict[str, str], changes: dict[str, t.Any], verdict: str, reason: str, pki: Pki
) -> None:
    cases = [_case(check, outcome) for check, outcome in outcomes_.items()]
    report = _report(pki, cases, checks=list(outcomes_), **changes)
    assert report.verdict == verdict
    assert len(report.reasons) == bool(reason)
    assert "".join(report.reasons).startswith(reason)


def test_the_facts_of_a_check_are_those_of_the_deciding_case(pki: Pki) -> None:
    cases = [
        Case("MV-24", "good", Outcome.PASSED, "refused", {"alert_code": 116}),
        Case("MV-24", "bad", Outcome.FAILED, "got in", {"http_status": 200}),
    ]
    [check] = _report(pki, cases, checks=["MV-24"], require_checks=["MV-24"]).checks
    assert (check["outcome"], check["evidence"], check["observed"]) == ("failed", {"http_status": 200}, "bad: got in")
    [check] = _report(pki, [], checks=["MV-24"], require_checks=["MV-24"]).checks
    assert (check["outcome"], check["observed"][:28]) == ("failed", "required, but not tried: not")


@pytest.mark.parametrize(
    ("reported", "admits_nobody", "expected"),
    [
        ({"X-Id": GOOD}, False, ["passed"]),
        ({"X-Id": "forged"}, False, ["failed"]),
        ({"X-Id": "CN=x"}, False, ["failed"]),
        ({"Other": "x"}, False, []),
        ({}, False, []),
        (None, False, []),
        ({"User-Agent": USER_AGENT}, False, ["passed"]),
        ({"X-Id": "forged"}, True, ["failed", "failed"]),
        ({"Other": "forged"}, True, ["failed", "failed"]),
    ],
)
def test_headers_are_forged_in_other_ways_too(
    reported: dict[str, str] | None, admits_nobody: bool, expected: list[str], pki: Pki
) -> None:
    def react(identity: Identity | None, **how: t.Any) -> Observation:
        if identity is None and not admits_nobody:
            return answer(403)
        sent = dict(how["headers"])["X-Id"]
        echo = reported and {name: value.replace("forged", sent) for name, value in reported.items()}
        return answer(echo=echo)

    cases = headers.try_forgeries_in(script(pki, react), TlsOffer("TLSv1.3", NO_ALPN))
    assert outcomes(cases) == expected
    assert {case.check for case in cases} <= {"MV-41"}
    assert [case.name for case in cases][:1] == ["good client, TLSv1.3, no ALPN: as configured"][: len(cases)]
