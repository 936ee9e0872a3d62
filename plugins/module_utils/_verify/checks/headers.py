# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Identity headers: what the workload sees, and what a client forges (MV-40 to MV-42)."""

from __future__ import annotations

import dataclasses
import secrets
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import FORWARDED_CLIENT_CERT
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import (
    expectations,
    forwarded,
    identity_headers,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_refusal, is_served
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import (
    HTTP_2,
    HTTP_2_WITHOUT_ALPN,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import USER_AGENT
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import OVERSIZE_BYTES

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection, VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HttpOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities

_CANARY = "X-Kyma-Mtls-Canary"
NOBODY = "without a certificate"
UNREPORTED = "the workload does not report the headers of a request, so what it sees is unknown"


def echo_of(inspection: Inspection, observation: Observation) -> identity_headers.Echo | None:
    """Return the request headers that went to the workload.

    It reports them in its answer, in JSON or each in a header; or they are in the gateway's log.
    """
    if observation.response is None:
        return None
    if inspection.options.identity_log:
        log = inspection.options.identity_log_file
        return log.echo(observation.nonce) if log and observation.nonce else None
    document = expectations.parse_json(observation.response.body)
    found = identity_headers.read_echo(expectations.resolve(inspection.options.identity_path, document))
    prefix = inspection.options.identity_answer_prefix.lower()
    if found is not None or not prefix:
        return found
    echo: identity_headers.Echo = {}
    for name, value in observation.response.headers:
        if name.lower().startswith(prefix):
            echo.setdefault(name.lower().removeprefix(prefix), []).append(value)
    return echo or None


def unreported(options: VerifyOptions) -> str:
    """Say why it is unknown what the workload reads."""
    if not options.identity_log:
        return f"the answer is not JSON with request headers under {options.identity_path!r}"
    if options.identity_log_file is None:
        return "identity_log works on the platform local only"
    return f"{options.identity_log_file.path} has no line of this request; make site applies identity_log"


def has_expected_headers(options: VerifyOptions) -> bool:
    """Whether anything is said of what the workload reads about a client."""
    return bool(options.identity_headers) or options.identity_source == forwarded.SOURCE


def _mismatches(
    options: VerifyOptions,
    echo: identity_headers.Echo,
    identity: Identity | None,
    claims: t.Mapping[str, str] | None = None,
) -> list[str]:
    certificate = identity.certificate if identity else None
    found = identity_headers.mismatches(echo, certificate, options.identity_headers if claims is None else claims)
    if options.identity_source == forwarded.SOURCE:
        found += forwarded.mismatches(echo, certificate)
    return found


def _names(options: VerifyOptions) -> tuple[str, ...]:
    """Return the headers in which the workload reads who the client is."""
    xfcc = (FORWARDED_CLIENT_CERT,) if options.identity_source == forwarded.SOURCE else ()
    return (*options.identity_headers, *xfcc)


def identity_problems(inspection: Inspection, observation: Observation, identity: Identity | None) -> list[str]:
    """Return in words how the workload's view differs from ``identity``; nothing when there is no view."""
    echo = echo_of(inspection, observation)
    if echo is None or not has_expected_headers(inspection.options):
        return []
    return _mismatches(inspection.options, echo, identity)


def check_identity(inspection: Inspection, observation: Observation, identity: Identity | None, name: str) -> Case:
    """MV-40 for one accepted client, or for one without a certificate."""
    if not has_expected_headers(inspection.options):
        return Case("MV-40", name, Outcome.SKIPPED, "identity_headers is empty: nothing is claimed")
    echo = echo_of(inspection, observation)
    if echo is None:
        return Case("MV-40", name, Outcome.SKIPPED, unreported(inspection.options))
    problems = _mismatches(inspection.options, echo, identity)
    if problems:
        return Case("MV-40", name, Outcome.FAILED, "; ".join(problems), observation.evidence())
    if not _reports_any(echo, _names(inspection.options)):
        return Case("MV-40", name, Outcome.SKIPPED, UNREPORTED)
    text = "the workload sees this certificate" if identity else "the workload sees that there is no certificate"
    return Case("MV-40", name, Outcome.PASSED, text, observation.evidence())


def _reports_any(echo: identity_headers.Echo, claims: t.Iterable[str]) -> bool:
    """Whether the workload reports an identity header, or requests' headers at all: then what it lacks is not there."""
    names = {name.lower() for name in claims}
    return not names.isdisjoint(echo) or any(USER_AGENT in values for values in echo.values())


def try_test_identity(inspection: Inspection, make: t.Callable[[], Identity]) -> list[Case]:
    """MV-40 for a throw-away identity."""
    identity = make()
    observation = inspection.attempt(identity)
    if not is_served(observation, inspection.options.expect_status):
        return [Case("MV-40", identity.name, *_refused_or_broken(observation), observation.evidence())]
    return [check_identity(inspection, observation, identity, identity.name)]


def _refused_or_broken(observation: Observation) -> tuple[Outcome, str]:
    outcome, text = check_refusal(observation, expected=frozenset(), expect_status=())
    if outcome is Outcome.OUTAGE:
        return outcome, text
    return Outcome.SKIPPED, f"this identity does not get in: {text}"


@dataclass(frozen=True)
class _Forger:
    """A client, with or without a certificate, that claims to be someone else.

    ``names`` are what it forges, ``reported`` what the workload has reported before, in lower case.
    """

    inspection: Inspection
    identity: Identity | None
    offer: HttpOffer
    names: tuple[str, ...] = ()
    reported: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return (self.identity.name if self.identity else NOBODY) + (" over HTTP/2" if self.is_http_2 else "")

    @property
    def is_http_2(self) -> bool:
        return self.offer in {HTTP_2, HTTP_2_WITHOUT_ALPN}

    def attempt(self, forged: tuple[tuple[str, str], ...]) -> Observation:
        return self.inspection.attempt(self.identity, headers=forged, offer=self.offer)

    def is_admitted(self, observation: Observation) -> bool:
        return is_served(observation, self.inspection.options.expect_status)

    def case(self, forgery: str, outcome: Outcome, text: str, observation: Observation) -> Case:
        name = f"{self.name}: {forgery}" if forgery else self.name
        return Case("MV-41", name, outcome, text, observation.evidence())


def try_forgeries(
    inspection: Inspection, make: t.Callable[[], Identity | None], offer: HttpOffer | None = None
) -> list[Case]:
    """MV-41: the identity of ``make`` (None: without a certificate) claims to be someone else, in several spellings."""
    forger = _Forger(inspection, make(), offer or inspection.offer)
    canary = secrets.token_hex(8)
    reference = forger.attempt(((_CANARY, canary),))
    if forger.offer == HTTP_2 and (reference.alpn != "h2" or not forger.is_admitted(reference)):
        text = f"this client is not served over HTTP/2: {reference.text()}"
        return [forger.case("", Outcome.SKIPPED, text, reference)]
    if not forger.is_admitted(reference):
        return [forger.case("", *_refused_or_broken(reference), reference)]
    echo = echo_of(inspection, reference)
    if echo is None:
        return [forger.case("", Outcome.SKIPPED, unreported(inspection.options), reference)]
    echoes_all = any(canary in value for values in echo.values() for value in values)
    names = tuple(dict.fromkeys((*inspection.options.identity_headers, FORWARDED_CLIENT_CERT)))
    forger = dataclasses.replace(forger, names=names, reported=frozenset(echo))
    marker = f"forged-{secrets.token_hex(8)}"
    cases = [
        _try_forgery(forger, forgery, marker)
        for forgery in identity_headers.forgeries(names, marker)
        if forgery.in_http2 or not forger.is_http_2
    ]
    unseen = () if echoes_all else tuple(name for name in names if name.lower() not in echo)
    return _downgrade_unreported(forger, cases, unseen, reference)


def try_forgeries_in(inspection: Inspection, offer: TlsOffer) -> list[Case]:
    """MV-41 in another way than the usual one, where other rules may set the headers, or none."""
    names = tuple(dict.fromkeys((*inspection.options.identity_headers, FORWARDED_CLIENT_CERT)))
    cases = []
    for identity in (inspection.options.client, None):
        marker = f"forged-{secrets.token_hex(8)}"
        forged = tuple((name, f"CN={marker}") for name in names)
        observation = offer.attempt(inspection, identity, headers=forged)
        echo = echo_of(inspection, observation)
        if not is_served(observation, inspection.options.expect_status) or not echo:
            continue
        forger = _Forger(inspection, identity, offer.http, names, frozenset(echo))
        who = identity.name if identity else NOBODY
        outcome, text = _check_survivors(forger, observation, marker)
        if outcome is Outcome.PASSED and not _reports_any(echo, _names(inspection.options)):
            continue  # it may have survived unseen
        cases.append(Case("MV-41", f"{who}, {offer}: as configured", outcome, text, observation.evidence()))
    return cases


def _downgrade_unreported(
    forger: _Forger, cases: list[Case], unseen: tuple[str, ...], reference: Observation
) -> list[Case]:
    """A forged header may survive where the workload does not report it (``unseen``): that is no pass."""
    if unseen == forger.names:
        untried = forger.case("", Outcome.SKIPPED, UNREPORTED, reference)
        return [*(case for case in cases if case.outcome is not Outcome.PASSED), untried]
    claimed = [name for name in unseen if name in forger.inspection.options.identity_headers]
    if not claimed:
        return cases
    text = f"the workload does not report {', '.join(claimed)}, so whether a forged one survives cannot be seen"
    return [*cases, forger.case("headers that are not reported", Outcome.WARNING, text, reference)]


def _try_forgery(forger: _Forger, forgery: identity_headers.Forgery, marker: str) -> Case:
    observation = forger.attempt(forgery.headers)
    if observation.kind in {Kind.CLOSED, Kind.RESET} and forgery.may_break:
        text = f"the malformed request was refused: {observation.detail}"
        return forger.case(forgery.name, Outcome.PASSED, text, observation)
    if observation.kind is not Kind.ANSWERED:
        return forger.case(forgery.name, *_refused_or_broken(observation), observation)
    status = observation.status or 0
    if not forger.is_admitted(observation):
        outcome = Outcome.PASSED if 400 <= status < 500 else Outcome.OUTAGE
        text = f"the request was refused: HTTP {status}" if outcome is Outcome.PASSED else observation.text()
        return forger.case(forgery.name, outcome, text, observation)
    return forger.case(forgery.name, *_check_survivors(forger, observation, marker), observation)


def _check_survivors(forger: _Forger, observation: Observation, marker: str) -> tuple[Outcome, str]:
    echo, claims = echo_of(forger.inspection, observation), forger.inspection.options.identity_headers
    if echo is None:
        return Outcome.OUTAGE, f"the headers are no longer reported: {unreported(forger.inspection.options)}"
    within, alike = identity_headers.survivors(echo, marker, forger.names)
    if within and not has_expected_headers(forger.inspection.options):
        return Outcome.WARNING, f"forged values survived in {', '.join(within)}; a workload must not rely on it"
    if within:
        return Outcome.FAILED, f"forged values survived in: {', '.join(within)}"
    # What the workload did not report before any forgery, none of them has taken away.
    reported = {name: claim for name, claim in claims.items() if name.lower() in forger.reported}
    problems = _mismatches(forger.inspection.options, echo, forger.identity, reported)
    if problems:
        return Outcome.FAILED, f"the identity was disturbed: {'; '.join(problems)}"
    if alike:
        return Outcome.WARNING, f"{', '.join(alike)} arrived, which some frameworks take for the real headers"
    return Outcome.PASSED, "nothing survived"


def try_oversized_identity(inspection: Inspection, throw_away: ThrowAwayIdentities) -> list[Case]:
    """MV-42: an identity too large for many header limits is carried whole or refused, never dropped."""
    identity = throw_away.oversized(OVERSIZE_BYTES)
    observation = inspection.attempt(identity)
    if is_served(observation, inspection.options.expect_status):
        case = check_identity(inspection, observation, identity, identity.name)
        return [dataclasses.replace(case, check="MV-42")]
    if observation.kind is Kind.ANSWERED and 400 <= (observation.status or 0) < 500:
        text = f"refused openly: HTTP {observation.status}"
        return [Case("MV-42", identity.name, Outcome.PASSED, text, observation.evidence())]
    outcome, text = check_refusal(observation, expected=frozenset(), expect_status=inspection.options.expect_status)
    if outcome is Outcome.OUTAGE and observation.kind is Kind.ANSWERED:
        outcome, text = Outcome.WARNING, f"{observation.text()}: refused, but as if the workload were broken"
    return [Case("MV-42", identity.name, outcome, text, observation.evidence())]
