# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workloads as data on a cluster, against a double of the Kubernetes API: applied, changed, and gone."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import kyma as managers
from ansible_collections.kyma.mtls.tests.unit.roles import test_site_on_kubernetes
from ansible_collections.kyma.mtls.tests.unit.roles.test_site_on_kubernetes import Site

POLICY = "authorizationpolicies.security.istio.io"
REQUESTS = "requestauthentications.security.istio.io"
SHOP = {
    "name": "shop",
    "service": "httpbin",
    "port": 8000,
    "hosts": ["shop.mtls.local.kyma.dev", "store.mtls.local.kyma.dev"],
    "paths": [{"path": "/public/{**}", "methods": ["GET"]}, {"path": "/*", "allow": [{"uris": ["spiffe://a/*"]}]}],
}
OTHER = {"name": "other", "service": "httpbin", "port": 8000, "hosts": ["other.mtls.local.kyma.dev"]}
site = test_site_on_kubernetes.site  # a fixture


def names(site: Site, kind: str) -> list[str]:
    return sorted(body["metadata"]["name"] for body in site.cluster.store.peek_all(kind))


def test_workloads_are_applied_changed_and_removed(site: Site) -> None:
    site.cluster.install_kyma()
    given: dict[str, t.Any] = {"modules_manage": False, "only": ("gateway", "httpbin")}
    changes, _printed = site.ok(**given, httpbin_workloads=[SHOP, OTHER])

    assert changes == 2
    assert [name.partition("-")[0] for name in names(site, managers.API_RULE)] == ["httpbin", "other", "shop", "shop"]
    policies = names(site, POLICY)
    assert [name.partition("-")[0] for name in policies] == ["shop", "shop"]
    policy = site.cluster.body(POLICY, "test", policies[0])["spec"]
    assert (policy["action"], policy["selector"]) == ("DENY", {"matchLabels": {"app": "httpbin"}})
    assert policy["rules"][0]["when"] == [
        {"key": "request.headers[X-Client-Cert-Uri]", "notValues": ["uri=spiffe://a/*"]}
    ]
    apirule = site.cluster.body(managers.API_RULE, "test", policies[0])
    assert apirule["status"]["state"] == "Ready"
    headers = apirule["spec"]["rules"][0]["request"]["headers"]
    assert headers["X-Client-Cert-Uri"] == "uri=%DOWNSTREAM_PEER_URI_SAN%"

    assert site.ok(**given, httpbin_workloads=[SHOP, OTHER])[0] == 0
    given["only"] = ("httpbin",)  # to the rest, nothing happens
    everybody = {**SHOP, "paths": [{"path": "/*"}]}
    predicted, _printed = site.ok("--check", **given, httpbin_workloads=[everybody, {**OTHER, "state": "absent"}])
    assert (predicted, names(site, POLICY)) == (2, policies)
    site.ok(**given, httpbin_workloads=[everybody, {**OTHER, "state": "absent"}])
    assert names(site, POLICY) == []
    assert [name.partition("-")[0] for name in names(site, managers.API_RULE)] == ["httpbin", "shop", "shop"]

    # What is no longer in the list goes, and what belongs to others stays.
    for name, labels in (("nobodys", {}), ("theirs", {"kyma-mtls.github.io/workloads": "theirs"})):
        metadata = {"name": name, "namespace": "test", "labels": labels}
        spec = {"action": "DENY", "rules": [{}]}
        site.cluster.store.set(
            POLICY,
            {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec},
        )
    assert site.ok(**given, httpbin_workloads=[{**OTHER, "allow": [{"uris": ["spiffe://a/*"]}]}])[0] == 1
    assert [name.partition("-")[0] for name in names(site, managers.API_RULE)] == ["httpbin", "other"]
    assert [name.partition("-")[0] for name in names(site, POLICY)] == ["nobodys", "other", "theirs"]
    predicted, _printed = site.ok("--check", **given, httpbin_workloads=[everybody])
    assert (predicted, len(names(site, managers.API_RULE))) == (1, 2)
    site.ok(**given, httpbin_workloads=[everybody])
    assert names(site, POLICY) == ["nobodys", "theirs"]

    site.ok(**given, httpbin_workloads=[everybody], httpbin_enabled=False)
    assert [name.partition("-")[0] for name in names(site, managers.API_RULE)] == ["shop", "shop"]


def test_a_host_that_httpbin_has_is_refused_before_anything_is_applied(site: Site) -> None:
    site.cluster.install_kyma()
    done = site.play(
        only=("httpbin",), modules_manage=False, httpbin_workloads=[{**OTHER, "hosts": ["httpbin.mtls.local.kyma.dev"]}]
    )

    assert done.returncode != 0
    assert "belongs to HTTPBin already" in done.stdout + done.stderr
    assert names(site, managers.API_RULE) == []


def test_without_kymas_api_gateway_its_virtual_service_and_policy_are_applied(site: Site) -> None:
    site.cluster.install_istio()
    given: dict[str, t.Any] = {"modules_manage": False, "httpbin_route_kind": "VirtualService", "only": ("httpbin",)}
    assert site.ok(**given, httpbin_workloads=[SHOP])[0] == 1
    services = names(site, "virtualservices.networking.istio.io")
    policies = names(site, POLICY)
    (http,) = site.cluster.body("virtualservices.networking.istio.io", "test", "httpbin-mtls")["spec"]["http"]

    assert [name.partition("-")[0] for name in services] == ["httpbin", "shop", "shop"]
    assert [name for name in policies if not name.endswith("-gateway")] == services[1:]
    assert [name for name in policies if name.endswith("-gateway")] == [f"{name}-gateway" for name in services]
    # As Kyma's API Gateway module 3.10.0 writes it for the tutorial's APIRule.
    assert len(http.pop("headers")["response"]["remove"]) == 6
    assert http == {
        "match": [{"method": {"regex": "^(GET)$"}, "uri": {"prefix": "/"}}],
        "route": [{"destination": {"host": "httpbin.test.svc.cluster.local", "port": {"number": 8000}}, "weight": 100}],
        "timeout": "300s",
    }
    allowed = site.cluster.body(POLICY, "test", "httpbin-mtls-gateway")["spec"]
    assert allowed["rules"][0]["to"] == [
        {"operation": {"hosts": ["httpbin.mtls.local.kyma.dev"], "methods": ["GET"], "paths": ["/{**}"]}}
    ]
    site.ok(**given, httpbin_workloads=[SHOP], httpbin_enabled=False)
    assert names(site, "virtualservices.networking.istio.io") == services[1:]
    assert "httpbin-mtls-gateway" not in names(site, POLICY)


ISSUER = "https://issuer.example.org"
TOKENS = {
    **OTHER,
    "paths": [
        {
            "path": "/api/{**}",
            "jwt": {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys", "audiences": ["a"], "scopes": ["r"]},
        },
        {"path": "/public/{**}", "certificate": "optional"},
        {"path": "/*"},
    ],
}


@pytest.mark.parametrize("kind", ["APIRule", "VirtualService"])
def test_a_path_that_needs_a_token_asks_for_it_on_both_kinds_of_cluster(site: Site, kind: str) -> None:
    (site.cluster.install_kyma if kind == "APIRule" else site.cluster.install_istio)()
    given: dict[str, t.Any] = {
        "modules_manage": False,
        "only": ("httpbin",) if kind == "VirtualService" else ("gateway", "httpbin"),
        "httpbin_route_kind": kind,
        "gateway_tls_mode": "OPTIONAL_MUTUAL",
    }
    site.ok(**given, httpbin_workloads=[TOKENS])
    (policy,) = [name for name in names(site, POLICY) if name.startswith("other-") and not name.endswith("-gateway")]
    (denial,) = site.cluster.body(POLICY, "test", policy)["spec"]["rules"]

    # Who has no certificate: only what is open, and what a token opens, is left out of the denial.
    assert denial["to"][0]["operation"]["notPaths"] == ["/api/{**}", "/public/{**}"]
    assert denial["when"][0]["key"] == "request.headers[X-Client-Cert-Hash]"
    if kind == "APIRule":
        api, public, rest = site.cluster.body(managers.API_RULE, "test", policy)["spec"]["rules"]
        assert api["jwt"] == {
            "authentications": [{"issuer": ISSUER, "jwksUri": f"{ISSUER}/keys"}],
            "authorizations": [{"audiences": ["a"], "requiredScopes": ["r"]}],
        }
        assert "noAuth" not in api
        assert (public["noAuth"], rest["noAuth"]) == (True, True)
        # A client that has none cannot claim an identity: the headers are set on every path.
        assert all(
            rule["request"]["headers"]["X-Client-Cert-Hash"].startswith("sha256=%") for rule in (api, public, rest)
        )
        assert names(site, REQUESTS) == []
    else:
        (rule,) = site.cluster.body(REQUESTS, "test", policy)["spec"]["jwtRules"]
        assert rule == {"issuer": ISSUER, "jwksUri": f"{ISSUER}/keys", "forwardOriginalToken": True}
        allowed = site.cluster.body(POLICY, "test", f"{policy}-gateway")["spec"]["rules"]
        with_token = [one for one in allowed if "requestPrincipals" in one["from"][0]["source"]]
        assert {one["to"][0]["operation"]["paths"][0] for one in with_token} == {"/api/{**}"}
        assert {when["key"] for one in with_token for when in one["when"]} == {
            *(f"request.auth.claims[{name}]" for name in ("scp", "scope", "scopes", "aud")),
        }
    assert site.ok(**given, httpbin_workloads=[TOKENS])[0] == 0

    # Without tokens, nothing of them is left.
    site.ok(**given, httpbin_workloads=[OTHER])
    assert names(site, REQUESTS) == []


def test_a_status_looks_at_the_workloads_too(site: Site) -> None:
    site.cluster.install_kyma()
    given: dict[str, t.Any] = {"modules_manage": False, "httpbin_workloads": [SHOP]}
    site.ok(**given, only=("gateway", "httpbin"))
    policy = names(site, POLICY)[0]
    site.cluster.store.drop(POLICY, "test", policy)
    (site.place / "home").mkdir()
    done = site.play("kyma.mtls.status", only=(), **given)

    assert done.returncode != 0
    printed = " ".join((done.stdout + done.stderr).split())
    assert f"AuthorizationPolicy test/{policy}: missing" in printed, done.stdout
