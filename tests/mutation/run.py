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
import itertools
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
# The tests of what is judged, without a server: those with real ones take seconds, for every mutant that they meet.
FILES = (
    *(
        "outcomes",
        "run",
        "workloads",
        "acceptance",
        "rules",
        "refusals",
        "names",
        "headers",
        "forwarded",
        "certificates",
    ),
    *("revocation", "direct_access", "bytes", "without_url"),
)
_WORKERS = max(os.cpu_count() or 1, 1)
# For a test: a mutant may well make it wait for ever.
_PATIENCE_SECONDS = 120
_HUNG = "a test that did not end"


@dataclasses.dataclass
class Try:
    """Tests that run in a process, which writes into ``pipe`` which of them fails; without a mutant, none must."""

    mutant: Mutant | None
    tests: list[pytest.Item]
    pipe: int = -1

    def killer(self) -> str:
        """Return the test that failed, once the process has ended; "" when none did."""
        with os.fdopen(self.pipe, encoding="utf-8") as stream:
            return stream.read()


class Mutation:
    """A pytest plugin: instead of only running the tests, it runs them for every mutant."""

    def __init__(self, only: str) -> None:
        self.mutants = mutants.all_mutants(only)
        self._tells_killers = bool(only)
        self.has_run = False
        self.survivors: list[str] = []
        self.unsound: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # Not all of them could be collected; pytest says which.
        users = self._users(session)
        print(f"\n{len(self.mutants)} mutants, {len(session.items)} tests", flush=True)
        by_file: dict[Path, list[pytest.Item]] = {}
        for item in session.items:
            by_file.setdefault(item.path, []).append(item)
        waiting = [Try(None, items) for items in by_file.values()]
        waiting += [Try(mutant, users[mutant.name]) for mutant in self.mutants]
        running: dict[int, Try] = {}
        while waiting or running:
            while waiting and len(running) < _WORKERS:
                begun = waiting.pop(0)
                running[self._start(begun)] = begun
            process, status = os.wait()
            ended = running.pop(process)
            killer = ended.killer() or (_HUNG if os.WIFSIGNALED(status) else "")
            self._judge(ended, killer, is_broken=bool(status) and not killer)
            # What noticed one mutant of a function notices others of it.
            for other in waiting:
                if ended.mutant and other.mutant and _place(other.mutant) == _place(ended.mutant):
                    other.tests.sort(key=lambda test: test.nodeid != killer)
        self.has_run = True
        return True

    def _judge(self, ended: Try, killer: str, *, is_broken: bool) -> None:
        if ended.mutant is None:
            self.unsound += [killer] if killer else []
        elif is_broken:
            self.unsound.append(ended.mutant.name)
        elif not killer:
            self.survivors.append(ended.mutant.name)
            print(f"survived: {ended.mutant.name}", flush=True)
        elif self._tells_killers:
            print(f"killed: {ended.mutant.name}\n    by {killer}", flush=True)

    def _users(self, session: pytest.Session) -> dict[str, list[pytest.Item]]:
        """Run the tests as they are; return for each mutant those that run its statement, the fastest first."""
        functions = {_function(one).__code__: _place(one) for one in self.mutants}
        found: dict[str, list[tuple[float, int]]] = {one.name: [] for one in self.mutants}
        items = session.items
        for number, item in enumerate(items):
            lines: set[tuple[tuple[str, str], int]] = set()
            began = time.monotonic()
            _trace(functools.partial(_note, functions, lines))
            following = items[(number + 1) % len(items)]
            reports = runtestprotocol(item, log=False, nextitem=following if following is not item else None)
            _trace(None)
            if any(report.failed for report in reports):
                self.unsound.append(item.nodeid)
            if any(report.skipped for report in reports):
                continue  # It notices nothing.
            for one in self.mutants:
                if any((_place(one), line) in lines for line in one.lines):
                    found[one.name].append((time.monotonic() - began, number))
        return {name: [items[number] for _seconds, number in sorted(used)] for name, used in found.items()}

    def _start(self, begun: Try) -> int:
        """Fork a process that ends with 0 when every one of the tests passes."""
        begun.pipe, writing = os.pipe()
        process = os.fork()
        if process:
            os.close(writing)
            return process
        code = 1
        try:
            os.setpgid(0, 0)
            if begun.mutant:
                _function(begun.mutant).__code__ = begun.mutant.code()
            with contextlib.suppress(BaseException):
                pairs = itertools.zip_longest(begun.tests, begun.tests[1:])
                killer = next((test.nodeid for test, following in pairs if self._fails(test, following)), "")
                os.write(writing, killer.encode())
                code = int(bool(killer))
        finally:
            os._exit(code)

    def _fails(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        signal.alarm(_PATIENCE_SECONDS)
        reports = runtestprotocol(item, log=False, nextitem=following or item)
        return any(report.failed for report in reports)


def _place(mutant: Mutant) -> tuple[str, str]:
    return mutant.module, mutant.function


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


def main(arguments: list[str], files: t.Sequence[str] = ()) -> int:
    """Run every mutant, print the figure, and return 1 when one survives that is not listed as equivalent."""
    began = time.monotonic()
    only = " ".join(arguments)
    mutation = Mutation(only)
    files = files or [str(TESTS / f"test_{name}.py") for name in FILES]
    pytest.main([*files, "-q", "-p", "no:cacheprovider", "--no-header"], plugins=[mutation])
    if not mutation.has_run:
        print("no mutant was tried: the tests could not be collected")
        return 1
    equivalent = yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or {}
    survived = [name for name in mutation.survivors if name not in equivalent]
    stale = [name for name in equivalent if only in name and name not in mutation.survivors]
    for title, names in (
        ("fails without any mutant, or cannot be tried", mutation.unsound),
        ("survived", survived),
        ("listed as equivalent, but killed or gone", stale),
    ):
        for name in names:
            print(f"{title}: {name}")
    number = len(mutation.mutants)
    killed = number - len(mutation.survivors) - sum(one.name in mutation.unsound for one in mutation.mutants)
    listed = len(mutation.survivors) - len(survived)
    print(f"in {time.monotonic() - began:.0f} s, {sum(os.times()[:4]):.0f} of them of the processors")
    print(f"{number} mutants: {killed} killed, {listed} equivalent, {len(survived)} survived")
    return int(bool(mutation.unsound or survived or stale or not number))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
