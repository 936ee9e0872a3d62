# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host can carry a k3d cluster with Kyma's modules: all that is wrong, at once, before anything starts.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.client import find_k3d
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import wanted
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.observe import Cluster
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.plan import fulfils
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.ports import Mapping, PortRequest
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.tool import Tool, cause, find_tool
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.versions import (
    CGROUP_V1_ARGUMENT,
    FIRST_K3S_WITHOUT_CGROUP_V1,
    MINIMUM_DOCKER,
    k3s_version,
    read_version,
    show,
)

DOCKER_HINT = "Install Docker Engine or Docker Desktop: https://docs.docker.com/engine/install/."
INOTIFY = Path("/proc/sys/fs/inotify")
# Below these, pods of a small cluster already meet "too many open files"; k3d's own tests run with the second number.
INOTIFY_LIMITS: t.Mapping[str, tuple[int, int]] = {
    "max_user_instances": (512, 1280),
    "max_user_watches": (65536, 655360),
}


@dataclass
class Findings:
    """What was looked at; ``problems`` make the cluster impossible, ``warnings`` do not."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, t.Any] = field(default_factory=dict)


def look(
    *,
    name: str,
    image: str,
    ports: t.Sequence[t.Any],
    k3s_args: t.Sequence[t.Any],
    executable: str,
    directories: t.Sequence[str],
) -> Findings:
    """Return what speaks against the cluster ``name`` on this host.

    Raises MtlsError when the wish itself cannot be understood.
    """
    wish = wanted(name, image=image, ports=ports, k3s_args=k3s_args)
    problems: list[str] = []
    cluster: Cluster | None = None
    information: dict[str, t.Any] = {}
    facts: dict[str, t.Any] = {}
    try:
        information = docker_information(find_docker())
    except MtlsError as exc:
        problems.append(clause(exc))
    try:
        k3d = find_k3d(executable, directories=directories)
        facts["k3d_version"] = show(k3d.version)
        cluster = k3d.cluster(name) if information else None
    except MtlsError as exc:
        problems.append(clause(exc))
    found = examine(
        information,
        image=image,
        arguments=[one.value for one in wish.arguments or ()],
        ports=() if docker_is_elsewhere() else wish.ports,
        cluster=cluster,
        is_taken=is_taken,
        inotify=inotify_limits(),
    )
    found.problems[:0] = problems
    found.facts.update(facts)
    return found


def clause(error: MtlsError) -> str:
    """Return the words of ``error`` as a part of a longer sentence."""
    return str(error).rstrip(".")


def docker_information(docker: Tool) -> dict[str, t.Any]:
    """Return what Docker says of itself.

    Raises MtlsError when it does not answer: depending on its version, its command then fails or shows empty fields.
    """
    answer = docker.run("info", "--format", "{{json .}}")
    found: t.Any = None
    with contextlib.suppress(ValueError):
        found = json.loads(answer.out)
    if not isinstance(found, dict) or not found.get("ServerVersion"):
        errors = found.get("ServerErrors") if isinstance(found, dict) else None
        text = "\n".join(str(one) for one in errors) if isinstance(errors, list) else answer.err
        raise MtlsError(f"Docker cannot be used: {cause(text + chr(10))}.")
    return found


def find_docker() -> Tool:
    return find_tool("docker", what="Docker", hint=DOCKER_HINT)


def examine(
    information: t.Mapping[str, t.Any],
    *,
    image: str,
    arguments: t.Sequence[str],
    ports: t.Sequence[PortRequest],
    cluster: Cluster | None,
    is_taken: t.Callable[[Mapping], bool],
    inotify: t.Mapping[str, int],
) -> Findings:
    """Return what speaks against the cluster on this host.

    ``cluster`` is the one that exists already: what it has is not examined again.
    """
    found = Findings()
    _examine_docker(found, information)
    _examine_image(found, information, image=image, arguments=arguments)
    if cluster is None or cluster.load_balancer is None:
        held: frozenset[Mapping] = frozenset()
    else:
        held = cluster.load_balancer.mappings
    for request in ports:
        for mapping in request.mappings:
            if mapping.host_port and not any(fulfils(have, mapping) for have in held) and is_taken(mapping):
                found.problems.append(
                    f"the port {mapping.host_port} is taken on this host (see who listens: ss -ltnp, on macOS "
                    f"lsof -nP -iTCP:{mapping.host_port}); stop that, or ask for another port"
                )
    for name, (least, good) in INOTIFY_LIMITS.items():
        if name in inotify and inotify[name] < least:
            found.warnings.append(
                f"fs.inotify.{name} is {inotify[name]}; pods may fail with 'too many open files'. "
                f"Raise it: sysctl -w fs.inotify.{name}={good}"
            )
    return found


def summary(found: Findings, *, name: str) -> MtlsError:
    """Return the error that names every problem."""
    if len(found.problems) == 1:
        reasons = f"{found.problems[0]}."
    else:
        reasons = " ".join(f"({number}) {one}." for number, one in enumerate(found.problems, 1))
    return MtlsError(
        f"This host cannot carry the cluster {name}: {reasons}",
        problems=found.problems,
        **found.facts,
    )


def is_taken(mapping: Mapping) -> bool:
    """Return whether somebody listens where ``mapping`` shall; Docker will do it with more rights than this process."""
    kind = socket.SOCK_DGRAM if mapping.protocol == "udp" else socket.SOCK_STREAM
    address = mapping.address or "0.0.0.0"  # noqa: S104  (bound for a moment, as Docker will do)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as probe:
        # As Docker's proxy does; else connections in TIME_WAIT would look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, mapping.host_port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as exc:
            return exc.errno == errno.EADDRINUSE or (exc.errno == errno.EACCES and _answers(mapping, family))
    return False


def _answers(mapping: Mapping, family: int) -> bool:
    """Return whether a connection is accepted: all that a user without rights for low ports can find out."""
    loopback = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    address = loopback if mapping.on_all_addresses else mapping.address
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return mapping.protocol == "tcp" and probe.connect_ex((address, mapping.host_port)) == 0


def docker_is_elsewhere(environment: t.Mapping[str, str] | None = None) -> bool:
    """Return whether Docker runs on another machine, whose ports cannot be looked at from here.

    ``environment`` is that of this process when it is not given.
    """
    variables = os.environ if environment is None else environment
    return variables.get("DOCKER_HOST", "").startswith(("tcp://", "ssh://", "http://", "https://"))


def inotify_limits(directory: Path = INOTIFY) -> dict[str, int]:
    """Return the kernel's limits, nothing where there are none (macOS)."""
    limits = {}
    for name in INOTIFY_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limits[name] = int((directory / name).read_text(encoding="ascii"))
    return limits


def _examine_docker(found: Findings, information: t.Mapping[str, t.Any]) -> None:
    text = str(information.get("ServerVersion") or "")
    if text:
        found.facts["docker_version"] = text
        found.facts["cgroup_version"] = str(information.get("CgroupVersion") or "")
    version = read_version(text)
    if version is not None and version < MINIMUM_DOCKER:
        found.problems.append(f"Docker is {text}, but k3d needs {show(MINIMUM_DOCKER)} or later")


def _examine_image(
    found: Findings, information: t.Mapping[str, t.Any], *, image: str, arguments: t.Sequence[str]
) -> None:
    try:
        version = k3s_version(image)
    except MtlsError as exc:
        found.problems.append(clause(exc))
        return
    found.facts["k3s_version"] = show(version)
    refuses = version >= FIRST_K3S_WITHOUT_CGROUP_V1 and CGROUP_V1_ARGUMENT not in arguments
    if refuses and str(information.get("CgroupVersion")) == "1":
        found.problems.append(
            f"the k3s image {image} does not start on cgroup version 1, which Docker has here. Take an image before "
            f"v{show(FIRST_K3S_WITHOUT_CGROUP_V1)}, boot with cgroup version 2, or add the k3s argument "
            f"{CGROUP_V1_ARGUMENT}@server:*"
        )
