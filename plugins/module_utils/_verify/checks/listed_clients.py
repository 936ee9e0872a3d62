# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The further clients that the user lists as to be accepted (MV-23, MV-40)."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import headers
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_acceptance
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection, ListedClient
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity


def try_client(inspection: Inspection, client: ListedClient, leaf: bytes | None) -> list[Case]:
    """Try ``client``. ``leaf`` is the server certificate that was verified for the good client."""
    name = f"client {client.name}"
    if client.identity is None:
        return [Case("MV-23", name, Outcome.FAILED, client.problem)]
    observation = _attempt(inspection, client.identity, leaf)
    outcome, text = check_acceptance(observation, expect_status=inspection.options.expect_status)
    cases = [Case("MV-23", name, outcome, text, observation.evidence())]
    if outcome is Outcome.PASSED and headers.has_expected_headers(inspection.options):
        cases.append(headers.check_identity(inspection, observation, client.identity, name))
    return cases


def _attempt(inspection: Inspection, identity: Identity, leaf: bytes | None) -> Observation:
    """There may be thousands of clients: who presents the verified leaf needs no verifying again."""
    observation = inspection.attempt(identity, verified=False)
    if not inspection.trusted or observation.kind is not Kind.ANSWERED or observation.leaf == leaf:
        return observation
    return inspection.attempt(identity)
