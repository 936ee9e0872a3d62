# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways and APIRules to Envoy's configuration, as istiod and Kyma's API Gateway would do it."""

from __future__ import annotations

import collections
import ipaddress
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import apirule as apirules
from ansible_collections.kyma.mtls.plugins.module_utils._envoy import authorization
from ansible_collections.kyma.mtls.plugins.module_utils._envoy import gateway as gateways
from ansible_collections.kyma.mtls.plugins.module_utils._envoy import virtual_service as virtual_services
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.apirule import ApiRule, read_apirule
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.authorization import Denial, read_denial
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.gateway import Gateway, Server, Tls, read_gateway
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.listeners import gateway_listener, route_names
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import (
    Configuration,
    Credential,
    Json,
    Settings,
    sds_path,
)
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import KubernetesObject, read_resource
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.routes import route, route_configuration, virtual_host
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.sidecar import (
    MESH_ROOT,
    inbound_cluster,
    inbound_route,
    mesh_path,
    outbound_cluster,
    sidecar_listener,
)
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.tokens import TokenIssuer, token_filter
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.upstream import Upstream
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.virtual_service import (
    VirtualService,
    read_virtual_service,
)
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.workload import (
    GATEWAY_IDENTITY,
    Directory,
    ServicePort,
    Workload,
    socket_problem,
)
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

VERSIONS: t.Mapping[str, tuple[str, ...]] = {
    "Gateway": gateways.VERSIONS,
    "APIRule": apirules.VERSIONS,
    "AuthorizationPolicy": authorization.VERSIONS,
    "VirtualService": virtual_services.VERSIONS,
    "Service": ("v1",),
    "Deployment": ("apps/v1",),
    "ServiceAccount": ("v1",),
    "Namespace": ("v1",),
}


def translate(
    objects: t.Sequence[t.Mapping[str, t.Any]],
    *,
    workloads: t.Mapping[str, str],
    settings: Settings,
    upstreams: t.Mapping[str, Upstream] | None = None,
    key_sets: t.Mapping[str, str] | None = None,
) -> Configuration:
    """Envoy's configuration for the Kubernetes ``objects``.

    ``workloads`` maps ``namespace/deployment`` to the address of the local process that plays the Deployment, and
    ``upstreams`` maps ``namespace/service:port`` to what answers in place of that Service's pods.
    ``key_sets`` maps the jwksUri of an APIRule to the key set that is there.
    What cannot be honoured is refused with the object's name and the field.
    """
    _check_settings(settings)
    resources = _read_resources(objects)
    found_gateways = {resource.key: read_gateway(resource) for resource in resources if resource.kind == "Gateway"}
    found_apirules = [read_apirule(resource) for resource in resources if resource.kind == "APIRule"]
    ports = _servers_by_port(found_gateways.values(), settings)
    denials = [read_denial(resource) for resource in resources if resource.kind == "AuthorizationPolicy"]
    directory = Directory(resources, workloads=workloads, upstreams=upstreams or {}, settings=settings)
    targets: dict[str, ServicePort] = {}
    allowed: dict[str, Json] = {}
    issuers: dict[str, list[TokenIssuer]] = {}
    routes = _Routes(ports)
    hosts: dict[str, str] = {}
    for apirule in found_apirules:
        gateway = _gateway_of(apirule, found_gateways)
        host = apirule.host
        if host in hosts:
            raise apirule.host_field.refusal(
                f"Host is occupied by another Virtual Service: {host} belongs to {hosts[host]}."
            )
        hosts[host] = apirule.owner
        found = [(rule, directory.target(rule.backend)) for rule in apirule.rules]
        targets.update((target.cluster, target) for _rule, target in found)
        for index, (rule, target) in enumerate(found):
            named = authorization.policy(apirule, index, rule, host=host)
            allowed.setdefault(target.workload.socket, {}).update(named)
            if rule.tokens is not None:
                issuers.setdefault(target.workload.socket, []).extend(rule.tokens.issuers)
        built = [route(apirule, rule, target, host=host) for rule, target in found]
        routes.add(apirule, gateway, host, built)
    for resource in resources:
        if resource.kind == "VirtualService":
            answers = read_virtual_service(resource)
            for gateway in _gateways_of(answers, found_gateways):
                for host in answers.hosts:
                    routes.add(answers, gateway, host, list(answers.routes))
    token_filters = {socket: [token_filter(found, key_sets or {})] for socket, found in issuers.items()}
    return _configuration(settings, ports, targets, routes, allowed, denials, token_filters)


def _configuration(
    settings: Settings,
    ports: t.Mapping[int, list[Server]],
    targets: t.Mapping[str, ServicePort],
    routes: _Routes,
    allowed: t.Mapping[str, Json],
    denials: t.Sequence[Denial],
    token_filters: t.Mapping[str, list[Json]],
) -> Configuration:
    workloads = {target.workload.socket: target.workload for target in targets.values()}
    identities = sorted({workload.identity for workload in workloads.values()})
    mesh = (GATEWAY_IDENTITY, *(identity for identity in identities if identity != GATEWAY_IDENTITY))
    if not targets:
        mesh = ()
    gateways_ = [gateway_listener(settings, port, servers) for port, servers in sorted(ports.items())]
    # Servers of one application protocol may share a chain, which has the routes of one of them: Envoy never asks for
    # those of the others.
    requested = {name for listener in gateways_ for name in route_names(listener)}
    return Configuration(
        settings=settings,
        listeners=(
            *gateways_,
            *(
                sidecar_listener(settings, workload, filters=token_filters.get(socket, []))
                for socket, workload in sorted(workloads.items())
            ),
        ),
        clusters=(
            *(outbound_cluster(settings, target) for _name, target in sorted(targets.items())),
            *(inbound_cluster(workload) for _socket, workload in sorted(workloads.items())),
        ),
        routes={
            **{name: found for name, found in routes.configurations().items() if name in requested},
            **{
                workload.inbound_cluster: inbound_route(
                    workload, allowed=allowed[socket], denied=_denied(workload, denials)
                )
                for socket, workload in sorted(workloads.items())
            },
        },
        credentials=_credentials(server.tls for servers in ports.values() for server in servers if server.tls),
        mesh_identities=mesh,
        mesh_credentials=tuple(
            Credential(name, "validation" if name == MESH_ROOT else "certificate", name, mesh_path(name))
            for name in (*mesh, *([MESH_ROOT] if mesh else []))
        ),
    )


def _denied(workload: Workload, denials: t.Sequence[Denial]) -> Json:
    return {name: policy for denial in denials if denial.selects(workload) for name, policy in denial.policies.items()}


def _check_settings(settings: Settings) -> None:
    for name in ("directory", "sockets"):
        path = getattr(settings, name)
        if not path.startswith("/"):
            raise MtlsError(f"The {name} directory of the local Envoy must be an absolute path, not {path!r}.")
    try:
        loopback = ipaddress.ip_address(settings.address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise MtlsError(
            f"The local Envoy listens on loopback addresses only, such as 127.0.0.1, not on {settings.address!r}."
        )
    problem = socket_problem(admin_socket(settings))
    if problem:
        raise MtlsError(f"The admin interface of the local Envoy cannot be used: {problem}")
    locals_ = collections.Counter(settings.ports.values())
    for port, local in settings.ports.items():
        if not 1 <= local <= 65535:
            raise MtlsError(f"Gateway port {port} has the local port {local}, which is not between 1 and 65535.")
        if locals_[local] > 1:
            raise MtlsError(f"Two Gateway ports have the local port {local}; each needs its own.")


def admin_socket(settings: Settings) -> str:
    """The path of Envoy's administration socket."""
    return f"{settings.sockets}/admin.sock"


def _read_resources(objects: t.Sequence[t.Mapping[str, t.Any]]) -> list[KubernetesObject]:
    resources: list[KubernetesObject] = []
    seen: set[tuple[str, str]] = set()
    for position, item in enumerate(objects):
        resource = read_resource(item, position=position)
        if resource.kind not in VERSIONS:
            raise MtlsError(
                f"{resource}: the local translation does not support {resource.kind}, only {', '.join(VERSIONS)}.",
                object=str(resource),
            )
        if resource.version not in VERSIONS[resource.kind]:
            raise MtlsError(
                f"{resource}, field apiVersion: {resource.version} is not one of {', '.join(VERSIONS[resource.kind])}.",
                object=str(resource),
                field="apiVersion",
            )
        if (resource.kind, resource.key) in seen:
            raise MtlsError(f"{resource} is given twice.", object=str(resource))
        seen.add((resource.kind, resource.key))
        resources.append(resource)
    return sorted(resources, key=lambda resource: (resource.kind, resource.key))


def _servers_by_port(found: t.Iterable[Gateway], settings: Settings) -> dict[int, list[Server]]:
    """The servers of all Gateways by port, once conflicts are ruled out."""
    ports: dict[int, list[Server]] = {}
    names: dict[tuple[int, str, str], Server] = {}
    for server in (server for gateway in found for server in gateway.servers):
        if server.port not in settings.ports:
            known = ", ".join(str(port) for port in sorted(settings.ports)) or "none"
            raise server.field.refusal(f"port {server.port} has no local port; there are local ports for {known}.")
        others = ports.setdefault(server.port, [])
        for host in server.hosts:
            other = names.setdefault((server.port, server.application_protocol, host.name), server)
            if other is not server:
                raise server.hosts_field.refusal(
                    f"{host.name} on port {server.port} is already served by Gateway {other.gateway}."
                )
        others.append(server)
        if bool(others[0].tls) != bool(server.tls):
            raise server.field.refusal(
                f"has another protocol on port {server.port} than Gateway {others[0].gateway}: HTTPS or HTTP, not both."
            )
    return ports


def _gateway_of(apirule: ApiRule, found: t.Mapping[str, Gateway]) -> Gateway:
    gateway = found.get(apirule.gateway)
    if gateway is None:
        known = ", ".join(sorted(found)) or "none"
        raise apirule.gateway_field.refusal(
            f"Could not get specified Gateway {apirule.gateway}: among the given objects there are {known}."
        )
    if not any(server.tls for server in gateway.servers):
        raise apirule.gateway_field.refusal(f"Gateway {gateway.key} serves plain HTTP; APIRules need HTTPS.")
    return gateway


def _gateways_of(answers: VirtualService, found: t.Mapping[str, Gateway]) -> list[Gateway]:
    """The Gateways of a VirtualService: direct responses are for plain HTTP, where nobody identifies himself."""
    gateways_ = []
    for field in answers.gateways:
        gateway = found.get(field.text() if "/" in field.text() else f"{answers.namespace}/{field.text()}")
        if gateway is None:
            raise field.refusal(f"there is no such Gateway; there are {', '.join(sorted(found)) or 'none'}.")
        if any(server.tls for server in gateway.servers):
            raise field.refusal(f"Gateway {gateway.key} serves HTTPS: use an APIRule there. HTTP answers directly.")
        gateways_.append(gateway)
    return gateways_


class _Routes:
    """Collects the virtual hosts of every route configuration."""

    def __init__(self, ports: t.Mapping[int, list[Server]]) -> None:
        self._servers = [server for servers in ports.values() for server in servers]
        self._hosts: dict[str, dict[str, Json]] = {server.route_name: {} for server in self._servers}
        for server in self._servers:
            for host in server.hosts if server.redirects else ():
                self._put(server, host.name, [])

    def add(self, exposing: ApiRule | VirtualService, gateway: Gateway, host: str, routes: list[Json]) -> None:
        """Put the ``routes`` of ``host`` on every server of ``gateway`` that exposes it."""
        exposed = False
        for server in gateway.servers:
            for offered in server.hosts:
                common = _narrower(offered.name, host) if offered.namespace in ("*", exposing.namespace) else None
                if common is not None:
                    exposed = True
                    self._put(server, common, routes)
        if not exposed:
            offers = ", ".join(
                offered.name if offered.namespace == "*" else f"{offered.namespace}/{offered.name}"
                for server in gateway.servers
                for offered in server.hosts
            )
            raise exposing.host_field.refusal(
                f"{host} is not exposed by Gateway {gateway.key}, whose hosts are {offers}. A cluster would accept it, "
                "report an APIRule as Ready, and answer 404."
            )

    def _put(self, server: Server, host: str, routes: list[Json]) -> None:
        hosts = self._hosts[server.route_name]
        earlier = hosts.get(host, {}).get("routes", [])
        added = [item for item in routes if item not in earlier]
        hosts[host] = virtual_host(host, [*earlier, *added], port=server.port)
        if server.redirects:
            hosts[host]["require_tls"] = "ALL"

    def configurations(self) -> dict[str, Json]:
        """The route configurations by name."""
        return {
            server.route_name: route_configuration(
                server.route_name, list(self._hosts[server.route_name].values()), port=server.port
            )
            for server in self._servers
        }


def _narrower(first: str, second: str) -> str | None:
    """The narrower of two hosts, either of which may be a wildcard, when they have something in common."""
    for narrow, wide in ((first, second), (second, first)):
        if narrow == wide or (wide.startswith("*") and narrow.endswith(wide[1:])):
            return narrow
    return None


def _credentials(settings: t.Iterable[Tls]) -> tuple[Credential, ...]:
    found: dict[str, Credential] = {}
    for tls in settings:
        for name in tls.credentials:
            found[name] = Credential(name, "certificate", f"kubernetes://{name}", sds_path(name))
        if tls.client_ca:
            secret = f"{tls.client_ca}-cacert"
            found[secret] = Credential(tls.client_ca, "validation", f"kubernetes://{secret}", sds_path(secret))
    return tuple(found.values())
