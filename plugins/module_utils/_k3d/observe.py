# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters as ``k3d cluster list -o json`` tells of them.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import MARK, Mark, read_mark
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.ports import (
    AGENT,
    LOADBALANCER,
    SERVER,
    Mapping,
    read_bindings,
)

NEVER_STARTED = "created"  # Docker's word for a container that was made and not yet started
TOKEN_LABEL = "k3d.cluster.token"  # noqa: S105  (the label's name)
TOKEN_VARIABLE = "K3S_TOKEN"  # noqa: S105  (the variable's name)


@dataclass(frozen=True)
class Node:
    name: str
    role: str
    index: int
    image_id: str
    running: bool
    status: str
    arguments: tuple[str, ...]
    mappings: frozenset[Mapping]


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
        return tuple(sorted((one for one in self.nodes if one.role == role), key=lambda node: node.index))

    @property
    def load_balancer(self) -> Node | None:
        return next((one for one in self.of(LOADBALANCER) if one.name == f"k3d-{self.name}-serverlb"), None)

    @property
    def running(self) -> bool:
        """Whether every node runs."""
        return bool(self.nodes) and all(one.running for one in self.nodes)

    @property
    def stopped(self) -> bool:
        return not any(one.running for one in self.nodes)

    @property
    def state(self) -> str:
        if self.running:
            return "running"
        return "stopped" if self.stopped else "partly running"

    @property
    def never_finished(self) -> bool:
        """Whether its creation was interrupted: a node of it has never been started.

        While ``k3d cluster edit`` replaces the load balancer, there is a new one that has not been started, too. Then
        the old one is there beside it, under another name.
        """
        replaced = any(one.name != f"k3d-{self.name}-serverlb" for one in self.of(LOADBALANCER))
        return not self.of(SERVER) or (not replaced and any(one.status == NEVER_STARTED for one in self.nodes))

    @property
    def first_server(self) -> Node | None:
        return next(iter(self.of(SERVER)), None)


def read_clusters(text: str) -> tuple[tuple[Cluster, ...], frozenset[str]]:
    """Return the clusters in k3d's answer and the tokens that stand there in clear.

    Raises MtlsError when it is not what k3d answers.
    """
    try:
        listed = json.loads(text)
        clusters = tuple(_cluster(one) for one in listed)
        tokens = frozenset(token for one in listed for node in one.get("nodes") or () for token in _tokens(node))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        # The answer itself may hold tokens, so it is not shown.
        raise MtlsError(
            f"The answer of 'k3d cluster list -o json' cannot be read ({type(exc).__name__}). "
            "This collection knows k3d 5.8.3 to 5.9; run that command yourself to see what it says."
        ) from exc
    return clusters, tokens


def _cluster(listed: t.Mapping[str, t.Any]) -> Cluster:
    name = str(listed["name"])
    nodes = tuple(_node(one) for one in listed.get("nodes") or ())
    labels = [one.get("runtimeLabels") or {} for one in listed.get("nodes") or ()]
    address = next((one["k3d.server.api.host"] for one in labels if one.get("k3d.server.api.host")), "")
    port = next((one["k3d.server.api.port"] for one in labels if one.get("k3d.server.api.port")), "")
    return Cluster(
        name=name,
        nodes=nodes,
        network=str((listed.get("network") or {}).get("name") or ""),
        api_server=f"https://{address}:{port}" if address and port else "",
        mark=next((mark for one in listed.get("nodes") or () if (mark := _mark(one))), None),
    )


def _node(listed: t.Mapping[str, t.Any]) -> Node:
    name, role = str(listed["name"]), str(listed["role"])
    number = re.search(r"-(\d+)$", name)
    state = listed.get("State") or {}
    return Node(
        name=name,
        role=role,
        index=int(number[1]) if number else 0,
        image_id=str(listed.get("image") or ""),
        running=bool(state.get("Running")),
        status=str(state.get("Status") or ""),
        arguments=_arguments(listed) if role in (SERVER, AGENT) else (),
        mappings=read_bindings(listed.get("portMappings")),
    )


def _arguments(listed: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """Return the arguments that the user gave: the command without what k3d puts into it itself."""
    words = [str(one) for one in listed.get("Cmd") or ()]
    if words and words[0] in (SERVER, AGENT):
        words = words[1:]
    labels = listed.get("runtimeLabels") or {}
    own = {labels.get("k3d.server.api.host"), labels.get("k3d.server.loadbalancer")}
    # k3d appends its pairs at the end, so those are looked for from there.
    while len(words) >= 2 and words[-2] == "--tls-san" and words[-1] in own:
        words = words[:-2]
    return tuple(one for one in drop_labels(words) if one != "--cluster-init")


def drop_labels(words: t.Sequence[str]) -> list[str]:
    """Return ``words`` without the pairs ``--node-label KEY=VALUE``: k3d makes them of another option."""
    kept, skip = [], False
    for word in words:
        if skip or word == "--node-label":
            skip = not skip
        else:
            kept.append(word)
    return kept


def _mark(listed: t.Mapping[str, t.Any]) -> Mark | None:
    for entry in listed.get("env") or ():
        key, _equals, value = str(entry).partition("=")
        if key == MARK:
            return read_mark(value)
    return None


def _tokens(listed: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    label = (listed.get("runtimeLabels") or {}).get(TOKEN_LABEL)
    if label:
        yield str(label)
    for entry in listed.get("env") or ():
        key, _equals, value = str(entry).partition("=")
        if key == TOKEN_VARIABLE and value:
            yield value
