# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches which workload, at a gateway that is a script with one fault at a time."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import typing as t

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import grants, plain_http, replicas, workloads
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import path_inspection as path_checks
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import without_certificate as nobody
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome, worst
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_1, HTTP_2
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import USER_AGENT
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    Kind,
    Observation,
    Response,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import (
    ATTRIBUTES,
    ThrowAwayIdentities,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_names import GOOD, ended

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

HOST, OTHER = "shop.test", "a.test"
NAME, SAN = "X-CLIENT-SSL-CN", "X-CLIENT-SSL-SAN"
IDENTITY = {NAME: "%DOWNSTREAM_PEER_SUBJECT%", SAN: "URI=%DOWNSTREAM_PEER_URI_SAN%"}
BOB, ISSUER = "O=Test Org,CN=bob", "https://issuer.test"
DENIED = path_checks.DENIED
OWN_404 = (("Server", "istio-envoy"),)
BY_THE_WORKLOAD = (*OWN_404, ("X-Envoy-Upstream-Service-Time", "3"))
ALL = frozenset({"MV-70", "MV-71", "MV-72", "MV-73", "MV-06", "MV-24", "MV-25", "MV-26"})
KINDS = {
    "closed": ended(Kind.CLOSED),
    "reset": ended(Kind.RESET),
    "timeout": ended(Kind.TIMEOUT),
    "untried": ended(Kind.CANCELLED),
    "local": ended(Kind.LOCAL),
    "refused": ended(Kind.ALERT, alert=116),
    "broken": ended(Kind.ALERT, alert=80),
}


def answered(status: int, body: bytes = b"", headers: t.Any = (), **facts: t.Any) -> Observation:
    return Observation(Kind.ANSWERED, "response", "", response=Response(status, "", headers, body), **facts)


def of(given: Observation | str) -> Observation:
    return KINDS[given] if isinstance(given, str) else given


SERVED: list[tuple[Observation | str, str]] = [
    (answered(200), "passed"),
    (answered(302), "passed"),
    (answered(404), "passed"),
    (answered(404, headers=BY_THE_WORKLOAD), "passed"),
    (answered(404, headers=OWN_404), "failed"),
    (answered(200, DENIED), "passed"),
    (answered(403, DENIED), "failed"),
    (answered(403, b"by the application"), "warning"),
    (answered(401), "warning"),
    (answered(500), "outage"),
    (answered(503, headers=OWN_404), "outage"),
    ("refused", "failed"),
    ("broken", "outage"),
    ("reset", "outage"),
    ("local", "failed"),
]


@pytest.mark.parametrize(("seen", "outcome"), SERVED)
def test_who_may_pass_is_served_by_whatever_the_workload_answers(seen: Observation | str, outcome: str) -> None:
    assert path_checks.check_served(of(seen))[0].value == outcome


SHUT_OUT: list[tuple[Observation | str, str]] = [
    (answered(403, DENIED), "passed"),
    (answered(403), "passed"),
    (answered(403, headers=OWN_404), "passed"),
    (answered(403, headers=BY_THE_WORKLOAD), "warning"),
    (answered(403, DENIED, headers=BY_THE_WORKLOAD), "passed"),  # a sidecar's
    (answered(403, b"by the application"), "warning"),
    (answered(403, DENIED, is_workloads=True), "failed"),
    (answered(200), "failed"),
    (answered(200, is_workloads=True), "failed"),
    (answered(302), "failed"),
    (answered(401), "failed"),
    (answered(404), "failed"),
    (answered(500), "outage"),
    ("refused", "skipped"),
    ("broken", "outage"),
    ("reset", "outage"),
    ("local", "outage"),
    ("untried", "skipped"),
]


@pytest.mark.parametrize(("seen", "outcome"), SHUT_OUT)
def test_only_403_before_the_workload_shuts_out(seen: Observation | str, outcome: str) -> None:
    assert path_checks.check_denied(of(seen))[0].value == outcome


def test_the_workloads_content_is_named_where_nobody_was_shut_out() -> None:
    cases_text = {
        is_workloads: path_checks.check_denied(answered(200, is_workloads=is_workloads))[1] for is_workloads in (0, 1)
    }
    assert ["with the workload's content" in text for text in cases_text.values()] == [False, True]


ELSEWHERE: list[tuple[Observation | str, str]] = [
    (answered(404), "passed"),
    (answered(421), "passed"),
    (answered(301), "passed"),
    (answered(403, DENIED), "passed"),
    (answered(200), "failed"),
    (answered(204), "failed"),
    (answered(404, is_workloads=True), "failed"),
    (answered(500), "outage"),
    ("closed", "passed"),
    ("reset", "passed"),
    ("timeout", "outage"),
]


@pytest.mark.parametrize(("seen", "outcome"), ELSEWHERE)
def test_another_host_may_refuse_as_it_likes(seen: Observation | str, outcome: str, pki: Pki) -> None:
    tested = path_under_test(pki, Gate())
    assert path_checks._check_other(tested, "MV-71", "client bob, Host with a port", of(seen)).outcome.value == outcome


NOBODY: list[tuple[Observation | str, str, str, str]] = [
    ("refused", "failed", "passed", "passed"),
    ("broken", "failed", "outage", "outage"),
    (answered(403, DENIED), "failed", "passed", "passed"),
    (answered(401), "warning", "failed", "passed"),
    (answered(401, is_workloads=True), "warning", "failed", "failed"),
    (answered(200), "passed", "failed", "failed"),
    ("reset", "outage", "outage", "outage"),
]


@pytest.mark.parametrize(("seen", "opened", "closed", "untrusted"), NOBODY)
def test_without_a_certificate(seen: Observation | str, opened: str, closed: str, untrusted: str) -> None:
    judges = (nobody._check_open, nobody._check_closed, nobody._check_untrusted)
    assert [judge(of(seen))[0].value for judge in judges] == [opened, closed, untrusted]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the gateway gets."""

    identity: Identity | None
    host: str
    path: str
    method: str
    headers: tuple[tuple[str, str], ...]
    offer: t.Any
    version: str | None
    server_name: str | None
    is_verified: bool = True

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Gate:
    """A gateway before a workload that reports requests: sound, but for ``fault``.

    ``allow`` gives for each path who may pass; ``demands``: whether TLS needs a certificate.
    """

    def __init__(
        self,
        fault: t.Callable[[Gate, Request], Observation | None] = lambda _gate, _request: None,
        *,
        demands: bool = True,
        open_paths: tuple[str, ...] = (),
        token_paths: tuple[str, ...] = (),
        allow: t.Callable[[x509.Certificate], bool] = lambda _certificate: True,
        speaks_http_2: bool = False,
    ) -> None:
        self.fault, self.demands, self.allow, self.speaks_http_2 = fault, demands, allow, speaks_http_2
        self.open_paths, self.token_paths = open_paths, token_paths
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Observation:
        self.requests.append(request)
        seen = self.fault(self, request) or self.sound(request)
        return dataclasses.replace(seen, alpn="h2") if request.offer == HTTP_2 and self.speaks_http_2 else seen

    def sound(self, request: Request) -> Observation:
        if request.identity is None and self.demands:
            return KINDS["refused"]
        if request.host.lower() != HOST or request.server_name not in {"", None, HOST}:
            return answered(404)
        if request.path.startswith(self.token_paths or ("no such",)):
            token = request.header("authorization").removeprefix("Bearer ")
            if token != TOKEN:
                return answered(401 if token else 403, b"" if token else DENIED)
        elif request.identity is None and not request.path.startswith(self.open_paths or ("no such",)):
            return answered(403, DENIED)
        if request.identity is not None and not self.allow(request.identity.certificate):
            return answered(403, DENIED)
        return self.content(request)

    def content(self, request: Request, **more: str) -> Observation:
        """The workload: what it sees of the client, who cannot say it himself."""
        seen = {
            name: value
            for name, value in request.headers
            if name.strip().lower().replace("_", "-") not in {NAME.lower(), SAN.lower(), "x-forwarded-client-cert"}
        }
        certificate = request.identity.certificate if request.identity else None
        seen |= {"User-Agent": USER_AGENT, NAME: grants.printed("subjects", certificate) if certificate else ""}
        seen |= {SAN: "URI=" + (grants.printed("uris", certificate) if certificate else "")} | more
        return answered(200, json.dumps({"path": request.path, "headers": seen}).encode())


class Scripted(Inspection):
    """An inspection whose every request is answered by ``gate``."""

    gate: t.Callable[[Request], Observation]

    def attempt(self, identity: Identity | None, **how: t.Any) -> Observation:  # type: ignore[override]
        request = Request(
            identity,
            how.get("host") or self.target.authority,
            self.target.path,
            self.options.method,
            (*self.extra, *how.get("headers", ())),
            how.get("offer") or self.offer,
            how.get("version"),
            how.get("server_name", ""),
            how.get("verified", True),
        )
        return self._recognised(type(self).gate(request))

    def like(self, options: t.Any, *, reference: bytes | None = None, extra: t.Any = ()) -> t.Any:
        other = type(self)(options)
        other.trusted, other.offer, other.extra = self.trusted, self.offer, extra or self.extra
        other.reference = self.reference if reference is None else reference
        return other


TOKEN = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (b'{"alg":"ES256"}', b"{}", b"sig"))


def inspected(
    pki: Pki, gate: t.Any, workload: dict[str, t.Any], *, host: str = OTHER, **options: t.Any
) -> tuple[Inspection, t.Any]:
    """Return an inspection of ``gate`` and the workload, whose clients are the good one and bob."""
    bob = pki.client_certificate("bob")
    clients = [{"name": "bob", "cert": bob.crt, "key": bob.key_file, "key_passphrase": None, "expect": "accepted"}]
    given = {"name": "shop", "hosts": [HOST], **workload}
    read = read_options(
        parameters(
            pki,
            "127.0.0.1:1",
            clients=clients,
            workloads=[given],
            client_name="curl",
            **{"identity_headers": IDENTITY, **options},
        )
    )
    read = dataclasses.replace(read, target=dataclasses.replace(read.target, host=host))
    kind = type("OfGate", (Scripted,), {"gate": staticmethod(gate)})
    return kind(dataclasses.replace(read, checks=ALL)), read.workloads[0]


def path_under_test(pki: Pki, gate: t.Any, **workload: t.Any) -> path_checks.PathInspection:
    inspection, found = inspected(pki, gate, workload)
    at = path_checks.at_host(inspection, found, found.paths[0])
    return path_checks.PathInspection(at, found, found.paths[0], neighbour=OTHER)


def tried(pki: Pki, gate: t.Any, *, offers: t.Sequence[TlsOffer] = (), **workload: t.Any) -> list[Case]:
    """Return the cases of the workload's checks."""
    options, host, is_brief = workload.pop("options", {}), workload.pop("host", OTHER), workload.pop("is_brief", False)
    inspection, found = inspected(pki, gate, workload, host=host, **options)
    made = ThrowAwayIdentities(inspection.options.client, inspection.options.authority, now=inspection.options.now)
    return workloads.try_workload(inspection, found, made, offers, is_brief=is_brief)


def bad(cases: t.Iterable[Case]) -> list[str]:
    return [
        f"{case.check} {case.outcome}: {case.name}: {case.observed}"
        for case in cases
        if case.outcome not in {Outcome.PASSED, Outcome.SKIPPED}
    ]


def ends(cases: t.Iterable[Case]) -> dict[str, str]:
    """Return how each check of workloads ends."""
    by_check: dict[str, list[Outcome]] = {}
    for case in cases:
        by_check.setdefault(case.check, []).append(case.outcome)
    return {check: worst(outcomes).value for check, outcomes in sorted(by_check.items()) if check >= "MV-70"}


def only_bob(certificate: x509.Certificate) -> bool:
    return grants.printed("subjects", certificate) == BOB


ALLOW_BOB = [{"clients": ["bob"]}]
SOUND: dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]] = {
    "everybody": ({}, {}),
    "HTTP/2": ({"speaks_http_2": True}, {}),
    "bob": ({"allow": only_bob, "speaks_http_2": True}, {"allow": ALLOW_BOB}),
    "optional": ({"demands": False, "speaks_http_2": True}, {}),
    "bob where optional": ({"demands": False, "allow": only_bob}, {"allow": ALLOW_BOB}),
    "open path": (
        {"demands": False, "open_paths": ("/public",)},
        {"paths": [{"path": "/public/{**}", "certificate": "optional"}, {"path": "/*"}]},
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_gateway_passes(name: str, pki: Pki) -> None:
    gate, workload = SOUND[name]
    cases = tried(pki, Gate(**gate), **workload)
    assert bad(cases) == []
    expected = {"MV-70": "passed", "MV-71": "passed", "MV-72": "passed", "MV-73": "passed"}
    if "allow" not in workload:
        expected["MV-71"] = "skipped"
    assert ends(cases) == expected


def subject(request: Request) -> str:
    return grants.printed("subjects", request.identity.certificate) if request.identity else ""


Fault = t.Callable[[Gate, Request], "Observation | None"]


def lets_in(when: t.Callable[[Request], bool]) -> Fault:
    """The gateway looks at no policy where ``when`` holds, but at certificates, if it demands them."""
    return lambda gate, request: gate.content(request) if when(request) and not _unasked(gate, request) else None


def _unasked(gate: Gate, request: Request) -> bool:
    return request.identity is None and gate.demands


def of_bob(request: Request) -> bool:
    return subject(request) == BOB


DISGUISES: dict[str, t.Callable[[Request], bool]] = {
    "over HTTP/2": lambda request: request.offer == HTTP_2 and not request.headers,
    "over TLS 1.2": lambda request: request.version == "TLSv1.2",
    "SNI of another host": lambda request: request.server_name == OTHER,
    "Host in capitals": lambda request: request.host == HOST.upper(),
    "with forged headers": lambda request: BOB in request.header("X-Client-Cert-Subject") and request.offer == HTTP_1,
    "with forged headers over HTTP/2": lambda request: (
        BOB in request.header("X-Client-Cert-Subject") and request.offer == HTTP_2
    ),
    "Host with a port": lambda request: request.host.endswith(":8443"),
    "Host with a final dot": lambda request: request.host.endswith("."),
}


@pytest.mark.parametrize("words", DISGUISES)
@pytest.mark.parametrize("demands", [True, False])
def test_a_disguise_that_helps_is_found(words: str, demands: bool, pki: Pki) -> None:
    """Also without a certificate, where one is optional."""
    gate = Gate(lets_in(DISGUISES[words]), allow=only_bob, demands=demands, speaks_http_2=True)
    cases = tried(pki, gate, allow=ALLOW_BOB)
    failed = {(case.check, case.name.partition(words)[0].rstrip(", ")) for case in cases if case.outcome == "failed"}
    assert ("MV-71", "client curl") in failed
    assert (("MV-73", "no certificate") in failed) is not demands
    assert {check for check, _who in failed} <= {"MV-71", "MV-73"}


def test_a_disguise_that_is_refused_in_the_handshake_is_no_outcome(pki: Pki) -> None:
    """Neither are answers in HTTP/1.1 an outcome of HTTP/2."""

    def refuse(_gate: Gate, request: Request) -> Observation | None:
        return KINDS["refused"] if request.version or request.server_name == OTHER else None

    cases = tried(pki, Gate(refuse, allow=only_bob), allow=ALLOW_BOB)
    assert bad(cases) == []
    names = " ".join(case.name for case in cases if case.check == "MV-71")
    assert not any(words in names for words in ("TLS 1.2", "SNI", "HTTP/2"))
    assert any("Host in capitals" in case.name for case in cases)


def test_a_disguise_that_ends_the_connection_is_an_outage(pki: Pki) -> None:
    def reset(_gate: Gate, request: Request) -> Observation | None:
        return KINDS["reset"] if request.version else None

    cases = tried(pki, Gate(reset, allow=only_bob), allow=ALLOW_BOB)
    assert ends(cases)["MV-71"] == "outage"


FAULTS: dict[str, tuple[Fault, str, str]] = {
    "no policy": (lambda gate, request: gate.content(request) if request.identity else None, "MV-71", "failed"),
    "similar names may pass": (
        lambda gate, request: gate.content(request) if subject(request).startswith(BOB) else None,
        "MV-71",
        "failed",
    ),
    "bob is refused": (
        lambda _gate, request: answered(403, DENIED) if of_bob(request) else None,
        "MV-70",
        "failed",
    ),
    "the workload is down": (lambda _gate, request: answered(503) if request.identity else None, "MV-70", "outage"),
    "no route": (
        lambda _gate, request: answered(404, headers=OWN_404) if of_bob(request) else None,
        "MV-70",
        "failed",
    ),
    "curl gets the content with 403": (
        lambda gate, request: (
            answered(403, gate.content(request).response.body)  # type: ignore[union-attr]
            if request.identity and not of_bob(request)
            else None
        ),
        "MV-71",
        "failed",
    ),
    "nobody may come in": (
        lambda gate, request: gate.content(request) if request.identity is None else None,
        "MV-73",
        "failed",
    ),
    "identity can be forged": (
        lambda gate, request: (
            gate.content(request, **{NAME: forged}) if of_bob(request) and (forged := request.header(NAME)) else None
        ),
        "MV-72",
        "failed",
    ),
    "identity can be forged over HTTP/2": (
        lambda gate, request: (
            gate.content(request, **{NAME: forged})
            if of_bob(request) and request.offer == HTTP_2 and (forged := request.header(NAME))
            else None
        ),
        "MV-72",
        "failed",
    ),
    "identity is another's": (
        lambda gate, request: gate.content(request, **{NAME: "CN=x"}) if of_bob(request) else None,
        "MV-72",
        "failed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, pki: Pki) -> None:
    react, check, outcome = FAULTS[fault]
    cases = tried(pki, Gate(react, allow=only_bob, speaks_http_2=True), allow=ALLOW_BOB)
    assert ends(cases)[check] == outcome, cases


def test_refusals_count_only_while_the_control_is_served(pki: Pki) -> None:
    """What failed before the control was lost stays failed."""

    def lose(gate: Gate, request: Request) -> Observation | None:
        if request.host == HOST.upper() and request.identity is not None:
            return gate.content(request)
        is_over = any(one.host.endswith(".") for one in gate.requests)
        return answered(503) if of_bob(request) and is_over else None

    cases = tried(pki, Gate(lose, allow=only_bob), allow=ALLOW_BOB)
    ended = [(case.name, case.outcome.value) for case in cases if case.check == "MV-71"]
    assert {outcome for name, outcome in ended if "capitals" in name} == {"failed"}
    assert {outcome for name, outcome in ended if "capitals" not in name} == {"outage", "skipped"}
    assert [case.outcome.value for case in cases if "after all others" in case.name] == ["outage"]


def pages(
    *, blind: bool = False, exists: bool = True, opened: t.Callable[[str], bool] = lambda _path: False
) -> t.Callable[[Request], Observation]:
    """A workload of pages behind a policy for bob, which compares paths letter by letter; ``opened`` are around it.

    ``blind``: every path has the same page.
    """

    def react(request: Request) -> Observation:
        if request.identity is None:
            return KINDS["refused"]
        if request.host.lower() != HOST:
            return answered(404)
        if not of_bob(request) and not opened(request.path):
            return answered(403, DENIED)
        page = "one" if blind else request.path.strip("/").removesuffix(";x=1").lower()
        return answered(200 if exists else 404, f"the page {page}, long enough to be known again".encode())

    return react


PATHS = [{"path": "/{**}", "sample": "/reports/1"}]


def spelled(cases: list[Case], outcome: str) -> set[str]:
    return {
        case.name.split(", ")[1]
        for case in cases
        if case.check == "MV-71" and case.outcome == outcome and " served" in case.observed
    }


def test_a_spelling_of_the_path_that_helps_is_found(pki: Pki) -> None:
    ways_in = {"in capitals": "/REPORTS/1", "path parameter": "/reports/1;x=1", "slash at the end": "/reports/1/"}
    sound = tried(pki, pages(), allow=ALLOW_BOB, paths=PATHS)
    assert ends(sound)["MV-71"] == "passed"
    assert spelled(sound, "failed") == set()
    assert set(ways_in) <= {case.name.split(", ")[1] for case in sound if "not served" in case.observed}
    for words, path in ways_in.items():
        found = tried(pki, pages(opened=path.__eq__), allow=ALLOW_BOB, paths=PATHS)
        assert spelled(found, "failed") == {words}


def test_what_everybody_gets_everywhere_is_nothing_to_get_at(pki: Pki) -> None:
    """The policy guards one path, and all others have the same page, for everybody."""
    cases = tried(pki, pages(blind=True, opened=lambda path: path != "/reports/1"), allow=ALLOW_BOB, paths=PATHS)
    assert ends(cases)["MV-71"] == "passed"


def test_a_page_that_is_not_there_is_said(pki: Pki) -> None:
    cases = tried(pki, pages(exists=False), allow=ALLOW_BOB, paths=PATHS)
    untried = [case for case in cases if "other spellings" in case.name]
    assert {(case.outcome.value, case.check) for case in untried} == {("skipped", "MV-71")}
    assert "has no content here" in untried[0].observed
    assert ends(cases)["MV-71"] == "passed"


def test_a_workload_without_content_has_no_spellings(pki: Pki) -> None:
    def empty(request: Request) -> Observation:
        seen = pages()(request)
        return answered(200) if seen.status == 200 else seen

    cases = tried(pki, empty, allow=ALLOW_BOB, paths=PATHS)
    assert ends(cases)["MV-71"] == "passed"
    assert not any("spelling" in case.name or "slash" in case.name for case in cases)


def test_a_way_through_an_open_path_is_tried_where_the_client_may_use_that(pki: Pki) -> None:
    paths = [{"path": "/public/{**}", "allow": [{"subjects": ["O=Test Org,*"]}]}, *PATHS]
    allow = {"paths": [{"allow": ALLOW_BOB, **path} for path in paths]}

    def react(request: Request) -> Observation:
        if request.identity is not None and request.path.startswith("/public/..%2F"):
            return answered(200, b"the page reports/1, long enough to be known again")
        return pages(opened=lambda path: path.startswith("/public/"))(request)

    found = tried(pki, react, **allow)
    assert {name for name in spelled(found, "failed") if "below" in name} == {
        "..%2F below /public/{**}",
        "..%2F and escaped slashes below /public/{**}",
    }
    shut = [{**path, "allow": ALLOW_BOB} for path in paths]
    assert not any("below" in case.name for case in tried(pki, react, paths=shut))
    tokens = [{**paths[0], "jwt": {"issuer": ISSUER}}, *PATHS]
    assert not any("below" in case.name for case in tried(pki, react, paths=tokens, allow=ALLOW_BOB))


def test_who_may_pass_is_made_where_nobody_is_at_hand(pki: Pki) -> None:
    expected = "spiffe://x/y"
    gate = Gate(allow=lambda certificate: grants.printed("uris", certificate) == expected)
    cases = tried(pki, gate, allow=[{"uris": [expected]}])
    assert bad(cases) == []
    assert ends(cases) == {"MV-70": "passed", "MV-71": "passed", "MV-72": "passed", "MV-73": "passed"}
    assert any(case.name.startswith("client made to pass") for case in cases if case.check == "MV-70")
    assert {case.name.split(", ")[0] for case in cases} >= {"client with a similar name in uris", "client bob"}


def test_where_nobody_can_be_made_nothing_is_proven(pki: Pki) -> None:
    gate = Gate(allow=lambda _certificate: False)
    for allow in ([{"issuers": ["CN=elsewhere"]}], [{"clients": ["nobody here"]}], []):
        cases = tried(pki, gate, allow=allow, paths=[{"methods": ["GET"]}])
        assert ends(cases) == {"MV-70": "skipped", "MV-71": "skipped", "MV-73": "skipped"}, allow
        said = {case.observed.partition(",")[0] for case in cases if case.check in {"MV-70", "MV-71"}}
        assert said == {workloads.NOBODY_AT_HAND}


def test_the_first_who_is_served_is_the_control(pki: Pki) -> None:
    """The policy shuts out one of two who may pass: the refusals of others count, and that one is a failure."""
    gate = Gate(allow=only_bob)
    cases = tried(pki, gate, allow=[{"clients": ["curl"]}, {"clients": ["bob"]}, {"uris": ["spiffe://x"]}])
    assert [case.outcome.value for case in cases if case.check == "MV-70"] == ["failed", "passed", "passed"]
    assert ends(cases)["MV-71"] == "passed"
    assert any(case.name.startswith("client bob, ") and "sees this" in case.observed for case in cases)


@pytest.mark.parametrize("words", ["methods", "taken"])
def test_what_is_not_tried_of_a_path_is_said(words: str, pki: Pki) -> None:
    path = {"path": "/x/{**}", "methods": ["POST"]} if words == "methods" else {"path": "/x/1"}
    paths = [path] if words == "methods" else [{"path": "/x/{**}"}, path]
    gate = Gate()
    cases = tried(pki, gate, paths=paths)
    said = workloads.ONLY_CHANGING if words == "methods" else workloads.TAKEN.format(sample="/x/1")
    assert [(case.check, case.outcome.value) for case in cases if case.observed == said] == [
        ("MV-70", "skipped"),
        ("MV-71", "skipped"),
    ]
    assert not any(request.path == "/x/1" or request.method == "POST" for request in gate.requests)


@pytest.mark.parametrize(
    ("methods", "send", "sent", "untried"),
    [
        (["GET", "POST"], ["GET"], {"GET"}, "POST"),
        (["GET", "POST"], ["GET", "POST"], {"GET", "POST"}, ""),
        (["HEAD", "DELETE", "PUT"], ["GET", "HEAD", "PUT"], {"HEAD", "PUT"}, "DELETE"),
        (["GET", "HEAD"], ["HEAD"], {"HEAD"}, "GET"),
        (["POST"], ["POST"], {"POST"}, ""),
        (["GET"], ["GET", "POST"], {"GET"}, ""),
    ],
)
def test_only_methods_that_may_be_sent_are_and_the_others_are_named(
    methods: list[str], send: list[str], sent: set[str], untried: str, pki: Pki
) -> None:
    gate = Gate(allow=only_bob)
    paths = [{"path": "/*", "methods": methods, "allow": ALLOW_BOB}]
    cases = tried(pki, gate, paths=paths, options={"send_methods": send})
    named = [case.observed for case in cases if case.name.startswith("other methods")]

    assert {request.method for request in gate.requests} == sent
    assert named == ([workloads.UNSENT.format(methods=untried)] if untried else [])
    assert ends(cases)["MV-71"] == "passed"


def test_an_identity_is_claimed_or_reported_or_said_to_be_neither(pki: Pki) -> None:
    gate = Gate()
    cases = tried(pki, gate, options={"identity_headers": {}})
    assert [(case.outcome.value, case.observed) for case in cases if case.check == "MV-72"] == [
        ("skipped", "no identity header is configured: nothing is claimed")
    ]

    def silent(request: Request) -> Observation:
        return dataclasses.replace(seen := gate(request), response=dataclasses.replace(seen.response, body=b"{}"))

    cases = tried(pki, lambda request: silent(request) if request.identity else gate(request))
    assert [(case.outcome.value, case.observed) for case in cases if case.check == "MV-72"] == [
        ("skipped", workloads.UNPROVABLE)
    ]


def test_the_identity_of_one_path_and_of_nobody_is_looked_at(pki: Pki) -> None:
    paths = [{"path": "/public/{**}", "certificate": "optional"}, {"path": "/a/{**}"}, {"path": "/*"}]
    gate = Gate(demands=False, open_paths=("/public",), speaks_http_2=True)
    cases = [case for case in tried(pki, gate, paths=paths) if case.check == "MV-72"]
    assert {case.name.split(", ")[0].split(":")[0].removesuffix(" over HTTP/2") for case in cases} == {
        "client curl",
        "curl",
        "no certificate",
        "without a certificate",
    }
    assert {case.name.rpartition("shop.test")[2] for case in cases} == {"/public/kyma-mtls-verify"}

    def forged(gate: Gate, request: Request) -> Observation | None:
        claim = request.header(NAME)
        return gate.content(request, **{NAME: claim}) if request.identity is None and claim else None

    found = tried(pki, Gate(forged, demands=False, open_paths=("/public",)), paths=paths)
    assert {case.name.split(":")[0] for case in found if case.check == "MV-72" and case.outcome == "failed"} == {
        "without a certificate"
    }


FORGED = (
    "of a CA with the client CA's name",
    "self-signed copy",
    *(f"same {attribute}" for attribute in ATTRIBUTES if attribute != "SAN"),  # the good client has none
    "same in all but the signature",
)


def test_strangers_are_tried_at_each_host(pki: Pki) -> None:
    """A host may have TLS settings of its own."""
    offers = [TlsOffer("TLSv1.3"), TlsOffer("TLSv1.3", HTTP_2)]
    open_to_all = Gate(demands=False, open_paths=("/",))
    cases = tried(pki, open_to_all, offers=offers)
    assert {(case.check, case.name) for case in cases if case.outcome == "failed" and case.check < "MV-30"} == {
        ("MV-24", "no certificate, shop.test, TLSv1.3"),
        ("MV-25", "of another CA, shop.test, TLSv1.3"),
        *(("MV-26", f"{forged}, shop.test, TLSv1.3") for forged in FORGED),
    }
    # The target's own host has been tried with these, in many more ways.
    own = [case for case in tried(pki, open_to_all, offers=offers, host=HOST) if case.outcome == "failed"]
    assert {case.check for case in own if case.check < "MV-30"} == {"MV-24", "MV-25"}


def test_a_policy_that_lets_everybody_in_where_certificates_are_optional(pki: Pki) -> None:
    for kind, outcome in (("open", "failed"), ("refused", "passed"), ("reset", "outage")):

        def fault(gate: Gate, request: Request, kind: str = kind) -> Observation | None:
            if request.identity is None:
                return gate.content(request) if kind == "open" else KINDS[kind]
            return None

        assert ends(tried(pki, Gate(fault, demands=False)))["MV-73"] == outcome


def test_a_declared_open_path_must_be_open(pki: Pki) -> None:
    paths = [{"path": "/*", "certificate": "optional"}]
    assert ends(tried(pki, Gate(), paths=paths))["MV-73"] == "failed"
    assert ends(tried(pki, Gate(demands=False), paths=paths))["MV-73"] == "failed"
    assert ends(tried(pki, Gate(demands=False, open_paths=("/",)), paths=paths))["MV-73"] == "passed"


def token_paths(tmp_path: Path, **more: t.Any) -> list[dict[str, t.Any]]:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return [{"path": "/*", "jwt": {"issuer": ISSUER, "token_file": str(tmp_path / "token")}, **more}]


TOKENS: dict[str, tuple[Fault, str]] = {
    "sound": (lambda _gate, _request: None, "passed"),
    "no token is asked for": (lambda gate, request: gate.content(request), "failed"),
    "who has no token is let in": (
        lambda gate, request: None if request.header("Authorization") else gate.content(request),
        "failed",
    ),
    "any token will do": (
        lambda gate, request: gate.content(request) if request.header("Authorization") else None,
        "failed",
    ),
    "nobody needs to sign": (
        lambda gate, request: gate.content(request) if request.header("Authorization").endswith(".") else None,
        "failed",
    ),
    "the signature is not looked at": (
        lambda gate, request: (
            gate.content(request)
            if request.header("Authorization").endswith("." + TOKEN.split(".")[2])
            or request.header("Authorization").count(".") == 2
            else None
        ),
        "failed",
    ),
    "the token is refused": (lambda _gate, _request: answered(403, DENIED), "failed"),
    "the issuer's keys cannot be had": (
        lambda _gate, request: answered(503) if request.header("Authorization") else None,
        "outage",
    ),
}


@pytest.mark.parametrize("fault", TOKENS)
def test_tokens(fault: str, pki: Pki, tmp_path: Path) -> None:
    react, outcome = TOKENS[fault]
    gate = Gate(react, demands=False, token_paths=("/",), speaks_http_2=True)
    cases = tried(pki, gate, paths=token_paths(tmp_path))
    assert ends(cases)["MV-73"] == outcome, bad(cases)
    if fault == "sound":
        assert {case.check for case in cases if case.outcome == "passed"} == {"MV-72", "MV-73"}
        assert bad(cases) == []
    if fault == "the token is refused":
        # That nobody gets in without one proves nothing then.
        uncounted = [case for case in cases if "without a token" in case.name]
        assert {case.outcome.value for case in uncounted} == {"skipped"}


def needs_both(_gate: Gate, request: Request) -> Observation | None:
    return None if request.identity else answered(403, DENIED)


def test_a_token_does_not_replace_a_certificate_that_is_required(pki: Pki, tmp_path: Path) -> None:
    required = token_paths(tmp_path, certificate="required")
    both = Gate(
        lambda _gate, request: None if request.identity else answered(403, DENIED), demands=False, token_paths=("/",)
    )
    assert ends(tried(pki, both, paths=required))["MV-73"] == "passed"
    assert ends(tried(pki, Gate(demands=False, token_paths=("/",)), paths=required))["MV-73"] == "failed"
    # A gateway that needs a certificate may refuse nobody's token in the handshake, unless the path is declared open.
    asked = token_paths(tmp_path)
    assert ends(tried(pki, Gate(token_paths=("/",)), paths=asked))["MV-73"] == "passed"
    broken = Gate(lambda _gate, request: None if request.identity else KINDS["broken"], token_paths=("/",))
    assert ends(tried(pki, broken, paths=asked))["MV-73"] == "outage"
    opened = token_paths(tmp_path, certificate="optional")
    assert ends(tried(pki, Gate(token_paths=("/",)), paths=opened))["MV-73"] == "failed"


def test_who_may_not_pass_is_shut_out_with_a_token_too(pki: Pki, tmp_path: Path) -> None:
    paths = token_paths(tmp_path, allow=ALLOW_BOB)
    gate = Gate(needs_both, demands=False, token_paths=("/",), allow=only_bob)
    assert ends(tried(pki, gate, paths=paths))["MV-73"] == "passed"
    for open_to in (False, True):
        wide = Gate(demands=False, token_paths=("/",), allow=(lambda _one: True) if open_to else only_bob)
        found = [case for case in tried(pki, wide, paths=paths) if case.outcome == "failed"]
        assert {case.name.split(", ")[0] for case in found} == {"no certificate"} | (
            {"client curl"} if open_to else set()
        )


def test_a_token_that_is_not_there(pki: Pki) -> None:
    gate = Gate(demands=False, token_paths=("/",))
    cases = tried(pki, gate, paths=[{"path": "/*", "jwt": {"issuer": ISSUER}}])
    assert {case.outcome.value for case in cases if case.check == "MV-73"} == {"skipped"}
    assert nobody.UNTRIED.format(issuer=ISSUER) in {case.observed for case in cases}
    cases = tried(pki, gate, paths=[{"path": "/*", "jwt": {"issuer": ISSUER, "token_file": "/no/such/token"}}])
    assert ends(cases)["MV-73"] == "failed"


def test_wrong_tokens_are_of_every_kind() -> None:
    jwt = grants.Jwt(ISSUER)
    assert len(nobody._wrong_tokens(jwt, "")) == 3
    assert len(nobody._wrong_tokens(jwt, TOKEN)) == 4


def test_a_host_that_is_served_without_tls_is_found(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target's own host may well be redirected."""
    gate = Gate()
    seen: list[str] = []

    def knock(address: tuple[str, int], request: t.Any, **_how: t.Any) -> Observation:
        seen.append(request.authority)
        assert address == ("127.0.0.1", 80)
        return gate.content(Request(None, HOST, "/", "GET", request.headers, HTTP_1, None, ""))

    monkeypatch.setattr(plain_http.connection, "knock", knock)
    for host, outcomes in ((OTHER, ["failed"]), (HOST, [])):
        cases = tried(pki, gate, host=host)
        assert [case.outcome.value for case in cases if case.check == "MV-06"] == outcomes
    assert seen == [HOST]
    # Where 404 is what a client that may pass gets, it says nothing on port 80 either.
    monkeypatch.setattr(plain_http.connection, "knock", lambda *_args, **_how: answered(404))
    cases = tried(pki, lambda request: answered(404) if request.identity else KINDS["refused"])
    assert [case.outcome.value for case in cases if case.check == "MV-06"] == ["warning"]


def test_a_brief_trial_has_who_may_pass_and_who_may_not(pki: Pki) -> None:
    gate = Gate(allow=only_bob, demands=False, speaks_http_2=True)
    cases = tried(pki, gate, allow=ALLOW_BOB, is_brief=True, offers=[TlsOffer("TLSv1.3")])
    assert ends(cases) == {"MV-70": "passed", "MV-71": "passed", "MV-73": "passed"}
    assert len(gate.requests) < 10


def test_a_replica_without_the_policy_is_found_behind_one_address(pki: Pki) -> None:
    """One of three forgets the policy: fresh connections meet it."""
    plan = replicas.ReplicaPlan(count=3, connections=12)
    turn = itertools.count()

    def third(gate: Gate, request: Request) -> Observation | None:
        is_third = subject(request) == GOOD and next(turn) % 3 == 2
        return gate.content(request) if is_third else None

    for fault, outcome in ((third, "failed"), (lambda _gate, _request: None, "passed")):
        inspection, found = inspected(pki, Gate(fault, allow=only_bob), {"allow": ALLOW_BOB})
        run = verify._VerifyRun(dataclasses.replace(inspection.options, checks=ALL, workloads=(found,)))
        run.inspection = inspection
        assert ends(case for case in run.try_again([], plan) if case.check == "MV-71") == {"MV-71": outcome}
        run.options = dataclasses.replace(run.options, checks=frozenset({"MV-23"}))
        assert not any(case.check == "MV-71" for case in run.try_again([], plan))
