# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A verification for people and for CI: a table for the terminal, JSON, JUnit."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import textwrap
import typing as t
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, ensure_directory, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import NOT_TRIED

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

SCHEMA_VERSION = 1
MAXIMUM_PASSED_CASES = 50
_WIDTH = 110
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ORDER = ("failed", "outage", "warning", "passed", "skipped")


def counts(report: Report) -> dict[str, int]:
    """Return how many checks ended how."""
    return {outcome: sum(check["outcome"] == outcome for check in report.checks) for outcome in _ORDER}


def headline(report: Report) -> str:
    """Say the verdict in a line: what decided it beside the checks, and which checks were not tried."""
    shown = ", ".join(f"{number} {outcome}" for outcome, number in counts(report).items() if number)
    verdict = f"{report.verdict.upper()}: {report.target['url']} at {report.target['address']} ({shown})"
    if report.verdict == "outage":
        # What stood in the way says it all: nearly every check was not tried for that one reason.
        obstacles = (
            case["observed"] for check in report.checks for case in check["cases"] if case["outcome"] == "outage"
        )
        return "; ".join([verdict, *itertools.islice(obstacles, 1)])
    return "; ".join([verdict, *report.reasons, *_untried(report)])


def untried(report: Report) -> list[dict[str, str]]:
    """Return the checks that were not tried, each with the reason."""
    return [{"id": check["id"], "reason": _brief(check)} for check in report.checks if check["outcome"] == "skipped"]


def _untried(report: Report) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for check in untried(report):
        # What comes after the colon is how to change that; the table says it.
        by_reason.setdefault(re.split("[:;] ", check["reason"], maxsplit=1)[0], []).append(check["id"])
    number = sum(len(ids) for ids in by_reason.values())
    if not number:
        return []
    shown = ", ".join(f"{reason} ({', '.join(ids)})" for reason, ids in by_reason.items())
    return [f"{number} check{'s' if number > 1 else ''} not tried: {shown}"]


def summary_lines(report: Report) -> list[str]:
    """Return a compact table for a terminal."""
    untried = [check for check in report.checks if check["observed"] == NOT_TRIED]
    lines = [headline(report)]
    for check in report.checks:
        if check["observed"] != NOT_TRIED:
            lines += _table_lines(check)
    if untried:
        lines.append(f"{len(untried)} checks were {NOT_TRIED}.")
    days = report.server.get("days_left")
    if days is not None:
        lines.append(f"The server's certificate is valid for {days} more days (until {report.server['not_after']}).")
    variants = report.server["variants"]
    if variants:
        shown = "; ".join(f"{request} {answer}" for request, answer in variants.items())
        lines += textwrap.wrap(f"Unusual requests, without a verdict: {shown}.", width=_WIDTH)
    if report.sample:
        lines += textwrap.wrap(report.sample["summary"], width=_WIDTH)
    if report.replicas:
        lines += textwrap.wrap(report.replicas["summary"], width=_WIDTH)
    if len(report.waiting) > 1:
        lines.append("Waited: " + "; ".join(report.waiting))
    lines.append(f"{len(report.checks)} checks in {report.duration_seconds:.2f} s.")
    return lines


def _table_lines(check: dict[str, t.Any]) -> list[str]:
    start = f"{check['id']}  {check['outcome']:<8} {check['title']:<34} "
    if check["outcome"] in {"failed", "outage", "warning"}:
        wrapped = textwrap.wrap(check["observed"], width=_WIDTH - 7)
        return [start.rstrip(), *(f"       {line}" for line in wrapped[:4])]
    return [start + textwrap.shorten(_brief(check), width=max(_WIDTH - len(start), 30), placeholder=" ...")]


def _brief(check: dict[str, t.Any]) -> str:
    """Say what was observed without naming every case: the alerts, or else the distinct texts."""
    shown = [case for case in check["cases"] if case["outcome"] == check["outcome"]]
    alerts = {case["evidence"].get("alert_code"): case["evidence"].get("alert_name") for case in shown}
    if shown and None not in alerts and check["outcome"] == "passed":
        return "refused: alert " + ", ".join(f"{code} ({name})" for code, name in alerts.items())
    return "; ".join(dict.fromkeys(case["observed"] for case in shown)) or check["observed"]


def shown_checks(report: Report) -> list[dict[str, t.Any]]:
    """Return the checks without most of the passed cases of a long list of clients: the reports have them all.

    Ansible copies a result many times, and shows it.
    """
    return [{**check, "cases": _shown_cases(check["cases"])} for check in report.checks]


def _shown_cases(cases: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    passed = [number for number, case in enumerate(cases) if case["outcome"] == "passed"]
    left_out = set(passed[MAXIMUM_PASSED_CASES:])
    return [case for number, case in enumerate(cases) if number not in left_out]


def to_json(report: Report) -> bytes:
    """Return everything as JSON, a line for each check and each other thing."""
    document = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    checks = ",\n".join(f"  {_json(check)}" for check in document.pop("checks"))
    others = {"schema_version": SCHEMA_VERSION, **document, "counts": counts(report)}
    lines = [f'"checks": [\n{checks}\n]', *(f"{_json(name)}: {_json(value)}" for name, value in others.items())]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _json(value: t.Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def to_junit(report: Report) -> bytes:
    """Return JUnit's XML: one test suite, one test case for each case of each check."""
    cases = [line for check in report.checks for line in _junit_check(check)]
    cases += [
        f'    <testcase classname="verdict" name="proof"><failure message={quoteattr(_xml(reason))} type="failed"/>'
        "</testcase>"
        for reason in report.reasons
    ]
    numbers = {kind: sum(case.count(f"<{kind} ") for case in cases) for kind in ("failure", "error", "skipped")}
    attributes = (
        f'tests="{len(cases)}" failures="{numbers["failure"]}" errors="{numbers["error"]}" '
        f'skipped="{numbers["skipped"]}" time="{report.duration_seconds:.3f}"'
    )
    head = f"mtls_verify {report.target['url']}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites name={quoteattr(_xml(head))} {attributes}>",
        f"  <testsuite name={quoteattr(_xml(head))} {attributes} timestamp={quoteattr(report.started.rstrip('Z'))}>",
        "    <properties>",
        f'      <property name="verdict" value={quoteattr(report.verdict)}/>',
        f'      <property name="address" value={quoteattr(_xml(report.target["address"]))}/>',
        "    </properties>",
        *cases,
        "  </testsuite>",
        "</testsuites>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _junit_check(check: dict[str, t.Any]) -> t.Iterator[str]:
    name = f"{check['id']} {check['title']}"
    cases = check["cases"] or [
        {"name": "not tried", "outcome": check["outcome"], "observed": check["observed"], "evidence": {}}
    ]
    for case in cases:
        seconds = case["evidence"].get("duration_ms", 0) / 1000
        start = (
            f"    <testcase classname={quoteattr(_xml(name))} name={quoteattr(_xml(case['name']))} "
            f'time="{seconds:.4f}">'
        )
        yield start + _junit_result(check, case) + "</testcase>"


def _junit_result(check: dict[str, t.Any], case: dict[str, t.Any]) -> str:
    observed = _xml(case["observed"])
    evidence = "; ".join(f"{name}={value}" for name, value in case["evidence"].items())
    details = escape(_xml(f"expected: {check['expected']}\nobserved: {observed}\nevidence: {evidence}"))
    element = {"failed": "failure", "outage": "error"}.get(case["outcome"])
    if element:
        return f"<{element} message={quoteattr(observed)} type={quoteattr(case['outcome'])}>{details}</{element}>"
    if case["outcome"] == "skipped":
        return f"<skipped message={quoteattr(observed)}/>"
    said = f"{'warning: ' if case['outcome'] == 'warning' else ''}{details}"
    return f"<system-out>{said}</system-out>"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def is_failure(report: Report, fail_on: str) -> bool:
    """Return whether the module must fail."""
    if fail_on == "never":
        return False
    return report.verdict != "passed" or (fail_on == "warning" and counts(report)["warning"] > 0)


def write_reports(report: Report, directory: Path) -> dict[str, str]:
    """Write all three reports into ``directory`` and return their paths. Raises MtlsError when that is not possible."""
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.html import to_html  # noqa: PLC0415

    ensure_directory(directory)
    written = {}
    for kind, name, data in (
        ("json", "verify.json", to_json(report)),
        ("junit", "verify.junit.xml", to_junit(report)),
        ("html", "verify.html", to_html(report)),
    ):
        path = directory / name
        write_atomic(path, data, mode=CERTIFICATE_MODE)
        written[kind] = str(path)
    return written
