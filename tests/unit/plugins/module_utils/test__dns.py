# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TXT records by dynamic updates, at a name server that checks signatures."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._dns import Zone
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

pytest.importorskip("dns")
names = pytest.importorskip("ansible_collections.kyma.mtls.tests.servers.names")

KEY = (names.KEY_NAME, names.KEY_SECRET, "hmac-sha256")
RECORD = "_acme-challenge.kyma.dev"


@pytest.fixture
def server() -> t.Iterator[t.Any]:
    with names.running() as running:
        yield running


def zone_of(server: t.Any, **changes: t.Any) -> Zone:
    given = {"server": "127.0.0.1", "port": server.port, "name": "kyma.dev", "key": KEY, "timeout_seconds": 5}
    return Zone(**(given | changes))


def test_values_are_added_beside_others_and_only_they_are_removed(server: t.Any) -> None:
    zone = zone_of(server)
    server.txt[f"{RECORD}."] = ["somebody's"]
    wanted = {RECORD: ["ours", "issuer; accounturi=x; policy=wildcard"]}
    assert zone.differing(wanted, is_present=True) == wanted
    zone.update(wanted, is_present=True, ttl=60)
    assert server.txt[f"{RECORD}."] == ["somebody's", *wanted[RECORD]]
    assert zone.differing(wanted, is_present=True) == {}
    assert zone.differing(wanted, is_present=False) == wanted
    zone.update(wanted, is_present=False, ttl=60)
    assert server.txt[f"{RECORD}."] == ["somebody's"]
    assert zone.differing(wanted, is_present=False) == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "other.test"}, "refused updating the zone other.test: NOTZONE"),
        ({"key": None}, "refused updating the zone kyma.dev: REFUSED"),
        ({"key": (names.KEY_NAME, "b3RoZXI=", "hmac-sha256")}, "updating the zone kyma.dev"),
        ({"key": (names.KEY_NAME, "abc", "hmac-sha256")}, "The TSIG key is not Base64"),
        ({"name": "a..b"}, "'a..b' is not a DNS name"),
        ({"port": 1, "timeout_seconds": 1}, "127.0.0.1 port 1 gave no usable answer"),
    ],
)
def test_the_refusal_of_the_server_is_reported(server: t.Any, changes: dict[str, t.Any], reason: str) -> None:
    with pytest.raises(MtlsError) as caught:
        zone_of(server, **changes).update({RECORD: ["x"]}, is_present=True, ttl=60)
    assert reason in str(caught.value)
    assert "b3RoZXI=" not in str(caught.value)
    assert server.updates == 0
