# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Moments as users write them."""

from __future__ import annotations

import datetime
import re

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

_RELATIVE = re.compile(
    r"(?P<sign>[+-])"
    r"(?:(?P<weeks>\d{1,6})[wW])?"
    r"(?:(?P<days>\d{1,6})[dD])?"
    r"(?:(?P<hours>\d{1,6})[hH])?"
    r"(?:(?P<minutes>\d{1,6})[mM])?"
    r"(?:(?P<seconds>\d{1,9})[sS]?)?"
)


def parse_moment(text: str, *, now: datetime.datetime) -> datetime.datetime:
    """Return the moment that ``text`` names: RFC 3339, ``YYYYMMDDHHMMSSZ``, or relative to ``now`` (``+3w2d``).

    Fractions of a second are dropped, as certificates have none. Raises MtlsError when it is none of these.
    """
    value = text.strip()
    relative = _RELATIVE.fullmatch(value)
    try:
        if relative and len(value) > 1:
            parts = {name: int(number) for name, number in relative.groupdict().items() if number and name != "sign"}
            distance = datetime.timedelta(**parts)
            moment = now - distance if relative["sign"] == "-" else now + distance
        elif re.fullmatch(r"\d{14}Z", value):
            moment = datetime.datetime.strptime(value, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)
        else:
            moment = datetime.datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError("it has no time zone")
        return moment.astimezone(datetime.UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as exc:
        raise MtlsError(
            f"{text!r} is not a moment ({exc}). Write it as RFC 3339 (2026-11-23T12:00:00Z) "
            "or relative to now (+3w2d, -1h)."
        ) from exc
