# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the HTTP connection managers of the gateway and of the sidecars share."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json, Settings, rds_path
from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import NONCE_HEADER, logged_headers

TYPE = "type.googleapis.com/envoy"


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


def route_source(settings: Settings, name: str) -> Json:
    """Where the route configuration ``name`` comes from; a listener is not drained when its routes change."""
    return {
        "route_config_name": name,
        "config_source": {**watched_file(settings, rds_path(name)), "initial_fetch_timeout": "0s"},
    }


def connection_manager(settings: Json, *, filters: t.Sequence[Json] = ()) -> Json:
    """What Kyma's gateway and its sidecars have in common, and the ``settings`` and ``filters`` of one of them."""
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "server_name": "istio-envoy",
            "normalize_path": True,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "stream_idle_timeout": "0s",
            # After a malformed HTTP/2 request, Envoy holds back what it has to say for so long, by default one second.
            # The delay lets an answer arrive before the reset; on loopback it arrives at once.
            "delayed_close_timeout": "0.25s",
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
                *filters,
                http_filter(
                    "grpc_stats", "grpc_stats.v3.FilterConfig", emit_filter_state=True, stats_for_all_methods=False
                ),
                http_filter("fault", "fault.v3.HTTPFault"),
                http_filter("cors", "cors.v3.Cors"),
                http_filter("router", "router.v3.Router"),
            ],
        },
    }


def http_filter(name: str, kind: str, **settings: bool) -> Json:
    """An HTTP filter by its name and the type of its configuration."""
    typed_config = {"@type": f"{TYPE}.extensions.filters.http.{kind}", **settings}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed_config}


def output_log(line: str, *, status: int | None = None) -> Json:
    """Lines on standard output: Envoy never limits a file that it writes to, but who reads its output can.

    With ``status``, only answers with that code are logged.
    """
    found: Json = {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": f"{TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"text_format_source": {"inline_string": line}},
        },
    }
    if status is not None:
        value = {"default_value": status, "runtime_key": f"access_log.status.{status}"}
        found["filter"] = {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}
    return found


def identity_log(identity_headers: t.Sequence[str]) -> Json:
    """A line of JSON on standard output for each request that asks for one: what the workload reads about its client.

    REQ prints the first of several headers; CEL prints all of them, joined by commas.
    """
    headers = {name: f"%CEL(request.headers['{name}'])%" for name in logged_headers(identity_headers)}
    line = {
        "time": "%START_TIME%",
        "nonce": f"%REQ({NONCE_HEADER.upper()})%",
        "status": "%RESPONSE_CODE%",
        "upstream": "%UPSTREAM_HOST%",
        "headers": headers,
    }
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": {"header_filter": {"header": {"name": NONCE_HEADER.lower(), "present_match": True}}},
        "typed_config": {
            "@type": f"{TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": line},
        },
    }
