# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resumption of sessions (MV-05)."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import RANK, Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.headers import identity_problems
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.names import UNKNOWN_NAME, sibling_of
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_misdirected, check_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import CLIENT_CERTIFICATE_ALERTS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities

# These say nothing about the server's sessions.
_UNTRIED = frozenset({Kind.LOCAL, Kind.CANCELLED, Kind.UNREACHABLE, Kind.TIMEOUT})


def try_resumption(
    inspection: Inspection, throw_away: ThrowAwayIdentities, version: str, other_names: t.Sequence[str] = ()
) -> list[Case]:
    """MV-05: the good client resumes its session; nobody else's session opens the door.

    ``other_names`` are those of other sites at the same address, as far as they are known.
    """
    good = inspection.options.client
    first = inspection.attempt(good, version=version, keep_session=True)
    if first.kind is not Kind.ANSWERED:
        return [Case("MV-05", f"session, {version}", Outcome.OUTAGE, first.text(), first.evidence())]
    cases = [_check_early_data(first, version)] if version == "TLSv1.3" and first.seen.early_data is not None else []
    name = f"resumed, {version}"
    if first.session is None:
        cases.append(Case("MV-05", name, Outcome.PASSED, "the server offers no resumption"))
        return [*cases, *_try_foreign_sessions(inspection, throw_away, version, other_names)]
    second = inspection.attempt(good, version=version, session=first.session)
    cases.append(_check_resumed(inspection, first, second, name))
    return [*cases, *_try_foreign_sessions(inspection, throw_away, version, other_names)]


def _check_early_data(observation: Observation, version: str) -> Case:
    size = observation.seen.early_data or 0
    if size:
        text = f"the server accepts up to {size} bytes before the handshake is over: they can be replayed"
        return Case("MV-05", f"early data, {version}", Outcome.FAILED, text)
    return Case("MV-05", f"early data, {version}", Outcome.PASSED, "early data is not offered")


def _check_resumed(inspection: Inspection, first: Observation, second: Observation, name: str) -> Case:
    if second.kind is not Kind.ANSWERED or second.status != first.status:
        if second.kind is Kind.ALERT:
            return Case("MV-05", name, Outcome.PASSED, f"not resumed: {second.text()}", second.evidence())
        return Case("MV-05", name, Outcome.OUTAGE, second.text(), second.evidence())
    if not second.resumed:
        return Case("MV-05", name, Outcome.PASSED, "not resumed: a full handshake instead", second.evidence())
    problems = identity_problems(inspection, second, inspection.options.client)
    if problems and not identity_problems(inspection, first, inspection.options.client):
        text = f"the resumed session lost the client's identity: {'; '.join(problems)}"
        return Case("MV-05", name, Outcome.FAILED, text, second.evidence())
    return Case("MV-05", name, Outcome.PASSED, "resumed, with the same identity", second.evidence())


def _try_foreign_sessions(
    inspection: Inspection, throw_away: ThrowAwayIdentities, version: str, other_names: t.Sequence[str]
) -> list[Case]:
    """Sessions from handshakes that proved nothing, offered for the protected name (as in CVE-2025-23419)."""
    return [
        _try_foreign_session(inspection, who, identity, version, other_names)
        for who, identity in (
            ("without a certificate", None),
            ("with a certificate of another CA", throw_away.of_other_ca()),
        )
    ]


def _try_foreign_session(
    inspection: Inspection, who: str, identity: Identity | None, version: str, other_names: t.Sequence[str] = ()
) -> Case:
    """Try a session from every name under which one can be had, until one of them gets in.

    The server need not answer there: the session is in the client's hands when the handshake is over.
    """
    name = f"session of a client {who}, {version}"
    host = inspection.target.host
    cases: list[Case] = []
    names = dict.fromkeys((sibling_of(host), UNKNOWN_NAME, None, *other_names, host))
    for server_name in names if parse_ip(host) is None else (None,):
        first = inspection.attempt(
            identity, version=version, server_name=server_name, verified=False, keep_session=True
        )
        if first.session is None:
            if first.kind in _UNTRIED:
                text = f"whether a session can be had under {server_name or 'no name'} was not seen: {first.text()}"
                cases.append(Case("MV-05", name, Outcome.SKIPPED, text, first.evidence()))
            continue
        second = inspection.attempt(identity, version=version, session=first.session, verified=False)
        outcome, text = _check_foreign(inspection, second)
        if outcome is Outcome.FAILED:
            text = f"a session made under {server_name or 'no name'} {who} got in: {text}"
        cases.append(Case("MV-05", name, outcome, text, second.evidence()))
        if outcome is Outcome.FAILED:
            break
    none = Case("MV-05", name, Outcome.PASSED, f"{who} no session can be had")
    return min(cases, key=lambda case: RANK[case.outcome], default=none)


def _check_foreign(inspection: Inspection, observation: Observation) -> tuple[Outcome, str]:
    expect_status = inspection.options.expect_status
    if observation.kind is Kind.ANSWERED:
        # The session may resume where the server then finds the request misdirected (RFC 9110 section 15.5.20).
        return check_misdirected(observation, expect_status=expect_status)
    return check_refusal(observation, expected=CLIENT_CERTIFICATE_ALERTS, expect_status=expect_status)
