# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways around a refusal that is an HTTP answer: other methods, and other spellings of the path (MV-24).

A refusal by TLS knows neither. A rule for HTTP may be written for one method, or for one spelling of a path that the
workload knows under several.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation


def try_bypasses(inspection: Inspection) -> list[Case]:
    """Try every way around, without a certificate, in which the good client is served."""
    usual = inspection.attempt(None)
    if usual.kind is not Kind.ANSWERED or _is_served(inspection, usual):
        return []
    cases = []
    for name, method, path in _variants(inspection.options.method, inspection.target.path):
        other = inspection.asking_for(method, path)
        if not _is_served(inspection, other.attempt(inspection.options.client)):
            continue
        observation = other.attempt(None)
        text = f"not served: {observation.text()}"
        outcome = Outcome.PASSED if observation.kind in {Kind.ANSWERED, Kind.ALERT} else Outcome.OUTAGE
        if _is_served(inspection, observation):
            outcome, text = Outcome.FAILED, f"the refusal is got around: {observation.text()}"
        cases.append(Case("MV-24", f"no certificate, {name}", outcome, text, observation.evidence()))
    return cases


def _variants(method: str, path: str) -> t.Iterator[tuple[str, str, str]]:
    for other in ("GET", "HEAD", "POST"):
        if other != method:
            yield f"method {other}", other, path
    yield "double slash", method, f"/{path}"
    yield "dot segment", method, f"/.{path}"
    bare, question, query = path.partition("?")
    if len(bare) > 1:
        yield "escaped letter", method, f"{bare[:-1]}%{ord(bare[-1]):02X}{question}{query}"
        yield "slash at the end", method, f"{bare.rstrip('/')}/{question}{query}"


def _is_served(inspection: Inspection, observation: Observation) -> bool:
    return observation.kind is Kind.ANSWERED and (
        observation.status in inspection.options.expect_status or observation.is_workloads
    )
