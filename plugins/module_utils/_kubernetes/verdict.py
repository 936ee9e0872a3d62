# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a look at an object that is waited for says, and what the look may need to know besides the object."""

from __future__ import annotations

import dataclasses
import typing as t

if t.TYPE_CHECKING:
    import datetime

Body = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether to go on waiting, and the object's words about it."""

    ready: bool
    words: str
    warning: bool = False
    is_final: bool = False
    """Waiting any longer is of no use: whoever works on it has given up for now."""


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """What a predicate may need to know besides the object."""

    changed: bool = False
    """Whether this run has changed the object."""
    before: Body | None = None
    """The object before that change."""
    waited: float = 0.0
    """Seconds since waiting began."""
    now: datetime.datetime | None = None
    """The time on the server's clock."""
    accept_warning: bool = False
    version: str = ""
    """For the Istio CR: the Istio version that has to be installed."""


def condition_of(status: Body, kind: str) -> Body | None:
    """Return the condition ``kind`` of a status, None when there is none."""
    return next((condition for condition in status.get("conditions") or [] if condition.get("type") == kind), None)


def condition_words(condition: Body) -> str:
    """Return what a condition says: its reason and its message."""
    reason, message = str(condition.get("reason") or ""), " ".join(str(condition.get("message") or "").split())
    return f"{reason}: {message.rstrip('.')}" if reason and message else (message.rstrip(".") or reason or "no reason")
