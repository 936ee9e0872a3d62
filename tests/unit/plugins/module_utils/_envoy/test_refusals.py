# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the translation refuses, by object, field and reason."""

from __future__ import annotations

import copy
import re
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import translate
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    SETTINGS,
    WORKLOADS,
    Json,
    make_apirule,
    make_backend,
    make_deployment,
    make_gateway,
    make_namespace,
    make_objects,
    make_rule,
    make_server,
    make_service,
)

REMOVED = object()
GATEWAY, APIRULE = "Gateway test/kyma-mtls-gateway", "APIRule test/httpbin-mtls"
SERVICE, DEPLOYMENT = "Service test/httpbin", "Deployment test/httpbin"


def changed(owner: str, path: str, value: t.Any) -> list[Json]:
    """The tutorial's objects with one field of one of them changed."""
    objects = copy.deepcopy(make_objects())
    kind, _blank, name = owner.partition(" ")
    target: t.Any = next(item for item in objects if item["kind"] == kind and name.endswith(item["metadata"]["name"]))
    *steps, last = [int(step) if step.isdigit() else step for step in re.split(r"[.\[\]]+", path.rstrip("]"))]
    for step in steps:
        target = target[step]
    if value is REMOVED:
        del target[last]
    elif isinstance(last, int) and last == len(target):
        target.append(value)
    else:
        target[last] = value
    return objects


def refusal(objects: t.Sequence[t.Any], **how: t.Any) -> str:
    """The words with which ``objects`` are refused."""
    with pytest.raises(MtlsError) as caught:
        translate(objects, **{"workloads": WORKLOADS, "settings": SETTINGS, **how})
    return str(caught.value)


SERVER = "spec.servers[0]"
TLS = f"{SERVER}.tls"
RULE = "spec.rules[0]"
HEADERS = f"{RULE}.request.headers"


@pytest.mark.parametrize(
    ("owner", "path", "value", "reason"),
    [
        (GATEWAY, "spec.selector.app", "other", "selects no gateway"),
        (GATEWAY, "spec.surprise", 1, "unknown"),
        (GATEWAY, "spec.servers", [], "at least 1"),
        (GATEWAY, "spec.servers", "text", "must be a list"),
        (GATEWAY, SERVER, "text", "must be a mapping"),
        (GATEWAY, f"{SERVER}.bind", "192.0.2.1", "loopback"),
        (GATEWAY, f"{SERVER}.defaultEndpoint", "x", "not honoured"),
        (GATEWAY, f"{SERVER}.port.number", "443", "must be an integer"),
        (GATEWAY, f"{SERVER}.port.number", True, "must be an integer"),
        (GATEWAY, f"{SERVER}.port.number", 0, "is not between"),
        (GATEWAY, f"{SERVER}.port.targetPort", 8443, "no effect"),
        (GATEWAY, f"{SERVER}.port.protocol", "TLS", "serves HTTPS and HTTP"),
        (GATEWAY, f"{SERVER}.port.protocol", "HTTP2", "serves HTTPS and HTTP"),
        (GATEWAY, f"{SERVER}.port.protocol", "CARRIER-PIGEON", "is not one of"),
        (GATEWAY, f"{SERVER}.port.name", "", "must not be empty"),
        (GATEWAY, f"{SERVER}.hosts[0]", "not a host", "not a DNS name"),
        (GATEWAY, f"{SERVER}.hosts[0]", "Not_Namespace/a.test", "not a namespace"),
        (GATEWAY, f"{SERVER}.hosts[0]", "*a.test", "not a DNS name"),
        (GATEWAY, f"{TLS}.mode", "PASSTHROUGH", "terminates TLS"),
        (GATEWAY, f"{TLS}.mode", "ISTIO_MUTUAL", "inside a mesh"),
        (GATEWAY, f"{TLS}.mode", "mutual", "is not one of"),
        (GATEWAY, f"{TLS}.serverCertificate", "/etc/cert", "credentialName"),
        (GATEWAY, f"{TLS}.caCrl", "/etc/crl", "into the secret"),
        (GATEWAY, f"{TLS}.httpsRedirect", True, "only servers of protocol HTTP"),
        (GATEWAY, f"{TLS}.httpsRedirect", "yes", "true or false"),
        (GATEWAY, f"{TLS}.credentialName", "sds://other", "name of a Secret"),
        (GATEWAY, f"{TLS}.credentialNames", ["a"], "only one of"),
        (GATEWAY, f"{TLS}.caCertCredentialName", "clients", "-cacert"),
        (GATEWAY, f"{TLS}.caCertCredentialName", "configmap://clients-cacert", "name of a Secret"),
        (GATEWAY, f"{TLS}.minProtocolVersion", "TLSv1.2", "is not one of"),
        (GATEWAY, f"{TLS}.maxProtocolVersion", "TLSV1_1", "no client could connect"),
        (GATEWAY, f"{TLS}.cipherSuites", ["RC4"], "is not one of"),
        (GATEWAY, f"{TLS}.cipherSuites", ["DES-CBC3-SHA"], "Envoy has no such"),
        (GATEWAY, f"{TLS}.cipherSuites", ["TLS_AES_128_GCM_SHA256"], "TLS 1.3"),
        (GATEWAY, f"{TLS}.cipherSuites", ["AES128-SHA", "AES128-SHA"], "twice"),
        (GATEWAY, f"{TLS}.verifyCertificateSpki", ["00"], "SHA-256"),
        (GATEWAY, f"{TLS}.verifyCertificateHash", ["00"], "SHA-256"),
        (APIRULE, "spec.surprise", 1, "unknown"),
        (APIRULE, "spec.gateway", "test/other", "Could not get specified Gateway"),
        (APIRULE, "spec.gateway", "kyma-mtls-gateway", "namespace/name format"),
        (APIRULE, "spec.externalGateway", "test/x", "no ExternalGateway"),
        (APIRULE, "spec.hosts[0]", "Httpbin.test", "lower case"),
        (APIRULE, "spec.hosts[0]", "httpbin", "needs the whole name"),
        (APIRULE, "spec.hosts[0]", "httpbin.example.org", "not exposed by Gateway"),
        (APIRULE, "spec.timeout", 3901, "is not between"),
        (APIRULE, "spec.rules", [], "at least 1"),
        (APIRULE, f"{RULE}.jwt", {"authentications": []}, "One of the following fields must be set"),
        (APIRULE, f"{RULE}.extAuth", {"authorizers": ["x"]}, "no authorizer of others"),
        (APIRULE, f"{RULE}.methods", [], "at least 1"),
        (APIRULE, f"{RULE}.methods[0]", "get", "is not one of"),
        (APIRULE, f"{RULE}.path", "nowhere", "a path as APIRules have it"),
        (APIRULE, f"{RULE}.path", "/a*", "a path as APIRules have it"),
        (APIRULE, f"{RULE}.path", "/{**}/a/{**}", "Only one {**}"),
        (APIRULE, f"{RULE}.path", "/{**}/a/{*}", "must be the last operator"),
        (APIRULE, f"{RULE}.path", "/a(b", "regular expression"),
        (APIRULE, f"{RULE}.path", "/a++", "regular expression"),
        (APIRULE, f"{RULE}.timeout", 0, "is not between"),
        (APIRULE, f"{RULE}.request.body", {}, "unknown"),
        (APIRULE, f"{HEADERS}.bad name", "x", "not the name of an HTTP header"),
        (APIRULE, f"{HEADERS}.x-client-ssl-cn", "x", "twice"),
        (APIRULE, f"{HEADERS}.X-Forwarded-Host", "x", "in lower case"),
        (APIRULE, f"{HEADERS}.Host", "x", "cannot be set"),
        (APIRULE, f"{HEADERS}.X-A", 1, "must be a text"),
        (APIRULE, f"{HEADERS}.X-A", "100%", "Write %% for a percent sign"),
        (APIRULE, f"{HEADERS}.X-A", "%NO_SUCH_THING%", "no operator %NO_SUCH_THING%"),
        (APIRULE, f"{HEADERS}.X-A", "%REQ%", "needs an argument"),
        (APIRULE, f"{HEADERS}.X-A", "%REQ()%", "needs an argument"),
        (APIRULE, f"{HEADERS}.X-A", "%DOWNSTREAM_PEER_SUBJECT(x)%", "takes no argument"),
        (APIRULE, f"{HEADERS}.X-A", "%DOWNSTREAM_PEER_SUBJECT:3%", "takes no length"),
        (APIRULE, f"{HEADERS}.X-A", "a\nb", "control character"),
        (APIRULE, f"{RULE}.request.cookies", {"a": "1"}, "set the header Cookie"),
        (APIRULE, "spec.service.external", True, "given objects only"),
        (APIRULE, "spec.service.name", "other", 'services "other" not found'),
        (APIRULE, "spec.service.namespace", "far", 'services "httpbin" not found'),
        (APIRULE, "spec.service.port", 8001, "has no port 8001"),
        (APIRULE, "spec.corsPolicy", {}, "without allowOrigins"),
        (APIRULE, "spec.corsPolicy", {"allowOrigins": []}, "without allowOrigins"),
        (APIRULE, "spec.corsPolicy", {"allowOrigins": [{"suffix": "x"}]}, "exactly one of"),
        (APIRULE, "spec.corsPolicy", {"allowOrigins": [{"exact": "x", "prefix": "y"}]}, "exactly one of"),
        (APIRULE, "spec.corsPolicy", {"allowOrigins": [{"regex": "("}]}, "is not a regular expression"),
        (SERVICE, "spec.type", "ExternalName", "is not one of"),
        (SERVICE, "spec.externalName", "x", "unknown"),
        (SERVICE, "spec.selector", {}, "Target service label selectors are not defined"),
        (SERVICE, "spec.selector.app", "nothing", "selects no Deployment"),
        (SERVICE, "spec.ports[1]", {"port": 9000, "surprise": 1}, "unknown"),
        (SERVICE, "spec.sessionAffinity", "ClientIP", "is not one of"),
        (SERVICE, "spec.ports[0].protocol", "UDP", "is not one of"),
        (SERVICE, "spec.ports[0].name", "grpc-api", "HTTP/1.1"),
        (SERVICE, "spec.ports[0].appProtocol", "kubernetes.io/h2c", "HTTP/1.1"),
        (SERVICE, "spec.ports[0].targetPort", "nobody", "no container"),
        (DEPLOYMENT, "spec.template.spec.serviceAccountName", "nobody", "no ServiceAccount test/nobody"),
        (DEPLOYMENT, "spec.replicas", 0, "cannot answer"),
        (DEPLOYMENT, "spec.template", None, "is required"),
    ],
)
def test_a_field_is_refused_with_its_place_and_the_reason(owner: str, path: str, value: t.Any, reason: str) -> None:
    message = refusal(changed(owner, path, value))

    assert owner.split(" ")[1] in message
    assert reason in message


@pytest.mark.parametrize(
    ("owner", "path", "reason"),
    [
        (GATEWAY, "spec", "spec is required"),
        (GATEWAY, f"{SERVER}.hosts", "hosts is required"),
        (GATEWAY, TLS, "needs tls settings"),
        (GATEWAY, f"{TLS}.mode", "mode is required"),
        (GATEWAY, f"{TLS}.credentialName", "credentialName is required"),
        (APIRULE, "spec.gateway", "Either gateway or externalGateway must be specified"),
        (APIRULE, "spec.service", "no service is defined on spec level"),
        (APIRULE, f"{RULE}.noAuth", "One of the following fields must be set: noAuth, jwt, extAuth"),
        (APIRULE, f"{RULE}.path", "path is required"),
        (SERVICE, "spec.selector", "Target service label selectors are not defined"),
        (DEPLOYMENT, "spec", "is required"),
    ],
)
def test_a_missing_field_is_named(owner: str, path: str, reason: str) -> None:
    message = refusal(changed(owner, path, REMOVED))

    assert message.startswith(owner)
    assert reason in message


def test_the_place_of_a_refusal_is_machine_readable() -> None:
    with pytest.raises(MtlsError) as caught:
        translate(changed(APIRULE, f"{RULE}.extAuth", {}), workloads=WORKLOADS, settings=SETTINGS)

    assert caught.value.details == {"object": APIRULE, "field": "spec.rules[0].extAuth"}


@pytest.mark.parametrize(
    ("jwt", "key_sets", "reason"),
    [
        ({"authentications": []}, {}, "at least 1"),
        ({"authentications": [{"issuer": "a"}]}, {}, "jwksUri is required"),
        ({"authentications": [{"issuer": "a", "jwksUri": "keys"}]}, {}, "is not a valid URI"),
        ({"authentications": [{"issuer": "a:b", "jwksUri": "https://a/k"}]}, {}, "is not a valid URI"),
        (
            {"authentications": [{"issuer": "a", "jwksUri": "https://a/k", "fromHeaders": []}]},
            {},
            "Authorization: Bearer",
        ),
        ({"authentications": [{"issuer": "a", "jwksUri": "https://a/k"}]}, {}, "downloads nothing"),
        (
            {"authentications": [{"issuer": "a", "jwksUri": "https://a/k"}]},
            {"https://a/k": "[]"},
            "are not a JSON Web Key Set",
        ),
        (
            {"authentications": [{"issuer": "a", "jwksUri": "https://a/k"}]},
            {"https://a/k": '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'},
            "are secret ones",
        ),
    ],
)
def test_a_token_check_that_cannot_work_is_refused_by_name(
    jwt: dict[str, t.Any], key_sets: dict[str, str], reason: str
) -> None:
    objects = changed(APIRULE, f"{RULE}.jwt", jwt)
    for one in objects:
        for rule in one["spec"]["rules"] if one["kind"] == "APIRule" else ():
            del rule["noAuth"]
    with pytest.raises(MtlsError, match=reason) as caught:
        translate(objects, workloads=WORKLOADS, settings=SETTINGS, key_sets=key_sets)

    assert str(caught.value).startswith(f"{APIRULE}, field spec.rules[0].jwt")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("text", "Object 0: must be a mapping"),
        ({"kind": "Gateway"}, "field apiVersion: must be a text"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": []}, "metadata: must be a mapping"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {}}, "Service at position 0, field metadata.name"),
        (
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "A"}},
            "a Kubernetes namespace",
        ),
        (
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}},
            "Secret default/a: the local translation does not support",
        ),
        ({"apiVersion": "v2", "kind": "Service", "metadata": {"name": "a"}}, "v2 is not one of v1"),
        (
            {"apiVersion": "gateway.kyma-project.io/v1beta1", "kind": "APIRule", "metadata": {"name": "a"}},
            "is not one of gateway.kyma-project.io/v2",
        ),
    ],
)
def test_what_is_no_known_object_is_refused(item: t.Any, reason: str) -> None:
    assert reason in refusal([item])


def test_an_object_that_is_given_twice_is_refused() -> None:
    assert refusal([make_gateway(), make_gateway()]) == f"{GATEWAY} is given twice."


PLAIN = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"], "tls": {"httpsRedirect": True}}
OTHER_PORT = {**make_server(), "port": {"number": 8443, "name": "mtls", "protocol": "HTTPS"}}


@pytest.mark.parametrize(
    ("gateways", "reason"),
    [
        ([make_gateway(make_server("a.test"), make_server("b.test"))], "a second server with the port name 'mtls'"),
        ([make_gateway(make_server("a.test", "a.test"))], "a.test twice"),
        (
            [make_gateway(make_server("a.test")), make_gateway(make_server("a.test"), name="other")],
            "Gateway test/other, field spec.servers[0].hosts: a.test on port 443 is already served by "
            "Gateway test/kyma-mtls-gateway",
        ),
        (
            [make_gateway(make_server("one/a.test"), make_server("two/a.test", name="second"))],
            "a.test on port 443 is already served",
        ),
        ([make_gateway({**PLAIN, "tls": {"mode": "SIMPLE"}})], "field spec.servers[0].tls.mode: is unknown"),
        ([make_gateway(OTHER_PORT)], "port 8443 has no local port; there are local ports for 443"),
        ([make_gateway(make_server(mode="SIMPLE", subjectAltNames=["x"]))], "needs the mode MUTUAL"),
        ([make_gateway(make_server(mode="SIMPLE", caCertCredentialName="x-cacert"))], "needs the mode MUTUAL"),
        ([make_gateway(make_server(minProtocolVersion="TLSV1_3", maxProtocolVersion="TLSV1_2"))], "below the minimum"),
        ([make_gateway(make_server(credentialName=None, credentialNames=["a", "a"]))], "same secret twice"),
        ([make_gateway(make_server(credentialName=None, credentialNames=["a", "b", "c"]))], "two secrets at most"),
    ],
)
def test_gateways_in_conflict_are_refused(gateways: list[Json], reason: str) -> None:
    assert reason in refusal(gateways)


@pytest.mark.parametrize(
    ("paths", "conflict"),
    [
        (["/*", "/a"], True),
        (["/{**}", "/a/b"], True),
        (["/a", "/a"], True),
        (["/a/{*}", "/a/b"], True),
        (["/a/{**}", "/a/b/c"], True),
        (["/a/{**}/z", "/a/b/z"], True),
        (["/a/{**}/z", "/a/b/y"], False),
        (["/a/{**}", "/a"], False),
        (["/a/b", "/a/{*}"], False),
        (["/a", "/a/b"], False),
        (["/a/b", "/a"], False),
        (["/a/{**}", "/{**}"], False),
    ],
)
def test_a_rule_that_an_earlier_one_takes_is_refused(paths: list[str], conflict: bool) -> None:
    objects = [make_gateway(), *make_backend(), make_apirule(*(make_rule(path=path) for path in paths))]

    if conflict:
        assert f"Path {paths[1]} with method GET conflicts with at least one of the previous" in refusal(objects)
    else:
        assert translate(objects, workloads=WORKLOADS, settings=SETTINGS)


def test_rules_of_different_methods_do_not_conflict() -> None:
    rules = (make_rule(methods=["GET"]), make_rule(methods=["POST"]))

    assert translate([make_gateway(), *make_backend(), make_apirule(*rules)], workloads=WORKLOADS, settings=SETTINGS)


def test_a_host_of_another_apirule_is_refused() -> None:
    message = refusal([*make_objects(), make_apirule(name="other")])

    assert message.startswith("APIRule test/other, field spec.hosts[0]: Host is occupied by another Virtual Service")


def test_an_apirule_has_one_host() -> None:
    assert "exactly one host" in refusal(changed(APIRULE, "spec.hosts[1]", "b.mtls.local.kyma.dev"))


def test_a_host_of_another_namespace_is_not_exposed() -> None:
    message = refusal([make_gateway(make_server("far/*.mtls.local.kyma.dev")), *make_backend(), make_apirule()])

    assert "whose hosts are far/*.mtls.local.kyma.dev" in message


@pytest.mark.parametrize(
    ("labels", "own", "accepted"),
    [
        ({"istio-injection": "enabled"}, None, True),
        ({"istio-injection": "enabled"}, "false", False),
        ({"istio-injection": "disabled"}, "true", False),
        ({"istio.io/rev": "default"}, None, True),
        ({}, "true", True),
        ({}, None, False),
    ],
)
def test_the_sidecar_is_injected_where_istio_would(labels: dict[str, str], own: str | None, accepted: bool) -> None:
    objects = [make_namespace(**labels), *make_objects()[1:]]
    pod = next(item for item in objects if item["kind"] == "Deployment")["spec"]["template"]["metadata"]
    pod["labels"] = {"app": "httpbin", "sidecar.istio.io/inject": own}

    if accepted:
        assert translate(objects, workloads=WORKLOADS, settings=SETTINGS)
    else:
        assert "do not have an injected istio sidecar" in refusal(objects)


def test_two_deployments_behind_one_service_are_refused() -> None:
    twin = make_deployment("twin")
    twin["spec"]["template"]["metadata"]["labels"] = {"app": "httpbin"}

    assert "selects test/httpbin, test/twin" in refusal([*make_objects(), twin])


def test_a_workload_with_two_ports_is_refused() -> None:
    second = make_service("second", targetPort=81)
    second["spec"]["selector"] = {"app": "httpbin"}
    rule = make_rule(path="/second", service={"name": "second", "port": 8000})
    objects = [make_gateway(), *make_backend(), second, make_apirule(rule, make_rule())]

    assert "has one address" in refusal(objects)


@pytest.mark.parametrize(
    ("workloads", "reason"),
    [
        ({}, "no local process plays this Deployment. Known are: none"),
        ({"test/other": "unix:/x"}, "Known are: test/other"),
        ({"test/httpbin": "http://x"}, "is not one of unix:/path, 127.0.0.1:port"),
        ({"test/httpbin": "127.0.0.1:70000"}, "is not one of unix:/path"),
        ({"test/httpbin": "0.0.0.0:80"}, "is another machine"),
    ],
)
def test_a_deployment_needs_a_local_process(workloads: dict[str, str], reason: str) -> None:
    assert reason in refusal(make_objects(), workloads=workloads)
