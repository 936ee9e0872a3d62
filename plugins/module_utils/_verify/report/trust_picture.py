# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two chains of trust as a drawing: the server's, checked by clients, and the clients', checked by the server."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from html import escape

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

_WIDTH = 340
_BOX_HEIGHT = 58
_GAP = 34
_LETTERS = 37


@dataclass(frozen=True)
class Box:
    """One certificate or CA in the drawing."""

    role: str
    text: str
    note: str
    kind: str = "solid"


def trust_picture(report: Report) -> str:
    """Return both chains as inline SVG, "" when there is nothing to draw."""
    server = _server_boxes(report)
    client = _client_boxes(report)
    if not server and not client:
        return ""
    trusted = report.server["trusted"]
    server_text = "Clients trust the server" if trusted else "Clients do not trust the server"
    accepted = report.verdict != "outage" and not any(
        check["id"] == "MV-23" and check["outcome"] in {"failed", "outage"} for check in report.checks
    )
    if report.verdict == "outage":
        client_text = "The server could not be asked"
    else:
        client_text = "The server trusts the client" if accepted else "The server does not let the client in"
    drawings = [
        _drawing(server, server_text, good=bool(trusted)) if server else "",
        _drawing(client, client_text, good=accepted) if client else "",
    ]
    return f'<div class="trust">{"".join(drawings)}</div>'


def _server_boxes(report: Report) -> list[Box]:
    chain = report.server["chain"]
    if not chain:
        return []
    boxes = []
    last = chain[-1]
    if last["subject"] != last["issuer"]:
        boxes.append(Box("CA (not served)", last["issuer"], "trust anchor of the clients", "dashed"))
    for position, facts in reversed(list(enumerate(chain))):
        is_root = facts["subject"] == facts["issuer"]
        role = "Server certificate" if position == 0 else "Root CA (served)" if is_root else "Intermediate CA"
        boxes.append(Box(role, facts["subject"], _note(facts)))
    return boxes


def _client_boxes(report: Report) -> list[Box]:
    if not report.identities:
        return []
    good = report.identities[0]
    boxes = [Box("Client CA", name, "the server asks for it") for name in report.client_cas[:1] if name == good["root"]]
    if not boxes:
        boxes = [Box("Client CA", good["root"], "trust anchor of the server", "dashed")]
    boxes += [Box("Intermediate CA", name, "presented by the client") for name in reversed(good["above"])]
    boxes.append(Box("Client certificate", good["subject"] or "(empty subject)", _note(good)))
    return boxes


def _note(facts: dict[str, t.Any]) -> str:
    days = facts["days_left"]
    key = facts.get("key", {})
    said = " ".join(str(key[name]) for name in ("type", "size") if name in key)
    left = f"expired {-days} days ago" if days < 0 else f"{days} days left"
    return f"{said}, {left}" if said else left


def _drawing(boxes: list[Box], caption: str, *, good: bool) -> str:
    height = len(boxes) * _BOX_HEIGHT + (len(boxes) - 1) * _GAP + 2
    parts = []
    for position, box in enumerate(boxes):
        top = 1 + position * (_BOX_HEIGHT + _GAP)
        parts.append(_box(box, top, last=position == len(boxes) - 1))
        if position:
            parts.append(_arrow(top - _GAP, broken=not good))
    state = "passed" if good else "failed"
    sign = "\u2713" if good else "\u2715"
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(_spoken(boxes))}">'
        f'{"".join(parts)}</svg><figcaption class="{state}-text">{sign} {escape(caption)}</figcaption></figure>'
    )


def _spoken(boxes: list[Box]) -> str:
    return ", issues ".join(f"{box.role} {box.text}" for box in boxes)


def _box(box: Box, top: int, *, last: bool) -> str:
    text = box.text if len(box.text) <= _LETTERS else f"{box.text[: _LETTERS - 1]}\u2026"
    classes = f"box {box.kind}{' leaf' if last else ''}"
    return (
        f'<g class="{classes}"><title>{escape(box.text)}</title>'
        f'<rect x="1" y="{top}" width="{_WIDTH - 2}" height="{_BOX_HEIGHT}" rx="8"/>'
        f'<text x="14" y="{top + 17}" class="role">{escape(box.role)}</text>'
        f'<text x="14" y="{top + 34}" class="name">{escape(text)}</text>'
        f'<text x="14" y="{top + 50}" class="detail">{escape(box.note)}</text></g>'
    )


def _arrow(top: int, *, broken: bool) -> str:
    middle, end = _WIDTH // 2, top + _GAP - 4
    return (
        f'<g class="arrow{" broken" if broken else ""}">'
        f'<line x1="{middle}" y1="{top + 3}" x2="{middle}" y2="{end - 5}"/>'
        f'<path d="M{middle - 5} {end - 7} L{middle} {end} L{middle + 5} {end - 7} Z"/>'
        f'<text x="{middle + 12}" y="{top + 21}" class="detail">issues</text></g>'
    )
