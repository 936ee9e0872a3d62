# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain HTTP, on the TLS port and on port 80 (MV-06)."""

from __future__ import annotations

import difflib
import secrets
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import expectations
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import REDIRECTS, check_plain
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import connection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import HttpRequest
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection, VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation, Response

_PORT = 80
_PATIENCE_SECONDS = 3.0
_CANARY = "X-Kyma-Mtls-Canary"
_COMPARED_BYTES = 4096
_ALIKE = 0.9


def try_plain_http(inspection: Inspection, reference: Response | None) -> list[Case]:
    """MV-06: on the TLS port, and on port 80 of the same address. ``reference`` is what the good client got."""
    observation = inspection.knock()
    outcome, text = check_plain(observation, expect_status=inspection.options.expect_status)
    return [
        Case("MV-06", "on the TLS port", outcome, text, observation.evidence()),
        *try_port_80(inspection, reference),
    ]


def try_port_80(inspection: Inspection, reference: Response | None) -> list[Case]:
    """MV-06 on port 80 of the same address, unless that is the TLS port."""
    target, options, canary = inspection.target, inspection.options, secrets.token_hex(8)
    host, port = target.address
    if port == _PORT:
        return []
    request = HttpRequest(options.method, target.path, target.bare_authority, ((_CANARY, canary),))
    patience = min(options.timeout, _PATIENCE_SECONDS)
    observation = connection.knock((host, _PORT), request, timeout=patience)
    outcome, text = _check_port_80(options, observation, reference, canary)
    if outcome is Outcome.PASSED and target.explicit_address and port != 443 and not observation.response:
        # A forwarded or translated port: what is beside it need not be the gateway's.
        outcome = Outcome.SKIPPED
        text = (
            f"the gateway's own port 80 was not checked: it is reached at {target.place}, and port 80 there is {text}"
        )
    return [Case("MV-06", f"on port 80 of {host}", outcome, text, observation.evidence())]


def _check_port_80(
    options: VerifyOptions, observation: Observation, reference: Response | None, canary: str
) -> tuple[Outcome, str]:
    if observation.kind is Kind.UNREACHABLE or (observation.kind is Kind.TIMEOUT and observation.stage == "connect"):
        return Outcome.PASSED, "closed"
    response = observation.response
    if response is None:
        return Outcome.WARNING, f"something listens on port 80 and does not answer in HTTP: {observation.detail}"
    if response.status in REDIRECTS and _redirects_to_https(response):
        return Outcome.PASSED, f"HTTP {response.status} to https"
    sign = _sign_of_the_workload(options, response, reference, canary)
    if sign:
        return Outcome.FAILED, f"served without TLS: HTTP {response.status}, as the workload answers ({sign})"
    if 300 <= response.status < 500 and response.status not in options.expect_status:
        return Outcome.PASSED, f"not served: HTTP {response.status}"
    return Outcome.WARNING, f"something answers there with HTTP {response.status}, but not as the workload does"


def _redirects_to_https(response: Response) -> bool:
    return any(name.lower() == "location" and value.lower().startswith("https://") for name, value in response.headers)


def _sign_of_the_workload(options: VerifyOptions, response: Response, reference: Response | None, canary: str) -> str:
    """Return by what ``response`` can be told to be the workload's, "" when it cannot."""
    if response.status not in options.expect_status:
        return ""
    document = expectations.parse_json(response.body)
    if canary in str(expectations.resolve(options.identity_path, document)):
        return "it reports the request's headers"
    if options.expect and document is not None and not expectations.unmet(options.expect, document):
        return "it meets what is expected of the workload"
    if reference is None or not reference.body or not response.body:
        return ""
    own = expectations.parse_json(reference.body)
    if isinstance(document, dict) and isinstance(own, dict) and document.keys() == own.keys() and own:
        return "JSON with the same keys"
    first, second = reference.body[:_COMPARED_BYTES], response.body[:_COMPARED_BYTES]
    return "the same content" if difflib.SequenceMatcher(None, first, second).ratio() >= _ALIKE else ""
