# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway of several replicas, of which one may differ: each by its own address, or by many fresh connections.

Behind one address of N replicas, a fresh connection misses one of them with a probability of 1 - 1/N, and k
connections miss it with (1 - 1/N)^k, when the balancer picks them evenly and not by the client's address.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import socket
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import headers
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import RANK, Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.refusals import try_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_acceptance
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import place_of

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection, VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.refusals import Refusal

Address: t.TypeAlias = tuple[str, int]
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class ReplicaPlan:
    """Which replicas are tried by their own addresses, and how often the common address is tried for the others."""

    addresses: tuple[Address, ...] = ()
    silent: tuple[Address, ...] = ()
    count: int = 1
    connections: int = 0

    @property
    def chance_to_miss(self) -> float:
        """The probability that a check never met one certain replica behind the common address."""
        return (1 - 1 / self.count) ** self.connections

    def to_dict(self) -> dict[str, t.Any]:
        facts: dict[str, t.Any] = {
            "addresses": [place_of(address) for address in self.addresses],
            "silent": [place_of(address) for address in self.silent],
        }
        if not self.addresses and not self.connections:
            return {}
        if self.connections:
            facts |= {
                "count": self.count,
                "connections": self.connections,
                "confidence": round(1 - self.chance_to_miss, 4),
            }
        return {**facts, "summary": self.text()}

    def text(self) -> str:
        """Say in a sentence how every replica was looked at; "" when there is only one."""
        parts = []
        if self.addresses:
            parts.append(f"{len(self.addresses)} by their own addresses ({', '.join(map(place_of, self.addresses))})")
        if self.connections:
            parts.append(
                f"{self.count} behind one address by {self.connections} fresh connections for each decisive check, "
                f"which find a fault of one of them with a probability of {1 - self.chance_to_miss:.1%}"
            )
        if self.silent:
            parts.append(f"not answering from here: {', '.join(map(place_of, self.silent))}")
        return f"Replicas: {'; '.join(parts)}." if parts else ""


def make_plan(options: VerifyOptions) -> ReplicaPlan:
    """Return how the replicas are looked at.

    An address that does not answer is tried all the same, and an outage, unless ``replica_count`` says that the common
    address leads to it, too.
    """
    answering = [address for address in options.replicas if _answers(address, min(options.timeout, _PATIENCE_SECONDS))]
    silent = tuple(address for address in options.replicas if address not in answering)
    if options.replica_count < 2:
        return ReplicaPlan(addresses=options.replicas)
    if len(answering) >= options.replica_count:
        return ReplicaPlan(addresses=tuple(answering), silent=silent)
    count = options.replica_count
    needed = math.ceil(math.log(1 - options.replica_confidence) / math.log(1 - 1 / count))
    return ReplicaPlan(tuple(answering), silent, count, needed)


def _answers(address: Address, timeout: float) -> bool:
    try:
        socket.create_connection(address, timeout=timeout).close()
    except (OSError, UnicodeError):
        return False
    return True


def at(options: VerifyOptions, address: Address) -> VerifyOptions:
    """Return ``options`` for one replica's own ``address``."""
    target = dataclasses.replace(options.target, address=address, explicit_address=True)
    return dataclasses.replace(options, target=target, wait_for=0.0)


def named(cases: t.Iterable[Case], address: Address) -> list[Case]:
    """Return the ``cases`` of one replica under names that say so."""
    place = place_of(address)
    return [dataclasses.replace(case, name=f"replica {place}: {case.name}", replica=place) for case in cases]


def try_again(
    inspection: Inspection,
    refusals: t.Sequence[Refusal],
    offers: t.Sequence[TlsOffer],
    cases: t.Sequence[Case],
    plan: ReplicaPlan,
    *,
    workload_jobs: t.Iterable[t.Callable[[], list[Case]]] = (),
) -> list[Case]:
    """Repeat what decides about a replica: the good client, who must not get in, forged headers, and workloads.

    What the first round (``cases``) could not try is not tried again.
    """
    options = inspection.options
    jobs = [*workload_jobs]
    usual = [offer for offer in offers if offer.is_plain][-1:]
    if "MV-23" in options.checks:
        jobs.append(functools.partial(_try_good, inspection))
    jobs += [
        functools.partial(try_refusal, inspection, refusal, usual) for refusal in refusals if _was_tried(refusal, cases)
    ]
    if "MV-41" in options.checks:
        jobs.append(functools.partial(headers.try_forgeries, inspection, lambda: options.client))
    with ThreadPoolExecutor(max_workers=options.concurrency) as pool:
        rounds = [pool.submit(job) for job in jobs for _round in range(plan.connections)]
        found = [case for round_ in rounds for case in round_.result()]
    return _worst_of_each(found)


def _try_good(inspection: Inspection) -> list[Case]:
    observation = inspection.attempt(inspection.options.client)
    outcome, text = check_acceptance(observation, expect_status=inspection.options.expect_status)
    return [Case("MV-23", inspection.options.client.name, outcome, text, observation.evidence())]


def _was_tried(refusal: Refusal, cases: t.Sequence[Case]) -> bool:
    return any(
        case.check == refusal.check and case.name.startswith(refusal.name) and case.outcome is not Outcome.SKIPPED
        for case in cases
    )


def _worst_of_each(cases: t.Sequence[Case]) -> list[Case]:
    """Return one case for each name: the worst, with the number of connections that it stands for."""
    by_name: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        by_name.setdefault((case.check, case.name), []).append(case)
    found = []
    for same in by_name.values():
        worst = min(same, key=lambda case: RANK[case.outcome])
        alike = sum(case.outcome is worst.outcome for case in same)
        share = "" if alike == len(same) else f" ({alike} of {len(same)} times)"
        name = f"{worst.name}, {len(same)} fresh connections"
        found.append(dataclasses.replace(worst, name=name, observed=worst.observed + share))
    return found
