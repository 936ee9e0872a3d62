# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a CA says of a failed order, also where it says it as no CA should."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils import _acme
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

ABOUT = {"directory": "https://acme.test/dir", "names": ["a.test"], "challenge": "http-01", "records": []}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "urn:ietf:params:acme:error:dns", "detail": "NXDOMAIN"}, "a.test: NXDOMAIN."),
        ({"type": "urn:ietf:params:acme:error:dns"}, "a.test: urn:ietf:params:acme:error:dns."),
        ("no such name", "a.test: no such name."),
        ({"status": 400}, "a.test: it gives no reason."),
    ],
    ids=["detail", "type", "text", "neither"],
)
def test_the_reason_of_the_ca_reaches_the_user(error: t.Any, expected: str) -> None:
    result = {"authorizations_by_identifier": {"dns:a.test": {"challenges": [{"error": error}]}}}
    told = _acme.failure(result, ABOUT)
    assert told.startswith(f"https://acme.test/dir issued no certificate for a.test: {expected}")
    assert "The CA must reach port 80" in told


@pytest.mark.parametrize("directory", [{}, {"meta": None}, {"meta": {"caaIdentities": "ca.test"}}])
def test_a_ca_that_does_not_say_its_name_has_no_standing_record(directory: dict[str, t.Any]) -> None:
    with pytest.raises(MtlsError, match="names no caaIdentities"):
        _acme.standing_records(["DNS:a.test"], {"directory": directory, "account_uri": "https://acme.test/1"})
