# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the translation makes of Kubernetes objects."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Credential, safe_name
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import translate
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    HOST,
    SETTINGS,
    Json,
    make_apirule,
    make_backend,
    make_gateway,
    make_objects,
    make_rule,
    make_server,
    translated,
)

GATEWAY_ID = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"


def routes_of(objects: t.Sequence[Json], name: str = "https.443.mtls.kyma-mtls-gateway.test") -> dict[str, Json]:
    """The virtual hosts of a route configuration by domain."""
    return {host["domains"][0]: host for host in translated(objects).routes[name]["virtual_hosts"]}


def first_route(**rule: t.Any) -> Json:
    """The route of one rule."""
    route = routes_of([make_gateway(), *make_backend(), make_apirule(make_rule(**rule))])[HOST]["routes"][0]
    return t.cast(Json, route)


def tls_of(**tls: t.Any) -> Json:
    """The TLS context of a server."""
    listener = translated([make_gateway(make_server(**tls))]).listeners[0]
    return t.cast(Json, listener["filter_chains"][0]["transport_socket"]["typed_config"])


def test_the_tutorial_needs_these_secrets_and_identities() -> None:
    configuration = translated()

    assert configuration.credentials == (
        Credential("kyma-mtls", "certificate", "kubernetes://kyma-mtls", "sds/kyma-mtls/sds.json"),
        Credential("kyma-mtls", "validation", "kubernetes://kyma-mtls-cacert", "sds/kyma-mtls-cacert/sds.json"),
    )
    assert configuration.mesh_identities == (GATEWAY_ID, "spiffe://cluster.local/ns/test/sa/httpbin")
    assert [(item.name, item.kind) for item in configuration.mesh_credentials] == [
        (GATEWAY_ID, "certificate"),
        ("spiffe://cluster.local/ns/test/sa/httpbin", "certificate"),
        ("ROOTCA", "validation"),
    ]


def test_every_secret_has_a_directory_of_its_own() -> None:
    configuration = translated()
    paths = [item.path for item in (*configuration.credentials, *configuration.mesh_credentials)]

    assert len({path.rpartition("/")[0] for path in paths}) == len(paths)


def test_the_result_depends_on_the_objects_alone_not_on_their_order() -> None:
    objects = [*make_objects(), make_gateway(make_server("other.test"), name="other")]

    assert translated(objects) == translated(list(reversed(objects)))
    assert json.dumps(dataclasses.asdict(translated())["listeners"])


def test_a_gateway_without_apirules_answers_404() -> None:
    configuration = translated([make_gateway()])
    (host,) = configuration.routes["https.443.mtls.kyma-mtls-gateway.test"]["virtual_hosts"]

    assert (host["domains"], host["routes"]) == (["*"], [])
    assert configuration.mesh_identities == ()
    assert configuration.mesh_credentials == ()
    assert configuration.clusters == ()


def test_no_objects_give_no_listeners() -> None:
    assert translated([]).listeners == ()


def test_what_the_server_wrote_is_not_read() -> None:
    objects = make_objects()
    for item in objects:
        item["status"] = {"state": "Ready"}
        item["metadata"]["managedFields"] = [{}]

    assert translated(objects) == translated()


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_all_versions_of_the_gateway_mean_the_same(version: str) -> None:
    objects = [make_gateway(version=version), *make_backend(), make_apirule()]

    assert translated(objects) == translated()


def test_a_gateway_without_selector_is_for_every_ingress() -> None:
    gateway = make_gateway()
    del gateway["spec"]["selector"]

    assert translated([gateway]) == translated([make_gateway()])


@pytest.mark.parametrize(
    ("mode", "required", "validates"),
    [("SIMPLE", False, False), ("MUTUAL", True, True), ("OPTIONAL_MUTUAL", False, True)],
)
def test_the_mode_says_whether_a_certificate_is_asked_for(mode: str, required: bool, validates: bool) -> None:
    context = tls_of(mode=mode)

    assert context["require_client_certificate"] is required
    assert ("combined_validation_context" in context["common_tls_context"]) is validates


def test_tls_parameters_stay_unset_where_the_gateway_has_none() -> None:
    assert "tls_params" not in tls_of()["common_tls_context"]
    assert "tls_params" not in tls_of(minProtocolVersion="TLS_AUTO")["common_tls_context"]


def test_tls_parameters_are_those_of_the_gateway() -> None:
    context = tls_of(minProtocolVersion="TLSV1_2", maxProtocolVersion="TLSV1_3", cipherSuites=["AES128-SHA"])

    assert context["common_tls_context"]["tls_params"] == {
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
        "cipher_suites": ["AES128-SHA"],
    }


def test_a_name_of_the_client_may_be_of_any_kind() -> None:
    restrictions = tls_of(subjectAltNames=["a.test"])["common_tls_context"]["combined_validation_context"]
    matchers = restrictions["default_validation_context"]["match_typed_subject_alt_names"]

    assert [item["san_type"] for item in matchers] == ["DNS", "URI", "EMAIL", "IP_ADDRESS"]
    assert {item["matcher"]["exact"] for item in matchers} == {"a.test"}


def test_two_certificates_share_the_client_ca_of_the_first() -> None:
    configuration = translated([make_gateway(make_server(credentialName=None, credentialNames=["rsa", "ecdsa"]))])

    assert [item.resource for item in configuration.credentials] == [
        "kubernetes://rsa",
        "kubernetes://ecdsa",
        "kubernetes://rsa-cacert",
    ]


def test_the_client_ca_may_have_a_secret_of_its_own() -> None:
    configuration = translated([make_gateway(make_server(caCertCredentialName="clients-cacert"))])

    assert [(item.name, item.resource) for item in configuration.credentials] == [
        ("kyma-mtls", "kubernetes://kyma-mtls"),
        ("clients", "kubernetes://clients-cacert"),
    ]


@pytest.mark.parametrize(
    ("hosts", "match"),
    [
        (["b.test", "a.test"], {"server_names": ["a.test", "b.test"]}),
        (["far/a.test"], {"server_names": ["a.test"]}),
        (["./a.test", "*/b.test"], {"server_names": ["a.test", "b.test"]}),
        (["A.TEST"], {"server_names": ["a.test"]}),
        (["*"], {}),
        (["*", "a.test"], {}),
    ],
)
def test_server_names_are_the_hosts_of_the_gateway(hosts: list[str], match: Json) -> None:
    listener = translated([make_gateway(make_server(*hosts))]).listeners[0]

    assert listener["filter_chains"][0]["filter_chain_match"] == match


def test_gateways_on_one_port_share_its_listener() -> None:
    gateways = [make_gateway(make_server("a.test")), make_gateway(make_server("b.test"), name="other")]
    configuration = translated(gateways)

    assert len(configuration.listeners) == 1
    assert len(configuration.listeners[0]["filter_chains"]) == 2
    assert sorted(configuration.routes) == ["https.443.mtls.kyma-mtls-gateway.test", "https.443.mtls.other.test"]


@pytest.mark.parametrize(
    "host", ["*/*.mtls.local.kyma.dev", "./*.mtls.local.kyma.dev", "test/*.mtls.local.kyma.dev", "*"]
)
def test_a_host_may_be_for_one_namespace_or_for_all(host: str) -> None:
    assert list(routes_of([make_gateway(make_server(host)), *make_backend(), make_apirule()])) == [HOST]


def test_an_apirule_for_a_wildcard_serves_the_hosts_of_the_gateway_only() -> None:
    gateway = make_gateway(make_server("a.mtls.local.kyma.dev", "b.mtls.local.kyma.dev"))
    hosts = routes_of([gateway, *make_backend(), make_apirule(host="*.mtls.local.kyma.dev")])

    assert sorted(hosts) == ["a.mtls.local.kyma.dev", "b.mtls.local.kyma.dev"]


def test_one_host_on_two_servers_of_a_gateway_is_on_both() -> None:
    servers = (make_server("*.local.kyma.dev", name="one"), make_server(name="two"))
    configuration = translated([make_gateway(*servers), *make_backend(), make_apirule()])

    for name in ("one", "two"):
        (host,) = configuration.routes[f"https.443.{name}.kyma-mtls-gateway.test"]["virtual_hosts"]
        assert (host["domains"], len(host["routes"])) == ([HOST], 1)


@pytest.mark.parametrize(
    ("rule", "spec", "seconds"), [(7, None, "7s"), (7, 9, "7s"), (None, 9, "9s"), (None, None, "180s")]
)
def test_timeouts_of_rule_spec_and_default(rule: int | None, spec: int | None, seconds: str) -> None:
    apirule = make_apirule(make_rule(timeout=rule), timeout=spec)
    route = routes_of([make_gateway(), *make_backend(), apirule])[HOST]["routes"][0]["route"]

    assert (route["timeout"], route["max_grpc_timeout"]) == (seconds, seconds)


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("/*", {"prefix": "/"}),
        ("/a.b", {"safe_regex": {"regex": "^/a.b$"}}),
        ("/a/{*}", {"safe_regex": {"regex": "^/a/([A-Za-z0-9-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$"}}),
        ("/{**}", {"safe_regex": {"regex": "^/([A-Za-z0-9-._~!$&'()*+,;=:@/]|%[0-9a-fA-F]{2})*$"}}),
    ],
)
def test_paths_become_what_kyma_makes_of_them(path: str, match: Json) -> None:
    route = first_route(path=path, methods=["GET", "HEAD"])

    assert match.items() <= route["match"].items()
    assert route["match"]["headers"][0]["string_match"] == {"safe_regex": {"regex": "^(GET|HEAD)$"}}


def test_rules_keep_their_order() -> None:
    rules = [make_rule(path=path) for path in ("/b", "/a", "/*")]
    routes = routes_of([make_gateway(), *make_backend(), make_apirule(*rules)])[HOST]["routes"]

    assert [route["decorator"]["operation"] for route in routes] == [
        "httpbin.test.svc.cluster.local:8000^/b$",
        "httpbin.test.svc.cluster.local:8000^/a$",
        "httpbin.test.svc.cluster.local:8000/*",
    ]


def test_a_change_of_rules_leaves_every_listener_as_it_is() -> None:
    """A listener that changes drains its connections."""
    other = [make_gateway(), *make_backend(), make_apirule(make_rule(path="/other", methods=["POST"]))]

    assert translated(other).listeners == translated().listeners
    assert translated(other).routes != translated().routes


@pytest.mark.parametrize(
    ("path", "matcher"),
    [
        ("/exact", {"url_path": {"path": {"exact": "/exact"}}}),
        ("/*", "/**"),
        ("/a/{*}/b", "/a/*/b"),
        ("/{*}/{**}", "/*/**"),
    ],
)
def test_paths_of_the_policy_become_what_istiod_makes_of_them(path: str, matcher: Json | str) -> None:
    objects = [make_gateway(), *make_backend(), make_apirule(make_rule(path=path))]
    (host,) = translated(objects).routes["inbound|http||httpbin.test"]["virtual_hosts"]
    rules = host["typed_per_filter_config"]["envoy.filters.http.rbac"]["rbac"]["rules"]
    (policy,) = rules["policies"].values()
    *_others, paths = policy["permissions"][0]["and_rules"]["rules"]
    (found,) = paths["or_rules"]["rules"]

    assert (found["uri_template"]["typed_config"]["path_template"] if "uri_template" in found else found) == matcher


def test_headers_are_set_as_they_are_written() -> None:
    headers = first_route(
        request={"headers": {"X-B": "%DOWNSTREAM_PEER_SUBJECT% ", "X-A": "100%%", "X-C": "%REQ(x-c):3%"}}
    )["request_headers_to_add"]

    assert [(item["header"]["key"], item["header"]["value"]) for item in headers] == [
        ("X-A", "100%%"),
        ("X-B", "%DOWNSTREAM_PEER_SUBJECT% "),
        ("X-C", "%REQ(x-c):3%"),
        ("x-forwarded-host", HOST),
    ]
    assert {item["append_action"] for item in headers} == {"OVERWRITE_IF_EXISTS_OR_ADD"}


def test_a_rule_may_set_x_forwarded_host_itself() -> None:
    (header,) = first_route(request={"headers": {"x-forwarded-host": "a.test"}})["request_headers_to_add"]

    assert header["header"]["value"] == "a.test"


def test_a_rule_without_request_sets_x_forwarded_host_only() -> None:
    assert len(first_route(request=None)["request_headers_to_add"]) == 1


def test_cors_policies_are_those_of_the_apirule() -> None:
    policy = {
        "allowOrigins": [{"exact": "https://a"}, {"prefix": "https://b"}, {"regex": "c.*"}],
        "allowMethods": ["GET", "POST"],
        "allowHeaders": ["x-a"],
        "exposeHeaders": ["x-b"],
        "allowCredentials": True,
    }
    objects = [make_gateway(), *make_backend(), make_apirule(corsPolicy=policy)]
    cors = routes_of(objects)[HOST]["routes"][0]["typed_per_filter_config"]["envoy.filters.http.cors"]

    assert cors["allow_origin_string_match"] == [
        {"exact": "https://a"},
        {"prefix": "https://b"},
        {"safe_regex": {"regex": "c.*"}},
    ]
    assert (cors["allow_methods"], cors["allow_headers"], cors["expose_headers"]) == ("GET,POST", "x-a", "x-b")
    assert cors["allow_credentials"] is True
    assert "max_age" not in cors


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("unix:/run/x.sock", {"pipe": {"path": "/run/x.sock"}}),
        ("127.0.0.1:8000", {"socket_address": {"address": "127.0.0.1", "port_value": 8000}}),
        ("localhost:8000", {"socket_address": {"address": "127.0.0.1", "port_value": 8000}}),
        ("[::1]:8000", {"socket_address": {"address": "::1", "port_value": 8000}}),
    ],
)
def test_the_workload_is_where_its_process_is(address: str, expected: Json) -> None:
    configuration = translate(make_objects(), workloads={"test/httpbin": address}, settings=SETTINGS)
    cluster = configuration.clusters[-1]

    assert cluster["name"] == "inbound|http||httpbin.test"
    assert cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] == expected


@pytest.mark.parametrize("port", [{"targetPort": "web"}, {"targetPort": None}, {"targetPort": 81}, {"name": None}])
def test_the_target_port_may_be_a_number_a_name_or_missing(port: Json) -> None:
    objects = make_objects()
    next(item for item in objects if item["kind"] == "Service")["spec"]["ports"][0].update(port)

    assert translated(objects) == translated()


def test_a_second_port_of_the_service_is_left_alone() -> None:
    objects = make_objects()
    spec = next(item for item in objects if item["kind"] == "Service")["spec"]
    spec["ports"].insert(0, {"name": "tcp-other", "port": 9000, "protocol": "TCP"})
    spec.update(type="ClusterIP", clusterIP="10.0.0.1", sessionAffinity="None", internalTrafficPolicy="Cluster")

    assert translated(objects) == translated()


def test_the_default_service_account_needs_no_object() -> None:
    objects = [item for item in make_objects() if item["kind"] != "ServiceAccount"]
    pod = next(item for item in objects if item["kind"] == "Deployment")["spec"]["template"]
    del pod["spec"]["serviceAccountName"]
    pod["metadata"]["labels"]["sidecar.istio.io/inject"] = "true"

    assert translated(objects).mesh_identities[1] == "spiffe://cluster.local/ns/test/sa/default"


def test_a_long_name_gets_a_short_socket() -> None:
    long = "a-" + "very-" * 10 + "long-name"
    objects = [make_gateway(), *make_backend(long), make_apirule(service={"name": long, "port": 8000})]
    settings = dataclasses.replace(SETTINGS, sockets="/home/someone/with/a/rather/long/path/to/it")
    configuration = translate(objects, workloads={f"test/{long}": "unix:/x"}, settings=settings)
    path = configuration.listeners[-1]["address"]["pipe"]["path"]

    assert len(path) <= 103
    assert path.startswith(settings.sockets)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"address": "192.0.2.1"}, "loopback addresses only"),
        ({"address": "localhost"}, "loopback addresses only"),
        ({"directory": "here"}, "directory of the local Envoy must be an absolute path"),
        ({"sockets": "here"}, "sockets directory"),
        ({"sockets": "/" + "x" * 100}, "Choose a shorter directory"),
        ({"sockets": "/" + "x" * 88}, "Deployment test/httpbin: the socket path"),
        ({"ports": {443: 0}}, "not between 1 and 65535"),
        ({"ports": {443: 8443, 444: 8443}}, "each needs its own"),
        ({"ports": {}}, "there are local ports for none"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: Json, reason: str) -> None:
    with pytest.raises(MtlsError, match=reason):
        translated(settings=dataclasses.replace(SETTINGS, **change))


@pytest.mark.parametrize("name", ["kyma-mtls", "https.443.mtls.kyma-mtls-gateway.test", "mesh_ROOTCA"])
def test_names_that_are_safe_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a b", "../../etc", "x" * 200, "\u00e9"])
def test_other_names_become_safe_and_stay_unique(name: str) -> None:
    made = safe_name(name)

    assert "/" not in made
    assert not made.startswith(".")
    assert len(made) <= 128
    assert made != safe_name(name + "?")
