# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kyma's managers: what they do with their CRs and with APIRules, and in which words they report it."""

from __future__ import annotations

import json
import time
import typing as t

from . import manifests
from .kubelet import CRDS
from .refusals import Json
from .store import now_text

if t.TYPE_CHECKING:
    from .cluster import Cluster

ISTIO, API_GATEWAY = "istios.operator.kyma-project.io", "apigateways.operator.kyma-project.io"
API_RULE, GATEWAY = "apirules.gateway.kyma-project.io", "gateways.networking.istio.io"
VIRTUAL_SERVICE, POLICY = "virtualservices.networking.istio.io", "authorizationpolicies.security.istio.io"
ENVOY_FILTER = "envoyfilters.networking.istio.io"
FINALIZER_ISTIO = "istios.operator.kyma-project.io/istio-installation"
FINALIZER_GATEWAY = "gateways.operator.kyma-project.io/api-gateway"
FINALIZER_KYMA_GATEWAY = "gateways.operator.kyma-project.io/kyma-gateway"
FINALIZER_RULE = "gateway.kyma-project.io/subresources"
OURS = {"kyma-project.io/module": "istio"}
LOGS = "Please take a look at kyma-system/{} logs to see more information about the warning"
# As the managers write them into their conditions.
MESSAGES = {
    "ReconcileUnknown": (
        "Module readiness is unknown. Either a reconciliation is progressing, or failed previously. "
        "Check status of other conditions"
    ),
    "ReconcileSucceeded": "Reconciliation succeeded",
    "ReconcileProcessing": "Reconcile processing",
    "IstioCustomResourcesDangling": "Istio deletion blocked because of existing Istio custom resources",
}
SUCCEEDED: tuple[Json, ...] = (
    {
        "type": "ProxySidecarRestartSucceeded",
        "status": "True",
        "reason": "ProxySidecarRestartSucceeded",
        "message": "Proxy sidecar restart succeeded",
    },
    {
        "type": "IngressTargetingUserResourceFound",
        "status": "False",
        "reason": "IngressTargetingUserResourceNotFound",
        "message": "Resources targeting Istio Ingress Gateway not found",
    },
)


def minor(version: str) -> int:
    return int(version.split(".")[1])


class Manager:
    """A controller in a Deployment of kyma-system: without its pod nothing happens."""

    deployment = ""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self._due: dict[str, float] = {}
        self._done: dict[str, t.Any] = {}

    def tick(self, now: float) -> None:
        if self.cluster.deployment_ready("kyma-system", self.deployment):
            self.work(now)

    def work(self, now: float) -> None:
        raise NotImplementedError

    def due(self, label: str, mark: t.Any, now: float, seconds: float) -> bool:
        """Whether ``seconds`` have passed since ``mark`` last changed, and nobody has worked on it since."""
        if self._done.get(label, object()) == mark:
            return False
        self._due.setdefault(f"{label} {mark}", now)
        return now - self._due[f"{label} {mark}"] >= seconds

    def looks_again(self, label: str, now: float) -> bool:
        """Whether it is time to look at a deletion that was blocked: not at once when the obstacle is gone."""
        if now < self._due.get(f"{label} blocked", 0):
            return False
        self._due[f"{label} blocked"] = now + self.cluster.mishaps.blocked_seconds
        return True

    def done(self, label: str, mark: t.Any) -> None:
        self._done[label] = mark

    @staticmethod
    def state(
        body: Json, state: str, description: str, *, reason: str, message: str = "", more: t.Sequence[Json] = ()
    ) -> None:
        """Write the status as Kyma's managers do; a condition's time moves with its status only."""
        before = {one["type"]: one for one in (body.get("status") or {}).get("conditions") or []}
        ready = {"Ready": "True", "Processing": "Unknown", "Deleting": "Unknown"}.get(state, "False")
        text = message or MESSAGES.get(reason) or description
        conditions = []
        for one in ({"type": "Ready", "status": ready, "reason": reason, "message": text}, *more):
            old = before.pop(one["type"], {})
            stays = old.get("status") == one["status"]
            conditions.append({**one, "lastTransitionTime": old["lastTransitionTime"] if stays else now_text()})
        body["status"] = {"state": state, "conditions": [*conditions, *before.values()]}
        if description:
            body["status"]["description"] = description


class IstioManager(Manager):
    """kyma-system/istio-controller-manager."""

    deployment = "istio-controller-manager"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._first_ready: dict[str, float] = {}

    def work(self, now: float) -> None:
        for body in self.store.peek_all(ISTIO):
            if not body["metadata"].get("deletionTimestamp"):
                self._reconcile(body, now)
            elif self.looks_again(body["metadata"]["uid"], now):
                self._delete(body)

    def _version(self) -> str:
        manager = self.store.peek("deployments.apps", "kyma-system", self.deployment) or {}
        images = {
            one["name"]: one.get("value", "")
            for one in manager["spec"]["template"]["spec"]["containers"][0].get("env", [])
        }
        return images.get("pilot", "").rpartition(":")[2]

    def _reconcile(self, body: Json, now: float) -> None:
        label = body["metadata"]["namespace"] + body["metadata"]["name"]
        filters = self._foreign_filters()
        if self._second_pass(body, now):
            return
        mark = (body["metadata"]["generation"], self._version(), bool(filters), self.cluster.mishaps.istio_errors)
        if not self.due(label, mark, now, self.cluster.mishaps.manager_seconds):
            if self._done.get(label) != mark and "status" not in body:
                self.state(body, "Processing", "Reconciling Istio", reason="ReconcileUnknown")
                body["metadata"].setdefault("finalizers", []).append(FINALIZER_ISTIO)
                self.store.set(ISTIO, body)
            return
        if self.cluster.mishaps.istio_errors > 0:
            self.cluster.mishaps.istio_errors -= 1
            self.state(
                body,
                "Error",
                "Istio installation failed: timed out waiting for the condition",
                reason="IstioInstallUninstallFailed",
            )
            self.store.set(ISTIO, body)
            return
        self.done(label, mark)
        self._settle(body, filters)

    def _second_pass(self, body: Json, now: float) -> bool:
        """The first Ready of a fresh CR is followed by another pass; return whether one goes on."""
        uid, mishaps = body["metadata"]["uid"], self.cluster.mishaps
        if uid not in self._first_ready:
            return False
        age = now - self._first_ready[uid]
        if age < mishaps.first_ready_seconds:
            return True
        if age < mishaps.first_ready_seconds + mishaps.manager_seconds:
            self.state(body, "Processing", "Reconciling Istio", reason="ReconcileUnknown")
        else:
            del self._first_ready[uid]
            self.state(body, "Ready", "", reason="ReconcileSucceeded", more=SUCCEEDED)
        self.store.set(ISTIO, body)
        return uid in self._first_ready

    def _settle(self, body: Json, filters: list[str]) -> None:
        if body["metadata"]["namespace"] != "kyma-system":
            self.state(
                body,
                "Error",
                "Stopped Istio CR reconciliation: istio CR is not in kyma-system namespace",
                reason="ReconcileFailed",
            )
            self.store.set(ISTIO, body)
            return
        noted = json.loads((body["metadata"].get("annotations") or {}).get(manifests.LAST_APPLIED, "{}"))
        old, new = str(noted.get("IstioTag", "")).partition("-")[0], self._version().partition("-")[0]
        if old and (manifests.number(new) < manifests.number(old) or minor(new) - minor(old) > 1):
            text = f"target Istio version ({new}) is not allowed, current Istio version is {old}: one minor at most"
            self.state(body, "Warning", text, reason="IstioVersionUpdateNotAllowed")
            self.store.set(ISTIO, body)
            return
        self._install(self._version())
        annotation = json.dumps({"Config": body.get("spec", {}).get("config", {}), "IstioTag": self._version()})
        body["metadata"].setdefault("annotations", {})[manifests.LAST_APPLIED] = annotation
        if filters:
            text = f"Resources targeting Istio Ingress Gateway found: {', '.join(filters)}"
            self.state(body, "Warning", text, reason="IngressTargetingUserResourceFound")
        else:
            self.state(body, "Ready", "", reason="ReconcileSucceeded", more=SUCCEEDED)
            if not noted and self.cluster.mishaps.first_ready_seconds:
                self._first_ready[body["metadata"]["uid"]] = time.monotonic()
        self.store.set(ISTIO, body)

    def _install(self, tag: str) -> None:
        if self.store.peek("namespaces.", "", "istio-system") is None:
            self.store.set(
                "namespaces.", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
            )
        for stored, bodies in manifests.installed_by_istio(tag):
            for body in bodies:
                old = self.store.peek(stored, body["metadata"].get("namespace", ""), body["metadata"]["name"])
                if old is not None and stored != "deployments.apps":
                    continue
                if old is not None and old["spec"] != body["spec"]:
                    old["spec"] = body["spec"]
                    old["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
                self.store.set(stored, old or body)

    def _foreign_filters(self) -> list[str]:
        return [
            f"EnvoyFilter/{one['metadata']['name']}"
            for one in self.store.peek_all(ENVOY_FILTER)
            if one["metadata"]["namespace"] == "istio-system"
            and "kyma-project.io/module" not in (one["metadata"].get("labels") or {})
        ]

    def _delete(self, body: Json) -> None:
        left = [
            f"{stored.partition('.')[0]}:{one['metadata']['namespace']}/{one['metadata']['name']}"
            for stored in (GATEWAY, VIRTUAL_SERVICE)
            for one in self.store.peek_all(stored)
            if "kyma-project.io/module" not in (one["metadata"].get("labels") or {})
        ]
        if left:
            text = "There are Istio resources that block deletion. " + LOGS.format(self.deployment)
            self.state(body, "Warning", text, reason="IstioCustomResourcesDangling")
            self.store.set(ISTIO, body)
            return
        for stored, bodies in manifests.installed_by_istio("0"):
            for one in bodies:
                self.store.drop(stored, one["metadata"].get("namespace", ""), one["metadata"]["name"])
        body["metadata"]["finalizers"] = []
        self.store.set(ISTIO, body)


class ApiGatewayManager(Manager):
    """kyma-system/api-gateway-controller-manager."""

    deployment = "api-gateway-controller-manager"

    def tick(self, now: float) -> None:
        body = self.store.peek("deployments.apps", "kyma-system", self.deployment)
        definition = self.store.peek(CRDS, "", API_RULE)
        if body is not None and definition is not None and not self.cluster.mishaps.ca_bundle_lost:
            conversion = definition["spec"].get("conversion") or {}
            # Its init container does this once, before the manager starts.
            mark = (body["metadata"]["uid"], definition["metadata"]["uid"])
            if conversion.get("strategy") == "Webhook" and self._done.get("caBundle") != mark:
                conversion["webhook"]["clientConfig"]["caBundle"] = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="
                self.store.set(CRDS, definition)
                self.done("caBundle", mark)
        super().tick(now)

    def work(self, now: float) -> None:
        for body in self.store.peek_all(API_GATEWAY):
            if not body["metadata"].get("deletionTimestamp"):
                self._reconcile(body, now)
            elif self.looks_again(body["metadata"]["uid"], now):
                self._delete(body)
        for body in self.store.peek_all(API_RULE):
            if body["metadata"].get("deletionTimestamp"):
                self._forget_rule(body)
            else:
                self._rule(body, now)

    def _reconcile(self, body: Json, now: float) -> None:
        name = body["metadata"]["name"]
        tries = self._done.get(f"{name} tries", 0)
        mark = (body["metadata"]["generation"], tries)
        # The real back-off is 1, 2, 4 ... 1000 s.
        seconds = self.cluster.mishaps.manager_seconds * (2**tries)
        if not self.due(name, mark, now, seconds):
            if "status" not in body:
                self.state(body, "Processing", "", reason="ReconcileProcessing")
                body["metadata"].setdefault("finalizers", []).extend([FINALIZER_GATEWAY, FINALIZER_KYMA_GATEWAY])
                self.store.set(API_GATEWAY, body)
            return
        if self.store.peek(CRDS, "", GATEWAY) is None:
            text = "CRD gateways.networking.istio.io is not present. "
            text += "Make sure to install required dependencies for the component"
            self.state(body, "Error", text, reason="DependenciesMissing")
            self.done(f"{name} tries", tries + 1)
        else:
            self.done(name, mark)
            self.state(body, "Ready", "Successfully reconciled", reason="ReconcileSucceeded")
        self.store.set(API_GATEWAY, body)

    def _delete(self, body: Json) -> None:
        rules = [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in self.store.peek_all(API_RULE)]
        if rules:
            text = "There are APIRule(s) that block the deletion of API-Gateway CR. " + LOGS.format(self.deployment)
            message = f"API Gateway deletion blocked because of the existing custom resources: {', '.join(rules)}"
            self.state(body, "Warning", text, reason="DeletionBlockedExistingResources", message=message)
        else:
            body["metadata"]["finalizers"] = []
        self.store.set(API_GATEWAY, body)

    # APIRules

    def _rule(self, body: Json, now: float) -> None:
        label = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        if FINALIZER_RULE not in body["metadata"].get("finalizers", []):
            body["metadata"].setdefault("finalizers", []).append(FINALIZER_RULE)
            self.store.set(API_RULE, body)
            return
        tries = self._done.get(f"{label} tries {body['metadata']['generation']}", 0)
        mark = (body["metadata"]["uid"], body["metadata"]["generation"], tries)
        if not self.due(label, mark, now, self.cluster.mishaps.apirule_seconds * (2**tries)):
            return
        problems = self._problems(body)
        if problems:
            text = "Validation errors: " + "\n".join(problems[:3])
            body["status"] = {"state": "Error", "description": text, "lastProcessedTime": now_text()}
            self.done(f"{label} tries {body['metadata']['generation']}", tries + 1)
        else:
            self.done(label, mark)
            body["status"] = {
                "state": "Ready",
                "description": "Reconciled successfully",
                "lastProcessedTime": now_text(),
            }
            for stored, one in manifests.generated(body):
                self.store.set(stored, one)
        self.store.set(API_RULE, body)

    def _problems(self, body: Json) -> list[str]:
        spec, namespace = body["spec"], body["metadata"]["namespace"]
        found = []
        where, _slash, name = str(spec.get("gateway", "")).partition("/")
        if "gateway" not in spec:
            found.append("Attribute 'spec': Either gateway or externalGateway must be specified")
        elif self.store.peek(GATEWAY, where, name) is None:
            found.append("Attribute 'spec.gateway': Could not get specified Gateway")
        host = spec["hosts"][0]
        for other in self.store.peek_all(VIRTUAL_SERVICE):
            owner = (other["metadata"].get("labels") or {}).get("apirule.gateway.kyma-project.io/name")
            if host in other["spec"]["hosts"] and owner != body["metadata"]["name"]:
                found.append("Attribute '.spec.hosts[0]': Host is occupied by another Virtual Service")
        for number, rule in enumerate(spec["rules"]):
            service = rule.get("service") or spec.get("service")
            if service is None:
                text = "The rule must define a service, because no service is defined on spec level"
                found.append(f"Attribute '.spec.rules[{number}].service': {text}")
                continue
            found += self._service_problems(number, service.get("namespace") or namespace, service["name"])
        return found

    def _service_problems(self, number: int, namespace: str, name: str) -> list[str]:
        service = self.store.peek("services.", namespace, name)
        if service is None:
            text = f'Failed to execute sidecar injection validation, err: services "{name}" not found'
            return [f"Attribute '.spec.rules[{number}]': {text}"]
        selector = service["spec"].get("selector")
        if not selector:
            return [f"Attribute '.spec.rules[{number}].injection': Target service label selectors are not defined"]
        found = []
        for pod in self.store.peek_all("pods."):
            metadata = pod["metadata"]
            if metadata["namespace"] != namespace or not selector.items() <= metadata["labels"].items():
                continue
            containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
            if not any(one["name"] == "istio-proxy" for one in containers):
                text = f"Pod {namespace}/{metadata['name']} does not have an injected istio sidecar"
                found.append(f"Attribute '.spec.rules[{number}]': {text}")
        return found

    def _forget_rule(self, body: Json) -> None:
        name = body["metadata"]["name"]
        for stored in (VIRTUAL_SERVICE, POLICY):
            for one in self.store.peek_all(stored):
                if (one["metadata"].get("labels") or {}).get("apirule.gateway.kyma-project.io/name") == name:
                    self.store.drop(stored, one["metadata"]["namespace"], one["metadata"]["name"])
        body["metadata"]["finalizers"] = []
        self.store.set(API_RULE, body)
