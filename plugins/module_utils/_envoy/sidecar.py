# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second hop, as istiod builds it: from the gateway to the sidecar of a workload, and on to the workload."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import (
    TYPE,
    connection_manager,
    http_filter,
    identity_log,
    output_log,
    route_source,
    secret,
)
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json, Settings, sds_path
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.workload import (
    GATEWAY_IDENTITY,
    TRUST_DOMAIN,
    ServicePort,
    Workload,
)

MESH_ROOT = "ROOTCA"
# The identity is in the headers that the gateway sets for policies.
_DENIAL_LOG = (
    '[%START_TIME%] DENIED "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%" %REQ(:AUTHORITY)% '
    '%RESPONSE_CODE_DETAILS% "%REQ(X-CLIENT-CERT-SUBJECT)%" "%REQ(X-CLIENT-CERT-ISSUER)%" '
    '"%REQ(X-CLIENT-CERT-URI)%" "%REQ(X-CLIENT-CERT-DNS)%" "%REQ(X-CLIENT-CERT-EMAIL)%" '
    '"%REQ(X-REQUEST-ID)%"\n'
)
_ALPN = ["h2", "http/1.1"]
_UNLIMITED = 2**32 - 1
_MESH_VERSIONS = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
_SIDECAR_CIPHER_SUITES = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
]


def mesh_secrets(settings: Settings, identity: str, peer: Json) -> Json:
    """The mesh's TLS settings of one side: its own ``identity`` and the matcher of its ``peer``."""
    return {
        "tls_certificate_sds_secret_configs": [secret(settings, identity, mesh_path(identity))],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer}]},
            "validation_context_sds_secret_config": secret(settings, MESH_ROOT, mesh_path(MESH_ROOT)),
        },
    }


def mesh_path(name: str) -> str:
    """The SDS file of a mesh identity or of the mesh's root; no Secret's name has an underscore."""
    return sds_path("_".join(["mesh", *name.removeprefix("spiffe://").split("/")]))


def sidecar_listener(settings: Settings, workload: Workload, *, filters: t.Sequence[Json] = ()) -> Json:
    """The second hop: the workload's sidecar on a Unix socket, which accepts identities of the mesh only.

    ``filters`` come before those that decide who may pass.
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
                            **mesh_secrets(settings, workload.identity, {"prefix": f"spiffe://{TRUST_DOMAIN}/"}),
                            "tls_params": {**_MESH_VERSIONS, "cipher_suites": _SIDECAR_CIPHER_SUITES},
                        },
                        "require_client_certificate": True,
                    },
                },
                "filters": [
                    connection_manager(
                        {
                            "stat_prefix": f"inbound_{workload.name}.{workload.namespace}",
                            "use_remote_address": False,
                            "forward_client_cert_details": "APPEND_FORWARD",
                            "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True},
                            "access_log": _logs(workload),
                            "rds": route_source(settings, workload.inbound_cluster),
                        },
                        # Its rules are in the route, so that a change of them interrupts nobody.
                        filters=[
                            *filters,
                            http_filter("rbac.deny", "rbac.v3.RBAC"),
                            http_filter("rbac", "rbac.v3.RBAC"),
                        ],
                    )
                ],
            }
        ],
    }


def _logs(workload: Workload) -> list[Json]:
    headers = workload.upstream.identity_log
    return [output_log(_DENIAL_LOG, status=403), *([identity_log(headers)] if headers else [])]


def inbound_route(workload: Workload, *, allowed: Json, denied: Json) -> Json:
    """The sidecar's routes; what an RBAC policy in ``denied`` matches, or none in ``allowed``, is answered 403."""
    cluster = workload.inbound_cluster
    rules = {"envoy.filters.http.rbac": _rbac({"policies": allowed})}
    if denied:
        rules["envoy.filters.http.rbac.deny"] = _rbac({"action": "DENY", "policies": denied})
    return {
        "@type": f"{TYPE}.config.route.v3.RouteConfiguration",
        "name": cluster,
        "validate_clusters": False,
        "virtual_hosts": [
            {
                # Without include_request_attempt_count: the workload reads the gateway's count.
                "name": "inbound|http",
                "domains": ["*"],
                "typed_per_filter_config": rules,
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


def _rbac(rules: Json) -> Json:
    return {"@type": f"{TYPE}.extensions.filters.http.rbac.v3.RBACPerRoute", "rbac": {"rules": rules}}


def outbound_cluster(settings: Settings, target: ServicePort) -> Json:
    """The gateway's way to a Service: mutual TLS with the workload's identity, through its sidecar's socket."""
    return {
        **_cluster(target.cluster, {"pipe": {"path": target.workload.socket}}),
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": f"outbound_.{target.port}_._.{target.host}",
                "common_tls_context": {
                    "alpn_protocols": ["istio", "http/1.1"],
                    **mesh_secrets(settings, GATEWAY_IDENTITY, {"exact": target.workload.identity}),
                    "tls_params": _MESH_VERSIONS,
                },
            },
        },
    }


def inbound_cluster(workload: Workload) -> Json:
    """The sidecar's way to its workload: a local process, or another address that answers already."""
    upstream = workload.upstream
    return {**_cluster(workload.inbound_cluster, dict(upstream.address)), **upstream.cluster_fields()}


def _cluster(name: str, address: Json) -> Json:
    return {
        "@type": f"{TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _UNLIMITED,
                    "max_pending_requests": _UNLIMITED,
                    "max_requests": _UNLIMITED,
                    "max_retries": _UNLIMITED,
                    "track_remaining": True,
                }
            ]
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
