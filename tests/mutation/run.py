# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does a test fail for every way in which the verifier's judgement could be wrong?

    python -m ansible_collections.kyma.mtls.tests.mutation.run [TEXT]    only mutants with TEXT in their name

Mutants are not written anywhere: the tests are run once to see which of them use which function; then, for each mutant,
a forked process swaps the function's code and runs those tests until one fails. cosmic-ray and mutmut start a process
and collect the tests for every mutant (hours instead of minutes), and have no operator that forces a result.

A mutant that no test can kill is listed in equivalent.yml, with the reason.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import sys
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
# The tests of the rules. Those that start servers of their own take seconds each, for every mutant that they meet.
FILES = (
    "bytes",
    "certificates",
    "judge",
    "refusals",
    "names",
    "session",
    "plain_http",
    "revocation",
    "proof",
    "rules",
)
_WORKERS = max(os.cpu_count() or 1, 1)
_PATIENCE_SECONDS = 120


class Mutation:
    """A pytest plugin: instead of only running the tests, it runs them for every mutant."""

    def __init__(self, only: str) -> None:
        self._mutants = [one for one in mutants.all_mutants() if only in one.name]
        self.survivors: list[str] = []
        self.unsound: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        users = self._users(session)
        print(f"\n{len(self._mutants)} mutants, {len(session.items)} tests", flush=True)
        waiting, running = list(self._mutants), dict[int, "Mutant"]()
        while waiting or running:
            while waiting and len(running) < _WORKERS:
                mutant = waiting.pop(0)
                running[self._start(mutant, users.get((mutant.module, mutant.function), []))] = mutant
            process, status = os.wait()
            mutant = running.pop(process)
            if status == 0:
                self.survivors.append(mutant.name)
                print(f"survived: {mutant.name}", flush=True)
        return True

    def _users(self, session: pytest.Session) -> dict[tuple[str, str], list[pytest.Item]]:
        """Run the tests as they are; return for each function those that call it, the fastest first."""
        functions = {_function(one).__code__: (one.module, one.function) for one in self._mutants}
        found: dict[tuple[str, str], list[tuple[float, int]]] = {}
        items = session.items
        for number, item in enumerate(items):
            called: set[tuple[str, str]] = set()

            began = time.monotonic()
            _profile(functools.partial(_note, functions, called))
            reports = runtestprotocol(item, log=False, nextitem=items[(number + 1) % len(items)])
            _profile(None)
            if any(report.failed for report in reports):
                self.unsound.append(item.nodeid)
            for function in called:
                found.setdefault(function, []).append((time.monotonic() - began, number))
        return {function: [items[number] for _seconds, number in sorted(used)] for function, used in found.items()}

    def _start(self, mutant: Mutant, items: list[pytest.Item]) -> int:
        """Fork a process that ends with 0 when every one of ``items`` passes with ``mutant``."""
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            os.setpgid(0, 0)
            signal.alarm(_PATIENCE_SECONDS)
            with contextlib.suppress(BaseException):
                _function(mutant).__code__ = mutant.code
                code = int(any(self._fails(item, items[at + 1 : at + 2]) for at, item in enumerate(items)))
        finally:
            os._exit(code)

    def _fails(self, item: pytest.Item, following: list[pytest.Item]) -> bool:
        reports = runtestprotocol(item, log=False, nextitem=following[0] if following else item)
        return any(report.failed for report in reports)


def _function(mutant: Mutant) -> types.FunctionType:
    found: t.Any = importlib.import_module(f"{PACKAGE}.{mutant.module}")
    for part in mutant.function.split("."):
        found = vars(found)[part]
    return t.cast("types.FunctionType", found)


def _note(
    functions: t.Mapping[types.CodeType, tuple[str, str]],
    called: set[tuple[str, str]],
    frame: types.FrameType,
    event: str,
    _arg: object,
) -> None:
    """Remember which of ``functions`` a test calls."""
    if event == "call" and frame.f_code in functions:
        called.add(functions[frame.f_code])


def _profile(function: t.Any) -> None:
    import threading  # noqa: PLC0415  (next to its twin in sys)

    threading.setprofile(function)
    sys.setprofile(function)


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
        ("fail without any mutant", mutation.unsound),
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
