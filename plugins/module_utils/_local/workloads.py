# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Local processes that play Deployments, as a kubelet would run their containers."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import unix_http
from ansible_collections.kyma.mtls.plugins.module_utils._local.environment import Environment, PackageSet
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor import wait_until
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor_files import Program, program_name

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout

READY_SECONDS = 30.0
SOCKET_PLACEHOLDER = "{socket}"


@dataclasses.dataclass(frozen=True)
class WorkloadProcess:
    """The local process of one Deployment: ``deployment`` is ``namespace/name``."""

    deployment: str
    requirements: str
    command: tuple[str, ...]

    @property
    def packages(self) -> PackageSet:
        return PackageSet(name=f"workload-{program_name(self.deployment)}", requirements=self.requirements)

    def socket(self, layout: RuntimeLayout) -> Path:
        """Return the Unix socket that the process serves HTTP on."""
        digest = hashlib.sha256(self.deployment.encode()).hexdigest()[:12]
        return layout.sockets / f"workload-{digest}.sock"

    def program(self, *, layout: RuntimeLayout, environment: Environment) -> Program:
        """Return the supervised program: the command with its socket filled in.

        Raises MtlsError when the command has no executable in the environment.
        """
        path = str(self.socket(layout))
        first, *arguments = (part.replace(SOCKET_PLACEHOLDER, path) for part in self.command)
        return Program(
            name=self.packages.name,
            command=(str(environment.program(first)), *arguments),
            packages=self.packages.digest,
        )


def readiness_path(deployment: t.Mapping[str, t.Any]) -> str:
    """Return the path of the Deployment's first HTTP readiness probe, ``/`` when it has none."""
    for container in _inner(deployment, "spec", "template", "spec", "containers") or ():
        path = _inner(container, "readinessProbe", "httpGet", "path")
        if path:
            return str(path)
    return "/"


def _inner(value: t.Any, *keys: str) -> t.Any:
    """Return the field at the end of ``keys``; to the Kubernetes API, null is the same as absent."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def is_ready(path: Path, target: str) -> bool:
    """Whether the process behind the socket answers its readiness probe."""
    try:
        unix_http.get(path, target, timeout=5.0)
    except (OSError, http.client.HTTPException):
        return False
    return True


def wait_for_ready(workload: WorkloadProcess, deployment: t.Mapping[str, t.Any], *, layout: RuntimeLayout) -> None:
    """Wait until the workload answers.

    Raises MtlsError with the place of its log when it does not.
    """
    path = workload.socket(layout)
    target = readiness_path(deployment)
    wait_until(
        lambda: is_ready(path, target),
        seconds=READY_SECONDS,
        failure=lambda: (
            f"The local process of Deployment {workload.deployment} does not answer GET {target} within "
            f"{READY_SECONDS:.0f} seconds. See {layout.logs / (workload.packages.name + '.log')}."
        ),
    )


def check_command(workload: WorkloadProcess) -> None:
    """Refuse a command that could not be run.

    Raises MtlsError when it is empty or does not say where it listens.
    """
    if not workload.command or not any(SOCKET_PLACEHOLDER in part for part in workload.command):
        raise MtlsError(
            f"The command of workload {workload.deployment} must contain {SOCKET_PLACEHOLDER}, "
            "the place of the Unix socket that it listens on."
        )
