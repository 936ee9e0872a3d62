# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a site's status shows of its monitor."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._local import status
from ansible_collections.kyma.mtls.plugins.module_utils._monitor import runs

NOW = datetime.datetime(2026, 11, 29, 12, 20, tzinfo=datetime.UTC)


@pytest.fixture
def monitor(tmp_path: Path) -> Path:
    (tmp_path / "monitor/config").mkdir(parents=True)
    (tmp_path / "monitor/state").mkdir()
    (tmp_path / "monitor/config/schedule").write_text("systemd 15m\n")
    return tmp_path / "monitor"


def log(monitor: Path, *lines: str) -> None:
    (monitor / "state/runs.log").write_text("".join(f"{line}\n" for line in lines))


def test_the_last_three_runs_and_the_next_one_are_shown(monitor: Path) -> None:
    log(
        monitor,
        "2026-11-29T11:30:02Z failed FAILED: x",
        "2026-11-29T11:45:02Z passed PASSED: a",
        "half a line",
        "2026-11-29T12:00:02Z outage OUTAGE: b",
        "2026-11-29T12:15:02Z passed PASSED: c",
    )
    found = runs.look(monitor, now=NOW)
    assert found is not None
    assert [run.headline for run in found.last] == ["PASSED: a", "OUTAGE: b", "PASSED: c"]
    assert found.next_run == datetime.datetime(2026, 11, 29, 12, 30, tzinfo=datetime.UTC)
    assert found.problem == ""


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((), "has never run"),
        (("2026-11-29T09:00:02Z passed PASSED",), "last ran on 2026-11-29 09:00 UTC"),
        (("2026-11-29T12:15:02Z failed FAILED: wide open",), "ended with failed: FAILED: wide open"),
    ],
    ids=["never", "long ago", "failed"],
)
def test_a_monitor_that_is_silent_or_alarmed_is_a_problem(monitor: Path, lines: tuple[str, ...], problem: str) -> None:
    log(monitor, *lines)
    found = runs.look(monitor, now=NOW)
    assert found is not None
    assert problem in found.problem


def test_the_status_of_a_site_has_its_monitor_and_of_a_site_without_one_nothing(monitor: Path, tmp_path: Path) -> None:
    log(monitor, f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%dT%H:%M:%SZ} passed PASSED: fine")
    text = "\n".join(status.lines(status.look(str(tmp_path))))
    assert "Monitor\n" in text
    assert "PASSED: fine" in text
    assert "next run" in text
    (monitor / "config/schedule").unlink()
    assert "Monitor" not in "\n".join(status.lines(status.look(str(tmp_path))))
