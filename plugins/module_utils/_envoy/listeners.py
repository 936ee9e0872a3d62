# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listeners of the gateway, as istiod builds them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import (
    TYPE,
    connection_manager,
    output_log,
    route_source,
    secret,
)
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.gateway import Host, Server, Tls
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json, Settings, sds_path

_ALPN = ["h2", "http/1.1"]
_SAN_TYPES = ("DNS", "URI", "EMAIL", "IP_ADDRESS")

_LISTENER_LOG = (
    "[%START_TIME%] LISTENER sni=%REQUESTED_SERVER_NAME% peer=%DOWNSTREAM_REMOTE_ADDRESS% tls=%DOWNSTREAM_TLS_VERSION% "
    'tls_failure="%DOWNSTREAM_TRANSPORT_FAILURE_REASON%" flags=%RESPONSE_FLAGS% '
    'term="%CONNECTION_TERMINATION_DETAILS%" subject="%DOWNSTREAM_PEER_SUBJECT%" dur=%DURATION%\n'
)
# istiod's default text format.
_ACCESS_LOG = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)


def gateway_listener(settings: Settings, port: int, servers: t.Sequence[Server]) -> Json:
    """The listener of one Gateway port: a filter chain for each server, told apart by SNI.

    All servers of plain HTTP share one, as they share their routes.
    """
    local = settings.ports[port]
    name = f"{settings.address}_{local}"
    regular = [server for server in servers if not server.application_protocol]
    chains = [_chain(settings, server, server.tls, name) for server in regular if server.tls is not None]
    chains += _chains_by_protocol(settings, servers, regular, name)
    if not chains:
        filters = _gateway_filters(settings, stat_prefix=name, route_name=servers[0].route_name)
        chains = [{"transport_socket_connect_timeout": "15s", "filters": filters}]
    return {
        "@type": f"{TYPE}.config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": {"address": settings.address, "port_value": local}},
        "traffic_direction": "OUTBOUND",
        # With it, a second Envoy would silently share the port.
        "enable_reuse_port": False,
        "max_connections_to_accept_per_socket_event": 1,
        "access_log": [output_log(_LISTENER_LOG)],
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {
                    "@type": f"{TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                    "initial_read_buffer_size": 512,
                },
            }
        ],
        "filter_chains": chains,
    }


def route_names(listener: Json) -> set[str]:
    """The names of the route configurations that a gateway's listener refers to."""
    chains = t.cast("list[Json]", listener["filter_chains"])
    filters = [filter_["typed_config"] for chain in chains for filter_ in t.cast("list[Json]", chain["filters"])]
    return {t.cast("dict[str, t.Any]", filter_)["rds"]["route_config_name"] for filter_ in filters}


def _chains_by_protocol(
    settings: Settings, servers: t.Sequence[Server], regular: t.Sequence[Server], stat_prefix: str
) -> list[Json]:
    """The chains for one application protocol each, beside the regular ones.

    Envoy looks at SNI first, and at ALPN only among the chains for the same name. So a chain takes the name by which a
    regular one serves its hosts: those clients go on being served, and the regular chain stays as it is.
    """
    found: dict[tuple[str, str], tuple[Server, dict[str, None]]] = {}
    for server in servers:
        for host in server.hosts if server.application_protocol and server.tls is not None else ():
            key = server.application_protocol, _serving_name(host.name, regular)
            found.setdefault(key, (server, {}))[1].update(dict.fromkeys(server.tls.credentials if server.tls else ()))
    return [
        _chain(
            settings,
            dataclasses.replace(server, hosts=(Host("*", name),)),
            dataclasses.replace(t.cast("Tls", server.tls), credentials=tuple(credentials)),
            stat_prefix,
        )
        for (_protocol, name), (server, credentials) in found.items()
    ]


def _serving_name(name: str, servers: t.Sequence[Server]) -> str:
    """The name by which one of ``servers`` serves ``name``, the most exact one; else ``name`` itself."""
    names = {host.name for server in servers for host in server.hosts}
    fitting = [one for one in names if one == name or (one.startswith("*") and name.endswith(one[1:]))]
    return name if name in names else max(fitting, key=len, default=name)


def _chain(settings: Settings, server: Server, tls: Tls, stat_prefix: str) -> Json:
    hosts = sorted({host.name for host in server.hosts})
    match: Json = {} if "*" in hosts else {"server_names": hosts}
    if server.application_protocol:
        match["application_protocols"] = [server.application_protocol]
    return {
        "filter_chain_match": match,
        "transport_socket_connect_timeout": "15s",
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": _common_tls(
                    settings, tls, [server.application_protocol] if server.application_protocol else _ALPN
                ),
                "require_client_certificate": tls.mode == "MUTUAL",
            },
        },
        "filters": _gateway_filters(settings, stat_prefix=stat_prefix, route_name=server.route_name),
    }


def _common_tls(settings: Settings, tls: Tls, protocols: list[str]) -> Json:
    parameters: Json = {}
    # TLS_AUTO leaves Envoy's own default, as istiod does: TLS 1.2 to 1.3 on a server.
    if tls.minimum:
        parameters["tls_minimum_protocol_version"] = tls.minimum
    if tls.maximum:
        parameters["tls_maximum_protocol_version"] = tls.maximum
    if tls.cipher_suites:
        parameters["cipher_suites"] = list(tls.cipher_suites)
    context: Json = {
        "alpn_protocols": protocols,
        "tls_certificate_sds_secret_configs": [
            secret(settings, f"kubernetes://{name}", sds_path(name)) for name in tls.credentials
        ],
    }
    if parameters:
        context["tls_params"] = parameters
    if tls.client_ca:
        name = f"{tls.client_ca}-cacert"
        context["combined_validation_context"] = {
            "default_validation_context": _client_restrictions(tls),
            "validation_context_sds_secret_config": secret(settings, f"kubernetes://{name}", sds_path(name)),
        }
    return context


def _client_restrictions(tls: Tls) -> Json:
    restrictions: Json = {}
    if tls.subject_alt_names:
        # istiod leaves the type open: a name may be of any.
        restrictions["match_typed_subject_alt_names"] = [
            {"san_type": kind, "matcher": {"exact": name}} for name in tls.subject_alt_names for kind in _SAN_TYPES
        ]
    if tls.spki_hashes:
        restrictions["verify_certificate_spki"] = list(tls.spki_hashes)
    if tls.certificate_hashes:
        restrictions["verify_certificate_hash"] = list(tls.certificate_hashes)
    return restrictions


def _gateway_filters(settings: Settings, *, stat_prefix: str, route_name: str) -> list[Json]:
    return [
        connection_manager(
            {
                "codec_type": "AUTO",
                "stat_prefix": f"outbound_{stat_prefix}",
                "server_header_transformation": "OVERWRITE",
                "use_remote_address": True,
                "xff_num_trusted_hops": 0,
                # Whatever X-Forwarded-Client-Cert a client sends is dropped.
                "forward_client_cert_details": "SANITIZE_SET",
                "set_current_client_cert_details": {"subject": True, "cert": True, "dns": True, "uri": True},
                "access_log": [output_log(_ACCESS_LOG)],
                "rds": route_source(settings, route_name),
            }
        )
    ]
