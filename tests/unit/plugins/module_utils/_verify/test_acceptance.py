# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of judgement, one by one."""

from __future__ import annotations

import functools
import itertools
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import rules
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Outcome, worst
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import alert_of_reason, alert_text
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind, Observation, Response


def answered(status: int) -> Observation:
    return Observation(Kind.ANSWERED, "response", "", response=Response(status, "", (), b""))


def alerted(code: int) -> Observation:
    return Observation(Kind.ALERT, "response", "", alert=code)


def ended(kind: Kind) -> Observation:
    return Observation(kind, "handshake", "ended")


BROKEN = [ended(kind) for kind in (Kind.CLOSED, Kind.RESET, Kind.TIMEOUT, Kind.UNREACHABLE, Kind.GARBAGE)]


@pytest.mark.parametrize("observation", BROKEN, ids=lambda one: one.kind)
def test_a_broken_connection_refuses_nobody(observation: Observation) -> None:
    assert rules.check_refusal(observation, expected={48}, expect_status={200})[0] is Outcome.OUTAGE
    assert rules.check_acceptance(observation, expect_status={200})[0] is Outcome.OUTAGE


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (48, Outcome.PASSED),  # the named cause
        (42, Outcome.PASSED),  # a server that names no cause
        (40, Outcome.PASSED),
        (45, Outcome.WARNING),  # another cause: this proves nothing about the expected one
        (80, Outcome.OUTAGE),  # internal_error
        (112, Outcome.OUTAGE),
        (70, Outcome.SKIPPED),  # this TLS version is not there
    ],
)
def test_only_an_alert_about_the_certificate_is_a_refusal(code: int, outcome: Outcome) -> None:
    assert rules.check_refusal(alerted(code), expected={48}, expect_status={200})[0] is outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "passed") for status in (400, 401, 403, 495, 496)),
        *((status, "failed") for status in (200, 302, 404)),
        *((status, "outage") for status in (500, 502, 503)),
    ],
)
def test_only_documented_http_refusals_count(status: int, outcome: str) -> None:
    assert rules.check_refusal(answered(status), expected={48}, expect_status={200})[0] == outcome


STATUSES = (200, 204, 301, 302, 308, 400, 401, 403, 404, 418, 421, 429, 431, 495, 496, 497, 500, 502, 503, 504)
RULES: dict[str, t.Callable[..., rules.CheckResult]] = {
    "refusal": functools.partial(rules.check_refusal, expected={48, 116}),
    "misdirected": rules.check_misdirected,
    "plain": rules.check_plain,
}


@pytest.mark.parametrize("rule", RULES)
def test_what_the_good_client_gets_is_never_a_refusal(rule: str) -> None:
    for status, expected in itertools.product(STATUSES, STATUSES):
        for expect_status in ({expected}, {200, expected}):
            outcome, _text = RULES[rule](answered(status), expect_status=expect_status)
            if status in expect_status:
                assert outcome is Outcome.FAILED, (status, expect_status)
                assert rules.check_acceptance(answered(status), expect_status=expect_status)[0] is Outcome.PASSED
            else:
                assert outcome is RULES[rule](answered(status), expect_status={299})[0], (status, expect_status)


@pytest.mark.parametrize("kind", [Kind.CLOSED, Kind.RESET])
def test_a_close_without_answer_counts_for_names_and_plain_http_only(kind: Kind) -> None:
    assert rules.check_misdirected(ended(kind), expect_status={200})[0] is Outcome.PASSED
    assert rules.check_plain(ended(kind), expect_status={200})[0] is Outcome.PASSED
    assert rules.check_refusal(ended(kind), expected=set(), expect_status={200})[0] is Outcome.OUTAGE


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.UNREACHABLE])
def test_hanging_is_an_outage_for_names_and_plain_http_too(kind: Kind) -> None:
    assert rules.check_misdirected(ended(kind), expect_status={200})[0] is Outcome.OUTAGE
    assert rules.check_plain(ended(kind), expect_status={200})[0] is Outcome.OUTAGE


def test_an_answer_to_plain_http_that_is_none_is_a_warning() -> None:
    assert rules.check_plain(ended(Kind.GARBAGE), expect_status={200})[0] is Outcome.WARNING


def test_what_was_not_tried_is_skipped() -> None:
    for kind in (Kind.CANCELLED, Kind.LOCAL):
        assert rules.check_refusal(ended(kind), expected={48}, expect_status={200})[0] is Outcome.SKIPPED


@pytest.mark.parametrize(("status", "outcome"), [(200, "passed"), (404, "failed"), (403, "failed"), (503, "outage")])
def test_the_good_client_needs_the_expected_status(status: int, outcome: str) -> None:
    assert rules.check_acceptance(answered(status), expect_status={200})[0] == outcome


def test_the_good_client_refused_by_alert_is_a_failure_and_by_another_alert_an_outage() -> None:
    assert rules.check_acceptance(alerted(48), expect_status={200})[0] is Outcome.FAILED
    outcome, text = rules.check_acceptance(alerted(80), expect_status={200})
    assert (outcome, text) == (Outcome.OUTAGE, "alert 80 (internal_error): the server ended the connection")


def test_a_wrong_name_that_is_served_fails_even_when_404_is_the_expected_status() -> None:
    assert rules.check_misdirected(answered(404), expect_status={200})[0] is Outcome.PASSED
    assert rules.check_misdirected(answered(404), expect_status={404})[0] is Outcome.FAILED


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 116),
        ("TLSV1_ALERT_UNKNOWN_CA", 48),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", 45),
        ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", 43),
        ("TLSV1_UNRECOGNIZED_NAME", 112),
        ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", 120),
        ("CERTIFICATE_VERIFY_FAILED", None),
        ("WRONG_VERSION_NUMBER", None),
        ("", None),
        (None, None),
    ],
)
def test_openssl_reasons_tell_received_alerts(reason: str | None, code: int | None) -> None:
    assert alert_of_reason(reason) == code


def test_unknown_alerts_have_a_name_too() -> None:
    assert alert_text(255) == "alert 255 (alert_255)"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["passed", "skipped"], "passed"),
        (["passed", "warning"], "warning"),
        (["warning", "outage"], "outage"),
        (["outage", "failed"], "failed"),
        (["skipped"], "skipped"),
        ([], "skipped"),
    ],
)
def test_the_worst_case_decides(outcomes: list[str], expected: str) -> None:
    found: t.Any = worst(Outcome(one) for one in outcomes)
    assert found == expected
