# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Envoy as a gateway for tests, configured as istiod would configure it, and misconfigured on demand."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

IDENTITY_HEADERS = {
    "X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT% ",
    "X-CLIENT-SSL-ISSUER": "%DOWNSTREAM_PEER_ISSUER%",
    "X-CLIENT-SSL-SAN": "URI=%DOWNSTREAM_PEER_URI_SAN%",
}
_TYPES = "type.googleapis.com/envoy.extensions"


@dataclass
class Gateway:
    """What differs from a sound gateway."""

    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    crl: str | None = None
    require: bool = True
    ask: bool = True
    trust_chain: str = "VERIFY_TRUST_CHAIN"
    minimum: str | None = None
    ciphers: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=lambda: dict(IDENTITY_HEADERS))
    any_name: bool = False
    names: tuple[str, ...] = ("*.mtls.test",)
    protocols: tuple[str, ...] = ()
    uri_san: str = ""
    http_10: bool = False
    forward: str = "SANITIZE_SET"
    underscores: str = "ALLOW"
    host: str = "127.0.0.1"
    only_http_2: str = ""


def write_config(directory: Path, pki: Pki, *, port: int, admin: str, upstream: int, gateways: list[Gateway]) -> Path:
    """Write Envoy's configuration, with a filter chain for each of ``gateways``, and return its path."""
    listener = {
        "name": "gateway",
        "address": _address(port, gateways[0].host),
        "enable_reuse_port": False,
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": f"{_TYPES}.filters.listener.tls_inspector.v3.TlsInspector"},
            }
        ],
        "filter_chains": [_filter_chain(pki, gateway) for gateway in gateways],
    }
    document = {
        "admin": {"address": {"pipe": {"path": admin}}},
        "static_resources": {"listeners": [listener], "clusters": [_cluster(upstream)]},
    }
    path = directory / "envoy.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def _filter_chain(pki: Pki, gateway: Gateway) -> dict[str, t.Any]:
    common: dict[str, t.Any] = {
        "alpn_protocols": {"": ["h2", "http/1.1"], "alpn": ["h2"], "known": []}[gateway.only_http_2],
        "tls_certificates": [
            {
                "certificate_chain": {"filename": gateway.certificate or pki.server.crt},
                "private_key": {"filename": gateway.key or pki.server.key_file},
            }
        ],
    }
    if gateway.ask:
        context: dict[str, t.Any] = {"trusted_ca": {"filename": gateway.client_ca or pki.client_ca.crt}}
        if gateway.crl:
            context["crl"] = {"filename": gateway.crl}
        context["trust_chain_verification"] = gateway.trust_chain
        if gateway.uri_san:
            context["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": gateway.uri_san}}]
        common["validation_context"] = context
    parameters: dict[str, t.Any] = {}
    if gateway.minimum:
        parameters["tls_minimum_protocol_version"] = gateway.minimum
    if gateway.ciphers:
        parameters["cipher_suites"] = list(gateway.ciphers)
    if parameters:
        common["tls_params"] = parameters
    chain: dict[str, t.Any] = {
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": common,
                "require_client_certificate": gateway.require and gateway.ask,
            },
        },
        "filters": [_http(gateway)],
    }
    names = [] if gateway.any_name else list(gateway.names)
    chain["filter_chain_match"] = {"server_names": names, "application_protocols": list(gateway.protocols)}
    return chain


def _address(port: int, host: str = "127.0.0.1") -> dict[str, t.Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _http(gateway: Gateway) -> dict[str, t.Any]:
    headers = [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in gateway.headers.items()
    ]
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "workload", "timeout": "30s"},
        "request_headers_to_add": headers,
    }
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "codec_type": "HTTP2" if gateway.only_http_2 else "AUTO",
            "stat_prefix": "gateway",
            "use_remote_address": True,
            "forward_client_cert_details": gateway.forward,
            "set_current_client_cert_details": {"subject": True, "cert": True, "dns": True, "uri": True},
            "normalize_path": True,
            "common_http_protocol_options": {"headers_with_underscores_action": gateway.underscores},
            "http_protocol_options": {
                "accept_http_10": gateway.http_10,
                "default_host_for_http_10": "httpbin.mtls.test",
            },
            "route_config": {
                "name": "routes",
                "ignore_port_in_host_matching": True,
                "virtual_hosts": [
                    {
                        "name": "httpbin",
                        "domains": ["*"] if gateway.any_name else ["httpbin.mtls.test"],
                        "routes": [route],
                    }
                ],
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
                }
            ],
        },
    }


def _cluster(port: int) -> dict[str, t.Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": "workload",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "workload", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
