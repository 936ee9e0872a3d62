# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applying objects: server-side, staged, idempotent, predicted exactly, and careful with what others own."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import apply, objects
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters

if t.TYPE_CHECKING:
    import pathlib


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> t.Iterator[clusters.TestCluster]:
    with clusters.cluster(tmp_path) as made:
        made.install_istio()
        yield made


def test_objects_are_created_once_and_then_left_alone(cluster: clusters.TestCluster) -> None:
    bodies = [clusters.namespace(), clusters.service(), clusters.deployment(), clusters.gateway()]
    first = cluster.apply(*bodies)
    versions = {
        name: one["metadata"]["resourceVersion"] for name, one in cluster.store.objects.items() if name[1] == "test"
    }
    second = cluster.apply(*bodies)

    assert set(clusters.actions(first).values()) == {"created"}
    assert first.changed
    assert set(clusters.actions(second).values()) == {"unchanged"}
    assert not second.changed
    for (kind, _namespace, name), version in versions.items():
        if kind in ("gateways.networking.istio.io", "services."):
            assert cluster.body(kind, "test", name)["metadata"]["resourceVersion"] == version


def test_a_field_that_is_no_longer_wanted_is_taken_away(cluster: clusters.TestCluster) -> None:
    body = clusters.gateway()
    body["spec"]["servers"][0]["tls"]["minProtocolVersion"] = "TLSV1_3"
    labelled = clusters.service()
    labelled["metadata"]["labels"]["service"] = "httpbin"
    cluster.apply(clusters.namespace(), body, labelled)
    outcome = cluster.apply(clusters.namespace(), clusters.gateway(), clusters.service())

    assert clusters.actions(outcome)["Service test/httpbin"] == "changed"
    assert (
        "minProtocolVersion"
        not in cluster.body("gateways.networking.istio.io", "test", "kyma-mtls-gateway")["spec"]["servers"][0]["tls"]
    )
    assert cluster.body("services.", "test", "httpbin")["metadata"]["labels"] == {"app": "httpbin"}


def test_check_mode_predicts_what_the_run_then_does(cluster: clusters.TestCluster) -> None:
    cluster.apply(clusters.namespace(), clusters.service(), clusters.deployment())
    bodies = [clusters.namespace(), clusters.service(), clusters.deployment(replicas=2), clusters.gateway()]
    before = dict(cluster.store.objects)

    predicted = cluster.apply(*bodies, check_only=True)
    assert {key: one["spec"] for key, one in cluster.store.objects.items() if key[1] == "test" and "spec" in one} == {
        key: one["spec"] for key, one in before.items() if key[1] == "test" and "spec" in one
    }
    done = cluster.apply(*bodies)

    now = datetime.datetime.now(tz=datetime.UTC)
    differences = [apply.difference(one.changes, now=now) for one in (predicted, done)]
    assert differences[0] == differences[1]
    assert clusters.actions(predicted) == clusters.actions(done)
    assert clusters.actions(done)["Deployment test/httpbin"] == "changed"


def labelled(body: clusters.Json) -> clusters.Json:
    return {**body, "metadata": {**body["metadata"], "labels": {"app": "httpbin", "team": "ours"}}}


CHANGES: dict[str, tuple[list[clusters.Json], list[clusters.Json]]] = {
    "a namespace and all that is in it": ([], clusters.tutorial()),
    "an image": ([clusters.deployment()], [clusters.deployment(image="docker.io/kennethreitz/httpbin")]),
    "a TLS mode": ([clusters.gateway()], [clusters.gateway(mode="OPTIONAL_MUTUAL")]),
    "methods of an APIRule": ([clusters.apirule()], [clusters.apirule(methods=["GET", "POST"])]),
    "a port of a Service": ([clusters.service()], [clusters.service(ports=[{"name": "http", "port": 9000}])]),
    "a label more": ([clusters.service()], [labelled(clusters.service())]),
    "a label less": ([labelled(clusters.service())], [clusters.service()]),
    "an upgrade": (
        [*manifests.istio_manager("1.29.0"), *manifests.api_gateway_manager("3.9.0")],
        [*manifests.istio_manager("1.30.0"), *manifests.api_gateway_manager("3.10.0")],
    ),
    "nothing": (clusters.tutorial(), clusters.tutorial()),
}


@pytest.fixture(scope="module")
def kyma(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[clusters.TestCluster]:
    """A cluster with both modules, which the changes follow one another on."""
    with clusters.cluster(tmp_path_factory.mktemp("kyma")) as made:
        made.install_kyma()
        yield made


@pytest.mark.parametrize("what", CHANGES)
def test_check_mode_predicts_every_change_to_the_field(kyma: clusters.TestCluster, what: str) -> None:
    before, after = CHANGES[what]
    if before:
        kyma.apply(*before, wait=False)
    predicted = kyma.apply(*after, check_only=True)
    done = kyma.apply(*after, wait=False)

    now = datetime.datetime.now(tz=datetime.UTC)
    assert clusters.actions(predicted) == clusters.actions(done)
    assert predicted.changed == done.changed == (what != "nothing")
    sides = [apply.difference(one.changes, now=now) for one in (predicted, done)]
    for change in predicted.changes:
        if change.predicted:
            # The server could not be asked: what it fills in by itself is not known before.
            sides[1]["after"].pop(change.ref.label)
            assert sides[0]["after"].pop(change.ref.label)["spec"]
    assert sides[0] == sides[1]


def test_check_mode_on_an_empty_cluster_predicts_everything(tmp_path: pathlib.Path) -> None:
    with clusters.cluster(tmp_path) as empty:
        outcome = empty.apply(*clusters.tutorial(), check_only=True)
        assert set(clusters.actions(outcome).values()) == {"created"}
        assert {change.ref.kind for change in outcome.changes if change.predicted} == {
            "Gateway",
            "Service",
            "Deployment",
            "APIRule",
        }
        assert empty.store.peek("namespaces.", "", "test") is None


def test_a_namespace_that_is_missing_is_said_with_what_to_do(cluster: clusters.TestCluster) -> None:
    with pytest.raises(MtlsError, match=r"Service test/httpbin: there is no namespace test\. Create it first"):
        cluster.apply(clusters.service())


def test_a_field_that_kubernetes_does_not_have_is_told(cluster: clusters.TestCluster) -> None:
    body = clusters.deployment()
    body["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(MtlsError, match=r"spec\.containers\.readinesProbe: field not declared in schema"):
        cluster.apply(clusters.namespace(), body)


def test_what_somebody_has_changed_in_our_fields_is_set_back_and_told(cluster: clusters.TestCluster) -> None:
    cluster.apply(clusters.namespace(), clusters.gateway())
    kind = cluster.store.kind_of("networking.istio.io/v1", "Gateway")
    patch = {"spec": {"servers": []}, "metadata": {"labels": {"team": "theirs"}}}
    cluster.store.merge_patch(
        kind, "test", "kyma-mtls-gateway", patch, manager="kubectl-edit", status=False, strategic=False, dry_run=False
    )

    predicted = cluster.apply(clusters.namespace(), clusters.gateway(), check_only=True)
    outcome = cluster.apply(clusters.namespace(), clusters.gateway())

    body = cluster.body("gateways.networking.istio.io", "test", "kyma-mtls-gateway")
    assert body["spec"] == clusters.gateway()["spec"]
    assert body["metadata"]["labels"] == {"team": "theirs"}
    assert clusters.actions(predicted) == clusters.actions(outcome)
    assert outcome.warnings == [
        "Gateway test/kyma-mtls-gateway: somebody else had set .spec.servers (set by kubectl-edit); it was set back."
    ]
    assert "it would be set back" in predicted.warnings[0]
    assert not cluster.apply(clusters.namespace(), clusters.gateway()).changed


def test_an_object_that_another_tool_declares_is_not_fought_over(cluster: clusters.TestCluster) -> None:
    cluster.apply(clusters.namespace())
    kind = cluster.store.kind_of("networking.istio.io/v1", "Gateway")
    theirs = clusters.gateway(mode="SIMPLE")
    cluster.store.apply(kind, "test", theirs, manager="argocd-controller", force=False, dry_run=False)

    with pytest.raises(MtlsError, match=r"belongs to argocd-controller, which declares \.spec\.servers") as caught:
        cluster.apply(clusters.namespace(), clusters.gateway())
    assert caught.value.details["conflicts"] == [".spec.servers (set by argocd-controller)"]
    assert cluster.body("gateways.networking.istio.io", "test", "kyma-mtls-gateway")["spec"] == theirs["spec"]


def test_an_object_of_another_tool_with_our_values_is_shared(cluster: clusters.TestCluster) -> None:
    kind = cluster.store.kind_of("v1", "Namespace")
    cluster.store.apply(kind, "", clusters.namespace(), manager="argocd-controller", force=False, dry_run=False)

    first, second = cluster.apply(clusters.namespace()), cluster.apply(clusters.namespace())

    # Taking part in a field is a change, once.
    assert clusters.actions(first) == {"Namespace test": "changed"}
    assert not second.changed


def test_all_field_errors_of_the_server_are_told(cluster: clusters.TestCluster) -> None:
    body = clusters.service()
    body["spec"]["ports"][0]["port"] = 70000
    with pytest.raises(MtlsError, match=r"Service test/httpbin: the API server says 422: .*between 1 and 65535"):
        cluster.apply(clusters.namespace(), body)


def test_objects_are_deleted_in_the_opposite_order(cluster: clusters.TestCluster) -> None:
    bodies = [clusters.namespace(), clusters.service(), clusters.deployment()]
    cluster.apply(*bodies)
    refs = [one.ref for one in reversed(objects.in_order(objects.desired(bodies, where="test")))]

    predicted = cluster.run(check_only=True).absent(refs, wait=True)
    assert cluster.store.peek("services.", "test", "httpbin") is not None
    outcome = cluster.run().absent(refs, wait=True)
    again = cluster.run().absent(refs, wait=True)

    assert [change.ref.kind for change in outcome.changes] == ["Deployment", "Service", "Namespace"]
    assert clusters.actions(predicted) == clusters.actions(outcome)
    assert set(clusters.actions(outcome).values()) == {"deleted"}
    assert not again.changed
    assert cluster.store.peek("namespaces.", "", "test") is None


def test_deleting_a_kind_that_is_not_there_is_no_error(tmp_path: pathlib.Path) -> None:
    with clusters.cluster(tmp_path) as empty:
        outcome = empty.run().absent([objects.ref_of(clusters.apirule(), where="test")], wait=True)
        assert not outcome.changed


def test_the_number_of_requests_is_two_an_object_and_one_an_api_version(cluster: clusters.TestCluster) -> None:
    bodies = [clusters.namespace(), clusters.service(), clusters.deployment(), clusters.gateway()]
    cluster.apply(*bodies)
    run = cluster.run()
    run.present(objects.desired(bodies, where="test"), wait=True)
    versions = {body["apiVersion"] for body in bodies}
    # One more looks for other Gateways with the same host.
    assert run.api.requests == 2 * len(bodies) + len(versions) + 1
