# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module against an API server's double."""

from __future__ import annotations

import http.server
import os
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.cluster import Cluster
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.server import Server
from ansible_collections.kyma.mtls.tests.servers.threads import serving
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import Host, Result

SECRETS = {"resource": "secrets", "namespace": "istio-system", "verbs": ["get", "create", "patch"]}
GATEWAYS = {"group": "networking.istio.io", "resource": "gateways", "namespace": "test", "verbs": ["get", "patch"]}


class Place(t.NamedTuple):
    server: Server
    host: Host
    kubeconfig: str

    def run(self, **options: t.Any) -> Result:
        return self.host.run("kubernetes_access", **{"name": None, "kubeconfig": self.kubeconfig, **options})


@pytest.fixture
def place(tmp_path):
    cluster = Cluster(kubernetes="v1.33.7")
    for stored, body in manifests.a_cluster_has("v1.33.7"):
        cluster.store.set(stored, body)
    server = Server(cluster, 0)
    with server.running():
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(server.kubeconfig()), encoding="utf-8")
        yield Place(server, Host(tmp_path), str(path))


def test_a_usable_cluster_is_described_and_left_as_it_is(place):
    result = place.run(minimum_version="1.30", recommended_version="1.32", permissions=[SECRETS, GATEWAYS])
    assert result["changed"] is False
    assert result["version"].startswith("v1.33")
    assert "nodes" not in result
    assert not result.get("warnings")
    assert set(place.server.cluster.requests) <= {"GET", "POST"}
    posted = [one for one in place.server.cluster.log if one.startswith("POST")]
    assert posted == ["POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews"] * 2


def test_rights_on_the_whole_cluster_are_asked_for_at_once(place):
    namespaces = {"resource": "namespaces", "verbs": ["get", "create", "patch"]}
    nodes = {"resource": "nodes", "verbs": ["list"]}
    place.server.cluster.mishaps.rules = [{"resource": "namespaces", "verbs": ["get", "create"]}, {**SECRETS}, nodes]
    result = place.run(permissions=[SECRETS, namespaces, nodes])
    assert result["denied"] == ["patch namespaces"]
    posted = [one.rpartition("/")[2] for one in place.server.cluster.log if one.startswith("POST")]
    assert posted == ["selfsubjectrulesreviews"] * 2


def test_a_right_in_one_namespace_is_none_on_the_whole_cluster(place):
    place.server.cluster.mishaps.rules = [SECRETS]
    everywhere = {key: value for key, value in SECRETS.items() if key != "namespace"}
    assert place.run(permissions=[SECRETS])["changed"] is False
    assert place.run(permissions=[SECRETS, everywhere])["denied"] == ["get secrets", "create secrets", "patch secrets"]


def test_a_right_that_is_given_for_names_is_enough_for_these(place):
    deployments = {"group": "apps", "resource": "deployments", "namespace": "istio-system", "verbs": ["get"]}
    place.server.cluster.mishaps.rules = [{**deployments, "names": ["istiod"]}]
    assert place.run(permissions=[{**deployments, "names": ["istiod"]}])["changed"] is False
    result = place.run(permissions=[{**deployments, "names": ["istiod", "other"]}])
    assert result["denied"] == ["get deployments.apps other in istio-system"]
    assert place.run(permissions=[deployments])["denied"] == ["get deployments.apps in istio-system"]


@pytest.mark.parametrize("allowed", [True, False])
def test_where_a_review_of_rules_is_incomplete_each_right_is_asked_for(place, allowed):
    place.server.cluster.mishaps.rules = [SECRETS, *([GATEWAYS] if allowed else [])]
    place.server.cluster.mishaps.rules_incomplete = True
    result = place.run(permissions=[SECRETS, GATEWAYS])
    assert bool(result.get("denied")) is not allowed


def test_where_it_is_incomplete_rights_on_the_whole_cluster_are_asked_for_one_by_one(place):
    namespaces = {"resource": "namespaces", "verbs": ["get", "create"]}
    place.server.cluster.mishaps.rules = [{"resource": "namespaces", "verbs": ["get"]}]
    place.server.cluster.mishaps.rules_incomplete = True
    assert place.run(permissions=[namespaces])["denied"] == ["create namespaces"]
    posted = [one.rpartition("/")[2] for one in place.server.cluster.log if one.startswith("POST")]
    assert posted == ["selfsubjectrulesreviews", "selfsubjectaccessreviews", "selfsubjectaccessreviews"]


def test_everything_that_is_not_allowed_is_named(place):
    place.server.cluster.mishaps.forbidden = ["patch secrets", "patch gateways"]
    result = place.run(permissions=[SECRETS, GATEWAYS])
    assert result["denied"] == ["patch secrets in istio-system", "patch gateways.networking.istio.io in test"]
    assert "may not: patch secrets in istio-system, patch gateways" in result["msg"]


def test_an_old_cluster_is_refused(place):
    result = place.run(minimum_version="1.34")
    assert "Kubernetes v1.33" in result["msg"]
    assert "1.34 or later is needed" in result["msg"]


def test_a_version_below_the_recommended_one_is_a_warning(place):
    assert "Istio is tested with 1.34" in place.run(recommended_version="1.34").words


def test_a_version_that_is_none_is_told(place):
    assert "'new' is not a version of Kubernetes" in place.run(minimum_version="new")["msg"]


def test_ready_nodes_and_dns_are_awaited(place):
    result = place.run(nodes=1, dns=True, wait_timeout=30)
    assert result["nodes"] == 1


def test_a_node_that_is_not_ready_is_named_in_the_end(place):
    node = place.server.cluster.store.peek("nodes.", "", "k3d-kyma-server-0")
    node["status"]["conditions"][0]["status"] = "False"
    place.server.cluster.store.set("nodes.", node)
    result = place.run(nodes=2, wait_timeout=0)
    assert "not ready after 0 seconds: 0 of 2 nodes are ready (not k3d-kyma-server-0)" in result["msg"]


def test_a_traefik_that_was_not_disabled_is_a_warning(place):
    named = {"name": "traefik", "namespace": "kube-system"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": named, "spec": {"type": "LoadBalancer"}}
    place.server.cluster.store.set("services.", service)
    assert "--disable=traefik" in place.run().words


@pytest.mark.parametrize("nodes", [0, 1])
def test_an_api_server_that_does_not_answer_is_told(place, nodes):
    place.server.shutdown()
    place.server.server_close()
    result = place.run(nodes=nodes, wait_timeout=0)
    assert "does not answer" in result["msg"]


@pytest.mark.parametrize("nodes", [0, 1])
@pytest.mark.parametrize("answer", ["<html>Welcome</html>", "", "{}", "[1]", '"yes"', "12", '{"gitVersion": 1}'])
def test_a_server_that_is_no_kubernetes_is_told(place, nodes, answer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, _format: str, *_arguments: object) -> None:
            pass

    def web_server() -> http.server.ThreadingHTTPServer:
        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    kubeconfig = yaml.safe_load(Path(place.kubeconfig).read_text(encoding="utf-8"))
    server = web_server()
    with serving(server):
        kubeconfig["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
        Path(place.kubeconfig).write_text(yaml.safe_dump(kubeconfig), encoding="utf-8")
        result = place.run(nodes=nodes, wait_timeout=0)
    told = f"The server of {place.kubeconfig} answers, but not as a Kubernetes API. Check server in the kubeconfig."
    assert result["msg"] == told


def test_a_context_that_is_not_there_is_told(place):
    assert "no usable connection" in place.run(context="production")["msg"]


NO_KUBECONFIGS = {
    "a tab": b"apiVersion:\t- v1",
    "a bracket": b"{",
    "bytes": bytes(range(128, 256)),
    "a null byte": b"a: \0b",
    "too deep": b"[" * 1000,
    "a tag": b"!!python/object:os.system x",
    "no date": b"since: 2026-99-99",
    "a list": b"- a",
    "a number": b"5",
    "words": b"hello",
    "nothing": b"",
    "a server that is a number": b"clusters: [{name: c, cluster: {server: 5}}]\n"
    b"contexts: [{name: x, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\ncurrent-context: x\n",
    "a context that is a number": b"clusters: []\ncontexts: [5]\nusers: []\ncurrent-context: x\n",
}


@pytest.mark.parametrize("what", NO_KUBECONFIGS)
def test_what_is_no_kubeconfig_is_refused_by_name(what, place):
    Path(place.kubeconfig).write_bytes(NO_KUBECONFIGS[what])
    result = place.run()
    assert result["failed"]
    assert "There is no usable connection to a cluster" in result["msg"]
    assert place.kubeconfig in result["msg"]
    assert not place.server.cluster.log


def test_a_named_pipe_is_no_kubeconfig_and_is_not_waited_for(place):
    Path(place.kubeconfig).unlink()
    os.mkfifo(place.kubeconfig)
    assert f"The kubeconfig {place.kubeconfig} is not a regular file" in place.run()["msg"]
