# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole verification: control, matrix, control; then the verdict."""

from __future__ import annotations

import dataclasses
import functools
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.kyma.mtls.plugins.module_utils._verify import without_url
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import (
    certificate_request,
    certificates,
    control,
    direct_access,
    headers,
    matrix,
    protocol,
    refusals,
    replicas,
    revocation,
    server_ca,
    variants,
    workloads,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import OF_WORKLOADS, REFUSALS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import MAXIMUM_NAMES, all_offers
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import (
    check_acceptance,
    is_served,
    is_version_not_spoken,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    Kind,
    Observation,
    place_of,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Facts, assemble

if t.TYPE_CHECKING:
    from concurrent.futures import Future

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

NOT_BRACKETED = "the good client is not accepted, so a refusal would prove nothing"
ONLY_TOGETHER = "it is served when it offers both TLS versions, and in neither alone: no refusal could be tried"


def verify(options: VerifyOptions) -> Report:
    """Try ``options.target`` in every selected way and judge it."""
    started = time.monotonic()
    if not options.expect_status:
        options = without_url.with_status(options)
    plan = replicas.make_plan(options)
    run = _VerifyRun(options)
    cases = run.run()
    cases += run.try_again(cases, plan)
    for address in plan.addresses:
        replica = _VerifyRun(replicas.at(options, address))
        cases += replicas.named(replica.run(), address)
        run.join(replica, address)
    return dataclasses.replace(run.report(cases, time.monotonic() - started), replicas=plan.to_dict())


class _VerifyRun:
    def __init__(self, options: VerifyOptions) -> None:
        self.options = options
        self.inspection = Inspection(options)
        self.throw_away = (
            options.kit.throw_away(now=options.now)
            if options.kit
            else ThrowAwayIdentities(options.client, options.authority, now=options.now)
        )
        self.waiting: tuple[str, ...] = ()
        self.verify_error = ""
        self.chain: tuple[x509.Certificate, ...] = ()
        self.leaf: bytes | None = None
        self.first: Observation | None = None
        self.control: Case | None = None
        self.versions: list[str] = []
        self.offers: list[TlsOffer] = []
        self.unserved_offers: list[TlsOffer] = []
        self.suites: dict[str, list[str]] = {}
        self.variants: dict[str, str] = {}
        self.outage = False

    # Control

    def run(self) -> list[Case]:
        """Return all cases, judged."""
        found = control.try_good_client(self.inspection)
        self.control, self.verify_error, self.waiting = found.case, found.verify_error, found.waiting
        self.first, outcome = found.observation, found.case.outcome
        if outcome is Outcome.PASSED and self.first.response:
            self.inspection.reference = self.first.response.body
        self.leaf = self.first.leaf
        self.chain = certificates.parse_chain(self.first.seen.chain or [leaf for leaf in (self.leaf,) if leaf])
        cases = [found.case, *found.further, *self._check_server()]
        if self._selected("MV-29"):
            cases += revocation.check_freshness(self.options.crls, now=self.options.now)
            cases += revocation.check_untried(self.options)
        if outcome is Outcome.OUTAGE:
            self.outage = True
            return cases
        with ThreadPoolExecutor(max_workers=self.options.concurrency) as pool:
            cases += self._matrix(pool, accepted=outcome is Outcome.PASSED)
        if outcome is not Outcome.PASSED:
            return cases
        return self._close_bracket(cases)

    def _check_server(self) -> list[Case]:
        """The checks that only look at what the server presented."""
        if not self.chain:
            return []
        return certificates.check_server(
            self.options,
            self.chain,
            (self.options.client, *self._accepted_identities()),
            is_whole=bool(self.first and self.first.seen.chain),
            verify_error="" if self.inspection.trusted else self._explain_mistrust(),
        )

    def _accepted_identities(self) -> list[Identity]:
        return [
            client.identity
            for client in self.options.clients
            if client.identity is not None and client.expect == "accepted"
        ]

    def _explain_mistrust(self) -> str:
        if "unable to get local issuer" in self.verify_error:
            return f"{self.verify_error} (an intermediate is missing in the served chain, or ca is not its root)"
        return self.verify_error

    # Matrix

    def _matrix(self, pool: ThreadPoolExecutor, *, accepted: bool) -> list[Case]:
        early = self._submit_surface(pool)
        offers = [
            offer
            for offer in all_offers(self.options.target.host, self._other_names(), self.inspection.offer)
            if offer.is_plain or accepted
        ]
        good = {offer: pool.submit(self._try_good, offer) for offer in offers}
        twin = pool.submit(self._try_twin) if self.throw_away.has_authority and accepted else None
        unusual = pool.submit(variants.try_variants, self.inspection) if accepted else None
        observed = {offer: attempt.result()[0] for offer, attempt in good.items()}
        cases = self._check_versions({offer.version: found for offer, found in observed.items() if offer.is_plain})
        cases += [case for attempt in good.values() for case in attempt.result()[1]]
        self.offers = [offer for offer, found in observed.items() if self._is_served(found)]
        cases += self._check_identity_in_offers(observed)
        self.unserved_offers = [
            offer for offer in good if offer not in self.offers and not (offer.is_rare and offer.server_name)
        ]
        late: list[Future[list[Case]]] = []
        if accepted:
            problem = twin.result() if twin else refusals.NO_AUTHORITY
            late = [pool.submit(job) for job in self._plan(problem).jobs()]
            cases += refusals.skip_throw_away(self.throw_away, self.options, problem) if problem else []
        else:
            cases += refusals.skip_all(NOT_BRACKETED)
            if self._selected("MV-22"):
                plain = [offer for offer in good if offer.is_plain]
                cases += server_ca.find_trust(self.inspection, self.throw_away, self.chain, plain)
        for future in (*early, *late):
            cases += future.result()
        self.variants = unusual.result() if unusual else {}
        return cases

    def _check_identity_in_offers(self, observed: t.Mapping[TlsOffer, Observation]) -> list[Case]:
        """MV-40 in all ways but the plain ones: other rules may set the headers there, or none."""
        client = self.options.client
        return [
            headers.check_identity(self.inspection, observed[offer], client, f"{client.name}, {offer}")
            for offer in self.offers
            if not offer.is_plain and headers.echo_of(self.inspection, observed[offer]) is not None
        ]

    def _try_good(self, offer: TlsOffer) -> tuple[Observation, list[Case]]:
        """Try the good client in ``offer``; the server may have another certificate there, which it does not trust."""
        observation = offer.attempt(self.inspection, self.options.client, verified=True)
        if observation.kind is not Kind.UNTRUSTED or offer.is_plain:
            return observation, []
        case = Case("MV-13", f"trusted, {offer}", Outcome.FAILED, observation.detail, observation.evidence())
        return offer.attempt(self.inspection, self.options.client), [case]

    def _selected(self, *checks: str) -> bool:
        return any(check in self.options.checks for check in checks)

    def _is_served(self, observation: Observation) -> bool:
        return is_served(observation, self.options.expect_status)

    def _submit_surface(self, pool: ThreadPoolExecutor) -> list[Future[list[Case]]]:
        negotiated = self.first.tls_version if self.first else None
        jobs: dict[str, t.Callable[[], list[Case]]] = {
            "MV-01": functools.partial(protocol.probe_versions, self.inspection, negotiated),
            "MV-02": functools.partial(protocol.probe_suites, self.inspection, self.suites),
            "MV-03": functools.partial(protocol.probe_groups, self.inspection),
            "MV-04": functools.partial(protocol.probe_hygiene, self.inspection),
            "MV-43": functools.partial(direct_access.try_all, self.options.workloads, timeout=self.options.timeout),
        }
        return [pool.submit(job) for check, job in jobs.items() if self._selected(check)]

    def _check_versions(self, good: dict[str, Observation]) -> list[Case]:
        """MV-20 to MV-23 in each version; remembers which versions there are."""
        cases: list[Case] = []
        for version, observation in good.items():
            if is_version_not_spoken(observation):
                cases.append(Case("MV-23", version, Outcome.SKIPPED, "the server does not speak it"))
                continue
            self.versions.append(version)
            outcome, text = check_acceptance(observation, expect_status=self.options.expect_status)
            cases.append(Case("MV-23", version, outcome, text, observation.evidence()))
            cases.append(certificate_request.check_request(observation.seen, version))
            if outcome is not Outcome.PASSED and _is_passed(self.control):
                self.control = cases[-2]
            if outcome is Outcome.PASSED:
                name = f"{self.options.client.name}, {version}"
                cases.append(headers.check_identity(self.inspection, observation, self.options.client, name))
        if not self.versions and _is_passed(self.control):
            self.control = Case("MV-23", "versions", Outcome.FAILED, ONLY_TOGETHER)
            cases.append(self.control)
        if self.first:
            cases += certificate_request.check_client_ca_names(
                self._with_client_ca_names(good),
                expected=certificate_request.expected_client_ca_names(self.options),
                declared=bool(self.options.expected_client_cas),
                server_chain=self.chain,
            )
        return cases

    def _with_client_ca_names(self, good: dict[str, Observation]) -> t.Any:
        observations = [observation for observation in (self.first, *good.values()) if observation is not None]
        return next(
            (observation.seen for observation in observations if observation.seen.client_cas), observations[0].seen
        )

    def _try_twin(self) -> str:
        """Return why throw-away identities of the client CA prove nothing here; "" when they do."""
        text = ""
        for _attempt in range(2):
            observation = self.inspection.attempt(self.throw_away.twin())
            outcome, text = check_acceptance(observation, expect_status=self.options.expect_status)
            if outcome is Outcome.PASSED:
                return ""
            self.throw_away.prefer_rsa()
        return f"throw-away clients are not accepted: a valid one of the client CA gets {text}; so this proves nothing"

    def _plan(self, problem: str) -> matrix.Matrix:
        return matrix.Matrix(
            inspection=self.inspection,
            throw_away=self.throw_away,
            chain=self.chain,
            leaf=self.leaf,
            reference=self.first.response if self.first else None,
            versions=self.versions,
            offers=self.offers,
            unserved_offers=self.unserved_offers,
            problem=problem,
            other_names=[name for name in self._other_names() if "*" not in name][:MAXIMUM_NAMES],
        )

    def _other_names(self) -> list[str]:
        """Return the names of other sites that may be at the same address: other TLS settings may hold there."""
        return [*(workload.host for workload in self.options.workloads), *certificates.dns_names(self.chain)]

    # Replicas

    def try_again(self, cases: list[Case], plan: replicas.ReplicaPlan) -> list[Case]:
        """Repeat what decides, for the replicas that the first round has not met."""
        if self.outage or not plan.connections:
            return []
        every = refusals.all_refusals(self.throw_away, self.options)
        brief = [
            functools.partial(
                workloads.try_workload, self.inspection, workload, self.throw_away, self.offers, is_brief=True
            )
            for workload in self.options.workloads
            if self._selected(*OF_WORKLOADS)
        ]
        return replicas.try_again(self.inspection, every, self.offers, cases, plan, workload_jobs=brief)

    def join(self, replica: _VerifyRun, address: tuple[str, int]) -> None:
        """Where the good client was not served by one replica, nothing is proven of all."""
        place = f"replica {place_of(address)}"
        self.outage |= replica.outage
        if replica.control and _is_passed(self.control) and not _is_passed(replica.control):
            observed = f"{place}: {replica.control.observed}"
            self.control = dataclasses.replace(replica.control, observed=observed)
        if self.inspection.trusted and not replica.inspection.trusted:
            self.inspection.trusted, self.verify_error = False, f"{place}: {replica.verify_error}"

    # Verdict

    def _close_bracket(self, cases: list[Case]) -> list[Case]:
        """The good client must still get in: only then do the refusals between count."""
        self.inspection.resume_after_timeout()
        if any(case.outcome is Outcome.OUTAGE and "timeout" in str(case.evidence.get("ended")) for case in cases):
            text = "not tried: the server had stopped answering"
            after = Case("MV-23", "after all others", Outcome.OUTAGE, text)
        else:
            observation = self.inspection.attempt(self.options.client)
            outcome, text = check_acceptance(observation, expect_status=self.options.expect_status)
            # It got in before: whatever stops it now is no judgement of its certificate.
            after = Case(
                "MV-23",
                "after all others",
                outcome if outcome is Outcome.PASSED else Outcome.OUTAGE,
                text,
                observation.evidence(),
            )
        if after.outcome is Outcome.PASSED:
            return [*cases, after, *self._try_once_more()]
        self.outage = True
        return [*(_unproven(case, after.observed) for case in cases), after]

    def _try_once_more(self) -> list[Case]:
        """Who opens its door after so many connections is open."""
        usual = [offer for offer in self.offers if offer.is_plain][-1:]
        basic = [
            refusal
            for refusal in refusals.all_refusals(self.throw_away, self.options)
            if refusal.is_basic and self._selected(*refusal.selectors)
        ]
        again = [case for refusal in basic for case in refusals.try_refusal(self.inspection, refusal, usual)]
        return [dataclasses.replace(case, name=f"{case.name}, after all others") for case in again]

    def report(self, cases: list[Case], duration: float) -> Report:
        """Return the result."""
        return assemble(
            self.options,
            cases,
            Facts(
                first=self.first,
                control=self.control,
                verify_error="" if self.inspection.trusted else self._explain_mistrust(),
                chain=self.chain,
                identities=(self.options.client, *self._accepted_identities()),
                versions=self.versions,
                suites=self.suites,
                variants=self.variants,
                outage=self.outage,
                waiting=list(self.waiting),
                duration=duration,
            ),
        )


def _is_passed(case: Case | None) -> bool:
    return case is not None and case.outcome is Outcome.PASSED


def _unproven(case: Case, why: str) -> Case:
    if case.check not in REFUSALS or case.outcome is not Outcome.PASSED:
        return case
    text = f"{case.observed}; not counted, because the good client no longer got in afterwards ({why})"
    return dataclasses.replace(case, outcome=Outcome.OUTAGE, observed=text)
