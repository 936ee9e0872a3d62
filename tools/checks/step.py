# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check is, and what it may do: run commands, leave a note, fail or skip with a reason."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".build"
LOGS = BUILD / "check"
TIDY_SECONDS = 10


class CheckError(Exception):
    """The check found something; the reason goes into the table."""


class SkipError(Exception):
    """The check cannot run here; the reason goes into the table."""


@dataclass(frozen=True)
class Step:
    """One line of the table. Steps are independent of each other and may run at the same time."""

    name: str
    group: str
    what: str
    run: t.Callable[[Context], str | None]
    timeout_seconds: int = 1200
    has_workers: bool = False


@dataclass
class Context:
    """What a running step has in its hands: a log, and a way to run commands that ends with it."""

    step: Step
    log: t.TextIO
    running: set[int] = field(default_factory=set)
    stopped: bool = False
    cpu_seconds: float = 0.0

    def say(self, text: str) -> None:
        self.log.write(f"{text.rstrip()}\n")
        self.log.flush()

    def run(
        self,
        *command: str | Path,
        cwd: Path = ROOT,
        env: t.Mapping[str, str] | None = None,
        reason: str | t.Callable[[str], str] = "",
        quiet: bool = False,
    ) -> str:
        """Run ``command``, log all that it prints and return it; fail with ``reason`` (of the output) when it fails.

        With ``quiet``, what it prints is logged only then: it is data for the check, not words for a person.
        """
        if self.stopped:
            raise CheckError("stopped")
        words = [str(word) for word in command]
        self.say(f"$ {' '.join(words)}")
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.running.add(process.pid)
        try:
            output = self._follow(process, quiet=quiet)
        finally:
            self.running.discard(process.pid)
        if process.returncode < 0:
            raise CheckError(f"{Path(words[0]).name} was ended by {signal.Signals(-process.returncode).name}")
        if process.returncode:
            if quiet:
                self.say(output)
            why = reason(output) if callable(reason) else reason
            raise CheckError(why or f"{Path(words[0]).name} exited with {process.returncode}: {last_line(output)}")
        return output

    def _follow(self, process: subprocess.Popen[str], *, quiet: bool) -> str:
        lines = []
        for line in process.stdout or ():
            if not quiet:
                self.say(line)
            lines.append(line)
        # What it cost, with all that it started and waited for: on a busy machine the clock tells little.
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds += used.ru_utime + used.ru_stime
        return "".join(lines)

    def stop(self) -> None:
        """End the commands of this step, with all that they started in their session.

        As from a keyboard, so that pytest stops its servers; who does not listen, or takes too long, is ended.
        """
        self.stopped = True
        self._signal(signal.SIGINT)
        late = threading.Timer(TIDY_SECONDS, self._signal, [signal.SIGTERM])
        late.daemon = True
        late.start()

    def _signal(self, number: signal.Signals) -> None:
        for pid in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)


def last_line(output: str) -> str:
    """The last line that says something, short enough for a table."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:120] if lines else "no output"
