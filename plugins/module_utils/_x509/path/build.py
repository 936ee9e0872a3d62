# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The path builder: the shortest valid chain from a leaf to a trust anchor (RFC 4158, RFC 5280 section 6).

The search goes breadth first: all valid paths of one certificate, then of two, and so on, so the first that ends in an
anchor is a shortest one, and the search ends when no path can be made longer. What keeps it small: of two paths that
reach one authority (name and key), the second is dropped when it has no fewer intermediates and when every CA whose
name constraints forbid a name in the first forbids one in the second, for whatever completes the second also completes
the first.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import constraints, explain, rules, signature
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert, as_cert
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.crl import RevocationLists
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.graph import (
    Authority,
    Budget,
    Graph,
    LimitReachedError,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.profiles import policies

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

    _Path: t.TypeAlias = tuple[Cert, ...]

_NAME_CONSTRAINTS = bytes.fromhex("0603551d1e")
_POLICY_CONSTRAINTS = bytes.fromhex("0603551d24")
_SPARE_CHECKS = 64
_MAX_EXPLAINED = 200
_PASSED_OVER = "it is usable, but the chain does without it: another is shorter or ranks before it"
_NOT_TRIED = "it was not tried: the chain was complete without it"


class Rejected(t.NamedTuple):
    """A candidate that was considered and is not in the chain, and why not, as a clause."""

    certificate: x509.Certificate
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathSearch:
    """What the search found: a chain (leaf first, anchor last), or the problem in words."""

    chain: tuple[x509.Certificate, ...] = ()
    problem: str = ""
    rejected: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = ()
    stopped_by: str = ""


def build(
    leaf: x509.Certificate,
    *,
    candidates: t.Iterable[x509.Certificate],
    roots: t.Iterable[x509.Certificate],
    policy: Policy,
) -> PathSearch:
    """Find the shortest valid chain from ``leaf`` to one of ``roots`` over ``candidates``; never raises for bad input.

    The outcome depends on the sets of certificates only, never on their order.
    """
    start = as_cert(leaf)
    if isinstance(start, str):
        return PathSearch(problem=f"The certificate {describe.label(leaf)} is refused: {start}.")
    problems = rules.leaf_problems(start, policy)
    if problems:
        return PathSearch(
            problem=f"The certificate {start.label} is refused: {'; '.join(problems)}. "
            "Use another certificate, or have this one reissued without that."
        )
    damaged: list[Rejected] = []
    anchors, intermediates = _sorted_out(roots, candidates, policy, damaged)
    return _Search(start, anchors, intermediates, policy).run(damaged)


def _sorted_out(
    roots: t.Iterable[x509.Certificate],
    candidates: t.Iterable[x509.Certificate],
    policy: Policy,
    damaged: list[Rejected],
) -> tuple[list[Cert], list[Cert]]:
    """Parse and de-duplicate; a root that did not sign itself is an anchor only where partial chains are allowed."""
    anchors: dict[Cert, None] = {}
    intermediates: dict[Cert, None] = {}
    for certificate in roots:
        cert = as_cert(certificate)
        if isinstance(cert, str):
            damaged.append(Rejected(certificate, cert))
        elif policy.allow_partial or cert.self_issued:
            anchors[cert] = None
        else:
            intermediates[cert] = None
    for certificate in candidates:
        cert = as_cert(certificate)
        if isinstance(cert, str):
            damaged.append(Rejected(certificate, cert))
        elif cert not in anchors:
            intermediates[cert] = None
    return list(anchors), list(intermediates)


class _Search:
    def __init__(self, leaf: Cert, anchors: list[Cert], intermediates: list[Cert], policy: Policy) -> None:
        limits = policy.limits
        budget = Budget(signatures=limits.signatures, steps=limits.steps)
        self._leaf = leaf
        self._policy = policy
        self._budget = budget
        self._anchor_set = frozenset(anchors)
        self._anchors = Graph(anchors, policy=policy, budget=budget, anchors=True)
        self._intermediates = Graph(intermediates, policy=policy, budget=budget, anchors=False)
        self._crls = RevocationLists(policy)
        self._length = limits.length
        everything = [leaf, *anchors, *intermediates]
        self._constrained = [cert for cert in everything if _NAME_CONSTRAINTS in cert.der]
        self._policies_matter = any(_POLICY_CONSTRAINTS in cert.der for cert in everything)
        self._visited: dict[t.Hashable, list[_Path]] = {}
        self._extended: set[Cert] = set()
        self._refusals: dict[tuple[Cert, bytes], str | None] = {}
        self._violations: dict[tuple[Cert, Cert], str | None] = {}
        self._forbidden: dict[Cert, int] = {}
        self._path_rejections: dict[Cert, str] = {}

    def run(self, damaged: list[Rejected]) -> PathSearch:
        try:
            path = self._find()
        except LimitReachedError as exc:
            return self._failure(damaged, stopped_by=str(exc))
        if path is None:
            return self._failure(damaged, stopped_by="")
        self._look_around(path)
        return PathSearch(
            chain=tuple(cert.certificate for cert in path),
            rejected=self._rejected(damaged, path),
            warnings=self._warnings(path),
        )

    def _find(self) -> _Path | None:
        if self._leaf in self._anchor_set and self._is_trusted_itself():
            return (self._leaf,)
        weak = signature.weakness(self._leaf.certificate)
        if weak:
            self._path_rejections[self._leaf] = weak
            return None
        return self._search()

    def _search(self) -> _Path | None:
        paths: list[_Path] = [(self._leaf,)]
        chain = self._anchored(paths[0])
        length = 1
        while paths and chain is None:
            if length == self._length:
                raise LimitReachedError(f"chains of more than {self._length + 1} certificates are not followed")
            longer: list[_Path] = []
            for path in itertools.chain.from_iterable(map(self._extend, paths)):
                chain = self._anchored(path)
                if chain is not None:
                    break
                longer.append(path)
            paths, length = longer, length + 1
        return chain

    def _is_trusted_itself(self) -> bool:
        if not self._leaf.self_issued:
            return True  # an anchor by allow_partial
        return self._leaf.signature.problem(self._leaf.key) is None

    def _anchored(self, path: _Path) -> _Path | None:
        """Return ``path`` with the first anchor that may end it, or None."""
        for authority in self._anchors.issuers(path[-1]):
            for anchor in authority.certs:
                if self._admits(path, anchor, anchor=True):
                    return (*path, anchor)
        return None

    def _extend(self, path: _Path) -> t.Iterator[_Path]:
        """Yield ``path`` with each intermediate that may issue it, unless the authority was reached as well before."""
        self._extended.add(path[-1])
        for authority in self._intermediates.issuers(path[-1]):
            if self._is_dominated(path, authority):
                continue
            for cert in authority.certs:
                if cert not in path and self._admits(path, cert, anchor=False):
                    yield (*path, cert)

    def _is_dominated(self, path: _Path, authority: Authority) -> bool:
        """Whether a path that came to ``authority`` before this one leads at least as far; if not, keep this one."""
        key: tuple[t.Hashable, ...] = (authority.entity,)
        if self._policy.crls or self._policy.require_crl:
            key += (path[-1],)  # whether it is revoked depends on the issuer's certificate
        if self._policies_matter:
            if any(cert.entity == authority.entity for cert in path[1:]):
                return True
            key += tuple(map(policies.facts, path))
        earlier = self._visited.setdefault(key, [])
        self._budget.spend_steps(1 + len(earlier))
        if any(self._leads_as_far(other, path) for other in earlier):
            return True
        earlier.append(path)
        return False

    def _leads_as_far(self, one: _Path, other: _Path) -> bool:
        if _intermediates_in(one) > _intermediates_in(other):
            return False
        return not self._constrained or not self._forbidding(one) & ~self._forbidding(other)

    def _forbidding(self, path: _Path) -> int:
        """Which of the CAs with name constraints forbid a name in ``path``, as a set of bits."""
        found = 0
        for position, cert in enumerate(path):
            if position and cert.self_issued:
                continue  # RFC 5280 section 6.1.3 (b)
            if cert not in self._forbidden:
                self._budget.spend_steps(len(self._constrained))
                self._forbidden[cert] = sum(
                    1 << number
                    for number, authority in enumerate(self._constrained)
                    if self._violation(authority, cert) is not None
                )
            found |= self._forbidden[cert]
        return found

    def _admits(self, path: _Path, cert: Cert, *, anchor: bool) -> bool:
        """Whether ``cert`` may issue the path as it stands: path length, name constraints, revocation, policies."""
        self._budget.spend_steps(1)
        problem = self._path_problem(path, cert, anchor=anchor)
        if problem is None and anchor:
            problem = policies.problem((*path, cert))
        if problem is not None:
            self._path_rejections[cert] = problem
        return problem is None

    def _path_problem(self, path: _Path, cert: Cert, *, anchor: bool) -> str | None:
        below = _intermediates_in(path)
        if not anchor and below + (not cert.self_issued) > self._policy.max_depth:
            return f"a chain through it would have more than {self._policy.max_depth} intermediates (max_depth)"
        allowed = cert.path_length
        if allowed is not None and below > allowed:
            return f"its path length constraint allows {allowed} intermediates below it, here are {below}"
        refusal = self._link_refusal(path[-1], cert)
        if refusal is not None:
            self._path_rejections[path[-1]] = refusal
            return f"{explain.REFUSED_BELOW}, {path[-1].label}, is refused: {refusal}"
        for position, above in enumerate(path):
            if position and above.self_issued:
                continue  # RFC 5280 section 6.1.3 (b)
            violation = self._violation(cert, above)
            if violation is not None:
                return violation
        return None

    def _link_refusal(self, child: Cert, issuer: Cert) -> str | None:
        key = (child, issuer.der)
        if key not in self._refusals:
            self._refusals[key] = self._crls.problem(child, issuer)
        return self._refusals[key]

    def _violation(self, authority: Cert, cert: Cert) -> str | None:
        key = (authority, cert)
        if key not in self._violations:
            self._violations[key] = constraints.violation(authority, cert)
        return self._violations[key]

    def _warnings(self, path: _Path) -> tuple[str, ...]:
        found = [f"{self._leaf.label}: {remark}." for remark in rules.leaf_remarks(self._leaf, self._policy)]
        for cert in path[1:]:
            found += [f"{cert.label}: {remark}." for remark in rules.authority_remarks(cert)]
        return tuple(found)

    def _rejected(self, damaged: list[Rejected], path: t.Sequence[Cert]) -> tuple[Rejected, ...]:
        reasons = self._reasons()
        for child in path[:-1]:
            for graph in (self._anchors, self._intermediates):
                for cert in [parent for parent in graph.named(child.issuer) if parent not in reasons]:
                    reasons[cert] = _PASSED_OVER if graph.signed(child, cert) else _NOT_TRIED
        for cert in path:
            reasons.pop(cert, None)
        ordered = sorted(reasons.items(), key=lambda pair: pair[0].fingerprint)
        return (*damaged, *(Rejected(cert.certificate, reason) for cert, reason in ordered))

    def _reasons(self) -> dict[Cert, str]:
        return {**self._intermediates.rejected, **self._anchors.rejected, **self._path_rejections}

    def _look_around(self, path: t.Sequence[Cert]) -> None:
        """Judge the alternatives that the search had no need to try, as far as a small budget goes."""
        self._budget.refill(_SPARE_CHECKS)
        with contextlib.suppress(LimitReachedError):
            for child in path[:-1]:
                for graph in (self._anchors, self._intermediates):
                    for _authority in graph.issuers(child):
                        pass

    def _failure(self, damaged: list[Rejected], *, stopped_by: str) -> PathSearch:
        problem = explain.failure_text(
            self._leaf,
            links=self._missing_links(),
            reasons=self._reasons(),
            path_reasons=self._path_rejections,
            stopped_by=stopped_by,
        )
        return PathSearch(problem=problem, rejected=self._rejected(damaged, ()), stopped_by=stopped_by)

    def _missing_links(self) -> list[explain.MissingLink]:
        """The certificates above the leaf, and the leaf, whose issuer is missing, or is a root that does not fit."""
        links: list[explain.MissingLink] = []
        queue, seen = collections.deque([self._leaf]), {self._leaf}
        while queue and len(seen) < _MAX_EXPLAINED:
            cert = queue.popleft()
            anchors, intermediates = self._anchors.found(cert), self._intermediates.found(cert)
            above = [*anchors, *intermediates]
            only_itself = cert.self_issued and all(cert in authority.certs for authority in above)
            unfit_roots = [issuer for issuer in self._anchors.named(cert.issuer) if issuer in self._anchors.rejected]
            if cert in self._extended and (not above or only_itself or (unfit_roots and not anchors)):
                links.append(explain.MissingLink(cert, (*unfit_roots, *self._intermediates.named(cert.issuer))))
            fresh = {issuer: None for authority in intermediates for issuer in authority.certs if issuer not in seen}
            seen.update(fresh)
            queue.extend(fresh)
        return links


def _intermediates_in(path: _Path) -> int:
    """How many of the path's authorities count against a path length: RFC 5280 section 6.1.4 (l)."""
    return sum(1 for cert in path[1:] if not cert.self_issued)
