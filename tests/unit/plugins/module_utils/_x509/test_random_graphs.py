# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The path builder against a search that tries everything, on random graphs of authorities full of refusals."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import typing as t

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import build
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy
from ansible_collections.kyma.mtls.tests.limbo import zoo

GRAPHS = int(os.environ.get("KYMA_MTLS_GRAPHS", "1000"))
BATCHES = 20
SAN = "leaf.example"

# How often a certificate of a CA has a defect, so that the near way is mostly refused and a longer one may be open.
DAYS = [(-9, 9), (-9, 9), (-9, 9), (-9, 90), (-9, 900), (-9, -1), (1, 9)]
PATH_LENGTHS = [None, None, None, 0, 1, 2]
USAGES = [None, None, None, None, [zoo.SERVER], [zoo.CLIENT]]


@dataclasses.dataclass(frozen=True)
class World:
    end: zoo.Made
    pool: list[zoo.Made]
    roots: list[zoo.Made]
    max_depth: int


def random_world(dice: random.Random) -> World:
    """Either a heap, in which anyone issues to anyone, or a long way with shortcuts that are mostly refused."""
    return random_heap(dice) if dice.random() < 0.4 else long_way(dice)


def random_heap(dice: random.Random) -> World:
    """A few names, more keys than names (re-keys), certificates of everyone by anyone, many of them defective."""
    names = [f"CA {number}" for number in range(dice.randint(2, 5))]
    authorities = random_authorities(dice, dice.randint(3, 7), names)
    pool = [
        random_authority(dice, dice.choice(authorities), dice.choice(authorities))
        for _number in range(dice.randint(3, 12))
    ]
    return World(
        end=zoo.leaf(dice.choice(authorities)),
        pool=[*pool, *authorities],
        roots=dice.sample(authorities, dice.randint(1, 2)),
        max_depth=dice.choice([8, 8, 8, 2, 3]),
    )


def long_way(dice: random.Random) -> World:
    """Each authority is certified by the next, and some, mostly in vain, by one that is nearer to a root."""
    count = dice.randint(4, 8)
    authorities = random_authorities(dice, count, [f"CA {number}" for number in range(count)])
    pool = [
        zoo.make(one.certificate.subject, issuer=above, own_key=one.key)
        for one, above in itertools.pairwise(authorities)
        if dice.random() < 0.95
    ]
    for _number in range(dice.randint(2, 6)):
        lower, upper = sorted(dice.sample(range(count), 2))
        pool.append(random_authority(dice, authorities[lower], authorities[upper]))
    # Some go back, so that there are circles.
    pool += [random_authority(dice, *dice.sample(authorities, 2)) for _number in range(dice.randint(0, 2))]
    return World(
        end=zoo.leaf(authorities[0]),
        pool=pool,
        roots=[authorities[-1], *dice.sample(authorities[1:], dice.choice([0, 0, 1]))],
        max_depth=dice.choice([8, 8, 8, 5]),
    )


def random_authorities(dice: random.Random, count: int, names: list[str]) -> list[zoo.Made]:
    return [
        zoo.make(dice.choice(names), own_key=zoo.key(f"graph {number}"), path_length=dice.choice([*[None] * 3, 0, 4]))
        for number in range(count)
    ]


def random_authority(dice: random.Random, holder: zoo.Made, issuer: zoo.Made) -> zoo.Made:
    if dice.random() < 0.05:
        return zoo.make(holder.certificate.subject, issuer=issuer, own_key=holder.key, ca=False)
    name = f"dir:CA {dice.randrange(5)}"
    return zoo.make(
        holder.certificate.subject,
        issuer=issuer,
        own_key=holder.key,
        days=dice.choice(DAYS),
        path_length=dice.choice(PATH_LENGTHS),
        excluded=dice.choice([*[None] * 5, [f"DNS:{SAN}"], ["DNS:other.example"], [name]]),
        permitted=dice.choice([*[None] * 8, ["DNS:example"], ["DNS:other.example"], [name]]),
        eku=dice.choice(USAGES),
        without=dice.choice([(), (), ("ski",), ("aki",)]),
    )


def shortest_by_trying_everything(world: World) -> int | None:
    """The number of certificates in the shortest valid path, found without any cleverness; None when there is none."""
    anchors = {one.certificate for one in world.roots}
    usable = [one for one in dict.fromkeys(one.certificate for one in [*world.pool, *world.roots]) if may_issue(one)]
    issuers = {
        one: [other for other in usable if other != one and signed(one, other)]
        for one in [world.end.certificate, *usable]
    }
    paths: list[tuple[x509.Certificate, ...]] = [(world.end.certificate,)]
    while paths:
        longer = [(*path, issuer) for path in paths for issuer in issuers[path[-1]] if issuer not in path]
        if any(path[-1] in anchors and valid(path, world.max_depth) for path in longer):
            return len(longer[0])
        paths = longer
    return None


def signed(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def may_issue(cert: x509.Certificate) -> bool:
    """What makes every path through the certificate invalid, wherever it stands there."""
    found = {one.oid: one.value for one in cert.extensions}
    usages = found.get(x509.ExtendedKeyUsage.oid)
    return (
        cert.not_valid_before_utc <= zoo.NOW <= cert.not_valid_after_utc
        and found[x509.BasicConstraints.oid].ca
        and (usages is None or ExtendedKeyUsageOID.SERVER_AUTH in usages)
    )


def valid(path: t.Sequence[x509.Certificate], max_depth: int) -> bool:
    """From the anchor down, as RFC 5280 section 6.1 goes."""
    allowed = len(path)
    permitted: list[list[x509.GeneralName]] = []
    excluded: list[x509.GeneralName] = []
    if sum(one.subject != one.issuer for one in path[1:-1]) > max_depth:
        return False
    for position in range(len(path) - 1, -1, -1):
        cert = path[position]
        inside = position < len(path) - 1
        self_issued = cert.subject == cert.issuer
        if inside and (position == 0 or not self_issued) and not allowed_names(cert, permitted, excluded):
            return False
        if position == 0:
            return True
        if inside and not self_issued:
            if allowed == 0:
                return False
            allowed -= 1
        for extension in cert.extensions:
            if isinstance(extension.value, x509.BasicConstraints) and extension.value.path_length is not None:
                allowed = min(allowed, extension.value.path_length)
            if isinstance(extension.value, x509.NameConstraints):
                permitted.append(list(extension.value.permitted_subtrees or ()))
                excluded += extension.value.excluded_subtrees or ()
    return False


def allowed_names(
    cert: x509.Certificate, permitted: list[list[x509.GeneralName]], excluded: list[x509.GeneralName]
) -> bool:
    own: list[x509.GeneralName] = [x509.DirectoryName(cert.subject)]
    if any(isinstance(one.value, x509.SubjectAlternativeName) for one in cert.extensions):
        own.append(x509.DNSName(SAN))
    for name in own:
        if any(is_below(name, tree) for tree in excluded):
            return False
        for trees in permitted:
            same_kind = [tree for tree in trees if type(tree) is type(name)]
            if same_kind and not any(is_below(name, tree) for tree in same_kind):
                return False
    return True


def is_below(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    """Every name here has one attribute, and no host is longer than a constraint's by a label that is cut."""
    if isinstance(name, x509.DNSName) and isinstance(tree, x509.DNSName):
        return name.value == tree.value or name.value.endswith(f".{tree.value}")
    return bool(name == tree)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_builder_finds_what_an_exhaustive_search_finds(batch):
    for number in range(batch * GRAPHS // BATCHES, (batch + 1) * GRAPHS // BATCHES):
        dice = random.Random(f"graph {number}")  # noqa: S311  (no secret)
        world = random_world(dice)
        expected = shortest_by_trying_everything(world)
        chains = set()
        for _order in range(2):
            dice.shuffle(world.pool)
            outcome = build.build(
                world.end.certificate,
                candidates=[one.certificate for one in world.pool],
                roots=[one.certificate for one in world.roots],
                policy=Policy(now=zoo.NOW, max_depth=world.max_depth),
            )
            assert not outcome.stopped_by, f"graph {number}"
            chains.add(outcome.chain)
        assert len(chains) == 1, f"graph {number}: the order of the input changed the chain"
        chain = chains.pop()
        assert (len(chain) or None) == expected, f"graph {number}"
        if chain:
            assert valid(chain, world.max_depth), f"graph {number}"
            assert all(signed(one, other) for one, other in itertools.pairwise(chain)), f"graph {number}"
