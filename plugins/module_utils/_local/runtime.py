# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a local runtime: its environment and its supervisor, as one plan."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import preflight
from ansible_collections.kyma.mtls.plugins.module_utils._local.admin import Admin
from ansible_collections.kyma.mtls.plugins.module_utils._local.environment import Environment, PackageSet
from ansible_collections.kyma.mtls.plugins.module_utils._local.locking import lock
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor import Supervisor
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor_files import PACKAGES as SUPERVISOR_PACKAGES

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout

RuntimeState = t.Literal["present", "started", "stopped", "absent"]


@dataclasses.dataclass(frozen=True)
class RuntimeStep:
    """One thing to do: its description, and how."""

    description: str
    do: t.Callable[[], t.Any]


def steps(
    layout: RuntimeLayout, *, packages: t.Sequence[PackageSet], state: RuntimeState, listen: t.Sequence[int] = ()
) -> list[RuntimeStep]:
    """Return what is to be done to bring the runtime to ``state``; nothing when it is there already.

    Raises MtlsError when its place cannot be written to, or one of the ports ``listen`` cannot be listened on.
    """
    environment = Environment(path=layout.environment, records=layout.installed)
    supervisor = Supervisor(layout=layout, python=environment.python)
    if state == "absent":
        if not layout.root.exists():
            return []
        refuse_foreign_content(layout)
        remove = functools.partial(remove_runtime, layout, supervisor)
        return [RuntimeStep(f"end its processes and remove {layout.root}", remove)]
    if state == "stopped":
        stop = RuntimeStep("stop the supervisor and everything that it runs", supervisor.stop)
        return [stop] if supervisor.has_processes() else []
    preflight.refuse_unwritable(layout)
    admin = Admin(socket=layout.admin_socket, log=layout.logs / f"{preflight.ENVOY}.log")
    if not supervisor.previous():
        preflight.refuse_taken_ports(layout, admin, listen)
    missing = [package_set for package_set in packages if not environment.has(package_set)]
    found = [
        RuntimeStep(f"install {', '.join(package_set.summary)}", functools.partial(environment.install, package_set))
        for package_set in missing
    ]
    is_renewed = any(package_set.name == SUPERVISOR_PACKAGES for package_set in missing)
    if state == "started" and (is_renewed or not supervisor.is_settled()):
        found.append(RuntimeStep("start the supervisor", supervisor.start))
    return found


def refuse_foreign_content(layout: RuntimeLayout) -> None:
    """Refuse to remove a directory that was never, or not only, a runtime: a wrong path must not cost a home.

    Raises MtlsError naming what else is in it.
    """
    ours = {*layout.directories(), layout.environment, layout.apply_lock}
    try:
        foreign = sorted(path.name for path in layout.root.iterdir() if path not in ours)
    except OSError as exc:
        raise MtlsError(f"The runtime {layout.root} cannot be read: {exc.strerror}.") from exc
    if foreign:
        raise MtlsError(
            f"The directory {layout.root} holds {', '.join(foreign[:5])}, which is not part of a runtime, "
            "so nothing is removed. Is the path right? If it is, move that elsewhere."
        )


def remove_runtime(layout: RuntimeLayout, supervisor: Supervisor) -> None:
    """End every process of this runtime and remove its directories.

    Raises MtlsError when a process does not end or a directory cannot be removed.
    """
    supervisor.stop()
    for directory in (layout.sockets, layout.root):
        try:
            if directory.exists():
                shutil.rmtree(directory)
        except OSError as exc:
            raise MtlsError(f"{directory} cannot be removed: {exc}.") from exc


def carry_out(layout: RuntimeLayout, planned: t.Sequence[RuntimeStep], *, state: RuntimeState) -> None:
    """Do ``planned``, alone on this runtime.

    Raises MtlsError when a step fails; what was done before stays, and the next run goes on from there.
    """
    if state in {"present", "started"}:
        layout.make()
    with lock(layout.apply_lock):
        for step in planned:
            step.do()
