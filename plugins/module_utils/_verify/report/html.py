# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A verification as one self-contained page: no script, no external resource, readable on paper and on a phone."""

from __future__ import annotations

import datetime
import typing as t
from html import escape

from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.html_style import STYLE
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.trust_picture import trust_picture

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

SIGNS = {"passed": "\u2713", "failed": "\u2715", "outage": "\u2300", "warning": "!", "skipped": "\u2013"}
_MEANINGS = {
    "passed": "The right clients get in, the wrong ones do not.",
    "failed": "At least one check failed: see below.",
    "outage": "The server could not be used as it should be, so nothing is proven.",
}
_MAXIMUM_BARS = 12
_MAXIMUM_CASES = 200


def to_html(report: Report) -> bytes:
    """Return the page."""
    title = f"{report.verdict}: {report.target['host']}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>",
        _verdict(report),
        _picture(report),
        _expiry(report),
        _matrix(report),
        _server(report),
        _footer(report),
        "</main></body></html>",
    ]
    return ("\n".join(part for part in parts if part) + "\n").encode()


def _verdict(report: Report) -> str:
    counts = {outcome: sum(check["outcome"] == outcome for check in report.checks) for outcome in SIGNS}
    chips = "".join(
        f'<li class="{outcome}"><b>{number}</b> {outcome}</li>' for outcome, number in counts.items() if number
    )
    target = report.target
    return (
        f'<header class="verdict {escape(report.verdict)}">'
        f'<p class="sign" aria-hidden="true">{SIGNS[report.verdict]}</p>'
        f"<div><h1>{escape(report.verdict.capitalize())}</h1><p>{escape(_MEANINGS[report.verdict])}</p>{_reason(report)}"
        f'<p class="target"><code>{escape(target["url"])}</code> at <code>{escape(target["address"])}</code></p>'
        f'</div></header><ul class="counts">{chips}</ul>'
    )


def _reason(report: Report) -> str:
    """Name the checks that made the verdict, or the outage that did."""
    if report.verdict == "passed":
        return ""
    deciding = [check for check in report.checks if check["outcome"] == report.verdict]
    if report.verdict == "outage":
        texts = [_brief(check) for check in deciding][:1]
    else:
        texts = [f"{check['id']} {check['title']}" for check in deciding]
    texts += report.reasons
    return f'<p class="{report.verdict}-text"><b>{escape("; ".join(texts))}</b></p>' if texts else ""


def _picture(report: Report) -> str:
    drawing = trust_picture(report)
    return f"<section><h2>Who trusts whom</h2>{drawing}</section>" if drawing else ""


# Expiry


def _expiry(report: Report) -> str:
    holders = [
        (f"Server{'' if position == 0 else f' chain {position + 1}'}", facts)
        for position, facts in enumerate(report.server["chain"])
    ] + [(identity["name"].capitalize(), identity) for identity in report.identities]
    if not holders:
        return ""
    holders.sort(key=lambda holder: str(holder[1]["not_after"]))
    bars = "".join(_bar(name, facts, report.started) for name, facts in holders[:_MAXIMUM_BARS])
    more = len(holders) - _MAXIMUM_BARS
    note = f'<p class="note">{more} more expire later.</p>' if more > 0 else ""
    return f'<section><h2>Expiry</h2><ul class="bars">{bars}</ul>{note}</section>'


def _bar(name: str, facts: dict[str, t.Any], today: str) -> str:
    begins, ends, now = (_moment(text) for text in (facts["not_before"], facts["not_after"], today))
    left = min(max((ends - now) / (ends - begins) * 100, 0.0), 100.0) if ends > begins else 0.0
    days = facts["days_left"]
    state = "failed" if days < 0 else "warning" if days < 30 else "passed"
    said = f"expired {-days} days ago" if days < 0 else f"{days} days left"
    return (
        f'<li><div class="label"><span>{escape(name)} <small>{escape(str(facts["subject"]))}</small></span>'
        f'<span class="{state}-text">{said}</span></div>'
        f'<div class="bar {state}" role="img" aria-label="{left:.0f} percent of the lifetime is left">'
        f'<span style="width:{left:.1f}%"></span></div>'
        f'<div class="ends"><span>{escape(facts["not_before"][:10])}</span>'
        f"<span>{escape(facts['not_after'][:10])}</span></div></li>"
    )


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


# The matrix


def _matrix(report: Report) -> str:
    rows = "".join(_row(check) for check in report.checks)
    return f'<section><h2>Checks</h2><div class="checks">{rows}</div></section>'


def _row(check: dict[str, t.Any]) -> str:
    outcome = check["outcome"]
    is_open = " open" if outcome in {"failed", "outage"} else ""
    cases = check["cases"]
    shown = "".join(_case(case) for case in _worst_first(cases)[:_MAXIMUM_CASES])
    more = len(cases) - _MAXIMUM_CASES
    note = f'<p class="note">{more} more cases are in verify.json.</p>' if more > 0 else ""
    listed = f'<div class="cases">{shown}</div>{note}' if cases else ""
    return (
        f'<details class="check {outcome}"{is_open}><summary>'
        f'<span class="badge {outcome}"><span aria-hidden="true">{SIGNS[outcome]}</span> {outcome}</span>'
        f'<span class="id">{check["id"]}</span><span class="title">{escape(check["title"])}</span>'
        f'<span class="observed">{escape(_brief(check))}</span></summary>'
        f'<div class="body"><p><b>Expected:</b> {escape(check["expected"])}</p>'
        f'<p class="source">{escape(check["source"])}</p>{listed}</div></details>'
    )


def _brief(check: dict[str, t.Any]) -> str:
    shown = [case["observed"] for case in check["cases"] if case["outcome"] == check["outcome"]]
    text = "; ".join(dict.fromkeys(shown)) or check["observed"]
    return text if len(text) <= 160 else f"{text[:157]}..."


def _worst_first(cases: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    order = ("failed", "outage", "warning", "passed", "skipped")
    return sorted(cases, key=lambda case: order.index(case["outcome"]))


def _case(case: dict[str, t.Any]) -> str:
    evidence = ", ".join(
        f"{escape(name.replace('_', ' '))} {escape(str(value))}" for name, value in case["evidence"].items()
    )
    facts = f"<small>{evidence}</small>" if evidence else ""
    outcome = case["outcome"]
    return (
        f'<div class="case"><span class="badge {outcome}"><span aria-hidden="true">{SIGNS[outcome]}</span> {outcome}'
        f"</span><div><b>{escape(case['name'])}</b><p>{escape(case['observed'])}</p>{facts}</div></div>"
    )


# The server


def _server(report: Report) -> str:
    facts = report.server
    rows = [
        ("Names", ", ".join(facts["sans"])),
        ("TLS versions", ", ".join(facts["tls_versions"])),
        *((f"Suites of {version}", ", ".join(suites)) for version, suites in facts["suites"].items()),
        *((f"Answer to {request}", answer) for request, answer in facts["variants"].items()),
        ("ALPN", facts["alpn"] or "none"),
        ("Asks for certificates of", "; ".join(report.client_cas)),
        *(
            (f"Certificate {position}", f"{certificate['subject']}, SHA-256 {certificate['fingerprint_sha256']}")
            for position, certificate in enumerate(facts["chain"], start=1)
        ),
        ("Sample", report.sample.get("summary", "")),
        ("Waited", "; ".join(report.waiting) if len(report.waiting) > 1 else ""),
    ]
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows if value)
    return f"<section><h2>The server</h2><dl>{shown}</dl></section>"


def _footer(report: Report) -> str:
    moment = report.started.replace("T", " ").replace("Z", " UTC")
    return (
        f"<footer>{len(report.checks)} checks in {report.duration_seconds:.2f} s, {escape(moment)}, "
        "by kyma.mtls.mtls_verify</footer>"
    )
