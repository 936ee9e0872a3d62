# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call for the module: look, plan, act, look again.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._k3d import kubeconfig
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.client import K3d
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.config import Wanted
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.observe import Cluster
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.plan import CREATE, START, describe, plan, predicted
from ansible_collections.kyma.mtls.plugins.module_utils._k3d.versions import show


@dataclass(frozen=True)
class Result:
    returned: dict[str, t.Any]
    warnings: tuple[str, ...]


def ensure(
    k3d: K3d,
    wanted: Wanted,
    *,
    state: str,
    recreate: bool,
    kubeconfig_path: Path | None,
    check_only: bool,
) -> Result:
    """Bring the cluster to ``state`` and return the facts. With ``check_only``, only tell what would be done.

    Raises MtlsError when that is not possible, or not without ``recreate``.
    """
    before = k3d.cluster(wanted.name)
    planned = plan(wanted, before, state=state, recreate=recreate)
    owned = kubeconfig_path is not None and _owned(kubeconfig_path, wanted.name, state=state)
    actions = [step.words for step in planned.steps]
    after: Cluster | None = before
    if planned.steps and not check_only:
        k3d.carry_out(planned, wanted)
        after = k3d.cluster(wanted.name)
    if kubeconfig_path is not None:
        renewed = any(step.kind == CREATE or (step.kind == START and not owned) for step in planned.steps)
        actions += _kubeconfig(
            k3d, wanted.name, kubeconfig_path, state=state, owned=owned, check_only=check_only,
            running=after is not None and not after.stopped, renewed=renewed,
        )  # fmt: skip
    facts = predicted(wanted, before, planned) if check_only else describe(after, name=wanted.name)
    returned = {
        "changed": bool(actions),
        "actions": actions,
        "cluster": facts,
        "k3d_version": show(k3d.version),
        "diff": {"before": describe(before, name=wanted.name), "after": facts},
    }
    if kubeconfig_path is not None:
        returned["kubeconfig"] = str(kubeconfig_path)
    return Result(returned, planned.warnings)


def _owned(path: Path, name: str, *, state: str) -> bool:
    try:
        return kubeconfig.check_owner(path, cluster=name)
    except MtlsError:
        if state == "absent":
            # Somebody else's file is no hindrance: it is left alone.
            return False
        raise


def _kubeconfig(
    k3d: K3d,
    name: str,
    path: Path,
    *,
    state: str,
    owned: bool,
    check_only: bool,
    running: bool,
    renewed: bool,
) -> list[str]:
    """Have the file agree with the cluster; return what was, or would be, done about it."""
    if state == "absent":
        if owned and not check_only:
            kubeconfig.remove(path)
        return [f"remove {path}"] if owned else []
    write = f"write {path}"
    if check_only and renewed:
        return [write]
    if not running:
        # Only a running cluster tells its kubeconfig.
        return []
    content = k3d.kubeconfig(name)
    if kubeconfig.is_current(path, content):
        return []
    if not check_only:
        kubeconfig.write(path, content)
    return [write]
