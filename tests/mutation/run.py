# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does a test fail for every way in which the verifier's judgement could be wrong?

    python -m ansible_collections.kyma.mtls.tests.mutation.run [TEXT]    only mutants with TEXT in their name

Mutants are not written anywhere: the tests are run once to see which of them run which lines; then, for each mutant, a
forked process swaps the function's code and runs those tests until one fails. cosmic-ray and mutmut start a process
and collect the tests for every mutant (hours instead of minutes), and have no operator that forces a result.

A mutant that no test can kill is listed in equivalent.yml, with the reason.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import os
import signal
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from _pytest.runner import runtestprotocol

from ansible_collections.kyma.mtls.tests.mutation import mutants

if t.TYPE_CHECKING:
    import types

    from ansible_collections.kyma.mtls.tests.mutation.mutants import Mutant

PACKAGE = "ansible_collections.kyma.mtls.plugins.module_utils._verify"
TESTS = Path(__file__).parents[1] / "unit/plugins/module_utils/_verify"
EQUIVALENT = Path(__file__).with_name("equivalent.yml")
# The tests of the rules, with servers in threads at most. Real ones take seconds, for every mutant that they meet.
FILES = (
    *(
        "outcomes",
        "bytes",
        "certificates",
        "judge",
        "refusals",
        "names",
        "rules",
        "revocation",
        "headers",
        "plain_http",
    ),
    *("session", "server_ca", "proof", "fooling_combinations"),
)
_WORKERS = max(os.cpu_count() or 1, 1)
# For a test: a mutant may well make it wait for ever.
_PATIENCE_SECONDS = 120
_HUNG = "a test that did not end"


@dataclasses.dataclass
class Try:
    """A mutant whose tests run in a process; the process writes into ``pipe`` which of them fails."""

    mutant: Mutant
    pipe: int

    def killer(self) -> str:
        """Return the test that failed, once the process has ended; "" when all passed."""
        with os.fdopen(self.pipe, encoding="utf-8") as stream:
            return stream.read()


class Mutation:
    """A pytest plugin: instead of only running the tests, it runs them for every mutant."""

    def __init__(self, only: str) -> None:
        self._mutants = [one for one in mutants.all_mutants() if only in one.name]
        self._tells_killers = bool(only)
        self.survivors: list[str] = []
        self.unsound: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        users = self._users(session)
        print(f"\n{len(self._mutants)} mutants, {len(session.items)} tests", flush=True)
        waiting, running = list(self._mutants), dict[int, Try]()
        while waiting or running:
            while waiting and len(running) < _WORKERS:
                mutant = waiting.pop(0)
                process, pipe = self._start(mutant, users[mutant.name])
                running[process] = Try(mutant, pipe)
            process, status = os.wait()
            ended = running.pop(process)
            killer = ended.killer() or (_HUNG if os.WIFSIGNALED(status) else "")
            if status and not killer:
                self.unsound.append(ended.mutant.name)
            elif not killer:
                self.survivors.append(ended.mutant.name)
                print(f"survived: {ended.mutant.name}", flush=True)
            elif self._tells_killers:
                print(f"killed: {ended.mutant.name}\n    by {killer}", flush=True)
            # What noticed one mutant of a function notices others of it.
            for other in waiting:
                if (other.module, other.function) == (ended.mutant.module, ended.mutant.function):
                    users[other.name].sort(key=lambda test: test.nodeid != killer)
        return True

    def _users(self, session: pytest.Session) -> dict[str, list[pytest.Item]]:
        """Run the tests as they are; return for each mutant those that run its statement, the fastest first."""
        functions = {_function(one).__code__: (one.module, one.function) for one in self._mutants}
        found: dict[str, list[tuple[float, int]]] = {one.name: [] for one in self._mutants}
        items = session.items
        for number, item in enumerate(items):
            lines: set[tuple[tuple[str, str], int]] = set()
            began = time.monotonic()
            _trace(functools.partial(_note, functions, lines))
            reports = runtestprotocol(item, log=False, nextitem=items[(number + 1) % len(items)])
            _trace(None)
            if any(report.failed for report in reports):
                self.unsound.append(item.nodeid)
            for one in self._mutants:
                if any(((one.module, one.function), line) in lines for line in one.lines):
                    found[one.name].append((time.monotonic() - began, number))
        return {name: [items[number] for _seconds, number in sorted(used)] for name, used in found.items()}

    def _start(self, mutant: Mutant, items: list[pytest.Item]) -> tuple[int, int]:
        """Fork a process that ends with 0 when every one of ``items`` passes with ``mutant``."""
        reading, writing = os.pipe()
        process = os.fork()
        if process:
            os.close(writing)
            return process, reading
        code = 1
        try:
            os.setpgid(0, 0)
            _function(mutant).__code__ = mutant.code
            with contextlib.suppress(BaseException):
                failing = (item for at, item in enumerate(items) if self._fails(item, items[at + 1 : at + 2]))
                killer = next(failing, None)
                os.write(writing, killer.nodeid.encode() if killer else b"")
                code = int(killer is not None)
        finally:
            os._exit(code)

    def _fails(self, item: pytest.Item, following: list[pytest.Item]) -> bool:
        signal.alarm(_PATIENCE_SECONDS)
        reports = runtestprotocol(item, log=False, nextitem=following[0] if following else item)
        return any(report.failed for report in reports)


def _function(mutant: Mutant) -> types.FunctionType:
    found: t.Any = importlib.import_module(f"{PACKAGE}.{mutant.module}")
    for part in mutant.function.split("."):
        found = vars(found)[part]
    return t.cast("types.FunctionType", found.fget if isinstance(found, property) else found)


def _note(
    functions: t.Mapping[types.CodeType, tuple[str, str]],
    lines: set[tuple[tuple[str, str], int]],
    frame: types.FrameType,
    _event: str,
    _arg: object,
) -> t.Any:
    """Remember which lines of ``functions`` a test runs."""
    function = functions.get(frame.f_code)
    if function is None:
        return None

    def note_line(frame: types.FrameType, _event: str, _arg: object) -> t.Any:
        lines.add((function, frame.f_lineno))
        return note_line

    return note_line


def _trace(function: t.Any) -> None:
    threading.settrace(function)
    sys.settrace(function)


def main(arguments: list[str]) -> int:
    """Run every mutant, print the figure, and return 1 when one survives that is not listed as equivalent."""
    began = time.monotonic()
    only = " ".join(arguments)
    mutation = Mutation(only)
    files = [str(TESTS / f"test_{name}.py") for name in FILES]
    pytest.main([*files, "-q", "-p", "no:cacheprovider", "--no-header"], plugins=[mutation])
    equivalent = yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or {}
    survived = [name for name in mutation.survivors if name not in equivalent]
    stale = [name for name in equivalent if only in name and name not in mutation.survivors]
    for title, names in (
        ("fails without any mutant, or cannot be tried", mutation.unsound),
        ("survived", survived),
        ("listed as equivalent, but killed or gone", stale),
    ):
        print(*(f"{title}: {name}" for name in names), sep="\n")
    number = len(mutation._mutants)
    killed = number - len(mutation.survivors)
    listed = len(mutation.survivors) - len(survived)
    print(f"{number} mutants: {killed} killed, {listed} equivalent, {len(survived)} survived")
    print(f"in {time.monotonic() - began:.0f} s")
    return int(bool(mutation.unsound or survived or stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
