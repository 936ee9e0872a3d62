# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads as data: from a user's list to the routes, policies and upstreams that the templates are filled with.

Who may pass is decided at the workload's sidecar. The gateway puts the certificate's names into request headers, which
no client can set, and an AuthorizationPolicy denies what carries none of the allowed ones: see docs/own-service.md.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import string
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import identity
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.routes import path_regex
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._workload_tokens import distinct_issuers, key_sets, tokens_of

Json = dict[str, t.Any]

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
#: kind of name in a grant -> header, and its value, which is never empty
NAMES = {
    "subjects": ("X-Client-Cert-Subject", "subject=%DOWNSTREAM_PEER_SUBJECT%"),
    "issuers": ("X-Client-Cert-Issuer", "issuer=%DOWNSTREAM_PEER_ISSUER%"),
    "uris": ("X-Client-Cert-Uri", "uri=%DOWNSTREAM_PEER_URI_SAN%"),
    "dns_names": ("X-Client-Cert-Dns", "dns=%DOWNSTREAM_PEER_DNS_SAN%"),
    "emails": ("X-Client-Cert-Email", "email=%DOWNSTREAM_PEER_EMAIL_SAN%"),
    "certificates": ("X-Client-Cert-Hash", "sha256=%DOWNSTREAM_PEER_FINGERPRINT_256%"),
}
_ANY_CERTIFICATE = "certificates"
_CLIENTS = "clients"
#: the label of all objects that are made of a list of workloads; its value says whose list
OWNER_LABEL = "kyma-mtls.github.io/workloads"
_OWNER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]{2,63}")
#: an object's name ends in six characters of its host's hash, and Kyma puts it into a label
_LONGEST_NAME = 56
_MOST_RULES = 64
# Paths that Kyma leaves out of no policy.
_NEVER_LEFT_OUT = ("/*", "/{**}", "/")


def read_workloads(
    given: t.Sequence[t.Mapping[str, t.Any]],
    *,
    defaults: t.Mapping[str, t.Any],
    subjects: t.Mapping[str, str],
) -> Json:
    """Return ``routes`` (one for each host) and ``upstreams``, and those that are ``absent``.

    ``defaults`` has owner, namespace, gateway, identity_headers, tls_mode, platform, HTTPBin's host if it is there, and
    ``httpbin`` as a workload, with the name of its ``object``, when it needs a route from here.
    ``subjects`` has the subject of each client that a grant names; with ``predict`` in ``defaults``, of some of them.
    Raises MtlsError naming workload and field.
    """
    if not _OWNER.fullmatch(str(defaults["owner"])):
        raise MtlsError(
            f"The owner of the workloads, {defaults['owner']!r}, is not a label: letters, digits, '-', '_', '.'."
        )
    if defaults.get("predict"):
        subjects = {**dict.fromkeys(named_clients(given), "unknown"), **subjects}
    hosts = {str(defaults["host"]): "HTTPBin"} if defaults.get("host") else {}
    found: Json = {"routes": [], "absent": []}
    upstreams: dict[tuple[str, int], Json] = {}
    if defaults.get("httpbin"):
        own = defaults["httpbin"]
        found["routes" if own["state"] == "present" else "absent"] += [
            _route(own, host, owner="HTTPBin", defaults=defaults, subjects={}) for host in _hosts(own, "HTTPBin", {})
        ]
    for workload in given:
        name = str(workload.get("name") or "")
        owner = f"The workload {name}"
        if not _LABEL.fullmatch(name) or len(name) > _LONGEST_NAME:
            raise MtlsError(
                f"{owner}: its name must be lower-case letters, digits and hyphens, {_LONGEST_NAME} at most."
            )
        is_present = workload.get("state", "present") == "present"
        routes = [
            _route(workload, host, owner=owner, defaults=defaults, subjects=subjects)
            for host in _hosts(workload, owner, hosts if is_present else {})
        ]
        found["routes" if is_present else "absent"] += routes
        if is_present and defaults["platform"] == "local":
            _add_upstream(upstreams, _upstream(workload, routes[0], owner), owner)
    present = {_service(route) for route in found["routes"]}
    found["upstreams"] = list(upstreams.values())
    found["key_sets"] = key_sets(given)
    found["absent_upstreams"] = [
        {"service": service, "port": port}
        for service, port in dict.fromkeys(map(_service, found["absent"]))
        if (service, port) not in present
    ]
    return found


def subject(client: str, pem: bytes) -> str:
    """Return the subject of a client's certificate as Envoy prints it. Raises MtlsError when it cannot be read."""
    # Imported late: it costs more than all the rest, and few workloads name clients.
    from ansible_collections.kyma.mtls.plugins.module_utils._x509 import rfc2253  # noqa: PLC0415
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import first_certificate  # noqa: PLC0415

    certificate = first_certificate(pem, source=f"certificate of the client {client}")
    return rfc2253.text(certificate.subject.public_bytes())


def named_clients(given: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return the clients that grants name."""
    holders = (holder for workload in given for holder in (workload, *(workload.get("paths") or ())))
    return [
        str(name) for holder in holders for grant in holder.get("allow") or () for name in grant.get(_CLIENTS) or ()
    ]


def _hosts(workload: t.Mapping[str, t.Any], owner: str, taken: dict[str, str]) -> list[str]:
    hosts = [str(host).lower() for host in workload.get("hosts") or []]
    if not hosts:
        raise MtlsError(f"{owner}: hosts is empty. Name at least one host that the Gateway serves.")
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise MtlsError(f"{owner}: the host {host!r} is not a domain name such as shop.mtls.local.kyma.dev.")
        if host in taken:
            raise MtlsError(f"{owner}: the host {host} belongs to {taken[host]} already. A host leads to one workload.")
        taken[host] = f"the workload {workload['name']}"
    return hosts


def _route(
    workload: t.Mapping[str, t.Any],
    host: str,
    *,
    owner: str,
    defaults: t.Mapping[str, t.Any],
    subjects: t.Mapping[str, str],
) -> Json:
    paths = _by_method(workload.get("paths") or [{"path": "/*"}])
    workload = {**workload, "paths": paths}
    rules = [_rule(str(path.get("path") or "/*"), list(path.get("methods") or METHODS)) for path in paths]
    tokens = tokens_of(workload, owner=owner, platform=defaults["platform"])
    _refuse_lost_tokens(rules, tokens, owner=owner)
    needed = [_needed_certificate({**workload, **path}, owner, defaults["tls_mode"]) for path in paths]
    allowed = [_grants(path.get("allow", workload.get("allow")), owner=owner, subjects=subjects) for path in paths]
    grants = [grant or certificate for grant, certificate in zip(allowed, needed, strict=True)]
    service = str(workload.get("service") or workload["name"])
    headers = _headers(workload, grants, owner=owner, defaults=defaults)
    return {
        "name": workload.get("object") or f"{workload['name']}-{hashlib.sha256(host.encode()).hexdigest()[:6]}",
        "namespace": str(workload.get("namespace") or defaults["namespace"]),
        "gateway": defaults["gateway"],
        "labels": {OWNER_LABEL: defaults["owner"]},
        "host": host,
        "service": service,
        "port": int(workload.get("port") or 80),
        "timeout_seconds": int(workload.get("timeout_seconds") or 180),
        "rules": [
            {**rule, "jwt": jwt, "not_paths": _not_paths(rules[:index], rule)}
            for index, (rule, jwt) in enumerate(zip(rules, tokens, strict=True))
        ],
        "issuers": distinct_issuers(tokens),
        "headers": headers,
        "cors": workload.get("cors") or {},
        **_virtual_service(workload, host, headers),
        "selector": dict(workload.get("selector") or {"app": service}),
        "denials": _denials(host, rules, grants, owner=owner),
    }


def _needed_certificate(path: t.Mapping[str, t.Any], owner: str, tls_mode: str) -> list[dict[str, list[str]]] | None:
    """Return the grant of every client with a certificate, where the handshake does not see to it that there is one."""
    certificate, jwt = path.get("certificate"), path.get("jwt")
    if certificate == "optional" and path.get("allow"):
        raise MtlsError(f"{owner}: allow names what certificates have, so that certificate cannot be optional there.")
    if certificate == "optional" and tls_mode == "MUTUAL":
        raise MtlsError(
            f"{owner}: certificate is optional, but the TLS mode MUTUAL refuses clients without one. "
            "Set gateway_tls_mode to OPTIONAL_MUTUAL."
        )
    if certificate == "required" and tls_mode == "SIMPLE":
        raise MtlsError(f"{owner}: certificate is required, but in the TLS mode SIMPLE no client presents one.")
    # Asked for by name, it also holds while a gateway changes from MUTUAL.
    if certificate != "required" and (tls_mode != "OPTIONAL_MUTUAL" or certificate == "optional" or jwt):
        return None
    # A hash begins with one of these digits; without a certificate there is none.
    return [{_ANY_CERTIFICATE: [_value(_ANY_CERTIFICATE, f"{digit}*", owner) for digit in string.hexdigits[:16]]}]


def _not_paths(earlier: t.Sequence[t.Mapping[str, t.Any]], rule: t.Mapping[str, t.Any]) -> list[str]:
    """Return the paths that Kyma leaves out of the policy of ``rule``, because an earlier rule decides about them."""
    found = []
    for other in earlier:
        # As Kyma's generateNotPaths does it: what comes after the same path with other methods is forgotten.
        if other["path"] == rule["path"]:
            break
        if other["path"] not in _NEVER_LEFT_OUT and set(other["methods"]) & set(rule["methods"]):
            found.append(other["path"])
    return found


def _by_method(paths: t.Sequence[t.Mapping[str, t.Any]]) -> list[Json]:
    """Return the paths, each split where earlier ones decide about some of its methods only.

    Kyma leaves an earlier path out of a later one's policy for all methods, and would answer 403 to the others.
    """
    found: list[Json] = []
    for index, path in enumerate(paths):
        pattern = str(path.get("path") or "/*")
        groups: dict[tuple[int, ...], list[str]] = {}
        for method in path.get("methods") or METHODS:
            earlier = tuple(
                number
                for number, other in enumerate(paths[:index])
                if method in (other.get("methods") or METHODS) and _overlap(str(other.get("path") or "/*"), pattern)
            )
            groups.setdefault(earlier, []).append(method)
        found += [{**path, "path": pattern, "methods": methods} for methods in groups.values()]
    return found


def _refuse_lost_tokens(
    rules: t.Sequence[t.Mapping[str, t.Any]], tokens: t.Sequence[Json | None], *, owner: str
) -> None:
    """Refuse a path whose token Kyma would not ask for, because a later path's policy lets the request through."""
    for index, rule in enumerate(rules):
        for other, token in zip(rules[:index], tokens, strict=False):
            common = set(other["methods"]) & set(rule["methods"])
            is_left_out = other["path"] in _not_paths(rules[:index], rule)
            if token is not None and common and not is_left_out and _overlap(other["path"], rule["path"]):
                raise MtlsError(
                    f"{owner}: the path {other['path']} needs a token, but Kyma's policy for the later path "
                    f"{rule['path']} lets {sorted(common)[0]} through without one. Give that path the token too, or a "
                    "host of its own."
                )


def _overlap(first: str, second: str) -> bool:
    pairs = ((first, second), (second, first))
    return any(re.fullmatch(path_regex(wide.replace("/*", "/{**}")), _sample(narrow)) for wide, narrow in pairs)


def _sample(path: str) -> str:
    return path.replace("/*", "/").replace("{**}", "x").replace("{*}", "x")


def _virtual_service(workload: t.Mapping[str, t.Any], host: str, headers: t.Mapping[str, str]) -> Json:
    """What a VirtualService writes otherwise than an APIRule: the forwarded host, and a duration with its unit."""
    cors = dict(workload.get("cors") or {})
    if "maxAge" in cors:
        cors["maxAge"] = f"{cors['maxAge']}s"
    forwarded = "%REQ(:AUTHORITY)%" if host.startswith("*.") else host
    return {"virtual_service_headers": {**headers, "x-forwarded-host": forwarded}, "virtual_service_cors": cors}


def _rule(path: str, methods: list[str]) -> Json:
    """A rule as an APIRule has it, and as Kyma writes it into a VirtualService and an AuthorizationPolicy."""
    is_any = path == "/*"
    return {
        "path": path,
        "methods": methods,
        "match": {
            "method": {"regex": f"^({'|'.join(methods)})$"},
            "uri": {"prefix": "/"} if is_any else {"regex": path_regex(path)},
        },
        "operation_path": "/{**}" if is_any else path,
    }


def _headers(
    workload: t.Mapping[str, t.Any],
    grants: t.Sequence[t.Sequence[t.Mapping[str, t.Sequence[str]]] | None],
    *,
    owner: str,
    defaults: t.Mapping[str, t.Any],
) -> dict[str, str]:
    headers = dict(workload.get("identity_headers") or defaults["identity_headers"])
    needed = {kind for granted in grants for grant in granted or () for kind in grant}
    if needed:
        needed.add("subjects")  # a refusal is logged with it
    for kind, (name, value) in NAMES.items():
        if kind not in needed:
            continue
        if name.lower() in {header.lower() for header in headers} and headers.get(name) != value:
            raise MtlsError(
                f"{owner}: allow needs the header {name} for itself. Give the identity header another name."
            )
        headers[name] = value
    try:
        identity.refuse_forgeable(headers, mode=defaults["tls_mode"])
    except MtlsError as exc:
        raise MtlsError(f"{owner}: {exc}") from exc
    return identity.guarded(headers)


def _grants(given: t.Any, *, owner: str, subjects: t.Mapping[str, str]) -> list[dict[str, list[str]]] | None:
    """Return who may pass, as the values that the headers then have; None for every client of the client CA."""
    if given is None:
        return None
    if not given:
        raise MtlsError(f"{owner}: allow is empty, so that nobody could pass. Leave it out to let every client pass.")
    found = []
    for grant in given:
        unknown = set(grant) - (set(NAMES) | {_CLIENTS}) | set(grant) & {_ANY_CERTIFICATE}
        named = {kind: values for kind, values in grant.items() if values}
        if unknown or not named:
            known = ", ".join((*(kind for kind in NAMES if kind != _ANY_CERTIFICATE), _CLIENTS))
            raise MtlsError(f"{owner}: {sorted(unknown) or 'an empty entry'} in allow; an entry has some of {known}.")
        values = {kind: [_value(kind, value, owner) for value in named[kind]] for kind in NAMES if kind in named}
        for client in named.get(_CLIENTS, ()):
            if client not in subjects:
                raise MtlsError(f"{owner}: allow names the client {client}, which has no certificate here.")
            if subjects[client].endswith("*"):
                raise MtlsError(
                    f"{owner}: the subject of the client {client}, {subjects[client]}, ends in *, which a policy takes "
                    "for anything that may follow. Allow the client by another name of its certificate."
                )
            values.setdefault("subjects", []).append(_value("subjects", subjects[client], owner))
        found.append(values)
    return found


def _value(kind: str, text: str, owner: str) -> str:
    """Return what the header says for a name; a final * stands for anything that may follow."""
    if not text or text.startswith("*") or text.endswith("**"):
        raise MtlsError(f"{owner}: {text!r} in allow is not a name; a * stands at its end only.")
    # HTTP drops spaces at the end of a header, as that of a subject that ends in one.
    return f"{NAMES[kind][1].partition('%')[0]}{text.rstrip()}"


def _denials(
    host: str,
    rules: t.Sequence[t.Mapping[str, t.Any]],
    grants: t.Sequence[t.Sequence[t.Mapping[str, t.Sequence[str]]] | None],
    *,
    owner: str,
) -> list[Json]:
    """Return the rules of an AuthorizationPolicy that denies what none of the grants covers.

    The first rule that matches a request decides, as in the APIRule, so later ones leave out the paths of earlier ones.
    """
    found: list[Json] = []
    for index, (rule, granted) in enumerate(zip(rules, grants, strict=True)):
        if granted is None:
            continue
        earlier: dict[tuple[str, ...], list[str]] = {}
        for method in rule["methods"]:
            paths = tuple(other["path"] for other in rules[:index] if method in other["methods"])
            earlier.setdefault(paths, []).append(method)
        operations = [
            {
                "operation": {
                    # A pattern has one *: a cluster refuses a wildcard's host with a port anyway.
                    "hosts": [host] if host.startswith("*") else [host, f"{host}:*"],
                    "methods": methods,
                    **({} if rule["path"] == "/*" else {"paths": [rule["path"]]}),
                    **({"notPaths": list(paths)} if paths else {}),
                }
            }
            for paths, methods in earlier.items()
        ]
        found += [{"to": operations, "when": conditions} for conditions in _conditions(granted)]
    if len(found) > _MOST_RULES:
        raise MtlsError(
            f"{owner}: allow makes {len(found)} rules, {_MOST_RULES} at most. Name fewer kinds in an entry."
        )
    return found


def _conditions(granted: t.Sequence[t.Mapping[str, t.Sequence[str]]]) -> list[list[Json]]:
    """Return when no grant holds: of each one something fails. Each item of the result is one way for that."""
    found = []
    for kinds in itertools.product(*granted):
        missing: dict[str, list[str]] = {}
        for grant, kind in zip(granted, kinds, strict=True):
            missing.setdefault(kind, []).extend(grant[kind])
        conditions = [
            {"key": f"request.headers[{NAMES[kind][0]}]", "notValues": list(dict.fromkeys(values))}
            for kind, values in missing.items()
        ]
        if conditions not in found:
            found.append(conditions)
    return found


def _upstream(workload: t.Mapping[str, t.Any], route: t.Mapping[str, t.Any], owner: str) -> Json:
    if not workload.get("upstream"):
        raise MtlsError(f"{owner}: on the platform local it needs upstream, the address of your application.")
    options = {
        "address": workload["upstream"],
        "protocol": workload.get("upstream_protocol"),
        "ca": workload.get("upstream_ca"),
        "server_name": workload.get("upstream_server_name"),
    }
    service, port = _service(route)
    return {
        "service": service,
        "port": port,
        "labels": route["selector"],
        **{name: value for name, value in options.items() if value},
        **({"identity_log": list(route["headers"])} if workload.get("identity_log") else {}),
    }


def _add_upstream(found: dict[tuple[str, int], Json], upstream: Json, owner: str) -> None:
    """Add what answers for a Service. Several workloads may share it, when all of them say the same of it."""
    key = upstream["service"], upstream["port"]
    other = found.setdefault(key, upstream)
    logged = list(dict.fromkeys((*other.get("identity_log", ()), *upstream.get("identity_log", ()))))
    if {**other, "identity_log": logged} != {**upstream, "identity_log": logged}:
        raise MtlsError(
            f"{owner}: the Service {key[0]}:{key[1]} has another upstream in an earlier workload. Give one of them a "
            "service of its own."
        )
    if logged:
        found[key] = {**other, "identity_log": logged}


def _service(route: t.Mapping[str, t.Any]) -> tuple[str, int]:
    return f"{route['namespace']}/{route['service']}", route["port"]
