# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control: the good client before all others. It waits for the server, and finds out which HTTP that speaks."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import expectations
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_acceptance, is_served
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import NO_APPLICATION_PROTOCOL
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import (
    HTTP_1,
    HTTP_2,
    HTTP_2_WITHOUT_ALPN,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation

_PAUSE_SECONDS = 0.2
# How a server that speaks HTTP/2 only ends a connection in HTTP/1.1, when it says nothing; and what it may answer.
_WITHOUT_ANSWER = frozenset({Kind.CLOSED, Kind.RESET, Kind.GARBAGE, Kind.TRUNCATED})
_OTHER_HTTP = frozenset({426, 505})


@dataclass(frozen=True)
class Control:
    """What the good client met: the deciding connection, its case, and what else that says of MV-23.

    ``verify_error`` says why the server's certificate is not trusted; the connection was then made without trust.
    """

    observation: Observation
    case: Case
    further: tuple[Case, ...]
    verify_error: str
    waiting: tuple[str, ...]


def try_good_client(inspection: Inspection) -> Control:
    """Try the good client until it gets in, for as long as the options say.

    Leaves in ``inspection`` whether the server is trusted, and which HTTP it speaks.
    """
    options = inspection.options
    began = time.monotonic()
    deadline = began + options.wait_for
    waiting: list[str] = []
    while True:
        observation, verify_error, further = _attempt(inspection)
        outcome, text = check_acceptance(observation, expect_status=options.expect_status)
        said = text if outcome is not Outcome.PASSED else f"accepted: {text}"
        if not waiting or not waiting[-1].endswith(f" s: {said}"):
            waiting.append(f"{time.monotonic() - began:.1f} s: {said}")
        is_in = outcome is Outcome.PASSED and inspection.trusted
        # What this machine cannot even try does not come right by waiting.
        if is_in or observation.kind is Kind.LOCAL or time.monotonic() >= deadline:
            break
        inspection.resume_after_timeout()
        time.sleep(min(_PAUSE_SECONDS, max(deadline - time.monotonic(), 0.01)))
    if outcome is Outcome.PASSED and options.expect and observation.response:
        further.append(expectations.check_answer(observation.response.body, options.expect))
    case = Case("MV-23", "before all others", outcome, text, observation.evidence())
    return Control(observation, case, tuple(further), verify_error, tuple(waiting))


def _attempt(inspection: Inspection) -> tuple[Observation, str, list[Case]]:
    """Try HTTP/1.1; where a server may speak HTTP/2 only, try that. Return what decides, and why it is not trusted."""
    inspection.trusted, inspection.offer = True, HTTP_1
    first, verify_error = _attempt_verified(inspection)
    if not _may_speak_http_2_only(first):
        return first, verify_error, []
    for offer in (HTTP_2, HTTP_2_WITHOUT_ALPN):
        inspection.trusted, inspection.offer = True, offer
        observation, why = _attempt_verified(inspection)
        if is_served(observation, inspection.options.expect_status):
            text = f"the server does not speak it ({first.text()}), so everything is tried in HTTP/2"
            return observation, why, [Case("MV-23", "HTTP/1.1", Outcome.SKIPPED, text)]
    inspection.trusted, inspection.offer = not verify_error, HTTP_1
    return first, verify_error, []


def _attempt_verified(inspection: Inspection) -> tuple[Observation, str]:
    """Try the good client; when it does not trust the server, note why and go on without trust."""
    observation = inspection.attempt(inspection.options.client)
    if observation.kind is not Kind.UNTRUSTED:
        return observation, ""
    inspection.trusted = False
    return inspection.attempt(inspection.options.client), observation.detail


def _may_speak_http_2_only(observation: Observation) -> bool:
    if observation.kind is Kind.ANSWERED:
        return observation.status in _OTHER_HTTP
    return observation.kind in _WITHOUT_ANSWER or observation.alert == NO_APPLICATION_PROTOCOL
