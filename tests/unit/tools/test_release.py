# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact of a release is a function of the commit alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def built(checkout: Path, *, umask: int, **environment: str) -> Path:
    """The artifact that ``checkout`` builds."""
    done = subprocess.run(
        [sys.executable, "-I", "tools/release.py"],
        cwd=checkout,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next((checkout / "dist").glob("kyma-mtls-*.tar.gz"))


def clone(directory: Path, *, umask: int) -> Path:
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(directory)]
    subprocess.run(command, check=True, umask=umask, capture_output=True)
    return directory


def test_two_builds_of_one_commit_are_the_same_bytes(tmp_path: Path) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("a release is made of a commit, and this is no git checkout")
    one = built(clone(tmp_path / "one", umask=0o022), umask=0o022, TZ="UTC")
    other_checkout = clone(tmp_path / "a longer place" / "other", umask=0o077)
    (other_checkout / "left-over.txt").write_text("not committed")
    other = built(other_checkout, umask=0o077, TZ="Asia/Kolkata", LC_ALL="C.UTF-8")

    assert one.read_bytes() == other.read_bytes()
    assert one.with_name(f"{one.name}.sha256").read_text() == other.with_name(f"{other.name}.sha256").read_text()
    with tarfile.open(one) as tar:
        names = tar.getnames()
        manifest = json.load(tar.extractfile("MANIFEST.json"))  # type: ignore[arg-type]  # it is a file
    assert names == sorted(names)
    assert "left-over.txt" not in names
    assert one.name == f"kyma-mtls-{manifest['collection_info']['version']}.tar.gz"
