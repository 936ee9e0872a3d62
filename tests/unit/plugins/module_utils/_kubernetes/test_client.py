# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests: discovery without a stale cache, patience with what is transient, refusals in the server's words."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import urllib3
from kubernetes.client.rest import ApiException
from kubernetes.config import ConfigException
from kubernetes.dynamic.exceptions import DynamicApiError

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import apply, client, objects, overlaps, sidecars
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters

Answer = t.Any


class Response:
    def __init__(self, body: t.Any, **headers: str) -> None:
        self.data = json.dumps(body).encode()
        self.headers = headers


def refusal(status: int, message: str = "", *, reason: str = "", causes: t.Sequence[t.Any] = ()) -> DynamicApiError:
    """A refusal as the Python client raises it."""
    exc = ApiException(status=status, reason="as HTTP says")
    status_object = {"message": message, "reason": reason, "details": {"causes": list(causes)}}
    exc.body = json.dumps(status_object) if message else "<html>"
    exc.headers = {}
    return DynamicApiError(exc)


class Scripted:
    """A transport that answers what it is given, one answer after another."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    def request(self, method: str, path: str, **_parameters: t.Any) -> Response:
        self.asked.append((method, path))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else Response(answer)


def api(*answers: Answer, **options: t.Any) -> client.Api:
    options.setdefault("sleep", lambda _seconds: None)
    return client.Api(Scripted(*answers), **options)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (429, "too many requests"),
        (503, "starting"),
        (500, 'failed calling webhook "validation.istio.io"'),
        (500, "conversion webhook for gateway.kyma-project.io/v2, Kind=APIRule failed"),
        (500, 'no endpoints available for service "istiod"'),
    ],
)
def test_what_is_transient_is_tried_again(status: int, message: str) -> None:
    one = api(refusal(status, message), refusal(status, message), {"kind": "Thing"})
    assert one.request("GET", "/x", what="Thing") == {"kind": "Thing"}
    assert one.requests == 3


@pytest.mark.parametrize(("status", "message"), [(403, "no"), (422, "invalid"), (500, "a bug"), (409, "conflict")])
def test_what_is_final_is_told_at_once(status: int, message: str) -> None:
    one = api(refusal(status, message))
    with pytest.raises(client.ApiError, match=f"Thing: the API server says {status}: {message}"):
        one.request("GET", "/x", what="Thing")
    assert one.requests == 1


def test_patience_with_what_is_transient_ends() -> None:
    times = iter(range(0, 1000, 40))
    one = api(*[refusal(503, "starting")] * 5, clock=lambda: next(times))
    with pytest.raises(client.ApiError, match="503"):
        one.request("GET", "/x", what="Thing")
    assert one.requests < 5


@pytest.mark.parametrize(("status", "advice"), [(401, "renew them"), (403, "needs this permission")])
def test_a_refusal_says_what_to_do(status: int, advice: str) -> None:
    with pytest.raises(MtlsError, match=advice):
        api(refusal(status, "no")).request("GET", "/x", what="Thing")


def test_a_refusal_without_words_is_told_all_the_same() -> None:
    with pytest.raises(MtlsError, match="says 404: as HTTP says"):
        api(refusal(404)).request("GET", "/x", what="Thing")


def test_a_server_that_does_not_answer_is_told() -> None:
    with pytest.raises(client.UnreachableError, match=r"does not answer \(Thing\): closed"):
        api(urllib3.exceptions.ProtocolError("closed")).request("GET", "/x", what="Thing")


def kinds(*names: str) -> dict[str, t.Any]:
    listed = [{"name": f"{name.lower()}s", "kind": name, "namespaced": True} for name in names]
    return {"resources": [*listed, {"name": "gateways/status", "kind": "Gateway", "namespaced": True}]}


def test_a_kind_is_looked_up_once_and_a_missing_one_every_time() -> None:
    one = api(kinds("Gateway"), kinds("Gateway"), kinds("Gateway", "Other"))
    assert one.resource("networking.istio.io/v1", "Gateway").path("test", "x") == (
        "/apis/networking.istio.io/v1/namespaces/test/gateways/x"
    )
    one.resource("networking.istio.io/v1", "Gateway")
    assert one.requests == 1
    with pytest.raises(client.UnknownKindError, match=r"does not know the kind Other of networking\.istio\.io/v1"):
        one.resource("networking.istio.io/v1", "Other")
    with pytest.raises(client.UnknownKindError):
        one.resource("networking.istio.io/v1", "Other")
    assert one.resource("networking.istio.io/v1", "Other").path(None) == "/apis/networking.istio.io/v1/others"


def test_an_api_version_that_is_not_served_has_no_kinds_and_other_refusals_are_told() -> None:
    with pytest.raises(client.UnknownKindError):
        api(refusal(404, "not found")).resource("example.org/v1", "Thing")
    with pytest.raises(client.ApiError, match="403"):
        api(refusal(403, "no")).resource("example.org/v1", "Thing")


def test_what_is_not_there_is_none_and_cannot_be_deleted() -> None:
    assert api(refusal(404, "not found")).get("/x", what="Thing") is None
    assert api(refusal(404, "not found")).delete("/x", what="Thing", dry_run=False) is False
    with pytest.raises(client.ApiError):
        api(refusal(403, "no")).get("/x", what="Thing")
    with pytest.raises(client.ApiError):
        api(refusal(403, "no")).delete("/x", what="Thing", dry_run=True)


def test_the_servers_clock_is_known() -> None:
    one = api(Response({}, Date="Thu, 01 Jan 2026 10:00:00 GMT"), Response({}, Date="never"))
    one.request("GET", "/x", what="Thing")
    assert one.now().year == 2026
    one.request("GET", "/x", what="Thing")
    assert one.now().month == 1


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            ConfigException("Invalid kube-config file"),
            "no usable connection to a cluster in /k: Invalid kube-config file. Name",
        ),
        (refusal(401, "Unauthorized"), "Connecting: the API server says 401"),
        (
            urllib3.exceptions.HTTPError("refused"),
            "The API server of /k does not answer: refused. Is the cluster running",
        ),
    ],
)
def test_a_connection_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, problem: Exception, words: str) -> None:
    def fail(**_options: t.Any) -> None:
        raise problem

    monkeypatch.setattr(client, "get_api_client", fail)
    with pytest.raises(MtlsError) as caught:
        client.connect({"kubeconfig": "/k", "context": None})
    assert words in str(caught.value)


# Applying, against answers that the double does not give


def desired(body: clusters.Json) -> objects.DesiredObject:
    return objects.desired([body], where="test")[0]


def listed(kind: str, plural: str) -> dict[str, t.Any]:
    return {"resources": [{"name": plural, "kind": kind, "namespaced": True}]}


def test_an_object_that_was_modified_meanwhile_is_applied_again() -> None:
    body = {**clusters.service(), "metadata": {"name": "httpbin", "namespace": "test"}}
    modified = refusal(409, "the object has been modified", reason="Conflict")
    one = api(listed("Service", "services"), body, modified, modified, body)
    assert apply.Applier(one, dry_run=False).apply(desired(body)).action == "unchanged"

    one = api(listed("Service", "services"), body, *[modified] * apply.MODIFIED_RETRIES)
    with pytest.raises(MtlsError, match="has been modified"):
        apply.Applier(one, dry_run=False).apply(desired(body))


def test_a_conflict_with_somebody_unnamed_is_settled_too() -> None:
    body = {**clusters.service(), "metadata": {"name": "httpbin", "namespace": "test"}}
    cause = {"reason": "FieldManagerConflict", "message": "conflict", "field": ".spec.type"}
    one = api(listed("Service", "services"), body, refusal(409, "Apply failed", causes=[cause, {"reason": "x"}]), body)
    change = apply.Applier(one, dry_run=False).apply(desired(body))
    assert change.conflicts == (".spec.type (set by someone else)",)


def test_a_kind_that_never_comes_is_told() -> None:
    times = iter(range(0, 1000, 25))
    one = api(*[refusal(404, "not found")] * 9, clock=lambda: next(times))
    with pytest.raises(client.UnknownKindError, match="CustomResourceDefinition is not there"):
        apply.Applier(one, dry_run=False).apply(desired(clusters.apirule()))


@pytest.mark.parametrize("processed", ["no time", "2026-01-01T10:00:00Z"])
def test_a_rule_is_not_changed_within_the_second_of_its_last_processing(processed: str) -> None:
    slept: list[float] = []
    body = {**clusters.apirule(), "status": {"state": "Ready", "lastProcessedTime": processed}}
    date = {"Date": "Thu, 01 Jan 2026 10:00:00 GMT"}
    one = api(listed("APIRule", "apirules"), Response(body, **date), body, sleep=slept.append)
    apply.Applier(one, dry_run=False).apply(desired(clusters.apirule()))
    assert len(slept) == (0 if processed == "no time" else 1)


def test_an_object_that_is_being_deleted_is_not_deleted_again() -> None:
    body = clusters.apirule()
    body["metadata"]["deletionTimestamp"] = "2026-01-01T10:00:00Z"
    one = api(listed("APIRule", "apirules"), body)
    change = apply.Applier(one, dry_run=False).delete(objects.ref_of(body, where="test"))
    assert change.action == "deleted"
    assert one.requests == 2


def test_an_object_without_namespace_is_in_default() -> None:
    resource = client.ApiResource(api_version="v1", plural="services", namespaced=True)
    assert apply.namespace_of(objects.Ref("v1", "Service", "x"), resource) == "default"
    assert (
        apply.namespace_of(objects.Ref("v1", "Service", "x"), client.ApiResource("v1", "nodes", namespaced=False))
        is None
    )


def test_troubles_of_pods_are_told_in_their_own_words() -> None:
    waiting = {"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    died = {"name": "b", "state": {"terminated": {"reason": "OOMKilled"}}}
    fine = {"name": "c", "state": {"running": {}}}
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    status = {"containerStatuses": [waiting, fine], "initContainerStatuses": [died], "conditions": [unscheduled]}
    pod = {"metadata": {"name": "p"}, "status": status}
    gone = {"metadata": {"name": "q", "deletionTimestamp": "now"}, "status": status}
    assert sidecars.troubles(api({"items": [pod, gone]}), clusters.deployment()) == [
        "Pod p, container b: OOMKilled.",
        "Pod p, container a: ImagePullBackOff (no such image).",
        "Pod p is not scheduled: 0/1 nodes are available.",
    ]


def test_who_may_not_look_at_all_gateways_is_not_warned() -> None:
    assert overlaps.overlapping(api(refusal(403, "no")), [clusters.gateway()]) == []
    with pytest.raises(client.ApiError, match="500"):
        overlaps.overlapping(api(refusal(500, "a bug")), [clusters.gateway()])


@pytest.mark.parametrize("data", [b"<html>Sign in</html>", b"", b"[]", b'"yes"'])
def test_an_answer_that_is_no_object_is_not_that_of_kubernetes(data: bytes) -> None:
    response = Response({})
    response.data = data
    with pytest.raises(client.ForeignServerError, match=r"\(The nodes\), but not as a Kubernetes API\. Check server"):
        api(response).request("GET", "/api/v1/nodes", what="The nodes")


def test_a_kubeconfig_that_is_none_is_not_taken_for_a_foreign_server(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("a text")
    with pytest.raises(client.UnreachableError, match="no usable connection to a cluster"):
        client.connect({"kubeconfig": str(path)})
