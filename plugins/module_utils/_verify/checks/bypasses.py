# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways around a refusal that is an HTTP answer (MV-24).

A refusal in the handshake does not depend on the request. A rule for HTTP may be written for one method, for one
spelling of a path or a host that the workload knows under several, or it may believe headers that only a gateway should
set.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import FORWARDED_CLIENT_CERT
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import identity_headers
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import is_served
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Headers, Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation


_ADDRESS_HEADERS = ("X-Forwarded-For", "X-Real-IP")
_VERDICT_HEADERS = ("ssl-client-verify", "X-SSL-Client-Verify", "X-Client-Verify")


def try_bypasses(inspection: Inspection) -> list[Case]:
    """Try every way around, without a certificate, in which the good client is served."""
    usual = inspection.attempt(None)
    if usual.kind is not Kind.ANSWERED or _is_served(inspection, usual):
        return []
    cases = []
    for name, other, how in _variants(inspection):
        if not _is_served(inspection, other.attempt(inspection.options.client, **how)):
            continue
        observation = other.attempt(None, **how)
        text = f"not served: {observation.text()}"
        outcome = Outcome.PASSED if observation.kind in {Kind.ANSWERED, Kind.ALERT} else Outcome.OUTAGE
        if _is_served(inspection, observation):
            outcome, text = Outcome.FAILED, f"the refusal is got around: {observation.text()}"
        cases.append(Case("MV-24", f"no certificate, {name}", outcome, text, observation.evidence()))
    return cases


def _variants(inspection: Inspection) -> t.Iterator[tuple[str, Inspection, dict[str, t.Any]]]:
    """Yield each way's name, who asks for what, and how."""
    method, target = inspection.options.method, inspection.target
    for name, other_method, path in _methods_and_paths(method, target.path):
        yield name, inspection.asking_for(other_method, path), {}
    same = inspection.asking_for(method, target.path)
    hosts = {
        "host in capitals": target.authority.upper(),
        "host with its port": f"{target.bare_authority}:{target.port}",
        "host with a final dot": target.authority.replace(target.host, f"{target.host}."),
    }
    yield from ((name, same, {"host": host}) for name, host in hosts.items() if host != target.authority)
    yield "headers of the good client", same, {"headers": _claims(inspection)}
    yield "headers of a local client", same, {"headers": tuple((name, "127.0.0.1") for name in _ADDRESS_HEADERS)}


def _methods_and_paths(method: str, path: str) -> t.Iterator[tuple[str, str, str]]:
    for other in ("GET", "HEAD", "POST"):
        if other != method:
            yield f"method {other}", other, path
    yield "double slash", method, f"/{path}"
    yield "dot segment", method, f"/.{path}"
    bare, question, query = path.partition("?")
    if len(bare) > 1:
        yield "escaped letter", method, f"{bare[:-1]}%{ord(bare[-1]):02X}{question}{query}"
        yield "slash at the end", method, f"{bare.rstrip('/')}/{question}{query}"


def _claims(inspection: Inspection) -> Headers:
    """Return the headers by which gateways tell workloads who the good client is."""
    certificate = inspection.options.client.certificate
    claimed = {
        name: identity_headers.expected_value(value, certificate).text
        for name, value in inspection.options.identity_headers.items()
    }
    claimed.setdefault(FORWARDED_CLIENT_CERT, f"Hash={fingerprint_sha256(certificate)}")
    return (*claimed.items(), *((name, "SUCCESS") for name in _VERDICT_HEADERS))


def _is_served(inspection: Inspection, observation: Observation) -> bool:
    return is_served(observation, inspection.options.expect_status) or observation.is_workloads
