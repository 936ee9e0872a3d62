# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What k3d 5.9.0 and docker answer, played without containers. See README.md."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
import time
import typing as t
from pathlib import Path

DEFAULTS: dict[str, t.Any] = {
    "clusters": {},
    "version": "v5.9.0",
    "docker": {"up": True, "allowed": True, "version": "28.5.2", "cgroup": "2"},
    "unpullable": ["rancher/k3s:v9.9.9-k3s1"],
    "die": "",  # a creation ends by SIGKILL: "prepared" (only k3d's tools run), "created" (no node was started)
    "hang": False,  # a creation does not end
    "start_fails": "",  # why a node does not start
    "rollback_fails": False,
    "garbage": False,  # `cluster list` answers something else
}
EVERYWHERE = "0.0.0.0"  # noqa: S104  (bound for a moment, as Docker would)
SOCKET = "unix:///var/run/docker.sock"
NODE_FILTER = re.compile(r"(servers?|agents?|loadbalancer|all)(?::(\d+(?:,\d+)*|\d*-\d*|\*))?(?::([a-z]+))?")
ROOT_KEYS = {
    *("apiVersion", "kind", "metadata", "servers", "agents", "kubeAPI", "image", "network", "subnet", "token"),
    *("volumes", "ports", "files", "options", "env", "registries", "hostAliases"),
}


class FatalError(Exception):
    pass


def directory() -> Path:
    return Path(os.environ["K3D_DOUBLE"])


def load() -> dict[str, t.Any]:
    path = directory() / "state.json"
    return {**DEFAULTS, **(json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})}


def save(state: dict[str, t.Any]) -> None:
    (directory() / "state.json").write_text(json.dumps(state), encoding="utf-8")


def record(name: str, entry: t.Any) -> None:
    with (directory() / name).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


COLOURS = {"INFO": 36, "ERRO": 31, "FATA": 31}
NAMES = {"INFO": "info", "ERRO": "error", "FATA": "fatal"}


def log(level: str, text: str, *, stream: t.TextIO) -> None:
    """As logrus does for k3d: colours whatever NO_COLOR says; LOG_COLORS turns them off, and with them the format."""
    if os.environ.get("LOG_COLORS", "").lower() in ("0", "f", "false"):
        said = f'time="2026-11-29T09:46:54Z" level={NAMES[level]} msg={json.dumps(text)}'
    else:
        said = f"\x1b[{COLOURS[level]}m{level}\x1b[0m[0000] {text:<44} "
    print(said, file=stream, flush=True)


def info(text: str) -> None:
    log("INFO", text, stream=sys.stdout)


def error(text: str) -> None:
    log("ERRO", text, stream=sys.stderr)


def fatal(text: str) -> int:
    log("FATA", text, stream=sys.stderr)
    return 1


def docker_refuses(state: dict[str, t.Any]) -> str:
    if not state["docker"]["up"]:
        return f"Cannot connect to the Docker daemon at {SOCKET}. Is the docker daemon running?"
    if not state["docker"].get("allowed", True):
        return (
            f"permission denied while trying to connect to the Docker daemon socket at {SOCKET}: "
            'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.51/containers/json": '
            "dial unix /var/run/docker.sock: connect: permission denied"
        )
    return ""


# ------------------------------------------------------------------------------------------------------------- docker


def docker(words: list[str]) -> int:
    state = load()
    record("calls.jsonl", ["docker", *words])
    refusal = docker_refuses(state)
    if words[:1] == ["info"]:
        known = {} if refusal else {"ServerVersion": state["docker"]["version"], "OSType": "linux"}
        cgroup = {} if refusal else {"CgroupVersion": state["docker"]["cgroup"], "CgroupDriver": "systemd"}
        print(json.dumps({"ID": "", "ServerVersion": "", **known, **cgroup, "ClientInfo": {"Version": "28.5.2"}}))
        if refusal:
            print(refusal, file=sys.stderr)
        return int(bool(refusal))
    if words[:2] == ["container", "inspect"] and words[2:4] == ["--format", "{{.Config.Image}}"]:
        name = words[4]
        for cluster in state["clusters"].values():
            for node in cluster["nodes"]:
                if node["name"] == name and not refusal:
                    print(node["double.image"])
                    return 0
        print()
        print(refusal or f"Error response from daemon: No such container: {name}", file=sys.stderr)
        return 1
    print(f"docker: unknown command: docker {words[0]}", file=sys.stderr)
    return 1


# ---------------------------------------------------------------------------------------------------------------- k3d


def k3d(words: list[str]) -> int:
    state = load()
    record("calls.jsonl", ["k3d", *words])
    if words[:1] == ["version"]:
        return version(state, words[1:])
    refusal = docker_refuses(state)
    if refusal:
        labels = "docker failed to get containers with labels 'map[app:k3d]'"
        return fatal(f"runtime failed to list nodes: {labels}: failed to list containers: {refusal}")
    commands: dict[tuple[str, ...], t.Callable[[dict[str, t.Any], list[str]], int]] = {
        ("cluster", "list"): cluster_list,
        ("cluster", "create"): cluster_create,
        ("cluster", "delete"): cluster_delete,
        ("cluster", "start"): cluster_start,
        ("cluster", "stop"): cluster_stop,
        ("cluster", "edit"): cluster_edit,
        ("kubeconfig", "get"): kubeconfig_get,
        ("image", "import"): image_import,
    }
    command = commands.get(tuple(words[:2]))
    if command is None:
        print(f'Error: unknown command "{" ".join(words)}" for "k3d"', file=sys.stderr)
        return 1
    try:
        return command(state, words[2:])
    except FatalError as exc:
        return fatal(str(exc))


def version(state: dict[str, t.Any], words: list[str]) -> int:
    if words == ["-o", "json"] and not state["version"].startswith("v4."):
        print(json.dumps({"k3d": state["version"], "k3s": "v1.31.9-k3s1"}, separators=(",", ":")))
        return 0
    if words:
        print("Error: unknown shorthand flag: 'o' in -o", file=sys.stderr)
        return 1
    print(f"k3d version {state['version']}\nk3s version v1.31.9-k3s1 (default)")
    return 0


def cluster_list(state: dict[str, t.Any], words: list[str]) -> int:
    if state["garbage"]:
        print('{"not": "a list", "env": ["K3S_TOKEN=garbagetoken"]}')
        return 0
    names = [word for word in words if not word.startswith("-") and word != "json"]
    known = state["clusters"]
    if any(name not in known for name in names):
        raise FatalError("No nodes found for given cluster")
    shown = [one for name, one in sorted(known.items()) if one["nodes"] and (not names or name in names)]
    print(json.dumps([listed(one) for one in shown], separators=(",", ":")))
    return 0


def listed(cluster: dict[str, t.Any]) -> dict[str, t.Any]:
    nodes = [{key: value for key, value in node.items() if not key.startswith("double.")} for node in cluster["nodes"]]

    def count(role: str) -> tuple[int, int]:
        having = [node for node in nodes if node["role"] == role]
        return sum(node["State"]["Running"] for node in having), len(having)

    servers, agents = count("server"), count("agent")
    entry = {
        "name": cluster["name"],
        "network": {
            "name": f"k3d-{cluster['name']}",
            "id": "",
            "ipam": {"ipPrefix": "", "Managed": False},
            "Members": None,
        },
        "nodes": nodes,
        "InitNode": None,
        "imageVolume": f"k3d-{cluster['name']}-images",
        "serversRunning": servers[0],
        "serversCount": servers[1],
        "agentsRunning": agents[0],
        "agentsCount": agents[1],
    }
    return entry | ({"hasLoadbalancer": True} if any(node["role"] == "loadbalancer" for node in nodes) else {})


def cluster_create(state: dict[str, t.Any], words: list[str]) -> int:
    if words[:1] != ["--config"] or len(words) != 2:
        raise FatalError(f"the double knows 'cluster create --config FILE', not {words}")
    config = read_config(Path(words[1]))
    name = config["metadata"]["name"]
    info(f"Using config file {words[1]} (k3d.io/v1alpha5#simple)")
    balanced = not section(config, "options", "k3d").get("disableLoadbalancer")
    for port in config.get("ports") or []:
        if any(one.startswith("loadbalancer") for one in port.get("nodeFilters") or []):
            info(
                f"portmapping '{port['port']}' targets the loadbalancer: defaulting to [servers:*:proxy agents:*:proxy]"
            )
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
        raise FatalError(
            f"Failed Cluster Configuration Validation:  provided cluster name '{name}' does not match requirements: "
            f"Invalid cluster name. name {name} is not a valid hostname as per RFC 1123"
        )
    if name in state["clusters"]:
        raise FatalError(f"Failed to create cluster '{name}' because a cluster with that name already exists")
    info("Prep: Network")
    info(f"Created network 'k3d-{name}'")
    info(f"Created image volume k3d-{name}-images")
    info("Starting new tools node...")
    info(f"Starting node 'k3d-{name}-tools'")
    state["clusters"][name] = {"name": name, "nodes": []}
    interruption(state, "prepared")
    image = config.get("image") or "docker.io/rancher/k3s:v1.31.9-k3s1"
    info(f"Creating node 'k3d-{name}-server-0'")
    if image in state["unpullable"]:
        return roll_back(
            state,
            name,
            f"failed Cluster Creation: failed setup of server/agent node k3d-{name}-server-0: failed to create node: "
            f"runtime failed to create node 'k3d-{name}-server-0': failed to create container for node "
            f"'k3d-{name}-server-0': docker failed to pull image '{image}': docker failed to pull the image '{image}': "
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io '
            "on 10.255.255.53:53: no such host",
        )
    state["clusters"][name]["nodes"] = nodes_of(config, name, image, balanced=balanced)
    if balanced:
        info(f"Creating LoadBalancer 'k3d-{name}-serverlb'")
    interruption(state, "created")
    info(f"Starting cluster '{name}'")
    info("Starting servers...")
    if state["start_fails"]:
        return roll_back(state, name, f"Failed Cluster Start: {state['start_fails']}")
    for node in state["clusters"][name]["nodes"]:
        taken = taken_address(node)
        if taken:
            return roll_back(state, name, taken_words(node["name"], taken))
        node["State"] = {"Running": True, "Status": "running", "Started": ""}
    save(state)
    info(f"Cluster '{name}' created successfully!")
    if section(config, "options", "kubeconfig").get("updateDefaultKubeconfig", True):
        default_kubeconfig().parent.mkdir(parents=True, exist_ok=True)
        default_kubeconfig().write_text(kubeconfig(state["clusters"][name]), encoding="utf-8")
    info("You can now use it like this:")
    print("kubectl cluster-info")
    return 0


def interruption(state: dict[str, t.Any], stage: str) -> None:
    save(state)
    if state["die"] == stage:
        save({**state, "die": ""})
        os.kill(os.getpid(), signal.SIGKILL)
    if state["hang"] and stage == "created":
        time.sleep(600)


def roll_back(state: dict[str, t.Any], name: str, reason: str) -> int:
    start = "Failed Cluster Start: " if reason.startswith("Failed to add") else ""
    error(f"{start}{reason}")
    if state["rollback_fails"]:
        save(state)
        error("Failed to create cluster >>> Rolling Back")
        return fatal("Cluster creation FAILED, also FAILED to rollback changes!")
    error("Failed to create cluster >>> Rolling Back")
    info(f"Deleting cluster '{name}'")
    del state["clusters"][name]
    save(state)
    if "failed to pull" in reason:
        for one in ("serverlb", "server-0"):
            missing = f"No such container: k3d-{name}-{one}"
            error(f"docker failed to remove the container 'k3d-{name}-{one}': Error response from daemon: {missing}")
    return fatal("Cluster creation FAILED, all changes have been rolled back!")


def cluster_delete(state: dict[str, t.Any], words: list[str]) -> int:
    name = words[0]
    if name not in state["clusters"]:
        info(f"No nodes found for cluster '{name}', nothing to delete.")
        info("No clusters found")
        return 0
    info(f"Deleting cluster '{name}'")
    del state["clusters"][name]
    save(state)
    info("Removing cluster details from default kubeconfig...")
    default_kubeconfig().parent.mkdir(parents=True, exist_ok=True)
    default_kubeconfig().write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")
    info("Removing standalone kubeconfig file (if there is one)...")
    info(f"Successfully deleted cluster {name}!")
    return 0


def existing(state: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    if name not in state["clusters"]:
        raise FatalError("No nodes found for given cluster")
    found: dict[str, t.Any] = state["clusters"][name]
    return found


def cluster_start(state: dict[str, t.Any], words: list[str]) -> int:
    cluster = existing(state, words[0])
    info(f"Starting cluster '{words[0]}'")
    for node in cluster["nodes"]:
        taken = "" if node["State"]["Running"] else taken_address(node)
        if taken:
            raise FatalError(taken_words(node["name"], taken))
        node["State"] = {"Running": True, "Status": "running", "Started": ""}
    save(state)
    info(f"Started cluster '{words[0]}'")
    return 0


def cluster_stop(state: dict[str, t.Any], words: list[str]) -> int:
    cluster = existing(state, words[0])
    info(f"Stopping cluster '{words[0]}'")
    for node in cluster["nodes"]:
        node["State"] = {"Running": False, "Status": "exited", "Started": ""}
        node["IP"] = {"IP": "", "Static": False}
    save(state)
    info(f"Stopped cluster '{words[0]}'")
    return 0


def cluster_edit(state: dict[str, t.Any], words: list[str]) -> int:
    cluster = existing(state, words[0])
    balancer = next(node for node in cluster["nodes"] if node["role"] == "loadbalancer")
    new: dict[str, t.Any] = {**balancer, "portMappings": json.loads(json.dumps(balancer["portMappings"]))}
    for flag, value in zip(words[1::2], words[2::2], strict=True):
        if flag != "--port-add":
            raise FatalError(f"unknown flag: {flag}")
        port, _at, _filters = value.partition("@")
        add_mapping(new["portMappings"], port)
        info(f"portmapping '{port}' targets the loadbalancer: defaulting to [servers:*:proxy agents:*:proxy]")
    added = {"name": balancer["name"], "portMappings": new["portMappings"]}
    held = {json.dumps(one) for ones in balancer["portMappings"].values() for one in ones}
    taken = taken_address(added, ignore=held)
    info(f"Renaming existing node {balancer['name']} to {balancer['name']}-WqxXp...")
    if taken:
        raise FatalError(
            "Failed to update the cluster: error replacing loadbalancer node: Failed to start new node. Rolled back: "
            + taken_words(balancer["name"], taken)
        )
    balancer.update(new)
    save(state)
    info(f"Successfully updated {words[0]}")
    return 0


def image_import(state: dict[str, t.Any], words: list[str]) -> int:
    archives = [word for word in words if not word.startswith("--")]
    cluster = next(word.partition("=")[2] for word in words if word.startswith("--cluster="))
    existing(state, cluster)
    info(f"Importing image(s) into cluster '{cluster}'")
    for archive in archives:
        if not Path(archive).is_file():
            raise FatalError(f"Failed to import image(s): No image or tarball found for '{archive}'")
    info("Successfully imported 1 image(s) into 1 cluster(s)")
    return 0


def kubeconfig_get(state: dict[str, t.Any], words: list[str]) -> int:
    cluster = existing(state, words[0])
    print("---\n" + kubeconfig(cluster), end="")
    return 0


# -------------------------------------------------------------------------------------------------------------- parts


def section(config: dict[str, t.Any], *path: str) -> dict[str, t.Any]:
    found: t.Any = config
    for key in path:
        found = (found or {}).get(key) or {}
    return t.cast("dict[str, t.Any]", found)


def read_config(path: Path) -> dict[str, t.Any]:
    """As k3d does: copy the file with every $NAME replaced, leave the copy, hold it against the schema."""
    text = re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda m: os.environ.get(m[1] or m[2], ""), path.read_text(encoding="utf-8"))
    with tempfile.NamedTemporaryFile("w", prefix=f"k3d-config-tmp-{path.name}", delete=False) as copy:
        copy.write(text)
    config: dict[str, t.Any] = json.loads(text)
    record("configs.jsonl", config)
    failed = f"Schema Validation failed for config file {path}: "
    if config.get("apiVersion") != "k3d.io/v1alpha5" or config.get("kind") != "Simple":
        raise FatalError(f"Cannot validate config file {path}: {config.get('apiVersion')} is no known version")
    for key in sorted(set(config) - ROOT_KEYS):
        raise FatalError(f"{failed}- (root): Additional property {key} is not allowed")
    for key in ("servers", "agents"):
        if not isinstance(config.get(key, 1), int):
            raise FatalError(f"{failed}- {key}: Invalid type. Expected: number, given: string")
    entries = (("ports", "port"), ("env", "envVar"), ("volumes", "volume"))
    for key, part in entries:
        for one in config.get(key) or []:
            for extra in set(one) - {part, "nodeFilters"}:
                raise FatalError(f"{failed}- {key}.0: Additional property {extra} is not allowed")
            if not isinstance(one.get(part, ""), str):
                raise FatalError(f"{failed}- {key}.0.{part}: Invalid type. Expected: string, given: integer")
    for extra in set(config.get("options") or {}) - {"k3d", "k3s", "kubeconfig", "runtime"}:
        raise FatalError(f"{failed}- options: Additional property {extra} is not allowed")
    return config


def selects(filters: list[str], role: str, index: int) -> bool:
    for text in filters:
        found = NODE_FILTER.fullmatch(text)
        if found is None:
            raise FatalError(f"Failed to parse node filters: invalid format or empty subset in '{text}'")
        group, subset = found[1].rstrip("s") if found[1] != "all" else "all", found[2]
        if group not in {"all", role}:
            continue
        if subset in (None, "*") or index in [int(one) for one in subset.split(",") if one.isdigit()]:
            return True
    return False


def nodes_of(config: dict[str, t.Any], name: str, image: str, *, balanced: bool) -> list[dict[str, t.Any]]:
    api = config.get("kubeAPI") or {}
    address = api.get("hostIP") or EVERYWHERE
    port = api.get("hostPort") or "16550"
    token = config.get("token") or secrets.token_hex(10)
    servers, agents = config.get("servers", 1), config.get("agents", 0)
    balancer = f"k3d-{name}-serverlb" if balanced else ""
    labels = {
        "k3d.cluster": name,
        "k3d.cluster.imageVolume": f"k3d-{name}-images",
        "k3d.cluster.network": f"k3d-{name}",
        "k3d.cluster.token": token,
        "k3d.server.loadbalancer": balancer,
        "k3d.version": "v5.9.0",
    }
    nodes = []
    for role, count in (("server", servers), ("agent", agents)):
        for index in range(count):
            arguments = [
                one["arg"]
                for one in section(config, "options", "k3s").get("extraArgs") or []
                if selects(required_filters(one, "K3sExtraArg", one["arg"], single=not balanced), role, index)
            ]
            variables = [
                one["envVar"]
                for one in config.get("env") or []
                if selects(required_filters(one, "EnvVarMapping", one["envVar"], single=not balanced), role, index)
            ]
            own = ["--tls-san", address, "--tls-san", balancer] if balanced else ["--tls-san", address]
            own = (["--cluster-init"] if servers > 1 and index == 0 else []) + own
            nodes.append(
                node(
                    f"k3d-{name}-{role}-{index}",
                    role,
                    image,
                    Cmd=[role, *arguments, *(own if role == "server" else [])],
                    env=[*variables, f"K3S_TOKEN={token}", "K3S_KUBECONFIG_OUTPUT=/output/kubeconfig.yaml"],
                    runtimeLabels=labels
                    | {"k3d.role": role}
                    | (
                        {
                            "k3d.server.api.host": address,
                            "k3d.server.api.hostIP": address,
                            "k3d.server.api.port": port,
                        }
                        if role == "server"
                        else {}
                    ),
                )
            )
    mappings: dict[str, list[dict[str, str]]] = {"6443": [{"HostIp": address, "HostPort": port}]}
    for one in config.get("ports") or []:
        filters = one.get("nodeFilters") or ["loadbalancer"]
        direct = [text for text in filters if text.endswith(":direct")]
        if direct:
            for target in nodes:
                if selects(direct, target["role"], int(target["name"].rpartition("-")[2])):
                    add_mapping(target.setdefault("portMappings", {}), one["port"])
        elif not balanced:
            raise FatalError("port-mapping of type 'proxy' specified, but loadbalancer is disabled")
        else:
            add_mapping(mappings, one["port"])
    if balanced:
        nodes.insert(
            0,
            node(
                balancer,
                "loadbalancer",
                "ghcr.io/k3d-io/k3d-proxy:5.9.0",
                Cmd=None,
                env=["K3S_KUBECONFIG_OUTPUT=/output/kubeconfig.yaml"],
                runtimeLabels=labels | {"k3d.role": "loadbalancer"},
                portMappings=mappings,
            ),
        )
    return nodes


def required_filters(entry: dict[str, t.Any], what: str, value: str, *, single: bool) -> list[str]:
    filters: list[str] = entry.get("nodeFilters") or []
    if not filters and not single:
        raise FatalError(f"{what} '{value}' lacks a node filter, but there's more than one node")
    return filters or ["all"]


def node(name: str, role: str, image: str, **parts: t.Any) -> dict[str, t.Any]:
    return {
        "name": name,
        "role": role,
        "image": "sha256:" + hashlib.sha256(image.encode()).hexdigest(),
        "double.image": image,
        "volumes": ["k3d-images:/k3d/images"],
        "restart": True,
        "Networks": ["k3d"],
        "ExtraHosts": None,
        "serverOpts": {"kubeAPI": {"Port": "", "Binding": {"HostIp": "", "HostPort": ""}}},
        "agentOpts": {},
        "GPURequest": "",
        "Memory": "",
        "K3dEntrypoint": False,
        "created": "2026-11-23T22:45:02.166859326Z",
        "State": {"Running": False, "Status": "created", "Started": ""},
        "IP": {"IP": "172.18.0.2", "Static": False},
        **parts,
    }


def add_mapping(mappings: dict[str, list[dict[str, str]]], text: str) -> None:
    *address, host, port = ["", *text.split(":")][-3:] if ":" in text else ["", "", text]
    number, _slash, protocol = port.partition("/")
    binding = {"HostIp": "".join(address), "HostPort": host}
    mappings.setdefault(f"{number}/{protocol or 'tcp'}", []).append(binding)


def taken_address(of: dict[str, t.Any], ignore: t.Collection[str] = ()) -> str:
    for bindings in (of.get("portMappings") or {}).values():
        for binding in bindings:
            if json.dumps(binding) in ignore or not binding["HostPort"]:
                continue
            address = binding["HostIp"] or EVERYWHERE
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, int(binding["HostPort"])))
                    probe.listen(1)
                except OSError:
                    return f"{address}:{binding['HostPort']}"
    return ""


def taken_words(name: str, address: str) -> str:
    return (
        f"Failed to add one or more helper nodes: runtime failed to start node '{name}': docker failed to start "
        f"container for node '{name}': Error response from daemon: driver failed programming external connectivity on "
        f"endpoint {name} (2a96ce1a097e): Error starting userland proxy: listen tcp4 {address}: bind: "
        "address already in use"
    )


def default_kubeconfig() -> Path:
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube/config")


def kubeconfig(cluster: dict[str, t.Any]) -> str:
    name = cluster["name"]
    labels = next(node["runtimeLabels"] for node in cluster["nodes"] if node["role"] == "server")
    elsewhere = directory() / "api_server"
    if elsewhere.exists():
        # The double of an API server plays this cluster's.
        return elsewhere.read_text(encoding="utf-8")
    return f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2VydGlmaWNhdGU=
    server: https://{labels["k3d.server.api.host"]}:{labels["k3d.server.api.port"]}
  name: k3d-{name}
contexts:
- context:
    cluster: k3d-{name}
    user: admin@k3d-{name}
  name: k3d-{name}
current-context: k3d-{name}
kind: Config
users:
- name: admin@k3d-{name}
  user:
    client-certificate-data: Y2VydGlmaWNhdGU=
    client-key-data: c2VjcmV0LWtleQ==
"""


if __name__ == "__main__":
    sys.exit({"k3d": k3d, "docker": docker}[sys.argv[1]](sys.argv[2:]))
