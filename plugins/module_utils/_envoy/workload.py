# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services, Deployments and their companions: who answers behind a route, and with which identity."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.apirule import Backend
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.deployment import Deployment, read_deployment
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Settings
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import Field, KubernetesObject
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.upstream import Upstream, read_upstream
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

TRUST_DOMAIN = "cluster.local"
GATEWAY_IDENTITY = f"spiffe://{TRUST_DOMAIN}/ns/istio-system/sa/istio-ingressgateway-service-account"

#: sun_path of macOS, the smallest of the supported platforms, without its closing NUL
_LONGEST_SOCKET_PATH = 103

_PORT_FIELDS = ("name", "port", "targetPort", "protocol", "appProtocol")


@dataclasses.dataclass(frozen=True)
class Workload:
    """A Deployment, or an upstream in its place, behind its sidecar."""

    namespace: str
    name: str
    service_account: str
    #: the port that the Service leads to on a cluster
    target_port: int
    upstream: Upstream
    #: path of the sidecar's Unix socket
    socket: str

    @property
    def identity(self) -> str:
        """The SPIFFE identity of the workload."""
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def inbound_cluster(self) -> str:
        """The name of the cluster that is the local process.

        istiod puts the target port into it. Here the sidecar's listener must not change with the port: connections
        that the gateway keeps open would still lead to the cluster of the old name, and be answered 503.
        """
        return f"inbound|http||{self.name}.{self.namespace}"


@dataclasses.dataclass(frozen=True)
class ServicePort:
    """A Service port and the workload behind it."""

    service: str
    namespace: str
    port: int
    workload: Workload

    @property
    def host(self) -> str:
        """The Service's name in the cluster's DNS."""
        return f"{self.service}.{self.namespace}.svc.{TRUST_DOMAIN}"

    @property
    def cluster(self) -> str:
        """istiod's name for the outbound cluster."""
        return f"outbound|{self.port}||{self.host}"


class Directory:
    """Finds the workload behind a Service port among the given objects."""

    def __init__(
        self,
        resources: t.Sequence[KubernetesObject],
        *,
        workloads: t.Mapping[str, str],
        upstreams: t.Mapping[str, Upstream],
        settings: Settings,
    ) -> None:
        def of_kind(kind: str) -> dict[str, KubernetesObject]:
            return {resource.key: resource for resource in resources if resource.kind == kind}

        self._services = of_kind("Service")
        self._accounts = of_kind("ServiceAccount")
        self._namespaces = {resource.name: resource for resource in of_kind("Namespace").values()}
        self._deployments = [read_deployment(resource) for resource in of_kind("Deployment").values()]
        self._workloads = workloads
        self._upstreams = upstreams
        self._settings = settings
        self._found: dict[str, Workload] = {}

    def target(self, backend: Backend) -> ServicePort:
        """The Service port that ``backend`` names."""
        key = f"{backend.namespace}/{backend.name}"
        upstream = self._upstreams.get(f"{key}:{backend.port}")
        if upstream is not None:
            return ServicePort(backend.name, backend.namespace, backend.port, self._stand_in(backend, upstream))
        service = self._services.get(key)
        if service is None:
            raise backend.field.refusal(
                f'services "{backend.name}" not found: there is no Service {key} among the given objects.'
            )
        selector, port = _read_service(service, backend)
        deployment = self._select(service, selector)
        self._check_sidecar(deployment)
        return ServicePort(
            service=backend.name,
            namespace=backend.namespace,
            port=backend.port,
            workload=self._workload(deployment, _target_port(port, deployment)),
        )

    def _stand_in(self, backend: Backend, upstream: Upstream) -> Workload:
        """The workload that ``upstream`` is: its Service and pods exist on a cluster only."""
        name = f"{backend.name}-{backend.port}"
        owner = f"The upstream of Service {backend.namespace}/{backend.name}"
        socket = _socket_path(owner, f"{backend.namespace}_{name}", self._settings.sockets)
        return Workload(backend.namespace, name, backend.name, backend.port, upstream, socket)

    def _select(self, service: KubernetesObject, selector: t.Mapping[str, str]) -> Deployment:
        matching = [
            deployment
            for deployment in self._deployments
            if deployment.namespace == service.namespace and selector.items() <= deployment.labels.items()
        ]
        if len(matching) != 1:
            labels = ", ".join(f"{key}: {value}" for key, value in selector.items())
            names = ", ".join(deployment.key for deployment in matching) or "no Deployment"
            raise Field(str(service), "spec.selector", selector).refusal(
                f"{labels} selects {names}; the local platform needs exactly one Deployment behind a Service."
            )
        return matching[0]

    def _check_sidecar(self, deployment: Deployment) -> None:
        """Kyma refuses an APIRule whose Pods have no sidecar; the Namespace, when given, tells."""
        namespace = self._namespaces.get(deployment.namespace)
        labels = namespace.labels if namespace is not None else {"istio-injection": "enabled"}
        injection = labels.get("istio-injection", "enabled" if "istio.io/rev" in labels else "")
        own = deployment.labels.get("sidecar.istio.io/inject")
        if injection == "disabled" or own == "false" or (injection != "enabled" and own != "true"):
            raise MtlsError(
                f"{deployment}: its Pods do not have an injected istio sidecar, and Kyma refuses an APIRule for them. "
                f"Label the Namespace {deployment.namespace} with istio-injection: enabled."
            )

    def _workload(self, deployment: Deployment, target_port: int) -> Workload:
        found = self._found.get(deployment.key)
        if found is None:
            address = self._workloads.get(deployment.key)
            if address is None:
                raise MtlsError(
                    f"{deployment}: no local process plays this Deployment. Known are: "
                    f"{', '.join(sorted(self._workloads)) or 'none'}."
                )
            found = self._found[deployment.key] = Workload(
                namespace=deployment.namespace,
                name=deployment.name,
                service_account=self._service_account(deployment),
                target_port=target_port,
                upstream=read_upstream(str(deployment), {"address": address, "labels": deployment.labels}),
                socket=_socket_path(
                    str(deployment), f"{deployment.namespace}_{deployment.name}", self._settings.sockets
                ),
            )
        if found.target_port != target_port:
            raise MtlsError(
                f"{deployment}: Services lead to its ports {found.target_port} and {target_port}, but the local "
                "process that plays it has one address. Use one targetPort."
            )
        return found

    def _service_account(self, deployment: Deployment) -> str:
        name = deployment.service_account
        if name != "default" and f"{deployment.namespace}/{name}" not in self._accounts:
            raise deployment.account_field.refusal(
                f"there is no ServiceAccount {deployment.namespace}/{name} among the given objects, "
                "and without it a cluster starts no Pod."
            )
        return name


def socket_problem(path: str) -> str:
    """Why ``path`` cannot be the path of a Unix socket, or nothing."""
    size = len(path.encode())
    if size <= _LONGEST_SOCKET_PATH:
        return ""
    return (
        f"the socket path {path} has {size} characters, {_LONGEST_SOCKET_PATH} are possible. "
        "Choose a shorter directory."
    )


def _read_service(service: KubernetesObject, backend: Backend) -> tuple[dict[str, str], Field]:
    """The selector, and the port that ``backend`` names."""
    spec = service.body.fields(required=("spec",))["spec"]
    ignored = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "sessionAffinity")
    fields = spec.fields(required=("ports",), optional=("selector", "type", *ignored))
    if "type" in fields:
        fields["type"].one_of(("ClusterIP", "NodePort", "LoadBalancer"))
    for name, neutral in (("sessionAffinity", "None"), ("internalTrafficPolicy", "Cluster")):
        if name in fields:
            fields[name].one_of((neutral,))
    selector = fields["selector"].pairs() if "selector" in fields else {}
    if not selector:
        raise spec.refusal("Target service label selectors are not defined.")
    ports = {}
    for item in fields["ports"].items():
        port = item.fields(required=("port",), optional=(*_PORT_FIELDS, "nodePort"))
        ports[port["port"].number(1, 65535)] = (port, item)
    if backend.port in ports:
        port, item = ports[backend.port]
        _check_protocol(port)
        return {label: field.value for label, field in selector.items()}, item
    raise backend.field.refusal(f"Service {service.key} has no port {backend.port}.")


def _check_protocol(port: t.Mapping[str, Field]) -> None:
    """Istio takes the protocol from appProtocol, else from the name's prefix; without either it detects HTTP."""
    if "protocol" in port:
        port["protocol"].one_of(("TCP",))
    field = port.get("appProtocol") or port.get("name")
    if field is None:
        return
    prefix = field.text().split("-")[0].lower()
    others = ("grpc", "grpcweb", "h2c", "http2", "https", "mongo", "mysql", "redis", "tcp", "tls", "udp")
    if prefix in others or field.value.startswith(("grpc-web", "kubernetes.io/")):
        raise field.refusal(f"declares the protocol {field.value}; workloads speak HTTP/1.1 on the local platform.")


def _target_port(item: Field, deployment: Deployment) -> int:
    port = item.fields(optional=(*_PORT_FIELDS, "nodePort"))
    target = port.get("targetPort", port["port"])
    if isinstance(target.value, int):
        return target.number(1, 65535)
    name = target.text()
    if name not in deployment.ports:
        raise target.refusal(f"no container of {deployment} has a port named {name!r}.")
    return deployment.ports[name]


def _socket_path(owner: str, name: str, directory: str) -> str:
    """The sidecar's socket: named after its workload where that fits, else after a hash of the name."""
    path = f"{directory}/{name}.sock"
    if socket_problem(path):
        path = f"{directory}/{hashlib.sha256(name.encode()).hexdigest()[:16]}.sock"
    problem = socket_problem(path)
    if problem:
        raise MtlsError(f"{owner}: {problem}")
    return path
