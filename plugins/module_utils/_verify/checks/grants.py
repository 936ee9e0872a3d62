# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workloads with the clients that may pass: what is expected of the gateway, read from the certificates alone.

An AuthorizationPolicy or Envoy's RBAC enforces it, and has no part in this.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.identity_headers import expected_value

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

#: kind of name in a grant -> what Envoy prints of a certificate
KINDS = {
    "subjects": "%DOWNSTREAM_PEER_SUBJECT%",
    "issuers": "%DOWNSTREAM_PEER_ISSUER%",
    "uris": "%DOWNSTREAM_PEER_URI_SAN%",
    "dns_names": "%DOWNSTREAM_PEER_DNS_SAN%",
    "emails": "%DOWNSTREAM_PEER_EMAIL_SAN%",
}
#: of these, the first that a path has is sent; all others may change something
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
METHODS = (*SAFE_METHODS, "POST", "PUT", "DELETE", "PATCH")
_CLIENTS = "clients"
_SAMPLE = "kyma-mtls-verify"
Grant: t.TypeAlias = dict[str, list[str]]


@dataclass(frozen=True)
class Jwt:
    """A path that needs a token: of whom, and a file that has one."""

    issuer: str
    token_file: str = ""


@dataclass(frozen=True)
class PathUnderTest:
    """A path of a workload: what to ask for, and who may.

    ``allow`` is None for every client of the client CA.
    ``untried_methods`` are decided about as well, but are not sent.
    ``is_open``: declared as open to who has no certificate. ``is_taken``: an earlier path decides about ``sample``.
    """

    pattern: str
    method: str
    sample: str
    allow: tuple[Grant, ...] | None = None
    jwt: Jwt | None = None
    needs_certificate: bool = True
    is_open: bool = False
    is_taken: bool = False
    untried_methods: tuple[str, ...] = ()

    def admits(self, certificate: x509.Certificate | None) -> bool:
        """Whether a client with ``certificate`` may pass, as far as certificates decide."""
        if certificate is None:
            return self.allow is None and not self.needs_certificate
        return self.allow is None or any(_holds(grant, certificate) for grant in self.allow)


@dataclass(frozen=True)
class WorkloadUnderTest:
    """A workload under one of its hosts."""

    name: str
    host: str
    paths: tuple[PathUnderTest, ...]
    identity_headers: t.Mapping[str, str]
    identity_path: str
    identity_source: str
    identity_answer_prefix: str
    identity_log: bool = False
    upstream: str = ""
    upstream_is_tls: bool = False
    direct_addresses: tuple[str, ...] = ()


def _holds(grant: Grant, certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` has one of the values of every kind in ``grant``."""
    return all(any(_matches(value, printed(kind, certificate)) for value in values) for kind, values in grant.items())


def printed(kind: str, certificate: x509.Certificate) -> str:
    """Return what Envoy prints of ``certificate`` for a kind of name."""
    return expected_value(KINDS[kind], certificate).text


def _matches(value: str, text: str) -> bool:
    # Without spaces at its end, which HTTP drops.
    return text.startswith(value[:-1]) if value.endswith("*") else text == value.rstrip()


def read_workloads(
    given: t.Sequence[t.Mapping[str, t.Any]],
    *,
    certificates: t.Mapping[str, x509.Certificate],
    defaults: t.Mapping[str, t.Any],
) -> tuple[WorkloadUnderTest, ...]:
    """Return the workloads in ``given``, as the role httpbin has them; one for each of their hosts.

    ``certificates`` are those of the clients that a grant may name. Raises MtlsError naming what cannot be read.
    """
    found = []
    for workload in given:
        name = workload.get("name")
        if not isinstance(name, str) or not name:
            raise MtlsError("A workload in workloads has no name. Give it one.")
        if workload.get("state", "present") != "present":
            continue
        hosts = _texts(workload, "hosts", name)
        if not hosts:
            raise MtlsError(f"The workload {name} in workloads has no hosts. Name one.")
        for host in hosts:
            # Any name will do below a wildcard.
            tried = f"{_SAMPLE}{host[1:]}" if host.startswith("*.") else host
            found.append(_read_workload(workload, name, tried.lower(), certificates=certificates, defaults=defaults))
    return tuple(found)


def _read_workload(
    workload: t.Mapping[str, t.Any],
    name: str,
    host: str,
    *,
    certificates: t.Mapping[str, x509.Certificate],
    defaults: t.Mapping[str, t.Any],
) -> WorkloadUnderTest:
    source = str(workload.get("identity_source") or defaults["identity_source"])
    return WorkloadUnderTest(
        name=name,
        host=host,
        paths=_read_paths(workload, name, certificates, sent=defaults["send_methods"]),
        identity_headers=workload.get("identity_headers") or defaults["identity_headers"],
        identity_path=str(workload.get("identity_path") or defaults["identity_path"]),
        identity_source=source,
        identity_answer_prefix=str(workload.get("identity_answer_prefix") or defaults["identity_answer_prefix"]),
        identity_log=bool(workload.get("identity_log")),
        upstream=str(workload.get("upstream") or ""),
        upstream_is_tls=bool(workload.get("upstream_ca")),
        direct_addresses=tuple(_texts(workload, "direct_addresses", name)),
    )


def _read_paths(
    workload: t.Mapping[str, t.Any],
    name: str,
    certificates: t.Mapping[str, x509.Certificate],
    *,
    sent: t.Collection[str],
) -> tuple[PathUnderTest, ...]:
    found: list[PathUnderTest] = []
    earlier: list[tuple[str, tuple[str, ...]]] = []
    for path in workload.get("paths") or [{}]:
        pattern = str(path.get("path") or "/*")
        methods = tuple(_texts(path, "methods", name)) or METHODS
        tried = [method for method in SAFE_METHODS if method in methods and method in sent][:1]
        tried += [method for method in methods if method not in SAFE_METHODS and method in sent]
        allow = path.get("allow", workload.get("allow"))
        sample = str(path.get("sample") or _sample_of(pattern))
        jwt = path.get("jwt")
        certificate = path.get("certificate") or workload.get("certificate")
        found += [
            PathUnderTest(
                pattern,
                method,
                sample,
                None if allow is None else tuple(_read_grant(grant, name, certificates) for grant in allow),
                untried_methods=() if number else tuple(other for other in methods if other not in tried),
                jwt=Jwt(str(jwt.get("issuer") or ""), str(jwt.get("token_file") or "")) if jwt else None,
                needs_certificate=certificate == "required" or (certificate is None and not jwt),
                is_open=certificate == "optional",
                is_taken=any(method in others and _is_below(sample, other) for other, others in earlier),
            )
            for number, method in enumerate(tried or [""])
        ]
        earlier.append((pattern, methods))
    return tuple(found)


def _read_grant(given: t.Any, name: str, certificates: t.Mapping[str, x509.Certificate]) -> Grant:
    unknown = set(given) - set(KINDS) - {_CLIENTS} if isinstance(given, dict) else {str(given)}
    if unknown:
        raise MtlsError(f"The workload {name} in workloads: allow has {', '.join(sorted(unknown))}.")
    grant = {kind: list(values) for kind in KINDS if (values := _texts(given, kind, name))}
    for client in _texts(given, _CLIENTS, name):
        # A client without a certificate here is nobody who could be tried.
        if client in certificates:
            subject = printed("subjects", certificates[client])
            if subject.endswith("*"):
                raise MtlsError(f"The workload {name} in workloads: the subject of the client {client} ends in *.")
            grant.setdefault("subjects", []).append(subject)
        else:
            grant.setdefault("subjects", [])
    return grant


def _texts(given: t.Mapping[str, t.Any], field: str, name: str) -> list[str]:
    values = given.get(field) or []
    if not isinstance(values, list | tuple):
        raise MtlsError(f"The workload {name} in workloads: {field} is {values!r}, but must be a list.")
    return [str(value) for value in values]


def _sample_of(pattern: str) -> str:
    """Return a path that ``pattern`` matches."""
    return "/" if pattern == "/*" else pattern.replace("{**}", _SAMPLE).replace("{*}", _SAMPLE)


def _is_below(path: str, pattern: str) -> bool:
    expression = re.escape(pattern).replace(r"\{\*\*\}", ".*").replace(r"\{\*\}", "[^/]+")
    return pattern == "/*" or re.fullmatch(expression, path.partition("?")[0]) is not None


def satisfying(grant: Grant) -> dict[str, t.Any]:
    """Return the subject and the SANs that a throw-away client of ``grant`` has, as keywords of ``twin``.

    Raises MtlsError when there is no such client: issuers cannot be chosen.
    """
    if "issuers" in grant or not all(grant.values()):
        raise MtlsError("only another CA can issue such a client")
    changes: dict[str, t.Any] = {}
    if "subjects" in grant:
        changes["subject"] = _parse_subject(_instance(grant["subjects"][0]))
    kinds: dict[str, t.Callable[[str], t.Any]] = {
        "uris": x509.UniformResourceIdentifier,
        "dns_names": x509.DNSName,
        "emails": x509.RFC822Name,
    }
    sans = tuple(
        make(name) for kind, make in kinds.items() if kind in grant for name in _instance(grant[kind][0]).split(",")
    )
    return {**changes, "sans": sans}


def near_misses(grant: Grant) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Yield clients that only almost have what ``grant`` asks for: in words, and as keywords of ``twin``."""
    for kind in grant:
        value = grant[kind][0] if grant[kind] else ""
        missed = f"{value[:-1][:-2]}*" if value.endswith("*") else f"{value}x"
        with_more = f"{value},spiffe://unrelated.invalid/x" if kind == "uris" and not value.endswith("*") else ""
        for other, words in ((missed, "a similar name"), (with_more, "one name more")):
            if other:
                yield f"{words} in {kind}", satisfying({**grant, kind: [other]})


def _instance(value: str) -> str:
    return f"{value[:-1]}{_SAMPLE}" if value.endswith("*") else value


def _parse_subject(text: str) -> x509.Name:
    try:
        return x509.Name.from_rfc4514_string(text)
    except ValueError as exc:
        raise MtlsError(f"{text} cannot be made into a subject: {exc}") from exc
