# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RBAC at the sidecar, as istiod builds it from AuthorizationPolicies: Kyma's, made of APIRules, and given ones."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import tokens
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.apirule import ApiRule, Rule
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import TYPE
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import Field, KubernetesObject
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.workload import GATEWAY_IDENTITY, Workload

VERSIONS = ("security.istio.io/v1", "security.istio.io/v1beta1")
_ONLY_DENIALS = "the local platform honours DENY only; what is allowed follows from APIRules."
_HEADER_KEY = re.compile(r"request\.headers\[([!#$%&'*+.^_`|~0-9A-Za-z-]+)\]")
_GATEWAY = {"authenticated": {"principal_name": {"exact": GATEWAY_IDENTITY}}}


def policy(apirule: ApiRule, index: int, rule: Rule, *, host: str) -> dict[str, Json]:
    """The RBAC policy, by its name, that lets the gateway through to ``host`` as the ``index``-th rule says."""
    methods = [_header(":method", {"exact": method}) for method in rule.methods]
    hosts = [_header(":authority", matcher) for matcher in _host_matchers(host)]
    rules = [_any(hosts), _any(methods), _any([_path(rule.path)])]
    if not_paths := _not_paths(apirule, rule):
        rules.append({"not_rule": _any([_path(path) for path in not_paths])})
    gateway = {"or_ids": {"ids": [_GATEWAY]}}
    holders = [{"and_ids": {"ids": [gateway]}}]
    if rule.tokens is not None:
        holders = [{"and_ids": {"ids": [gateway, token]}} for token in tokens.principals(rule.tokens)]
    found = {"permissions": [{"and_rules": {"rules": rules}}], "principals": holders}
    namespace, name = apirule.key.split("/")
    return {f"ns[{namespace}]-policy[{name}-{index}]-rule[0]": found}


def _not_paths(apirule: ApiRule, rule: Rule) -> list[str]:
    """The paths of earlier rules with a common method, which Kyma leaves out."""
    found = []
    for other in apirule.rules[: apirule.rules.index(rule)]:
        # As Kyma's generateNotPaths does it: what comes after the same path with other methods is forgotten.
        if other.path == rule.path:
            break
        if other.path not in ("/*", "/{**}", "/") and set(other.methods) & set(rule.methods):
            found.append(other.path)
    return found


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


@dataclasses.dataclass(frozen=True)
class Denial:
    """An AuthorizationPolicy with the action DENY."""

    namespace: str
    selector: t.Mapping[str, str]
    #: RBAC policies by their names
    policies: t.Mapping[str, Json]

    def selects(self, workload: Workload) -> bool:
        """Whether the policy is for the pods of ``workload``."""
        return self.namespace == workload.namespace and self.selector.items() <= workload.upstream.labels.items()


def read_denial(resource: KubernetesObject) -> Denial:
    """The AuthorizationPolicy in ``resource``: what is denied, by host, method, path and request headers."""
    spec = resource.body.fields(required=("spec",))["spec"]
    fields = spec.fields(required=("selector", "action", "rules"))
    fields["action"].one_of(("DENY",), refused=dict.fromkeys(("ALLOW", "AUDIT", "CUSTOM"), _ONLY_DENIALS))
    selector = fields["selector"].fields(required=("matchLabels",))["matchLabels"].pairs()
    return Denial(
        namespace=resource.namespace,
        selector={name: field.value for name, field in selector.items()},
        policies={
            f"ns[{resource.namespace}]-policy[{resource.name}]-rule[{index}]": _read_rule(item)
            for index, item in enumerate(fields["rules"].items())
        },
    )


def _read_rule(item: Field) -> Json:
    fields = item.fields(required=("to",), optional=("when",), refused={"from": "the gateway is the only client."})
    conditions = [_read_condition(condition) for condition in fields["when"].items()] if "when" in fields else []
    return {
        "permissions": [_read_operation(operation) for operation in fields["to"].items()],
        "principals": [{"and_ids": {"ids": conditions or [{"any": True}]}}],
    }


def _read_operation(item: Field) -> Json:
    fields = item.fields(required=("operation",))["operation"].fields(
        optional=("hosts", "methods", "paths", "notPaths")
    )
    rules: list[Json] = []
    if "hosts" in fields:
        hosts = [matcher for host in _texts(fields["hosts"]) for matcher in _denied_hosts(host)]
        rules.append(_any([_header(":authority", matcher) for matcher in hosts]))
    if "methods" in fields:
        rules.append(_any([_header(":method", _pattern(method)) for method in _texts(fields["methods"])]))
    if "paths" in fields:
        rules.append(_any([_read_path(path) for path in fields["paths"].items()]))
    if "notPaths" in fields:
        rules.append({"not_rule": _any([_read_path(path) for path in fields["notPaths"].items()])})
    return {"and_rules": {"rules": rules or [{"any": True}]}}


def _denied_hosts(host: str) -> tuple[Json, ...]:
    """A host of a policy; here with a port too, because requests with one are let through."""
    return ({**_pattern(host), "ignore_case": True},) if host.endswith("*") else _host_matchers(host)


def _read_condition(item: Field) -> Json:
    """A condition on a request header; one that is missing has none of the values."""
    fields = item.fields(required=("key",), optional=("values", "notValues"))
    name = _HEADER_KEY.fullmatch(fields["key"].text())
    if name is None:
        raise fields["key"].refusal("the local platform honours request.headers[NAME] only.")
    given = [fields[kind] for kind in ("values", "notValues") if kind in fields]
    if len(given) != 1:
        raise item.refusal("must have either values or notValues.")
    ids = {"or_ids": {"ids": [_header(name[1], _pattern(value)) for value in _texts(given[0])]}}
    return ids if "values" in fields else {"not_id": ids}


def _read_path(item: Field) -> Json:
    path = item.text()
    if "*" in path.replace("{**}", "").replace("{*}", ""):
        raise item.refusal("the local platform honours exact paths, {*} and {**}.")
    return _path(path)


def _texts(item: Field) -> list[str]:
    return [entry.text() for entry in item.items()]


def _pattern(text: str) -> Json:
    """Istio's string match: a prefix before a final *, a suffix after a first one, anything for * alone, or exact."""
    if text == "*":
        return {"safe_regex": {"regex": ".+"}}
    if text.endswith("*"):
        return {"prefix": text[:-1]}
    return {"suffix": text[1:]} if text.startswith("*") else {"exact": text}
