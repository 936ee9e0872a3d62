# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of text: style, types, licences, changelog, pins."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from checks.files import project_files
from checks.step import ROOT, CheckError, Context, SkipError

PYTHON_DIRECTORIES = ("plugins", "tests", "tools")


def ruff(context: Context) -> None:
    context.run("ruff", "check", *PYTHON_DIRECTORIES, reason="ruff found problems")
    context.run("ruff", "format", "--check", *PYTHON_DIRECTORIES, reason="files are not formatted: ruff format")


def yamllint(context: Context) -> None:
    context.run("yamllint", "--strict", ".", reason="yamllint found problems")


def mypy(context: Context) -> str:
    utils = context.run("mypy", "-p", "ansible_collections.kyma.mtls.plugins.module_utils")
    tools = context.run(
        "mypy", "tools/checks", *Path("tools").glob("*.py"), env={"MYPYPATH": "tools:.build/collections"}
    )
    checked = sum(int(number) for number in re.findall(r"in (\d+) source files?", utils + tools))
    return f"{checked} files"


def imports(context: Context) -> str:
    kept = context.run(
        "lint-imports", "--no-cache", env={"PYTHONPATH": ".build/collections"}, reason="contracts broken"
    )
    context.run(sys.executable, "tools/packages.py", reason="docs/packages.svg is old: tools/packages.py --write")
    return f"{kept.count('KEPT')} contracts"


def shell(context: Context) -> str:
    if shutil.which("shellcheck") is None:
        raise SkipError("shellcheck is not installed")
    # A template is no script yet.
    files = [name for name in project_files() if name.suffix != ".j2"]
    scripts = [name for name in files if (ROOT / name).read_bytes()[:9] == b"#!/bin/sh"]
    context.run("shellcheck", *scripts)
    return f"{len(scripts)} scripts"


def pins(context: Context) -> None:
    """What the site installs must be what the tests tested; with the other ansible-core, nothing may be missing."""
    other = "tools/core-2.20.txt"
    site, test, core = (_pinned(context, name) for name in ("requirements.txt", "requirements-test.txt", other))
    if differing := sorted(site - test):
        raise CheckError(f"not in requirements-test.txt: {', '.join(differing)}; `make pins` renews both")
    # That set is for one Python, so some versions differ.
    if missing := sorted({pin.split("==")[0] for pin in test} - {pin.split("==")[0] for pin in core}):
        raise CheckError(f"not in {other}: {', '.join(missing)}; `make pins` renews it")


def _pinned(context: Context, name: str) -> set[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.findall(r"^([\w.-]+==\S+)[^\n]*\\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if re.match(r"[\w.-]+==", line)]
    context.say(f"{name}: {len(lines)} pins")
    if len(entries) != len(lines) or not lines:
        raise CheckError(f"{name}: {len(lines) - len(entries)} of {len(lines)} pins have no hash")
    return {pin for pin, _hashes in entries}


def changelog(context: Context) -> None:
    context.run("antsibull-changelog", "lint")


def licences(context: Context) -> None:
    context.run("reuse", "lint", "--lines", reason="files without copyright or licence, see REUSE.toml")
