# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The matrix: what is tried concurrently, between a first and a last connection of the good client that succeed."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import (
    bypasses,
    headers,
    listed_clients,
    names,
    plain_http,
    refusals,
    server_ca,
    session,
    workloads,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import OF_WORKLOADS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_2

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Response
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities

Job: t.TypeAlias = "t.Callable[[], list[Case]]"


@dataclass(frozen=True)
class Matrix:
    """What the jobs need to know of the server, which the good client has found out.

    ``leaf`` is the certificate that it verified, ``reference`` what it got. It is served in ``offers``, and not in
    ``unserved_offers``. ``problem`` is why throw-away identities of the client CA prove nothing, "" when they do.
    ``other_names`` are those of other sites at the same address.
    """

    inspection: Inspection
    throw_away: ThrowAwayIdentities
    chain: tuple[x509.Certificate, ...]
    leaf: bytes | None
    reference: Response | None
    versions: t.Sequence[str]
    offers: t.Sequence[TlsOffer]
    unserved_offers: t.Sequence[TlsOffer]
    problem: str
    other_names: t.Sequence[str] = ()

    def jobs(self) -> t.Iterator[Job]:
        """Yield what is tried side by side: first what a server may keep waiting, then the many short ones."""
        inspection, throw_away = self.inspection, self.throw_away
        offers = [offer for offer in self.offers if not offer.is_rare]
        yield from self._header_jobs()
        if self._selected("MV-50", "MV-51"):
            yield functools.partial(names.try_wrong_names, inspection)
        if self._selected("MV-06"):
            yield functools.partial(plain_http.try_plain_http, inspection, self.reference)
        if self._selected("MV-24"):
            yield functools.partial(bypasses.try_bypasses, inspection)
        if self._selected("MV-05"):
            for version in self.versions:
                yield functools.partial(session.try_resumption, inspection, throw_away, version, self.other_names)
        if self._selected("MV-22"):
            yield functools.partial(server_ca.try_server_ca, inspection, throw_away, self.chain, offers)
        if self._selected("MV-31", "MV-32") and not self.problem and offers:
            yield functools.partial(refusals.try_intermediate, inspection, throw_away, offers)
        yield from self._refusal_jobs(offers)
        if self._selected(*OF_WORKLOADS):
            for workload in inspection.options.workloads:
                yield functools.partial(workloads.try_workload, inspection, workload, throw_away, self.offers)
        for client in inspection.options.clients:
            if client.expect == "accepted" and client.name not in inspection.options.denied_clients:
                yield functools.partial(listed_clients.try_client, inspection, client, self.leaf)

    def _header_jobs(self) -> t.Iterator[Job]:
        inspection, throw_away = self.inspection, self.throw_away
        own: list[t.Callable[[], Identity | None]] = [lambda: inspection.options.client, lambda: None]
        twins = [] if self.problem else [throw_away.with_uri, throw_away.without_uri, throw_away.without_subject]
        if self._selected("MV-41"):
            if inspection.offer != HTTP_2:
                yield from (functools.partial(headers.try_forgeries, inspection, make, HTTP_2) for make in own)
            yield from (functools.partial(headers.try_forgeries, inspection, make) for make in (*own, *twins))
            others = [offer for offer in self.offers if not offer.is_plain and not offer.is_rare]
            yield from (functools.partial(headers.try_forgeries_in, inspection, offer) for offer in others)
        if self._selected("MV-40"):
            yield from (functools.partial(headers.try_test_identity, inspection, make) for make in twins)
        if self._selected("MV-42") and not self.problem:
            yield functools.partial(headers.try_oversized_identity, inspection, throw_away)

    def _refusal_jobs(self, offers: t.Sequence[TlsOffer]) -> t.Iterator[Job]:
        inspection = self.inspection
        for refusal in refusals.all_refusals(self.throw_away, inspection.options):
            if not self._selected(*refusal.selectors) or (refusal.is_throw_away and self.problem):
                continue
            tried_offers = self.offers if refusal.is_basic else offers
            yield functools.partial(refusals.try_refusal, inspection, refusal, tried_offers)
            for offer in self.unserved_offers if refusal.is_basic else ():
                yield functools.partial(refusals.try_where_unserved, inspection, refusal, offer)

    def _selected(self, *checks: str) -> bool:
        return not self.inspection.options.checks.isdisjoint(checks)
