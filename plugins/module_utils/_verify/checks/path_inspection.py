# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One path of one workload: asked for as clients that may pass and as others, plainly and in disguise."""

from __future__ import annotations

import dataclasses
import secrets
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import grants
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_acceptance
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_2
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind, Observation

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import (
        PathUnderTest,
        WorkloadUnderTest,
    )
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

# What Envoy answers for a policy.
DENIED = b"RBAC: access denied"
SERVED = frozenset({Outcome.PASSED, Outcome.WARNING})
_CLAIMS = {
    "subjects": ("X-Client-Cert-Subject", "subject="),
    "issuers": ("X-Client-Cert-Issuer", "issuer="),
    "uris": ("X-Client-Cert-Uri", "uri="),
    "dns_names": ("X-Client-Cert-Dns", "dns="),
    "emails": ("X-Client-Cert-Email", "email="),
}


@dataclass(frozen=True)
class PathInspection:
    """One path of one workload. ``is_brief``: it is tried plainly only."""

    inspection: Inspection
    workload: WorkloadUnderTest
    path: PathUnderTest
    neighbour: str
    is_brief: bool = False

    @property
    def place(self) -> str:
        method = "" if self.path.method in ("", *grants.SAFE_METHODS) else f"{self.path.method} "
        return f"{method}{self.workload.host}{self.path.sample}"

    def bearing(self, token: str) -> PathInspection:
        """Return the same, with the token in every request."""
        extra = (("Authorization", f"Bearer {token}"),) if token else ()
        inspection = self.inspection.like(self.inspection.options, extra=extra)
        return dataclasses.replace(self, inspection=inspection)

    def case(self, check: str, name: str, outcome: Outcome, text: str, observation: Observation | None = None) -> Case:
        return Case(check, f"{name}, {self.place}", outcome, text, observation.evidence() if observation else {})


def name_of(client: Identity | None) -> str:
    """Return what the report calls the client."""
    return f"client {client.name}" if client else "no certificate"


def at_host(inspection: Inspection, workload: WorkloadUnderTest, path: PathUnderTest) -> Inspection:
    """Return an inspection of the workload's host and path."""
    options = inspection.options
    target = dataclasses.replace(options.target, host=workload.host, path=path.sample, final_dot="")
    return inspection.like(
        dataclasses.replace(
            options,
            target=target,
            method=path.method,
            identity_headers=workload.identity_headers,
            identity_path=workload.identity_path,
            identity_source=workload.identity_source,
            identity_answer_prefix=workload.identity_answer_prefix,
            identity_log=workload.identity_log,
        ),
        reference=b"",
    )


def check_served(observation: Observation) -> tuple[Outcome, str]:
    """A client that may pass: whatever the workload itself answers will do."""
    if observation.kind is not Kind.ANSWERED or observation.response is None:
        return check_acceptance(observation, expect_status=())
    status, body = observation.response.status, observation.response.body
    if status == 403 and body.strip() == DENIED:
        return Outcome.FAILED, f"{observation.text()}: the policy refuses it, though allow admits it"
    if status >= 500:
        return Outcome.OUTAGE, f"{observation.text()}: the workload is down or broken; this is no refusal"
    if observation.is_unrouted:
        return Outcome.FAILED, f"{observation.text()} of the gateway: no route leads to the workload"
    if status in {401, 403}:
        return Outcome.WARNING, f"{observation.text()}, by the workload itself"
    return Outcome.PASSED, f"served: {observation.text()}"


def check_denied(observation: Observation) -> tuple[Outcome, str]:
    """A client that may not pass: 403 before the workload."""
    if observation.kind is not Kind.ANSWERED or observation.response is None:
        outcome, text = check_acceptance(observation, expect_status=())
        if observation.kind is Kind.ALERT and outcome is Outcome.FAILED:
            return Outcome.SKIPPED, f"refused in the handshake, which says nothing of allow: {observation.text()}"
        return (Outcome.OUTAGE if outcome is Outcome.FAILED else outcome), text
    status, body = observation.response.status, observation.response.body
    if status >= 500:
        return Outcome.OUTAGE, f"{observation.text()}: the workload is down or broken; this is no refusal"
    if status != 403 or observation.is_workloads:
        content = ", with the workload's content" if observation.is_workloads else ""
        return Outcome.FAILED, f"not shut out: {observation.text()}{content}"
    if body.strip() == DENIED or not (body or observation.is_of_upstream):
        return Outcome.PASSED, f"{observation.text()} before the workload"
    return Outcome.WARNING, f"{observation.text()}, but not in the gateway's words: the workload may have seen it"


def denied_case(tested: PathInspection, check: str, name: str, observation: Observation) -> Case:
    """A client that may not pass."""
    return tested.case(check, name, *check_denied(observation), observation)


def try_disguises(
    tested: PathInspection, client: Identity | None, control: Identity, *, check: str = "MV-71"
) -> list[Case]:
    """The same client in other ways, claiming another name, and asking for the same thing by another spelling."""
    if tested.is_brief:
        return []
    inspection, host, name = tested.inspection, tested.workload.host, name_of(client)
    claims = tuple(_claims(tested.path, control.certificate))
    disguises: dict[str, dict[str, t.Any]] = {
        "over HTTP/2": {"offer": HTTP_2},
        "over TLS 1.2": {"version": "TLSv1.2"},
        "Host in capitals": {"host": host.upper()},
        "with forged headers": {"headers": claims},
        "with forged headers over HTTP/2": {
            "headers": tuple((header.lower(), value) for header, value in claims),
            "offer": HTTP_2,
        },
    }
    cases = []
    for words, how in disguises.items():
        observation = inspection.attempt(client, **{"offer": inspection.offer, **how})
        if words.endswith("HTTP/2") and observation.alpn != "h2":
            continue
        if observation.kind is Kind.ALERT and "version" in how:
            continue
        cases.append(denied_case(tested, check, f"{name} {words}", observation))
    # These may lead to another site, or nowhere.
    elsewhere: dict[str, dict[str, t.Any]] = {
        "SNI of another host": {"server_name": tested.neighbour},
        "Host with a port": {"host": f"{host}:8443"},
        "Host with a final dot": {"host": f"{host}."},
    }
    for words, how in elsewhere.items():
        observation = inspection.attempt(client, **how)
        if observation.kind is Kind.ALERT and "server_name" in how:
            continue
        cases.append(_check_other(tested, check, f"{name}, {words}", observation))
    return cases + _try_spellings(tested, client, control, check)


def _claims(path: PathUnderTest, certificate: x509.Certificate) -> t.Iterator[tuple[str, str]]:
    """Yield request headers that claim the names of a client that may pass."""
    for kind, (header, before) in _CLAIMS.items():
        values = {grants.printed(kind, certificate)}
        values |= {value.rstrip("*") for grant in path.allow or () for value in grant.get(kind, ())[:1]}
        for value in sorted(filter(None, values)):
            yield header, f"{before}{value}"
            yield header.replace("-", "_"), f"{before}{value}"
    yield "X-Forwarded-Client-Cert", f'Hash={"0" * 64};Subject="{grants.printed("subjects", certificate)}"'
    yield "X-Client-Cert-Hash", f"sha256={'0' * 64}"
    yield "X-Original-Url", path.sample
    yield "X-Envoy-Original-Path", "/"
    yield "X-Http-Method-Override", "OPTIONS"


def _check_other(tested: PathInspection, check: str, name: str, observation: Observation) -> Case:
    """A request that need not lead to the workload at all: only the workload's content is a failure."""
    if observation.kind is Kind.ANSWERED and not observation.is_workloads and (observation.status or 0) < 500:
        outcome, text = Outcome.PASSED, f"not the workload's content: {observation.text()}"
        if 200 <= (observation.status or 0) < 300:
            outcome, text = Outcome.FAILED, f"not shut out: {observation.text()}"
        return tested.case(check, name, outcome, text, observation)
    if observation.kind in {Kind.CLOSED, Kind.RESET}:
        return tested.case(check, name, Outcome.PASSED, "the connection was closed without any answer", observation)
    return denied_case(tested, check, name, observation)


def _try_spellings(tested: PathInspection, client: Identity | None, control: Identity, check: str) -> list[Case]:
    """Ask for the same path in spellings that a workload may take for it, where the control gets the same content."""
    path, inspection = tested.path.sample, tested.inspection
    reference = inspection.reference
    if len(reference.strip()) < 1:
        return []
    if _content(inspection.asking_for(tested.path.method, f"/{secrets.token_hex(8)}").attempt(client)) == reference:
        # It answers everything alike, to everybody: there is nothing that a spelling could get at.
        return []
    if _content(inspection.attempt(control)) is None:
        text = "other spellings were not tried: the workload has no content here. Give the path a sample that exists"
        return [tested.case(check, f"{name_of(client)}, other spellings", Outcome.SKIPPED, text)]
    cases = []
    for words, spelled in (*_spellings(path), *_paths_through(tested, client)):
        other = inspection.asking_for(tested.path.method, spelled)
        if _content(other.attempt(control)) != reference:
            continue
        observation = other.attempt(client)
        outcome, text = Outcome.PASSED, f"not served: {observation.text()}"
        if _content(observation) == reference:
            outcome, text = Outcome.FAILED, f"{observation.text()}: shut out as {path}, and served as {spelled}"
        cases.append(tested.case(check, f"{name_of(client)}, {words}", outcome, text, observation))
    return cases


def _content(observation: Observation) -> bytes | None:
    return observation.response.body if observation.response and observation.response.status < 400 else None


def _paths_through(tested: PathInspection, client: Identity | None) -> t.Iterator[tuple[str, str]]:
    """Yield spellings of the path below others that are open to the client.

    Envoy resolves dot segments, but no escaped slash and no path parameter; some workloads decode these first.
    """
    certificate = client.certificate if client else None
    for other in tested.workload.paths:
        if other is tested.path or other.jwt is not None or "{" not in other.pattern or not other.admits(certificate):
            continue
        begin = other.pattern.partition("{")[0]
        for up in ("..%2F", "%2e%2e%2f", "..%5C", "..;/", "..%252F"):
            depth = begin.count("/") - 1
            end = tested.path.sample.lstrip("/")
            yield f"{up} below {other.pattern}", f"{begin}{up * depth}{end}"
            if up.lower().endswith("%2f"):
                yield f"{up} and escaped slashes below {other.pattern}", f"{begin}{up * depth}{end.replace('/', '%2F')}"


def _spellings(path: str) -> t.Iterator[tuple[str, str]]:
    bare, question, query = path.partition("?")
    end = f"{question}{query}"
    yield "double slash", f"/{path}"
    yield "dot segment", f"/.{path}"
    yield "dot segments back", f"/x/..{path}"
    if bare != "/":
        yield "in capitals", f"{bare.upper()}{end}"
        yield "slash at the end", f"{bare.rstrip('/')}/{end}"
        yield "double slash at the end", f"{bare.rstrip('/')}//{end}"
        yield "escaped letter", f"/%{ord(bare[1]):02X}{bare[2:]}{end}"
        yield "path parameter", f"{bare};x=1{end}"
        yield "brackets", f"{bare}[]{end}"
