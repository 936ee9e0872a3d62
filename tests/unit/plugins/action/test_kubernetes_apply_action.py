# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action plugin of kubernetes_apply: one task, several calls, one result, and words while it waits."""

from __future__ import annotations

import typing as t
from types import SimpleNamespace

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.kyma.mtls.plugins.action import kubernetes_apply


def call(**result: t.Any) -> dict[str, t.Any]:
    nothing = {"before": "{}\n", "after": "{}\n"}
    return {"changed": False, "changes": [], "restarted": [], "waiting": [], "requests": 1, "diff": nothing, **result}


class Played(kubernetes_apply.ActionModule):
    """The plugin with the module's calls played."""

    def __init__(self, arguments: dict[str, t.Any], *results: dict[str, t.Any]) -> None:
        self._task = SimpleNamespace(args=arguments)
        self.results = list(results)
        self.calls: list[dict[str, t.Any]] = []

    def is_here(self, _variables: t.Mapping[str, t.Any]) -> bool:
        return False

    def _execute_module(self, **options: t.Any) -> dict[str, t.Any]:
        self.calls.append(options["module_args"])
        return self.results.pop(0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(kubernetes_apply.display, "display", lines.append)
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    return lines


def test_a_task_that_need_not_wait_is_one_call(told: list[str]) -> None:
    plugin = Played({"definition": []}, call(changed=True))
    result = plugin.run(task_vars={"inventory_hostname": "here"})
    assert result["changed"]
    assert plugin.calls == [{"definition": [], "wait_slice": 15, "waited": 0.0}]
    assert told == []


def test_a_long_wait_is_several_calls_with_one_result(told: list[str]) -> None:
    created = {"before": "{}\n", "after": '{"Istio": 1}\n'}
    first = call(
        changed=True,
        changes=[{"object": "Istio default", "action": "created"}],
        waiting=["Istio default: Processing"],
        diff=created,
        warnings=["one"],
    )
    second = call(changes=[{"object": "Istio default", "action": "unchanged"}], warnings=["one", "two"], requests=2)
    plugin = Played({"wait_slice": 5}, first, second)
    result = plugin.run(task_vars={"inventory_hostname": "here"})

    assert told == ["waiting: [here] 5 s: Istio default: Processing"]
    assert [one["waited"] for one in plugin.calls] == [0.0, 5.0]
    assert result["changed"]
    assert result["changes"] == [{"object": "Istio default", "action": "created"}]
    assert result["diff"] == [created]
    assert result["warnings"] == ["one", "two"]
    assert result["requests"] == 3
    assert result["waiting"] == []


def test_a_failure_ends_the_waiting(told: list[str]) -> None:
    failed = {"failed": True, "msg": "Not ready after 300 s"}
    result = Played({}, call(changed=True, waiting=["x"]), failed).run(task_vars={})
    assert result["failed"]
    assert result["msg"] == "Not ready after 300 s"
    assert len(told) == 1
