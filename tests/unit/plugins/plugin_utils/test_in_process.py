# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is called in Ansible's own process says what it says as a process of its own."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import secrets
import subprocess
import sys
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest

import ansible_collections.kyma.mtls.plugins.module_utils as collection
from ansible_collections.kyma.mtls.plugins.plugin_utils import _in_process

COLLECTION = Path(next(iter(collection.__path__))).parents[1]
SECRET = f"battery staple {secrets.token_hex(8)}"

# Each is executed twice: by an environment of its own as a process, and without as a call.
CALLS: dict[str, tuple[str, dict[str, t.Any]]] = {
    "nothing to do": ("local_runtime", {"path": "{{ place }}/a", "state": "stopped"}),
    "predicted": ("local_runtime", {"path": "~/b", "state": "started"}),
    "refused": ("local_runtime", {"path": "{{ place }}/foreign", "state": "absent"}),
    "unknown option": ("local_runtime", {"path": "{{ place }}/a", "pathh": 1}),
    "wrong type of an element": ("local_runtime", {"path": "{{ place }}/a", "packages": ["supervisor"]}),
    "wrong type": ("local_runtime", {"path": "{{ place }}/a", "packages": 7}),
    "missing option": ("local_apply", {"definition": []}),
    "unknown kind": ("local_apply", {"runtime": "{{ place }}/c", "definition": [{"apiVersion": "v1", "kind": "Pod"}]}),
    "no such cluster": ("kubernetes_apply", {"kubeconfig": "{{ place }}/none", "definition": []}),
    "no such context": ("kubernetes_access", {"kubeconfig": "{{ place }}/none", "context": "production"}),
    "no such manifest": ("kyma_modules_info", {"manifests": ["{{ place }}/none.yaml"]}),
    "no such file": ("certificate_chain", {"leaf": "{{ place }}/no.crt", "mode": "0644"}),
    "options of which one is allowed": ("certificate_chain", {"leaf": "{{ place }}/a", "leaf_content": "b"}),
    "options of which one is needed": ("mtls_verify", {"url": "https://localhost"}),
    "skipped in check mode": (
        "mtls_verify",
        {"url": "https://localhost", "client_cert": "{{ place }}/no.crt", "client_key": "{{ place }}/no.key"},
    ),
    "secret in the words": (
        "mtls_verify",
        {"url": "{{ secret }}", "client_p12": "{{ place }}/play.json", "client_p12_password": "{{ secret }}"},
    ),
}


def run(directory: Path, tasks: list[dict[str, t.Any]], *arguments: str) -> None:
    (directory / "ansible.cfg").write_text("")
    (directory / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    common = {"ansible_python_interpreter": sys.executable, "place": str(directory), "secret": SECRET}
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "-i", "here,", "-c", "local", "-e", json.dumps(common), *arguments, "play.json"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "HOME": str(directory),
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION.parents[2]),
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_result_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter").touch()
    tasks: list[dict[str, t.Any]] = []
    for name, (module, options) in CALLS.items():
        for variant, extra in (("as a process", {"environment": {"ELSEWHERE": "1"}}), ("as a call", {})):
            kept = f"{name} {variant}".replace(" ", "_")
            task = {"name": kept, f"kyma.mtls.{module}": options, "register": kept, "ignore_errors": True, **extra}
            tasks += [task, {"copy": {"content": f"{{{{ {kept} | to_json }}}}", "dest": f"{tmp_path}/{kept}.json"}}]
            tasks[-1]["check_mode"] = False
    run(tmp_path, tasks, "--check")

    for name in CALLS:
        process, call = (
            json.loads((tmp_path / f"{name}_{variant}.json".replace(" ", "_")).read_text())
            for variant in ("as a process", "as a call")
        )
        for outcome in (process, call):
            outcome.pop("invocation", None)
        assert call == process, name
        assert SECRET not in json.dumps(call)
    assert json.loads((tmp_path / "refused_as_a_call.json").read_text())["failed"]


def test_what_downloads_is_not_called_in_ansibles_process() -> None:
    """On macOS, asking for the system's proxies crashes a process that was forked."""
    actions = "ansible_collections.kyma.mtls.plugins.action"
    names = [f"{actions}.{path.stem}" for path in (COLLECTION / "plugins/action").glob("*.py")]
    called = [
        name for name in names if issubclass(importlib.import_module(name).ActionModule, _in_process.ActionInProcess)
    ]
    assert called
    program = f"import sys, {', '.join(called)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(COLLECTION.parents[2])},
    )
    assert "ansible_collections.kyma.mtls.plugins.module_utils._download" not in done.stdout.split()


class Played(_in_process.ActionInProcess):
    """The action without Ansible around it."""

    def __init__(self, *, transport: str = "local", become: t.Any = None, **task: t.Any) -> None:
        facts = {
            "action": "kyma.mtls.played",
            "args": {},
            "check_mode": False,
            "async_val": 0,
            "environment": [],
            "delegate_to": None,
        }
        self._task = SimpleNamespace(**(facts | task))
        self._connection = SimpleNamespace(transport=transport, become=become)
        self._templar = SimpleNamespace(template=lambda value: value)


@pytest.mark.parametrize(
    ("different", "interpreter"),
    [
        ({"environment": [{"LC_ALL": "C"}]}, sys.executable),
        ({"async_val": 30}, sys.executable),
        ({"transport": "ssh"}, sys.executable),
        ({"become": object()}, sys.executable),
        ({}, "/opt/python/bin/python"),
        ({}, None),
    ],
)
def test_wherever_anything_differs_ansible_executes_the_module(
    different: dict[str, t.Any], interpreter: str | None
) -> None:
    assert Played(environment=[{}]).is_here({"ansible_python_interpreter": sys.executable})
    assert not Played(**different).is_here({"ansible_python_interpreter": interpreter})


def test_a_delegated_task_goes_by_the_host_that_it_is_delegated_to() -> None:
    same, other = ({"ansible_python_interpreter": one} for one in (sys.executable, "/opt/python/bin/python"))
    delegated = Played(delegate_to="there")
    assert delegated.is_here({**other, "ansible_delegated_vars": {"there": same}})
    assert not delegated.is_here({**same, "ansible_delegated_vars": {"there": other}})
    assert not delegated.is_here(same)


def test_a_user_who_debugs_sees_how_the_module_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"ansible_python_interpreter": sys.executable}
    monkeypatch.setattr(_in_process.display, "verbosity", 3)
    assert not Played().is_here(same)
    monkeypatch.setattr(_in_process.display, "verbosity", 2)
    assert Played().is_here(same)
    monkeypatch.setattr(_in_process.constants, "DEFAULT_KEEP_REMOTE_FILES", True)
    assert not Played().is_here(same)


def test_warnings_reach_the_result() -> None:
    def main(make: t.Callable[..., _in_process.ModuleInProcess]) -> None:
        module = make(argument_spec={})
        module.warn("mind the gap")
        module.exit_json(changed=True, paths=(1, 2))

    class Careful(Played):
        MAIN = staticmethod(main)

    assert Careful().run_here({}) == {"changed": True, "paths": [1, 2], "warnings": ["mind the gap"]}


def test_what_a_process_does_at_its_end_is_done_and_what_it_printed_is_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = tmp_path / "key.pem"

    def main(make: t.Callable[..., _in_process.ModuleInProcess]) -> None:
        module = make(argument_spec={})
        # As the Kubernetes client does with a key in a kubeconfig.
        left.touch()
        atexit.register(left.unlink)
        print("by the way")
        module.exit_json()

    class Careless(Played):
        MAIN = staticmethod(main)

    before = atexit.register
    assert Careless().run_here({}) == {"changed": False}
    assert not left.exists()
    assert atexit.register is before
    assert capsys.readouterr() == ("", "")


def test_module_without_check_mode_is_skipped_in_it() -> None:
    def main(make: t.Callable[..., _in_process.ModuleInProcess]) -> None:
        make(argument_spec={})
        raise AssertionError("it went on")

    class Skipped(Played):
        MAIN = staticmethod(main)

    assert Skipped(check_mode=True).run_here({})["skipped"]


def test_module_that_says_nothing_is_an_error() -> None:
    class Mute(Played):
        MAIN = staticmethod(lambda _make: None)

    with pytest.raises(RuntimeError, match="without a result"):
        Mute().run_here({})
