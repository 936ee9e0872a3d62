# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put what was measured where people read it: charts, and the tables between the marks in docs/performance.md."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import chart

Measured = t.Mapping[str, t.Any]
_CLIENTS = chart.Axis("clients", is_logarithmic=True)
_CPU = chart.Axis("CPU seconds", is_logarithmic=True)
CHARTS = {
    "clients": chart.Chart("Unchanged site, verification of every client included", _CLIENTS, chart.Axis("seconds")),
    "gateways": chart.Chart("Unchanged site with many gateways", chart.Axis("gateways"), chart.Axis("seconds")),
    "pki-first": chart.Chart("Certificates made for the first time (RSA 2048)", _CLIENTS, _CPU),
    "pki-unchanged": chart.Chart("Certificates, nothing to do", _CLIENTS, _CPU),
    "candidates": chart.Chart(
        "One certificate chain, as a task, less an empty play",
        chart.Axis("candidates", is_logarithmic=True),
        chart.Axis("CPU seconds"),
    ),
    "verify": chart.Chart(
        "Clients verified: handshake and request of each", _CLIENTS, chart.Axis("seconds", is_logarithmic=True)
    ),
    "requests": chart.Chart(
        "Requests to the API server of a cluster", chart.Axis("gateways, each with a workload"), chart.Axis("requests")
    ),
}


def draw(results: Path, directory: Path) -> list[Path]:
    """Draw every chart that has lines of at least two points; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for measured in _read(results).values():
        for name, lines in measured["charts"].items():
            if min(len(points) for points in lines.values()) < 2:
                continue
            path = directory / f"{name}.svg"
            path.write_text(chart.draw(CHARTS[name], lines), encoding="utf-8")
            drawn.append(path)
    return drawn


def write(results: Path, docs: Path) -> None:
    """Renew the charts in ``docs``/performance and the marked parts of ``docs``/performance.md."""
    measured = _read(results)
    drawn = {path.stem for path in draw(results, docs / "performance")}
    path = docs / "performance.md"
    text = path.read_text(encoding="utf-8")
    # In the order of the page, whatever the order in which they ran.
    measured = dict(sorted(measured.items(), key=lambda one: text.find(f"<!-- measured: {one[0]} -->")))
    text = fill(text, "targets", _targets(measured))
    for name, one in measured.items():
        text = fill(text, name, _figures(one, drawn))
    path.write_text(text, encoding="utf-8")


def fill(text: str, mark: str, content: str) -> str:
    """Return ``text`` with ``content`` between the marks of that name."""
    pattern = rf"(<!-- measured: {re.escape(mark)} -->\n).*?(<!-- end of measured -->)"
    filled, count = re.subn(pattern, lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"docs/performance.md has {count} places for the measured {mark}, not one")
    return filled


def _read(results: Path) -> dict[str, Measured]:
    if not results.is_file():
        raise SystemExit(f"{results} does not exist: run make bench first.")
    return dict(json.loads(results.read_text(encoding="utf-8")))


def _targets(measured: t.Mapping[str, Measured]) -> str:
    rows = [
        (one["what"], one["target"], one["measured"], _verdict(one))
        for benchmark in measured.values()
        for one in benchmark["targets"]
    ]
    return _table(("what", "target", "measured", "met"), rows)


def _verdict(target: Measured) -> str:
    if target["is_met"]:
        return "yes"
    return f"**no**: {target['distance']}" if target["distance"] else "**no**"


def _figures(measured: Measured, drawn: t.Container[str]) -> str:
    here = measured["environment"]
    about = (
        f"Measured {here['date']} on {here['cores']} cores ({here['processor']}), Python {here['python']}, "
        f"ansible-core {here['ansible_core']}, OpenSSL {here['openssl']}; load at the start {here['load']}"
        + ("." if here["is_quiet"] else ": **the machine was busy, only ratios mean something.**")
    )
    rows = [
        (
            one["what"],
            f"{one['wall']:.2f}" + (f" ({one['wall_min']:.2f} to {one['wall_max']:.2f})" if one["runs"] > 1 else ""),
            f"{one['cpu']:.2f}",
            f"{one['mib']}" if one["mib"] else "",
            str(one["runs"]),
        )
        for one in measured["figures"]
    ]
    table = _table(("what", "seconds, median (extremes)", "CPU seconds", "peak MiB", "runs"), rows)
    notes = [f"```text\n{note}\n```" for note in measured["notes"]]
    charts = [f"![{CHARTS[name].title}](performance/{name}.svg)" for name in measured["charts"] if name in drawn]
    return "\n\n".join([*charts, about, table, *notes])


def _table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
