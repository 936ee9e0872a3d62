# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role cluster on the platforms k3d and kubernetes, with stand-ins for k3d, docker and the API server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.cluster import Cluster
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.server import Server
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import IMAGE, ROOT, Host

HTTP, HTTPS = free_port(), free_port()
PORTS = {"cluster_http_port": HTTP, "cluster_https_port": HTTPS}


class Place(t.NamedTuple):
    host: Host
    server: Server
    state: Path

    def play(
        self, *arguments: str, role: str = "cluster", tasks_from: str = "main", **variables: t.Any
    ) -> subprocess.CompletedProcess[str]:
        playbook = self.host.directory / "play.yml"
        included = {"name": f"kyma.mtls.{role}", "tasks_from": tasks_from}
        task = {"name": "Role", "ansible.builtin.include_role": included}
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "mtls_home": str(self.state),
            "mtls_platform": "k3d",
            **PORTS,
            **variables,
        }
        environment = {
            **self.host.environment,
            "PATH": f"{self.host.bin}:/usr/bin:/bin",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        }
        # Where this test's libraries are; the home is another one.
        environment |= {key: value for key, value in os.environ.items() if key == "VIRTUAL_ENV"}
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-e", json.dumps(given), *arguments,
             str(playbook)],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def ok(self, *arguments: str, **options: t.Any) -> tuple[int, str]:
        """Play, which has to succeed; return the number of changes and all that was printed."""
        done = self.play(*arguments, **options)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        return int(printed.partition("changed=")[2].split()[0]), printed

    def has_a_cluster(self) -> None:
        """As the role leaves it, by the module alone: a start of Ansible less."""
        options = {"kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False}}
        made = self.host.run(
            state="started",
            image=IMAGE,
            servers=1,
            ports=[f"127.0.0.1:{HTTP}:80@loadbalancer", f"127.0.0.1:{HTTPS}:443@loadbalancer"],
            k3s_args=["--disable=traefik@server:*"],
            config={"kubeAPI": {"hostIP": "127.0.0.1"}, "options": options},
            kubeconfig=str(self.kubeconfig),
        )
        assert made["changed"] is True, made

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"


@pytest.fixture
def place(tmp_path):
    cluster = Cluster(kubernetes="v1.33.7")
    for stored, body in manifests.a_cluster_has("v1.33.7"):
        cluster.store.set(stored, body)
    server = Server(cluster, 0)
    host = Host(tmp_path)
    with server.running():
        server_of_k3d = server.kubeconfig(name="k3d-kyma", user="admin@k3d-kyma")
        (host.double / "api_server").write_text(yaml.safe_dump(server_of_k3d))
        yield Place(host, server, tmp_path / "home" / "state of mine")


def test_a_cluster_comes_up_as_in_the_tutorial_and_goes_again(place):
    changes, printed = place.ok("--check", "--diff")
    assert changes == 1
    assert place.host.calls() == []
    changes, printed = place.ok("--diff")
    assert changes == 1
    assert place.host.token not in printed
    config = place.host.config()
    assert config["image"] == IMAGE
    assert [one["port"] for one in config["ports"]] == [f"127.0.0.1:{HTTP}:80", f"127.0.0.1:{HTTPS}:443"]
    assert config["options"]["k3s"]["extraArgs"] == [{"arg": "--disable=traefik", "nodeFilters": ["server:*"]}]
    assert config["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
    assert config["kubeAPI"] == {"hostIP": "127.0.0.1"}
    assert yaml.safe_load(place.kubeconfig.read_text())["current-context"] == "k3d-kyma"
    assert not (place.host.home / ".kube").exists()
    assert place.ok()[0] == 0
    assert place.ok(tasks_from="teardown")[0] == 1
    assert place.host.state["clusters"] == {}
    assert not place.kubeconfig.exists()
    assert place.ok(tasks_from="teardown")[0] == 0


def test_a_purge_leaves_nothing(place):
    place.has_a_cluster()
    (place.state / "pki").mkdir()
    # As cluster_install_tools leaves it: used without being asked for again.
    (place.state / "bin").mkdir()
    (place.host.bin / "k3d").rename(place.state / "bin" / "k3d")
    place.ok(tasks_from="teardown", mtls_purge=True)
    assert place.host.state["clusters"] == {}
    assert not place.state.exists()


def test_a_cluster_can_be_kept_stopped(place):
    place.has_a_cluster()
    assert place.ok(tasks_from="teardown", cluster_teardown_state="stopped")[0] == 1
    nodes = place.host.state["clusters"]["kyma"]["nodes"]
    assert not any(node["State"]["Running"] for node in nodes)
    assert place.ok()[0] == 1


def test_a_cluster_that_was_made_by_hand_is_used_and_left_alone(place):
    place.has_a_cluster()
    place.host.forget_mark()
    place.host.calls()
    assert place.ok()[0] == 0
    # An object of ours, by the name that the role httpbin gives it.
    names = {"name": "httpbin", "namespace": "test"}
    ours = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": names}
    place.server.cluster.store.set(
        "namespaces.", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}}
    )
    place.server.cluster.store.set("serviceaccounts.", ours)
    place.ok(tasks_from="teardown", modules_manage=False)
    assert place.host.calls() == []
    assert "kyma" in place.host.state["clusters"]
    assert place.server.cluster.store.peek("serviceaccounts.", "test", "httpbin") is None


def test_a_host_that_cannot_carry_the_cluster_is_told_before_anything_starts(place):
    place.host.set(docker={"up": False})
    done = place.play(cluster_k3s_image="rancher/k3s:v1.31.5-k3s1")
    assert done.returncode != 0
    assert "This host cannot run the cluster kyma: (1) Docker cannot be used" in done.stdout
    assert "v1.31.7-k3s1 or later" in done.stdout
    assert place.host.calls() == []


def test_nodes_that_do_not_get_ready_are_named(place):
    done = place.play(cluster_agents=1, cluster_wait_timeout=1)
    assert done.returncode != 0
    assert "1 of 2 nodes are ready" in done.stdout


def test_a_foreign_cluster_is_only_looked_at(place):
    place.state.mkdir(parents=True)
    path = place.state / "foreign"
    path.write_text(yaml.safe_dump(place.server.kubeconfig()))
    options = {"mtls_platform": "kubernetes", "mtls_kubeconfig": str(path)}
    assert place.ok(**options)[0] == 0
    assert set(place.server.cluster.requests) == {"GET", "POST"}
    reviews = [one.rpartition("/")[2] for one in place.server.cluster.log if one.startswith("POST")]
    # One a namespace, and one for the whole cluster.
    assert reviews.count("selfsubjectrulesreviews") == 4
    assert reviews.count("selfsubjectaccessreviews") <= 5
    place.server.cluster.mishaps.forbidden = ["patch secrets"]
    done = place.play(**options)
    assert done.returncode != 0
    assert "may not: patch secrets in istio-system" in done.stdout
    assert place.host.calls() == []


def test_a_missing_context_is_told(place):
    place.state.mkdir(parents=True)
    path = place.state / "foreign"
    path.write_text(yaml.safe_dump(place.server.kubeconfig()))
    done = place.play(mtls_platform="kubernetes", mtls_kubeconfig=str(path), mtls_context="production")
    assert done.returncode != 0
    assert "mtls_kubeconfig, mtls_context" in done.stdout


def test_without_k3d_there_is_nothing_to_take_down(place):
    place.host.remove("k3d")
    assert place.ok(tasks_from="teardown")[0] == 0


def test_tools_are_installed_before_they_are_needed(place):
    mirror = place.host.directory / "mirror"
    target = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    program = (place.host.bin / "k3d").read_bytes()
    for path in (f"v5.9.0/k3d-linux-{target}", f"v1.33.7/bin/linux/{target}/kubectl"):
        (mirror / path).parent.mkdir(parents=True)
        (mirror / path).write_bytes(program)
    place.host.remove("k3d")
    sources = {"cluster_k3d_source": mirror.as_uri(), "cluster_kubectl_source": mirror.as_uri()}
    asked_for = {"cluster_install_tools": True, **sources}
    # What is there has another digest than the release.
    done = place.play(**asked_for)
    assert "The checksum for" in done.stdout, done.stdout
    assert not (place.state / "bin/k3d").exists()
    digests = {f"linux-{target}": hashlib.sha256(program).hexdigest()}
    given = {**asked_for, "cluster_k3d_sha256": digests, "cluster_kubectl_sha256": digests}
    # In check mode it is only predicted, and so is nothing that needs it.
    assert place.ok("--check", **given)[0] == 2
    place.ok(**given)
    assert (place.state / "bin/k3d").stat().st_mode & 0o777 == 0o755
    assert place.ok(**given)[0] == 0


def test_a_tool_whose_digest_is_not_known_is_refused(place):
    done = place.play(cluster_install_tools=True, cluster_k3d_version="1.2.3")
    assert "The SHA-256 of k3d 1.2.3 or kubectl 1.33.7 for Linux" in " ".join(done.stdout.split())


def test_all_images_are_imported_by_one_call(place):
    place.has_a_cluster()
    archives = [str(place.host.directory / f"{name} of mine.tar") for name in ("istio", "httpbin")]
    for archive in archives:
        Path(archive).touch()
    tools = place.host.bin
    assert place.ok(role="modules", tasks_from="images", modules_image_archives=archives, cluster_tools_dir=str(tools))[
        0
    ]
    lines = (place.host.double / "calls.jsonl").read_text().splitlines()
    imported = [call for call in map(json.loads, lines) if call[1:3] == ["image", "import"]]
    assert imported == [["k3d", "image", "import", "--cluster=kyma", *archives]]
