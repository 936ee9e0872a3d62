# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Envoy's configuration as files: bootstrap, xDS, secrets, and a static form for Envoy's own validator."""

from __future__ import annotations

import base64
import copy
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import TYPE, watched_file
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration, Json, rds_path
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import admin_socket

BOOTSTRAP = "bootstrap.json"
LISTENERS = "lds/lds.json"
CLUSTERS = "cds/cds.json"

_RUNTIME = {
    "layers": [
        {
            "name": "global config",
            "static_layer": {
                "re2.max_program_size.error_level": 32768,
                "envoy.reloadable_features.http_reject_path_with_fragment": False,
            },
        },
        {"name": "admin", "admin_layer": {}},
    ]
}
_NODE = {"id": "router~127.0.0.1~istio-ingressgateway.istio-system", "cluster": "istio-ingressgateway.istio-system"}


def files(configuration: Configuration) -> dict[str, Json]:
    """Every file but the secrets, by its path relative to ``Settings.directory``; secrets come first on disk."""
    return {
        **{rds_path(name): {"resources": [route]} for name, route in configuration.routes.items()},
        CLUSTERS: {"resources": list(configuration.clusters)},
        LISTENERS: {"resources": list(configuration.listeners)},
        BOOTSTRAP: bootstrap(configuration),
    }


def bootstrap(configuration: Configuration) -> Json:
    """What Envoy starts from; it changes only with the directories, everything else is re-read while Envoy runs."""
    settings = configuration.settings
    return {
        "node": _NODE,
        "admin": {"address": {"pipe": {"path": admin_socket(settings), "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": {**watched_file(settings, LISTENERS), "initial_fetch_timeout": "0s"},
            "cds_config": {**watched_file(settings, CLUSTERS), "initial_fetch_timeout": "0s"},
        },
        "layered_runtime": _RUNTIME,
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": (
                            f"{TYPE}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
                        ),
                        "max_active_downstream_connections": 2147483647,
                    },
                }
            ]
        },
    }


def sds_certificate(name: str, chain_pem: bytes, key_pem: bytes) -> Json:
    """The SDS file of a certificate chain and its key."""
    certificate = {"certificate_chain": _inline(chain_pem), "private_key": _inline(key_pem)}
    return _sds(name, {"tls_certificate": certificate})


def sds_validation(name: str, ca_pem: bytes, crl_pem: bytes | None = None) -> Json:
    """The SDS file of trusted CAs, and of their revocation lists."""
    context = {"trusted_ca": _inline(ca_pem)}
    if crl_pem:
        context["crl"] = _inline(crl_pem)
    return _sds(name, {"validation_context": context})


def _sds(name: str, content: Json) -> Json:
    # Envoy takes exactly one secret a file.
    return {"resources": [{"@type": f"{TYPE}.extensions.transport_sockets.tls.v3.Secret", "name": name, **content}]}


def _inline(data: bytes) -> Json:
    return {"inline_bytes": base64.b64encode(data).decode()}


def static_bootstrap(configuration: Configuration, secrets: t.Mapping[str, Json]) -> Json:
    """Everything as static resources, for ``envoy --mode validate``, which does not look into xDS files.

    ``secrets`` maps resource names to SDS files as the functions above make them. Nothing in the result points to a
    port, socket or log of a running Envoy.
    """
    found = {
        "node": _NODE,
        "layered_runtime": _RUNTIME,
        "static_resources": {
            "listeners": [_without_type(listener) for listener in configuration.listeners],
            "clusters": [_without_type(cluster) for cluster in configuration.clusters],
            "secrets": [_without_type(secret) for document in secrets.values() for secret in document["resources"]],
        },
    }
    for listener in found["static_resources"]["listeners"]:  # type: ignore[index]
        listener["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return t.cast(Json, _made_static(found, configuration.routes))


def _without_type(resource: Json) -> Json:
    return {key: copy.deepcopy(value) for key, value in resource.items() if key != "@type"}


def _made_static(value: t.Any, routes: t.Mapping[str, Json]) -> t.Any:
    """``value`` with secrets and routes referred to directly."""
    if isinstance(value, list):
        return [_made_static(item, routes) for item in value]
    if not isinstance(value, dict):
        return value
    if "sds_config" in value:
        return {"name": value["name"]}
    made = {key: _made_static(item, routes) for key, item in value.items() if key != "rds"}
    if "rds" in value:
        made["route_config"] = _without_type(routes[value["rds"]["route_config_name"]])
    return made
