# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a cluster can be used: its version, what its user may do, whether its nodes and its DNS are ready."""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import permissions
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import (
    ApiError,
    ForeignServerError,
    UnreachableError,
    pauses,
)
from ansible_collections.kyma.mtls.plugins.module_utils._progress import Report, silent

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.permissions import Permission

POLL_SECONDS = 2.0
DNS_PATH = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
TRAEFIK_PATH = "/api/v1/namespaces/kube-system/services/traefik"


@dataclass
class Access:
    """What was found."""

    version: str
    nodes: int | None = None
    warnings: list[str] = field(default_factory=list)


def connect_patiently(
    connect: t.Callable[[], Api],
    *,
    timeout_seconds: float,
    sleep: t.Callable[[float], None] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> Api:
    """Return the API server, which may have been started a moment ago and not answer at once.

    Raises UnreachableError when it does not answer in time.
    """
    deadline = clock() + timeout_seconds
    until_next = pauses(POLL_SECONDS)
    while True:
        try:
            return connect()
        except UnreachableError:
            if clock() >= deadline:
                raise
        sleep(next(until_next))


def check(
    api: Api,
    *,
    minimum_version: str = "",
    recommended_version: str = "",
    needed: t.Sequence[Permission] = (),
    nodes: int = 0,
    dns: bool = False,
    timeout_seconds: float = 300,
    report: Report = silent,
) -> Access:
    """Return what the cluster is like, after its nodes and its DNS are ready where that is asked for.

    Until then ``report`` is called with what is missing.

    Raises MtlsError when it is too old, when something is not allowed (all of that at once), or not ready in time.
    """
    if nodes or dns:
        _await(api, nodes=nodes, dns=dns, timeout_seconds=timeout_seconds, report=report)
    version = str(api.request("GET", "/version", what="The version of the API server").get("gitVersion") or "")
    if not version:
        raise ForeignServerError(
            "The server answers without a version, so not as a Kubernetes API. Check server in the kubeconfig."
        )
    found = Access(version=version)
    if minimum_version and _numbers(version) < _numbers(minimum_version):
        raise MtlsError(
            f"The cluster has Kubernetes {version}, but {minimum_version} or later is needed. "
            "Upgrade it, or use another.",
            version=version,
        )
    if recommended_version and _numbers(version) < _numbers(recommended_version):
        found.warnings.append(
            f"The cluster has Kubernetes {version}; Istio is tested with {recommended_version} and later only."
        )
    denied = [str(permission) for permission in permissions.denied(api, needed)]
    if denied:
        raise MtlsError(
            f"The user of the kubeconfig may not: {', '.join(denied)}. Have these permissions granted, "
            "or use a kubeconfig of somebody who has them.",
            denied=denied,
        )
    if nodes:
        found.nodes = len(_nodes(api))
    if _exists(api, TRAEFIK_PATH, what="The Service of Traefik"):
        found.warnings.append(
            "Traefik has a Service in kube-system, as k3s installs it. It may hold the ports 80 and 443 that Istio's "
            "ingress gateway needs; start k3s with --disable=traefik."
        )
    return found


def _await(api: Api, *, nodes: int, dns: bool, timeout_seconds: float, report: Report) -> None:
    deadline = api.clock() + timeout_seconds
    until_next = pauses(POLL_SECONDS)
    while True:
        try:
            missing = _what_is_missing(api, nodes=nodes, dns=dns)
        except UnreachableError as exc:
            # A cluster that has just been started.
            missing = str(exc).rstrip(".")
        except ApiError as exc:
            if exc.status in (401, 403):
                raise
            missing = str(exc).rstrip(".")
        if not missing:
            return
        if api.clock() > deadline:
            raise MtlsError(f"The cluster is not ready after {timeout_seconds:.0f} seconds: {missing}.")
        report([missing])
        api.sleep(next(until_next))


def _what_is_missing(api: Api, *, nodes: int, dns: bool) -> str:
    if nodes:
        listed = _nodes(api)
        ready = [node for node in listed if _condition(node, "Ready")]
        if len(ready) < max(nodes, len(listed)):
            others = [str(node["metadata"]["name"]) for node in listed if node not in ready]
            return f"{len(ready)} of {max(nodes, len(listed))} nodes are ready" + (
                f" (not {', '.join(others)})" if others else ""
            )
    if dns:
        deployment = api.get(DNS_PATH, what="The Deployment of CoreDNS")
        if deployment is None:
            return "there is no CoreDNS yet"
        if not _condition(deployment, "Available"):
            return "CoreDNS is not available"
    return ""


def _nodes(api: Api) -> list[dict[str, t.Any]]:
    listed: list[dict[str, t.Any]] = api.request("GET", "/api/v1/nodes", what="The nodes")["items"]
    return listed


def _condition(found: t.Mapping[str, t.Any], kind: str) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == kind and condition.get("status") == "True" for condition in conditions)


def _exists(api: Api, path: str, *, what: str) -> bool:
    try:
        return api.get(path, what=what) is not None
    except ApiError as exc:
        if exc.status == 403:
            # What may not be read is not warned of.
            return False
        raise


def _numbers(version: str) -> tuple[int, int]:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found is None:
        raise MtlsError(f"'{version}' is not a version of Kubernetes, such as 1.32.")
    return int(found[1]), int(found[2])
