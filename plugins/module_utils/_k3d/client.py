# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one thing that talks to k3d: reads clusters, carries plans out, cleans up after failures.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d import config, kubeconfig
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import Wanted
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.observe import Cluster, read_clusters
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.plan import (
    ADD_PORTS,
    CREATE,
    DELETE,
    START,
    STOP,
    Plan,
    Step,
)
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.tool import Tool, find_tool
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.versions import (
    MINIMUM_K3D,
    Version,
    read_version,
    show,
)

INSTALL_HINT = "Install it from https://k3d.io, or have the role kyma.mtls.cluster do it (cluster_install_tools)."
# What k3d may take beyond its own limit, to roll back and to answer.
GRACE_SECONDS = 120
DELETE_SECONDS = 300
# What k3d prints when it has come so far.
BEGUN = "Prep: Network"
ROLLED_BACK = "all changes have been rolled back"
EXISTS = "a cluster with that name already exists"


@dataclass
class K3d:
    """k3d on this host."""

    tool: Tool
    version: Version
    timeout_seconds: int = 300
    wait: bool = True
    touches_default_kubeconfig: bool = False
    _docker: Tool | None = field(default=None, repr=False)

    def cluster(self, name: str) -> Cluster | None:
        """Return the cluster ``name``, None when there is none.

        All are listed, since asking k3d for one that does not exist is an error. Raises MtlsError when Docker does not
        answer.
        """
        answer = self.tool.run("cluster", "list", "-o", "json")
        if not answer.ok:
            raise self.tool.failure(answer, what="k3d cannot list its clusters")
        clusters, tokens = read_clusters(answer.out)
        self.tool.secrets |= tokens
        found = next((one for one in clusters if one.name == name), None)
        if found is None:
            return None
        return dataclasses.replace(found, image=self._image(found))

    def carry_out(self, plan: Plan, wanted: Wanted) -> None:
        """Do what ``plan`` says. Raises MtlsError when k3d fails, after everything half-made is removed."""
        self.tool.secrets |= set(wanted.secrets)
        for step in plan.steps:
            if step.kind == CREATE:
                self._create(wanted)
            else:
                self._simple(step, wanted.name)

    def kubeconfig(self, name: str) -> bytes:
        """Return the kubeconfig of the running cluster ``name``. Raises MtlsError when k3d cannot give it."""
        answer = self.tool.run("kubeconfig", "get", name)
        if not answer.ok:
            raise self.tool.failure(answer, what=f"The kubeconfig of the cluster {name} cannot be read", name=name)
        return kubeconfig.clean(answer.out)

    def _image(self, cluster: Cluster) -> str | None:
        """Return the image's name: from our mark, or from Docker, since k3d tells an identifier only."""
        if cluster.mark is not None and cluster.mark.image:
            return cluster.mark.image
        if cluster.first_server is None:
            return None
        with contextlib.suppress(MtlsError):
            docker = self._docker or find_tool("docker", what="docker", hint="")
            answer = docker.run("container", "inspect", "--format", "{{.Config.Image}}", cluster.first_server.name)
            named = answer.out.strip()
            if answer.ok and named and not named.startswith("sha256:"):
                return named
        return None

    def _simple(self, step: Step, name: str) -> None:
        seconds = float(self.timeout_seconds + GRACE_SECONDS)
        commands: dict[str, tuple[tuple[str, ...], str]] = {
            DELETE: (("cluster", "delete", name), f"The cluster {name} cannot be deleted"),
            STOP: (("cluster", "stop", name), f"The cluster {name} cannot be stopped"),
            START: (
                ("cluster", "start", name, f"--wait={json.dumps(self.wait)}", f"--timeout={self.timeout_seconds}s"),
                f"The cluster {name} cannot be started",
            ),
            ADD_PORTS: (
                ("cluster", "edit", name, *(word for one in step.ports for word in ("--port-add", one.flag))),
                f"The ports {', '.join(one.text for one in step.ports)} cannot be mapped to the cluster {name}",
            ),
        }
        command, what = commands[step.kind]
        with self._own_directory() as environment:
            answer = self.tool.run(*command, seconds=max(seconds, DELETE_SECONDS), **environment)
        if not answer.ok:
            raise self.tool.failure(answer, what=what, name=name)

    def _create(self, wanted: Wanted, *, again: bool = False) -> None:
        name, failed = wanted.name, f"The cluster {wanted.name} was not created"
        with self._own_directory() as environment:
            path = Path(environment["TMPDIR"]) / f"{name}.yaml"
            kubeconfig.write(path, config.render(wanted.config))
            try:
                answer = self.tool.run(
                    *("cluster", "create", "--config", str(path)),
                    seconds=self.timeout_seconds + GRACE_SECONDS,
                    **environment,
                    **config.environment(),
                )
            except BaseException as exc:
                # Interrupted or out of time: k3d was ended and could not roll back.
                left = self._clean_up(name)
                if not isinstance(exc, MtlsError):
                    raise
                raise MtlsError(f"{failed}: {str(exc).rstrip('.')}. {left}") from exc
        if answer.ok:
            return
        if EXISTS in answer.err and self.cluster(name) is None and not again:
            # An interrupted creation left a container that is no node (k3d's tools), which k3d does not list.
            self._clean_up(name)
            self._create(wanted, again=True)
            return
        error = self.tool.failure(answer, what=failed, name=name)
        if EXISTS in answer.err:
            raise MtlsError(f"{failed}: somebody else created it meanwhile. Run this again.", **error.details)
        if ROLLED_BACK in answer.err:
            raise MtlsError(f"{error} k3d has rolled everything back.", **error.details)
        left = self._clean_up(name) if BEGUN in answer.out else "Nothing was begun."
        raise MtlsError(f"{error} {left}", **error.details)

    def _clean_up(self, name: str) -> str:
        """Remove what a failed creation left, and say so. Deleting what is not there is no error for k3d."""
        with self._own_directory() as environment:
            answer = self.tool.run("cluster", "delete", name, seconds=DELETE_SECONDS, **environment)
        if answer.ok:
            return "Nothing of it is left."
        return f"What is left of it could not be removed: run 'k3d cluster delete {name}'."

    @contextlib.contextmanager
    def _own_directory(self) -> t.Iterator[dict[str, str]]:
        """A directory for what k3d writes beside: it leaves a copy of its configuration in TMPDIR, and its commands
        write to the user's kubeconfig, unless that is asked for."""
        with tempfile.TemporaryDirectory(prefix="kyma-mtls-") as directory:
            environment = {"TMPDIR": directory}
            if not self.touches_default_kubeconfig:
                environment["KUBECONFIG"] = f"{directory}/kubeconfig"
            yield environment


def find_k3d(executable: str = "k3d", *, directories: t.Sequence[str] = (), **settings: t.Any) -> K3d:
    """Return k3d on this host.

    Raises MtlsError when it is missing or too old.
    """
    tool = find_tool(executable, what="k3d", hint=INSTALL_HINT, directories=directories)
    version = k3d_version(tool)
    if version < MINIMUM_K3D:
        raise MtlsError(
            f"k3d is {show(version)} ({tool.path}), but {show(MINIMUM_K3D)} or later is needed: older ones do not work "
            f"with the Docker of today. {INSTALL_HINT}"
        )
    return K3d(tool=tool, version=version, **settings)


def k3d_version(tool: Tool) -> Version:
    """Return the version of ``tool``. Raises MtlsError when it is not told."""
    answer = tool.run("version", "-o", "json")
    text = ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(answer.out)["k3d"])
    if not text:
        # Old ones know no JSON here.
        text = tool.run("version").out.partition("\n")[0]
    version = read_version(text)
    if version is None:
        raise MtlsError(f"The version of {tool.path} cannot be told: it is not k3d, or broken. {INSTALL_HINT}")
    return version
