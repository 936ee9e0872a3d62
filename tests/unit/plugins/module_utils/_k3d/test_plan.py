# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wanted, what is there, and what follows; corners that the module's own tests do not reach."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d import client, config, kubeconfig, observe, preflight, tool
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import Mark, wanted
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.plan import describe, differences, plan, same_image
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.ports import Mapping
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

IMAGE = "rancher/k3s:v1.33.7-k3s1"
API = {
    "k3d.server.api.host": "127.0.0.1",
    "k3d.server.api.port": "16550",
    "k3d.server.loadbalancer": "k3d-kyma-serverlb",
}


def node(name: str, role: str, **parts: t.Any) -> dict[str, t.Any]:
    state = {"Running": True, "Status": "running", "Started": ""}
    return {"name": f"k3d-kyma-{name}", "role": role, "State": state, "runtimeLabels": API, **parts}


def server(index: int = 0, *more: str, **parts: t.Any) -> dict[str, t.Any]:
    own = ["--tls-san", "127.0.0.1", "--tls-san", "k3d-kyma-serverlb"]
    return node(f"server-{index}", "server", Cmd=["server", "--disable=traefik", *more, *own], **parts)


def balancer(name: str = "serverlb", **ports: list[dict[str, str]]) -> dict[str, t.Any]:
    return node(name, "loadbalancer", Cmd=None, portMappings={key.strip("p"): value for key, value in ports.items()})


def read(*nodes: dict[str, t.Any]) -> observe.Cluster:
    clusters, _tokens = observe.read_clusters(json.dumps([{"name": "kyma", "nodes": list(nodes)}]))
    return clusters[0]


def marked(wish: config.Wanted) -> list[str]:
    return [f"{config.MARK}={config.mark_text(wish.mark)}"]


# ------------------------------------------------------------------------------------------------------------- reading


def test_arguments_of_k3d_itself_are_not_the_users():
    found = read(
        server(0, "--tls-san", "my.example", "--node-label", "a=b", "--cluster-init"),
        server(1),
        node("agent-0", "agent", Cmd=["agent", "--debug"]),
        balancer(),
    )
    assert [one.arguments for one in found.of("server")] == [
        ("--disable=traefik", "--tls-san", "my.example"),
        ("--disable=traefik",),
    ]
    assert found.of("agent")[0].arguments == ("--debug",)


def test_a_command_of_another_shape_is_taken_as_it_is():
    assert read(server(), node("agent-0", "agent", Cmd=["--debug"])).of("agent")[0].arguments == ("--debug",)


def test_tokens_are_found_wherever_k3d_puts_them():
    nodes = [server(env=["K3S_TOKEN=one", "PATH=/bin"]), balancer() | {"runtimeLabels": {"k3d.cluster.token": "two"}}]
    _clusters, tokens = observe.read_clusters(json.dumps([{"name": "kyma", "nodes": nodes}]))
    assert tokens == {"one", "two"}


@pytest.mark.parametrize("text", ["", "null", "7", '[{"nodes": []}]', '[{"name": "a", "nodes": [7]}]', "{}x"])
def test_an_answer_of_another_shape_is_an_error(text):
    with pytest.raises(MtlsError, match="cannot be read"):
        observe.read_clusters(text)


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"image": "a"}', '{"image": "a", "parts": []}'])
def test_a_mark_that_somebody_spoiled_is_none(text):
    assert config.read_mark(text) is None
    assert read(server(env=[f"{config.MARK}={text}"])).mark is None


def test_a_mark_is_read_as_it_was_written():
    mark = Mark(IMAGE, {"token": "0123456789ab"})
    assert config.read_mark(config.mark_text(mark)) == mark


def test_an_address_without_api_labels_is_unknown():
    found = read(node("server-0", "server", runtimeLabels=None, Cmd=["server"]))
    assert describe(found, name="kyma")["api_server"] == ""


# -------------------------------------------------------------------------------------------------------------- wishes


def test_options_win_over_the_configuration():
    wish = wanted(
        "kyma",
        config={
            "image": "old", "servers": 3, "agents": None, "ports": ["1:1"], "metadata": {"name": "kyma"},
            "options": {"k3s": {"extraArgs": [{"arg": "--a"}]}, "kubeconfig": {"switchCurrentContext": True}},
        },
        image="new", ports=["2:2"], k3s_args=["--b"], timeout_seconds=7, wait=False,
    )  # fmt: skip
    assert (wish.image, wish.servers, wish.agents) == ("new", 3, None)
    assert wish.config["ports"] == [{"port": "2:2"}]
    assert wish.config["options"]["k3s"]["extraArgs"] == [{"arg": "--b"}]
    assert wish.config["options"]["k3d"] == {"wait": False, "timeout": "7s"}
    assert wish.config["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": True}
    assert not wish.touches_default_kubeconfig


def test_the_given_configuration_is_not_changed():
    given = {"options": {"k3d": {"disableImageVolume": True}}, "env": []}
    wanted("kyma", config=given)
    assert given == {"options": {"k3d": {"disableImageVolume": True}}, "env": []}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"apiVersion": "k3d.io/v1alpha4"}, "config has apiVersion 'k3d.io/v1alpha4'"),
        ({"kind": "Cluster"}, "config has kind 'Cluster'"),
        ({"metadata": {"name": "other"}}, "config has metadata.name 'other'"),
        ({"options": []}, "options that are no mappings"),
        ({"options": {"k3s": []}}, "options that are no mappings"),
    ],
)
def test_a_configuration_that_contradicts_is_refused(given, words):
    with pytest.raises(MtlsError, match=words):
        wanted("kyma", config=given)


def test_secrets_of_the_configuration_are_known():
    given = {"token": "tok", "registries": {"create": {"proxy": {"password": "pass"}}}}
    assert wanted("kyma", config=given).secrets == ("tok", "pass")
    assert wanted("kyma").secrets == ()


def test_the_mark_tells_of_every_part_without_telling_it():
    given = {
        "token": "secret",
        "options": {"runtime": {"serversMemory": "4g"}, "k3d": {"wait": True}, "kubeconfig": {}},
    }
    parts = wanted("kyma", config=given, image=IMAGE, ports=["1:1"], servers=1).mark.parts
    assert set(parts) == {"token", "options.runtime"}
    assert "secret" not in str(parts)


def test_a_dollar_sign_survives_what_k3d_does_to_its_file():
    text = config.render({"token": "a$b"}).decode()
    for name, value in config.environment().items():
        text = text.replace(f"${{{name}}}", value)
    assert json.loads(text) == {"token": "a$b"}


# --------------------------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("rancher/k3s:v1", "docker.io/rancher/k3s:v1", True),
        ("k3s", "docker.io/library/k3s:latest", True),
        ("localhost/k3s:v1", "rancher/k3s:v1", False),
        ("localhost:5000/k3s", "localhost:5000/k3s:latest", True),
        ("rancher/k3s@sha256:0", "rancher/k3s:latest", False),
    ],
)
def test_names_of_images_are_compared_by_what_they_mean(one, other, same):
    assert same_image(one, other) is same


def test_a_lost_load_balancer_takes_a_new_cluster():
    wish = wanted("kyma", ports=["1:1"])
    found, _warnings = differences(wish, read(server()))
    assert [str(one) for one in found] == ["the load balancer is missing, wanted is there"]
    with pytest.raises(MtlsError, match="the load balancer is missing"):
        plan(wish, read(server()), state="started")


def test_without_a_load_balancer_no_port_is_looked_for():
    wish = wanted("kyma", ports=["1:1"], config={"options": {"k3d": {"disableLoadbalancer": True}}})
    alone = read(server(env=marked(wish)))
    assert plan(wish, alone, state="started").steps == ()


def test_a_load_balancer_that_was_being_replaced_is_not_an_unfinished_creation():
    made = {"Running": False, "Status": "created", "Started": ""}
    found = read(server(), balancer() | {"State": made}, balancer("serverlb-WqxXp"))
    assert found.never_finished is False
    assert plan(wanted("kyma"), found, state="started").steps[0].words == "start the cluster kyma"


def test_a_direct_mapping_that_is_there_is_no_difference():
    wish = wanted("kyma", ports=["127.0.0.1:5:6@server:0:direct"])
    there = {"6/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5"}]}
    assert plan(wish, read(server(portMappings=there), balancer()), state="started").steps == ()


def test_any_free_port_of_the_host_is_good_where_none_is_asked_for():
    have = read(server(), balancer(p443=[{"HostIp": "", "HostPort": "32771"}]))
    assert plan(wanted("kyma", ports=["443@loadbalancer"]), have, state="started").steps == ()


def test_the_same_port_of_another_address_is_free():
    have = read(server(), balancer(p443=[{"HostIp": "127.0.0.1", "HostPort": "443"}]))
    steps = plan(wanted("kyma", ports=["127.0.0.2:443:8443@loadbalancer"]), have, state="started").steps
    assert [one.words for one in steps] == ["map the ports 127.0.0.2:443:8443"]


def test_labels_of_nodes_are_not_compared_as_arguments():
    wish = wanted("kyma", k3s_args=["--disable=traefik"])
    found = read(server(0, "--node-label", "a=b"), balancer())
    assert differences(wish, found)[0] == ()


def test_arguments_go_to_the_nodes_that_their_filters_name():
    wish = wanted("kyma", k3s_args=["--disable=traefik@server:*", "--debug@agent:1"])
    agents = [node(f"agent-{index}", "agent", Cmd=["agent"]) for index in (0, 1)]
    found = differences(wish, read(server(), *agents, balancer()))[0]
    assert [str(one) for one in found] == ["the k3s arguments of k3d-kyma-agent-1 is none, wanted is --debug"]


def test_all_differences_are_told_at_once():
    wish = wanted("kyma", servers=3, agents=1, k3s_args=[])
    with pytest.raises(MtlsError) as caught:
        plan(wish, read(server(), balancer()), state="started")
    assert len(caught.value.details["differences"]) == 3


def test_a_part_that_was_taken_away_is_a_difference():
    made_with = wanted("kyma", config={"token": "a"})
    have = read(server(env=marked(made_with)), balancer())
    assert plan(made_with, have, state="started").steps == ()
    with pytest.raises(MtlsError, match="'token' of the configuration"):
        plan(wanted("kyma"), have, state="started")


# --------------------------------------------------------------------------------------------------------------- tools


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Bind for 0.0.0.0:443 failed: port is already allocated", "the port 0.0.0.0:443 of this host is taken"),
        ("listen tcp4 0.0.0.0:80: bind: permission denied", "rootless Docker may not below 1024"),
        (
            "docker failed to pull image 'rancher/k3s:v1': Error response from daemon: toomanyrequests: You",
            "the image rancher/k3s:v1 cannot be pulled now: its registry limits anonymous pulls",
        ),
        ("Failed Cluster Start: context deadline exceeded", "docker logs k3d-kyma-server-0"),
        ("something new", "something new"),
    ],
)
def test_causes_are_told_in_words(line, words):
    assert words in tool.cause(f"ERRO[0012] {line} \nFATA[0013] rolled back \n", name="kyma")


def test_without_any_word_that_is_said():
    assert tool.cause("") == "it said nothing about the reason"
    assert tool.complaints("plain\n\n words \n") == ["plain", "words"]


def test_secrets_are_hidden_in_what_k3d_says():
    one = tool.Tool(name="k3d", path="/nonexistent", secrets={"abc", "abcdef"})
    text = 'x abcdef "k3d.cluster.token":"other","a":1 K3S_TOKEN=third" abc'
    assert one.hide(text) == 'x ******** "k3d.cluster.token":"********","a":1 K3S_TOKEN=********" ********'


def test_a_program_that_cannot_be_started_is_told(tmp_path):
    program = tmp_path / "k3d"
    program.write_bytes(b"\0no program")
    program.chmod(0o755)
    with pytest.raises(MtlsError, match="cannot be started: "):
        tool.Tool(name="k3d", path=str(program)).run("version")


def script(tmp_path, text: str) -> client.K3d:
    program = tmp_path / "k3d"
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    program.chmod(0o755)
    return client.K3d(tool=tool.Tool(name="k3d", path=str(program)), version=(5, 9, 0))


def test_a_program_that_is_not_k3d_is_told(tmp_path):
    with pytest.raises(MtlsError, match="it is not k3d, or broken"):
        client.k3d_version(script(tmp_path, "echo hello").tool)


def test_a_kubeconfig_that_cannot_be_had_is_told(tmp_path):
    with pytest.raises(MtlsError, match="The kubeconfig of the cluster kyma cannot be read: no way"):
        script(tmp_path, "echo 'FATA[0000] no way ' >&2; exit 1").kubeconfig("kyma")
    with pytest.raises(MtlsError, match="has not printed a kubeconfig"):
        script(tmp_path, "echo nothing").kubeconfig("kyma")


def test_a_cluster_that_somebody_else_made_meanwhile_is_left_alone(tmp_path):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"name": "kyma", "nodes": [server(), balancer()]}]), encoding="utf-8")
    words = "FATA[0000] Failed to create cluster 'kyma' because a cluster with that name already exists "
    k3d = script(
        tmp_path, f'[ "$2" = list ] && cat {listed} && exit 0; echo "$*" >> {tmp_path}/log; echo "{words}" >&2; exit 1'
    )
    wish = wanted("kyma")
    with pytest.raises(MtlsError, match="somebody else created it meanwhile"):
        k3d.carry_out(plan(wish, None, state="started"), wish)
    assert "delete" not in (tmp_path / "log").read_text()


def test_remains_that_cannot_be_removed_are_told(tmp_path):
    k3d = script(tmp_path, "echo 'INFO[0000] Prep: Network'; echo 'FATA[0000] broken ' >&2; exit 1")
    wish = wanted("kyma")
    with pytest.raises(
        MtlsError, match=r"broken\. What is left of it could not be removed: run 'k3d cluster delete kyma"
    ):
        k3d.carry_out(plan(wish, None, state="started"), wish)


def test_an_interrupted_run_cleans_up_and_stays_interrupted(tmp_path, monkeypatch):
    k3d = script(tmp_path, f'echo "$*" >> {tmp_path}/log')
    real = tool.Tool.run

    def interrupted(self, *arguments, **options):
        if arguments[1] == "create":
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    monkeypatch.setattr(tool.Tool, "run", interrupted)
    wish = wanted("kyma")
    with pytest.raises(KeyboardInterrupt):
        k3d.carry_out(plan(wish, None, state="started"), wish)
    assert (tmp_path / "log").read_text() == "cluster delete kyma\n"


@pytest.mark.parametrize("shown", ["echo sha256:0123", "exit 1", "echo"])
def test_an_image_that_docker_does_not_name_is_unknown(tmp_path, shown):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"name": "kyma", "nodes": [server(), balancer()]}]), encoding="utf-8")
    k3d = script(tmp_path, f"cat {listed}")
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{shown}\n", encoding="utf-8")
    docker.chmod(0o755)
    k3d._docker = tool.Tool(name="docker", path=str(docker))
    found = k3d.cluster("kyma")
    assert found is not None
    assert found.image is None


def test_a_cluster_without_servers_has_no_image(tmp_path):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"name": "kyma", "nodes": [balancer()]}]), encoding="utf-8")
    found = script(tmp_path, f"cat {listed}").cluster("kyma")
    assert found is not None
    assert (found.image, found.never_finished) == (None, True)


# --------------------------------------------------------------------------------------------------------------- files


def test_an_empty_kubeconfig_may_be_written(tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text("\n")
    assert kubeconfig.check_owner(path, cluster="kyma") is True
    assert kubeconfig.is_current(tmp_path / "missing", b"") is False


def test_a_kubeconfig_that_cannot_be_removed_is_told(tmp_path):
    (tmp_path / "directory" / "full").mkdir(parents=True)
    with pytest.raises(MtlsError, match="cannot be removed"):
        kubeconfig.remove(tmp_path / "directory")


# --------------------------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    "printed",
    [
        '{"ServerVersion": "", "ServerErrors": ["Cannot connect to the Docker daemon at unix:///d.sock. Is it?"]}',
        "no JSON",
    ],
)
def test_a_docker_that_answers_with_empty_fields_is_no_docker(tmp_path, printed):
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho '{printed}'\n", encoding="utf-8")
    docker.chmod(0o755)
    with pytest.raises(MtlsError, match="Docker cannot be used: "):
        preflight.docker_information(tool.Tool(name="Docker", path=str(docker)))


def test_ports_are_looked_at_by_protocol_and_address():
    import socket  # noqa: PLC0415  (only here)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not one of free_port, which holds the UDP port of the same number.
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen(1)
        assert preflight.is_taken(Mapping(port, "127.0.0.1", 443, "tcp"))
        assert preflight.is_taken(Mapping(port, "", 443, "tcp"))
        assert not preflight.is_taken(Mapping(port, "", 443, "udp"))
        assert not preflight.is_taken(Mapping(port, "::1", 443, "tcp"))
        # What a user without rights for the port can find out.
        assert preflight._answers(Mapping(port, "", 443, "tcp"), socket.AF_INET)
        assert not preflight._answers(Mapping(free_port(), "127.0.0.1", 443, "tcp"), socket.AF_INET)
        assert not preflight._answers(Mapping(port, "::1", 443, "tcp"), socket.AF_INET6)


def test_kernel_limits_are_read_where_there_are_any(tmp_path):
    (tmp_path / "max_user_instances").write_text("128\n")
    assert preflight.inotify_limits(tmp_path) == {"max_user_instances": 128}


@pytest.mark.parametrize(
    ("host", "elsewhere"),
    [("", False), ("unix:///var/run/docker.sock", False), ("ssh://me@host", True), ("tcp://a:1", True)],
)
def test_a_docker_elsewhere_is_known_by_its_address(host, elsewhere):
    assert preflight.docker_is_elsewhere({"DOCKER_HOST": host}) is elsewhere
