# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdicts on real servers, written down before the checks were made harder to fool, and what was changed since.

A line of verdicts.txt: the server's fault, its kind, the verdict, and the checks that failed (F), met an outage (O),
warned (W) or were skipped (S); all others passed. That file stays as it is: a change of a verdict is either a mistake,
or it is listed in CHANGES with its reason.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

Outcomes: t.TypeAlias = dict[str, str]
_WORDS = {"F": "failed", "O": "outage", "W": "warning", "S": "skipped"}


@dataclass(frozen=True)
class Change:
    """Checks that end otherwise than before on some servers, and why."""

    reason: str
    checks: tuple[str, ...]
    was: str
    now: str
    kinds: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    verdict: str = ""

    def concerns(self, fault: str, kind: str) -> bool:
        return (not self.kinds or kind in self.kinds) and (not self.faults or fault in self.faults)


CHANGES: tuple[Change, ...] = (
    Change(
        "where the good client does not get in, asking for a certificate and naming CAs proves nothing",
        checks=("MV-20", "MV-22"),
        was="passed",
        now="skipped",
        faults=("wrong client CA",),
    ),
    Change(
        "sessions of clients with a certificate of another CA are tried too, and these servers take such clients",
        checks=("MV-05",),
        was="passed",
        now="failed",
        kinds=("openssl", "gnutls"),
        faults=("no_ca",),
    ),
    Change(
        "a client without a certificate is tried too: its X-CLIENT-SSL-ISSUER passes where Envoy has none to set",
        checks=("MV-41",),
        was="warning",
        now="failed",
        kinds=("envoy",),
        faults=("optional", "no_ca"),
    ),
    Change(
        "a pass by the names asked for said nothing about the server's own CA: nginx judges the signature before the "
        "chain, and GnuTLS names no cause, so it cannot be decided without that CA's key",
        checks=("MV-22",),
        was="passed",
        now="skipped",
        kinds=("nginx", "gnutls"),
    ),
    Change(
        "an identity that the workload is never told is MV-40's failure; no forged one survives there",
        checks=("MV-41",),
        was="failed",
        now="passed",
        kinds=("nginx",),
        faults=("off",),
    ),
    Change(
        "the same of servers that judge no chain at all",
        checks=("MV-22",),
        was="passed",
        now="skipped",
        faults=("no_ca",),
    ),
)


def expected(fault: str, kind: str) -> tuple[str, Outcomes]:
    """Return the verdict and the outcome of every check that does not pass, for a server of ``kind``."""
    verdict, outcomes = _before()[fault, kind]
    for change in CHANGES:
        if change.concerns(fault, kind):
            for check in change.checks:
                if outcomes.get(check, "passed") == change.was:
                    outcomes[check] = change.now
            verdict = change.verdict or verdict
    return verdict, {check: outcome for check, outcome in outcomes.items() if outcome != "passed"}


def servers() -> list[tuple[str, str]]:
    """Return every pair of a fault and a kind of server."""
    return list(_before())


def _before() -> dict[tuple[str, str], tuple[str, Outcomes]]:
    found = {}
    for line in Path(__file__).with_suffix(".txt").read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        head, *parts = (
            line.replace(" F ", "|F ").replace(" O ", "|O ").replace(" W ", "|W ").replace(" S ", "|S ").split("|")
        )
        fault, kind, verdict = head[:26].strip(), *head[26:].split()
        outcomes = {f"MV-{number}": _WORDS[part[0]] for part in parts for number in part[1:].split() if number != "-"}
        found[fault, kind] = (verdict, outcomes)
    return found
