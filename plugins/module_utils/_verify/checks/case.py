# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check says of one observation, and how a check ends."""

from __future__ import annotations

import enum
import typing as t
from dataclasses import dataclass, field


class Outcome(enum.StrEnum):
    """How one check ended, ordered from worst to best by RANK."""

    FAILED = "failed"
    OUTAGE = "outage"
    WARNING = "warning"
    PASSED = "passed"
    SKIPPED = "skipped"


RANK = {outcome: rank for rank, outcome in enumerate(Outcome)}


@dataclass(frozen=True)
class Case:
    """One judged observation; a check has one or several.

    ``is_proof``: whether passing it alone proves the check. What was only read, and not tried on the server, does not.
    ``replica``: the address of the one that was tried by itself.
    """

    check: str
    name: str
    outcome: Outcome
    observed: str
    evidence: dict[str, t.Any] = field(default_factory=dict)
    is_proof: bool = True
    replica: str = ""

    def to_dict(self) -> dict[str, t.Any]:
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "observed": self.observed,
            "evidence": {key: value for key, value in self.evidence.items() if value is not None},
        }


def outcome_of(cases: t.Iterable[Case]) -> Outcome:
    """Return how a check with ``cases`` ended: the worst decides, and it passes only with a proof of each replica."""
    by_replica: dict[str, list[Outcome]] = {}
    for case in cases:
        if case.is_proof or case.outcome is not Outcome.PASSED:
            by_replica.setdefault(case.replica, []).append(case.outcome)
    found = [worst(outcomes) for outcomes in by_replica.values()]
    is_untried_somewhere = Outcome.SKIPPED in found and worst(found) is Outcome.PASSED
    return Outcome.SKIPPED if is_untried_somewhere else worst(found)


def worst(outcomes: t.Iterable[Outcome]) -> Outcome:
    """Return the worst of ``outcomes``; a skipped case never hides a case that ran."""
    return min(outcomes, key=RANK.__getitem__, default=Outcome.SKIPPED)
