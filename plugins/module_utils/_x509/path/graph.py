# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who issued whom: the candidates as a graph whose edges are signatures, checked only when asked for.

Authorities are (name, key) pairs. Any number of certificates may speak for one authority, and each certificate
was issued by one authority, so a flood of certificates stays a small graph.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import rules, signature

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert, Entity
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy


# Beyond so many keys of one name, to recover the key from the signature costs less than to try them.
_MANY_KEYS = 256


class LimitReachedError(Exception):
    """The search was stopped by one of its bounds; the text says by which."""


@dataclasses.dataclass(frozen=True)
class Authority:
    """A name and a key, and the usable certificates that speak for them, best first."""

    entity: Entity
    certs: tuple[Cert, ...]


class _Issuers:
    """The authorities that signed one certificate, found one after the other."""

    def __init__(self, untried: list[list[Cert]]) -> None:
        self.untried = untried
        self.position = 0
        self.found: list[Authority] = []


class Graph:
    """The pool of one kind (anchors, or intermediates), indexed by subject."""

    def __init__(self, pool: t.Iterable[Cert], *, policy: Policy, budget: Budget, anchors: bool) -> None:
        self._policy = policy
        self._budget = budget
        self._anchors = anchors
        self._by_subject: dict[names.CanonicalName, dict[bytes, list[Cert]]] = {}
        for cert in pool:
            self._by_subject.setdefault(cert.subject, {}).setdefault(cert.parts.spki, []).append(cert)
        self._issuers: dict[Cert, _Issuers] = {}
        self._members: dict[Entity, tuple[Cert, ...]] = {}
        self.rejected: dict[Cert, str] = {}

    def named(self, name: names.CanonicalName) -> list[Cert]:
        """Return every certificate of the pool with that subject, in the order of their fingerprints."""
        found = [cert for certs in self._by_subject.get(name, {}).values() for cert in certs]
        return sorted(found, key=lambda cert: cert.fingerprint)

    def issuers(self, child: Cert) -> t.Iterator[Authority]:
        """Yield the authorities whose key made the signature on ``child`` and that may be an issuer, best first."""
        state = self._issuers.get(child)
        if state is None:
            state = self._issuers[child] = _Issuers(self._ranked(child))
        index = 0
        while True:
            while index < len(state.found):
                yield state.found[index]
                index += 1
            if state.position == len(state.untried):
                return
            group = state.untried[state.position]
            state.position += 1
            authority = self._examine(child, group)
            if authority is not None:
                state.found.append(authority)

    def found(self, child: Cert) -> tuple[Authority, ...]:
        """Return the authorities that :meth:`issuers` has yielded for ``child`` so far."""
        state = self._issuers.get(child)
        return tuple(state.found) if state is not None else ()

    def signed(self, child: Cert, cert: Cert) -> bool:
        """Whether ``cert`` is known to speak for an authority that signed ``child``."""
        return any(authority.entity == cert.entity for authority in self.found(child))

    def _ranked(self, child: Cert) -> list[list[Cert]]:
        """The groups with the issuer's name, one a key, in an order that depends on their content only."""
        groups = list(self._by_subject.get(child.issuer, {}).values())
        if len(groups) > 1:
            groups.sort(key=lambda group: min([self._rank(child, cert) for cert in group]))
        if len(groups) > _MANY_KEYS and (points := child.signature.possible_keys()):
            size = len(next(iter(points)))
            groups.sort(key=lambda group: group[0].parts.spki[-size:] not in points)
        return groups

    def _rank(self, child: Cert, cert: Cert) -> tuple[int, bool, float, str]:
        """Likeliest first: key identifiers, validity now, the later expiry; the fingerprint breaks ties."""
        expected = child.authority_key_id
        own = None if expected is None else cert.subject_key_id
        likeness = 1 if own is None else (0 if expected == own else 2)
        valid = cert.not_before <= self._policy.now <= cert.not_after
        return likeness, not valid, -cert.not_after.timestamp(), cert.fingerprint

    def _examine(self, child: Cert, group: list[Cert]) -> Authority | None:
        first = group[0]
        key = first.key
        self._budget.spend_signatures(signature.cost(key))
        problem = child.signature.problem(key)
        if problem:
            reason = f"{problem} on {child.label}"
            for cert in group:
                self.rejected.setdefault(cert, reason)
            return None
        certs = self._usable(group)
        return Authority(first.entity, certs) if certs else None

    def _usable(self, group: list[Cert]) -> tuple[Cert, ...]:
        entity = group[0].entity
        if entity not in self._members:
            good = []
            for cert in group:
                self._budget.spend_steps(1)
                problem = rules.authority_problem(cert, self._policy, anchor=self._anchors)
                if not problem and not self._anchors:  # nobody relies on an anchor's own signature
                    problem = signature.weakness(cert.certificate)
                if problem:
                    self.rejected[cert] = problem
                else:
                    good.append(cert)
            good.sort(key=lambda cert: (-cert.not_after.timestamp(), cert.fingerprint))
            self._members[entity] = tuple(good)
        return self._members[entity]


class Budget:
    """What is left of the search's limits."""

    def __init__(self, *, signatures: int, steps: int) -> None:
        self._limits = (signatures, steps)
        self._signatures = signatures
        self._steps = steps

    def refill(self, number: int) -> None:
        """Leave ``number`` signature checks and a hundred times as many steps, whatever was spent."""
        self._signatures, self._steps = number, number * 100

    def spend_signatures(self, number: int) -> None:
        self._signatures -= number
        if self._signatures < 0:
            raise LimitReachedError(f"the limit of {self._limits[0]} signature checks was reached")

    def spend_steps(self, number: int) -> None:
        self._steps -= number
        if self._steps < 0:
            raise LimitReachedError(f"the limit of {self._limits[1]} steps of the path search was reached")
