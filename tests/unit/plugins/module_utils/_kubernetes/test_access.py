# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster that comes up while it is waited for, on a clock that only waiting moves."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import access
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import (
    ApiError,
    ForeignServerError,
    UnreachableError,
)
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.permissions import Permission

READY = {"metadata": {"name": "one"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
UNREADY = {"metadata": {"name": "two"}, "status": {}}
AVAILABLE = {"status": {"conditions": [{"type": "Available", "status": "True"}]}}
VERSION = {"gitVersion": "v1.33.7+k3s1"}


class Api:
    """Answers to each path, one after the other; the last one stays."""

    def __init__(self, answers: dict[str, list[t.Any]]) -> None:
        self.answers = {"/version": [VERSION], access.TRAEFIK_PATH: [None], **answers}
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def get(self, path: str, *, what: str) -> t.Any:
        return self.request("GET", path, what=what)

    def request(self, _method: str, path: str, *, what: str, **_more: t.Any) -> t.Any:
        assert what
        waiting = self.answers[path]
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def nodes(*items: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"items": list(items)}


def test_nodes_and_dns_are_awaited_through_all_that_happens_on_the_way():
    api = Api(
        {
            "/api/v1/nodes": [
                UnreachableError("The API server does not answer."),
                ApiError("The nodes: the API server says 503: starting.", status=503),
                nodes(),
                nodes(READY, UNREADY),
                nodes(READY, READY),
            ],
            access.DNS_PATH: [None, {"status": {}}, AVAILABLE],
        }
    )
    found = access.check(api, nodes=2, dns=True, timeout_seconds=60)
    assert found.nodes == 2
    # 0.25, 0.5, 1, then two seconds each
    assert api.now == 7.75


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"/api/v1/nodes": [nodes()]}, "0 of 1 nodes are ready"),
        ({"/api/v1/nodes": [nodes(READY, UNREADY)]}, r"1 of 2 nodes are ready \(not two\)"),
        ({"/api/v1/nodes": [nodes(READY)], access.DNS_PATH: [None]}, "there is no CoreDNS yet"),
        ({"/api/v1/nodes": [nodes(READY)], access.DNS_PATH: [{}]}, "CoreDNS is not available"),
        ({"/api/v1/nodes": [UnreachableError("Nobody answers.")]}, "Nobody answers"),
    ],
)
def test_in_the_end_it_is_told_what_is_lacking(answers, words):
    with pytest.raises(MtlsError, match=f"The cluster is not ready after 10 seconds: {words}"):
        access.check(Api(answers), nodes=1, dns=True, timeout_seconds=10)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_waited_for(status):
    api = Api({"/api/v1/nodes": [ApiError("no", status=status)]})
    with pytest.raises(ApiError):
        access.check(api, nodes=1)
    assert api.now == 0


def test_dns_alone_can_be_waited_for():
    assert access.check(Api({access.DNS_PATH: [AVAILABLE]}), dns=True).nodes is None


def test_what_may_not_be_read_is_not_warned_of():
    assert access.check(Api({access.TRAEFIK_PATH: [ApiError("no", status=403)]})).warnings == []
    with pytest.raises(ApiError):
        access.check(Api({access.TRAEFIK_PATH: [ApiError("broken", status=500)]}))


def test_permissions_are_told_with_group_and_namespace():
    told = [
        str(Permission("get", "", "nodes")),
        str(Permission("patch", "apps", "deployments", "test")),
        str(Permission("get", "apps", "deployments", "istio-system", "istiod")),
    ]
    assert told == ["get nodes", "patch deployments.apps in test", "get deployments.apps istiod in istio-system"]


def test_a_version_without_a_number_is_not_that_of_kubernetes():
    with pytest.raises(ForeignServerError, match=r"not as a Kubernetes API\. Check server"):
        access.check(Api({"/version": [{"status": "ok"}]}))


def test_a_new_cluster_is_connected_to_when_it_answers():
    api = Api({})
    failures = [UnreachableError("not yet"), UnreachableError("not yet")]

    def connect() -> Api:
        if failures:
            raise failures.pop()
        return api

    assert access.connect_patiently(connect, timeout_seconds=10, sleep=api.sleep, clock=api.clock) is api
    assert api.now == 0.75


def test_a_cluster_that_is_not_waited_for_has_to_answer_at_once():
    def connect() -> Api:
        raise UnreachableError("never")

    with pytest.raises(UnreachableError, match="never"):
        access.connect_patiently(connect, timeout_seconds=0)
