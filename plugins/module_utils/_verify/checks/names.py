# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong names in SNI and Host (MV-50, MV-51)."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_misdirected
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

UNKNOWN_NAME = "unrelated.invalid"


def sibling_of(host: str) -> str:
    """Return another name beside ``host``, in the same domain."""
    _label, dot, parent = host.partition(".")
    return f"elsewhere.{parent}" if dot else f"elsewhere-{host}"


def try_wrong_names(inspection: Inspection) -> list[Case]:
    """MV-50 and MV-51. Reached without a certificate is a hole; reached with one is a warning."""
    options, own = inspection.options, inspection.target.authority
    if parse_ip(inspection.target.host) is not None:
        reason = "the host is an IP address: there is no SNI to go by"
        return [Case(check, "names", Outcome.SKIPPED, reason) for check in ("MV-50", "MV-51")]
    good, sibling = options.client, sibling_of(inspection.target.host)
    attempts: list[tuple[str, str, Identity | None, str | None, str]] = [
        ("MV-50", "Host of another site, with a certificate", good, "", UNKNOWN_NAME),
        ("MV-50", "SNI of another site, with a certificate", good, UNKNOWN_NAME, own),
        ("MV-50", "SNI of another site, without a certificate", None, UNKNOWN_NAME, own),
        ("MV-50", "SNI of a neighbour, without a certificate", None, sibling, own),
        ("MV-51", "no SNI, with a certificate", good, None, own),
        ("MV-51", "no SNI, without a certificate", None, None, own),
        ("MV-51", "unknown SNI and Host, with a certificate", good, UNKNOWN_NAME, UNKNOWN_NAME),
    ]
    cases = []
    for check, name, identity, server_name, host in attempts:
        if check not in options.checks:
            continue
        observation = inspection.attempt(identity, server_name=server_name, host=host)
        outcome, text = check_misdirected(observation, expect_status=options.expect_status)
        if outcome is Outcome.FAILED and identity is not None:
            outcome, text = Outcome.WARNING, f"{text} (to a client with a good certificate)"
        cases.append(Case(check, name, outcome, text, observation.evidence()))
    return cases
