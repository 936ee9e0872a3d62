# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that keep trust stores.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

# Where these programs are when PATH is a user's, without the directories of the system administrator.
_FURTHER = "/usr/sbin:/sbin"
_SECONDS = 120


def find(program: str) -> str | None:
    """Give the path of ``program``, or None."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_FURTHER}")


def run(arguments: t.Sequence[str], *, what: str) -> bytes:
    """Give what the program prints. Raises MtlsError that says ``what`` could not be done, and its words."""
    done = attempt(arguments, what=what)
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise MtlsError(f"{what} failed: {' '.join(words.split()) or f'exit code {done.returncode}'}.")
    return done.stdout


def attempt(arguments: t.Sequence[str], *, what: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program that may fail, without a terminal to ask questions on."""
    program = find(arguments[0])
    if program is None:
        raise MtlsError(f"{what} needs {arguments[0]}, which is not installed.")
    try:
        return subprocess.run(  # noqa: S603  (a fixed list of arguments)
            [program, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise MtlsError(f"{what} failed: {exc}.") from exc
