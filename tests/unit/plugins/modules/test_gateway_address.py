# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cluster's ingress gateway is found: load balancer, port of a node, or a forwarded port that proves it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.workload import Workload
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import ROOT

if t.TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, t.Any]
SERVICES, NODES, PODS = "services.", "nodes.", "pods."
PROGRAM = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
module = importlib.import_module(f"ansible_collections.kyma.mtls.plugins.modules.{sys.argv[1]}")
with patch_module_args(json.loads(sys.argv[2])):
    module.main()
"""


def run(module: str, **arguments: t.Any) -> Json:
    """The module's result, of a process of its own: what it leaves behind is left."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module, json.dumps(arguments)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".build/collections")},
    )  # fmt: skip
    assert done.stdout, done.stderr
    result: Json = json.loads(done.stdout)
    return result


class Place(t.NamedTuple):
    cluster: clusters.TestCluster

    def find(self, **options: t.Any) -> Json:
        # A forwarded port ends with its test.
        return run("gateway_address", kubeconfig=str(self.cluster.kubeconfig), port_forward_seconds=30, **options)

    def change_service(self, status: Json, *, node_port: int = 0) -> None:
        body = self.cluster.body(SERVICES, "istio-system", "istio-ingressgateway")
        body["status"] = status
        for port in body["spec"]["ports"]:
            if port["port"] == 443:
                port.update({"targetPort": 8443} | ({"nodePort": node_port} if node_port else {}))
        self.cluster.store.set(SERVICES, body)

    def has_node(self, *addresses: tuple[str, str]) -> None:
        listed = [{"type": kind, "address": address} for kind, address in addresses]
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}, "status": {"addresses": listed}}
        self.cluster.store.set(NODES, node)

    def has_pod(self, phase: str = "Running") -> None:
        metadata = {"name": "gateway-1", "namespace": "istio-system", "labels": {"app": "istio-ingressgateway"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": phase}}
        self.cluster.store.set(PODS, pod)


@pytest.fixture
def place(tmp_path: Path) -> t.Iterator[Place]:
    with clusters.cluster(tmp_path) as cluster:
        cluster.double.parts = ()
        cluster.install_istio()
        made = Place(cluster)
        made.change_service({"loadBalancer": {}})
        yield made


@pytest.fixture
def gateway() -> t.Iterator[int]:
    """A server that answers, and resets the connection of who says so."""

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1000):
                connection.sendall(data.upper())
                if data == b"refused":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("ingress", "address"),
    [
        ({"hostname": "gateway.example.com"}, "gateway.example.com:443"),
        ({"ip": "192.0.2.1"}, "192.0.2.1:443"),
        ({"ip": "2001:db8::1"}, "[2001:db8::1]:443"),
    ],
)
def test_the_load_balancers_address_is_taken_first(place: Place, ingress: Json, address: str) -> None:
    place.change_service({"loadBalancer": {"ingress": [ingress]}}, node_port=30443)
    found = place.find(port_forward=True)
    assert (found["connect_to"], found["way"]) == (address, "load_balancer")


def test_without_one_it_is_a_port_of_a_node_that_answers(place: Place, gateway: int) -> None:
    place.change_service({"loadBalancer": {}}, node_port=gateway)
    place.has_node(("Hostname", "localhost"), ("InternalIP", "127.0.0.1"), ("ExternalIP", "127.255.255.254"))
    found = place.find(port_forward=True)
    assert (found["connect_to"], found["way"]) == (f"127.0.0.1:{gateway}", "node_port")


def said(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(1000)


def test_a_forwarded_connection_that_is_reset_ends_alone(place: Place, gateway: int) -> None:
    place.cluster.double.mishaps.gateway_at = f"127.0.0.1:{gateway}"
    place.has_pod("Pending")
    assert "no running pod" in place.find(port_forward=True)["msg"]
    place.has_pod()
    found = place.find(port_forward=True)
    assert found["way"] == "port_forward"
    host, _colon, port = found["connect_to"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as good:
        assert said(good, b"hello") == b"HELLO"
        with socket.create_connection((host, int(port)), timeout=20) as bad:
            # What the gateway says before it resets arrives: the alert, which is the proof.
            assert said(bad, b"refused") == b"REFUSED"
            assert bad.recv(1000) == b""
        assert said(good, b"still here" * 20000)[:10] == b"STILL HERE"
    with socket.create_connection((host, int(port)), timeout=20) as later:
        assert said(later, b"hello") == b"HELLO"


def test_a_forwarded_port_carries_a_whole_verification(place: Place, tmp_path: Path) -> None:
    if real.find("nginx") is None:
        pytest.skip("nginx is not installed")
    pki = pki_module.make_pki(tmp_path / "pki")
    workload = Workload()
    server = real.start("nginx", pki, tmp_path / "nginx", workload.port, real.Setting())
    try:
        place.cluster.double.mishaps.gateway_at = server.address
        place.has_pod()
        found = place.find(port_forward=True)
        result = run(
            "mtls_verify",
            url=f"https://{pki_module.HOST}/headers",
            connect_to=found["connect_to"],
            ca=[pki.server_ca.crt],
            client_cert=pki.client.crt,
            client_key=pki.client.key_file,
            client_ca_cert=[pki.client_ca.crt],
            client_ca_key=pki.client_ca.key_file,
            identity_headers=real.KINDS["nginx"].headers,
            fail_on="never",
        )
    finally:
        server.stop()
        workload.stop()
    assert result["verdict"] == "passed", [
        one for one in result["checks"] if one["outcome"] not in ("passed", "skipped")
    ]


def test_a_port_that_another_program_has_is_not_taken_for_the_cluster(place: Place, gateway: int) -> None:
    place.cluster.double.mishaps.gateway_at = f"127.0.0.1:{gateway}"
    place.has_pod()
    found = place.find(port_forward=True, forwarded_port=gateway)
    assert f"Port {gateway} of 127.0.0.1 cannot be listened on" in found["msg"]
    assert "gateway_forwarded_port; 0 is a free one" in found["msg"]


def test_what_may_not_be_forwarded_is_told_in_the_servers_words(place: Place) -> None:
    place.has_pod()
    place.cluster.double.mishaps.forbidden = ["get pods/portforward"]
    assert "No port of Pod istio-system/gateway-1 can be forwarded: " in place.find(port_forward=True)["msg"]
    assert "403" in place.find(port_forward=True)["msg"]


def test_an_address_that_nobody_may_forward_is_none(place: Place) -> None:
    place.has_pod()
    for options in ({}, {"port_forward": True, "_ansible_check_mode": True}):
        found = place.find(**options)
        assert (found["connect_to"], found["way"], found["changed"]) == ("", "none", False)


def test_a_cluster_without_istio_is_told(place: Place) -> None:
    place.cluster.store.drop(SERVICES, "istio-system", "istio-ingressgateway")
    assert "Istio is not installed" in place.find(port_forward=True)["msg"]
    assert "no port 8443" not in place.find()["msg"]


def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with clusters.cluster(tmp_path) as cluster:
        place = Place(cluster)
    assert "does not answer" in place.find(port_forward=True)["msg"]
