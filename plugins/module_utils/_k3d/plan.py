# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done to a cluster, decided before anything is done.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import Argument, Wanted
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.observe import Cluster, Node, drop_labels
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.ports import AGENT, SERVER, Mapping, PortRequest

CREATE, DELETE, START, STOP, ADD_PORTS = "create", "delete", "start", "stop", "add_ports"
STATES = ("present", "started", "stopped", "absent")


@dataclass(frozen=True)
class Step:
    """One thing to do, and what it is in words."""

    kind: str
    words: str
    ports: tuple[PortRequest, ...] = ()


@dataclass(frozen=True)
class Difference:
    """A part of the cluster that is not as wanted and that k3d can only change by making the cluster anew."""

    what: str
    is_: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.what} is {self.is_}, wanted is {self.wanted}"


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


def plan(wanted: Wanted, cluster: Cluster | None, *, state: str, recreate: bool = False) -> Plan:
    """Return what makes ``cluster`` as ``wanted`` in ``state``.

    Raises MtlsError when that takes a new cluster and ``recreate`` does not allow it.
    """
    name = wanted.name
    delete = Step(DELETE, f"delete the cluster {name}")
    if cluster is None:
        return Plan((_create(wanted),)) if state in ("present", "started") else Plan()
    if state == "absent":
        return Plan((delete,))
    if state == "stopped":
        return Plan() if cluster.stopped else Plan((Step(STOP, f"stop the cluster {name}"),))
    if cluster.never_finished:
        return Plan((_remains(cluster, recreate=recreate), _create(wanted)))
    found, warnings = differences(wanted, cluster)
    if found and not recreate:
        raise MtlsError(refusal(name, found), differences=[str(one) for one in found])
    if found:
        reason = "; ".join(str(one) for one in found)
        return Plan((Step(DELETE, f"delete the cluster {name}, because {reason}"), _create(wanted)), warnings)
    steps = []
    if state == "started" and not cluster.running:
        steps.append(Step(START, f"start the cluster {name}"))
    missing, conflicts = missing_ports(wanted, cluster)
    if conflicts:
        raise MtlsError(f"The cluster {name} cannot get all ports that were asked for: {'; '.join(conflicts)}.")
    if missing and (steps or cluster.running):
        steps.append(Step(ADD_PORTS, f"map the ports {', '.join(one.text for one in missing)}", ports=missing))
    elif missing:
        warnings = (*warnings, f"The cluster {name} does not run. Its missing ports are mapped when it is started.")
    return Plan(tuple(steps), warnings)


def refusal(name: str, found: t.Sequence[Difference]) -> str:
    return (
        f"The cluster {name} exists and is not as asked for: {'; '.join(str(one) for one in found)}. "
        "k3d cannot change that in place. Ask for what is there, or set recreate=true: "
        "the cluster is then deleted with all that runs in it, and made anew."
    )


def differences(wanted: Wanted, cluster: Cluster) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Return what only a new cluster can bring, and warnings about what cannot be compared."""
    found: list[Difference] = []
    warnings: list[str] = []
    if wanted.image and cluster.image is None:
        warnings.append(f"The k3s image of the cluster {cluster.name} is not known, so it was not compared.")
    elif wanted.image and not same_image(wanted.image, str(cluster.image)):
        found.append(Difference("the k3s image", str(cluster.image), wanted.image))
    for role, count in ((SERVER, wanted.servers), (AGENT, wanted.agents)):
        if count is not None and count != len(cluster.of(role)):
            found.append(Difference(f"the number of {role}s", str(len(cluster.of(role))), str(count)))
    if wanted.arguments is not None:
        for node in (*cluster.of(SERVER), *cluster.of(AGENT)):
            found += _argument_differences(wanted.arguments, node)
    if wanted.needs_load_balancer and cluster.load_balancer is None:
        found.append(Difference("the load balancer", "missing", "there"))
    found += _direct_port_differences(wanted, cluster)
    if cluster.mark is not None:
        for part in sorted(set(cluster.mark.parts) | set(wanted.mark.parts)):
            if cluster.mark.parts.get(part) != wanted.mark.parts.get(part):
                found.append(Difference(f"'{part}' of the configuration", "what it was made with", "another value"))
    elif wanted.mark.parts:
        warnings.append(
            f"The cluster {cluster.name} was not made by this collection, and k3d does not tell "
            f"{', '.join(sorted(wanted.mark.parts))} of a cluster; that was not compared."
        )
    return tuple(found), (*warnings, *_exposure_warnings(wanted, cluster))


def missing_ports(wanted: Wanted, cluster: Cluster) -> tuple[tuple[PortRequest, ...], tuple[str, ...]]:
    """Return the requests that the load balancer does not fulfil, and what stands in their way."""
    balancer = cluster.load_balancer
    if balancer is None:
        return (), ()
    missing, conflicts = [], []
    for request in wanted.ports:
        if request.direct is not None:
            continue
        lacking = [one for one in request.mappings if not any(fulfils(have, one) for have in balancer.mappings)]
        if lacking:
            missing.append(request)
        conflicts += [
            f"port {one.host_port} of the host already leads to port {have.container_port} (asked for: {one})"
            for one in lacking
            for have in sorted(balancer.mappings)
            if collides(have, one)
        ]
    return tuple(missing), tuple(conflicts)


def fulfils(have: Mapping, wish: Mapping) -> bool:
    """Return whether ``have`` gives what ``wish`` asks for; all addresses contain the one that is asked for."""
    return (
        (have.container_port, have.protocol) == (wish.container_port, wish.protocol)
        and wish.host_port in (0, have.host_port)
        and (have.on_all_addresses or have.address == wish.address)
    )


def collides(have: Mapping, wish: Mapping) -> bool:
    """Return whether both want the same port of the host, for different ends."""
    return (
        wish.host_port != 0
        and (have.host_port, have.protocol) == (wish.host_port, wish.protocol)
        and (have.on_all_addresses or wish.on_all_addresses or have.address == wish.address)
    )


def same_image(one: str, other: str) -> bool:
    """Return whether two names mean the same image of the same registry."""
    return _full_image(one) == _full_image(other)


def _full_image(name: str) -> str:
    first, slash, _rest = name.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    full = name if has_registry else f"docker.io/{name}" if slash else f"docker.io/library/{name}"
    return full if ":" in full.rpartition("/")[2] or "@" in full else f"{full}:latest"


def describe(cluster: Cluster | None, *, name: str) -> dict[str, t.Any]:
    """Return the facts of a cluster; nothing of it is secret."""
    facts: dict[str, t.Any] = {
        "name": name,
        "state": "absent" if cluster is None else cluster.state,
        "context": f"k3d-{name}",
    }
    if cluster is None:
        return facts
    servers, agents = cluster.of(SERVER), cluster.of(AGENT)
    mappings = {one for node in cluster.nodes for one in node.mappings if not _is_api(one, cluster)}
    return facts | {
        "api_server": cluster.api_server,
        "network": cluster.network,
        "image": cluster.image,
        "servers": len(servers),
        "servers_running": sum(one.running for one in servers),
        "agents": len(agents),
        "agents_running": sum(one.running for one in agents),
        "has_load_balancer": cluster.load_balancer is not None,
        "nodes": sorted(one.name for one in cluster.nodes),
        "ports": [str(one) for one in sorted(mappings)],
        "k3s_args": {one.name: list(one.arguments) for one in (*servers, *agents)},
        "made_by_this_collection": cluster.mark is not None,
    }


def predicted(wanted: Wanted, cluster: Cluster | None, planned: Plan) -> dict[str, t.Any]:
    """Return the facts as they will be when ``planned`` is carried out; what only k3d can know is left out."""
    facts = describe(cluster, name=wanted.name)
    for step in planned.steps:
        if step.kind == DELETE:
            facts = describe(None, name=wanted.name)
        elif step.kind == CREATE:
            facts = describe(None, name=wanted.name) | _asked_for(wanted)
        elif step.kind in (START, STOP):
            facts["state"] = "running" if step.kind == START else "stopped"
        elif step.kind == ADD_PORTS:
            new = {str(one) for request in step.ports for one in request.mappings}
            facts["ports"] = sorted({*facts["ports"], *new})
    return facts


def _asked_for(wanted: Wanted) -> dict[str, t.Any]:
    asked = {
        "state": "running",
        "image": wanted.image,
        "servers": wanted.servers or 1,
        "agents": wanted.agents or 0,
        "ports": [str(one) for one in sorted(one for request in wanted.ports for one in request.mappings)],
        "made_by_this_collection": True,
    }
    return {key: value for key, value in asked.items() if value is not None}


def _create(wanted: Wanted) -> Step:
    image = f" from {wanted.image}" if wanted.image else ""
    return Step(CREATE, f"create the cluster {wanted.name}{image}")


def _remains(cluster: Cluster, *, recreate: bool) -> Step:
    if cluster.mark is None and not recreate:
        raise MtlsError(
            f"The cluster {cluster.name} is unfinished: its creation was interrupted, and it was not started by this "
            f"collection. Delete it by 'k3d cluster delete {cluster.name}', or set recreate=true."
        )
    return Step(DELETE, f"delete what an interrupted creation left of the cluster {cluster.name}")


def _argument_differences(arguments: tuple[Argument, ...], node: Node) -> list[Difference]:
    wished = drop_labels([one.value for one in arguments if one.is_for(node.role, node.index)])
    have = drop_labels(node.arguments)
    if wished == have:
        return []
    return [Difference(f"the k3s arguments of {node.name}", _words(have), _words(wished))]


def _words(values: t.Sequence[str]) -> str:
    return " ".join(values) or "none"


def _direct_port_differences(wanted: Wanted, cluster: Cluster) -> list[Difference]:
    found = []
    for request in wanted.ports:
        direct = request.direct
        for node in cluster.nodes if direct is not None else ():
            if direct is None or not direct.selects(node.role, node.index):
                continue
            if not all(any(fulfils(have, one) for have in node.mappings) for one in request.mappings):
                found.append(Difference(f"the port mapping {request.text} of {node.name}", "missing", "there"))
    return found


def _exposure_warnings(wanted: Wanted, cluster: Cluster) -> tuple[str, ...]:
    balancer = cluster.load_balancer
    return tuple(
        f"Port {have.host_port} of the cluster {cluster.name} is open on all addresses of the host, not only on "
        f"{wish.address} as asked for. k3d cannot change that in place."
        for request in wanted.ports
        if request.direct is None and balancer is not None
        for wish in request.mappings
        if not wish.on_all_addresses
        for have in sorted(balancer.mappings)
        if have.on_all_addresses and fulfils(have, wish)
    )


def _is_api(mapping: Mapping, cluster: Cluster) -> bool:
    return mapping.container_port == 6443 and cluster.api_server.endswith(f":{mapping.host_port}")
