# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long site.yml takes on the platform local: on an empty home, and again when nothing has changed.

Wheels are in the installer's cache (one run before the measured ones sees to that), so no network is measured.
Prints medians, the extremes, and where the time of a median-like run goes; compares with the goals below.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOALS = {"first run": 20.0, "unchanged re-run": 8.0}


@dataclass(frozen=True)
class Run:
    seconds: float
    output: str


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Site:
    """A site in a home of its own that is gone afterwards."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()

    def play(self, playbook: str, **variables: str) -> Run:
        values = {"mtls_home": str(self.home), "gateway_port": str(self.port), **variables}
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
            "PROFILE_TASKS_TASK_OUTPUT_LIMIT": "10",
        }
        command = ["ansible-playbook", f"playbooks/{playbook}.yml"]
        for name, value in values.items():
            command += ["-e", f"{name}={value}"]
        started = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{playbook}.yml failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
        return Run(time.monotonic() - started, done.stdout)


def slowest_tasks(output: str, count: int) -> list[str]:
    """The table at the end of profile_tasks: name, dashes, seconds."""
    found = re.findall(r"^(.+?) -{2,} ([\d.]+)s$", output, re.MULTILINE)
    return [f"    {float(seconds):6.2f} s  {name.strip()}" for name, seconds in found[:count]]


def measure(rounds: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in GOALS}
    for number in range(rounds + 1):
        # Short: below it lie Unix sockets.
        with tempfile.TemporaryDirectory(prefix="bench") as directory:
            site = Site(Path(directory) / "home")
            try:
                first, again = site.play("site"), site.play("site")
            finally:
                site.play("teardown", mtls_purge="true")
        if number:  # the first round fills caches
            runs["first run"].append(first)
            runs["unchanged re-run"].append(again)
            if not re.search(r"changed=0\s", again.output):
                sys.exit("The re-run changed something, so it measures something else.")
        print(f"round {number}: {first.seconds:.1f} s, {again.seconds:.1f} s", file=sys.stderr, flush=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description="Time site.yml on the platform local.")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"site.yml on local, Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, runs in measure(arguments.rounds).items():
        seconds = sorted(run.seconds for run in runs)
        median = statistics.median(seconds)
        print(f"\n{name}: median {median:.1f} s (of {len(runs)}: {seconds[0]:.1f} to {seconds[-1]:.1f}; ", end="")
        print(f"goal {GOALS[name]:.0f} s, {'met' if median <= GOALS[name] else 'MISSED'})")
        typical = min(runs, key=lambda run: abs(run.seconds - median))
        print("  where the time goes, slowest tasks of one run:", *slowest_tasks(typical.output, 8), sep="\n")


if __name__ == "__main__":
    main()
