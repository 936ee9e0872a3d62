# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every transition of a cluster, played by the stand-in for k3d."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kyma.mtls.plugins.modules import k3d_cluster
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import IMAGE, ROOT, Host

# In the order of their texts, which is that of the module's answers.
HTTPS, HTTP, FURTHER, DIRECT = sorted(free_port() for _number in range(4))
WANTED: dict[str, t.Any] = {
    "state": "started",
    "image": IMAGE,
    "servers": 1,
    "ports": [f"127.0.0.1:{HTTP}:80@loadbalancer", f"127.0.0.1:{HTTPS}:443@loadbalancer"],
    "k3s_args": ["--disable=traefik@server:*"],
}
FREE_PORTS = {"80": str(HTTP), "443": str(HTTPS), "8443": str(FURTHER)}
TOKEN = "a-token-that-nobody-may-see"  # noqa: S105  (that is the point)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def cluster(host: Host) -> Host:
    """A host on which the cluster runs."""
    assert host.run(**WANTED)["changed"] is True
    host.calls()
    return host


@pytest.fixture
def listener() -> t.Iterator[int]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = free_port()
        server.bind(("127.0.0.1", port))
        server.listen(1)
        yield port


def test_a_cluster_is_created_as_asked_for_and_described(host):
    result = host.run(**WANTED)
    assert result["changed"] is True
    assert result["actions"] == [f"create the cluster kyma from {IMAGE}"]
    assert result["k3d_version"] == "5.9.0"
    facts = result["cluster"]
    assert facts["state"] == "running"
    assert facts["context"] == "k3d-kyma"
    assert facts["image"] == IMAGE
    assert facts["ports"] == [f"127.0.0.1:{HTTPS}:443", f"127.0.0.1:{HTTP}:80"]
    assert facts["k3s_args"] == {"k3d-kyma-server-0": ["--disable=traefik"]}
    assert facts["servers_running"] == facts["servers"] == 1
    assert facts["made_by_this_collection"] is True
    given = host.config()
    assert given["metadata"] == {"name": "kyma"}
    assert given["ports"] == [
        {"port": f"127.0.0.1:{HTTP}:80", "nodeFilters": ["loadbalancer"]},
        {"port": f"127.0.0.1:{HTTPS}:443", "nodeFilters": ["loadbalancer"]},
    ]
    assert given["options"]["k3s"]["extraArgs"] == [{"arg": "--disable=traefik", "nodeFilters": ["server:*"]}]
    assert given["options"]["k3d"] == {"wait": True, "timeout": "300s"}
    assert given["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}


@pytest.mark.parametrize("state", ["present", "started"])
def test_a_second_run_changes_nothing_and_asks_little(cluster, state):
    result = cluster.run(**(WANTED | {"state": state}))
    assert result["changed"] is False
    assert result["actions"] == []
    assert cluster.calls() == []
    assert result["cluster"]["state"] == "running"


def test_nothing_is_left_in_the_temporary_directory(cluster):
    cluster.run(state="absent")
    assert cluster.leftovers() == []


@pytest.mark.parametrize("state", ["present", "started", "stopped", "absent"])
def test_check_mode_predicts_from_nothing_and_does_nothing(host, state):
    result = host.run(check=True, diff=True, **(WANTED | {"state": state}))
    creates = state in {"present", "started"}
    assert result["changed"] is creates
    assert host.calls() == []
    assert result["diff"]["before"] == {"name": "kyma", "state": "absent", "context": "k3d-kyma"}
    assert result["diff"]["after"]["state"] == ("running" if creates else "absent")
    if creates:
        assert result["diff"]["after"]["ports"] == [f"127.0.0.1:{HTTPS}:443", f"127.0.0.1:{HTTP}:80"]


def test_further_ports_of_the_cluster_are_left_alone(cluster):
    assert cluster.run(**(WANTED | {"ports": WANTED["ports"][:1]}))["changed"] is False


def test_a_wider_binding_is_good_enough_with_a_warning(host):
    host.run(**(WANTED | {"ports": [f"{HTTPS}:443@loadbalancer"]}))
    result = host.run(**(WANTED | {"ports": [f"127.0.0.1:{HTTPS}:443@loadbalancer"]}))
    assert result["changed"] is False
    assert f"Port {HTTPS} of the cluster kyma is open on all addresses" in result.words


CHANGES = {
    "image": (
        {"image": "rancher/k3s:v1.32.9-k3s1"},
        "the k3s image is rancher/k3s:v1.33.7-k3s1, requested is rancher/",
    ),
    "arguments": ({"k3s_args": []}, "the k3s arguments of k3d-kyma-server-0 are --disable=traefik, requested are none"),
    "servers": ({"servers": 3}, "the number of servers is 1, requested is 3"),
    "agents": ({"agents": 2}, "the number of agents is 0, requested is 2"),
    "configuration": ({"config": {"volumes": [{"volume": "/a:/a", "nodeFilters": ["all"]}]}}, "'volumes' of the"),
    "registries": ({"registries": {"use": ["k3d-registry:5000"]}}, "'registries' of the configuration"),
    "a further port": (
        {"ports": [f"127.0.0.1:{FURTHER}:8443@loadbalancer"]},
        f"the port mapping 127.0.0.1:{FURTHER}:8443 is missing",
    ),
    "a port that leads elsewhere": (
        {"ports": [f"127.0.0.1:{HTTPS}:444@loadbalancer"]},
        f"the port mapping 127.0.0.1:{HTTPS}:444 is missing",
    ),
    "direct port": (
        {"ports": [f"127.0.0.1:{DIRECT}:30000@server:0:direct"]},
        f"the port mapping 127.0.0.1:{DIRECT}:30000",
    ),
}


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_refused_with_the_reason(cluster, change, words):
    for check in (True, False):
        result = cluster.run(check=check, **(WANTED | change))
        assert result["failed"] is True
        assert words in result["msg"]
        assert "recreate=true" in result["msg"]
        assert any(words in one for one in result["differences"])
        assert cluster.calls() == []


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_with_recreate_it_is_made_anew_once(cluster, change, words):
    wish = WANTED | change | {"recreate": True}
    predicted = cluster.run(check=True, **wish)
    done = cluster.run(**wish)
    assert done["actions"] == predicted["actions"]
    assert words in done["actions"][0]
    assert [one[1] for one in cluster.calls()] == ["delete", "create"]
    assert cluster.run(**wish)["changed"] is False


def test_a_stopped_cluster_stays_so_until_it_shall_run(cluster):
    stopped = cluster.run(state="stopped")
    assert stopped["actions"] == ["stop the cluster kyma"]
    assert stopped["cluster"]["state"] == "stopped"
    assert cluster.run(state="stopped")["changed"] is False
    present = cluster.run(**(WANTED | {"state": "present"}))
    assert (present["changed"], present["cluster"]["state"]) == (False, "stopped")
    predicted = cluster.run(check=True, **WANTED)
    assert (predicted["actions"], predicted["cluster"]["state"]) == (["start the cluster kyma"], "running")
    cluster.calls()
    assert cluster.run(**WANTED)["cluster"]["state"] == "running"
    assert cluster.calls() == [["cluster", "start", "kyma", "--wait=true", "--timeout=300s"]]


def test_a_cluster_of_which_one_node_died_is_started(cluster):
    clusters = cluster.state["clusters"]
    clusters["kyma"]["nodes"][0]["State"] = {"Running": False, "Status": "exited", "Started": ""}
    cluster.set(clusters=clusters)
    assert cluster.run(**WANTED)["actions"] == ["start the cluster kyma"]


def test_deleting_is_idempotent(cluster):
    assert cluster.run(state="absent", check=True)["changed"] is True
    assert cluster.run(state="absent")["actions"] == ["delete the cluster kyma"]
    again = cluster.run(state="absent")
    assert (again["changed"], again["cluster"]["state"]) == (False, "absent")
    assert [one[1] for one in cluster.calls()] == ["delete"]


def test_nothing_is_created_in_order_to_be_stopped(host):
    assert host.run(state="stopped")["changed"] is False
    assert host.calls() == []


# ---------------------------------------------------------------------------------------------------------- kubeconfig


def test_the_kubeconfig_is_the_owners_and_the_users_own_is_never_touched(host):
    own = host.home / ".kube" / "config"
    own.parent.mkdir()
    own.write_text("current-context: production\n", encoding="utf-8")
    path = host.home / "state" / "kubeconfig"
    wish = WANTED | {"kubeconfig": str(path)}
    predicted = host.run(check=True, **wish)
    assert not path.exists()
    done = host.run(**wish)
    assert done["actions"] == predicted["actions"] == [f"create the cluster kyma from {IMAGE}", f"write {path}"]
    assert done["kubeconfig"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text())["current-context"] == "k3d-kyma"
    assert "c2VjcmV0LWtleQ" not in done.printed
    assert host.run(**wish)["changed"] is False
    path.chmod(0o644)
    assert host.run(check=True, **wish)["actions"] == [f"write {path}"]
    assert host.run(**wish)["actions"] == [f"write {path}"]
    gone = host.run(state="absent", kubeconfig=str(path))
    assert gone["actions"] == ["delete the cluster kyma", f"remove {path}"]
    assert not path.exists()
    assert own.read_text(encoding="utf-8") == "current-context: production\n"


def test_the_users_own_kubeconfig_is_kept_by_k3d_when_that_is_asked_for(host):
    host.run(**WANTED, config={"options": {"kubeconfig": {"updateDefaultKubeconfig": True}}})
    assert "k3d-kyma" in (host.home / ".kube" / "config").read_text()


@pytest.mark.parametrize("content", ["contexts:\n- name: production\n", '{"users": [{"name": "me"}]}', "notes\n"])
def test_a_file_that_holds_anything_else_is_not_overwritten(cluster, content):
    path = cluster.home / "config"
    path.write_text(content, encoding="utf-8")
    result = cluster.run(**WANTED, kubeconfig=str(path))
    assert result["failed"] is True
    assert "Name a file for this cluster alone" in result["msg"]
    assert cluster.run(state="absent", kubeconfig=str(path))["actions"] == ["delete the cluster kyma"]
    assert path.read_text(encoding="utf-8") == content


def test_the_kubeconfig_of_a_stopped_cluster_is_written_when_it_is_started(cluster):
    path = cluster.home / "kubeconfig"
    wish = WANTED | {"kubeconfig": str(path)}
    cluster.run(state="stopped")
    assert cluster.run(**(wish | {"state": "present"}))["changed"] is False
    predicted = cluster.run(check=True, **wish)["actions"]
    assert cluster.run(**wish)["actions"] == predicted == ["start the cluster kyma", f"write {path}"]


# ------------------------------------------------------------------------------------------- clusters of somebody else


def test_a_cluster_that_was_made_by_hand_is_taken_as_it_is(cluster):
    cluster.forget_mark()
    result = cluster.run(**WANTED)
    assert result["changed"] is False
    assert result["cluster"]["made_by_this_collection"] is False
    assert result["cluster"]["image"] == IMAGE
    assert not result.get("warnings")


def test_its_image_is_compared_by_the_name_that_docker_knows(cluster):
    cluster.forget_mark()
    assert cluster.run(**(WANTED | {"image": f"docker.io/{IMAGE}"}))["changed"] is False
    assert "the k3s image is" in cluster.run(**(WANTED | {"image": "rancher/k3s:v1.34.1-k3s1"}))["msg"]


def test_without_the_docker_command_its_image_is_not_compared(cluster):
    cluster.forget_mark()
    cluster.remove("docker")
    result = cluster.run(**(WANTED | {"image": "rancher/k3s:v1.34.1-k3s1"}))
    assert result["changed"] is False
    assert "image of the cluster kyma is not known" in result.words


def test_what_k3d_does_not_tell_of_it_is_named(cluster):
    cluster.forget_mark()
    result = cluster.run(**WANTED, config={"env": [{"envVar": "A=B", "nodeFilters": ["all"]}]})
    assert "does not report env of a cluster" in result.words


# ------------------------------------------------------------------------------------------------------------ failures


def test_a_taken_port_is_named_and_nothing_is_left(host, listener):
    result = host.run(**(WANTED | {"ports": [f"127.0.0.1:{listener}:443@loadbalancer"]}))
    assert result["msg"].startswith(
        f"The cluster kyma was not created: the port 127.0.0.1:{listener} of this host is taken."
    )
    assert "k3d has rolled everything back" in result["msg"]
    assert host.state["clusters"] == {}
    assert host.leftovers() == []


def test_a_failed_rollback_is_finished(host, listener):
    host.set(rollback_fails=True)
    result = host.run(**(WANTED | {"ports": [f"127.0.0.1:{listener}:443@loadbalancer"]}))
    assert result["msg"].endswith("Nothing of it is left.")
    assert host.state["clusters"] == {}


def test_an_image_that_cannot_be_pulled_is_named(host):
    result = host.run(**(WANTED | {"image": "rancher/k3s:v9.9.9-k3s1"}))
    assert "the image rancher/k3s:v9.9.9-k3s1 cannot be pulled" in result["msg"]
    assert "no such host" in result["msg"]
    assert host.state["clusters"] == {}


CRASHED = (
    "error during post-start cluster preparation: error waiting for log line `cluster dns configmap` from node "
    "'k3d-kyma-server-0': stopped returning log lines: node k3d-kyma-server-0 is running=true in status=restarting"
)


@pytest.mark.parametrize("colours", ["", "0"])
def test_the_reason_is_told_and_not_what_k3d_did_about_it(host, colours, monkeypatch):
    """k3d's lines are coloured whatever NO_COLOR says, or of another format; its last ones say nothing."""
    monkeypatch.setenv("LOG_COLORS", colours)
    host.set(start_fails=CRASHED)
    result = host.run(**WANTED)
    assert result["msg"] == (
        f"The cluster kyma was not created: Failed Cluster Start: {CRASHED}. k3d has rolled everything back."
    )
    assert "\x1b" not in json.dumps(result["stderr_lines"])
    assert result["stderr_lines"][-1] == "Cluster creation FAILED, all changes have been rolled back!"


def test_what_k3ds_schema_refuses_is_told(host):
    result = host.run(**WANTED, config={"options": {"k4d": {}}})
    assert "k3d refuses the configuration: options: Additional property k4d is not allowed" in result["msg"]


def test_a_bad_name_is_told(host):
    assert "'Bad_Name' is not a valid name" in host.run(**WANTED, name="Bad_Name")["msg"]


@pytest.mark.parametrize("stage", ["prepared", "created"])
def test_an_interrupted_creation_is_made_good_by_the_next_run(host, stage):
    host.set(die=stage)
    assert host.run(**WANTED)["failed"] is True
    host.set(clusters={})
    host.set(die=stage)
    # k3d itself was killed, and so was whoever could have cleaned up: play that, too.
    killed = subprocess.run(
        [str(host.bin / "k3d"), "cluster", "create", "--config", str(written_config(host))],
        env=host.environment,
        capture_output=True,
        check=False,
    )
    assert killed.returncode < 0
    assert "kyma" in host.state["clusters"]
    host.calls()
    result = host.run(**WANTED)
    assert result["changed"] is True
    assert result["cluster"]["state"] == "running"
    assert "delete" in [one[1] for one in host.calls()]
    assert host.run(**WANTED)["changed"] is False


def written_config(host: Host) -> Path:
    path = host.directory / "config.yaml"
    path.write_text(json.dumps(host.config()), encoding="utf-8")
    return path


def test_an_unfinished_cluster_of_somebody_else_is_not_deleted_unasked(cluster):
    cluster.forget_mark()
    cluster.change_nodes(State={"Running": False, "Status": "created", "Started": ""})
    result = cluster.run(**WANTED)
    assert "is unfinished" in result["msg"]
    assert cluster.calls() == []
    assert cluster.run(**WANTED, recreate=True)["changed"] is True


def test_a_killed_k3d_leaves_nothing(host):
    host.set(die="created")
    result = host.run(**WANTED)
    assert result["msg"].endswith("Nothing of it is left.")
    assert host.state["clusters"] == {}


def test_a_creation_that_hangs_is_ended_and_cleaned_up(host):
    host.set(hang=True)
    result = host.run(**WANTED, timeout=-118)
    assert "has not ended after 2 seconds and was ended" in result["msg"]
    assert "Nothing of it is left" in result["msg"]
    assert host.state["clusters"] == {}


def test_a_missing_k3d_is_told(host):
    host.remove("k3d")
    result = host.run(**WANTED)
    assert result["msg"].startswith("k3d (k3d) is not installed on this host")
    assert "cluster_install_tools" in result["msg"]


@pytest.mark.parametrize("version", ["v5.8.2", "v4.4.8"])
def test_an_old_k3d_is_told(host, version):
    host.set(version=version)
    assert f"k3d is {version[1:]} ({host.bin}/k3d), but 5.8.3 or later is needed" in host.run(**WANTED)["msg"]


def test_docker_that_does_not_answer_is_told(host):
    host.set(docker={"up": False})
    message = host.run(**WANTED)["msg"]
    assert message.startswith("k3d cannot list its clusters: Docker does not answer at unix:///var/run/docker.sock.")


def test_docker_that_this_user_may_not_use_is_told(host):
    host.set(docker={"up": True, "allowed": False})
    assert "this user may not use Docker at unix:///var/run/docker.sock" in host.run(**WANTED)["msg"]


def test_an_answer_that_is_not_k3ds_is_not_shown(host):
    host.set(garbage=True)
    result = host.run(**WANTED)
    assert "cannot be read" in result["msg"]
    assert "garbagetoken" not in result.printed


# -------------------------------------------------------------------------------------------------------------- secret


def test_dollar_signs_and_secrets_reach_k3d_as_they_are(host):
    config = {"token": TOKEN + "$HOME", "env": [{"envVar": "PRICE=$5 ${HOME}", "nodeFilters": ["server:0"]}]}
    result = host.run(**WANTED, config=config)
    assert host.config()["token"] == TOKEN + "$HOME"
    assert host.config()["env"][0]["envVar"] == "PRICE=$5 ${HOME}"
    assert TOKEN not in result.printed


def test_the_token_is_in_no_output_however_verbose(host, tmp_path):
    playbook = tmp_path / "playbook.yml"
    task = {"register": "cluster", "kyma.mtls.k3d_cluster": {"name": "kyma", **WANTED, "config": {"token": TOKEN}}}
    broken = {
        "ignore_errors": True,
        "kyma.mtls.k3d_cluster": task["kyma.mtls.k3d_cluster"] | {"image": "rancher/k3s:v1.32.9-k3s1"},
    }
    tasks = [task, task, {"ansible.builtin.debug": {"var": "cluster"}}, broken]
    playbook.write_text(
        json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}])
    )
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-vvvv", "--diff", str(playbook), "-i", "localhost,",
         "-e", f"ansible_python_interpreter={sys.executable}"],
        env={**host.environment, "PATH": f"{host.bin}:/usr/bin:/bin", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
             "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"), "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "k3d-kyma-server-0" in done.stdout
    assert "changed=1" in done.stdout
    assert host.token == TOKEN
    assert TOKEN not in done.stdout + done.stderr


def test_the_token_that_k3d_made_is_in_no_output_either(cluster):
    outputs = [
        cluster.run(diff=True, **WANTED),
        cluster.run(diff=True, **(WANTED | {"agents": 3})),
        cluster.run(state="stopped"),
    ]
    assert len(cluster.token) == 20
    assert all(cluster.token not in one.printed for one in outputs)


# ------------------------------------------------------------------------------------------------------- documentation


def test_the_documentation_agrees_with_the_options():
    documented = yaml.safe_load(k3d_cluster.DOCUMENTATION)["options"]
    assert documented["registries"] == documented["config"]["suboptions"]["registries"]
    assert set(documented["config"]["suboptions"]) == set(k3d_cluster.CONFIG)
    assert set(documented["registries"]["suboptions"]) == set(k3d_cluster.REGISTRIES["options"])
