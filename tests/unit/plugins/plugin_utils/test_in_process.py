# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is called in Ansible's own process says what it says as a process of its own."""

from __future__ import annotations

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
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

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
    "options of which one is allowed": (
        "mtls_verify",
        {"url": "https://localhost", "client_cert": "{{ place }}/a", "client_key": "b", "client_p12": "c"},
    ),
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


VARIANTS: dict[str, dict[str, t.Any]] = {"process": {"environment": {"ELSEWHERE": "1"}}, "call": {}}


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


def kept_as(name: str, variant: str) -> str:
    return f"{name} as a {variant}".replace(" ", "_")


def test_result_is_that_of_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter").touch()
    tasks: list[dict[str, t.Any]] = []
    for name, (module, options) in CALLS.items():
        for variant, extra in VARIANTS.items():
            kept = kept_as(name, variant)
            task = {"name": kept, f"kyma.mtls.{module}": options, "register": kept, "ignore_errors": True, **extra}
            tasks.append(task)
    results = {kept_as(name, variant): f"{{{{ {kept_as(name, variant)} }}}}" for name in CALLS for variant in VARIANTS}
    tasks.append({"copy": {"content": results, "dest": f"{tmp_path}/results.json"}, "check_mode": False})
    run(tmp_path, tasks, "--check")

    found = json.loads((tmp_path / "results.json").read_text())
    for name in CALLS:
        process, call = (found[kept_as(name, variant)] for variant in VARIANTS)
        for outcome in (process, call):
            outcome.pop("invocation", None)
        assert call == process, name
        assert SECRET not in json.dumps(call)
    assert found[kept_as("refused", "call")]["failed"]


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


def here(played: Played, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    return played.run_here(arguments, _in_process.Machinery())


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


def test_what_only_reads_and_writes_files_of_this_machine_is_called_in_ansibles_process() -> None:
    actions = "ansible_collections.kyma.mtls.plugins.action"
    called = {
        path.stem
        for path in (COLLECTION / "plugins/action").glob("*.py")
        if issubclass(importlib.import_module(f"{actions}.{path.stem}").ActionModule, _in_process.ActionInProcess)
    }
    assert called == {"client_handover", "local_apply", "local_runtime", "mtls_verify", "pki"}


def test_the_user_decides_and_verbosity_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"ansible_python_interpreter": sys.executable}
    monkeypatch.setattr(_in_process.display, "verbosity", 4)
    assert Played().is_here(same)
    assert Played().is_here({**same, "kyma_mtls_in_process": "auto"})
    assert not Played().is_here({**same, "kyma_mtls_in_process": "never"})
    with pytest.raises(AnsibleActionFail, match="kyma_mtls_in_process is 'no'; it can be auto or never"):
        Played().is_here({**same, "kyma_mtls_in_process": "no"})
    monkeypatch.setattr(_in_process.constants, "DEFAULT_KEEP_REMOTE_FILES", True)
    assert not Played().is_here(same)


def test_a_python_is_known_by_its_directory_and_by_what_it_leads_to(tmp_path: Path) -> None:
    python = Path(sys.executable)
    (tmp_path / "bin").symlink_to(python.parent)
    (tmp_path / "python").symlink_to(python.resolve())
    assert _in_process.is_this_python(str(tmp_path / "bin" / python.name))
    # The same file, but not in the virtual environment.
    assert not _in_process.is_this_python(str(tmp_path / "python"))


def test_an_environment_that_switches_it_off_is_said_once_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(_in_process.display, "v", said.append)
    monkeypatch.setattr(_in_process.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    for verbosity in (0, 1, 1):
        monkeypatch.setattr(_in_process.display, "verbosity", verbosity)
        proxy = Played(environment=[{"HTTPS_PROXY": "http://proxy.test"}])
        assert not proxy.is_here({"ansible_python_interpreter": sys.executable})
    assert len(said) == 1
    assert "sets an environment" in said[0]


@pytest.mark.parametrize("name", ["get_module_encoder", "Direction", "ArgumentSpecValidator"])
def test_another_ansible_core_executes_the_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Private names move; nothing is lost but time."""
    where = "arg_spec" if name == "ArgumentSpecValidator" else "json"
    module = importlib.import_module(f"ansible.module_utils.common.{where}")
    monkeypatch.delattr(module, name)
    monkeypatch.setattr(_in_process.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    played = Played()
    played._execute_module = lambda **_options: {"changed": True, "by": "Ansible"}
    played._remove_tmp_path = lambda _path: None
    played._connection._shell = SimpleNamespace(tmpdir=None)
    played._connection.has_native_async = False
    found = played.run(task_vars={"ansible_python_interpreter": sys.executable})
    assert found == {"changed": True, "by": "Ansible"}


def test_another_result_of_the_validation_executes_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_in_process.Machinery, "validate", lambda *_arguments: SimpleNamespace(errors=[]))
    assert _in_process.ActionInProcess._machinery() is None


def test_what_a_module_says_of_its_options_arrives() -> None:
    old = {"type": "str", "aliases": ["older"], "deprecated_aliases": [
        {"name": "older", "version": "2.0.0", "collection_name": "kyma.mtls"}
    ]}  # fmt: skip

    def main(make: t.Callable[..., _in_process.ModuleInProcess]) -> None:
        module = make(argument_spec={"old": old})
        module.deprecate("gone soon", version="3.0.0", collection_name="kyma.mtls")
        module.exit_json(found=module.params["old"])

    class Outdated(Played):
        MAIN = staticmethod(main)

    result = here(Outdated(), {"old": "a", "older": "b"})
    assert result["warnings"] == ["Both option old and its alias older are set."]
    assert [(one["msg"].split(".")[0], one["version"]) for one in result["deprecations"]] == [
        ("Alias 'older' is deprecated", "2.0.0"),
        ("gone soon", "3.0.0"),
    ]


def test_warnings_reach_the_result() -> None:
    def main(make: t.Callable[..., _in_process.ModuleInProcess]) -> None:
        module = make(argument_spec={})
        module.warn("mind the gap")
        module.exit_json(changed=True, paths=(1, 2))

    class Careful(Played):
        MAIN = staticmethod(main)

    assert here(Careful(), {}) == {"changed": True, "paths": [1, 2], "warnings": ["mind the gap"]}


def test_what_a_module_prints_beside_its_result_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    def main(make: t.Callable[..., _in_process.ModuleInProcess]) -> None:
        module = make(argument_spec={})
        print("by the way")
        module.exit_json()

    class Careless(Played):
        MAIN = staticmethod(main)

    assert here(Careless(), {}) == {"changed": False}
    assert capsys.readouterr() == ("", "")


def test_module_without_check_mode_is_skipped_in_it() -> None:
    def main(make: t.Callable[..., _in_process.ModuleInProcess]) -> None:
        make(argument_spec={})
        raise AssertionError("it went on")

    class Skipped(Played):
        MAIN = staticmethod(main)

    assert here(Skipped(check_mode=True), {})["skipped"]


def test_module_that_says_nothing_is_an_error() -> None:
    class Mute(Played):
        MAIN = staticmethod(lambda _make: None)

    with pytest.raises(RuntimeError, match="without a result"):
        here(Mute(), {})
