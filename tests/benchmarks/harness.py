# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all benchmarks share: the cost of a command, medians, targets, and one JSON file of what was measured.

Wall clock and CPU are seconds. CPU is that of a command and of all its descendants that were waited for; peak memory,
in MiB, is that of the largest single process among them (getrusage(2)).
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".build" / "bench" / "results.json"
# Above this load per core, other work disturbs what is measured.
QUIET_LOAD = 0.3


# A process starts with its parent's peak memory as its own (execve(2) keeps it): a small one starts what is measured.
_LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
child = os.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
_child, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    json.dump([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Cost(t.NamedTuple):
    """What one run of a command took."""

    wall: float
    cpu: float
    mib: float


class Done(t.NamedTuple):
    """A finished command."""

    cost: Cost
    output: str


def run(*command: str | Path, cwd: Path = ROOT, env: t.Mapping[str, str] | None = None) -> Done:
    """Run ``command`` and return its cost; end the benchmark with the command's own words if it fails."""
    with tempfile.NamedTemporaryFile("r") as told:
        done = subprocess.run(
            [sys.executable, "-IS", "-c", _LAUNCHER, told.name, *command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{command[0]} {command[1]} failed ({done.returncode}):\n{done.stdout[-4000:]}")
        return Done(Cost(*json.load(told)), done.stdout)


@dataclasses.dataclass(frozen=True)
class Figure:
    """The runs of one thing that was measured."""

    what: str
    costs: tuple[Cost, ...]

    @property
    def wall(self) -> float:
        return statistics.median(cost.wall for cost in self.costs)

    @property
    def cpu(self) -> float:
        return statistics.median(cost.cpu for cost in self.costs)

    @property
    def mib(self) -> float:
        return max(cost.mib for cost in self.costs)

    def to_dict(self) -> dict[str, t.Any]:
        walls = [cost.wall for cost in self.costs]
        return {
            "what": self.what,
            "runs": len(self.costs),
            "wall": round(self.wall, 3),
            "wall_min": round(min(walls), 3),
            "wall_max": round(max(walls), 3),
            "cpu": round(self.cpu, 3),
            "mib": round(self.mib),
        }


@dataclasses.dataclass
class Bench:
    """What one benchmark finds out; ``quick`` asks for small sizes and single runs, to see that it works at all."""

    name: str
    quick: bool = False
    figures: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    targets: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    charts: dict[str, dict[str, list[list[float]]]] = dataclasses.field(default_factory=dict)

    def sizes(self, *full: int) -> tuple[int, ...]:
        """Return the sizes to measure: all, or in a hurry the smallest."""
        return full[:1] if self.quick else full

    def measure(self, what: str, once: t.Callable[[], Cost], *, runs: int = 3) -> Figure:
        """Return the figure of ``runs`` runs."""
        return self.record(what, [once() for _run in range(1 if self.quick else runs)])

    def record(self, what: str, costs: t.Iterable[Cost]) -> Figure:
        figure = Figure(what, tuple(costs))
        row = figure.to_dict()
        self.figures.append(row)
        spread = f"({row['wall_min']:.2f} to {row['wall_max']:.2f}, {row['runs']} runs)" if row["runs"] > 1 else ""
        say(f"  {what:58} {figure.wall:8.2f} s wall {figure.cpu:8.2f} s CPU {figure.mib:6.0f} MiB  {spread}")
        return figure

    def target(self, what: str, target: str, measured: str, *, is_met: bool, distance: str = "") -> None:
        """Compare with a target; ``distance`` says what a miss consists of: the floor, and what is above it."""
        row = {"what": what, "target": target, "measured": measured, "is_met": is_met}
        self.targets.append({**row, "distance": "" if is_met else distance})
        say(f"  {'met   ' if is_met else 'MISSED'}  {what}: {measured} (target: {target})")
        if distance and not is_met:
            say(f"          {distance}")

    def note(self, text: str) -> None:
        self.notes.append(text)
        say("\n".join(f"    {line}" for line in text.splitlines()))

    def point(self, chart: str, line: str, x: float, y: float) -> None:
        """Add a point to a line of a chart."""
        self.charts.setdefault(chart, {}).setdefault(line, []).append([x, round(y, 4)])

    def to_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def say(text: str) -> None:
    print(text, flush=True)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def environment() -> dict[str, t.Any]:
    """Return what figures depend on: the machine, the versions, and how busy the machine is."""
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False)  # noqa: S607  (PATH)
    processor = ""
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": cores(),
        "processor": processor or platform.machine(),
        "python": platform.python_version(),
        "ansible_core": metadata.version("ansible-core"),
        "cryptography": metadata.version("cryptography"),
        "openssl": openssl.stdout.split()[1] if openssl.stdout else "absent",
        "load": round(load, 2),
        "is_quiet": load <= QUIET_LOAD * cores(),
    }


def measure_all(benchmarks: t.Mapping[str, t.Callable[[Bench], None]], *, quick: bool, results: Path) -> bool:
    """Run benchmarks, print and keep what they find out; return whether every target was met."""
    here = environment()
    say(", ".join(f"{key} {value}" for key, value in here.items()))
    if not here["is_quiet"]:
        say(f"WARNING: the machine is busy (load {here['load']}): only ratios within one benchmark mean anything.")
    is_met = True
    for name, benchmark in benchmarks.items():
        say(f"\n{name}")
        bench, began = Bench(name, quick), time.monotonic()
        benchmark(bench)
        is_met &= all(row["is_met"] for row in bench.targets)
        _keep(results, {**bench.to_dict(), "environment": here, "seconds": round(time.monotonic() - began)})
    say(f"\nAll figures: {results}")
    return is_met


def _keep(results: Path, measured: dict[str, t.Any]) -> None:
    """Put one benchmark's figures into the file, beside the others'."""
    known = json.loads(results.read_text()) if results.is_file() else {}
    known[measured["name"]] = measured
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(known, indent=1) + "\n")


def program(name: str) -> str:
    """Return the path of a program of this virtual environment, or of the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else name
