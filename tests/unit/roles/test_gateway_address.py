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


class Place(t.NamedTuple):
    cluster: clusters.TestCluster
    directory: Path

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
            "gateway_port_forward_seconds": 20,
            **variables,
        }
        environment = {
            **os.environ,
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

    def has_pod(self) -> None:
        metadata = {"name": "gateway-1", "namespace": "istio-system", "labels": {"app": "istio-ingressgateway"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Running"}}
        self.cluster.store.set("pods.", pod)


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


def test_without_a_load_balancer_a_port_is_forwarded_each_time_another(place):
    place.without_load_balancer()
    place.has_pod()
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        place.cluster.double.mishaps.gateway_at = f"127.0.0.1:{gateway.getsockname()[1]}"
        done = [place.find() for _time in range(2)]
    ports = [re.search(r"at=127\.0\.0\.1:(\d+)=", one.stdout) for one in done]
    assert all(ports), done
    assert len({port[1] for port in ports}) == 2


def test_an_address_that_nobody_may_forward_is_told(place):
    place.without_load_balancer()
    done = place.find(gateway_port_forward=False)
    assert "no node answers at its nodePort" in " ".join(done.stdout.split())
    assert "Set gateway_address, or allow gateway_port_forward." in " ".join(done.stdout.split())
