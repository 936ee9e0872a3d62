# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Feed damaged certificates, keys, lists, PKCS#12 files, Secrets and registers to what reads them.

Usage:  tools/fuzz [--count 100000] [--seed 1] [--first 0] [--target NAME ...]
        tools/fuzz --guided [--target NAME] [ARGUMENTS OF LIBFUZZER ...]

Each input must be answered or refused in words. An exception, more than ten seconds for one input, more than a
gigabyte of memory, or a piece of a private key in a message is a failure; it is reported with its number, and ``--first
NUMBER --count 1`` repeats it (the keys differ from run to run, the damage does not). ``--guided`` looks for inputs that
reach new code (atheris, which has to be installed: ``pip install atheris``) until it is stopped or finds a failure.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import itertools
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import types
import typing as t
import warnings
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.fuzz import seeds, targets
from ansible_collections.kyma.mtls.tests.fuzz.damage import damaged

SECONDS = 10
MEBIBYTES = 1024
WATCHED = "ansible_collections.kyma.mtls.plugins.module_utils."
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}")


class FaultError(Exception):
    """An answer that is none, in words."""


def attempt(target: targets.Target, data: bytes) -> str:
    """Run one input and return what came of it; raises whatever is a fault."""
    try:
        target.run(data)
    except MtlsError as exc:
        said = str(exc)
        if not said:
            raise FaultError("refused without a word") from exc
        if any(piece in said for piece in _key_pieces()):
            raise FaultError(f"a private key is in the message: {said}") from exc
        return "refused"
    return "answered"


@functools.cache
def _key_pieces() -> list[str]:
    keys = [chain.end.key_pem().encode() for chain in seeds.chains()]
    return [line.decode()[8:32] for key in keys for line in _BASE64.findall(key)]


@contextlib.contextmanager
def time_limit() -> t.Iterator[None]:
    def stop(*_signal: t.Any) -> None:
        raise TimeoutError(f"more than {SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def chosen(names: t.Sequence[str]) -> list[targets.Target]:
    return [one for one in targets.TARGETS if not names or one.name in names]


def fuzz(
    *, count: int, seed: int, first: int = 0, names: t.Sequence[str] = ()
) -> tuple[collections.Counter[str], list[str]]:
    """Run ``count`` inputs; return how many were answered and refused by each target, and the failures in words."""
    tally: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    possible = chosen(names)
    prepared = {one.name: one.seeds() for one in possible}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in itertools.islice(itertools.count(first), count):
            dice = random.Random(f"{seed}/{number}")  # noqa: S311  (no secret)
            (target,) = dice.choices(possible, [one.share for one in possible])
            data = damaged(dice.choice(prepared[target.name]), dice)
            try:
                with time_limit():
                    said = attempt(target, data)
            except BaseException as exc:  # a panic of cryptography is no Exception
                if isinstance(exc, KeyboardInterrupt):
                    raise
                failures.append(f"input {number} ({target.name}): {''.join(traceback.format_exception(exc))}")
                said = "FAILED"
            tally[f"{target.name} {said}"] += 1
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if used > MEBIBYTES:
        failures.append(f"{used} MiB of memory were used, more than {MEBIBYTES}")
    return tally, failures


def guided(names: t.Sequence[str], arguments: list[str]) -> None:
    """Hand the targets over to libFuzzer, with the seeds as its corpus and our damage beside its own."""
    import atheris  # noqa: PLC0415  (not everybody has it)

    possible = chosen(names)

    def one_input(data: bytes) -> None:
        if data:
            attempt(possible[data[0] % len(possible)], data[1:])

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        if not data or seed % 3 == 0:
            return t.cast("bytes", atheris.Mutate(data, longest))
        return (data[:1] + damaged(data[1:], random.Random(seed)))[:longest]  # noqa: S311  (no secret)

    corpus = Path(tempfile.mkdtemp(prefix="corpus-"))
    for index, target in enumerate(possible):
        for number, data in enumerate(target.seeds()):
            (corpus / f"{target.name}-{number}").write_bytes(bytes([index]) + data)
    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEBIBYTES}", "-max_len=65536", "-close_fd_mask=1"]
    for function in _functions():
        atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *limits, *arguments, str(corpus)], one_input, custom_mutator=mutate)
    atheris.Fuzz()


def _functions() -> t.Iterator[types.FunctionType]:
    """The functions of the collection: to watch those of all libraries as well takes minutes before it begins."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith(WATCHED):
            owners = [module, *(one for one in vars(module).values() if isinstance(one, type))]
            for function in [one for owner in owners for one in vars(owner).values()]:
                if isinstance(function, types.FunctionType) and function.__module__ == name:
                    yield function


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--target", action="append", default=[], choices=[one.name for one in targets.TARGETS])
    parser.add_argument("--guided", action="store_true")
    options, further = parser.parse_known_args(arguments)
    if options.guided:
        guided(options.target, further)
        return 0
    if further:
        parser.error(f"unknown: {' '.join(further)}")
    began = time.monotonic()
    tally, failures = fuzz(count=options.count, seed=options.seed, first=options.first, names=options.target)
    for failure in failures[:10]:
        print(failure)
    for what, number in sorted(tally.items()):
        print(f"{what:24} {number:7}")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{options.count} inputs, {len(failures)} failures, {time.monotonic() - began:.0f} s, {used} MiB")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
