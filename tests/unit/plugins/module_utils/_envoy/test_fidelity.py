# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The local translation against the configuration that istiod really sent, field by field.

A difference that is not in the list below fails, and so does an entry of the list that is no difference any more.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import istiod
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    HOST,
    Json,
    make_apirule,
    make_backend,
    make_gateway,
    make_objects,
    make_rule,
    make_server,
    translated,
)

_SOURCES = "Envoy reads files here, and istiod's stream (ads) or the pod's agent on a cluster."
_NAMES = "The local address and port; names and prefixes of statistics are made of them."
_LOGS = "Access logs are on here, and off on a cluster until a Telemetry asks for them. They carry no secret."
_ONE_SOCKET = "One sidecar has a socket of its own here, and one port for all with original destinations on a cluster."
#: path of a field -> why it may differ
ALLOWED = {
    r".*/(sds_config|config_source)/.*": _SOURCES,
    r"/(name|address/socket_address/.*)": _NAMES,
    r".*/stat_prefix|/alt_stat_name": _NAMES,
    r"(.*/typed_config)?/access_log\[0\]/.*": _LOGS,
    r"/enable_reuse_port": "Without it, a second Envoy on this machine would silently share the port.",
    r".*/(codec_type|server_header_transformation|xff_num_trusted_hops)": "Envoy's default, written out.",
    r".*/(match_subject_alt_names|match_typed_subject_alt_names)\[.*": (
        "istiod sends the field without a type, which Envoy calls deprecated. Of a client's names every type is tried, "
        "as there; a SPIFFE identity is a URI."
    ),
    r".*/delayed_close_timeout": "How long a connection that was refused stays open: here all are on loopback.",
    r".*/metadata/.*": "Says which object it comes from; Envoy does nothing with it.",
    r".*/denominator": "Envoy's default, written out.",
    r"/(type|eds_cluster_config/.*|load_assignment/.*)": (
        "The endpoint is the sidecar's socket, which is known here and discovered on a cluster."
    ),
    r".*/alpn_protocols\[1\]": "For the workload's sidecar, which here does not know the ALPN name istio.",
    r".*/tls_certificate_sds_secret_configs\[0\]/name": (
        "Here one Envoy plays gateway and sidecars, so that their certificates need names; on a cluster each pod has "
        "one, called default."
    ),
    r"/filter_chain_match/(destination_port|transport_protocol)": _ONE_SOCKET,
    r".*/route_config/(name|@type)": _ONE_SOCKET,
    r".*/route_config/virtual_hosts\[0\]/(name|routes\[0\]/route/cluster|routes\[0\]/decorator/operation)": (
        "Without the target port: connections that the gateway keeps open would lead to the cluster of the old name."
    ),
    r".*/or_rules/rules\[1\]/header/(name|string_match/.*)": (
        "A browser sends the port of a gateway on another one than 443. Kyma's policy answers 403 to every port."
    ),
    r".*/shadow_rules_stat_prefix": "Prefix of statistics of policies on trial, of which there are none.",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One resource: as istiod sent it, and as it is made here."""

    name: str
    sent: t.Any
    made: t.Any

    def __str__(self) -> str:
        return self.name


def flat(value: t.Any, path: str = "") -> dict[str, t.Any]:
    """The leaves of ``value`` by their path; numbers in the form that JSON has for large ones."""
    if isinstance(value, dict):
        return {key: leaf for name, item in value.items() for key, leaf in flat(item, f"{path}/{name}").items()}
    if isinstance(value, (list, tuple)):
        return {key: leaf for index, item in enumerate(value) for key, leaf in flat(item, f"{path}[{index}]").items()}
    return {path: value}


def differences(case: Case) -> dict[str, tuple[t.Any, t.Any]]:
    """The fields that differ: path -> (sent, made)."""
    sent, made = flat(case.sent), flat(case.made)
    pairs = {path: (sent.get(path), made.get(path)) for path in {*sent, *made}}
    return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}


def reason(path: str) -> str | None:
    """Why the field at ``path`` may differ; None when it may not."""
    return next((why for pattern, why in ALLOWED.items() if re.fullmatch(pattern, path)), None)


def chain_of(configuration: Configuration, host: str) -> Json:
    """The filter chain for ``host`` of the gateway's listener; the one for every name when there is none."""
    chains = configuration.listeners[0]["filter_chains"]
    named = {name: chain for chain in chains for name in chain["filter_chain_match"].get("server_names", ["*"])}
    return t.cast(Json, named[host])


def tutorial_cases() -> t.Iterator[Case]:
    """The tutorial's objects, and beside them a Gateway for optional certificates and Kyma's own."""
    others = [
        make_gateway(make_server("*.ec.local.kyma.dev", mode="OPTIONAL_MUTUAL", credentialName="ec-mtls"), name="ec"),
        make_gateway(make_server("*.local.kyma.dev", name="https", mode="SIMPLE", credentialName="certs"), name="own"),
    ]
    made = translated([*make_objects(), *others])
    listener = {key: value for key, value in made.listeners[0].items() if key != "filter_chains"}
    yield Case("listener", istiod.gateway_listener(8443), listener)
    mutual = istiod.gateway_tls("kyma-mtls", client_ca="kyma-mtls-cacert")
    optional = istiod.gateway_tls("ec-mtls", client_ca="ec-mtls-cacert")
    for mode, host, route, context in (
        ("MUTUAL", "*.mtls.local.kyma.dev", "https.443.mtls.kyma-mtls-gateway.test", mutual),
        ("OPTIONAL_MUTUAL", "*.ec.local.kyma.dev", "https.443.mtls.ec.test", optional),
        ("SIMPLE", "*.local.kyma.dev", "https.443.https.own.test", istiod.gateway_tls("certs")),
    ):
        sent = istiod.gateway_chain(host, route=route, port=8443, requires=mode == "MUTUAL", **context)
        yield Case(f"chain {mode}", sent, chain_of(made, host))
    name = "https.443.mtls.kyma-mtls-gateway.test"
    sent = istiod.route_configuration(name, istiod.virtual_host(HOST, istiod.TUTORIAL_ROUTE))
    yield Case("route", sent, made.routes[name])
    yield Case("cluster", istiod.outbound_cluster(), made.clusters[0])
    yield Case("sidecar", istiod.sidecar_chain(), sidecar_of(made))


def sidecar_of(made: Configuration) -> Json:
    """The sidecar's filter chain with its routes in it, and its RBAC rules where istiod has them."""
    (chain,) = made.listeners[-1]["filter_chains"]
    (manager,) = chain["filters"]
    fields = dict(manager["typed_config"])
    route = dict(made.routes[fields.pop("rds")["route_config_name"]])
    host = dict(route["virtual_hosts"][0])
    rules = host.pop("typed_per_filter_config")["envoy.filters.http.rbac"]["rbac"]["rules"]
    (policy,) = rules["policies"].values()
    # The first one denies, and does nothing without an AuthorizationPolicy that a user gives.
    deny, rbac, *others = fields["http_filters"]
    assert set(deny["typed_config"]) == {"@type"}
    # Kyma gives its objects a name of which the end is random.
    named = {"policies": {"ns[test]-policy[httpbin-mtls-dq64q]-rule[0]": policy}}
    fields["http_filters"] = [{**rbac, "typed_config": {**rbac["typed_config"], "rules": named}}, *others]
    fields["route_config"] = {**route, "virtual_hosts": [host]}
    return {**chain, "filters": [{**manager, "typed_config": fields}]}


def further_cases() -> t.Iterator[Case]:
    """TLS settings and routes beyond the tutorial's."""
    pins = {
        "subjectAltNames": ["spiffe://x/y", "client.example"],
        "verifyCertificateHash": ["7e3c7f1b6c5f5e5b0a4b2c6f9d1e8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f"],
        "verifyCertificateSpki": ["NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="],
    }
    suites = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]
    versions = {"minProtocolVersion": "TLSV1_2", "maxProtocolVersion": "TLSV1_3", "cipherSuites": suites}
    hosts = ("opt.mtls.local.kyma.dev", "opt2.mtls.local.kyma.dev")
    two = make_server("two.mtls.local.kyma.dev", name="two", caCertCredentialName="other-cacert")
    two["tls"]["credentialNames"] = ["rsa-certs", "ecdsa-certs"]
    del two["tls"]["credentialName"]
    gateway = make_gateway(
        make_server(*hosts, name="opt", mode="OPTIONAL_MUTUAL", credentialName="opt-certs", **pins, **versions),
        two,
        make_server("*", name="any", mode="SIMPLE", credentialName="any-certs"),
        name="g2",
    )
    rules = [
        make_rule(path="/a/{*}", methods=["GET", "POST"], timeout=180, request=None),
        make_rule(timeout=10, request=None),
    ]
    cors = {
        "allowOrigins": [{"exact": "https://a.example"}, {"prefix": "https://b"}, {"regex": ".*c"}],
        "allowMethods": ["GET", "POST"],
        "allowHeaders": ["x-a", "x-b"],
        "exposeHeaders": ["x-c"],
        "allowCredentials": True,
        "maxAge": 300,
    }
    apirule = make_apirule(*rules, host="two.mtls.local.kyma.dev", gateway="test/g2", corsPolicy=cors)
    made = translated([gateway, *make_backend(), apirule])
    restrictions = {
        "match_subject_alt_names": [{"exact": "spiffe://x/y"}, {"exact": "client.example"}],
        "verify_certificate_hash": pins["verifyCertificateHash"],
        "verify_certificate_spki": pins["verifyCertificateSpki"],
    }
    optional = istiod.gateway_tls(
        "opt-certs",
        client_ca="opt-certs-cacert",
        restrictions=restrictions,
        tls_minimum_protocol_version="TLSv1_2",
        tls_maximum_protocol_version="TLSv1_3",
        cipher_suites=suites,
    )
    pair = istiod.gateway_tls("rsa-certs", "ecdsa-certs", client_ca="other-cacert")
    for mode, hosts_sent, name, requires, context in (
        ("pins, versions and suites", hosts, "opt", False, optional),
        ("two certificates, CAs of another Secret", ("two.mtls.local.kyma.dev",), "two", True, pair),
        ("every name", (), "any", False, istiod.gateway_tls("any-certs")),
    ):
        sent = istiod.gateway_chain(*hosts_sent, route=f"https.443.{name}.g2.test", requires=requires, **context)
        yield Case(f"chain with {mode}", sent, chain_of(made, hosts_sent[0] if hosts_sent else "*"))
    # Envoy's expression for one segment of a path, and the host of that APIRule.
    expression = "^/a/([A-Za-z0-9-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$"
    host = "two.mtls.local.kyma.dev"
    routes = [
        {**route, "typed_per_filter_config": {"envoy.filters.http.cors": istiod.CORS_POLICY}}
        for route in (
            istiod.route("GET|POST", "180s", host=host, regex=expression),
            istiod.route("GET", "10s", host=host),
        )
    ]
    for name in ("two", "any"):
        sent = istiod.route_configuration(f"https.443.{name}.g2.test", istiod.virtual_host(host, *routes))
        yield Case(f"route with paths and CORS, {name}", sent, made.routes[f"https.443.{name}.g2.test"])
    sent = istiod.route_configuration("https.443.opt.g2.test")
    yield Case("no route", sent, made.routes["https.443.opt.g2.test"])


CASES = [*tutorial_cases(), *further_cases()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_else_than_what_is_argued_differs_from_istiods_configuration(case: Case) -> None:
    assert {path: pair for path, pair in differences(case).items() if reason(path) is None} == {}


@pytest.mark.parametrize("pattern", ALLOWED)
def test_every_difference_that_is_argued_is_one(pattern: str) -> None:
    assert [path for case in CASES for path in differences(case) if re.fullmatch(pattern, path)]
