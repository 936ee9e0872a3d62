# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listeners of the gateway and of the sidecars, as istiod builds them.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.gateway import Server, Tls
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json, Settings, rds_path, sds_path
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.workload import GATEWAY_IDENTITY, Workload

TYPE = "type.googleapis.com/envoy"
MESH_ROOT = "ROOTCA"
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


def watched_file(settings: Settings, path: str) -> Json:
    """A configuration source: the file ``path``, re-read when something is renamed into its directory."""
    whole = f"{settings.directory}/{path}"
    return {
        "path_config_source": {"path": whole, "watched_directory": {"path": whole.rpartition("/")[0]}},
        "resource_api_version": "V3",
    }


def secret(settings: Settings, resource: str, path: str) -> Json:
    """A reference to the SDS resource ``resource`` in the file ``path``."""
    return {"name": resource, "sds_config": watched_file(settings, path)}


def mesh_secrets(settings: Settings, identity: str, peers: t.Sequence[str]) -> Json:
    """The mesh's TLS settings of one side: its own ``identity`` and those of the ``peers`` it talks to."""
    return {
        "tls_certificate_sds_secret_configs": [secret(settings, identity, mesh_path(identity))],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}} for peer in peers]
            },
            "validation_context_sds_secret_config": secret(settings, MESH_ROOT, mesh_path(MESH_ROOT)),
        },
    }


def mesh_path(name: str) -> str:
    """The SDS file of a mesh identity or of the mesh's root; no Secret's name has an underscore."""
    return sds_path("_".join(["mesh", *name.removeprefix("spiffe://").split("/")]))


def gateway_listener(settings: Settings, port: int, servers: t.Sequence[Server]) -> Json:
    """The listener of one Gateway port: plain HTTP, or one filter chain a server told apart by SNI."""
    local = settings.ports[port]
    name = f"{settings.address}_{local}"
    tls = any(server.tls for server in servers)
    listener: Json = {
        "@type": f"{TYPE}.config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": {"address": settings.address, "port_value": local}},
        "traffic_direction": "OUTBOUND",
        # With it, a second Envoy would silently share the port.
        "enable_reuse_port": False,
        "max_connections_to_accept_per_socket_event": 1,
        "access_log": [_output_log(_LISTENER_LOG)],
    }
    if not tls:
        chain = _gateway_filters(settings, stat_prefix=name, route_name=servers[0].route_name)
        return {**listener, "filter_chains": [{"filters": chain}]}
    return {
        **listener,
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {
                    "@type": f"{TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                    "initial_read_buffer_size": 512,
                },
            }
        ],
        "filter_chains": [_tls_chain(settings, server, server.tls, name) for server in servers if server.tls],
    }


def _tls_chain(settings: Settings, server: Server, tls: Tls, stat_prefix: str) -> Json:
    hosts = sorted({host.name for host in server.hosts})
    return {
        "filter_chain_match": {} if "*" in hosts else {"server_names": hosts},
        "transport_socket_connect_timeout": "15s",
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": _common_tls(settings, tls),
                "require_client_certificate": tls.mode == "MUTUAL",
            },
        },
        "filters": _gateway_filters(settings, stat_prefix=stat_prefix, route_name=server.route_name),
    }


def _common_tls(settings: Settings, tls: Tls) -> Json:
    parameters: Json = {}
    # TLS_AUTO leaves Envoy's own default, as istiod does: TLS 1.2 to 1.3 on a server.
    if tls.minimum:
        parameters["tls_minimum_protocol_version"] = tls.minimum
    if tls.maximum:
        parameters["tls_maximum_protocol_version"] = tls.maximum
    if tls.cipher_suites:
        parameters["cipher_suites"] = list(tls.cipher_suites)
    context: Json = {
        "alpn_protocols": _ALPN,
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
        _connection_manager(
            {
                "codec_type": "AUTO",
                "stat_prefix": f"outbound_{stat_prefix}",
                "server_header_transformation": "OVERWRITE",
                "use_remote_address": True,
                "xff_num_trusted_hops": 0,
                # Whatever X-Forwarded-Client-Cert a client sends is dropped.
                "forward_client_cert_details": "SANITIZE_SET",
                "set_current_client_cert_details": {"subject": True, "cert": True, "dns": True, "uri": True},
                "access_log": [_output_log(_ACCESS_LOG)],
                "rds": {
                    "route_config_name": route_name,
                    "config_source": {**watched_file(settings, rds_path(route_name)), "initial_fetch_timeout": "0s"},
                },
            }
        )
    ]


def sidecar_listener(settings: Settings, workload: Workload) -> Json:
    """The second hop: the workload's sidecar on a Unix socket, which accepts the gateway's identity only.

    On a cluster Kyma's AuthorizationPolicy names the same principal.
    """
    return {
        "@type": f"{TYPE}.config.listener.v3.Listener",
        "name": f"virtualInbound-{workload.name}.{workload.namespace}",
        "address": {"pipe": {"path": workload.socket, "mode": 0o600}},
        "traffic_direction": "INBOUND",
        "filter_chains": [
            {
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                        "common_tls_context": {
                            "alpn_protocols": _ALPN,
                            **mesh_secrets(settings, workload.identity, [GATEWAY_IDENTITY]),
                        },
                        "require_client_certificate": True,
                    },
                },
                "filters": [
                    _connection_manager(
                        {
                            "stat_prefix": f"inbound_{workload.name}.{workload.namespace}",
                            "use_remote_address": False,
                            "forward_client_cert_details": "APPEND_FORWARD",
                            "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True},
                            "route_config": _inbound_route(workload),
                        }
                    )
                ],
            }
        ],
    }


def _inbound_route(workload: Workload) -> Json:
    cluster = workload.inbound_cluster
    return {
        "name": cluster,
        "validate_clusters": False,
        "virtual_hosts": [
            {
                # Without include_request_attempt_count: the workload reads the gateway's count.
                "name": "inbound|http",
                "domains": ["*"],
                "routes": [
                    {
                        "name": "default",
                        "match": {"prefix": "/"},
                        # The gateway's route has the timeout.
                        "route": {
                            "cluster": cluster,
                            "timeout": "0s",
                            "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
                            # A request that the workload has not seen yet may be sent again.
                            "retry_policy": {"retry_on": "reset-before-request", "num_retries": 2},
                        },
                    }
                ],
            }
        ],
    }


def _connection_manager(settings: Json) -> Json:
    """What Kyma's gateway and its sidecars have in common, and the ``settings`` of one of them."""
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "server_name": "istio-envoy",
            "normalize_path": True,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "stream_idle_timeout": "0s",
            "proxy_100_continue": True,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            # Kyma sets PILOT_HTTP10.
            "http_protocol_options": {"accept_http_10": True},
            "request_id_extension": {
                "typed_config": {
                    "@type": f"{TYPE}.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                    "use_request_id_for_trace_sampling": True,
                }
            },
            **settings,
            "http_filters": [
                _http_filter(
                    "grpc_stats", "grpc_stats.v3.FilterConfig", emit_filter_state=True, stats_for_all_methods=False
                ),
                _http_filter("fault", "fault.v3.HTTPFault"),
                _http_filter("cors", "cors.v3.Cors"),
                _http_filter("router", "router.v3.Router"),
            ],
        },
    }


def _http_filter(name: str, kind: str, **settings: bool) -> Json:
    typed_config = {"@type": f"{TYPE}.extensions.filters.http.{kind}", **settings}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed_config}


def _output_log(line: str) -> Json:
    """Lines on standard output: Envoy never limits a file that it writes to, but who reads its output can."""
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": f"{TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"text_format_source": {"inline_string": line}},
        },
    }
