# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kyma's Istio and API Gateway modules: which versions a cluster has, and whether it may get those of some manifests.

Kyma's Istio manager answers a forbidden jump with the state ``Warning`` and does nothing; here it is refused before
anything is applied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import waits
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError, UnknownKindError

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

Body = t.Mapping[str, t.Any]
NAMESPACE, ISTIO_NAMESPACE = "kyma-system", "istio-system"
ISTIO_MANAGER, API_GATEWAY_MANAGER = "istio-controller-manager", "api-gateway-controller-manager"
TITLES = {ISTIO_MANAGER: "Istio", API_GATEWAY_MANAGER: "API Gateway"}


@dataclasses.dataclass(frozen=True)
class Versions:
    """Versions on a cluster or in manifests; "" where there is none, or where it is unknown."""

    istio_module: str = ""
    istio: str = ""
    api_gateway_module: str = ""
    states: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def numbers(self) -> dict[str, str]:
        """Return the versions alone."""
        return {name: value for name, value in vars(self).items() if name != "states"}


def in_manifests(definitions: t.Iterable[Body]) -> Versions:
    """Return the versions that ``definitions`` (of one or both manifests) would install."""
    managers = {
        body["metadata"]["name"]: body
        for body in definitions
        if body.get("kind") == "Deployment" and body.get("metadata", {}).get("name") in TITLES
    }
    return Versions(
        istio_module=module_version(managers.get(ISTIO_MANAGER)),
        istio=istio_of(managers.get(ISTIO_MANAGER)),
        api_gateway_module=module_version(managers.get(API_GATEWAY_MANAGER)),
    )


def on_cluster(api: Api) -> Versions:
    """Return the versions that the cluster has."""
    managers = {
        name: api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}", what=f"Deployment {NAMESPACE}/{name}")
        for name in TITLES
    }
    istio = _custom_resource(api, "v1alpha2", "Istio", NAMESPACE)
    api_gateway = _custom_resource(api, "v1alpha1", "APIGateway", None)
    found = {"istio": istio, "api_gateway": api_gateway}
    return Versions(
        istio_module=module_version(managers[ISTIO_MANAGER]),
        istio=waits.installed_istio(istio) if istio else "",
        api_gateway_module=module_version(managers[API_GATEWAY_MANAGER]),
        states={name: str((body.get("status") or {}).get("state") or "") for name, body in found.items() if body},
    )


def istio_on_cluster(api: Api) -> str:
    """Return the version of Istio that runs on the cluster, "" when it is unknown."""
    path = f"/apis/apps/v1/namespaces/{ISTIO_NAMESPACE}/deployments/istiod"
    with contextlib.suppress(ApiError):
        for container in _containers(api.get(path, what=f"Deployment {ISTIO_NAMESPACE}/istiod")):
            match = re.search(r":v?(\d+\.\d+(?:\.\d+)?)[^:/]*$", str(container.get("image", "")).partition("@")[0])
            if match:
                return match[1]
    # Another revision's istiod has another name.
    with contextlib.suppress(ApiError):
        istio = _custom_resource(api, "v1alpha2", "Istio", NAMESPACE)
        return waits.installed_istio(istio) if istio else ""
    return ""


def domain(api: Api) -> str:
    """Return the default domain of the cluster: the first host of kyma-gateway. Raises MtlsError when there is none."""
    label = f"Gateway {NAMESPACE}/kyma-gateway"
    advice = "Set mtls_parent_domain to a domain of yours."
    try:
        resource = api.resource("networking.istio.io/v1", "Gateway")
    except UnknownKindError as exc:
        raise MtlsError(f"There is no {label}: the cluster has no Istio. {advice}") from exc
    body = api.get(resource.path(NAMESPACE, "kyma-gateway"), what=label)
    servers = ((body or {}).get("spec") or {}).get("servers") or []
    hosts = [str(host).rpartition("/")[2] for server in servers for host in server.get("hosts") or []]
    found = hosts[0].removeprefix("*.") if hosts else ""
    if not found or found == "*":
        raise MtlsError(f"{label} {'has no host' if body else 'is not there'}, so no domain is known. {advice}")
    return found


def _custom_resource(api: Api, version: str, kind: str, namespace: str | None) -> Body | None:
    try:
        resource = api.resource(f"operator.kyma-project.io/{version}", kind)
    except UnknownKindError:
        return None
    return api.get(resource.path(namespace, "default"), what=f"{kind} default")


def module_version(deployment: Body | None) -> str:
    """Return the tag of a manager's image, if it is a released version."""
    for container in _containers(deployment):
        match = re.search(r"-manager:(\d+\.\d+\.\d+)(?:-experimental)?(?:@|$)", str(container.get("image", "")))
        if match:
            return match[1]
    return ""


def istio_of(deployment: Body | None) -> str:
    """Return the Istio version that a manager installs: its pilot image is in its environment."""
    for container in _containers(deployment):
        for variable in container.get("env") or []:
            match = re.search(r"/pilot:(\d+\.\d+\.\d+)", str(variable.get("value", "")))
            if match:
                return match[1]
    return ""


def _containers(deployment: Body | None) -> list[Body]:
    spec = ((((deployment or {}).get("spec") or {}).get("template") or {}).get("spec")) or {}
    return spec.get("containers") or []


def refuse_unsafe(installed: Versions, desired: Versions) -> None:
    """Refuse a step that Kyma's managers do not make.

    Raises MtlsError for a lower version, and for an Istio that is more than one minor version ahead.
    """
    for title, old, new in (
        ("Kyma's Istio module", installed.istio_module, desired.istio_module),
        ("Kyma's API Gateway module", installed.api_gateway_module, desired.api_gateway_module),
        ("Istio", installed.istio, desired.istio),
    ):
        if old and new and _numbers(new) < _numbers(old):
            raise MtlsError(
                f"{title} is {old} on the cluster, {new} is requested. A downgrade is not supported: "
                "request the installed version or a later one, or remove the modules first."
            )
    old, new = installed.istio, desired.istio
    if old and new and _numbers(new)[:2] > (_numbers(old)[0], _numbers(old)[1] + 1):
        major, minor = _numbers(old)[:2]
        raise MtlsError(
            f"Istio is {old} on the cluster, {new} is requested. Istio is upgraded one minor version at a time: "
            f"first install a release of Kyma's Istio module with Istio {major}.{minor + 1} (modules_istio_version)."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
