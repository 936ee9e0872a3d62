# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the verification finds a cluster's ingress gateway: k3d's port, the load balancer, or a forwarded port."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import ROOT

if t.TYPE_CHECKING:
    from pathlib import Path

SERVICE = "services."
PORT = 20944
# As kubectl port-forward: it says where it listens, and listens as long as it runs.
FORWARDS = f"""#!{sys.executable} -IS
import socket, sys
assert "service/istio-ingressgateway" in sys.argv, sys.argv
port, _, remote = sys.argv[-1].partition(":")
assert remote == "443", sys.argv
try:
    server = socket.create_server(("127.0.0.1", int(port)))
except OSError:
    print("Unable to listen on port " + port + ": address already in use", file=sys.stderr)
    sys.exit("error: unable to listen on any of the requested ports: [{{" + port + " 8443}}]")
print("Forwarding from 127.0.0.1:" + str(server.getsockname()[1]) + " -> 8443", flush=True)
server.settimeout(20)
server.accept()[0].sendall(sys.argv[1].encode())
"""
FAILS = """#!/bin/sh
echo 'Unhandled error' >&2
echo 'error: unable to forward port because pod is not running. Current status=Pending' >&2
exit 1
"""


class Place(t.NamedTuple):
    cluster: clusters.TestCluster
    directory: Path

    def kubectl(self, text: str) -> None:
        program = self.directory / "bin" / "kubectl"
        program.parent.mkdir()
        program.write_text(text)
        program.chmod(0o755)

    def find(self, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        """Look for the address and print it."""
        role = {"name": "kyma.mtls.gateway", "tasks_from": "address"}
        tasks = [
            {"name": "Address", "ansible.builtin.include_role": role},
            {"name": "Told", "ansible.builtin.debug": {"msg": "at={{ gateway_connect_to }}="}},
        ]
        playbook = self.directory / "play.json"
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "gateway_platform": "kubernetes",
            "gateway_kubeconfig": str(self.cluster.kubeconfig),
            "gateway_forwarded_port": PORT,
            "gateway_port_forward_seconds": 20,
            "gateway_port_forward_timeout": 4,
            **variables,
        }
        environment = {
            **os.environ,
            "ANSIBLE_ASYNC_DIR": str(self.directory / "jobs"),
            "PATH": f"{self.directory}/bin:/usr/bin:/bin",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        }
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-e", json.dumps(given), str(playbook)],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def without_load_balancer(self) -> None:
        body = self.cluster.body(SERVICE, "istio-system", "istio-ingressgateway")
        body["status"] = {"loadBalancer": {}}
        self.cluster.store.set(SERVICE, body)


def reached(port: int) -> str:
    """Return for which kubeconfig the connection behind ``port`` was made, and end it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        return connection.recv(1000).decode()


@pytest.fixture
def place(tmp_path):
    with clusters.cluster(tmp_path) as cluster:
        cluster.double.parts = ()
        cluster.install_istio()
        yield Place(cluster, tmp_path)


def test_on_k3d_it_is_the_port_of_this_host(place):
    assert "at=127.0.0.1:8443=" in place.find(gateway_platform="k3d", cluster_https_port=8443).stdout


def test_it_is_the_address_of_the_load_balancer(place):
    body = place.cluster.body(SERVICE, "istio-system", "istio-ingressgateway")
    body["status"] = {"loadBalancer": {"ingress": [{"hostname": "gateway.example.com"}]}}
    place.cluster.store.set(SERVICE, body)
    assert "at=gateway.example.com:443=" in place.find().stdout


def test_without_a_load_balancer_a_port_is_forwarded(place):
    place.without_load_balancer()
    place.kubectl(FORWARDS)
    done = place.find()
    assert f"at=127.0.0.1:{PORT}=" in done.stdout, done.stdout + done.stderr
    assert reached(PORT) == f"--kubeconfig={place.cluster.kubeconfig}"


def test_a_port_on_which_another_program_listens_is_not_taken_for_the_cluster(place):
    place.without_load_balancer()
    place.kubectl(FORWARDS)
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = place.find(gateway_forwarded_port=other.getsockname()[1])
    assert done.returncode != 0, done.stdout
    told = " ".join((done.stdout + done.stderr).split())
    assert "could be forwarded by kubectl: error: unable to listen on any of the requested ports" in told, told
    assert "let gateway_forwarded_port be free" in told


def test_a_second_cluster_is_not_reached_through_the_connection_to_the_first(place):
    place.without_load_balancer()
    place.kubectl(FORWARDS)
    second = place.directory / "second.kubeconfig"
    second.write_bytes(place.cluster.kubeconfig.read_bytes())
    given = {"gateway_forwarded_port": 0}  # the default
    for kubeconfig, done in [
        (kubeconfig, place.find(gateway_kubeconfig=str(kubeconfig), **given))
        for kubeconfig in (place.cluster.kubeconfig, second)
    ]:
        found = re.search(r"at=127\.0\.0\.1:(\d+)=", done.stdout)
        assert found, done.stdout + done.stderr
        assert reached(int(found[1])) == f"--kubeconfig={kubeconfig}"


def test_a_port_that_cannot_be_forwarded_is_told_in_kubectls_words(place):
    place.without_load_balancer()
    place.kubectl(FAILS)
    done = place.find()
    assert done.returncode != 0
    told = " ".join((done.stdout + done.stderr).split())
    assert "could be forwarded by kubectl: error: unable to forward port because pod is not running." in told, told


def test_an_address_that_nobody_may_forward_is_told(place):
    place.without_load_balancer()
    done = place.find(gateway_port_forward=False)
    assert "Name the address (gateway_address) or allow gateway_port_forward." in " ".join(done.stdout.split())
