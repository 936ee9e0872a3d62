# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the checks, some at a time, and sum up: python -m checks [--list] [STEP|GROUP ...]."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
import typing as t
from dataclasses import dataclass

from checks.catalogue import all_steps
from checks.step import LOGS, CheckError, Context, SkipError, Step, last_line

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# Three on two cores, though one of them has workers of its own: each waits a third of its time or more, for servers and
# the disk.
AT_A_TIME = int(os.environ.get("CHECK_AT_A_TIME") or min(max(os.cpu_count() or 2, 2) + 1, 4))
VERBOSE = os.environ.get("VERBOSE", "") not in {"", "0"}


@dataclass(frozen=True)
class Result:
    step: Step
    result: str
    seconds: float
    cpu_seconds: float
    reason: str


class Runner:
    """Runs steps in threads, prints each as it ends, and ends all that runs when interrupted."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.interrupted = threading.Event()
        self.printing = threading.Lock()

    def run(self, step: Step) -> Result:
        LOGS.mkdir(parents=True, exist_ok=True)
        with self._alone(step), (LOGS / f"{step.name}.log").open("w", encoding="utf-8") as log:
            started = time.monotonic()
            context = Context(step, log)
            self.contexts.append(context)
            late = threading.Timer(step.timeout_seconds, context.stop)
            late.start()
            try:
                result, reason = self._outcome(step, context)
            finally:
                late.cancel()
        seconds = time.monotonic() - started
        if seconds >= step.timeout_seconds:
            result, reason = FAILED, f"not finished after {step.timeout_seconds} s"
        outcome = Result(step, result, seconds, context.cpu_seconds, reason)
        self._show(outcome)
        return outcome

    @contextlib.contextmanager
    def _alone(self, step: Step) -> t.Iterator[None]:
        """Wait while another run in this checkout is at the same step: they would share its files."""
        with (LOGS / f"{step.name}.lock").open("w") as lock:
            told = False
            while not self.interrupted.is_set():
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        with self.printing:
                            print(f"waiting  {step.name}: another run in this checkout is at it", flush=True)
                    told = True
                    time.sleep(0.5)
            yield

    def _outcome(self, step: Step, context: Context) -> tuple[str, str]:
        if self.interrupted.is_set():
            return FAILED, "interrupted"
        try:
            return PASSED, step.run(context) or ""
        except SkipError as exc:
            return SKIPPED, str(exc)
        except CheckError as exc:
            return FAILED, "interrupted" if self.interrupted.is_set() else str(exc)
        except Exception as exc:  # noqa: BLE001  (a check that breaks is a failed check, the others go on)
            return FAILED, f"the check itself broke: {type(exc).__name__}: {last_line(str(exc))}"

    def _show(self, outcome: Result) -> None:
        log = LOGS / f"{outcome.step.name}.log"
        with self.printing:
            if VERBOSE or (outcome.result == FAILED and not self.interrupted.is_set()):
                print(f"\n----- {outcome.step.name}: {outcome.step.what} -----")
                print(log.read_text(encoding="utf-8").rstrip())
                print(f"----- end of {outcome.step.name} -----\n")
            reason = f"  {outcome.reason}" if outcome.reason else ""
            print(f"{outcome.result:8} {outcome.step.name} ({outcome.seconds:.0f} s){reason}", flush=True)

    def stop(self) -> None:
        self.interrupted.set()
        for context in self.contexts:
            context.stop()


def run_all(steps: list[Step]) -> list[Result]:
    """Run them in their order, as many at a time as may be."""
    runner = Runner()
    waiting = list(steps)
    running: dict[concurrent.futures.Future[Result], Step] = {}
    results: dict[str, Result] = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=AT_A_TIME) as pool:
        try:
            while waiting or running:
                while len(running) < AT_A_TIME and (step := _next_to_start(waiting, running.values())):
                    waiting.remove(step)
                    running[pool.submit(runner.run, step)] = step
                done, _pending = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    results[running.pop(future).name] = future.result()
        except KeyboardInterrupt:
            runner.stop()
            raise
    return [results[step.name] for step in steps]


def _next_to_start(waiting: t.Sequence[Step], running: t.Iterable[Step]) -> Step | None:
    """One step with workers of its own runs, with others beside it; a second one only when nothing else waits."""
    with_workers = [step for step in waiting if step.has_workers]
    others = [step for step in waiting if not step.has_workers]
    is_one_running = any(step.has_workers for step in running)
    return next(iter([*others, *with_workers] if is_one_running else [*with_workers, *others]), None)


def table(results: list[Result]) -> str:
    width = max(len(result.step.name) for result in results)
    rows = [f"{'step':{width}}  {'result':8} {'seconds':>7} {'CPU':>6}  reason"]
    rows += [
        f"{r.step.name:{width}}  {r.result:8} {r.seconds:7.1f} {r.cpu_seconds:6.0f}  {r.reason}".rstrip()
        for r in results
    ]
    return "\n".join(rows)


def selected(steps: list[Step], wanted: list[str]) -> list[Step]:
    known = {step.name for step in steps} | {step.group for step in steps}
    unknown = [word for word in wanted if word not in known]
    if unknown:
        sys.exit(f"No such check: {', '.join(unknown)}. There are: {', '.join(sorted(known))}.")
    return [step for step in steps if not wanted or step.name in wanted or step.group in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/check", description="Run the project's checks.")
    parser.add_argument("--list", action="store_true", help="only name the steps and their groups")
    parser.add_argument("step", nargs="*", help="names of steps or groups; none means all")
    arguments = parser.parse_args()
    steps = selected(all_steps(), arguments.step)
    if arguments.list:
        for step in steps:
            print(f"{step.name:24} {step.group:10} {step.what}")
        return 0
    started = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has a run outlive the terminal.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        results = run_all(steps)
    except KeyboardInterrupt:
        print("\nInterrupted.")
        return 130
    count = {kind: sum(result.result == kind for result in results) for kind in (PASSED, FAILED, SKIPPED)}
    took = f"Took {time.monotonic() - started:.0f} s, {sum(result.cpu_seconds for result in results):.0f} s of CPU time"
    print(f"\n{table(results)}\n\n{took}; the logs are in .build/check.")
    print(", ".join(f"{number} {kind}" for kind, number in count.items()))
    return 1 if count[FAILED] or not count[PASSED] else 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
