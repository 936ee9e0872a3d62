# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When is an object ready: every predicate on its own."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import waits
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.verdict import Circumstances, Verdict

Json = dict[str, t.Any]


def verdict(until: str, body: Json, **circumstances: t.Any) -> Verdict:
    return waits.PREDICATES[until]({"metadata": {}, **body}, Circumstances(**circumstances))


ROLLED_OUT = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "observedGeneration": 3}


@pytest.mark.parametrize(
    ("change", "ready"),
    [
        ({}, True),
        ({"observedGeneration": 2}, False),
        ({"updatedReplicas": 1}, False),
        ({"availableReplicas": 1}, False),
        ({"replicas": 3}, False),
    ],
)
def test_a_deployment_is_ready_when_its_newest_template_is_rolled_out(change: Json, ready: bool) -> None:
    body = {"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": {**ROLLED_OUT, **change}}
    assert verdict("deployment_ready", body).ready is ready


def istio_since(state: str, since: str) -> dict[str, t.Any]:
    condition = {"type": "Ready", "status": "True", "reason": "ReconcileSucceeded", "lastTransitionTime": since}
    return {"kind": "Istio", "status": {"state": state, "conditions": [condition]}}


def test_the_first_ready_of_a_fresh_istio_has_to_last() -> None:
    now = datetime.datetime(2026, 11, 29, 9, 30, 52, tzinfo=datetime.UTC)
    early = verdict("kyma_state_ready", istio_since("Ready", "2026-11-29T09:30:50Z"), now=now)
    assert not early.ready
    assert early.words == "Ready, for less than 5 s"
    assert verdict("kyma_state_ready", istio_since("Ready", "2026-11-29T09:30:47Z"), now=now).ready
    # What other managers leave out is not waited for.
    assert verdict("kyma_state_ready", istio_since("Ready", ""), now=now).ready
    gateway = {**istio_since("Ready", "2026-11-29T09:30:50Z"), "kind": "APIGateway"}
    assert verdict("kyma_state_ready", gateway, now=now).ready


def test_a_deployment_that_makes_no_progress_says_so() -> None:
    conditions = [{"type": "Progressing", "status": "False", "message": "ReplicaSet has timed out progressing."}]
    one = verdict("deployment_ready", {"spec": {"replicas": 1}, "status": {"conditions": conditions}})
    assert one.words == "0 of 1 replicas available, 0 up to date; ReplicaSet has timed out progressing"


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}, True),
        ({"desiredNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2}, False),
        ({"desiredNumberScheduled": 0, "numberReady": 0}, False),
        ({}, False),
    ],
)
def test_a_daemon_set_is_ready_on_all_its_nodes(status: Json, ready: bool) -> None:
    assert verdict("daemonset_ready", {"status": status}).ready is ready


def test_a_definition_whose_names_are_taken_says_by_whom() -> None:
    taken = {"type": "NamesAccepted", "status": "False", "message": '"istios" is already in use'}
    one = verdict("crd_established", {"status": {"conditions": [taken]}})
    assert (one.ready, one.words) == (False, 'not NamesAccepted: "istios" is already in use')


def test_a_definition_without_conversion_webhook_needs_no_ca() -> None:
    assert verdict("webhook_injected", {"spec": {"conversion": {"strategy": "None"}}}).ready
    assert not verdict("webhook_injected", {"spec": {"conversion": {"strategy": "Webhook"}}}).ready


def test_a_module_is_ready_when_its_state_is_and_tells_its_condition_otherwise() -> None:
    condition = {"type": "Ready", "status": "False", "reason": "DependenciesMissing", "message": "no Istio"}
    status = {"state": "Error", "description": "CRD gateways\nis not present", "conditions": [condition]}
    one = verdict("kyma_state_ready", {"status": status})
    assert (one.ready, one.words) == (False, "Error (CRD gateways is not present) [DependenciesMissing: no Istio]")
    assert verdict("kyma_state_ready", {"status": {"state": "Ready"}}).ready
    assert verdict("kyma_state_ready", {}).words == "no state yet"


def istio(tag: str) -> Json:
    noted = f'{{"IstioTag": "{tag}"}}'
    return {
        "metadata": {"annotations": {"operator.kyma-project.io/lastAppliedConfiguration": noted}},
        "status": {"state": "Ready"},
    }


def test_istio_is_ready_when_it_has_the_wanted_version() -> None:
    assert verdict("kyma_state_ready", istio("1.30.2-distroless"), version="1.30.2").ready
    assert verdict("kyma_state_ready", istio("1.29.3"), version="1.30.2").words.endswith("waiting for 1.30.2")


@pytest.mark.parametrize("noted", ["", "no json", "[]", "{}"])
def test_an_istio_that_has_not_noted_anything_has_no_version(noted: str) -> None:
    annotation = {"operator.kyma-project.io/lastAppliedConfiguration": noted}
    assert waits.installed_istio({"metadata": {"annotations": annotation}}) == ""


def test_a_warning_is_ready_only_when_accepted() -> None:
    body = {"status": {"state": "Warning", "description": "a user's EnvoyFilter"}}
    assert not verdict("kyma_state_ready", body).ready
    accepted = verdict("kyma_state_ready", body, accept_warning=True)
    assert (accepted.ready, accepted.warning) == (True, True)


def apirule(state: str, processed: str, applied: str = "2026-01-01T10:00:00Z") -> Json:
    managed = [{"manager": "kyma.mtls", "operation": "Apply", "time": applied}]
    return {"metadata": {"managedFields": managed}, "status": {"state": state, "lastProcessedTime": processed}}


def test_a_ready_from_before_the_change_is_stale() -> None:
    before, later = apirule("Ready", "2026-01-01T09:00:00Z"), apirule("Ready", "2026-01-01T10:00:05Z")
    assert not verdict("apirule_ready", before, changed=True, before=before).ready
    assert verdict("apirule_ready", later, changed=True, before=before).ready
    assert not verdict("apirule_ready", apirule("Error", "2026-01-01T10:00:05Z"), changed=True, before=before).ready


def test_an_unchanged_rule_is_believed_after_a_while_whatever_the_clocks_say() -> None:
    body = apirule("Ready", "2026-01-01T09:59:59Z")
    assert not verdict("apirule_ready", body).ready
    assert verdict("apirule_ready", body, waited=waits.STALE_READY_SECONDS).ready


def test_a_rule_that_was_just_created_is_believed_at_once() -> None:
    assert verdict("apirule_ready", apirule("Ready", "2026-01-01T10:00:00Z"), changed=True).ready


@pytest.mark.parametrize(
    ("ingress", "address"),
    [([{"ip": "10.0.0.1"}], "10.0.0.1"), ([{"hostname": "lb.example.com"}], "lb.example.com"), ([{}], ""), ([], "")],
)
def test_a_load_balancer_is_ready_when_it_has_an_address(ingress: list[Json], address: str) -> None:
    one = verdict("load_balancer_address", {"status": {"loadBalancer": {"ingress": ingress}}})
    assert one.ready is bool(address)
    if address:
        assert one.words == address


def test_something_that_is_there_exists() -> None:
    assert verdict("exists", {}).ready
