# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an interval such as 15m or 6h to the schedules of systemd and cron."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

_INTERVAL = re.compile(r"(?P<number>[1-9][0-9]{0,2})(?P<unit>m|h|d)")
_MINUTES = {"m": 1, "h": 60, "d": 1440}
#: Whole parts of an hour or a day: only these come back at the same time in the next one.
_MINUTE_STEPS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
_HOUR_STEPS = (1, 2, 3, 4, 6, 8, 12)


@dataclass(frozen=True)
class Schedule:
    """One interval in three ways: systemd's OnCalendar, the minute and hour fields of cron, seconds."""

    calendar: str
    cron_minute: str
    cron_hour: str
    seconds: int


def read_interval(text: str) -> Schedule:
    """Return the schedule of ``text``, such as 15m, 1h or 1d.

    Raises MtlsError for an interval that does not divide an hour or a day: neither systemd nor cron can repeat it.
    """
    found = _INTERVAL.fullmatch(text)
    minutes = int(found["number"]) * _MINUTES[found["unit"]] if found else 0
    if minutes in _MINUTE_STEPS:
        return Schedule(f"*:0/{minutes}", f"*/{minutes}", "*", minutes * 60)
    hours, rest = divmod(minutes, 60)
    if rest == 0 and hours in _HOUR_STEPS:
        return Schedule(f"*-*-* 0/{hours}:00:00", "0", f"*/{hours}", hours * 3600)
    if minutes == _MINUTES["d"]:
        return Schedule("*-*-* 00:00:00", "0", "0", 86400)
    raise MtlsError(
        f"The interval {text!r} cannot be scheduled. Use minutes that divide an hour "
        f"({', '.join(f'{step}m' for step in _MINUTE_STEPS)}), hours that divide a day "
        f"({', '.join(f'{step}h' for step in _HOUR_STEPS)}), or 1d."
    )
