# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who reaches which workload (MV-70, MV-71), and what it reads about them (MV-72).

A refusal counts where a client that may pass is served: by the same workload, under the same host and path.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import (
    grants,
    headers,
    plain_http,
    without_certificate,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.path_inspection import (
    SERVED,
    PathInspection,
    at_host,
    check_served,
    denied_case,
    name_of,
    try_disguises,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.refusals import all_refusals, try_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_2
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import (
        PathUnderTest,
        WorkloadUnderTest,
    )
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection, VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities

NOBODY_AT_HAND = "no client that may pass is at hand"
ONLY_CHANGING = "its methods may change something, so nobody was tried. Name those that may be sent (send_methods)"
UNSENT = "not tried with {methods}, which allow holds for as well. Name those that may be sent (send_methods)"
TAKEN = "an earlier path decides about {sample}; give the path a sample of its own"
UNPROVABLE = (
    "not provable here: the workload does not report the headers of a request. Have it report them as JSON and name "
    "the place (identity_path), return each in a header of its answer (identity_answer_prefix), or on the platform "
    "local have Envoy log them (identity_log)"
)
# In every way and in every disguise only so many: to the policy, one is like the other.
_DISGUISED = 2
_UNAUTHENTICATED = frozenset({"MV-24", "MV-25"})
_UNAUTHENTICATED_ELSEWHERE = _UNAUTHENTICATED | {"MV-26"}
_UNMAKEABLE: tuple[type[Exception], ...] = (MtlsError, *PARSE_ERRORS)


def try_workload(
    inspection: Inspection,
    workload: WorkloadUnderTest,
    throw_away: ThrowAwayIdentities,
    offers: t.Sequence[TlsOffer],
    *,
    is_brief: bool = False,
) -> list[Case]:
    """Try the workload's paths with clients that may pass, and with all others.

    ``is_brief``: only who may pass and who may not, plainly. That is repeated for gateways with several replicas.
    """
    cases = [] if is_brief else _try_unauthenticated(inspection, workload, throw_away, offers)
    served: list[tuple[PathInspection, Identity | None]] = []
    open_paths: list[tuple[PathInspection, Identity | None]] = []
    for path in workload.paths:
        at = at_host(inspection, workload, path)
        tested = PathInspection(at, workload, path, neighbour=inspection.target.host, is_brief=is_brief)
        if path.method and path.allow is not None and path.untried_methods:
            text = UNSENT.format(methods=", ".join(path.untried_methods))
            cases.append(tested.case("MV-71", "other methods", Outcome.SKIPPED, text))
        if not path.method or path.is_taken:
            text = TAKEN.format(sample=path.sample) if path.is_taken else ONLY_CHANGING
            cases += [tested.case(check, "clients", Outcome.SKIPPED, text) for check in ("MV-70", "MV-71")]
            continue
        control = None
        if path.jwt is None:
            found, control = _try_path(tested, throw_away)
            cases += found
        found, open_path = without_certificate.try_without_certificate(tested, control, _clients(inspection.options))
        cases += found
        served += [(tested, control)] if control else []
        open_paths += [(open_path, None)] if open_path else []
    # One path says what the workload reads; of a client without a certificate, another may.
    for tested, client in () if is_brief else (*served[:1], *open_paths[:1]):
        cases += [*_try_identity(tested, client), *_try_port_80(tested, client)]
    return [case for case in cases if case.check in inspection.options.checks]


def _try_unauthenticated(
    inspection: Inspection, workload: WorkloadUnderTest, throw_away: ThrowAwayIdentities, offers: t.Sequence[TlsOffer]
) -> list[Case]:
    """A host of its own may have TLS settings of its own: no certificate, one of another CA, and forged ones."""
    at = at_host(inspection, workload, workload.paths[0])
    strangers = _UNAUTHENTICATED_ELSEWHERE if workload.host != inspection.target.host else _UNAUTHENTICATED
    found = [
        dataclasses.replace(refusal, name=f"{refusal.name}, {workload.host}")
        for refusal in all_refusals(throw_away, inspection.options)
        if refusal.check in strangers & inspection.options.checks
    ]
    plain = [offer for offer in offers if offer.is_plain]
    return [case for refusal in found for case in try_refusal(at, refusal, plain)]


def _clients(options: VerifyOptions) -> list[Identity]:
    listed = [client.identity for client in options.clients if client.identity and client.expect == "accepted"]
    return [dataclasses.replace(options.client, name=options.client_name or options.client.name), *listed]


def _try_path(tested: PathInspection, throw_away: ThrowAwayIdentities) -> tuple[list[Case], Identity | None]:
    """Return the cases, and a client that is served."""
    clients = _clients(tested.inspection.options)
    admitted = [client for client in clients if tested.path.admits(client.certificate)]
    denied_clients = [client for client in clients if not tested.path.admits(client.certificate)]
    cases, control = _try_admitted(tested, admitted or list(made_to_be_allowed(tested.path, throw_away)))
    if tested.path.allow is None:
        return [
            *cases,
            tested.case("MV-71", "clients", Outcome.SKIPPED, "every client of the client CA may pass"),
        ], control
    if control is None:
        text = f"{cases[-1].observed}, so a refusal would prove nothing"
        names = [name_of(client) for client in denied_clients] or ["clients"]
        return [*cases, *(tested.case("MV-71", name, Outcome.SKIPPED, text) for name in names)], None
    others = [*denied_clients, *_near_miss_clients(tested.path, throw_away)]
    cases += [denied_case(tested, "MV-71", name_of(client), tested.inspection.attempt(client)) for client in others]
    for client in others[:_DISGUISED]:
        cases += try_disguises(tested, client, control)
    return _close_bracket(tested, cases, control), control


def _try_admitted(tested: PathInspection, admitted: t.Sequence[Identity]) -> tuple[list[Case], Identity | None]:
    """Try those who may pass; return the first that is served, too."""
    if not admitted:
        return [tested.case("MV-70", "clients", Outcome.SKIPPED, NOBODY_AT_HAND)], None
    cases, control = [], None
    for client in admitted:
        observation = tested.inspection.attempt(client)
        outcome, text = check_served(observation)
        cases.append(tested.case("MV-70", name_of(client), outcome, text, observation))
        if control is None and outcome in SERVED:
            control = client
            tested.inspection.reference = observation.response.body if observation.response else b""
    return cases, control


def _close_bracket(tested: PathInspection, cases: list[Case], control: Identity) -> list[Case]:
    """Who may pass must still be served: only then do the refusals between count."""
    observation = tested.inspection.attempt(control)
    outcome, text = check_served(observation)
    after = tested.case("MV-70", f"{name_of(control)}, after all others", outcome, text, observation)
    if outcome in SERVED:
        return [*cases, after]
    return [
        *(
            dataclasses.replace(case, outcome=Outcome.OUTAGE, observed=f"{case.observed}; not counted: {text}")
            if case.check == "MV-71" and case.outcome is Outcome.PASSED
            else case
            for case in cases
        ),
        after,
    ]


def made_to_be_allowed(path: PathUnderTest, throw_away: ThrowAwayIdentities) -> t.Iterator[Identity]:
    """Yield a throw-away client that may pass, for the first grant that one can be made for."""
    for grant in path.allow or ():
        try:
            made = throw_away.twin("made to pass", **grants.satisfying(grant))
        except _UNMAKEABLE:
            continue
        if path.admits(made.certificate):
            yield made
            return


def _near_miss_clients(path: PathUnderTest, throw_away: ThrowAwayIdentities) -> t.Iterator[Identity]:
    """Yield throw-away clients that only almost may pass."""
    for grant in path.allow or ():
        try:
            for name, changes in grants.near_misses(grant):
                made = throw_away.twin(f"with {name}", **changes)
                if not path.admits(made.certificate):
                    yield made
        except _UNMAKEABLE:
            continue


def _try_identity(tested: PathInspection, client: Identity | None) -> list[Case]:
    """MV-72: what the workload reads about a client, and about one that claims to be another."""
    name, options = f"{name_of(client)}, {tested.place}", tested.inspection.options
    observation = tested.inspection.attempt(client)
    if not headers.has_expected_headers(options):
        return [Case("MV-72", name, Outcome.SKIPPED, "no identity header is configured: nothing is claimed")]
    if headers.echo_of(tested.inspection, observation) is None:
        text = f"not provable here: {headers.unreported(options)}" if options.identity_log else UNPROVABLE
        return [Case("MV-72", name, Outcome.SKIPPED, text, observation.evidence())]
    inspection = tested.inspection.like(
        dataclasses.replace(options, expect_status=frozenset({observation.status or 0})),
        reference=tested.inspection.reference,
    )
    cases = [headers.check_identity(inspection, observation, client, name_of(client))]
    for offer in dict.fromkeys((inspection.offer, HTTP_2)):
        cases += headers.try_forgeries(inspection, lambda: client, offer)
    return [dataclasses.replace(case, check="MV-72", name=f"{case.name}, {tested.place}") for case in cases]


def _try_port_80(tested: PathInspection, client: Identity | None) -> list[Case]:
    """MV-06 for a host of its own: what port 80 does for one host says nothing about another."""
    if tested.workload.host == tested.neighbour:
        return []
    observation = tested.inspection.attempt(client)
    served = dataclasses.replace(tested.inspection.options, expect_status=frozenset({observation.status or 0}))
    cases = plain_http.try_port_80(tested.inspection.like(served), observation.response)
    return [dataclasses.replace(case, name=f"{case.name}, {tested.place}") for case in cases]
