# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs of the playbooks on a cluster, with exactly the rights that the role cluster asks for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import kyma as managers
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import ROOT

Json = dict[str, t.Any]
Right = tuple[str, str, str, str]
#: Looked at where it is allowed, and done without where not: other Gateways, Traefik, the nodes.
OPTIONAL = {
    ("list", "networking.istio.io", "gateways", ""),
    ("get", "", "services", "kube-system"),
    ("list", "", "nodes", ""),
    # In the namespaces of workloads where it is not allowed on the whole cluster.
    ("list", "gateway.kyma-project.io", "apirules", ""),
    ("list", "security.istio.io", "authorizationpolicies", ""),
}
WORKLOADS = [
    {
        "name": namespace,
        "namespace": namespace,
        "service": "httpbin",
        "port": 8000,
        "hosts": [f"{namespace}.mtls.local.kyma.dev"],
        "allow": [{"uris": ["spiffe://a/*"]}],
    }
    for namespace in ("test", "shop")
]
WHOLE_LIFE = ("site", "status", "rotate", "revoke", "verify", "teardown")


class Place(t.NamedTuple):
    cluster: clusters.TestCluster
    directory: Path
    gateway: int

    def play(self, *names: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        """Run playbooks, one after the other."""
        # The double has no gateway that could be proven: what is asked of the API is the matter here.
        address = f"127.0.0.1:{self.gateway}"
        plays = [
            {
                "ansible.builtin.import_playbook": str(ROOT / f"playbooks/{name}.yml"),
                "vars": {"gateway_address": "" if name == "verify" else address},
            }
            for name in names
        ]
        playbook = self.directory / "plays.json"
        playbook.write_text(json.dumps(plays))
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "mtls_home": str(self.directory / "home"),
            "mtls_platform": "kubernetes",
            "mtls_kubeconfig": str(self.cluster.kubeconfig),
            "verify_fail_on": "never",
            "verify_wait_for": 0,
            "verify_timeout": 1,
            "verify_report_dir": "",
            "rotate": "server",
            "client": "curl",
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-e", json.dumps(given), str(playbook)],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
            },
        )  # fmt: skip

    def ok(self, *names: str, **variables: t.Any) -> str:
        done = self.play(*names, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def used(self) -> set[Right]:
        return {(one.verb, one.group, one.resource, one.namespace) for one in self.cluster.double.used}


@pytest.fixture
def place(tmp_path: Path) -> t.Iterator[Place]:
    # A real socket: the address of the gateway has to be open for a status that is well.
    with clusters.cluster(tmp_path) as cluster, socket.create_server(("127.0.0.1", 0)) as gateway:
        for stored, body in manifests.a_cluster_has("v1.33.7"):
            cluster.store.set(stored, body)
        yield Place(cluster, tmp_path, gateway.getsockname()[1])


def own_permissions() -> list[Json]:
    text = (ROOT / "roles/cluster/vars/main.yml").read_text(encoding="utf-8").replace("{{ cluster_namespace }}", "test")
    found: list[Json] = yaml.safe_load(text)["__cluster_own_permissions"]
    return found


def workload_permissions(*namespaces: str) -> list[Json]:
    """What the check asks for beside that, as the variable says."""
    found = yaml.safe_load((ROOT / "roles/cluster/vars/main.yml").read_text(encoding="utf-8"))
    return [
        {**one, "namespace": namespace} for one in found["__cluster_workload_permissions"] for namespace in namespaces
    ]


def test_a_user_with_exactly_the_rights_that_are_asked_for_gets_through_and_uses_all_of_them(place: Place) -> None:
    place.cluster.install_kyma()
    place.cluster.double.used.clear()
    service = clusters.service()
    service["metadata"]["namespace"] = "shop"
    place.cluster.store.set("namespaces.", clusters.namespace("shop"))
    place.cluster.store.set("services.", service)
    rules = own_permissions() + workload_permissions("test", "shop")
    place.cluster.double.mishaps.rules = rules
    place.ok(*WHOLE_LIFE, httpbin_workloads=WORKLOADS)
    asked_for = {
        (verb, one.get("group", ""), one["resource"], one.get("namespace", ""))
        for one in rules
        for verb in one["verbs"]
    }
    assert place.used() - OPTIONAL == asked_for


def test_what_is_missing_is_said_before_anything_is_done(place: Place) -> None:
    place.cluster.install_kyma()
    place.cluster.double.mishaps.rules = [one for one in own_permissions() if one["resource"] != "istios"]
    before = len(place.cluster.double.log)
    done = place.play("site")
    assert "may not: get istios.operator.kyma-project.io default in kyma-system." in done.stdout
    place.cluster.double.mishaps.rules = own_permissions()
    done = place.play("site", modules_manage=True)
    assert "may not: * *.*" in done.stdout
    asked = [request for request in place.cluster.double.log[before:] if not request.startswith("GET ")]
    assert [request for request in asked if "/selfsubject" not in request] == []
    assert not (place.directory / "home").exists()


def assert_status_names_everything_that_is_not_well(place: Place) -> None:
    store, home = place.cluster.store, place.directory / "home"
    node = place.cluster.body("nodes.", "", "k3d-kyma-server-0")
    node["status"]["conditions"][0] |= {"status": "False", "message": "container runtime is down"}
    store.set("nodes.", node)
    store.drop(managers.GATEWAY, "test", "kyma-mtls-gateway")
    secret = place.cluster.body("secrets.", "istio-system", "kyma-mtls-clients-cacert")
    secret["data"]["cacert"] = "QQ=="
    store.set("secrets.", secret)
    done = place.play("status", gateway_address="127.0.0.1:1", modules_manage=False)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    for words in (
        "Node k3d-kyma-server-0: not ready (container runtime is down)",
        "Gateway test/kyma-mtls-gateway: missing",
        f"Secret istio-system/kyma-mtls-clients-cacert: cacert is not {home}/pki/client/ca-bundle.crt",
        "Address of the gateway: 127.0.0.1:1, nothing answers",
        "Istio kyma-system/default",
        "Secret istio-system/kyma-mtls as on disk (O=ML Server Org,CN=*.mtls.local.kyma.dev, until 20",
    ):
        assert words in said, done.stdout
    assert "QQ==" not in done.stdout


def test_from_nothing_to_nothing_with_managed_modules(place: Place) -> None:
    """All of it over HTTPS with certificates that stand in the kubeconfig, and Kyma's two passes."""
    mirror = place.directory / "mirror"
    digests = manifests.write(mirror)
    managed = {
        "modules_manage": True,
        "modules_source": str(mirror),
        "modules_istio_sha256": digests["istio/releases/download/1.30.0/istio-manager.yaml"],
        "modules_api_gateway_sha256": digests["api-gateway/releases/download/3.10.0/api-gateway-manager.yaml"],
    }
    place.cluster.double.mishaps.first_ready_seconds = 0.3
    # Longer than the ten seconds after which a task says what it waits for.
    place.cluster.double.mishaps.manager_seconds = 11
    said = place.ok("site", "status", **managed)
    assert "waiting: [localhost]" in said
    assert "Istio kyma-system/default: Processing (Reconciling Istio)" in said
    assert "All is well." in said
    place.cluster.double.mishaps.manager_seconds = 0.1
    assert "changed=0 " in place.ok("site", **managed)
    assert_status_names_everything_that_is_not_well(place)
    place.ok("teardown", **managed)
    for kind in (managers.API_RULE, managers.API_GATEWAY, managers.ISTIO, managers.GATEWAY):
        assert place.cluster.store.peek_all(kind) == []


def test_a_status_of_a_cluster_that_is_gone_is_not_well(place: Place) -> None:
    (place.directory / "home").mkdir()
    done = place.play("status", mtls_kubeconfig=str(place.directory / "none"))
    assert f"NOT WELL: cluster: there is no kubeconfig {place.directory}/none" in " ".join(done.stdout.split())
    dead = yaml.safe_load(place.cluster.kubeconfig.read_text())
    dead["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (place.directory / "dead").write_text(yaml.safe_dump(dead))
    done = place.play("status", mtls_kubeconfig=str(place.directory / "dead"))
    assert done.returncode != 0
    assert "does not answer" in " ".join(done.stdout.split())
