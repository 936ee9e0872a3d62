# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resumption of sessions (MV-05).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._tls.header_checks import identity_problems
from ansible_collections.kyma.mtls.plugins.module_utils._tls.judge import judge_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Case, Kind, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._tls.trials import UNKNOWN_NAME, sibling_of
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Observation


def try_resumption(inspection: Inspection, version: str) -> list[Case]:
    """MV-05: the good client resumes its session; nobody else's session opens the door."""
    good = inspection.options.client
    first = inspection.attempt(good, version=version, keep_session=True)
    if first.kind is not Kind.ANSWERED:
        return [Case("MV-05", f"session, {version}", Outcome.OUTAGE, first.text(), first.evidence())]
    cases = [_judge_early_data(first, version)] if version == "TLSv1.3" and first.seen.early_data is not None else []
    name = f"resumed, {version}"
    if first.session is None:
        cases.append(Case("MV-05", name, Outcome.PASSED, "the server offers no resumption"))
        return [*cases, *_try_foreign_session(inspection, version)]
    second = inspection.attempt(good, version=version, session=first.session)
    cases.append(_judge_resumed(inspection, first, second, name))
    return [*cases, *_try_foreign_session(inspection, version)]


def _judge_early_data(observation: Observation, version: str) -> Case:
    size = observation.seen.early_data or 0
    if size:
        text = f"the server accepts up to {size} bytes before the handshake is over: they can be replayed"
        return Case("MV-05", f"early data, {version}", Outcome.FAILED, text)
    return Case("MV-05", f"early data, {version}", Outcome.PASSED, "early data is not offered")


def _judge_resumed(inspection: Inspection, first: Observation, second: Observation, name: str) -> Case:
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


def _try_foreign_session(inspection: Inspection, version: str) -> list[Case]:
    """A session from a handshake without a certificate, offered for the protected name (as in CVE-2025-23419)."""
    name = f"session of a client without a certificate, {version}"
    host = inspection.target.host
    by_name = parse_ip(host) is None
    for server_name in (sibling_of(host), UNKNOWN_NAME, host) if by_name else (None,):
        first = inspection.attempt(None, version=version, server_name=server_name, verified=False, keep_session=True)
        if first.kind is not Kind.ANSWERED or first.session is None:
            continue
        second = inspection.attempt(None, version=version, session=first.session, verified=False)
        outcome, text = judge_refusal(second, expected=frozenset({116}), expect_status=inspection.options.expect_status)
        if outcome is Outcome.FAILED:
            text = f"a session made under {server_name or host} without a certificate got in: {text}"
        return [Case("MV-05", name, outcome, text, second.evidence())]
    return [Case("MV-05", name, Outcome.PASSED, "without a certificate no session can be had")]
