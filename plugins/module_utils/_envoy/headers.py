# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Envoy's format strings in header values: literal text and %OPERATORS%.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

_PIECE = re.compile(
    r"(?P<escaped>%%)|%(?P<operator>[A-Z0-9_]+)(\((?P<argument>[^)]*)\))?(:(?P<length>[0-9]+))?%|(?P<literal>[^%]+)"
)
#: What istiod refuses in header values: control characters except the tab.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclasses.dataclass(frozen=True)
class Operator:
    """One ``%NAME(argument):length%``."""

    name: str
    argument: str | None = None
    length: int | None = None

    def __str__(self) -> str:
        argument = "" if self.argument is None else f"({self.argument})"
        length = "" if self.length is None else f":{self.length}"
        return f"%{self.name}{argument}{length}%"


def parse(value: str, *, refusal: t.Callable[[str], Exception]) -> tuple[str | Operator, ...]:
    """The pieces of ``value``: literal texts and operators, in order; ``refusal`` makes the error to raise."""
    control = _CONTROL.search(value)
    if control:
        raise refusal(f"the value has the control character {control[0]!r}, which no header can carry.")
    pieces: list[str | Operator] = []
    position = 0
    while position < len(value):
        match = _PIECE.match(value, position)
        if match is None:
            raise refusal(
                f"{value!r} is no format string of Envoy: the % at position {position} starts no %OPERATOR%. "
                "Write %% for a percent sign."
            )
        if match["operator"]:
            length = match["length"]
            pieces.append(Operator(match["operator"], match["argument"], int(length) if length else None))
        else:
            pieces.append("%" if match["escaped"] else match["literal"])
        position = match.end()
    return tuple(pieces)


def check_value(value: str, *, refusal: t.Callable[[str], Exception]) -> None:
    """Refuse a header value that Envoy would not load."""
    parse(value, refusal=refusal)
