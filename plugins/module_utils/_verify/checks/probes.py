# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probing the server's surface by hand-built hellos (MV-01 to MV-04); protocol.py judges what they find.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import protocol
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_hello import (
    MODERN_SUITES,
    STRONG_SUITES,
    SUITE_NAMES,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    WEAK_SUITES,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection


def _sni(inspection: Inspection) -> str | None:
    host = inspection.target.host
    return None if parse_ip(host) is not None else host


def probe_versions(inspection: Inspection, negotiated: str | None) -> list[Case]:
    """MV-01. ``negotiated``: what a client gets that offers every version."""
    old = [TLS_1_0, TLS_1_1, *([TLS_1_2] if inspection.options.minimum_tls == "1.3" else [])]
    cases = [
        protocol.judge_old_version(version, protocol.version_answer(inspection.ask, version, _sni(inspection)))
        for version in old
    ]
    answer = protocol.version_answer(inspection.ask, TLS_1_3, _sni(inspection))
    return [*cases, protocol.judge_modern_version(answer, negotiated)]


def probe_suites(inspection: Inspection, suites: dict[str, list[str]]) -> list[Case]:
    """MV-02. The accepted suites of each version are put into ``suites``."""
    ask, name = inspection.ask, _sni(inspection)
    modern = protocol.accepted_suites(ask, TLS_1_3, MODERN_SUITES, name)
    strong = protocol.accepted_suites(ask, TLS_1_2, STRONG_SUITES, name)
    weak = protocol.accepted_suites(ask, TLS_1_2, WEAK_SUITES, name)
    found = {"TLSv1.3": modern.values, "TLSv1.2": (*strong.values, *weak.values)}
    suites |= {version: [SUITE_NAMES[suite] for suite in values] for version, values in found.items() if values}
    return protocol.judge_suites(strong, weak, modern)


def probe_groups(inspection: Inspection) -> list[Case]:
    """MV-03."""
    return protocol.judge_groups(protocol.accepted_groups(inspection.ask, _sni(inspection)))


def probe_hygiene(inspection: Inspection) -> list[Case]:
    """MV-04."""
    return protocol.judge_hygiene(protocol.version_answer(inspection.ask, TLS_1_2, _sni(inspection)))
