# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cluster's ingress gateway is reached from here: its load balancer, a port of a node, or a forwarded port."""

from __future__ import annotations

import dataclasses
import socket
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import waits
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

Body = t.Mapping[str, t.Any]
CONNECT_SECONDS = 3.0
# An address that leads there from outside first.
ADDRESS_TYPES = ("ExternalIP", "InternalIP")


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where the gateway answers: ``connect_to`` as host:port, and how that leads there."""

    connect_to: str
    way: str


@dataclasses.dataclass(frozen=True)
class Service:
    """The Service of the ingress gateway, and the port of it that is meant."""

    namespace: str
    name: str
    port: int

    @property
    def label(self) -> str:
        return f"Service {self.namespace}/{self.name}"


def look(api: Api, service: Service) -> Body:
    """Return the Service. Raises MtlsError when there is none, or without that port."""
    body = api.get(f"/api/v1/namespaces/{service.namespace}/services/{service.name}", what=service.label)
    if body is None:
        raise MtlsError(f"There is no {service.label}. Istio is not installed (role modules).")
    if port_of(body, service) is None:
        raise MtlsError(f"{service.label} has no port {service.port} (gateway_server_port).")
    return body


def outside(api: Api, body: Body, service: Service) -> Endpoint | None:
    """Return where the gateway answers without help: at its load balancer, else at a port of a node."""
    address = waits.service_address(body)
    if address:
        return Endpoint(joined(address, service.port), "load_balancer")
    port = (port_of(body, service) or {}).get("nodePort")
    if port:
        for node in node_addresses(api):
            if answers(node, int(port)):
                return Endpoint(joined(node, int(port)), "node_port")
    return None


def port_of(body: Body, service: Service) -> Body | None:
    ports = (body.get("spec") or {}).get("ports") or []
    return next((port for port in ports if port.get("port") == service.port), None)


def node_addresses(api: Api) -> list[str]:
    """Return the addresses of all nodes, none when they may not be listed."""
    try:
        nodes = api.request("GET", "/api/v1/nodes", what="The nodes").get("items") or []
    except ApiError as exc:
        if exc.status == 403:
            return []
        raise
    found = [
        (ADDRESS_TYPES.index(address["type"]), str(address["address"]))
        for node in nodes
        for address in (node.get("status") or {}).get("addresses") or []
        if address.get("type") in ADDRESS_TYPES
    ]
    return list(dict.fromkeys(address for _rank, address in sorted(found)))


def answers(host: str, port: int) -> bool:
    """Whether a connection to ``host`` is accepted."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclasses.dataclass(frozen=True)
class Pod:
    """A running pod of the Service, and the port in it."""

    name: str
    ip: str
    port: int
    is_ready: bool


def pods_of(api: Api, body: Body, service: Service) -> list[Pod]:
    """Return the running pods of the Service."""
    labels = (body.get("spec") or {}).get("selector") or {}
    listed = api.request(
        "GET",
        f"/api/v1/namespaces/{service.namespace}/pods",
        what=f"The pods of {service.label}",
        label_selector=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
    )
    return [
        Pod(
            str(pod["metadata"]["name"]),
            str(pod["status"].get("podIP") or ""),
            _target_port(pod, port_of(body, service) or {}),
            any(
                condition.get("type") == "Ready" and condition.get("status") == "True"
                for condition in pod["status"].get("conditions") or []
            ),
        )
        for pod in listed.get("items") or []
        if (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
    ]


def pods_to_forward_to(api: Api, body: Body, service: Service) -> list[Pod]:
    """Return the pods that a forwarded port can lead to. Raises MtlsError when there is none."""
    pods = pods_of(api, body, service)
    if not pods:
        raise MtlsError(f"{service.label} has no address, and no running pod to which a port could be forwarded.")
    return [pod for pod in pods if pod.is_ready] or pods[:1]


def replicas(api: Api, body: Body, service: Service) -> list[str]:
    """Return the ready pods' own addresses, none when pods may not be listed."""
    try:
        pods = pods_of(api, body, service)
    except ApiError as exc:
        if exc.status == 403:
            return []
        raise
    return sorted(joined(pod.ip, pod.port) for pod in pods if pod.is_ready and pod.ip)


def _target_port(pod: Body, port: Body) -> int:
    target = port.get("targetPort") or port.get("port")
    if isinstance(target, int):
        return target
    named = [
        port["containerPort"]
        for container in (pod.get("spec") or {}).get("containers") or []
        for port in container.get("ports") or []
        if port.get("name") == target
    ]
    if not named:
        raise MtlsError(f"Pod {pod['metadata']['name']} has no port '{target}'.")
    return int(named[0])
