# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words while a module works: what is waited for and how long so far, and none when it is quick."""

from __future__ import annotations

import importlib
import os
import threading
import typing as t
from types import SimpleNamespace
from unittest import mock

import pytest
from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.kyma.mtls.plugins.module_utils import _progress
from ansible_collections.kyma.mtls.plugins.plugin_utils import _waiting

ACTION = "ansible_collections.kyma.mtls.plugins.action"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(_waiting.display, "display", lines.append)
    return lines


def action(plugin: str, /, **arguments: t.Any) -> _waiting.TellingAction:
    module = importlib.import_module(f"{ACTION}.{plugin}")
    made: _waiting.TellingAction = module.ActionModule.__new__(module.ActionModule)
    made._task = SimpleNamespace(args=arguments, environment=[{"HTTPS_PROXY": "http://proxy.test"}])
    made._connection = SimpleNamespace(transport="local", become=None)
    return made


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        (
            "local_runtime",
            {"packages": [{"name": "envoy"}, {"name": "supervisor"}]},
            "installation of envoy, supervisor",
        ),
        ("local_runtime", {"state": "stopped"}, ""),
        ("local_apply", {"workloads": [{"deployment": "test/httpbin"}]}, "test/httpbin to be installed and to answer"),
        ("local_apply", {}, "Envoy to load its configuration"),
        (
            "mtls_verify",
            {"url": "https://a/", "connect_to": "127.0.0.1:8443"},
            "127.0.0.1:8443 to answer a good client",
        ),
        ("mtls_verify", {"url": "https://a/"}, "https://a/ to answer a good client, and the checks"),
        ("k3d_cluster", {"name": "kyma", "state": "started"}, "k3d cluster kyma to be started"),
        ("kubernetes_access", {"nodes": 3, "dns": True}, "3 nodes and DNS of the cluster to be ready"),
        ("kyma_modules", {}, "download of the manifests"),
        ("kubernetes_access", {}, "API server of the cluster to be ready"),
        ("kubernetes_apply", {"definition": []}, "objects of the cluster to be ready"),
        ("kubernetes_apply", {"state": "absent"}, "objects of the cluster to be gone"),
    ],
)
def test_what_is_waited_for_is_named(name: str, arguments: dict[str, t.Any], words: str) -> None:
    found = action(name, **arguments).waiting_for()
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_a_long_wait_is_told_again_and_again_with_its_host(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiting, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(_waiting, "EVERY_SECONDS", 0.01)
    enough = threading.Event()
    monkeypatch.setattr(_waiting.display, "display", lambda line: (told.append(line), len(told) > 2 and enough.set()))
    monkeypatch.setattr(NormalAction, "run", lambda *_arguments: {"changed": enough.wait(30)})

    result = action("k3d_cluster", name="kyma", state="started").run(task_vars={"inventory_hostname": "near"})

    assert result == {"changed": True}
    assert told[0] == "waiting: [near] 0 s: k3d cluster kyma to be started"


@pytest.mark.parametrize(
    ("become", "words"), [(None, "Istio default: Processing"), (object(), "objects of the cluster")]
)
def test_a_module_that_reports_is_quoted_where_it_can_be_heard(
    told: list[str], monkeypatch: pytest.MonkeyPatch, become: object, words: str
) -> None:
    monkeypatch.setattr(_waiting, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(_waiting, "EVERY_SECONDS", 0.01)
    heard = threading.Event()
    monkeypatch.setattr(_waiting.display, "display", lambda line: (told.append(line), words in line and heard.set()))
    near = action("kubernetes_apply")
    near._connection.become = become

    def run(plugin: t.Any, *_arguments: t.Any) -> dict[str, t.Any]:
        given = dict(pair for one in plugin._task.environment for pair in one.items())
        with mock.patch.dict(os.environ, given):
            _progress.reporter()(["Istio default: Processing", "APIGateway default: not there"])
        return {"changed": heard.wait(30)}

    monkeypatch.setattr(NormalAction, "run", run)
    assert near.run(task_vars={"inventory_hostname": "near"}) == {"changed": True}
    assert any(line.endswith("APIGateway default: not there") for line in told) is (become is None)


def test_what_a_task_says_of_its_environment_stays(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NormalAction, "run", lambda plugin, *_arguments: {"environment": plugin._task.environment})
    environment = action("kubernetes_apply").run(task_vars={})["environment"]
    assert environment[0] == {"HTTPS_PROXY": "http://proxy.test"}
    assert list(environment[1]) == [_progress.VARIABLE]
    assert told == []


def test_a_quick_module_says_nothing(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NormalAction, "run", lambda *_arguments: {"changed": False})
    assert action("k3d_cluster", name="kyma").run(task_vars={}) == {"changed": False}
    assert told == []


def test_the_words_end_when_the_module_fails(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: t.Any) -> None:
        raise RuntimeError("no connection")

    monkeypatch.setattr(NormalAction, "run", fail)
    before = threading.active_count()
    with pytest.raises(RuntimeError):
        action("k3d_cluster", name="kyma").run(task_vars={})
    assert threading.active_count() == before
    assert told == []
