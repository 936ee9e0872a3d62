# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pods of a Deployment: do they have Istio's sidecar, and what keeps them from being ready?"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import sentence
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import FIELD_MANAGER

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

Body = t.Mapping[str, t.Any]
SIDECAR = "istio-proxy"
INJECT = "sidecar.istio.io/inject"


def pods(api: Api, deployment: Body) -> list[dict[str, t.Any]]:
    """Return the pods of ``deployment`` that are not being deleted."""
    metadata = deployment["metadata"]
    labels = (deployment["spec"].get("selector") or {}).get("matchLabels") or {}
    listed = api.request(
        "GET",
        f"/api/v1/namespaces/{metadata['namespace']}/pods",
        what=f"the pods of Deployment {metadata['namespace']}/{metadata['name']}",
        label_selector=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
    )
    return [pod for pod in listed.get("items") or [] if not pod["metadata"].get("deletionTimestamp")]


def pods_without(api: Api, deployment: Body) -> list[str]:
    """Return the names of the pods of ``deployment`` that have no sidecar.

    Since Kubernetes 1.33 Istio makes it an init container that goes on running; before, a container.
    """
    return [pod["metadata"]["name"] for pod in pods(api, deployment) if not has_sidecar(pod)]


def has_sidecar(pod: Body) -> bool:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return any(container.get("name") == SIDECAR for container in containers)


def opted_out(deployment: Body) -> bool:
    """Whether ``deployment`` asks Istio for no sidecar, by the label or, as of old, the annotation."""
    metadata = deployment["spec"]["template"].get("metadata") or {}
    return any((metadata.get(key) or {}).get(INJECT) == "false" for key in ("labels", "annotations"))


def restart(api: Api, deployment: Body) -> dict[str, t.Any]:
    """Have ``deployment`` make new pods, as kubectl rollout restart does, and return it."""
    metadata = deployment["metadata"]
    stamp = api.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {"kubectl.kubernetes.io/restartedAt": stamp}
    return api.request(
        "PATCH",
        f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}",
        what=f"restart of Deployment {metadata['namespace']}/{metadata['name']}",
        body={"spec": {"template": {"metadata": {"annotations": annotations}}}},
        content_type="application/strategic-merge-patch+json",
        field_manager=f"{FIELD_MANAGER}-restart",
    )


def troubles(api: Api, deployment: Body) -> list[str]:
    """Return what the containers of the pods of ``deployment`` wait for or died of, in their own words."""
    found = []
    for pod in pods(api, deployment):
        status = pod.get("status") or {}
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            state = container.get("state") or {}
            trouble = state.get("waiting") or state.get("terminated")
            if trouble and trouble.get("reason") not in (None, "PodInitializing", "ContainerCreating", "Completed"):
                message = f" ({str(trouble['message']).rstrip('.')})" if trouble.get("message") else ""
                found.append(
                    f"Pod {pod['metadata']['name']}, container {container['name']}: {trouble['reason']}{message}."
                )
        found += [
            sentence(f"Pod {pod['metadata']['name']} is not scheduled: {condition.get('message', '')}")
            for condition in status.get("conditions") or []
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
        ]
    return found
