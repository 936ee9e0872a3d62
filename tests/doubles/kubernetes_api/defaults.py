# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the API server fills in when an object of a built-in kind does not say."""

from __future__ import annotations

import itertools
import typing as t

from .refusals import Json

if t.TYPE_CHECKING:
    import collections.abc

# A dry run takes one too, and another than the real request after it.
_ADDRESSES = itertools.count()


def fill(kind: str, body: Json) -> None:
    """Give ``body`` the defaults of its kind."""
    filler = FILLERS.get(kind)
    if filler is not None:
        filler(body)


def _namespace(body: Json) -> None:
    body["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = body["metadata"]["name"]
    body.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    body.setdefault("status", {"phase": "Active"})


def _secret(body: Json) -> None:
    body.setdefault("type", "Opaque")


def _service(body: Json) -> None:
    spec = body.setdefault("spec", {})
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("clusterIP", f"10.43.0.{next(_ADDRESSES) % 200 + 10}")
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    body.setdefault("status", {"loadBalancer": {}})


def _pod_template(template: Json) -> None:
    template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
    spec = template.setdefault("spec", {})
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        image = container.get("image") or ""
        untagged = ":" not in image.rpartition("/")[2]
        container.setdefault("imagePullPolicy", "Always" if untagged or image.endswith(":latest") else "IfNotPresent")
        for port in container.get("ports") or []:
            port.setdefault("protocol", "TCP")
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            if probe in container:
                _probe(container[probe])
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")


def _probe(probe: Json) -> None:
    if "httpGet" in probe:
        probe["httpGet"].setdefault("scheme", "HTTP")
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        probe.setdefault(key, value)


def _deployment(body: Json) -> None:
    spec = body.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _pod_template(spec.setdefault("template", {}))
    spec.setdefault("strategy", {"type": "RollingUpdate"})
    spec["strategy"].setdefault("rollingUpdate", {"maxUnavailable": "25%", "maxSurge": "25%"})
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    body.setdefault("status", {})


def _daemon_set(body: Json) -> None:
    _pod_template(body.setdefault("spec", {}).setdefault("template", {}))
    body.setdefault("status", {"currentNumberScheduled": 0, "numberReady": 0, "desiredNumberScheduled": 0})


def _definition(body: Json) -> None:
    spec = body["spec"]
    spec["names"].setdefault("singular", spec["names"]["kind"].lower())
    spec["names"].setdefault("listKind", f"{spec['names']['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    body.setdefault("status", {"conditions": [], "storedVersions": []})


FILLERS: dict[str, collections.abc.Callable[[Json], None]] = {
    "Namespace": _namespace,
    "Secret": _secret,
    "Service": _service,
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "CustomResourceDefinition": _definition,
}
