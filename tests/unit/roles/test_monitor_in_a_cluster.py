# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role monitor in a cluster: its objects on the double of the API, and its pod's process on this machine."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import schema
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.workload import Workload
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import COLLECTION, Play

IMAGE = "registry.example.com/kyma-mtls-monitor:0.2.0"
SERVE = "ansible_collections.kyma.mtls.plugins.module_utils._monitor.serve"
KINDS = (
    "deployments.apps",
    "configmaps.",
    "secrets.",
    "serviceaccounts.",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
)


@pytest.fixture
def gateway(tmp_path: Path) -> t.Iterator[tuple[pki_module.Pki, real.Running]]:
    if real.find("envoy") is None:
        pytest.skip("envoy is not installed")
    pki = pki_module.make_pki(tmp_path / "pki")
    workload = Workload()
    running = real.start("envoy", pki, tmp_path / "envoy", workload.port)
    yield pki, running
    running.stop()
    workload.stop()


def objects_of_the_monitor(cluster: clusters.TestCluster, stored: str) -> list[dict[str, t.Any]]:
    return [body for body in cluster.store.peek_all(stored) if body["metadata"]["name"].startswith("kyma-mtls")]


def get(address: str) -> tuple[int, str]:
    """Return status and body, (0, "") when nothing answers."""
    try:
        with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()
    except OSError:
        return 0, ""


def eventually(address: str, text: str, *, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, body = get(address)
        if status == 200 and text in body:
            return body
        time.sleep(0.2)
    raise AssertionError(f"{address} never had {text!r}")


def test_the_objects_and_the_process_of_the_pod(gateway: tuple[pki_module.Pki, real.Running], tmp_path: Path) -> None:
    pki, running = gateway
    play = Play(tmp_path)
    variables: dict[str, t.Any] = {
        "monitor_runner": "kubernetes",
        "monitor_every": "1m",
        "monitor_url": f"https://{pki_module.HOST}/headers",
        "monitor_connect_to": running.address,
        "monitor_ca": [pki.server_ca.crt],
        "monitor_client_cert": pki.client.crt,
        "monitor_client_key": pki.client.key_file,
        "monitor_client_ca_cert": [pki.client_ca.crt],
        "monitor_client_ca_key": pki.client_ca.key_file,
        "monitor_prometheus_rule": False,
        "monitor_namespace": "test",
    }
    with clusters.cluster(tmp_path) as cluster:
        cluster.store.set("namespaces.", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}})
        variables["monitor_kubeconfig"] = str(cluster.kubeconfig)
        refused = play.run("monitor", variables=variables)
        assert refused.code != 0
        assert "Set monitor_image" in refused.words

        variables["monitor_image"] = IMAGE
        assert play.run("monitor", variables=variables).changed > 0
        assert play.run("monitor", variables=variables).changed == 0
        deployment = cluster.body("deployments.apps", "test", "kyma-mtls")
        role = cluster.body("roles.rbac.authorization.k8s.io", "test", "kyma-mtls")
        config = cluster.body("configmaps.", "test", "kyma-mtls")["data"]
        secret = cluster.body("secrets.", "test", "kyma-mtls-probe-kit")["data"]

        made = {stored: objects_of_the_monitor(cluster, stored) for stored in KINDS}
        assert {stored: len(bodies) for stored, bodies in made.items()} == dict.fromkeys(KINDS, 1)
        assert [words for bodies in made.values() for body in bodies for words in schema.problems(body)] == []
        assert_restricted(deployment["spec"]["template"]["spec"])
        assert role["rules"] == [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]
        serves_what_it_proves(deployment, config, secret, tmp_path / "pod")

        assert play.run("monitor", variables=variables | {"monitor_state": "absent"}).changed > 0
        assert [objects_of_the_monitor(cluster, stored) for stored in KINDS] == [[] for _stored in KINDS]


def assert_restricted(pod: dict[str, t.Any]) -> None:
    """The restricted level of the pod security standards (kubernetes.io/docs/concepts/security)."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    allowed = {"configMap", "secret", "emptyDir"}
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= allowed
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def serves_what_it_proves(
    deployment: dict[str, t.Any], config: dict[str, str], secret: dict[str, str], place: Path
) -> None:
    """Lay the pod's files below ``place`` and run its command there."""
    (volume,) = (one for one in deployment["spec"]["template"]["spec"]["volumes"] if one["name"] == "kit")
    assert {item["key"] for item in volume["secret"]["items"]} == set(secret)
    for item in volume["secret"]["items"]:
        path = place / "monitor/probe" / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(secret[item["key"]]))
    (place / "monitor/config").mkdir()
    (place / "monitor/state").mkdir()
    moved = str(place / "monitor")
    for name, text in config.items():
        path = place / "monitor/config" / name
        path.write_text(
            text.replace("/monitor/", f"{moved}/").replace("/usr/share/ansible/collections", str(COLLECTION.parents[2]))
        )
        path.chmod(0o755)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python3", "-m", SERVE]
    port = free_port()
    arguments = [one.replace("/monitor/", f"{moved}/") for one in container["args"] if not one.startswith("--port")]
    process = subprocess.Popen(
        [sys.executable, "-m", SERVE, "--listen=127.0.0.1", f"--port={port}", *arguments],
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(place),
            "PYTHONPATH": str(COLLECTION.parents[2]),
        },
    )
    try:
        metrics = eventually(f"127.0.0.1:{port}/metrics", "kyma_mtls_verdict")
        assert 'state="passed"} 1' in next(
            line for line in metrics.splitlines() if line.startswith("kyma_mtls_verdict{") and 'state="passed"' in line
        )
        assert get(f"127.0.0.1:{port}/healthz") == (200, "ok\n")
        assert get(f"127.0.0.1:{port}/other")[0] == 404
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0
