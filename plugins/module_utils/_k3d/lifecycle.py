# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a cluster to a state: decide what has to be done, check the host, and have k3d do it.

Nothing is changed in place. What differs from an existing cluster is refused, or with ``recreate`` the cluster is
deleted and created again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    ensure_directory,
    read_bytes,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._k3d import cli
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.cluster import (
    Cluster,
    describe,
    differences,
    read_clusters,
)
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import AGENT, ENVIRONMENT, SERVER, ClusterSpec

GRACE_SECONDS = 120
DELETE_SECONDS = 300
BEGUN = "Prep: Network"
ROLLED_BACK = "all changes have been rolled back"
EXISTS = "a cluster with that name already exists"
_NAME = re.compile(r"""^[\s{\[,-]*["']?name["']?\s*:\s*["']?([^"'\s,}]+)""", re.MULTILINE)


@dataclass(frozen=True)
class ClusterResult:
    returned: dict[str, t.Any]
    warnings: tuple[str, ...] = ()


@dataclass
class K3d:
    """k3d on this host, for one call of the module."""

    tool: cli.Tool
    version: cli.Version
    timeout_seconds: int = 300
    wait: bool = True
    touches_default_kubeconfig: bool = False

    def find(self, name: str) -> Cluster | None:
        """Return the cluster ``name``, None when there is none: asking k3d for one alone is an error then."""
        answer = self.tool.run("cluster", "list", "-o", "json")
        if not answer.ok:
            raise self.tool.failure(answer, what="k3d cannot list its clusters")
        clusters, tokens = read_clusters(answer.out)
        self.tool.secrets |= tokens
        return clusters.get(name)

    def run(self, what: str, *arguments: str, seconds: float = DELETE_SECONDS) -> None:
        """Carry out a command that changes a cluster. Raises MtlsError with k3d's reason."""
        answer = self._answer(*arguments, seconds=seconds)
        if not answer.ok:
            raise self.tool.failure(answer, what=what, name=arguments[2])

    def create(self, spec: ClusterSpec, *, again: bool = False) -> None:
        """Create the cluster. Raises MtlsError, after everything half-made is removed."""
        name, failed = spec.name, f"The cluster {spec.name} was not created"
        try:
            answer = self._answer("cluster", "create", spec=spec, seconds=self.timeout_seconds + GRACE_SECONDS)
        except BaseException as exc:
            # Interrupted or out of time: k3d was ended and could not roll back.
            left = self._clean_up(name)
            if not isinstance(exc, MtlsError):
                raise
            raise MtlsError(f"{failed}: {str(exc).rstrip('.')}. {left}") from exc
        if answer.ok:
            return
        if EXISTS in answer.err and self.find(name) is None and not again:
            # An interrupted creation left a container that is not a node (k3d's tools), which k3d does not list.
            self._clean_up(name)
            self.create(spec, again=True)
            return
        error = self.tool.failure(answer, what=failed, name=name)
        if EXISTS in answer.err:
            raise MtlsError(f"{failed}: somebody else created it meanwhile. Run this again.", **error.details)
        if ROLLED_BACK in answer.err:
            raise MtlsError(f"{error} k3d has rolled everything back.", **error.details)
        left = self._clean_up(name) if BEGUN in answer.out else "Nothing was begun."
        raise MtlsError(f"{error} {left}", **error.details)

    def start(self, name: str) -> None:
        what, seconds = f"The cluster {name} cannot be started", self.timeout_seconds
        options = (f"--wait={json.dumps(self.wait)}", f"--timeout={seconds}s")
        self.run(what, "cluster", "start", name, *options, seconds=seconds + GRACE_SECONDS)

    def kubeconfig(self, name: str) -> bytes:
        """Return the kubeconfig of the running cluster ``name``. It holds a private key, so it is never shown."""
        answer = self.tool.run("kubeconfig", "get", name)
        if not answer.ok:
            raise self.tool.failure(answer, what=f"The kubeconfig of the cluster {name} cannot be read", name=name)
        body = answer.out.removeprefix("---").lstrip("\n")
        if "clusters:" not in body or "users:" not in body:
            raise MtlsError("k3d has not printed a kubeconfig. Run 'k3d kubeconfig get' yourself to see what it says.")
        return body.encode()

    def _clean_up(self, name: str) -> str:
        """Remove what a failed creation left, and say so. Deleting what is not there is no error for k3d."""
        if self._answer("cluster", "delete", name, seconds=DELETE_SECONDS).ok:
            return "Nothing of it is left."
        return f"What is left of it could not be removed: run 'k3d cluster delete {name}'."

    def _answer(self, *arguments: str, seconds: float, spec: ClusterSpec | None = None) -> cli.CommandResult:
        """Run k3d with a directory of its own for what it writes beside: a copy of its configuration, and unless that
        is asked for, the user's kubeconfig."""
        with tempfile.TemporaryDirectory(prefix="kyma-mtls-") as directory:
            environment = {"TMPDIR": directory}
            if not self.touches_default_kubeconfig:
                environment["KUBECONFIG"] = f"{directory}/kubeconfig"
            if spec is not None:
                path = Path(directory) / f"{spec.name}.yaml"
                write_atomic(path, spec.render(), mode=KEY_MODE)
                arguments = (*arguments, "--config", str(path))
            return self.tool.run(*arguments, seconds=seconds, **environment, **(ENVIRONMENT if spec else {}))


def ensure(
    connect: t.Callable[[], K3d],
    spec: ClusterSpec,
    *,
    state: str,
    recreate: bool,
    kubeconfig: Path | None,
    check_only: bool,
    check_host: bool = False,
) -> ClusterResult:
    """Bring the cluster to ``state`` and return its facts. With ``check_only``, only say what would be done.

    Raises MtlsError when that is not possible, or not without ``recreate``; with ``check_host`` also when this host
    cannot carry it, before anything is done.
    """
    host = cli.HostCheck()
    k3d, before = _look_with_host(connect, spec, host) if check_host else _look(connect, spec)
    k3d.tool.secrets |= spec.secrets
    actions, warnings = plan(spec, before, state=state, recreate=recreate)
    owned = kubeconfig is not None and _owns(kubeconfig, spec.name, state=state)
    after = before
    if actions and not check_only:
        for action in actions:
            _carry_out(k3d, spec, action)
        after = _known(k3d, spec)
    done = [action.words for action in actions]
    if kubeconfig is not None:
        # Only a running cluster tells its kubeconfig.
        certain = check_only and any(
            action.kind == "create" or (action.kind == "start" and not owned) for action in actions
        )
        running = after is not None and after.state != "stopped"
        done += _kubeconfig(k3d, spec.name, kubeconfig, state=state, owned=owned, check_only=check_only,
                            running=running, certain=certain)  # fmt: skip
    facts = predicted(spec, before, actions) if check_only else describe(after, name=spec.name)
    returned = {
        "changed": bool(done),
        "actions": done,
        "cluster": facts,
        "k3d_version": cli.show(k3d.version),
        "diff": {"before": describe(before, name=spec.name), "after": facts},
        **host.facts,
        **({} if kubeconfig is None else {"kubeconfig": str(kubeconfig)}),
    }
    return ClusterResult(returned, (*host.warnings, *warnings))


def _known(k3d: K3d, spec: ClusterSpec) -> Cluster | None:
    """Return the cluster with the name of its image: from our mark, or from Docker, since k3d tells an id only."""
    found = k3d.find(spec.name)
    if found is None or not found.of(SERVER):
        return found
    image = found.mark.image if found.mark else ""
    if not image:
        with contextlib.suppress(MtlsError):
            docker = cli.find_tool("docker", what="docker", hint="")
            answer = docker.run("container", "inspect", "--format", "{{.Config.Image}}", found.of(SERVER)[0].name)
            image = answer.out.strip() if answer.ok else ""
    is_name = bool(image) and not image.startswith("sha256:")
    return dataclasses.replace(found, image=image if is_name else None)


def _look(connect: t.Callable[[], K3d], spec: ClusterSpec) -> tuple[K3d, Cluster | None]:
    k3d = connect()
    return k3d, _known(k3d, spec)


def _look_with_host(connect: t.Callable[[], K3d], spec: ClusterSpec, host: cli.HostCheck) -> tuple[K3d, Cluster | None]:
    """Raise MtlsError with all that speaks against the cluster on this host."""
    cli.check_docker(host)
    k3d, cluster = None, None
    try:
        k3d = connect()
        # Without Docker k3d knows no clusters.
        cluster = None if host.problems else _known(k3d, spec)
    except MtlsError as exc:
        host.problems.append(str(exc).rstrip("."))
    cli.check_image(host, str(spec.image or ""), [argument.value for argument in spec.arguments or ()])
    held = [] if cluster is None else cluster.mappings
    cli.check_ports(host, [port for port in spec.ports if not any(have.fulfils(port) for have in held)])
    cli.check_inotify(host)
    if k3d is not None and not host.problems:
        return k3d, cluster
    numbered = [f"({number}) {problem}." for number, problem in enumerate(host.problems, 1)]
    reasons = f"{host.problems[0]}." if len(numbered) == 1 else " ".join(numbered)
    raise MtlsError(f"This host cannot run the cluster {spec.name}: {reasons}", problems=host.problems, **host.facts)


@dataclass(frozen=True)
class Action:
    kind: str
    words: str


def plan(
    spec: ClusterSpec, cluster: Cluster | None, *, state: str, recreate: bool = False
) -> tuple[list[Action], tuple[str, ...]]:
    """Return what brings ``cluster`` to ``state`` as ``spec`` says, and warnings.

    Raises MtlsError when that takes a new cluster and ``recreate`` does not allow it.
    """
    name = spec.name
    create = Action("create", f"create the cluster {name}" + (f" from {spec.image}" if spec.image else ""))
    if cluster is None:
        return [create] if state in ("present", "started") else [], ()
    if state == "absent":
        return [Action("delete", f"delete the cluster {name}")], ()
    if state == "stopped":
        return [] if cluster.state == "stopped" else [Action("stop", f"stop the cluster {name}")], ()
    if cluster.never_finished:
        if cluster.mark is None and not recreate:
            raise MtlsError(
                f"The cluster {name} is unfinished: its creation was interrupted, and it was not started by this "
                f"collection. Delete it by 'k3d cluster delete {name}', or set recreate=true."
            )
        return [Action("delete", f"delete what an interrupted creation left of the cluster {name}"), create], ()
    found, warnings = differences(spec, cluster)
    if found and not recreate:
        raise MtlsError(
            f"The cluster {name} exists and differs: {'; '.join(found)}. Nothing is changed in place. "
            "Set the options to what is there, or set recreate=true: the cluster is then deleted with all that runs in "
            "it, and created again.",
            differences=found,
        )
    if found:
        return [Action("delete", f"delete the cluster {name}, because {'; '.join(found)}"), create], warnings
    starts = state == "started" and cluster.state != "running"
    return [Action("start", f"start the cluster {name}")] if starts else [], warnings


def predicted(spec: ClusterSpec, cluster: Cluster | None, actions: t.Sequence[Action]) -> dict[str, t.Any]:
    """Return the facts as they will be after ``actions``; what only k3d can know is left out."""
    kinds = [action.kind for action in actions]
    if "create" in kinds:
        requested = {
            "state": "running",
            "image": spec.image,
            "servers": spec.count(SERVER) or 1,
            "agents": spec.count(AGENT) or 0,
            "ports": [str(port) for port in sorted(spec.ports)],
            "made_by_this_collection": True,
        }
        return describe(None, name=spec.name) | {key: value for key, value in requested.items() if value is not None}
    facts = describe(None if "delete" in kinds else cluster, name=spec.name)
    return facts | ({"state": "running"} if "start" in kinds else {"state": "stopped"} if "stop" in kinds else {})


def _carry_out(k3d: K3d, spec: ClusterSpec, action: Action) -> None:
    name = spec.name
    if action.kind == "create":
        k3d.create(spec)
    elif action.kind == "start":
        k3d.start(name)
    else:
        participle = {"delete": "deleted", "stop": "stopped"}[action.kind]
        k3d.run(f"The cluster {name} cannot be {participle}", "cluster", action.kind, name)


def _owns(path: Path, name: str, *, state: str) -> bool:
    """Return whether ``path`` holds the kubeconfig of the cluster ``name`` alone.

    Raises MtlsError when it holds something else, which is not ours to replace; it is no hindrance to a deletion.
    """
    if not path.exists():
        return False
    text = read_bytes(path, what="kubeconfig").decode(errors="replace")
    names = set(_NAME.findall(text))
    others = sorted(names - {f"k3d-{name}", f"admin@k3d-{name}"})
    if not text.strip() or (names and not others):
        return True
    if state == "absent":
        return False
    what = f"holds {', '.join(others)} as well" if others else "is not a kubeconfig"
    raise MtlsError(
        f"The file {path} {what}, so the kubeconfig of the cluster {name} is not written there. "
        "Name a file for this cluster alone.",
        path=str(path),
    )


def _kubeconfig(
    k3d: K3d, name: str, path: Path, *, state: str, owned: bool, check_only: bool, running: bool, certain: bool
) -> list[str]:
    """Have the file agree with the cluster; return what was, or would be, done about it."""
    if state == "absent":
        if owned and not check_only:
            try:
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise MtlsError(f"The kubeconfig {path} cannot be removed: {exc.strerror}.", path=str(path)) from exc
        return [f"remove {path}"] if owned else []
    if not (running or certain):
        return []
    if not certain:
        content = k3d.kubeconfig(name)
        with contextlib.suppress(OSError):
            if path.read_bytes() == content and path.stat().st_mode & 0o777 == KEY_MODE:
                return []
        if not check_only:
            if not path.parent.exists():
                ensure_directory(path.parent)
            write_atomic(path, content, mode=KEY_MODE)
    return [f"write {path}"]
