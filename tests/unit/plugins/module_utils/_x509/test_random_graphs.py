# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The path builder against a search that tries everything, on random heaps of authorities."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import typing as t

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import build
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy
from ansible_collections.kyma.mtls.tests.limbo import zoo

GRAPHS = int(os.environ.get("KYMA_MTLS_GRAPHS", "300"))
BATCHES = 10


@dataclasses.dataclass(frozen=True)
class World:
    end: zoo.Made
    pool: list[zoo.Made]
    roots: list[zoo.Made]


def random_world(dice: random.Random) -> World:
    """A few names, more keys than names (re-keys), certificates of everyone by anyone, many of them defective."""
    names = [f"CA {number}" for number in range(dice.randint(2, 4))]
    authorities = [
        zoo.make(dice.choice(names), own_key=zoo.key(f"graph {number}"), path_length=dice.choice([None, None, 0, 2]))
        for number in range(dice.randint(3, 6))
    ]
    roots = dice.sample(authorities, dice.randint(1, 2))
    pool = []
    for _number in range(dice.randint(2, 9)):
        holder, issuer = dice.choice(authorities), dice.choice(authorities)
        ca = dice.random() > 0.05
        pool.append(
            zoo.make(
                holder.certificate.subject,
                issuer=issuer,
                own_key=holder.key,
                ca=ca,
                days=dice.choice([(-9, 9), (-9, 9), (-9, 9), (-9, 90), (-9, -1), (1, 9)]),
                path_length=dice.choice([None, None, None, 0, 1]) if ca else None,
                excluded=dice.choice([None, None, None, None, ["DNS:leaf.example"], ["DNS:other.example"]])
                if ca
                else None,
                without=dice.choice([(), (), ("ski",), ("aki",)]),
                sans=(),
            )
        )
    return World(zoo.leaf(dice.choice(authorities)), [*pool, *authorities], roots)


def shortest_by_trying_everything(world: World) -> int | None:
    """The number of certificates in the shortest valid path, found without any cleverness; None when there is none."""
    anchors = {one.certificate for one in world.roots}
    everyone = list(dict.fromkeys([one.certificate for one in world.pool]))
    issuers = {
        one: [other for other in everyone if other != one and signed(one, other)]
        for one in [world.end.certificate, *everyone]
    }
    best: int | None = None
    stack: list[tuple[x509.Certificate, ...]] = [(world.end.certificate,)]
    while stack:
        path = stack.pop()
        if best is not None and len(path) >= best:
            continue
        for issuer in issuers[path[-1]]:
            if issuer in path:
                continue
            longer = (*path, issuer)
            if issuer in anchors and valid(longer) and (best is None or len(longer) < best):
                best = len(longer)
            stack.append(longer)
    return best


def signed(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def valid(path: t.Sequence[x509.Certificate]) -> bool:
    """From the anchor down, as RFC 5280 section 6.1 goes."""
    allowed = len(path)
    for position in range(len(path) - 1, -1, -1):
        cert = path[position]
        if not cert.not_valid_before_utc <= zoo.NOW <= cert.not_valid_after_utc:
            return False
        if position == 0:
            return True
        if position < len(path) - 1 and cert.subject != cert.issuer:
            if allowed == 0:
                return False
            allowed -= 1
        extensions = cert.extensions
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
        if not basic.ca:
            return False
        if basic.path_length is not None:
            allowed = min(allowed, basic.path_length)
        for one in extensions:
            if isinstance(one.value, x509.NameConstraints) and x509.DNSName("leaf.example") in (
                one.value.excluded_subtrees or []
            ):
                return False
    return True


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_builder_finds_what_an_exhaustive_search_finds(batch):
    for number in range(batch * GRAPHS // BATCHES, (batch + 1) * GRAPHS // BATCHES):
        dice = random.Random(f"graph {number}")  # noqa: S311  (no secret)
        world = random_world(dice)
        wanted = shortest_by_trying_everything(world)
        chains = set()
        for _order in range(2):
            dice.shuffle(world.pool)
            outcome = build.build(
                world.end.certificate,
                candidates=[one.certificate for one in world.pool],
                roots=[one.certificate for one in world.roots],
                policy=Policy(now=zoo.NOW),
            )
            assert not outcome.stopped_by, f"graph {number}"
            chains.add(outcome.chain)
        assert len(chains) == 1, f"graph {number}: the order of the input changed the chain"
        chain = chains.pop()
        assert (len(chain) or None) == wanted, f"graph {number}"
        if chain:
            assert valid(chain), f"graph {number}"
            assert all(signed(one, other) for one, other in itertools.pairwise(chain)), f"graph {number}"
