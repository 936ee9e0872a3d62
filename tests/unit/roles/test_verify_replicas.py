# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the role verify looks at every pod of a cluster's ingress gateway: real Envoys, a double of the API."""

from __future__ import annotations

import json
import sys
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.balancer import Balancer
from ansible_collections.kyma.mtls.tests.servers.workload import Workload
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.roles.test_verify_address import play, role

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICES, PODS = "services.", "pods."
Json = dict[str, t.Any]


class Place:
    """A cluster whose gateway's pods are Envoys of this machine, behind a balancer."""

    def __init__(self, cluster: clusters.TestCluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.pki = pki_module.make_pki(directory / "pki")
        self.workload = Workload()
        self.started: list[real.Running] = []

    def has_pods(self, *settings: Json, at: str = "") -> None:
        """Start an Envoy for each of the settings; ``at`` is the pods' address when it is not the Envoy's."""
        for number, setting in enumerate(settings, 2):
            place = real.Setting(host=f"127.0.0.{number}", **setting)
            self.started.append(
                real.start("envoy", self.pki, self.directory / f"pod-{number}", self.workload.port, place)
            )
            ports = [{"containerPort": self.started[-1].port, "name": "https"}]
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"gateway-{number}",
                    "namespace": "istio-system",
                    "labels": {"app": "istio-ingressgateway"},
                },
                "spec": {"containers": [{"name": "istio-proxy", "ports": ports}]},
                "status": {**status, "podIP": at or place.host},
            }
            self.cluster.store.set(PODS, pod)
        body = self.cluster.body(SERVICES, "istio-system", "istio-ingressgateway")
        for port in body["spec"]["ports"]:
            if port["port"] == 443:
                port["targetPort"] = "https"
        self.cluster.store.set(SERVICES, body)

    def verify(self, **variables: t.Any) -> tuple[int, str, Json]:
        """Run the role; return the exit code, the output and the report."""
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "mtls_home": str(self.directory / "home"),
            "mtls_platform": "kubernetes",
            "mtls_kubeconfig": str(self.cluster.kubeconfig),
            "verify_host": pki_module.HOST,
            "verify_ca": [self.pki.server_ca.crt],
            "verify_client_cert": self.pki.client.crt,
            "verify_client_key": self.pki.client.key_file,
            "verify_client_ca_cert": [self.pki.client_ca.crt],
            "verify_client_ca_key": self.pki.client_ca.key_file,
            "verify_clients": [],
            "verify_crl": "",
            "verify_checks": ["MV-23", "MV-24", "MV-25"],
            "verify_wait_for": 0,
            **variables,
        }
        with Balancer([one.address for one in self.started]) as balancer:
            done = play(
                self.directory, {"vars": {**given, "gateway_address": balancer.address}, "tasks": [role("verify")]}
            )
        path = self.directory / "home" / "report" / "verify.json"
        words = " ".join((done.stdout + done.stderr).split())
        assert path.exists(), words
        return done.returncode, words, json.loads(path.read_text())

    def end(self) -> None:
        for one in self.started:
            one.stop()
        self.workload.stop()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with clusters.cluster(tmp_path) as cluster:
        cluster.double.parts = ()
        cluster.install_istio()
        made = Place(cluster, tmp_path)
        yield made
        made.end()


def test_every_pod_that_answers_is_verified_by_its_own_address(place: Place) -> None:
    place.has_pods({}, {"client_auth": "optional"})
    code, words, report = place.verify()
    assert code == 2, words
    failed = [case["name"] for check in report["checks"] for case in check["cases"] if case["outcome"] == "failed"]
    pods = [one.address for one in place.started]
    assert any(name.startswith(f"replica {pods[1]}: no certificate") for name in failed), failed
    assert not any(name.startswith(f"replica {pods[0]}") for name in failed), failed
    assert report["replicas"]["addresses"] == pods
    assert "connections" not in report["replicas"]


def test_pods_that_do_not_answer_from_here_are_looked_for_by_fresh_connections(place: Place) -> None:
    place.has_pods({}, {}, at="127.0.0.99")
    code, words, report = place.verify(verify_replica_confidence=0.999)
    assert code == 0, words
    assert (report["replicas"]["count"], report["replicas"]["connections"]) == (2, 10)
    assert len(report["replicas"]["silent"]) == 2
    assert "2 behind one address by 10 fresh connections" in words
    assert "with a probability of 99.9%" in words


def test_one_pod_and_a_given_address_are_no_replicas(place: Place) -> None:
    place.has_pods({})
    assert place.verify()[2]["replicas"] == {}
    address = place.started[0].address
    _code, _words, report = place.verify(verify_connect_to=address, verify_replicas=[address])
    assert report["replicas"]["addresses"] == [address]
    assert place.verify(verify_replicas="")[2]["replicas"] == {}


def test_lists_may_be_text_as_they_are_on_the_command_line(place: Place) -> None:
    place.has_pods({}, {})
    pods = [one.address for one in place.started]
    code, words, report = place.verify(
        verify_connect_to=pods[0],
        verify_replicas=",".join(pods),
        verify_skip="MV-24,MV-50",
        verify_require_checks="MV-25",
    )
    assert code == 0, words
    assert report["replicas"]["addresses"] == pods
    assert "connections" not in report["replicas"]
    assert [check["id"] for check in report["checks"]] == ["MV-23", "MV-25"]
