# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RBAC at the sidecar, as istiod builds it from the AuthorizationPolicy that Kyma makes of an APIRule.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.apirule import ApiRule, Rule
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import TYPE
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.workload import GATEWAY_IDENTITY

_GATEWAY = {"authenticated": {"principal_name": {"exact": GATEWAY_IDENTITY}}}


def policy(apirule: ApiRule, index: int, rule: Rule, *, host: str) -> dict[str, Json]:
    """The RBAC policy, by its name, that lets the gateway through to ``host`` as the ``index``-th rule says."""
    methods = [_header(":method", {"exact": method}) for method in rule.methods]
    hosts = [_header(":authority", matcher) for matcher in _host_matchers(host)]
    found = {
        "permissions": [{"and_rules": {"rules": [_any(hosts), _any(methods), _any([_path(rule.path)])]}}],
        "principals": [{"and_ids": {"ids": [{"or_ids": {"ids": [_GATEWAY]}}]}}],
    }
    namespace, name = apirule.key.split("/")
    return {f"ns[{namespace}]-policy[{name}-{index}]-rule[0]": found}


def _any(rules: t.Sequence[Json]) -> Json:
    return {"or_rules": {"rules": list(rules)}}


def _header(name: str, matcher: Json) -> Json:
    return {"header": {"name": name, "string_match": matcher}}


def _host_matchers(host: str) -> tuple[Json, Json]:
    """The host, and the host with a port.

    Kyma's policy has the host alone, so that a cluster answers 403 to a Host header with a port. Browsers send one to
    a gateway on another port than 443, as the local one is.
    """
    if host.startswith("*."):
        domain = host.removeprefix("*")
        with_port = {"safe_regex": {"regex": rf"(?i).*{re.escape(domain)}:[0-9]+"}}
        return {"suffix": domain, "ignore_case": True}, with_port
    return {"exact": host, "ignore_case": True}, {"prefix": f"{host}:", "ignore_case": True}


def _path(path: str) -> Json:
    # Kyma writes /* as /{**}; istiod makes a template of a path with operators.
    path = "/{**}" if path == "/*" else path
    if "{" not in path:
        return {"url_path": {"path": {"exact": path}}}
    template = re.sub(r"\{(\*{1,2})\}", r"\1", path)
    return {
        "uri_template": {
            "name": "uri-template",
            "typed_config": {
                "@type": f"{TYPE}.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
                "path_template": template,
            },
        }
    }
