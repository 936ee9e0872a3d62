# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters and routes, as istiod builds them from the VirtualService that Kyma makes of an APIRule."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.apirule import ApiRule, Cors, Rule
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import TYPE
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.workload import ServicePort

# Kyma's api-gateway, processors/v2alpha1/virtualservice.
_PATH_OPERATORS = {
    "{**}": r"([A-Za-z0-9-._~!$&'()*+,;=:@/]|%[0-9a-fA-F]{2})*",
    "{*}": r"([A-Za-z0-9-._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+",
}
_CORS_RESPONSE_HEADERS = [
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Methods",
    "Access-Control-Max-Age",
]


def route_configuration(name: str, virtual_hosts: t.Sequence[Json], *, port: int) -> Json:
    """The routes of one server; without any virtual host everything is answered 404."""
    blackhole = {"name": f"blackhole:{port}", "domains": ["*"], "routes": []}
    return {
        "@type": f"{TYPE}.config.route.v3.RouteConfiguration",
        "name": name,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": 1048576,
        "virtual_hosts": sorted(virtual_hosts, key=lambda host: str(host["name"])) or [blackhole],
    }


def virtual_host(host: str, routes: t.Sequence[Json], *, port: int) -> Json:
    """The routes of one host."""
    return {
        "name": f"{host}:{port}",
        "domains": [host],
        "include_request_attempt_count": True,
        "routes": list(routes),
    }


def route(apirule: ApiRule, rule: Rule, target: ServicePort, *, host: str) -> Json:
    """The route of one rule; ``host`` is the APIRule's full host."""
    match: Json = {
        "case_sensitive": True,
        "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": f"^({'|'.join(rule.methods)})$"}}}],
    }
    if rule.path == "/*":
        match["prefix"], operation = "/", "/*"
    else:
        operation = path_regex(rule.path)
        match["safe_regex"] = {"regex": operation}
    timeout = f"{rule.timeout_seconds}s"
    found: Json = {
        "match": match,
        "decorator": {"operation": f"{target.host}:{target.port}{operation}"},
        "route": {
            "cluster": target.cluster,
            "timeout": timeout,
            "max_grpc_timeout": timeout,
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                "num_retries": 2,
                "host_selection_retry_max_attempts": 5,
                "retry_host_predicate": [
                    {
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": {
                            "@type": f"{TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                        },
                    }
                ],
            },
        },
        "request_headers_to_add": _request_headers(rule, host),
        "response_headers_to_remove": _CORS_RESPONSE_HEADERS,
    }
    if apirule.cors is not None:
        found["typed_per_filter_config"] = {"envoy.filters.http.cors": _cors(apirule.cors)}
    return found


def path_regex(path: str) -> str:
    """The regular expression that Kyma makes of an APIRule's path; ``/*`` is a prefix instead."""
    # Kyma leaves other characters as they are: a dot in a path matches any character, on a cluster too.
    for operator, expression in _PATH_OPERATORS.items():
        path = path.replace(operator, expression)
    return f"^{path}$"


def _request_headers(rule: Rule, host: str) -> list[Json]:
    forwarded_host = "%REQ(:AUTHORITY)%" if host.startswith("*.") else host
    headers = {"x-forwarded-host": forwarded_host, **rule.headers}
    return [
        # Without keep_empty_value: Envoy leaves the client's header alone when the value comes out empty.
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in sorted(headers.items())
    ]


def _cors(cors: Cors) -> Json:
    found: Json = {
        "@type": f"{TYPE}.extensions.filters.http.cors.v3.CorsPolicy",
        "forward_not_matching_preflights": True,
        "allow_origin_string_match": list(cors.origins),
        "filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
        "allow_methods": ",".join(cors.methods),
        "allow_headers": ",".join(cors.headers),
        "expose_headers": ",".join(cors.exposed_headers),
    }
    if cors.credentials is not None:
        found["allow_credentials"] = cors.credentials
    if cors.max_age_seconds is not None:
        found["max_age"] = str(cors.max_age_seconds)
    return found
