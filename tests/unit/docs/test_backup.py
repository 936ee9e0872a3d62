# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of docs/backup.md bring a PKI back, in every phase of a rotation and with revocations."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.unit.docs import pages
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import Side, client, server

MIDDLE = {"subject": [{"O": "Test Org"}, {"CN": "Test Intermediate"}], "days": 1825}
PEOPLE = ({"name": "alice"}, {"name": "bob"})


def shell(command: str, home: Path) -> None:
    done = subprocess.run(
        [str(shutil.which("sh")), "-e", "-c", command],
        cwd=home,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def commands() -> tuple[str, str]:
    """The page's commands to back up and to restore."""
    blocks = [block.text for block in pages.blocks("console") if block.page == "docs/backup.md"]
    backup, restore = (next(one for one in blocks if part in one) for part in ("--create", "--extract"))
    return backup, restore


def sides(home: Path) -> tuple[Side, Side]:
    pki = home / ".kyma-mtls/pki"
    return server(pki, intermediate=MIDDLE, grace_days=30), client(pki, intermediate=MIDDLE)


def run(side: Side, **changes: t.Any) -> dict[str, t.Any]:
    people = PEOPLE if side.usage == "client" else (side.certificate(),)
    return side.run(*people, **changes)


def modes(side: Side) -> dict[str, int]:
    return {str(one.relative_to(side.path)): one.stat().st_mode for one in side.path.rglob("*")}


def foreseen(side: Side) -> list[str]:
    """What the next run would do, wherever the files are."""
    result = run(side, check_mode=True)
    return [action.replace(str(side.path), "PKI") for action in (*result["actions"], *map(str, result["changes"]))]


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
@pytest.mark.parametrize("phase", [None, "prepared", "switched"])
@pytest.mark.parametrize("is_moved", [False, True])
def test_a_restored_pki_goes_on_where_it_was(tmp_path: Path, phase: str | None, *, is_moved: bool) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    for side in sides(home):
        run(side)
        if side.usage == "client":
            run(side, state="revoked", revoke=["alice"])
        for state in ("prepared", "switched"):
            if phase is not None:
                run(side, state=state)
            if state == phase:
                break
    saved = [(side.tree(), modes(side)) for side in sides(home)]
    expected = {side.usage: foreseen(side) for side in sides(home)}
    backup, restore = commands()
    shell(backup, home)
    assert (home / "kyma-mtls-pki.tar").stat().st_mode & 0o077 == 0
    if is_moved:
        shutil.move(home / "kyma-mtls-pki.tar", other)
        shutil.rmtree(home)
        home = other
    else:
        for side in sides(home):
            (side.path / "ca.key").write_text("lost")
    shell(restore, home)
    assert [(side.tree(), modes(side)) for side in sides(home)] == saved
    for side in sides(home):
        assert foreseen(side) == expected[side.usage]
    rest = {None: (), "prepared": ("switched", "finished"), "switched": ("finished",)}[phase]
    for side in sides(home):
        for state in rest:
            run(side, state=state, grace_days=0)
        run(side)
        assert not run(side)["changed"]
        assert not (side.path / "next").exists()
