# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kubernetes itself does: it establishes CRDs, runs Deployments as pods, gives load balancers their address."""

from __future__ import annotations

import hashlib
import json
import typing as t

from .fields import copied
from .kinds import established
from .refusals import Json
from .store import now_text

if t.TYPE_CHECKING:
    from .cluster import Cluster

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def _stored_versions(definition: Json) -> list[str]:
    return [one["name"] for one in definition["spec"]["versions"] if one.get("storage")]


def _is_settled(definition: Json) -> bool:
    """Whether a CRD has the status that it will keep. It need not be copied then: with its schema it is large."""
    status = definition.get("status") or {}
    return (
        established(definition)
        and not definition["metadata"].get("deletionTimestamp")
        and status.get("acceptedNames") == definition["spec"]["names"]
        and status.get("storedVersions") == _stored_versions(definition)
    )


class Kubernetes:
    """The controllers of Kubernetes, and k3s's load balancer."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self._seen: dict[tuple[str, str, str], float] = {}

    def tick(self, now: float) -> None:
        self._definitions(now)
        self._namespaces()
        self._workloads(now)
        self._services(now)

    def _age(self, key: tuple[str, str, str], now: float) -> float:
        return now - self._seen.setdefault(key, now)

    def _definitions(self, now: float) -> None:
        for body in self.store.peek_all(CRDS, unless=_is_settled):
            name = body["metadata"]["name"]
            if body["metadata"].get("deletionTimestamp"):
                left = self.store.peek_all(name)
                for one in left:
                    self._delete(name, one)
                if not left:
                    self.store.drop(CRDS, "", name)
                continue
            if self._age((CRDS, "", name), now) < self.cluster.mishaps.established_after:
                continue
            conditions = [
                {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"},
                {
                    "type": "Established",
                    "status": "True",
                    "reason": "InitialNamesAccepted",
                    "message": "the initial names have been accepted",
                },
            ]
            body["status"] = {
                "conditions": conditions,
                "storedVersions": _stored_versions(body),
                "acceptedNames": body["spec"]["names"],
            }
            self.store.set(CRDS, body)

    def _namespaces(self) -> None:
        for body in self.store.peek_all("namespaces."):
            if not body["metadata"].get("deletionTimestamp"):
                continue
            name = body["metadata"]["name"]
            inside = [key for key in list(self.store.objects) if key[1] == name]
            for stored, _where, called in inside:
                one = self.store.peek(stored, name, called)
                if one is not None:
                    self._delete(stored, one)
            if not inside:
                self.store.drop("namespaces.", "", name)

    def _delete(self, stored: str, body: Json) -> None:
        metadata = body["metadata"]
        if not metadata.get("finalizers"):
            self.store.drop(stored, metadata.get("namespace") or "", metadata["name"])
        elif not metadata.get("deletionTimestamp"):
            metadata["deletionTimestamp"] = now_text()
            self.store.set(stored, body)

    def _workloads(self, now: float) -> None:
        deployments = self.store.peek_all("deployments.apps")
        owners = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in deployments}
        for pod in self.store.peek_all("pods."):
            owner = pod["metadata"].get("annotations", {}).get("double/owner")
            if owner and (pod["metadata"]["namespace"], owner) not in owners:
                self.store.drop("pods.", pod["metadata"]["namespace"], pod["metadata"]["name"])
        for body in deployments:
            self._deployment(body, now)
        for body in self.store.peek_all("daemonsets.apps"):
            count = {
                "currentNumberScheduled": 1,
                "desiredNumberScheduled": 1,
                "numberReady": 1,
                "updatedNumberScheduled": 1,
            }
            body["status"] = {**count, "observedGeneration": body["metadata"].get("generation", 1)}
            self.store.set("daemonsets.apps", body)

    def _deployment(self, body: Json, now: float) -> None:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        template = body["spec"]["template"]
        mark = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
        wanted = body["spec"].get("replicas", 1)
        pods = [
            pod
            for pod in self.store.peek_all("pods.")
            if pod["metadata"]["namespace"] == namespace and pod["metadata"]["annotations"].get("double/owner") == name
        ]
        names = {f"{name}-{mark}-{number}" for number in range(wanted)}
        ready = 0
        for one in sorted(names):
            key = ("pods.", namespace, one)
            if not any(pod["metadata"]["name"] == one for pod in pods):
                self._seen.pop(key, None)
                self._age(key, now)
                self.store.set("pods.", self._pod(body, one))
            ready += self._pod_ready(key, template, now)
        if ready == wanted:
            for pod in pods:
                if pod["metadata"]["name"] not in names:
                    self.store.drop("pods.", namespace, pod["metadata"]["name"])
        status: Json = {
            "observedGeneration": body["metadata"].get("generation", 1),
            "replicas": max(wanted, len(pods)) if ready < wanted else wanted,
            "updatedReplicas": len(names),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": wanted - ready,
            "conditions": [
                {
                    "type": "Available",
                    "status": "True" if ready == wanted else "False",
                    "reason": "MinimumReplicasAvailable" if ready == wanted else "MinimumReplicasUnavailable",
                    "message": f"Deployment {'has' if ready == wanted else 'does not have'} minimum availability.",
                }
            ],
        }
        body["status"] = {key: value for key, value in status.items() if value != 0 or key == "observedGeneration"}
        self.store.set("deployments.apps", body)

    def _pod_ready(self, key: tuple[str, str, str], template: Json, now: float) -> int:
        pod = self.store.peek(*key)
        missing = self.cluster.mishaps.image_missing
        container = template["spec"]["containers"][0]
        ready = self._age(key, now) >= self.cluster.mishaps.pods_ready_after
        state: Json = {"running": {"startedAt": now_text()}} if ready else {"waiting": {"reason": "ContainerCreating"}}
        if missing and container["image"] == missing:
            ready = False
            message = f'Back-off pulling image "{missing}"'
            state = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
        if pod is not None and (pod.get("status") or {}).get("phase") != ("Running" if ready else "Pending"):
            statuses = [{"name": container["name"], "ready": ready, "state": state}]
            pod["status"] = {"phase": "Running" if ready else "Pending", "containerStatuses": statuses}
            self.store.set("pods.", pod)
        return int(ready)

    def _pod(self, deployment: Json, name: str) -> Json:
        template = copied(deployment["spec"]["template"])
        namespace = deployment["metadata"]["namespace"]
        spec = template["spec"]
        if self._injects(namespace, template):
            proxy = {"name": "istio-proxy", "image": "istio/proxyv2"}
            if self.cluster.minor >= 33:
                spec.setdefault("initContainers", []).append({**proxy, "restartPolicy": "Always"})
            else:
                spec["containers"].append(proxy)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": template["metadata"].get("labels") or {},
                "annotations": {"double/owner": deployment["metadata"]["name"]},
            },
            "spec": spec,
        }

    def _injects(self, namespace: str, template: Json) -> bool:
        space = self.store.peek("namespaces.", "", namespace) or {"metadata": {}}
        labelled = (space["metadata"].get("labels") or {}).get("istio-injection") == "enabled"
        labels = {**(template["metadata"].get("labels") or {}), **(template["metadata"].get("annotations") or {})}
        wanted = labelled and labels.get("sidecar.istio.io/inject") != "false"
        up = self.cluster.deployment_ready("istio-system", "istiod")
        return wanted and up and not self.cluster.mishaps.sidecars_off

    def _services(self, now: float) -> None:
        for body in self.store.peek_all("services."):
            if body["spec"].get("type") != "LoadBalancer" or self.cluster.mishaps.no_load_balancer:
                continue
            metadata = body["metadata"]
            if self._age(("services.", metadata["namespace"], metadata["name"]), now) > 0.1:
                body["status"] = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
                self.store.set("services.", body)
