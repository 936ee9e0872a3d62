# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Byte code of archives is kept between starts of Python, and never that of another content."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def imported(directory: Path, archive: str, source: str) -> str:
    """What a new Python prints that imports ``source`` from an archive."""
    with zipfile.ZipFile(directory / archive, "w") as written:
        written.writestr("found.py", source)
    done = subprocess.run(
        [sys.executable, "-c", "import found; print(found.say(), found.say.__code__.co_filename)"],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TOOLS), str(directory / archive)]),
            "PYTHONPYCACHEPREFIX": str(directory / "kept"),
        },
    )
    return done.stdout.strip()


def test_a_file_of_an_archive_is_compiled_once(tmp_path: Path) -> None:
    source = "def say():\n    return 'one'\n"
    assert imported(tmp_path, "a.zip", source) == f"one {tmp_path}/a.zip/found.py"
    (kept,) = tmp_path.glob("kept/archives-*/*")
    made = kept.stat().st_mtime_ns
    # The same content elsewhere: tracebacks name where it is now.
    assert imported(tmp_path, "b.zip", source) == f"one {tmp_path}/b.zip/found.py"
    assert kept.stat().st_mtime_ns == made
    assert imported(tmp_path, "b.zip", source.replace("one", "two")) == f"two {tmp_path}/b.zip/found.py"
    assert len([*tmp_path.glob("kept/archives-*/*")]) == 2


def test_kept_byte_code_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    source = "def say():\n    return 'one'\n"
    imported(tmp_path, "a.zip", source)
    (kept,) = tmp_path.glob("kept/archives-*/*")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:20])
    assert imported(tmp_path, "a.zip", source).startswith("one ")
    assert kept.read_bytes() == whole
