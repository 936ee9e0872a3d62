# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kyma's APIRule, version v2, read strictly and with the checks of Kyma's controller."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.headers import check_value
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import (
    DNS_LABEL,
    DNS_NAME,
    Field,
    KubernetesObject,
)
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.tokens import TokenRule, read_jwt

VERSIONS = ("gateway.kyma-project.io/v2",)

DEFAULT_TIMEOUT_SECONDS = 180
LONGEST_TIMEOUT_SECONDS = 3900
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")

# The patterns of the CustomResourceDefinition.
_GATEWAY = re.compile(rf"{DNS_LABEL.pattern}/{DNS_LABEL.pattern}")
_FULL_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]{2,63}")
_PATH = re.compile(r"((/([A-Za-z0-9-._~!$&'()+,;=:@]|%[0-9a-fA-F]{2})*)|(/\{\*{1,2}\}))+|/\*")
_ONE_STRATEGY = "One of the following fields must be set: noAuth, jwt, extAuth."
_NO_SERVICE = "The rule must define a service, because no service is defined on spec level."
_NO_AUTHORIZER = "the local platform asks no authorizer of others; use noAuth: true or jwt."


@dataclasses.dataclass(frozen=True)
class Backend:
    """The Service that a rule leads to."""

    namespace: str
    name: str
    port: int
    field: Field


@dataclasses.dataclass(frozen=True)
class Cors:
    """A CORS policy; the origins are Envoy string matchers."""

    origins: tuple[dict[str, t.Any], ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed_headers: tuple[str, ...]
    credentials: bool | None
    max_age_seconds: int | None


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule: what it matches and where it leads."""

    path: str
    methods: tuple[str, ...]
    timeout_seconds: int
    backend: Backend
    headers: t.Mapping[str, str]
    tokens: TokenRule | None = None


@dataclasses.dataclass(frozen=True)
class ApiRule:
    """An APIRule whose rules have the access strategy noAuth or jwt."""

    namespace: str
    key: str
    owner: str
    gateway: str
    host: str
    rules: tuple[Rule, ...]
    cors: Cors | None
    host_field: Field
    gateway_field: Field


def read_apirule(resource: KubernetesObject) -> ApiRule:
    """The APIRule in ``resource``."""
    spec = resource.body.fields(required=("spec",))["spec"]
    fields = spec.fields(
        required=("hosts", "rules"),
        optional=("gateway", "service", "timeout", "corsPolicy"),
        refused={"externalGateway": "the local platform has no ExternalGateway; name a Gateway in spec.gateway."},
    )
    if "gateway" not in fields:
        raise spec.refusal("Either gateway or externalGateway must be specified.")
    hosts = fields["hosts"].items()
    if len(hosts) > 1:
        raise fields["hosts"].refusal("an APIRule has exactly one host; make another APIRule for another host.")
    host = hosts[0].text()
    if DNS_LABEL.fullmatch(host):
        raise hosts[0].refusal(f"{host!r} is a short host; the local platform needs the whole name.")
    if len(host) > 255 or not _FULL_HOST.fullmatch(host):
        raise hosts[0].refusal(
            f"{host!r} is not a fully qualified domain name in lower case, or wildcard domain name (*.example.com)."
        )
    timeout = _read_timeout(fields.get("timeout"), DEFAULT_TIMEOUT_SECONDS)
    service = fields.get("service")
    rules = tuple(
        _read_rule(item, resource=resource, service=service, timeout=timeout) for item in fields["rules"].items()
    )
    _check_overlaps(fields["rules"], rules)
    return ApiRule(
        namespace=resource.namespace,
        key=resource.key,
        owner=str(resource),
        gateway=fields["gateway"].text(_GATEWAY, form="in the namespace/name format"),
        host=host,
        rules=rules,
        cors=_read_cors(fields["corsPolicy"]) if "corsPolicy" in fields else None,
        host_field=hosts[0],
        gateway_field=fields["gateway"],
    )


def _read_rule(item: Field, *, resource: KubernetesObject, service: Field | None, timeout: int) -> Rule:
    fields = item.fields(
        required=("path", "methods"),
        optional=("noAuth", "jwt", "service", "timeout", "request"),
        refused={"extAuth": _NO_AUTHORIZER},
    )
    if ("jwt" in fields) is ("noAuth" in fields and fields["noAuth"].flag()):
        raise item.refusal(f"{_ONE_STRATEGY} The local platform honours noAuth: true and jwt.")
    methods = tuple(method.one_of(METHODS) for method in fields["methods"].items())
    if "service" not in fields and service is None:
        raise item.refusal(_NO_SERVICE)
    return Rule(
        path=_read_path(fields["path"]),
        methods=methods,
        timeout_seconds=_read_timeout(fields.get("timeout"), timeout),
        backend=_read_backend(fields.get("service"), service, resource.namespace),
        headers=_read_request(fields["request"]) if "request" in fields else {},
        tokens=read_jwt(fields["jwt"]) if "jwt" in fields else None,
    )


def _read_timeout(item: Field | None, default: int) -> int:
    return default if item is None else item.number(1, LONGEST_TIMEOUT_SECONDS)


def _read_path(item: Field) -> str:
    path = item.text(_PATH, form="a path as APIRules have it (an exact path, {*} and {**} as whole segments, or /*)")
    if path.count("{**}") > 1:
        raise item.refusal("Only one {**} operator is allowed in the path.")
    operators = [segment for segment in path.split("/") if segment in ("{*}", "{**}")]
    if "{**}" in operators[:-1]:
        raise item.refusal("The {**} operator must be the last operator in the path.")
    if path != "/*" and not _is_regex(re.sub(r"\{\*{1,2}\}", "x", path)):
        raise item.refusal(f"Kyma takes {path} for a regular expression, and as such it is broken.")
    return path


def _is_regex(text: str) -> bool:
    """Whether ``text`` is a regular expression; Envoy's own validator has the last word, for its RE2 differs."""
    try:
        re.compile(text)
    except re.error:
        return False
    return "++" not in text


def _read_backend(own: Field | None, common: Field | None, apirule_namespace: str) -> Backend:
    """The rule's own service or the common one; the namespace falls back from rule to spec to the APIRule's."""
    found = [
        item.fields(required=("name", "port"), optional=("namespace", "external"))
        for item in (own, common)
        if item is not None
    ]
    for fields in found:
        if "external" in fields and fields["external"].flag():
            raise fields["external"].refusal("the local platform leads to Services of the given objects only.")
    namespaces = [fields["namespace"].text(DNS_LABEL) for fields in found if "namespace" in fields]
    chosen = found[0]
    return Backend(
        namespace=[*namespaces, apirule_namespace][0],
        name=chosen["name"].text(DNS_NAME, form="the name of a Service"),
        port=chosen["port"].number(1, 65535),
        field=chosen["name"],
    )


def _read_request(item: Field) -> dict[str, str]:
    cookies = "the local platform sets no cookies; set the header Cookie in headers."
    fields = item.fields(optional=("headers",), refused={"cookies": cookies})
    headers = fields["headers"].pairs() if "headers" in fields else {}
    lowered: set[str] = set()
    for name, field in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise field.refusal(f"{name!r} is not the name of an HTTP header.")
        if name.lower() in lowered:
            raise field.refusal("the same header twice, in different case.")
        if name.lower() == "host":
            raise field.refusal("the Host header cannot be set: it would change where the request is routed to.")
        if name.lower() == "x-forwarded-host" != name:
            raise field.refusal("Kyma sets x-forwarded-host after it; write the name in lower case to replace Kyma's.")
        lowered.add(name.lower())
        check_value(field.value, refusal=field.refusal)
    return {name: field.text(empty=True) for name, field in headers.items()}


def _read_cors(item: Field) -> Cors:
    fields = item.fields(
        optional=("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "allowCredentials", "maxAge")
    )
    if "allowOrigins" not in fields or not fields["allowOrigins"].items(minimum=0):
        raise item.refusal("without allowOrigins Kyma drops the whole policy; name the origins.")
    origins = []
    for origin in fields["allowOrigins"].items():
        kinds = origin.pairs()
        if len(kinds) != 1 or not {"exact", "prefix", "regex"} & set(kinds):
            raise origin.refusal("must have exactly one of exact, prefix and regex.")
        for kind, field in kinds.items():
            if kind == "regex" and not _is_regex(field.value):
                raise field.refusal(f"{field.value!r} is not a regular expression.")
            origins.append({"safe_regex": {"regex": field.text()}} if kind == "regex" else {kind: field.text()})

    def texts(name: str) -> tuple[str, ...]:
        return tuple(entry.text() for entry in fields[name].items(minimum=0)) if name in fields else ()

    return Cors(
        origins=tuple(origins),
        methods=texts("allowMethods"),
        headers=texts("allowHeaders"),
        exposed_headers=texts("exposeHeaders"),
        credentials=fields["allowCredentials"].flag() if "allowCredentials" in fields else None,
        max_age_seconds=fields["maxAge"].number(1, 2**31 - 1) if "maxAge" in fields else None,
    )


def _check_overlaps(item: Field, rules: t.Sequence[Rule]) -> None:
    """Kyma refuses a rule whose path an earlier rule with the same method already takes."""
    for index, rule in enumerate(rules):
        for earlier in rules[:index]:
            common = [method for method in rule.methods if method in earlier.methods]
            if common and _takes(_segments(earlier.path), _segments(rule.path)):
                raise item.refusal(
                    f"Path {rule.path} with method {common[0]} conflicts with at least one of the previous rule paths "
                    f"({earlier.path})."
                )


def _segments(path: str) -> list[str]:
    return ("/{**}" if path == "/*" else path).lstrip("/").split("/")


def _takes(earlier: list[str], later: list[str]) -> bool:
    """Whether the pattern ``earlier`` matches the pattern ``later``, segment by segment, as Kyma's path trie does."""
    if not earlier or not later:
        return not earlier and not later
    if earlier[0] == "{**}":
        return earlier == ["{**}"] or any(later[start:] == earlier[1:] for start in range(len(later)))
    return earlier[0] in (later[0], "{*}") and _takes(earlier[1:], later[1:])
