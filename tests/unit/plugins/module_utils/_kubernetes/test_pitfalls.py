# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pitfalls of Kyma on a cluster, by the numbers of docs/kubernetes.md, played by the double."""

from __future__ import annotations

import contextlib
import time
import typing as t
from unittest import mock

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import objects, run
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.run import WaitTarget
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import kyma as managers
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters

if t.TYPE_CHECKING:
    import pathlib

APIRULES = objects.Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "apirules.gateway.kyma-project.io")


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> t.Iterator[clusters.TestCluster]:
    with clusters.cluster(tmp_path) as made:
        yield made


@pytest.fixture
def ready(cluster: clusters.TestCluster) -> clusters.TestCluster:
    """A cluster with both modules of Kyma."""
    cluster.install_kyma()
    return cluster


def until(condition: t.Callable[[], t.Any]) -> None:
    """Wait until ``condition`` holds; the limit only keeps a broken test from hanging."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(cluster: clusters.TestCluster, kind: str, namespace: str = "", name: str = "default") -> str:
    return str(cluster.body(kind, namespace, name)["status"]["state"])


def test_01_a_custom_resource_waits_for_its_definition(cluster: clusters.TestCluster) -> None:
    cluster.double.mishaps.established_after = 0.6
    cluster.apply(*manifests.istio_manager("1.30.0"), *clusters.kyma_resources()[:2])
    assert state(cluster, managers.ISTIO, "kyma-system") == "Ready"


def test_02_the_api_gateway_comes_after_istio_whose_errors_are_transient(
    cluster: clusters.TestCluster,
) -> None:
    cluster.double.mishaps.istio_errors = 3
    cluster.install_kyma()
    assert cluster.double.mishaps.istio_errors == 0
    assert state(cluster, managers.API_GATEWAY) == "Ready"
    # It was never told that Istio is missing, which would have cost up to 1000 s.
    descriptions = [
        body.get("status", {}).get("description", "")
        for _version, _event, kind, body in cluster.store.events
        if kind == managers.API_GATEWAY
    ]
    assert not any("not present" in one for one in descriptions)


def test_03_a_conversion_webhook_that_is_not_up_yet_is_waited_for(ready: clusters.TestCluster) -> None:
    ready.apply(clusters.namespace(), clusters.gateway(), clusters.service(), clusters.deployment())
    ready.double.mishaps.webhook_down = True
    calls = []
    one = ready.run()

    def sleep(seconds: float) -> None:
        calls.append(seconds)
        ready.double.mishaps.webhook_down = len(calls) < 3

    one.api.sleep = sleep
    one._applier.apply(objects.desired([clusters.apirule()], where="test")[0])
    assert len(calls) == 3


def test_03_a_conversion_webhook_that_stays_away_is_told(ready: clusters.TestCluster) -> None:
    ready.double.mishaps.webhook_down = True
    one = ready.run()
    one.api._retry_seconds = 0
    with pytest.raises(MtlsError, match="APIRule test/httpbin-mtls: the API server says 500: conversion webhook for"):
        one.present(objects.desired([clusters.namespace(), clusters.apirule()], where="test"), wait=True)


def test_04_applying_the_manifest_again_keeps_the_injected_ca(ready: clusters.TestCluster) -> None:
    before = ready.body("customresourcedefinitions.apiextensions.k8s.io", "", APIRULES.name)["spec"]["conversion"]
    outcome = ready.apply(*manifests.api_gateway_manager("3.10.0"))
    after = ready.body("customresourcedefinitions.apiextensions.k8s.io", "", APIRULES.name)["spec"]["conversion"]
    assert before["webhook"]["clientConfig"]["caBundle"]
    assert after == before
    assert not outcome.changed


def test_04_a_lost_ca_is_told_with_its_repair(cluster: clusters.TestCluster) -> None:
    cluster.double.mishaps.ca_bundle_lost = True
    one = cluster.run(timeout=0)
    cluster.apply(*clusters.kyma_resources()[:1], *manifests.api_gateway_manager("3.10.0"))
    with pytest.raises(MtlsError, match="delete Secret kyma-system/api-gateway-webhook-certificate, then restart"):
        one.present([], wait=True, targets=[WaitTarget(ref=APIRULES, until="webhook_injected")])


def test_05_pods_from_before_the_injector_are_made_anew(ready: clusters.TestCluster) -> None:
    ready.double.mishaps.sidecars_off = True
    ready.apply(clusters.namespace(), clusters.gateway(), clusters.service(), clusters.deployment())
    ready.double.mishaps.sidecars_off = False

    bodies = clusters.tutorial()
    predicted = ready.apply(*bodies, check_only=True, with_sidecar=[("test", "httpbin")])
    outcome = ready.apply(*bodies, with_sidecar=[("test", "httpbin")])
    again = ready.apply(*bodies, with_sidecar=[("test", "httpbin")])

    assert predicted.restarted == outcome.restarted
    assert outcome.restarted[0].startswith("Deployment test/httpbin (no sidecar in httpbin-")
    assert state(ready, managers.API_RULE, "test", "httpbin-mtls") == "Ready"
    assert not again.changed


def test_05_a_workload_that_asks_for_no_sidecar_is_left_alone(ready: clusters.TestCluster) -> None:
    body = clusters.deployment()
    body["spec"]["template"]["metadata"]["labels"] = {
        "app": "httpbin",
        "version": "v1",
        "sidecar.istio.io/inject": "false",
    }
    ready.double.mishaps.sidecars_off = True
    outcome = ready.apply(clusters.namespace(), body, with_sidecar=[("test", "httpbin")])
    assert outcome.restarted == []


def test_05_pods_that_never_get_a_sidecar_are_told(ready: clusters.TestCluster) -> None:
    ready.double.mishaps.sidecars_off = True
    with pytest.raises(MtlsError, match=r"no Istio sidecar in httpbin-.*labelled istio-injection=enabled"):
        ready.apply(*clusters.tutorial(), with_sidecar=[("test", "httpbin")], timeout=6)


@pytest.mark.parametrize("version", ["v1.31.14", "v1.33.7"])
def test_06_a_sidecar_is_found_in_both_places(ready: clusters.TestCluster, version: str) -> None:
    ready.double.version = {"gitVersion": version, "minor": version.split(".")[1]}
    outcome = ready.apply(*clusters.tutorial(), with_sidecar=[("test", "httpbin")])
    assert outcome.restarted == []
    pod = next(pod for pod in ready.store.peek_all("pods.") if pod["metadata"]["namespace"] == "test")
    where = "initContainers" if version == "v1.33.7" else "containers"
    assert "istio-proxy" in [one["name"] for one in pod["spec"][where]]


def test_18_a_jump_that_kyma_does_not_make_is_told_when_it_happens_all_the_same(cluster: clusters.TestCluster) -> None:
    cluster.apply(*manifests.istio_manager("1.26.8"), *clusters.kyma_resources()[:2])
    bodies = [*manifests.istio_manager("1.30.0"), *clusters.kyma_resources()[:2]]
    cluster.apply(*bodies, wait=False)
    until(lambda: state(cluster, managers.ISTIO, "kyma-system") == "Warning")
    with pytest.raises(MtlsError, match=r"Warning \(target Istio version \(1\.30\.2\) is not allowed"):
        cluster.apply(*bodies, versions={"Istio": "1.30.2"}, timeout=0)


def test_18_an_upgrade_counts_only_when_istio_says_the_new_version(cluster: clusters.TestCluster) -> None:
    cluster.apply(*manifests.istio_manager("1.27.4"), *clusters.kyma_resources()[:2], versions={"Istio": "1.29.3"})
    cluster.double.mishaps.manager_seconds = 0.5
    bodies = [*manifests.istio_manager("1.30.0"), *clusters.kyma_resources()[:2]]
    cluster.apply(*bodies, versions={"Istio": "1.30.2"})
    noted = cluster.body(managers.ISTIO, "kyma-system", "default")["metadata"]["annotations"]
    assert "1.30.2" in noted[manifests.LAST_APPLIED]


def test_19_removal_goes_from_the_outside_in(ready: clusters.TestCluster) -> None:
    ready.apply(*clusters.tutorial())
    order = [*clusters.tutorial(), *clusters.kyma_resources()[1:]]
    refs = [one.ref for one in objects.in_order(objects.desired(order, where="test"))]
    rules = [ref for ref in refs if ref.kind == "APIRule"]
    rest = [ref for ref in refs if ref.kind in ("Gateway", "Service", "Deployment")]
    ready.run().absent(rules, wait=True)
    ready.run().absent(rest, wait=True)
    ready.run().absent([ref for ref in reversed(refs) if ref.kind in ("APIGateway", "Istio")], wait=True)
    assert ready.store.peek_all(managers.ISTIO) == []
    assert ready.store.peek_all(managers.API_GATEWAY) == []


def test_19_what_blocks_a_removal_is_told_in_kymas_words(ready: clusters.TestCluster) -> None:
    ready.apply(*clusters.tutorial())
    istio = objects.ref_of(clusters.kyma_resources()[1], where="test")
    with pytest.raises(MtlsError) as caught:
        ready.run(timeout=1).absent([istio], wait=True)
    told = str(caught.value)
    assert "Istio kyma-system/default: Warning (There are Istio resources that block deletion. Please take" in told
    assert "custom resources]: Gateway test/kyma-mtls-gateway" in told
    assert "Kyma looks again only after up to 60 s. Leave the finalizers" in told


def test_19_the_apirules_of_others_that_block_the_api_gateway_are_named(ready: clusters.TestCluster) -> None:
    ready.apply(*clusters.tutorial())
    api_gateway = objects.ref_of(clusters.kyma_resources()[2], where="test")
    with pytest.raises(MtlsError) as caught:
        ready.run(timeout=1).absent([api_gateway], wait=True)
    told = str(caught.value)
    assert "because of the existing custom resources: test/httpbin-mtls]. Delete or move what is named there" in told


def test_19_a_manager_that_does_not_run_is_named_as_what_has_to_take_the_finalizers_away(
    ready: clusters.TestCluster,
) -> None:
    manager = clusters.objects.Ref("apps/v1", "Deployment", "istio-controller-manager", "kyma-system")
    ready.run().absent([manager], wait=True)
    istio = objects.ref_of(clusters.kyma_resources()[1], where="test")
    with pytest.raises(MtlsError, match=r"\(finalizers: istios\.operator.*Its manager removes the finalizers when"):
        ready.run(timeout=1).absent([istio], wait=True)


def test_20_two_gateways_with_one_host_are_told(ready: clusters.TestCluster) -> None:
    theirs, elsewhere = clusters.gateway("theirs"), clusters.gateway("elsewhere")
    elsewhere["spec"]["selector"] = {"app": "another-gateway"}
    ready.apply(clusters.namespace(), theirs, elsewhere)
    outcome = ready.apply(clusters.gateway())
    assert len(outcome.warnings) == 1
    assert outcome.warnings[0].startswith(
        "Gateway test/kyma-mtls-gateway: Gateway test/theirs serves *.mtls.local.kyma.dev on port 443 too."
    )


def test_21_a_foreign_envoy_filter_makes_a_warning_that_may_be_accepted(ready: clusters.TestCluster) -> None:
    envoy_filter = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "theirs", "namespace": "istio-system"},
        "spec": {"workloadSelector": {"labels": {"istio": "ingressgateway"}}},
    }
    ready.apply(envoy_filter)
    istio = objects.ref_of(clusters.kyma_resources()[1], where="test")
    # The Warning is there first; before, the CR was Ready.
    until(lambda: state(ready, managers.ISTIO, "kyma-system") == "Warning")
    with pytest.raises(MtlsError, match=r"Warning \(Resources targeting Istio Ingress Gateway"):
        ready.run(timeout=0).present([], wait=True, targets=[WaitTarget(ref=istio, until="kyma_state_ready")])
    accepting = ready.run(accept_warning=True)
    target = WaitTarget(ref=istio, until="kyma_state_ready", circumstances=accepting.circumstances(istio))
    outcome = accepting.present([], wait=True, targets=[target])
    assert outcome.warnings[0].startswith("Istio kyma-system/default: Warning (Resources targeting")


def test_22_the_namespace_of_the_managers_comes_first(cluster: clusters.TestCluster) -> None:
    bodies = [*manifests.istio_manager("1.30.0"), clusters.namespace("kyma-system")]
    ordered = [one.ref.label for one in objects.in_order(objects.desired(bodies, where="test"))]
    assert ordered[:2] == ["Namespace istio-system", "Namespace kyma-system"]
    cluster.apply(*bodies)


def test_24_a_validating_webhook_that_is_not_up_yet_is_tried_again(ready: clusters.TestCluster) -> None:
    ready.double.mishaps.webhook_refusals = 4
    outcome = ready.apply(clusters.namespace(), clusters.gateway())
    assert clusters.actions(outcome)["Gateway test/kyma-mtls-gateway"] == "created"
    assert ready.double.mishaps.webhook_refusals == 0


def test_an_overloaded_server_is_asked_again(ready: clusters.TestCluster) -> None:
    ready.double.mishaps.overloaded = 3
    assert ready.apply(clusters.namespace()).changed


def test_a_ready_from_before_the_change_does_not_count(ready: clusters.TestCluster) -> None:
    ready.apply(*clusters.tutorial())
    before = ready.body(managers.API_RULE, "test", "httpbin-mtls")["status"]
    ready.double.mishaps.apirule_seconds = 1.2
    outcome = ready.apply(clusters.apirule(methods=["GET", "POST"]))

    after = ready.body(managers.API_RULE, "test", "httpbin-mtls")
    assert clusters.actions(outcome) == {"APIRule test/httpbin-mtls": "changed"}
    assert after["status"]["lastProcessedTime"] > before["lastProcessedTime"]
    routes = ready.store.peek_all(managers.VIRTUAL_SERVICE)[0]["spec"]["http"]
    assert routes[0]["match"][0]["method"]["regex"] == "^(GET|POST)$"


def test_a_run_that_was_interrupted_before_waiting_does_not_believe_an_old_ready(ready: clusters.TestCluster) -> None:
    ready.apply(*clusters.tutorial())
    ready.double.mishaps.apirule_seconds = 1.2
    changed = clusters.apirule(methods=["GET", "POST"])
    ready.apply(changed, wait=False)
    outcome = ready.apply(changed)

    assert not outcome.changed
    assert "POST" in clusters.text_of(ready.store.peek_all(managers.VIRTUAL_SERVICE))


class Interruption(BaseException):
    """Ctrl-C, or a power cut."""


@contextlib.contextmanager
def interrupted(one: run.ApplyRun, *, after: int) -> t.Iterator[None]:
    """Have ``one`` end for no reason of its own after so many writes: each leaves another state."""
    # The client is one for all runs on a cluster.
    transport = one.api._transport
    request = transport.request
    writes = 0

    def forward(method: str, *arguments: t.Any, **options: t.Any) -> t.Any:
        nonlocal writes
        if writes == after:
            raise Interruption
        writes += method != "GET"
        return request(method, *arguments, **options)

    with mock.patch.object(transport, "request", forward):
        yield


def test_a_run_that_was_interrupted_after_any_write_is_completed_by_the_next(ready: clusters.TestCluster) -> None:
    desired = objects.desired(clusters.tutorial(), where="test")
    refs = [one.ref for one in reversed(objects.in_order(desired))]

    def apply() -> run.AppliedChanges:
        one = ready.run()
        # No APIRule changes here, so none has to wait for the next second.
        one.api.sleep = lambda _seconds: time.sleep(0.02)
        return one.present(desired, wait=True, with_sidecar=[("test", "httpbin")])

    for number in range(1, len(desired) + 1):
        first = ready.run()
        with pytest.raises(Interruption), interrupted(first, after=number):
            first.present(desired, wait=True, with_sidecar=[("test", "httpbin")])
        apply()
        assert state(ready, managers.API_RULE, "test", "httpbin-mtls") == "Ready"
        assert not apply().changed
        ready.run().absent(refs, wait=True)


@pytest.mark.parametrize("number", [1, 5, 9, 12])
def test_an_installation_that_was_interrupted_is_completed_by_the_next(
    cluster: clusters.TestCluster, number: int
) -> None:
    bodies = [*manifests.istio_manager("1.30.0"), *manifests.api_gateway_manager("3.10.0"), *clusters.kyma_resources()]
    first = cluster.run()
    with pytest.raises(Interruption), interrupted(first, after=number):
        first.present(objects.desired(bodies, where="test"), wait=True)
    cluster.apply(*bodies)
    assert state(cluster, managers.ISTIO, "kyma-system") == "Ready"
    assert state(cluster, managers.API_GATEWAY) == "Ready"
    assert not cluster.apply(*bodies).changed


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_removal_that_was_interrupted_is_completed_by_the_next(ready: clusters.TestCluster, number: int) -> None:
    ready.apply(*clusters.tutorial())
    desired = objects.desired([*clusters.tutorial(), *clusters.kyma_resources()[1:]], where="test")
    order = ("APIRule", "Deployment", "Service", "Gateway", "APIGateway", "Istio")
    refs = sorted((one.ref for one in desired if one.ref.kind in order), key=lambda ref: order.index(ref.kind))
    first = ready.run()
    with pytest.raises(Interruption), interrupted(first, after=number):
        first.absent(refs, wait=True)
    ready.run().absent(refs, wait=True)
    for kind in (managers.API_RULE, managers.GATEWAY, managers.API_GATEWAY, managers.ISTIO):
        assert ready.store.peek_all(kind) == []
    assert not ready.run().absent(refs, wait=True).changed


@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ([clusters.service(), clusters.deployment(), clusters.apirule()], "Could not get specified Gateway"),
        ([clusters.gateway(), clusters.deployment(), clusters.apirule()], 'services "httpbin" not found'),
        (
            [clusters.gateway(), clusters.service(selector={}), clusters.deployment(), clusters.apirule()],
            "Target service label selectors are not defined",
        ),
        (
            [*clusters.tutorial()[1:], clusters.apirule("second")],
            "Host is occupied by another Virtual Service",
        ),
        (
            [clusters.gateway(), clusters.deployment(), clusters.apirule(service=None)],
            "The rule must define a service",
        ),
    ],
)
def test_every_error_of_an_apirule_is_told_in_its_own_words(
    ready: clusters.TestCluster, bodies: list[clusters.Json], words: str
) -> None:
    for body in bodies:
        if body["kind"] == "APIRule" and body["spec"]["service"] is None:
            del body["spec"]["service"]
    ready.apply(clusters.namespace(), *bodies, wait=False)
    last = bodies[-1]["metadata"]["name"]
    until(lambda: (ready.body(managers.API_RULE, "test", last).get("status") or {}).get("state") == "Error")
    target = WaitTarget(ref=objects.ref_of(bodies[-1], where="test"), until="apirule_ready")
    told = r"Not ready after 0 s: APIRule test/.*: Error \(Validation errors: "
    with pytest.raises(MtlsError, match=told) as caught:
        ready.run(timeout=0).present([], wait=True, targets=[target])
    assert words in str(caught.value)


def test_an_image_that_cannot_be_pulled_is_told(ready: clusters.TestCluster) -> None:
    ready.double.mishaps.image_missing = "nowhere/httpbin:1"
    with pytest.raises(MtlsError, match=r"0 of 1 replicas available.*ImagePullBackOff \(Back-off pulling image"):
        ready.apply(clusters.namespace(), clusters.deployment(image="nowhere/httpbin:1"), timeout=1)


def test_an_invalid_apirule_is_refused_with_all_its_errors(ready: clusters.TestCluster) -> None:
    body = clusters.apirule(methods=["FETCH"], hosts=["a.example.com", "b.example.com"])
    with pytest.raises(MtlsError, match="422") as caught:
        ready.apply(clusters.namespace(), body)
    assert "Too many: 2" in str(caught.value)
    assert 'Unsupported value: "FETCH"' in str(caught.value)


def test_what_is_waited_for_is_reported_and_nothing_is_applied_again(ready: clusters.TestCluster) -> None:
    ready.double.mishaps.pods_ready_after = 0.6
    bodies = objects.desired([clusters.namespace(), clusters.deployment()], where="test")
    lines: list[str] = []
    ready.double.log.clear()
    one = run.ApplyRun(ready.api(), check_only=False, timeout_seconds=30, report=lines.extend)
    one.present(bodies, wait=True)
    assert len(lines) > 1
    assert lines[0].startswith("Deployment test/httpbin: 0 of 1 replicas available")
    assert len([line for line in ready.double.log if line.startswith("PATCH")]) == len(bodies)


def test_a_wait_of_minutes_goes_on_with_certificates_that_stand_in_the_kubeconfig(
    cluster: clusters.TestCluster,
) -> None:
    cluster.double.mishaps.pods_ready_after = 1.0
    one = cluster.run(timeout=900)
    minutes = mock.Mock(side_effect=lambda _seconds: time.sleep(0.05))
    one.api.sleep = minutes
    one.present(objects.desired([clusters.namespace(), clusters.deployment()], where="test"), wait=True)
    assert minutes.call_count > 7


def test_10_the_api_gateway_comes_after_istios_second_pass(tmp_path: pathlib.Path) -> None:
    with clusters.cluster(tmp_path, first_ready_seconds=0.3, manager_seconds=0.3) as fresh:
        fresh.install_kyma()
        states = [
            (kind, body.get("status", {}).get("state"))
            for _version, _event, kind, body in fresh.store.events
            if kind in (managers.ISTIO, managers.API_GATEWAY)
        ]
        seen = [state for kind, state in states if kind == managers.ISTIO and state]
        assert [one for one, before in zip(seen, [None, *seen], strict=False) if one != before] == [
            "Processing", "Ready", "Processing", "Ready",
        ]  # fmt: skip
        first = next(number for number, (kind, _state) in enumerate(states) if kind == managers.API_GATEWAY)
        assert [state for kind, state in states[first:] if kind == managers.ISTIO and state != "Ready"] == []
