# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter workload_routes: a user's list of workloads in, routes, policies and upstreams out."""

from __future__ import annotations

import base64
import itertools
import random
import re
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.filter.workload_routes import FilterModule
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import Authority

Json = dict[str, t.Any]
routes_of = FilterModule().filters()["workload_routes"]
COMMON = {
    "owner": "test",
    "namespace": "test",
    "gateway": "test/kyma-mtls-gateway",
    "identity_headers": {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%"},
    "tls_mode": "MUTUAL",
    "platform": "local",
    "host": "httpbin.mtls.local.kyma.dev",
}
SHOP = {"name": "shop", "hosts": ["shop.mtls.local.kyma.dev"], "upstream": "127.0.0.1:5000"}
ALICE, BOB = "O=ML Client Org,CN=alice", "O=ML Client Org,CN=bob"


def first(**fields: t.Any) -> Json:
    """The route of one workload."""
    (route,) = routes_of([{**SHOP, **fields}], COMMON)["routes"]
    return t.cast(Json, route)


def refusal(*workloads: Json, **common: t.Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        routes_of(list(workloads), {**COMMON, **common})
    return str(caught.value)


def test_a_workload_needs_little() -> None:
    found = routes_of([SHOP], COMMON)
    route = found["routes"][0]

    assert re.fullmatch("shop-[0-9a-f]{6}", route["name"])
    assert (route["namespace"], route["service"], route["port"], route["timeout_seconds"]) == ("test", "shop", 80, 180)
    assert [rule["path"] for rule in route["rules"]] == ["/*"]
    assert route["headers"] == {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT% "}
    assert route["denials"] == []
    assert found["upstreams"] == [
        {"service": "test/shop", "port": 80, "labels": {"app": "shop"}, "address": "127.0.0.1:5000"}
    ]


def test_every_host_has_a_route_of_its_own_whose_name_does_not_depend_on_the_others() -> None:
    hosts = ["a.mtls.local.kyma.dev", "b.mtls.local.kyma.dev"]
    both = [route["name"] for route in routes_of([{**SHOP, "hosts": hosts}], COMMON)["routes"]]

    assert both[1] == first(hosts=hosts[1:])["name"]
    assert len(routes_of([{**SHOP, "hosts": hosts}], COMMON)["upstreams"]) == 1


def test_an_absent_workload_is_named_and_its_service_only_when_nobody_uses_it() -> None:
    other = {**SHOP, "hosts": ["old.mtls.local.kyma.dev"], "state": "absent"}

    assert routes_of([SHOP, other], COMMON)["absent_upstreams"] == []
    assert routes_of([other], COMMON)["absent_upstreams"] == [{"service": "test/shop", "port": 80}]
    assert [route["host"] for route in routes_of([SHOP, other], COMMON)["absent"]] == ["old.mtls.local.kyma.dev"]


def test_on_a_cluster_there_are_no_upstreams() -> None:
    workload = {name: value for name, value in SHOP.items() if name != "upstream"}

    assert routes_of([workload], {**COMMON, "platform": "kubernetes"})["upstreams"] == []


def test_names_that_are_allowed_are_compared_with_headers_that_are_never_empty() -> None:
    route = first(allow=[{"subjects": [ALICE], "uris": ["spiffe://a/*"]}])

    assert route["headers"]["X-Client-Cert-Subject"] == "subject=%DOWNSTREAM_PEER_SUBJECT%"
    assert route["headers"]["X-Client-Cert-Uri"] == "uri=%DOWNSTREAM_PEER_URI_SAN%"
    assert "X-Client-Cert-Dns" not in route["headers"]
    assert [condition for rule in route["denials"] for condition in rule["when"]] == [
        {"key": "request.headers[X-Client-Cert-Subject]", "notValues": [f"subject={ALICE}"]},
        {"key": "request.headers[X-Client-Cert-Uri]", "notValues": ["uri=spiffe://a/*"]},
    ]


def test_a_client_by_its_name_is_its_subject() -> None:
    pem, _key = Authority("CA", "O").issue((NameOID.COMMON_NAME, "alice, the first"), (NameOID.ORGANIZATION_NAME, "O"))
    read = [{"item": "alice", "content": base64.b64encode(pem).decode()}]
    (route,) = routes_of([{**SHOP, "allow": [{"clients": ["alice"]}]}], {**COMMON, "certificates": read})["routes"]

    assert route["denials"][0]["when"][0]["notValues"] == [r"subject=O=O,CN=alice\, the first"]


def test_a_client_whose_name_a_policy_would_take_for_a_prefix_is_refused() -> None:
    pem, _key = Authority("CA", "O").issue((NameOID.COMMON_NAME, "star*"), (NameOID.ORGANIZATION_NAME, "O"))
    read = [{"item": "star", "content": base64.b64encode(pem).decode()}]
    text = refusal({**SHOP, "allow": [{"clients": ["star"]}]}, certificates=read)

    assert "The workload shop: the subject of the client star, O=O,CN=star*, ends in *" in text


def test_a_space_at_the_end_of_a_name_is_not_compared_because_http_drops_it() -> None:
    route = first(allow=[{"subjects": ["O=O,CN=a\\ "]}])

    assert route["denials"][0]["when"][0]["notValues"] == ["subject=O=O,CN=a\\"]


def test_a_refusal_by_san_has_the_subject_for_the_log() -> None:
    route = first(allow=[{"uris": ["spiffe://a/*"]}])

    assert route["headers"]["X-Client-Cert-Subject"] == "subject=%DOWNSTREAM_PEER_SUBJECT%"
    assert len(route["denials"][0]["when"]) == 1


def test_workloads_that_share_a_service_agree_on_its_upstream() -> None:
    other = {**SHOP, "name": "other", "service": "shop", "hosts": ["other.mtls.local.kyma.dev"]}
    logged = {**other, "identity_log": True, "identity_headers": {"X-Id": "id=%DOWNSTREAM_PEER_SUBJECT%"}}

    assert len(routes_of([SHOP, other], COMMON)["upstreams"]) == 1
    (upstream,) = routes_of([{**SHOP, "identity_log": True}, logged], COMMON)["upstreams"]
    assert upstream["identity_log"] == ["X-CLIENT-SSL-CN", "X-Id"]
    assert "the Service test/shop:80 has another upstream in an earlier workload" in refusal(
        SHOP, {**other, "upstream": "127.0.0.1:5001"}
    )


@pytest.mark.parametrize("predict", [True, False])
def test_a_client_without_certificate_is_refused_unless_it_is_only_predicted(predict: bool) -> None:
    workload = {**SHOP, "paths": [{"allow": [{"clients": ["nobody"]}]}]}
    if predict:
        assert routes_of([workload], {**COMMON, "predict": True})["routes"]
    else:
        assert "allow names the client nobody, which has no certificate here" in refusal(workload)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "Shop"}, "lower-case letters"),
        ({"name": "s" * 57}, "56 at most"),
        ({"hosts": []}, "hosts is empty"),
        ({"hosts": ["shop"]}, "is not a domain name"),
        ({"hosts": ["httpbin.mtls.local.kyma.dev"]}, "the host httpbin.mtls.local.kyma.dev belongs to HTTPBin already"),
        ({"hosts": SHOP["hosts"] * 2}, "belongs to the workload shop already"),
        ({"upstream": ""}, "needs upstream"),
        ({"allow": []}, "nobody could pass"),
        ({"allow": [{}]}, "an empty entry in allow"),
        ({"allow": [{"names": ["a"]}]}, r"\['names'\] in allow"),
        ({"allow": [{"uris": ["*"]}]}, "is not a name"),
        ({"allow": [{"uris": ["a**"]}]}, "is not a name"),
        ({"identity_headers": {"X-ID": "%DOWNSTREAM_PEER_URI_SAN%"}}, "The identity header X-ID"),
        (
            {"identity_headers": {"x-client-cert-uri": "a"}, "allow": [{"uris": ["a"]}]},
            "needs the header X-Client-Cert-Uri",
        ),
        ({"allow": [{kind: [f"{n}"] for kind in ("subjects", "issuers", "uris")} for n in range(5)]}, "243 rules"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: Json, reason: str) -> None:
    workload = {**SHOP, **fields}

    assert re.search(f"^The workload {workload['name']}: .*{reason}", refusal(workload))


def test_a_host_of_two_workloads_is_refused_with_both_names() -> None:
    assert "The workload other: the host shop.mtls.local.kyma.dev belongs to the workload shop already" in refusal(
        SHOP, {**SHOP, "name": "other"}
    )


def test_a_virtual_service_says_what_kyma_makes_of_an_apirule() -> None:
    route = first(paths=[{"path": "/a/{*}", "methods": ["GET", "POST"]}], cors={"maxAge": 60})

    assert route["rules"][0]["match"] == {
        "method": {"regex": "^(GET|POST)$"},
        "uri": {"regex": "^/a/([A-Za-z0-9-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$"},
    }
    assert (route["cors"], route["virtual_service_cors"]) == ({"maxAge": 60}, {"maxAge": "60s"})
    assert route["virtual_service_headers"] == {**route["headers"], "x-forwarded-host": SHOP["hosts"][0]}


# --- what the policy denies, against what the grants say ------------------------------------------------------------

PATHS = ("/*", "/a/{**}", "/b")
KINDS = {"subjects": "Subject", "uris": "Uri", "emails": "Email"}
CLIENTS = [dict(zip(KINDS, names, strict=True)) for names in itertools.product(("x", "y"), repeat=3)]


def matches(pattern: str, path: str) -> bool:
    return pattern in ("/*", path) or (pattern == "/a/{**}" and path.startswith("/a/"))


def holds(text: str, value: str) -> bool:
    return value.startswith(text[:-1]) if text.endswith("*") else value == text


def is_denied(denials: t.Sequence[Json], client: Json, method: str, path: str) -> bool:
    """As Istio reads an AuthorizationPolicy: one rule that matches is enough."""
    headers = {
        f"request.headers[X-Client-Cert-{KINDS[kind]}]": f"{KINDS[kind].lower()}={value}"
        for kind, value in client.items()
    }

    def is_meant(operation: Json) -> bool:
        return (
            method in operation["methods"]
            and any(matches(pattern, path) for pattern in operation.get("paths", ["/*"]))
            and not any(matches(pattern, path) for pattern in operation.get("notPaths", []))
        )

    return any(
        any(is_meant(to["operation"]) for to in rule["to"])
        and all(not any(holds(text, headers[one["key"]]) for text in one["notValues"]) for one in rule["when"])
        for rule in denials
    )


def may_pass(paths: t.Sequence[Json], client: Json, method: str, path: str) -> bool:
    """As the documentation says: the first path that matches decides, and one entry of it is enough."""
    for entry in paths:
        if method in entry["methods"] and matches(entry["path"], path):
            if "allow" not in entry:
                return True
            return any(
                all(any(holds(text, client[kind]) for text in texts) for kind, texts in grant.items())
                for grant in entry["allow"]
            )
    return True  # no route: 404


@pytest.mark.parametrize("seed", range(60))
def test_exactly_those_pass_whom_the_first_matching_path_allows(seed: int) -> None:
    chooser = random.Random(seed)  # noqa: S311  (the same choices in every run)
    order = [*chooser.sample(PATHS[1:], chooser.randint(0, 2)), *PATHS[: chooser.randint(0, 1)]] or ["/*"]
    paths: list[Json] = []
    for path in order:
        entry: Json = {"path": path, "methods": chooser.sample(("GET", "POST"), chooser.randint(1, 2))}
        if chooser.random() < 0.8:
            entry["allow"] = [
                {
                    kind: chooser.sample(("x", "y*", "x*"), chooser.randint(1, 2))
                    for kind in chooser.sample(list(KINDS), chooser.randint(1, 3))
                }
                for _grant in range(chooser.randint(1, 3))
            ]
        paths.append(entry)
    denials = first(paths=paths)["denials"]

    for client, method, path in itertools.product(CLIENTS, ("GET", "POST"), ("/", "/a/1", "/a/1/2", "/b", "/c")):
        expected = may_pass(paths, client, method, path)
        assert is_denied(denials, client, method, path) is not expected, (paths, client, method, path)


JWT = {"issuer": "https://issuer.example.org", "jwks_uri": "https://issuer.example.org/keys", "jwks_file": "keys.json"}


@pytest.mark.parametrize(
    ("fields", "tls_mode", "reason"),
    [
        ({"certificate": "optional"}, "MUTUAL", "Set gateway_tls_mode to OPTIONAL_MUTUAL"),
        ({"certificate": "required"}, "SIMPLE", "no client presents one"),
        ({"certificate": "optional", "allow": [{"subjects": [ALICE]}]}, "OPTIONAL_MUTUAL", "cannot be optional there"),
        ({"allow": [{"certificates": ["a"]}]}, "MUTUAL", "an entry has some of subjects, issuers"),
        ({"paths": [{"jwt": {**JWT, "issuer": ""}}]}, "MUTUAL", "jwt needs the issuer"),
        ({"paths": [{"jwt": {**JWT, "jwks_uri": "keys"}}]}, "MUTUAL", r"the http\(s\) address of its keys"),
        ({"paths": [{"jwt": {**JWT, "jwks_file": ""}}]}, "MUTUAL", "jwt needs jwks_file"),
        ({"paths": [{"path": "/", "jwt": JWT}, {"path": "/*"}]}, "MUTUAL", "Kyma's policy for the later path"),
        (
            {
                "paths": [
                    {"path": "/x/{**}", "methods": ["POST"]},
                    {"path": "/x/y", "methods": ["GET"], "jwt": JWT},
                    {"path": "/x/{**}", "methods": ["GET"]},
                ]
            },
            "MUTUAL",
            "lets GET through without one",
        ),
    ],
)
def test_certificates_and_tokens_that_cannot_be_asked_for_are_refused(fields: Json, tls_mode: str, reason: str) -> None:
    assert re.search(f"^The workload shop.*{reason}", refusal({**SHOP, **fields}, tls_mode=tls_mode))


def test_where_certificates_are_optional_only_what_is_declared_is_open() -> None:
    paths = [{"path": "/api/{**}", "jwt": JWT}, {"path": "/open", "certificate": "optional"}, {"path": "/*"}]
    (route,) = routes_of([{**SHOP, "paths": paths}], {**COMMON, "tls_mode": "OPTIONAL_MUTUAL"})["routes"]
    (denial,) = route["denials"]

    assert denial["to"][0]["operation"]["notPaths"] == ["/api/{**}", "/open"]
    assert denial["when"][0]["key"] == "request.headers[X-Client-Cert-Hash]"
    assert denial["when"][0]["notValues"] == [f"sha256={digit}*" for digit in "0123456789abcdef"]
    assert route["headers"]["X-Client-Cert-Hash"] == "sha256=%DOWNSTREAM_PEER_FINGERPRINT_256%"


def test_a_certificate_that_is_asked_for_by_name_is_also_asked_for_before_the_gateway_changes() -> None:
    assert first()["denials"] == []
    assert first(certificate="required")["denials"][0]["when"][0]["key"] == "request.headers[X-Client-Cert-Hash]"


def test_a_token_becomes_what_kyma_makes_of_it() -> None:
    given = {**JWT, "scopes": ["read", "write"], "audiences": ["shop"]}
    found = routes_of([{**SHOP, "paths": [{"path": "/a", "jwt": given}, {"path": "/{**}"}]}], COMMON)
    first_rule, second = found["routes"][0]["rules"]
    claims = [{one["key"] for one in conditions} for conditions in first_rule["jwt"]["conditions"]]

    assert first_rule["jwt"]["apirule"] == {
        "authentications": [{"issuer": JWT["issuer"], "jwksUri": JWT["jwks_uri"]}],
        "authorizations": [{"requiredScopes": ["read", "write"], "audiences": ["shop"]}],
    }
    assert claims == [
        {f"request.auth.claims[{name}]", "request.auth.claims[aud]"} for name in ("scp", "scope", "scopes")
    ]
    assert (second["jwt"], second["not_paths"]) == (None, ["/a"])
    assert found["routes"][0]["issuers"] == [
        {"issuer": JWT["issuer"], "jwksUri": JWT["jwks_uri"], "forwardOriginalToken": True}
    ]
    assert found["key_sets"] == {JWT["jwks_uri"]: "keys.json"}
