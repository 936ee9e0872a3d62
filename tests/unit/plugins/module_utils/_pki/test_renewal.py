# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a certificate is due: by days, or by a share of whatever lifetime its issuer gave it."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import RenewalRule, renewal_rule
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import client

DAY = datetime.timedelta(days=1)


def lasting(days: float) -> Any:
    return SimpleNamespace(not_valid_before_utc=NOW, not_valid_after_utc=NOW + days * DAY)


@pytest.mark.parametrize(
    ("given", "lifetime", "kept", "renewed"),
    [
        (renewal_rule(None, 33, default=RenewalRule()), 6, 4.0, 4.1),
        (renewal_rule(None, 33, default=RenewalRule()), 47, 31.4, 31.6),
        (renewal_rule(None, 33, default=RenewalRule()), 90, 60.2, 60.4),
        (renewal_rule(30, 33, default=RenewalRule()), 90, 60, 60.1),
        (renewal_rule(0, None, default=RenewalRule()), 6, 6, 6.1),
        (renewal_rule(None, None, default=RenewalRule(days=30)), 365, 335, 335.1),
        (renewal_rule(None, None, default=RenewalRule()), 100, 66.9, 67.1),
    ],
)
def test_days_win_over_the_share(given: RenewalRule, lifetime: float, kept: float, renewed: float) -> None:
    certificate = lasting(lifetime)
    assert not given.is_due(certificate, NOW + kept * DAY)
    assert given.is_due(certificate, NOW + renewed * DAY)
    assert NOW + kept * DAY <= given.moment(certificate) <= NOW + renewed * DAY


@pytest.mark.parametrize(
    ("days", "percentage", "expected"),
    [(-1, None, "renew_before is -1"), (10**12, None, "100000 is the most"), (None, 100, "is 100")],
)
def test_what_no_certificate_could_follow_is_refused(days: int, percentage: int, expected: str) -> None:
    with pytest.raises(MtlsError, match=expected):
        renewal_rule(days, percentage, default=RenewalRule())


def test_a_client_may_have_a_share_where_the_others_have_days(tmp_path: Path) -> None:
    side = client(tmp_path)
    curl, robot = side.certificate(days=90), {"name": "robot", "days": 90, "renew_before_percentage": 10}
    side.run(curl, robot)
    changes = side.run(curl, robot, now=NOW + 70 * DAY)["changes"]
    assert [(one["name"], one["reasons"][0].split(", ")[-1]) for one in changes] == [
        ("curl", "within the renewal window of 30 days")
    ]
    changes = side.run(curl, robot, now=NOW + 82 * DAY)["changes"]
    assert [one["name"] for one in changes] == ["robot"]
    assert "within the renewal window of 10 % of its lifetime" in changes[0]["reasons"][0]
