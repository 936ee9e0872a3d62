# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Intervals as schedules, and the process that keeps to them."""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._monitor import schedule, serve
from ansible_collections.kyma.mtls.tests.servers.threads import serving


@pytest.mark.parametrize(
    ("interval", "calendar", "cron", "seconds"),
    [
        ("15m", "*:0/15", ("*/15", "*"), 900),
        ("60m", "*-*-* 0/1:00:00", ("0", "*/1"), 3600),
        ("6h", "*-*-* 0/6:00:00", ("0", "*/6"), 21600),
        ("24h", "*-*-* 00:00:00", ("0", "0"), 86400),
        ("1d", "*-*-* 00:00:00", ("0", "0"), 86400),
    ],
)
def test_an_interval_is_the_same_for_systemd_and_cron(
    interval: str, calendar: str, cron: tuple[str, str], seconds: int
) -> None:
    found = schedule.read_interval(interval)
    assert (found.calendar, (found.cron_minute, found.cron_hour), found.seconds) == (calendar, cron, seconds)


@pytest.mark.parametrize("interval", ["7m", "5h", "2d", "0m", "", "1", "15 m", "90m", "-1h", "1w", "hourly"])
def test_an_interval_that_repeats_in_no_day_is_refused(interval: str) -> None:
    with pytest.raises(MtlsError, match="cannot be scheduled"):
        schedule.read_interval(interval)


def test_a_command_runs_again_and_again_whatever_it_returns_until_it_is_ended(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"open({str(count)!r}, 'a').write('x'); raise SystemExit(1)"
    loop = serve.Loop([sys.executable, "-c", script], seconds=0.05)
    thread = threading.Thread(target=loop.run)
    thread.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (not count.exists() or len(count.read_text()) < 3):
        time.sleep(0.02)
    assert len(count.read_text()) >= 3
    loop.end()
    thread.join(30)
    assert not thread.is_alive()


def test_a_command_that_never_ends_makes_the_pod_unhealthy_and_is_ended(tmp_path: Path) -> None:
    loop = serve.Loop([sys.executable, "-c", "import time; time.sleep(600)"], seconds=0.05)
    thread = threading.Thread(target=loop.run)
    thread.start()
    server = serve.make_server(("127.0.0.1", 0), tmp_path, loop)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and loop.is_healthy:
        time.sleep(0.02)
    with serving(server), pytest.raises(urllib.error.HTTPError) as answered:
        urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/healthz", timeout=5)
    assert answered.value.code == 503
    answered.value.close()
    loop.end()
    thread.join(30)
    assert not thread.is_alive()
