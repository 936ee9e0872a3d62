# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From judged cases to the result: checks, verdict, and what is known about both sides."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome, outcome_of
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import (
    CATALOGUE,
    OF_WORKLOADS,
    REFUSALS,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.certificate_request import der_name_text
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities import sample
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import (
    describe_certificate,
    describe_crl,
    name_text,
)

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import Entry
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

NOT_TRIED = "not tried: the good client could not use the server"
WITHOUT_MATERIAL = {
    "MV-29": "nobody is revoked: revoked_cert and revoked_dir have no client, and crl lists none",
    "MV-33": "no client is listed with expect=refused",
    **dict.fromkeys(OF_WORKLOADS, "workloads has none"),
}
_MAXIMUM_TEXTS = 6
_MAXIMUM_IDENTITIES = 50


@dataclass(frozen=True)
class Report:
    """The result of a verification."""

    verdict: str
    checks: list[dict[str, t.Any]]
    server: dict[str, t.Any]
    client_cas: list[str]
    identities: list[dict[str, t.Any]]
    target: dict[str, t.Any]
    waiting: list[str]
    started: str
    duration_seconds: float
    client_authorities: list[dict[str, t.Any]] = field(default_factory=list)
    crls: list[dict[str, t.Any]] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    replicas: dict[str, t.Any] = field(default_factory=dict)
    sample: dict[str, t.Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """What a run learned beside its cases."""

    first: Observation | None
    control: Case | None
    verify_error: str
    chain: tuple[x509.Certificate, ...]
    identities: tuple[Identity, ...]
    versions: list[str]
    suites: dict[str, list[str]]
    variants: dict[str, str]
    outage: bool
    waiting: list[str]
    duration: float


def assemble(options: VerifyOptions, cases: list[Case], facts: Facts) -> Report:
    """Return the result of ``cases``."""
    by_check: dict[str, list[Case]] = {}
    for case in cases:
        by_check.setdefault(case.check, []).append(case)
    checks = [
        _check(
            entry, by_check.get(entry.id, []), tried=not facts.outage, is_required=entry.id in options.require_checks
        )
        for entry in CATALOGUE
        if entry.id in options.checks
    ]
    reasons = _reasons(options, checks, facts)
    now, target = options.now, options.target
    hinted = facts.first.seen.client_cas if facts.first else None
    return Report(
        verdict=_verdict({check["outcome"] for check in checks}, facts, reasons),
        checks=checks,
        server={
            "chain": [describe_certificate(certificate, now=now) for certificate in facts.chain],
            **_leaf_facts(facts.chain, now=now),
            "alpn": facts.first.alpn if facts.first else None,
            "tls_versions": facts.versions,
            "suites": facts.suites,
            "variants": facts.variants,
            "trusted": not facts.verify_error if facts.chain else None,
        },
        client_cas=[der_name_text(raw) for raw in hinted or ()],
        identities=[_identity_facts(identity, now=now) for identity in _soonest(facts.identities)],
        target={"url": target.url, "host": target.host, "address": target.place},
        waiting=facts.waiting,
        started=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        duration_seconds=round(facts.duration, 3),
        client_authorities=[describe_certificate(ca, now=now) for ca in options.expected_client_cas],
        crls=[describe_crl(crl) for crl in options.crls],
        timings=_timings(facts.first),
        sample=sample.report(options.samples),
        reasons=reasons,
    )


def _timings(first: Observation | None) -> dict[str, float]:
    """Return how long the first connection of the good client took, in seconds; empty without an answer."""
    if first is None or first.response is None or first.handshake_seconds is None:
        return {}
    return {
        "handshake_seconds": round(first.handshake_seconds, 6),
        "request_seconds": round(first.duration - first.handshake_seconds, 6),
    }


def _soonest(identities: tuple[Identity, ...]) -> list[Identity]:
    """The good client, and of the others those that expire first."""
    others = sorted(identities[1:], key=lambda identity: identity.certificate.not_valid_after_utc)
    return [identities[0], *others[:_MAXIMUM_IDENTITIES]]


def _reasons(options: VerifyOptions, checks: list[dict[str, t.Any]], facts: Facts) -> list[str]:
    """Say why nothing is proven, where no check of its own says so."""
    reasons = []
    if facts.control is not None and facts.control.outcome is not Outcome.PASSED and "MV-23" not in options.checks:
        reasons.append(f"the good client does not get in: {facts.control.observed}")
    if facts.verify_error and "MV-13" not in options.checks:
        reasons.append(facts.verify_error)
    refusing = [check for check in checks if check["id"] in REFUSALS]
    for what, tried in (("no refusal could be tried", refusing), ("nothing could be tried", checks)):
        if tried and all(check["outcome"] == "skipped" for check in tried):
            texts = dict.fromkeys(f"{check['id']} {check['observed']}" for check in tried[:_MAXIMUM_TEXTS])
            return [*reasons, f"{what}: {'; '.join(texts)}"]
    return reasons


def _verdict(outcomes: set[str], facts: Facts, reasons: list[str]) -> str:
    """An outage of the good client says that nothing is proven; else a failure is the worst."""
    if facts.outage:
        return "outage"
    if "failed" in outcomes or reasons:
        return "failed"
    return "outage" if "outage" in outcomes else "passed"


def _identity_facts(identity: Identity, *, now: datetime.datetime) -> dict[str, t.Any]:
    return {
        "name": identity.name,
        **describe_certificate(identity.certificate, now=now),
        "above": [
            name_text(certificate.subject)
            for certificate in identity.chain[1:]
            if certificate.subject != certificate.issuer
        ],
        "root": name_text(identity.chain[-1].issuer),
    }


def _leaf_facts(chain: t.Sequence[x509.Certificate], *, now: datetime.datetime) -> dict[str, t.Any]:
    if not chain:
        return {"sans": [], "not_after": None, "days_left": None}
    facts = describe_certificate(chain[0], now=now)
    return {name: facts[name] for name in ("sans", "not_after", "days_left")}


def _check(entry: Entry, cases: list[Case], *, tried: bool, is_required: bool) -> dict[str, t.Any]:
    outcome = outcome_of(cases)
    observed = _observed(entry.id, cases, outcome, tried=tried)
    if is_required and outcome is Outcome.SKIPPED:
        outcome, observed = Outcome.FAILED, f"required, but not tried: {observed}"
    decisive = next((case for case in cases if case.outcome is outcome), None)
    return {
        "id": entry.id,
        "title": entry.title,
        "outcome": outcome.value,
        "expected": entry.expected,
        "observed": observed,
        "evidence": decisive.to_dict()["evidence"] if decisive else {},
        "source": entry.source,
        "cases": [case.to_dict() for case in cases],
    }


def _observed(entry_id: str, cases: list[Case], outcome: Outcome, *, tried: bool) -> str:
    shown = [case for case in cases if case.outcome is outcome]
    if not shown:
        return WITHOUT_MATERIAL.get(entry_id, NOT_TRIED) if tried else NOT_TRIED
    by_text: dict[str, list[str]] = {}
    for case in shown:
        by_text.setdefault(case.observed, []).append(case.name)
    if len(by_text) == 1:
        text = next(iter(by_text))
        return text if len(shown) == len(cases) else f"{_few(by_text[text])}: {text}"
    parts = [f"{_few(names)}: {text}" for text, names in by_text.items()]
    more = f"; and {len(parts) - _MAXIMUM_TEXTS} more" if len(parts) > _MAXIMUM_TEXTS else ""
    return "; ".join(parts[:_MAXIMUM_TEXTS]) + more


def _few(names: list[str]) -> str:
    """Return some of ``names``, which have commas themselves."""
    return " / ".join(names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"])
