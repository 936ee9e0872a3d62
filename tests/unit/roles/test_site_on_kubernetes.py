# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles on the platform kubernetes, from nothing to the tutorial, against a double of the Kubernetes API."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import kyma as managers
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import ROOT

ROLES = ("cluster", "modules", "gateway", "httpbin")
# More requests an object than this are not "a small multiple".
REQUESTS_PER_OBJECT = 2
# Connections, discovery, versions, reviews of permissions, and what is waited for, over all tasks of the roles.
CONSTANT = 40


class Site(t.NamedTuple):
    cluster: clusters.TestCluster
    pki: runtimes.Pki
    place: Path

    def variables(self) -> dict[str, t.Any]:
        mirror = self.place / "mirror"
        digests = manifests.write(mirror)
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "mtls_home": str(self.place / "home"),
            "mtls_platform": "kubernetes",
            "mtls_kubeconfig": str(self.cluster.kubeconfig),
            "modules_manage": True,
            "modules_source": str(mirror),
            "modules_istio_sha256": digests["istio/releases/download/1.30.0/istio-manager.yaml"],
            "modules_api_gateway_sha256": digests["api-gateway/releases/download/3.10.0/api-gateway-manager.yaml"],
            "gateway_server_chain": str(self.pki.path("server-chain.pem")),
            "gateway_server_key": str(self.pki.path("server.key")),
            "gateway_client_ca_bundle": str(self.pki.path("ca-bundle.crt")),
            "gateway_client_crl": "",
        }

    def play(
        self, *arguments: str, only: tuple[str, ...] = ROLES, killed: bool = False, **more: t.Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the roles, or only the first tasks of them: what the run leaves is left."""
        playbook = self.place / "site.json"
        roles = [f"kyma.mtls.{name}" for name in only]
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": roles}]))
        environment = {
            **os.environ,
            "HOME": str(self.place),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        }
        if killed:
            environment |= {
                "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
                "ANSIBLE_CALLBACKS_ENABLED": "killed_after_change",
            }
        given = json.dumps({**self.variables(), **more})
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-e", given, *arguments, str(playbook)],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=False, start_new_session=True,
        )  # fmt: skip

    def ok(self, *arguments: str, **more: t.Any) -> tuple[int, str]:
        """Play, which has to succeed; return the number of changes and all that was printed."""
        done = self.play(*arguments, **more)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        return int(printed.partition("changed=")[2].split()[0]), printed

    def secrets(self) -> set[str]:
        """What may not be printed: lines of the keys, and the Secrets' data as the API has them."""
        found = set()
        for path in self.pki.directory.iterdir():
            if path.suffix == ".key":
                found |= set(path.read_text().splitlines()[1:-1])
            encoded = base64.b64encode(path.read_bytes()).decode()
            found.add(encoded[:60])
        return found


@pytest.fixture
def site(tmp_path):
    (tmp_path / "pki").mkdir()
    with clusters.cluster(tmp_path) as cluster:
        for stored, body in manifests.a_cluster_has("v1.31.14"):
            cluster.store.set(stored, body)
        yield Site(cluster, runtimes.Pki(tmp_path / "pki"), tmp_path)


def test_a_site_that_is_killed_after_each_change_in_turn_gets_ready(site):
    changes = 0
    while changes < 30:
        site.cluster.double.log.clear()
        done = site.play(killed=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        changes += 1
    # The role cluster only looks.
    assert changes == len(ROLES) - 1
    assert site.cluster.body(managers.API_RULE, "test", "httpbin-mtls")["status"]["state"] == "Ready"
    assert "changed=0 " in done.stdout
    requests = site.cluster.double.log
    applied = [line for line in requests if line.startswith("PATCH")]
    assert len(requests) <= CONSTANT + REQUESTS_PER_OBJECT * len(applied)


def test_nothing_of_a_secret_is_printed_at_the_highest_verbosity(site):
    site.cluster.install_istio()
    changes, first = site.ok("-vvvv", "--diff", only=("gateway",))
    assert changes == 1
    assert "Secret istio-system/kyma-mtls" in first
    old = site.secrets()
    site.pki.new_server_certificate()
    changes, predicted = site.ok("-vvvv", "--diff", "--check", only=("gateway",))
    assert changes == 1
    # Refused, with whatever is at hand.
    site.pki.put("server.key", site.pki.client[1])
    refused = site.play("-vvvv", "--diff", only=("gateway",))
    assert "does not belong to" in refused.stdout
    for printed in (first, predicted, refused.stdout + refused.stderr):
        assert [one for one in old | site.secrets() if one in printed] == []
    assert "PRIVATE KEY" not in first + predicted


def test_a_manifest_that_is_not_the_pinned_one_is_refused_before_the_cluster_is_touched(site):
    before = dict(site.cluster.double.requests)
    done = site.play(modules_istio_sha256="", modules_source=str(site.place / "mirror"))
    assert done.returncode != 0
    assert "Nothing of it is used" in done.stdout
    assert "modules_istio_sha256" in done.stdout
    assert site.cluster.store.peek("deployments.apps", "kyma-system", "istio-controller-manager") is None
    assert set(site.cluster.double.requests) - set(before) <= {"GET", "POST"}
