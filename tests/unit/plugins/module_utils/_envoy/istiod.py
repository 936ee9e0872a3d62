# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What istiod 1.30.2 sent to the Envoys of a Kyma cluster (Istio module 1.30.0, API Gateway module 3.10.0).

Read from a running cluster with the tutorial's objects, and from istiod alone for further TLS settings and routes.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import HOST, IDENTITY_HEADERS, Json

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_ADS = {"ads": {}, "resource_api_version": "V3"}
_AGENT = {
    "api_config_source": {
        "api_type": "GRPC",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
        "set_node_on_first_message_only": True,
        "transport_api_version": "V3",
    },
    "initial_fetch_timeout": "0s",
    "resource_api_version": "V3",
}
_MESH_VERSIONS = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
_INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": {
        "@type": f"{_EXTENSIONS}.filters.listener.tls_inspector.v3.TlsInspector",
        "initial_read_buffer_size": 512,
    },
}
GATEWAY = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
WORKLOAD = "spiffe://cluster.local/ns/test/sa/httpbin"


def _manager(*filters: Json, **fields: t.Any) -> Json:
    config = f"{_EXTENSIONS}.filters.http"
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "http_filters": [
                *filters,
                {
                    "name": "envoy.filters.http.grpc_stats",
                    "typed_config": {
                        "@type": f"{config}.grpc_stats.v3.FilterConfig",
                        "emit_filter_state": True,
                        "stats_for_all_methods": False,
                    },
                },
                {"name": "envoy.filters.http.fault", "typed_config": {"@type": f"{config}.fault.v3.HTTPFault"}},
                {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{config}.cors.v3.Cors"}},
                {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{config}.router.v3.Router"}},
            ],
            "http_protocol_options": {"accept_http_10": True},
            "server_name": "istio-envoy",
            "proxy_100_continue": True,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "stream_idle_timeout": "0s",
            "normalize_path": True,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "request_id_extension": {
                "typed_config": {
                    "@type": f"{_EXTENSIONS}.request_id.uuid.v3.UuidRequestIdConfig",
                    "use_request_id_for_trace_sampling": True,
                }
            },
            **fields,
        },
    }


def gateway_listener(port: int) -> Json:
    """The gateway's listener, without its filter chains."""
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": f"0.0.0.0_{port}",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},  # noqa: S104  (a pod's address)
        "listener_filters": [_INSPECTOR],
        "traffic_direction": "OUTBOUND",
        "max_connections_to_accept_per_socket_event": 1,
    }


def gateway_chain(*hosts: str, route: str, port: int = 443, requires: bool, **tls: t.Any) -> Json:
    """The filter chain of one HTTPS server; without ``hosts`` the one for every name."""
    found = {
        "filters": [
            _manager(
                stat_prefix=f"outbound_0.0.0.0_{port};",
                use_remote_address=True,
                forward_client_cert_details="SANITIZE_SET",
                set_current_client_cert_details={"subject": True, "cert": True, "dns": True, "uri": True},
                rds={"route_config_name": route, "config_source": {**_ADS, "initial_fetch_timeout": "0s"}},
            )
        ],
        "transport_socket": _tls("Downstream", require_client_certificate=requires, common_tls_context=tls),
        "transport_socket_connect_timeout": "15s",
    }
    return {**found, "filter_chain_match": {"server_names": list(hosts)}} if hosts else found


def _tls(side: str, **fields: t.Any) -> Json:
    kind = f"{_EXTENSIONS}.transport_sockets.tls.v3.{side}TlsContext"
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": kind, **fields}}


def gateway_tls(*secrets: str, client_ca: str = "", restrictions: Json | None = None, **parameters: t.Any) -> Json:
    """The common TLS context of a server: what it presents, whom it trusts, and its ``parameters``."""
    found: Json = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [
            {"name": f"kubernetes://{secret}", "sds_config": _ADS} for secret in secrets
        ],
    }
    if client_ca:
        found["combined_validation_context"] = {
            "default_validation_context": restrictions or {},
            "validation_context_sds_secret_config": {"name": f"kubernetes://{client_ca}", "sds_config": _ADS},
        }
    return {**found, "tls_params": parameters} if parameters else found


def route_configuration(name: str, *virtual_hosts: Json) -> Json:
    """The routes of one server."""
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": name,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": 1048576,
        "virtual_hosts": list(virtual_hosts) or [{"name": "blackhole:443", "domains": ["*"]}],
    }


def virtual_host(host: str, *routes: Json) -> Json:
    """The routes of one host."""
    return {
        "name": f"{host}:443",
        "domains": [host],
        "include_request_attempt_count": True,
        "routes": list(routes),
    }


def route(methods: str, timeout: str, *, host: str = HOST, headers: Json | None = None, regex: str = "") -> Json:
    """The route of one rule, to ``regex`` or to every path."""
    match: Json = {"safe_regex": {"regex": regex}} if regex else {"prefix": "/"}
    added = {**(headers or {}), "x-forwarded-host": host}
    return {
        "decorator": {"operation": f"httpbin.test.svc.cluster.local:8000{regex or '/*'}"},
        "match": {
            **match,
            "case_sensitive": True,
            "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": f"^({methods})$"}}}],
        },
        "metadata": {
            "filter_metadata": {
                "istio": {"config": "/apis/networking.istio.io/v1/namespaces/test/virtual-service/httpbin-mtls-28t5v"}
            }
        },
        "request_headers_to_add": [
            {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD", "header": {"key": key, "value": value}}
            for key, value in added.items()
        ],
        "response_headers_to_remove": [
            f"Access-Control-{name}"
            for name in (
                *("Allow-Origin", "Expose-Headers", "Allow-Headers"),
                *("Allow-Credentials", "Allow-Methods", "Max-Age"),
            )
        ],
        "route": {
            "cluster": "outbound|8000||httpbin.test.svc.cluster.local",
            "timeout": timeout,
            "max_grpc_timeout": timeout,
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                "num_retries": 2,
                "host_selection_retry_max_attempts": 5,
                "retry_host_predicate": [
                    {
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": {"@type": f"{_EXTENSIONS}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
                    }
                ],
            },
        },
    }


TUTORIAL_ROUTE = route("GET", "300s", headers=IDENTITY_HEADERS)
CORS_POLICY = {
    "@type": f"{_EXTENSIONS}.filters.http.cors.v3.CorsPolicy",
    "allow_origin_string_match": [
        {"exact": "https://a.example"},
        {"prefix": "https://b"},
        {"safe_regex": {"regex": ".*c"}},
    ],
    "allow_methods": "GET,POST",
    "allow_headers": "x-a,x-b",
    "expose_headers": "x-c",
    "max_age": "300",
    "allow_credentials": True,
    "filter_enabled": {"default_value": {"numerator": 100}},
    "forward_not_matching_preflights": True,
}


def _mesh_tls(matcher: Json) -> Json:
    return {
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": _AGENT}],
        "combined_validation_context": {
            "default_validation_context": {"match_subject_alt_names": [matcher]},
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": _AGENT},
        },
    }


def outbound_cluster() -> Json:
    """The gateway's cluster for the Service, with the transport socket that a pod with a sidecar gets."""
    name = "outbound|8000||httpbin.test.svc.cluster.local"
    unlimited = 4294967295
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "alt_stat_name": f"{name};",
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {**_ADS, "initial_fetch_timeout": "0s"},
            "service_name": name,
        },
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                {
                    **dict.fromkeys(
                        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), unlimited
                    ),
                    "track_remaining": True,
                }
            ]
        },
        "metadata": {"filter_metadata": {"istio": {"services": [{"name": "httpbin", "namespace": "test"}]}}},
        "transport_socket": _tls(
            "Upstream",
            sni="outbound_.8000_._.httpbin.test.svc.cluster.local",
            common_tls_context={
                "alpn_protocols": ["istio"],
                "tls_params": _MESH_VERSIONS,
                **_mesh_tls({"exact": WORKLOAD}),
            },
        ),
    }


def sidecar_chain() -> Json:
    """The filter chain of the workload's port at its sidecar, with Kyma's AuthorizationPolicy."""
    suites = ("ECDSA-AES256-GCM-SHA384", "RSA-AES256-GCM-SHA384", "ECDSA-AES128-GCM-SHA256", "RSA-AES128-GCM-SHA256")
    return {
        "filter_chain_match": {"destination_port": 8080, "transport_protocol": "tls"},
        "name": "0.0.0.0_8080",
        "filters": [
            _manager(
                _rbac(),
                stat_prefix="inbound_0.0.0.0_8080;",
                use_remote_address=False,
                forward_client_cert_details="APPEND_FORWARD",
                set_current_client_cert_details={"subject": True, "dns": True, "uri": True},
                route_config=_inbound_route(),
            )
        ],
        "transport_socket": _tls(
            "Downstream",
            require_client_certificate=True,
            common_tls_context={
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {
                    **_MESH_VERSIONS,
                    "cipher_suites": [
                        *(f"ECDHE-{suite}" for suite in suites),
                        *("AES256-GCM-SHA384", "AES128-GCM-SHA256"),
                    ],
                },
                **_mesh_tls({"prefix": "spiffe://cluster.local/"}),
            },
        ),
    }


def _inbound_route() -> Json:
    return {
        "name": "inbound|8080||",
        "validate_clusters": False,
        "virtual_hosts": [
            {
                "name": "inbound|http|8000",
                "domains": ["*"],
                "routes": [
                    {
                        "name": "default",
                        "match": {"prefix": "/"},
                        "decorator": {"operation": "httpbin.test.svc.cluster.local:8000/*"},
                        "route": {
                            "cluster": "inbound|8080||",
                            "timeout": "0s",
                            "retry_policy": {"retry_on": "reset-before-request", "num_retries": 2},
                            "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
                        },
                    }
                ],
            }
        ],
    }


def _rbac() -> Json:
    path = {
        "uri_template": {
            "name": "uri-template",
            "typed_config": {
                "@type": f"{_EXTENSIONS}.path.match.uri_template.v3.UriTemplateMatchConfig",
                "path_template": "/**",
            },
        }
    }
    permissions = [
        {"header": {"name": ":authority", "string_match": {"exact": HOST, "ignore_case": True}}},
        {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
        path,
    ]
    principal = {"authenticated": {"principal_name": {"exact": GATEWAY}}}
    policy = {
        "permissions": [{"and_rules": {"rules": [{"or_rules": {"rules": [rule]}} for rule in permissions]}}],
        "principals": [{"and_ids": {"ids": [{"or_ids": {"ids": [principal]}}]}}],
    }
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.rbac.v3.RBAC",
            "rules": {"policies": {"ns[test]-policy[httpbin-mtls-dq64q]-rule[0]": policy}},
            "shadow_rules_stat_prefix": "istio_dry_run_allow_",
        },
    }
