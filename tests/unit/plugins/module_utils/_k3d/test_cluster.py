# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wanted, what is there, and what follows; corners that the module's own tests do not reach."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d import cli, cluster, config, lifecycle
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.cluster import describe, differences
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import Argument, ClusterSpec, Mapping, Mark, read
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.lifecycle import plan
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


def listed(*nodes: dict[str, t.Any]) -> cluster.Cluster:
    clusters, _tokens = cluster.read_clusters(json.dumps([{"name": "kyma", "nodes": list(nodes)}]))
    return clusters["kyma"]


def marked(wish: ClusterSpec) -> list[str]:
    return [f"{config.MARK}={config.mark_text(wish.mark)}"]


# ------------------------------------------------------------------------------------------------------------- reading


def test_arguments_of_k3d_itself_are_not_the_users():
    found = listed(
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
    assert listed(server(), node("agent-0", "agent", Cmd=["--debug"])).of("agent")[0].arguments == ("--debug",)


def test_tokens_are_found_wherever_k3d_puts_them():
    nodes = [server(env=["K3S_TOKEN=one", "PATH=/bin"]), balancer() | {"runtimeLabels": {"k3d.cluster.token": "two"}}]
    _clusters, tokens = cluster.read_clusters(json.dumps([{"name": "kyma", "nodes": nodes}]))
    assert tokens == {"one", "two"}


@pytest.mark.parametrize("text", ["", "null", "7", '[{"nodes": []}]', '[{"name": "a", "nodes": [7]}]', "{}x"])
def test_an_answer_of_another_shape_is_an_error(text):
    with pytest.raises(MtlsError, match="cannot be read"):
        cluster.read_clusters(text)


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"image": "a"}', '{"image": "a", "parts": []}'])
def test_a_mark_that_somebody_spoiled_is_none(text):
    assert config.read_mark(text) is None
    assert listed(server(env=[f"{config.MARK}={text}"])).mark is None


def test_a_mark_is_read_as_it_was_written():
    mark = Mark(IMAGE, {"token": "0123456789ab"})
    assert config.read_mark(config.mark_text(mark)) == mark


def test_an_address_without_api_labels_is_unknown():
    found = listed(node("server-0", "server", runtimeLabels=None, Cmd=["server"]))
    assert describe(found, name="kyma")["api_server"] == ""


# -------------------------------------------------------------------------------------------------------------- wishes


def test_options_win_over_the_configuration():
    wish = read(
        "kyma",
        config={
            "image": "old", "servers": 3, "agents": None, "ports": ["1:1"], "metadata": {"name": "kyma"},
            "options": {"k3s": {"extraArgs": [{"arg": "--a"}]}, "kubeconfig": {"switchCurrentContext": True}},
        },
        image="new", ports=["2:2"], k3s_args=["--b"], timeout_seconds=7, wait=False,
    )  # fmt: skip
    assert (wish.image, wish.count("server"), wish.count("agent")) == ("new", 3, None)
    assert wish.config["ports"] == [{"port": "2:2"}]
    assert wish.config["options"]["k3s"]["extraArgs"] == [{"arg": "--b"}]
    assert wish.config["options"]["k3d"] == {"wait": False, "timeout": "7s"}
    assert wish.config["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": True}
    assert not wish.touches_default_kubeconfig


def test_the_given_configuration_is_not_changed():
    given = {"options": {"k3d": {"disableImageVolume": True}}, "env": []}
    read("kyma", config=given)
    assert given == {"options": {"k3d": {"disableImageVolume": True}}, "env": []}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"apiVersion": "k3d.io/v1alpha4"}, "config has apiVersion 'k3d.io/v1alpha4'"),
        ({"kind": "Cluster"}, "config has kind 'Cluster'"),
        ({"metadata": {"name": "other"}}, "config has metadata.name 'other'"),
        ({"options": []}, "options that are not mappings"),
        ({"options": {"k3s": []}}, "options that are not mappings"),
    ],
)
def test_a_configuration_that_contradicts_is_refused(given, words):
    with pytest.raises(MtlsError, match=words):
        read("kyma", config=given)


def test_secrets_of_the_configuration_are_known():
    given = {"token": "tok", "registries": {"create": {"proxy": {"password": "pass"}}}}
    assert read("kyma", config=given).secrets == {"tok", "pass"}
    assert read("kyma").secrets == set()


def test_the_mark_tells_of_every_part_without_telling_it():
    given = {
        "token": "secret",
        "options": {"runtime": {"serversMemory": "4g"}, "k3d": {"wait": True}, "kubeconfig": {}},
    }
    parts = read("kyma", config=given, image=IMAGE, ports=["1:1"], servers=1).mark.parts
    assert set(parts) == {"token", "options.runtime"}
    assert "secret" not in str(parts)


def test_a_dollar_sign_survives_what_k3d_does_to_its_file():
    text = read("kyma", config={"token": "a$b"}).render().decode()
    for name, value in config.ENVIRONMENT.items():
        text = text.replace(f"${{{name}}}", value)
    assert json.loads(text)["token"] == "a$b"  # noqa: S105  (no password)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [Mapping(0, "", 80, "tcp")]),
        ("8080:80", [Mapping(8080, "", 80, "tcp")]),
        ("127.0.0.1:8080:80/udp", [Mapping(8080, "127.0.0.1", 80, "udp")]),
        ("127.0.0.1::80", [Mapping(0, "127.0.0.1", 80, "tcp")]),
        ("[::1]:8080:80", [Mapping(8080, "::1", 80, "tcp")]),
        ("8080-8081:80-81", [Mapping(8080, "", 80, "tcp"), Mapping(8081, "", 81, "tcp")]),
    ],
)
def test_mappings_are_read(text, expected):
    assert list(config.read_mappings(text)) == expected


@pytest.mark.parametrize("text", ["http:80", "8080:80/icmp", "1:2:3:4", "80 80", "0:80", "8080:70000", "90-80:90-80"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(MtlsError, match="ports has the port"):
        list(config.read_mappings(text))


def test_ranges_of_different_lengths_are_refused():
    with pytest.raises(MtlsError, match="not of the same length"):
        config.read_mappings("8080-8082:80-81")


@pytest.mark.parametrize("entry", [4880, 80.5, None, ["80:80"]])
def test_what_is_no_text_is_refused_with_the_reason(entry):
    with pytest.raises(MtlsError, match="YAML reads 80:80 as a number"):
        read("kyma", ports=[entry])


@pytest.mark.parametrize("entry", [{}, {"port": 80}, {"port": "80", "nodefilters": []}])
def test_mappings_of_another_shape_are_refused(entry):
    with pytest.raises(MtlsError, match="A mapping must have 'port'"):
        read("kyma", ports=[entry])


def test_both_ways_of_writing_mean_the_same():
    assert (
        read("kyma", ports=["8080:80@server:0;agent:1"])
        == read("kyma", ports=[{"port": "8080:80", "nodeFilters": ["server:0", "agent:1"]}])
        != read("kyma", ports=[{"port": "8080:80"}])
    )


def test_an_at_sign_that_is_escaped_belongs_to_the_value():
    found = read("kyma", k3s_args=[r"--label=me\@home@server:*", "--a"]).arguments
    assert found == (Argument("--label=me@home", ("server:*",)), Argument("--a", ()))


@pytest.mark.parametrize("text", ["--a@b@c", "--a@", "@server:*", ""])
def test_what_k3d_could_not_split_is_refused(text):
    with pytest.raises(MtlsError, match="Write VALUE@NODEFILTER"):
        read("kyma", k3s_args=[text])


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("all", {"server0", "server1", "agent0", "agent1", "agent2"}),
        ("server", {"server0", "server1"}),
        ("servers:*", {"server0", "server1"}),
        ("agent:0,2", {"agent0", "agent2"}),
        ("agents:1-", {"agent1", "agent2"}),
        ("agents:-1", {"agent0", "agent1"}),
        ("agent:1-1:direct", {"agent1"}),
        ("loadbalancer", set()),
        ("master", set()),
    ],
)
def test_filters_select_nodes(text, selected):
    nodes = [("server", 0), ("server", 1), ("agent", 0), ("agent", 1), ("agent", 2)]
    found = Argument("--a", (text,))
    assert {f"{role}{index}" for role, index in nodes if found.is_for(role, index)} == selected


def test_bindings_of_docker_are_read():
    node = server(
        portMappings={
            "443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18443"}],
            "6443": [{"HostIp": "0.0.0.0", "HostPort": "16550"}],  # noqa: S104  (a fact to be read)
            "53/udp": [{"HostIp": "", "HostPort": ""}],
            "80/tcp": None,
            "odd": [{"HostIp": "", "HostPort": "1"}],
        }
    )
    # That of the API server is no port of the cluster.
    assert describe(listed(node), name="kyma")["ports"] == ["53/udp", "127.0.0.1:18443:443"]


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
    assert (cluster._full_image(one) == cluster._full_image(other)) is same


def test_a_direct_mapping_that_is_there_is_no_difference():
    wish = read("kyma", ports=["127.0.0.1:5:6@server:0:direct"])
    there = {"6/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5"}]}
    assert plan(wish, listed(server(portMappings=there), balancer()), state="started")[0] == []


def test_any_free_port_of_the_host_is_good_where_none_is_asked_for():
    have = listed(server(), balancer(p443=[{"HostIp": "", "HostPort": "32771"}]))
    assert plan(read("kyma", ports=["443@loadbalancer"]), have, state="started")[0] == []


def test_labels_of_nodes_are_not_compared_as_arguments():
    wish = read("kyma", k3s_args=["--disable=traefik"])
    found = listed(server(0, "--node-label", "a=b"), balancer())
    assert differences(wish, found)[0] == []


def test_arguments_go_to_the_nodes_that_their_filters_name():
    wish = read("kyma", k3s_args=["--disable=traefik@server:*", "--debug@agent:1"])
    agents = [node(f"agent-{index}", "agent", Cmd=["agent"]) for index in (0, 1)]
    found = differences(wish, listed(server(), *agents, balancer()))[0]
    assert found == ["the k3s arguments of k3d-kyma-agent-1 are none, requested are --debug"]


def test_all_differences_are_told_at_once():
    wish = read("kyma", servers=3, agents=1, k3s_args=[])
    with pytest.raises(MtlsError) as caught:
        plan(wish, listed(server(), balancer()), state="started")
    assert len(caught.value.details["differences"]) == 3


def test_a_part_that_was_taken_away_is_a_difference():
    made_with = read("kyma", config={"token": "a"})
    have = listed(server(env=marked(made_with)), balancer())
    assert plan(made_with, have, state="started")[0] == []
    with pytest.raises(MtlsError, match="'token' of the configuration"):
        plan(read("kyma"), have, state="started")


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
    assert words in cli.cause(f"ERRO[0012] {line} \nFATA[0013] rolled back \n", name="kyma")


def test_without_any_word_that_is_said():
    assert cli.cause("") == "it said nothing about the reason"
    assert cli.complaints("plain\n\n words \n") == ["plain", "words"]


def test_secrets_are_hidden_in_what_k3d_says():
    one = cli.Tool(name="k3d", path="/nonexistent", secrets={"abc", "abcdef"})
    text = 'x abcdef "k3d.cluster.token":"other","a":1 K3S_TOKEN=third" abc'
    assert one.hide(text) == 'x ******** "k3d.cluster.token":"********","a":1 K3S_TOKEN=********" ********'


def test_a_program_that_cannot_be_started_is_told(tmp_path):
    program = tmp_path / "k3d"
    program.write_bytes(b"\0no program")
    program.chmod(0o755)
    with pytest.raises(MtlsError, match="cannot be started: "):
        cli.Tool(name="k3d", path=str(program)).run("version")


def script(tmp_path, text: str) -> lifecycle.K3d:
    program = tmp_path / "k3d"
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    program.chmod(0o755)
    return lifecycle.K3d(tool=cli.Tool(name="k3d", path=str(program)), version=(5, 9, 0))


def test_a_program_that_is_not_k3d_is_told(tmp_path):
    with pytest.raises(MtlsError, match="it is not k3d, or broken"):
        cli.find_k3d(script(tmp_path, "echo hello").tool.path)


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
    wish = read("kyma")
    with pytest.raises(MtlsError, match="somebody else created it meanwhile"):
        k3d.create(wish)
    assert "delete" not in (tmp_path / "log").read_text()


def test_remains_that_cannot_be_removed_are_told(tmp_path):
    k3d = script(tmp_path, "echo 'INFO[0000] Prep: Network'; echo 'FATA[0000] broken ' >&2; exit 1")
    wish = read("kyma")
    with pytest.raises(
        MtlsError, match=r"broken\. What is left of it could not be removed: run 'k3d cluster delete kyma"
    ):
        k3d.create(wish)


def test_an_interrupted_run_cleans_up_and_stays_interrupted(tmp_path, monkeypatch):
    k3d = script(tmp_path, f'echo "$*" >> {tmp_path}/log')
    real = cli.Tool.run

    def interrupted(self, *arguments, **options):
        if arguments[1] == "create":
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    monkeypatch.setattr(cli.Tool, "run", interrupted)
    wish = read("kyma")
    with pytest.raises(KeyboardInterrupt):
        k3d.create(wish)
    assert (tmp_path / "log").read_text() == "cluster delete kyma\n"


@pytest.mark.parametrize("shown", ["echo sha256:0123", "exit 1", "echo"])
def test_an_image_that_docker_does_not_name_is_unknown(tmp_path, shown, monkeypatch):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"name": "kyma", "nodes": [server(), balancer()]}]), encoding="utf-8")
    k3d = script(tmp_path, f"cat {listed}")
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{shown}\n", encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = lifecycle._known(k3d, read("kyma"))
    assert found is not None
    assert found.image is None


def test_a_cluster_without_servers_has_no_image(tmp_path):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"name": "kyma", "nodes": [balancer()]}]), encoding="utf-8")
    found = lifecycle._known(script(tmp_path, f"cat {listed}"), read("kyma"))
    assert found is not None
    assert (found.image, found.never_finished) == (None, True)


# --------------------------------------------------------------------------------------------------------------- files


def test_an_empty_kubeconfig_may_be_written(tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text("\n")
    assert lifecycle._owns(path, "kyma", state="started") is True


def test_a_kubeconfig_that_cannot_be_removed_is_told(tmp_path):
    (tmp_path / "directory" / "full").mkdir(parents=True)
    options = {"state": "absent", "owned": True, "check_only": False, "running": False, "certain": False}
    with pytest.raises(MtlsError, match="cannot be removed"):
        lifecycle._kubeconfig(script(tmp_path, "exit 1"), "kyma", tmp_path / "directory", **options)


# --------------------------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    "printed",
    [
        '{"ServerVersion": "", "ServerErrors": ["Cannot connect to the Docker daemon at unix:///d.sock. Is it?"]}',
        "no JSON",
    ],
)
def test_a_docker_that_answers_with_empty_fields_is_no_docker(tmp_path, printed, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho '{printed}'\n", encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    host = cli.HostCheck()
    cli.check_docker(host)
    assert host.problems[0].startswith("Docker cannot be used: ")


def test_ports_are_looked_at_by_protocol_and_address():
    import socket  # noqa: PLC0415  (only here)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Not one of free_port, which holds the UDP port of the same number.
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen(1)
        assert cli.is_taken(Mapping(port, "127.0.0.1", 443, "tcp"))
        assert cli.is_taken(Mapping(port, "", 443, "tcp"))
        assert not cli.is_taken(Mapping(port, "", 443, "udp"))
        assert not cli.is_taken(Mapping(port, "::1", 443, "tcp"))
        # What a user without rights for the port can find out.
        assert cli._answers(Mapping(port, "", 443, "tcp"), socket.AF_INET)
        assert not cli._answers(Mapping(free_port(), "127.0.0.1", 443, "tcp"), socket.AF_INET)
        assert not cli._answers(Mapping(port, "::1", 443, "tcp"), socket.AF_INET6)


def test_kernel_limits_are_read_where_there_are_any(tmp_path):
    (tmp_path / "max_user_instances").write_text("128\n")
    host = cli.HostCheck()
    cli.check_inotify(host, tmp_path)
    assert [one.partition(";")[0] for one in host.warnings] == ["fs.inotify.max_user_instances is 128"]
