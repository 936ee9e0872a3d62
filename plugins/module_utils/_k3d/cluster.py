# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster as k3d tells of it, and what of it is not as requested."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import (
    AGENT,
    LOADBALANCER,
    MARK,
    SERVER,
    ClusterSpec,
    Mapping,
    Mark,
    read_mark,
)

NEVER_STARTED = "created"  # Docker's word for a container that was made and not yet started


@dataclass(frozen=True)
class Node:
    name: str
    role: str
    running: bool
    status: str
    arguments: tuple[str, ...]
    mappings: frozenset[Mapping]

    @property
    def index(self) -> int:
        number = re.search(r"-(\d+)$", self.name)
        return int(number[1]) if number else 0


@dataclass(frozen=True)
class Cluster:
    """A cluster that exists; ``image`` is the name of the k3s image where it is known."""

    name: str
    nodes: tuple[Node, ...]
    network: str
    api_server: str
    mark: Mark | None
    image: str | None = None

    def of(self, role: str) -> tuple[Node, ...]:
        return tuple(sorted((node for node in self.nodes if node.role == role), key=lambda node: node.index))

    @property
    def mappings(self) -> list[Mapping]:
        """The ports of the host that lead to it, without that of the API server."""
        api = self.api_server.rpartition(":")[2]
        found = {mapping for node in self.nodes for mapping in node.mappings}
        return sorted(port for port in found if (port.container_port, str(port.host_port)) != (6443, api))

    @property
    def state(self) -> str:
        running = sum(node.running for node in self.nodes)
        return "stopped" if not running else "running" if running == len(self.nodes) else "partly running"

    @property
    def never_finished(self) -> bool:
        """Whether its creation was interrupted: a node of it has never been started."""
        return not self.of(SERVER) or any(node.status == NEVER_STARTED for node in self.nodes)


def read_clusters(text: str) -> tuple[dict[str, Cluster], set[str]]:
    """Return the clusters in ``k3d cluster list -o json`` by name, and the tokens that stand there in clear.

    Raises MtlsError when it is not what k3d answers.
    """
    try:
        listed = json.loads(text)
        tokens = {token for cluster in listed for node in cluster["nodes"] for token in _tokens(node)}
        return {str(cluster["name"]): _cluster(cluster) for cluster in listed}, tokens
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        # The answer itself may hold tokens, so it is not shown.
        raise MtlsError(
            f"The answer of 'k3d cluster list -o json' cannot be read ({type(exc).__name__}). "
            "This collection knows k3d 5.8.3 to 5.9; run that command yourself to see what it says."
        ) from exc


def differences(spec: ClusterSpec, cluster: Cluster) -> tuple[list[str], tuple[str, ...]]:
    """Return what is not as asked for, and warnings about what cannot be compared."""
    found: list[str] = []
    warnings: list[str] = []
    if spec.image and cluster.image is None:
        warnings.append(f"The k3s image of the cluster {cluster.name} is not known, so it was not compared.")
    elif spec.image and _full_image(spec.image) != _full_image(str(cluster.image)):
        found.append(f"the k3s image is {cluster.image}, requested is {spec.image}")
    for role in (SERVER, AGENT):
        nodes, count = cluster.of(role), spec.count(role)
        if count is not None and count != len(nodes):
            found.append(f"the number of {role}s is {len(nodes)}, requested is {count}")
        for node in nodes if spec.arguments is not None else ():
            expected_arguments = _without_labels(
                [argument.value for argument in spec.arguments or () if argument.is_for(role, node.index)]
            )
            if expected_arguments != list(node.arguments):
                have, requested = " ".join(node.arguments) or "none", " ".join(expected_arguments) or "none"
                found.append(f"the k3s arguments of {node.name} are {have}, requested are {requested}")
    for port in spec.ports:
        have_it = [mapping for mapping in cluster.mappings if mapping.fulfils(port)]
        if not have_it:
            found.append(f"the port mapping {port} is missing")
        elif not port.on_all_addresses and all(mapping.on_all_addresses for mapping in have_it):
            warnings.append(
                f"Port {have_it[0].host_port} of the cluster {cluster.name} is open on all addresses of the host, not "
                f"only on {port.address} as requested."
            )
    if cluster.mark is not None:
        parts = sorted(set(cluster.mark.parts) | set(spec.mark.parts))
        different = [part for part in parts if cluster.mark.parts.get(part) != spec.mark.parts.get(part)]
        found += [f"'{name}' of the configuration is from its creation, requested is another" for name in different]
    elif spec.mark.parts:
        warnings.append(
            f"The cluster {cluster.name} was not created by this collection, and k3d does not report "
            f"{', '.join(sorted(spec.mark.parts))} of a cluster; that was not compared."
        )
    return found, tuple(warnings)


def describe(cluster: Cluster | None, *, name: str) -> dict[str, t.Any]:
    """Return the facts of a cluster; nothing of it is secret."""
    if cluster is None:
        return {"name": name, "state": "absent", "context": f"k3d-{name}"}
    servers, agents = cluster.of(SERVER), cluster.of(AGENT)
    return {
        "name": name,
        "state": cluster.state,
        "context": f"k3d-{name}",
        "api_server": cluster.api_server,
        "network": cluster.network,
        "image": cluster.image,
        "servers": len(servers),
        "servers_running": sum(server.running for server in servers),
        "agents": len(agents),
        "agents_running": sum(agent.running for agent in agents),
        "has_load_balancer": bool(cluster.of(LOADBALANCER)),
        "nodes": sorted(node.name for node in cluster.nodes),
        "ports": [str(mapping) for mapping in cluster.mappings],
        "k3s_args": {server.name: list(server.arguments) for server in (*servers, *agents)},
        "made_by_this_collection": cluster.mark is not None,
    }


def _cluster(listed: t.Mapping[str, t.Any]) -> Cluster:
    nodes = listed["nodes"]
    labels = [node.get("runtimeLabels") or {} for node in nodes]
    host = next((label["k3d.server.api.host"] for label in labels if label.get("k3d.server.api.host")), "")
    port = next((label["k3d.server.api.port"] for label in labels if label.get("k3d.server.api.port")), "")
    variables = [str(entry).partition("=") for node in nodes for entry in node.get("env") or ()]
    return Cluster(
        name=str(listed["name"]),
        nodes=tuple(_node(node) for node in nodes),
        network=str((listed.get("network") or {}).get("name") or ""),
        api_server=f"https://{host}:{port}" if host and port else "",
        mark=next((mark for key, _equals, text in variables if key == MARK and (mark := read_mark(text))), None),
    )


def _node(listed: t.Mapping[str, t.Any]) -> Node:
    role, state = str(listed["role"]), listed.get("State") or {}
    return Node(
        name=str(listed["name"]),
        role=role,
        running=bool(state.get("Running")),
        status=str(state.get("Status") or ""),
        arguments=tuple(_arguments(listed)) if role in (SERVER, AGENT) else (),
        mappings=frozenset(_bindings(listed.get("portMappings") or {})),
    )


def _arguments(listed: t.Mapping[str, t.Any]) -> list[str]:
    """Return the arguments that the user gave: the command without what k3d puts into it itself."""
    words = [str(word) for word in listed.get("Cmd") or ()]
    if words and words[0] in (SERVER, AGENT):
        words = words[1:]
    labels = listed.get("runtimeLabels") or {}
    own = {labels.get("k3d.server.api.host"), labels.get("k3d.server.loadbalancer")}
    # k3d appends its pairs at the end, so those are looked for from there.
    while len(words) >= 2 and words[-2] == "--tls-san" and words[-1] in own:
        words = words[:-2]
    return [word for word in _without_labels(words) if word != "--cluster-init"]


def _without_labels(words: t.Sequence[str]) -> list[str]:
    """Return ``words`` without the pairs ``--node-label KEY=VALUE``: k3d makes them of another option."""
    kept, skip = [], False
    for word in words:
        if skip or word == "--node-label":
            skip = not skip
        else:
            kept.append(word)
    return kept


def _bindings(port_map: t.Mapping[str, t.Any]) -> t.Iterator[Mapping]:
    for key, bindings in port_map.items():
        port, _slash, protocol = str(key).partition("/")
        for binding in bindings or ():
            host = str(binding.get("HostPort") or "0")
            if port.isdigit() and host.isdigit():
                yield Mapping(int(host), str(binding.get("HostIp") or ""), int(port), protocol or "tcp")


def _tokens(listed: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Return the cluster's tokens, which stand in k3d's answer in clear."""
    label = (listed.get("runtimeLabels") or {}).get("k3d.cluster.token")
    variables = [str(entry).partition("=") for entry in listed.get("env") or ()]
    yield from (
        str(secret) for secret in (label, *(text for key, _equals, text in variables if key == "K3S_TOKEN")) if secret
    )


def _full_image(name: str) -> str:
    first, slash, _rest = name.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    full = name if has_registry else f"docker.io/{name}" if slash else f"docker.io/library/{name}"
    return full if ":" in full.rpartition("/")[2] or "@" in full else f"{full}:latest"
