# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a runtime keeps what."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import paths
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes


@pytest.fixture
def long_layout(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeLayout:
    """A runtime whose path is too long for sockets; the system's temporary directory is a private one."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(paths, "TEMPORARY", temporary)
    return RuntimeLayout.at(str(tmp_path / ("x" * 90)))


def test_path_is_absolute_and_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert RuntimeLayout.at("~/runtime").root == tmp_path / "runtime"
    assert RuntimeLayout.at("runtime").root == tmp_path / "runtime"


def test_directory_by_two_names_is_one_runtime(tmp_path: pathlib.Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")

    assert RuntimeLayout.at(str(tmp_path / "link" / "runtime")) == RuntimeLayout.at(str(tmp_path / "home" / "runtime"))


def test_sockets_are_inside_a_short_runtime() -> None:
    assert RuntimeLayout.at("/home/me/.kyma-mtls/runtime").sockets == pathlib.Path(
        "/home/me/.kyma-mtls/runtime/sockets"
    )


def test_sockets_of_a_long_path_are_short_private_and_its_own(long_layout: RuntimeLayout) -> None:
    other = RuntimeLayout(root=long_layout.root.with_name("y" * 90))

    assert long_layout.make()

    assert long_layout.sockets.parent == paths.TEMPORARY
    assert len(long_layout.sockets.name) < 60
    assert long_layout.sockets != other.sockets
    assert stat.S_IMODE(long_layout.sockets.stat().st_mode) == 0o700


def test_directories_are_made_once_and_private(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = runtimes.layout_without_processes(tmp_path, monkeypatch)

    assert layout.make()
    assert not layout.make()
    assert {stat.S_IMODE(one.stat().st_mode) for one in layout.directories()} == {0o700}


def test_link_in_place_of_the_sockets_is_refused_and_its_target_left_alone(
    long_layout: RuntimeLayout, tmp_path: pathlib.Path
) -> None:
    target = tmp_path / "somewhere"
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    long_layout.sockets.symlink_to(target)

    with pytest.raises(MtlsError, match="belongs to somebody else or is a symbolic link"):
        long_layout.make()

    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_sockets_of_somebody_else_are_refused(long_layout: RuntimeLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = long_layout.sockets
    sockets.mkdir()
    uid = os.getuid()
    monkeypatch.setattr(RuntimeLayout, "sockets", sockets)  # its name has the uid in it
    monkeypatch.setattr(paths.os, "getuid", lambda: uid + 1)

    with pytest.raises(MtlsError, match="belongs to somebody else"):
        long_layout.make()


def test_unwritable_place_is_a_failure_in_words(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(MtlsError, match="cannot be created with mode 0700"):
        RuntimeLayout.at(str(tmp_path / "file" / "runtime")).make()
