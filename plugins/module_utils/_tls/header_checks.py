# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Identity headers: what the workload sees, and what a client forges (MV-40 to MV-42).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import secrets
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._tls import expectations, headers
from ansible_collections.kyma.mtls.plugins.module_utils._tls.judge import judge_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Case, Kind, Outcome

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.minting import Mint
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Observation

_CANARY = "X-Kyma-Mtls-Canary"
OVERSIZE = 12 * 1024


def echo_of(inspection: Inspection, observation: Observation) -> headers.Echo | None:
    """Return the request headers that the workload reports in its answer."""
    if observation.response is None:
        return None
    document = expectations.parse_json(observation.response.body)
    return headers.read_echo(expectations.resolve(inspection.options.identity_path, document))


def identity_problems(inspection: Inspection, observation: Observation, identity: Identity) -> list[str]:
    """Return in words how the workload's view differs from ``identity``; nothing when there is no view."""
    echo = echo_of(inspection, observation)
    if echo is None or not inspection.options.identity_headers:
        return []
    return headers.mismatches(echo, identity.certificate, inspection.options.identity_headers)


def judge_identity(inspection: Inspection, observation: Observation, identity: Identity, name: str) -> Case:
    """MV-40 for one accepted client."""
    if not inspection.options.identity_headers:
        return Case("MV-40", name, Outcome.SKIPPED, "identity_headers is empty: nothing is claimed")
    if echo_of(inspection, observation) is None:
        path = inspection.options.identity_path
        return Case("MV-40", name, Outcome.SKIPPED, f"the answer is not JSON with request headers under {path!r}")
    problems = identity_problems(inspection, observation, identity)
    if problems:
        return Case("MV-40", name, Outcome.FAILED, "; ".join(problems), observation.evidence())
    return Case("MV-40", name, Outcome.PASSED, "the workload sees this certificate", observation.evidence())


def try_minted_identity(inspection: Inspection, make: t.Callable[[], Identity]) -> list[Case]:
    """MV-40 for a throw-away identity."""
    identity = make()
    observation = inspection.attempt(identity)
    if observation.kind is not Kind.ANSWERED or observation.status not in inspection.options.expect_status:
        return [Case("MV-40", identity.name, *_refused_or_broken(observation), observation.evidence())]
    return [judge_identity(inspection, observation, identity, identity.name)]


def _refused_or_broken(observation: Observation) -> tuple[Outcome, str]:
    outcome, text = judge_refusal(observation, expected=frozenset(), expect_status=())
    if outcome is Outcome.OUTAGE:
        return outcome, text
    return Outcome.SKIPPED, f"this identity does not get in: {text}"


def try_forgeries(inspection: Inspection, make: t.Callable[[], Identity]) -> list[Case]:
    """MV-41: the identity of ``make`` claims to be someone else, in several spellings."""
    identity = make()
    configured = tuple(inspection.options.identity_headers)
    canary = secrets.token_hex(8)
    reference = inspection.attempt(identity, headers=((_CANARY, canary),))
    if reference.kind is not Kind.ANSWERED or reference.status not in inspection.options.expect_status:
        return [Case("MV-41", identity.name, *_refused_or_broken(reference), reference.evidence())]
    echo = echo_of(inspection, reference)
    if echo is None:
        path = inspection.options.identity_path
        return [
            Case("MV-41", identity.name, Outcome.SKIPPED, f"the answer is not JSON with request headers under {path!r}")
        ]
    echoes_all = any(canary in value for values in echo.values() for value in values)
    names = tuple(dict.fromkeys((*configured, headers.FORWARDED_CLIENT_CERT)))
    if not echoes_all:
        names = tuple(name for name in names if name.lower() in echo)
    if not names:
        text = "the workload does not report the headers of a request, so what survives cannot be seen"
        return [Case("MV-41", identity.name, Outcome.SKIPPED, text)]
    marker = f"forged-{secrets.token_hex(8)}"
    return [_try_forgery(inspection, identity, forgery, marker, names) for forgery in headers.forgeries(names, marker)]


def _try_forgery(
    inspection: Inspection, identity: Identity, forgery: headers.Forgery, marker: str, names: t.Sequence[str]
) -> Case:
    name = f"{identity.name}: {forgery.name}"
    observation = inspection.attempt(identity, headers=forgery.headers)
    evidence = observation.evidence()
    if observation.kind is not Kind.ANSWERED:
        return Case("MV-41", name, *_refused_or_broken(observation), evidence)
    status = observation.status or 0
    if status not in inspection.options.expect_status:
        if 400 <= status < 500:
            return Case("MV-41", name, Outcome.PASSED, f"the request was refused: HTTP {status}", evidence)
        return Case("MV-41", name, Outcome.OUTAGE, observation.text(), evidence)
    outcome, text = _judge_survivors(inspection, observation, identity, marker, names)
    return Case("MV-41", name, outcome, text, evidence)


def _judge_survivors(
    inspection: Inspection, observation: Observation, identity: Identity, marker: str, names: t.Sequence[str]
) -> tuple[Outcome, str]:
    echo = echo_of(inspection, observation)
    if echo is None:
        return Outcome.OUTAGE, "the answer no longer reports the request's headers"
    within, alike = headers.survivors(echo, marker, names)
    if within and not inspection.options.identity_headers:
        return Outcome.WARNING, f"forged values survived in {', '.join(within)}; a workload must not rely on it"
    if within:
        return Outcome.FAILED, f"forged values survived in: {', '.join(within)}"
    problems = headers.mismatches(echo, identity.certificate, inspection.options.identity_headers)
    if problems:
        return Outcome.FAILED, f"the identity was disturbed: {'; '.join(problems)}"
    if alike:
        return Outcome.WARNING, f"look-alikes passed that some frameworks take for the real ones: {', '.join(alike)}"
    return Outcome.PASSED, "nothing survived"


def try_oversized_identity(inspection: Inspection, mint: Mint) -> list[Case]:
    """MV-42: an identity too large for many header limits is carried whole or refused, never dropped."""
    identity = mint.oversized(OVERSIZE)
    observation = inspection.attempt(identity)
    if observation.kind is Kind.ANSWERED and observation.status in inspection.options.expect_status:
        case = judge_identity(inspection, observation, identity, identity.name)
        return [dataclasses.replace(case, check="MV-42")]
    if observation.kind is Kind.ANSWERED and 400 <= (observation.status or 0) < 500:
        text = f"refused openly: HTTP {observation.status}"
        return [Case("MV-42", identity.name, Outcome.PASSED, text, observation.evidence())]
    outcome, text = judge_refusal(observation, expected=frozenset(), expect_status=inspection.options.expect_status)
    if outcome is Outcome.OUTAGE and observation.kind is Kind.ANSWERED:
        outcome, text = Outcome.WARNING, f"{observation.text()}: refused, but as if the workload were broken"
    return [Case("MV-42", identity.name, outcome, text, observation.evidence())]
