# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verification asks for when it has no URL: a path of the workloads."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import SAFE_METHODS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import (
    Inspection,
    ListedClient,
    VerifyOptions,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.path_inspection import (
    SERVED,
    at_host,
    check_served,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import HTTP_REFUSALS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.workloads import made_to_be_allowed
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import (
        PathUnderTest,
        WorkloadUnderTest,
    )

    Place: t.TypeAlias = tuple[WorkloadUnderTest, PathUnderTest]

_PAUSE_SECONDS = 0.2
# What a path that needs a token answers to who has none.
_WITHOUT_TOKEN = 403


def with_place(options: VerifyOptions) -> VerifyOptions:
    """Return ``options`` for the first path of the workloads that every client may use, else that one of them may.

    That one is then the good client; where nobody at hand may, it is a throw-away one of the client CA. Where each path
    needs a token, the gateway's 403 shows that the good client got through the handshake. Raises MtlsError when there
    is no path to ask for.
    """
    places = [
        (workload, path)
        for workload in options.workloads
        for path in workload.paths
        if path.method in SAFE_METHODS and not path.is_taken
    ]
    without_token = [place for place in places if place[1].jwt is None]
    for place in without_token:
        if place[1].allow is None:
            return _at(options, place)
    for with_client in (_with_listed, _with_throw_away):
        for place in without_token:
            if found := with_client(options, place[1]):
                return _at(found, place)
    for place in places:
        expected = options.expect_status or frozenset({_WITHOUT_TOKEN})
        return dataclasses.replace(_at(options, place), expect_status=expected)
    raise MtlsError(
        "No path of the workloads can be requested: each needs a method that may change something. Give url, or a path "
        "that has GET."
    )


def _with_listed(options: VerifyOptions, path: PathUnderTest) -> VerifyOptions | None:
    """Return ``options`` with a good client that may use ``path``, and without those that may not."""
    former = _as_listed(options)
    admitted: list[ListedClient] = []
    others: list[ListedClient] = []
    for client in (former, *options.clients):
        may_pass = client.identity is not None and path.admits(client.identity.certificate)
        (admitted if client.expect == "accepted" and may_pass else others).append(client)
    if not admitted or admitted[0].identity is None:
        return None
    return dataclasses.replace(
        options,
        client=admitted[0].identity,
        client_name=admitted[0].name,
        clients=(*admitted[1:], *others),
        denied_clients=frozenset(client.name for client in others if client.expect == "accepted"),
    )


def _as_listed(options: VerifyOptions) -> ListedClient:
    name = options.client_name or options.client.name
    return ListedClient(name, "accepted", dataclasses.replace(options.client, name=name))


def _with_throw_away(options: VerifyOptions, path: PathUnderTest) -> VerifyOptions | None:
    throw_away = (
        options.kit.throw_away(now=options.now)
        if options.kit
        else ThrowAwayIdentities(options.client, options.authority, now=options.now)
    )
    made = next(made_to_be_allowed(path, throw_away), None)
    if made is None:
        return None
    former = _as_listed(options)
    return _with_listed(
        dataclasses.replace(options, client=made, client_name="", clients=(former, *options.clients)), path
    )


def _at(options: VerifyOptions, place: Place) -> VerifyOptions:
    return at_host(Inspection(options), *place).options


def with_status(options: VerifyOptions) -> VerifyOptions:
    """Return ``options`` with the status that the good client gets, whatever the workload answers.

    When it gets none, or a refusal that may be the gateway's, 200 is expected: what is wrong is then told as usual.
    """
    deadline = time.monotonic() + options.wait_for
    while True:
        observation = Inspection(options).attempt(options.client, verified=False)
        is_served = check_served(observation)[0] in SERVED
        left = deadline - time.monotonic()
        if is_served or observation.kind is Kind.LOCAL or left <= 0:
            break
        time.sleep(min(_PAUSE_SECONDS, left))
    may_be_refusal = observation.status in HTTP_REFUSALS and not observation.is_of_upstream
    status = observation.status if is_served and not may_be_refusal else None
    return dataclasses.replace(options, expect_status=frozenset({status or 200}), wait_for=max(left, 0.0))
