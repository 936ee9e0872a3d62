# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an observation to an outcome: the rules by which an accidental failure is never counted as a refusal.

A refusal counts on a received alert that judges certificates, or on a documented HTTP-level refusal. Everything else
that is not an acceptance is an outage: a server that crashes, resets or hangs has refused nobody. A status that the
good client may get (``expect_status``) is never a refusal: it does not distinguish clients.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import (
    CLIENT_CERTIFICATE_ALERTS,
    GENERIC_ALERTS,
    HANDSHAKE_FAILURE,
    PROTOCOL_VERSION,
    alert_text,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation

CheckResult: t.TypeAlias = tuple[Outcome, str]

# 400: nginx ("No required SSL certificate was sent"); 401, 403: allow-lists in HAProxy, Apache httpd, Envoy's RBAC;
# 495, 496: nginx's own numbers for a bad and for a missing client certificate.
HTTP_REFUSALS = frozenset({400, 401, 403, 495, 496})
# Not for this server or not known here (RFC 9110 sections 15.5.5, 15.5.20), and plain refusals.
HTTP_MISDIRECTED = frozenset({400, 401, 403, 404, 421, 495, 496, 497})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def is_served(observation: Observation, expect_status: t.Collection[int]) -> bool:
    """Return whether the answer is one that the good client may get: of a workload, wherever a status may be both."""
    return observation.kind is Kind.ANSWERED and observation.status in expect_status and not observation.is_unrouted


def check_acceptance(observation: Observation, *, expect_status: t.Collection[int]) -> CheckResult:
    """The good client: the expected answer, or else a refusal (failed), or else an outage."""
    if observation.kind is Kind.ANSWERED:
        status = observation.status or 0
        if is_served(observation, expect_status):
            return Outcome.PASSED, observation.text()
        expected = " or ".join(str(status) for status in sorted(expect_status))
        if status >= 500:
            return Outcome.OUTAGE, f"{observation.text()} instead of {expected}: the server or its workload is broken"
        return Outcome.FAILED, f"{observation.text()} instead of {expected}"
    if observation.kind is Kind.ALERT and observation.alert in CLIENT_CERTIFICATE_ALERTS:
        return Outcome.FAILED, f"refused with {observation.text()}"
    if observation.kind in {Kind.UNTRUSTED, Kind.LOCAL}:
        # Who was to get in and could not even be tried is no gap in the proof: there is no proof.
        return Outcome.FAILED, observation.detail
    return _unusable(observation)


def check_refusal(
    observation: Observation, *, expected: t.Collection[int], expect_status: t.Collection[int]
) -> CheckResult:
    """A client that must not get in: ``expected`` are the alerts that name the right cause."""
    if observation.kind is Kind.ALERT and observation.alert is not None:
        return _check_alert(observation, observation.alert, expected)
    if observation.kind is Kind.ANSWERED:
        return _check_status(observation, HTTP_REFUSALS, expect_status, ("refused with", "not refused:"))
    return _unusable(observation)


def _check_alert(observation: Observation, alert: int, expected: t.Collection[int]) -> CheckResult:
    if alert in expected or alert in GENERIC_ALERTS:
        return Outcome.PASSED, f"refused with {observation.text()}"
    if alert in CLIENT_CERTIFICATE_ALERTS:
        causes = ", ".join(alert_text(alert) for alert in sorted(expected)) or "an alert of its own"
        return Outcome.WARNING, f"refused, but for another cause: {observation.text()} instead of {causes}"
    if alert == PROTOCOL_VERSION:
        return Outcome.SKIPPED, "the server does not speak this TLS version"
    return Outcome.OUTAGE, f"{observation.text()} is no judgement of a certificate"


def _check_status(
    observation: Observation, refusing: t.Collection[int], expect_status: t.Collection[int], words: tuple[str, str]
) -> CheckResult:
    status = observation.status or 0
    if observation.is_workloads:
        return Outcome.FAILED, f"{words[1]} {observation.text()}, with the workload's content"
    if status in refusing and not is_served(observation, expect_status):
        return Outcome.PASSED, f"{words[0]} {observation.text()}"
    if status >= 500 and status not in expect_status:
        return Outcome.OUTAGE, f"{observation.text()}: the server is broken, this is no refusal"
    return Outcome.FAILED, f"{words[1]} {observation.text()}"


def check_misdirected(observation: Observation, *, expect_status: t.Collection[int]) -> CheckResult:
    """A request under a wrong name: here a close or a reset without any answer is a refusal too (Envoy does that)."""
    if observation.kind is Kind.ANSWERED:
        return _check_status(observation, HTTP_MISDIRECTED | REDIRECTS, expect_status, ("not served:", "served:"))
    return _check_turned_away(observation)


def check_plain(observation: Observation, *, expect_status: t.Collection[int]) -> CheckResult:
    """Plain HTTP on the TLS port."""
    if observation.kind is Kind.ANSWERED:
        refusing = frozenset(range(300, 500))
        return _check_status(observation, refusing, expect_status, ("refused with", "served without TLS:"))
    if observation.kind is Kind.GARBAGE:
        return Outcome.WARNING, f"answered, but not in HTTP: {observation.detail}"
    return _check_turned_away(observation)


def _check_turned_away(observation: Observation) -> CheckResult:
    if observation.kind is Kind.ALERT:
        return Outcome.PASSED, f"refused with {observation.text()}"
    if observation.kind in {Kind.CLOSED, Kind.RESET}:
        return Outcome.PASSED, "the connection was closed without any answer"
    return _unusable(observation)


def _unusable(observation: Observation) -> CheckResult:
    if observation.kind is Kind.CANCELLED:
        return Outcome.SKIPPED, observation.detail
    if observation.kind is Kind.LOCAL:
        return Outcome.SKIPPED, f"could not be tried: {observation.detail}"
    if observation.kind is Kind.ALERT:
        return Outcome.OUTAGE, f"{observation.text()}: the server ended the connection"
    return Outcome.OUTAGE, observation.detail


def is_version_not_spoken(observation: Observation) -> bool:
    """Return whether the server does not speak the one TLS version that was offered."""
    if observation.kind is Kind.ALERT and observation.alert in {HANDSHAKE_FAILURE, PROTOCOL_VERSION}:
        return not observation.seen.chain
    return observation.kind is Kind.GARBAGE and any(
        reason in observation.detail for reason in ("UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION", "WRONG_VERSION_NUMBER")
    )
