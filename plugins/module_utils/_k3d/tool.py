# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""k3d and docker as programs: run with a limit, understood when they fail, and never quoted with a secret.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import typing as t
from dataclasses import dataclass, field

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

HIDDEN = "********"
QUERY_SECONDS = 60
# k3d forces colours, whatever NO_COLOR says; LOG_COLORS=0, which a user may have set, gives lines of another format.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r"^(?P<level>FATA|ERRO|WARN|INFO|DEBU)\[\d+\]\s*(?P<text>.*?)\s*$")
_PLAIN_LINE = re.compile(r'^time="[^"]*" level=(?P<level>[a-z]+) msg=(?P<text>"(?:[^"\\]|\\.)*"|\S*)')
_ERRORS = frozenset({"FATA", "ERRO", "fatal", "error"})
# What k3d says after the reason, of its own cleaning up.
_AFTERMATH = re.compile(r"Rolling Back$|^Cluster creation FAILED|^docker failed to remove the container")
_TOKEN = re.compile(r"""(K3S_TOKEN=|"?k3d\.cluster\.token"?[:=]\s*"?)[^\s",\]]+""")

# What k3d prints -> what to say. The first that is found wins.
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"listen \w+ (?P<what>\S+): bind: address already in use|Bind for (?P<other>\S+?) failed: port is already",
        "the port {what} of this host is taken. Find out who listens there (ss -ltnp), or ask for another port",
    ),
    (
        r"listen \w+ (?P<what>\S+): bind: permission denied",
        "Docker may not listen on {what}, as rootless Docker may not below 1024. Ask for a higher port",
    ),
    (
        r"docker failed to pull (?:the )?image '(?P<what>[^']+)'.*toomanyrequests",
        "the image {what} cannot be pulled now: its registry limits anonymous pulls. Log in by docker login, "
        "wait, or use a mirror (registries)",
    ),
    (
        r".*docker failed to pull (?:the )?image '(?P<what>[^']+)': (?P<why>.*)",
        "the image {what} cannot be pulled: {why}. Check its name and the way to its registry",
    ),
    (r"Schema Validation failed for config file \S+: (?:- )?(?P<what>.*)", "k3d refuses the configuration: {what}"),
    (r"provided cluster name '(?P<what>[^']+)' does not match requirements", "'{what}' is no valid name of a host"),
    (
        r"permission denied while trying to connect to the Docker (?:daemon socket|API) at (?P<what>\S+?)[.:]?(?:\s|$)",
        "this user may not use Docker at {what}. Add the user to Docker's group, or set DOCKER_HOST",
    ),
    (
        r"Cannot connect to the Docker daemon at (?P<what>\S+?)\. ",
        "Docker does not answer at {what}. Install or start it, or set DOCKER_HOST",
    ),
    (
        r"context deadline exceeded|timed out|timeout",
        "it was not ready in time. Raise timeout, or look at 'docker logs k3d-{name}-server-0'",
    ),
)


@dataclass(frozen=True)
class Answer:
    returncode: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


@dataclass
class Tool:
    """A program of the host; ``secrets`` are values that no message of it may show."""

    name: str
    path: str
    environment: t.Mapping[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)

    def run(self, *arguments: str, seconds: float = QUERY_SECONDS, **environment: str) -> Answer:
        """Run the program to its end, which it reaches in ``seconds`` or not at all.

        Raises MtlsError when it cannot be started or takes longer; what it has started itself is ended with it.
        """
        try:
            process = subprocess.Popen(  # noqa: S603  (the words are a list, nothing is expanded)
                [self.path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "LC_ALL": "C", "NO_COLOR": "1", **self.environment, **environment},
                start_new_session=True,
            )
        except OSError as exc:
            raise MtlsError(f"The program {self.path} cannot be started: {exc.strerror}.") from exc
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as exc:
            raise MtlsError(
                f"'{self.name} {' '.join(arguments[:2])}' has not ended after {seconds:.0f} seconds and was ended. "
                "See whether Docker answers (docker info), or raise timeout."
            ) from exc
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return Answer(process.returncode, out, err)

    def hide(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _TOKEN.sub(rf"\g<1>{HIDDEN}", text)

    def failure(self, answer: Answer, *, what: str, name: str = "") -> MtlsError:
        """Return the error that says why ``what`` did not succeed."""
        text = self.hide(answer.err)
        return MtlsError(f"{what}: {cause(text, name=name)}.", rc=answer.returncode, stderr_lines=complaints(text))


def find_tool(name: str, *, what: str, hint: str, directories: t.Sequence[str] = ()) -> Tool:
    """Return the program ``name``, which may be a path; ``directories`` are looked in before the PATH.

    Raises MtlsError with ``hint`` when there is none.
    """
    path = shutil.which(name, path=os.pathsep.join([*directories, os.environ.get("PATH", os.defpath)]))
    if path is None:
        raise MtlsError(f"{what} ({name}) is not installed on this host, or not in the PATH. {hint}")
    return Tool(name=what, path=path)


def complaints(text: str) -> list[str]:
    """Return the errors among what k3d printed, without its clock and colours; all lines when it printed none."""
    lines = [line.strip() for line in _COLOUR.sub("", text).splitlines() if line.strip()]
    errors = [words for level, words in map(_level_and_words, lines) if level in _ERRORS]
    return errors or lines


def _level_and_words(line: str) -> tuple[str, str]:
    if found := _LINE.match(line):
        return found["level"], found["text"]
    if found := _PLAIN_LINE.match(line):
        words = found["text"]
        with contextlib.suppress(ValueError):
            words = str(json.loads(words))
        return found["level"], words
    return "", line


def cause(text: str, *, name: str = "") -> str:
    """Return in one clause why k3d failed, from what it printed."""
    lines = complaints(text)
    for pattern, words in _CAUSES:
        for line in lines:
            found = re.search(pattern, line)
            if found:
                parts = {key: value for key, value in found.groupdict().items() if value}
                return words.format(**{"what": parts.get("other", ""), "why": "", "name": name, **parts}).rstrip(".")
    reasons = [line for line in lines if not _AFTERMATH.search(line)] or lines
    return "; ".join(line.rstrip(".!") for line in reasons[-2:]) or "it said nothing about the reason"
