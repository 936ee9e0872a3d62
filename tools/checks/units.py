# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unit tests: with coverage under the environment's own Python, plainly under the others that are present."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from checks.step import BUILD, CheckError, Context, SkipError

VERSIONS = ("3.11", "3.12", "3.13")
OWN_VERSION = ".".join(str(part) for part in sys.version_info[:2])
OTHER_VERSIONS = tuple(version for version in VERSIONS if version != OWN_VERSION)
COLLECTION = BUILD / "collections/ansible_collections/kyma/mtls"
TESTS = "tests/unit"
# What runs whole playbooks or browsers, what kills hundreds of times, and what watches Envoy for long does not depend
# on the Python: once is enough.
ONCE = (
    "tests/unit/roles",
    "tests/unit/plugins/modules/test_pki_examples.py",
    "tests/unit/plugins/module_utils/_envoy",
    "tests/unit/plugins/module_utils/_handover/test_live.py",
    "tests/unit/plugins/module_utils/_pki/test_kill.py",
)


def with_coverage(context: Context) -> str:
    minimum = float(os.environ.get("COVERAGE_MINIMUM") or 95)
    data = BUILD / "coverage"
    data.mkdir(parents=True, exist_ok=True)
    env = {"COVERAGE_FILE": str(data / ".coverage")}
    output = context.run(
        *(sys.executable, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider"),
        *("--cov=plugins/module_utils", "--cov-branch", "--cov-report="),
        env=env,
        reason="unit tests fail",
    )
    report = context.run(sys.executable, "-m", "coverage", "report", "--skip-covered", "--show-missing", env=env)
    context.run(sys.executable, "-m", "coverage", "html", "-q", "-d", data / "html", env=env)
    total = re.search(r"^TOTAL.*?([\d.]+)%$", report, re.MULTILINE)
    if total is None:
        raise CheckError("no coverage was measured")
    note = f"{_counts(output)}; branch coverage {total[1]} %"
    if float(total[1]) < minimum:
        raise CheckError(f"{note}, less than {minimum:g} % (.build/coverage/html shows the lines)")
    return note


def environment_of(context: Context, name: str, python: str, requirements: str) -> Path:
    """The Python of an environment of its own in .build that has just the pins of ``requirements``."""
    environment = BUILD / name
    marker = environment / ".made"
    if not marker.exists() or marker.read_text(encoding="utf-8") != python:
        shutil.rmtree(environment, ignore_errors=True)
        context.run("uv", "venv", "--quiet", "--python", python, environment)
        marker.write_text(python, encoding="utf-8")
    own_python = environment / "bin/python"
    install = ("uv", "pip", "install", "--quiet", "--python", own_python, "--require-hashes")
    context.run(*install, "-r", requirements)
    return own_python


def under(version: str) -> t.Callable[[Context], str]:
    """The same tests under another Python, in an environment of its own with that Python's pins."""

    def run(context: Context) -> str:
        python = find_python(version)
        if python is None:
            raise SkipError(f"no working Python {version} here")
        own_python = environment_of(context, f"venv-{version}", python, "requirements-test.txt")
        output = context.run(
            *(own_python, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider"),
            *(f"--ignore={path}" for path in ONCE),
            env={"PATH": f"{own_python.parent}{os.pathsep}{os.environ['PATH']}"},
            reason=f"unit tests fail under Python {version}",
        )
        return _counts(output)

    return run


def find_python(version: str) -> str | None:
    """A Python that runs: a name on PATH may be a version manager's shim that only fails."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [f"python{version}", *(str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python3")))]
    probe = "import ctypes, ssl, sys, venv; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
    for candidate in candidates:
        try:
            result = subprocess.run([candidate, "-I", "-c", probe], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if result.returncode == 0 and result.stdout.split("\n")[0] == version:
            return result.stdout.split("\n")[1]
    return None


def _counts(output: str) -> str:
    """Pytest's closing words: '412 passed, 3 skipped'."""
    closing = re.findall(r"^=*\s*(\d+ (?:passed|failed|skipped)[^=\n]*?) in [\d.]+s", output, re.MULTILINE)
    return closing[-1] if closing else "no test ran"
