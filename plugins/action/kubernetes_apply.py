# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run kubernetes_apply in slices, so that a person sees what a long wait is waiting for.

Where the target is the controller, without a Python of its own.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.kyma.mtls.plugins.modules import kubernetes_apply
from ansible_collections.kyma.mtls.plugins.plugin_utils._in_process import ActionInProcess

SLICE_SECONDS = 15

display = Display()


class ActionModule(ActionInProcess):
    """Call the module until nothing is left to wait for; the time limit is the module's own."""

    MAIN = staticmethod(kubernetes_apply.main)
    # Each call is one of several of a task.
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = ActionBase.run(self, tmp, task_vars)
        arguments = dict(self._task.args)
        slice_seconds = int(arguments.pop("wait_slice", None) or SLICE_SECONDS)
        waited = float(arguments.pop("waited", None) or 0)
        first: dict[str, t.Any] | None = None
        while True:
            outcome = self._call({**arguments, "wait_slice": slice_seconds, "waited": waited}, task_vars or {})
            first = outcome if first is None else together(first, outcome)
            if outcome.get("failed") or not outcome.get("waiting"):
                result.update(first)
                return result
            waited += slice_seconds
            host = (task_vars or {}).get("inventory_hostname", "")
            for words in outcome["waiting"]:
                display.display(f"waiting: [{host}] {waited:.0f} s: {words}")

    def _call(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if self.is_here(task_vars):
            return self.run_here(arguments)
        executed: dict[str, t.Any] = self._execute_module(
            module_name="kyma.mtls.kubernetes_apply", module_args=arguments, task_vars=task_vars
        )
        return executed


def together(earlier: dict[str, t.Any], later: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result of two calls of one task: what the first has changed, the second finds unchanged."""
    both = {**earlier, **later}
    both["changed"] = bool(earlier.get("changed") or later.get("changed"))
    both["requests"] = earlier.get("requests", 0) + later.get("requests", 0)
    both["diff"] = _diffs(earlier) + _diffs(later)
    actions = {one["object"]: one["action"] for one in later.get("changes", [])}
    actions.update({one["object"]: one["action"] for one in earlier.get("changes", []) if one["action"] != "unchanged"})
    both["changes"] = [{"object": name, "action": action} for name, action in actions.items()]
    for key in ("restarted", "warnings"):
        both[key] = [*earlier.get(key, []), *(one for one in later.get(key, []) if one not in earlier.get(key, []))]
    return both


def _diffs(result: dict[str, t.Any]) -> list[dict[str, str]]:
    """Return the diffs of one call as a list, without empty ones."""
    diffs = result.get("diff") or []
    return [one for one in ([diffs] if isinstance(diffs, dict) else diffs) if one.get("before") != one.get("after")]
