# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that can carry a cluster, and hosts that cannot."""

from __future__ import annotations

import socket

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._k3d import cli
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import IMAGE, Host, Result

PORT = free_port()
PORTS = [f"127.0.0.1:{PORT}:443@loadbalancer"]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def look(host: Host, **options: object) -> Result:
    return host.run(check=True, check_host=True, **{"image": IMAGE, "ports": PORTS, **options})


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", PORT))
        server.listen(1)
        yield


def test_a_good_host_is_described(host):
    result = look(host)
    assert host.calls() == []
    assert result["docker_version"] == "28.5.2"
    assert result["cgroup_version"] == "2"
    assert result["k3d_version"] == "5.9.0"
    assert result["k3s_version"] == "1.33.7"


@pytest.mark.usefixtures("listener")
def test_a_taken_port_is_named(host):
    result = look(host)
    assert result["msg"].startswith(f"This host cannot run the cluster kyma: the port {PORT} is taken on this host")


def test_a_port_that_the_cluster_itself_has_is_not_taken(host):
    host.run(image=IMAGE, ports=PORTS)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", PORT))
        server.listen(1)
        assert "failed" not in look(host)


@pytest.mark.usefixtures("listener")
def test_ports_of_a_docker_elsewhere_are_not_looked_at_here(host, monkeypatch):
    monkeypatch.setattr(Host, "environment", host.environment | {"DOCKER_HOST": "ssh://me@host"})
    assert "failed" not in look(host)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("rancher/k3s:v1.31.6-k3s1", "v1.31.7-k3s1 or later"),
        ("rancher/k3s:v1.32.2-k3s1", "v1.32.3-k3s1 or later"),
        ("rancher/k3s:v1.30.14-k3s1", "v1.31.7-k3s1 or later"),
        ("rancher/k3s:v1.34.0-rc1-k3s1", "not that of a final release"),
        ("rancher/k3s:latest", "not that of a final release"),
        ("rancher/k3s", "not that of a final release"),
    ],
)
def test_an_image_that_kymas_istio_cannot_work_on_is_refused(host, image, words):
    assert words in look(host, image=image)["msg"]


@pytest.mark.parametrize(
    "image", ["rancher/k3s:v1.31.9-k3s1", "localhost:5000/k3s:v1.32.3-k3s2", f"{IMAGE}@sha256:{'0' * 64}"]
)
def test_images_of_the_tutorial_of_mirrors_and_by_digest_are_accepted(host, image):
    assert "failed" not in look(host, image=image)


def test_a_new_k3s_does_not_start_on_old_cgroups(host):
    host.set(docker={"up": True, "version": "28.5.2", "cgroup": "1"})
    assert "failed" not in look(host)
    new = "rancher/k3s:v1.35.4-k3s1"
    assert "does not start on cgroup version 1" in look(host, image=new)["msg"]
    assert "failed" not in look(host, image=new, k3s_args=["--kubelet-arg=fail-cgroupv1=false@server:*"])


def test_an_old_docker_is_told(host):
    host.set(docker={"up": True, "version": "20.10.4", "cgroup": "2"})
    assert "Docker is 20.10.4, but k3d needs 20.10.5 or later" in look(host)["msg"]


@pytest.mark.usefixtures("listener")
def test_everything_that_is_wrong_is_told_at_once(host):
    host.set(docker={"up": False}, version="v5.8.2")
    result = look(host, image="rancher/k3s:latest")
    assert len(result["problems"]) == 4
    assert "(1) Docker cannot be used: Docker does not answer at unix:///var/run/docker.sock" in result["msg"]
    assert "(2) k3d is 5.8.2" in result["msg"]
    assert "(3) The k3s image rancher/k3s:latest" in result["msg"]
    assert f"(4) the port {PORT} is taken" in result["msg"]


def test_the_host_is_looked_at_for_an_image_only(host):
    assert "check_host needs an image" in look(host, image=None)["msg"]


def test_missing_tools_are_told(host):
    host.remove("docker")
    host.remove("k3d")
    message = look(host)["msg"]
    assert "Docker (docker) is not installed on this host" in message
    assert "k3d (k3d) is not installed on this host" in message


def test_low_kernel_limits_are_a_warning(host, monkeypatch, tmp_path):
    for name, limit in (("max_user_instances", 128), ("max_user_watches", 655360)):
        (tmp_path / name).write_text(str(limit))
    monkeypatch.setattr(cli.check_inotify, "__defaults__", (tmp_path,))
    result = look(host)
    assert "failed" not in result
    assert "fs.inotify.max_user_instances is 128" in result.words
    assert "sysctl -w fs.inotify.max_user_instances=1280" in result.words
    assert "max_user_watches is" not in result.words
