# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain HTTP, on the TLS port and on port 80 (MV-06).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._tls import connection
from ansible_collections.kyma.mtls.plugins.module_utils._tls.judge import REDIRECTS, judge_plain
from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Case, Kind, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._tls.request import Request

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Observation


def try_plain_http(inspection: Inspection) -> list[Case]:
    """MV-06: on the TLS port, and on port 80 of the real address when the URL has the default port."""
    observation = inspection.knock()
    outcome, text = judge_plain(observation, expect_status=inspection.options.expect_status)
    cases = [Case("MV-06", "on the TLS port", outcome, text, observation.evidence())]
    target = inspection.target
    if target.explicit_address or target.port != 443:
        return cases
    request = Request("GET", target.path, target.host)
    observation = connection.knock((target.host, 80), request, timeout=min(inspection.options.timeout, 3.0))
    if observation.kind in {Kind.UNREACHABLE, Kind.TIMEOUT}:
        outcome, text = Outcome.PASSED, "closed"
    elif observation.status in REDIRECTS and _redirects_to_https(observation):
        outcome, text = Outcome.PASSED, f"HTTP {observation.status} to https"
    else:
        outcome, text = judge_plain(observation, expect_status=inspection.options.expect_status)
    return [*cases, Case("MV-06", "on port 80", outcome, text, observation.evidence())]


def _redirects_to_https(observation: Observation) -> bool:
    pairs = observation.response.headers if observation.response else ()
    return any(name.lower() == "location" and value.lower().startswith("https://") for name, value in pairs)
