# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of the project as a checkout or a release has them: tracked or new, but never ignored ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from checks.step import ROOT

# Without git (an unpacked archive) there is nothing to ask; these are what .gitignore names.
MADE_HERE = {".venv", ".build", ".kyma-mtls", ".ansible", "dist", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def project_files() -> list[Path]:
    """Paths relative to the checkout, of files that exist."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
    else:
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        names = [name for name in names if name.parts[0] not in MADE_HERE and "__pycache__" not in name.parts]
    return sorted({name for name in names if (ROOT / name).is_file() or (ROOT / name).is_symlink()})


def copy_project(target: Path, *, keep: tuple[str, ...] = ()) -> None:
    """Make ``target`` a copy of the project; of what it held before, only the top-level names in ``keep`` stay."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in target.iterdir():
        if entry.name not in keep:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name in project_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
