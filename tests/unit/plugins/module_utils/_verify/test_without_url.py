# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which path is asked for, by whom and with which status, when there is no URL; and what a log says of a request."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify import without_url
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import identity_log
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import ListedClient
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_workloads import (
    ALLOW_BOB,
    BY_THE_WORKLOAD,
    ISSUER,
    KINDS,
    Scripted,
    answered,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki


def read(pki: Pki, paths: list[dict[str, t.Any]], *, bob: str = "accepted") -> t.Any:
    holder = pki.client_certificate("bob")
    clients = [{"name": "bob", "cert": holder.crt, "key": holder.key_file, "key_passphrase": None, "expect": bob}]
    shop = {"name": "shop", "hosts": ["shop.test"], "paths": paths}
    given = {"url": None, "clients": clients, "client_name": "curl", "workloads": [shop]}
    return read_options(parameters(pki, "127.0.0.1:1", **given))


SHUT = {"path": "/shut", "allow": ALLOW_BOB}
OPEN, CHANGING = {"path": "/open"}, {"path": "/change", "methods": ["POST"]}
TOKEN = {"path": "/token", "jwt": {"issuer": ISSUER}}


@pytest.mark.parametrize(
    ("paths", "path", "client", "denied_clients"),
    [
        ([SHUT, OPEN], "/open", "Test Client", set()),
        ([CHANGING, TOKEN, OPEN], "/open", "Test Client", set()),
        ([TOKEN, SHUT], "/shut", "bob", {"curl"}),
        ([CHANGING, TOKEN], "/token", "Test Client", set()),
    ],
)
def test_the_first_path_that_somebody_may_use_is_asked_for(
    paths: list[dict[str, t.Any]], path: str, client: str, denied_clients: set[str], pki: Pki
) -> None:
    options = read(pki, paths)
    assert (options.target.host, options.target.path, options.method) == ("shop.test", path, "GET")
    assert f"CN={client}" in options.client.certificate.subject.rfc4514_string().split(",")
    assert options.denied_clients == denied_clients


def test_where_every_path_needs_a_token_its_absence_is_what_is_expected(pki: Pki) -> None:
    assert read(pki, [TOKEN]).expect_status == {200}
    read_with = read(pki, [OPEN])
    bare = dataclasses.replace(read_with, expect_status=frozenset(), workloads=read(pki, [TOKEN]).workloads)
    assert without_url.with_place(bare).expect_status == {403}
    with pytest.raises(MtlsError, match="No path of the workloads can be requested"):
        read(pki, [CHANGING])


def test_who_must_be_refused_is_no_good_client(pki: Pki) -> None:
    options = read(pki, [SHUT], bob="refused")
    assert options.client.name == "made to pass"
    assert options.denied_clients == {"curl"}
    broken = ListedClient("broken", "accepted", None, problem="no key")
    again = without_url.with_place(
        dataclasses.replace(read(pki, [OPEN]), clients=(broken,), workloads=options.workloads)
    )
    assert again.client.name == "made to pass"
    assert again.denied_clients == {"curl", "broken"}


@pytest.mark.parametrize(
    ("answers", "wait_for", "status"),
    [
        ([answered(204)], 0.0, 204),
        ([answered(403)], 0.0, 200),
        ([answered(403, headers=BY_THE_WORKLOAD)], 0.0, 403),
        ([answered(503)], 0.0, 200),
        ([KINDS["reset"]], 0.0, 200),
        ([KINDS["local"]], 600.0, 200),
        ([KINDS["reset"], answered(204)], 600.0, 204),
    ],
)
def test_what_the_good_client_gets_is_expected_unless_it_may_be_a_refusal(
    answers: list[Observation], wait_for: float, status: int, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(answers)
    monkeypatch.setattr(
        without_url, "Inspection", type("Of", (Scripted,), {"gate": staticmethod(lambda _one: left.pop(0))})
    )
    options = dataclasses.replace(read(pki, [OPEN]), wait_for=wait_for)
    assert without_url.with_status(options).expect_status == {status}
    assert left == []


@pytest.mark.parametrize(
    ("changes", "echo"),
    [
        ({}, {"x-id": ["n"], "x-none": []}),
        ({"nonce": "another"}, None),
        ({"upstream": None}, None),
        ({"headers": None}, None),
        ({"headers": {"X-Id": 1}}, None),
    ],
)
def test_a_line_of_the_log_tells_of_its_own_request_only(changes: dict[str, t.Any], echo: t.Any) -> None:
    line = {"nonce": "n", "upstream": "127.0.0.1:1", "headers": {"X-Id": "n", "X-None": None}, **changes}
    assert identity_log._read(json.dumps(line).encode(), "n") == echo
    assert identity_log._read(b"[]", "n") is identity_log._read(b"{", "n") is None
