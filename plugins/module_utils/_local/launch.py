# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Become a supervised program, alone: run as ``python launch.py LOCK MARK -- COMMAND...`` by supervisor.

The lock lives as long as the program, because the program inherits its descriptor. So an instance that outlived its
supervisor (kill -9) is found by its lock and ended before the new one starts; two never serve side by side.
A process is ended only when its command line names something below MARK, the path of this runtime, or when it works
there: a recycled pid is left alone.

This file runs on its own, outside Ansible, with nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_SECONDS = 5.0
LOCK_SECONDS = 30.0


def command_line(pid: int) -> str:
    """Return the command line of ``pid``, empty when there is no such process."""
    proc = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607  (macOS has no /proc)
    return done.stdout


def is_ours(pid: int, *, mark: str) -> bool:
    """Whether ``pid`` works below MARK, or names a path below it, and not one that merely ends like it.

    A runtime that was renamed while it ran has processes that name its old path and work in the new one.
    """
    if re.search(rf"(?:^|[\s:='\"]){re.escape(mark)}", command_line(pid)) is not None:
        return True
    try:
        return f"{Path(f'/proc/{pid}/cwd').readlink()}/".startswith(mark)
    except OSError:
        return False


def end_process(pid: int, *, mark: str, grace_seconds: float = GRACE_SECONDS) -> bool:
    """End ``pid`` if it is ours: politely, then by force. Return whether it was ours."""
    if not is_ours(pid, mark=mark):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline:
            if not is_ours(pid, mark=mark):
                return True
            time.sleep(0.02)
    return True


def lock_holder(lock: Path) -> int | None:
    """Return the pid that wrote itself into ``lock`` while some process still holds it, else None."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_pid(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def pid_in(lock: Path) -> int:
    """Return the pid written in a lock file, whoever holds it; 0 when there is none."""
    try:
        text = lock.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdigit() else 0


def read_pid(descriptor: int) -> int:
    """Return the pid written in an open lock file, 0 when there is none yet."""
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def take_lock(lock: Path, *, mark: str) -> int:
    """Return the descriptor of the lock, ours now; ends the process that holds it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SystemExit(f"{lock} is held by a process that is not ours to end") from None
            pid = read_pid(descriptor)
            if not pid or not end_process(pid, mark=mark):
                # The holder is a child that follows its dead parent shortly, or has not written its pid yet.
                time.sleep(0.1)
        else:
            return descriptor


def main(arguments: list[str]) -> None:
    lock, mark, separator, *command = arguments
    if separator != "--" or not command:
        raise SystemExit("usage: launch.py LOCK MARK -- COMMAND [ARGUMENT ...]")
    descriptor = take_lock(Path(lock), mark=mark)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    os.set_inheritable(descriptor, True)
    os.execv(command[0], command)  # noqa: S606  (becoming the program is the point; the command is supervisor's)


if __name__ == "__main__":
    main(sys.argv[1:])
