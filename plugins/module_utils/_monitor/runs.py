# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The monitor's last runs and its next one, as its files on this host show them."""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._monitor.schedule import read_interval

if t.TYPE_CHECKING:
    from pathlib import Path

SHOWN = 3
_RUN = re.compile(r"(?P<when>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (?P<verdict>\w+) (?P<headline>.*)")
#: A run may start late (RandomizedDelaySec) and take its time.
_PATIENCE = datetime.timedelta(minutes=15)


@dataclass(frozen=True)
class MonitorRun:
    """One run of the monitor; ``verdict`` is passed, failed, outage, or error when it did not verify."""

    when: datetime.datetime
    verdict: str
    headline: str


@dataclass(frozen=True)
class Monitor:
    """A monitor on this host. ``next_run`` is None where none of our schedules starts it; ``problem`` may be empty."""

    every: str
    last: tuple[MonitorRun, ...]
    next_run: datetime.datetime | None
    problem: str


def look(directory: Path, *, now: datetime.datetime) -> Monitor | None:
    """Return the monitor in ``directory``, None when there is none."""
    try:
        runner, every = (directory / "config/schedule").read_text(encoding="utf-8").split()
        seconds = read_interval(every).seconds
    except (OSError, ValueError, MtlsError):
        return None
    last = tuple(_runs(directory / "state/runs.log"))[-SHOWN:]
    scheduled = runner != "none"
    problem = ""
    if last and last[-1].verdict != "passed":
        problem = f"the monitor's last run ended with {last[-1].verdict}: {last[-1].headline}"
    late_after = 2 * datetime.timedelta(seconds=seconds) + _PATIENCE
    if scheduled and (not last or now - last[-1].when > late_after):
        since = f"last ran on {last[-1].when:%Y-%m-%d %H:%M} UTC" if last else "has never run"
        problem = f"the monitor is to run every {every} and {since}"
    return Monitor(every, last, _next(now, seconds) if scheduled else None, problem)


def _runs(log: Path) -> t.Iterator[MonitorRun]:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        if found := _RUN.fullmatch(line):
            when = datetime.datetime.fromisoformat(found["when"])
            yield MonitorRun(when, found["verdict"], found["headline"])


def _next(now: datetime.datetime, seconds: int) -> datetime.datetime:
    """Return the next whole multiple of the interval since local midnight, as systemd and cron count."""
    local = now.astimezone()
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    elapsed = int((local - midnight).total_seconds())
    return (midnight + datetime.timedelta(seconds=(elapsed // seconds + 1) * seconds)).astimezone(datetime.UTC)
