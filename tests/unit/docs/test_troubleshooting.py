# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Troubleshooting quotes what the code says, and has every check of the verification."""

from __future__ import annotations

import re

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import CATALOGUE
from ansible_collections.kyma.mtls.tests.unit.docs import pages

#: Words of ansible-core, and what a person types.
OF_OTHERS = {"Failed to import", "Unsupported parameters", "value of", "must be one of", "make status"}
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def said() -> str:
    """All texts of the code, literals that follow each other joined."""
    sources = [*(pages.ROOT / "plugins").rglob("*.py"), *(pages.ROOT / "roles").rglob("*.yml")]
    sources += [*(pages.ROOT / "playbooks").rglob("*.yml"), *(pages.ROOT / "plugins").rglob("*.j2")]
    text = " ".join(path.read_text(encoding="utf-8") for path in sources)
    return " ".join(re.sub(r'"\s*\n\s*f?"', "", text).split())


def section(page: str, title: str) -> str:
    return re.split(r"^## ", page.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


def test_what_the_tables_quote_is_said() -> None:
    table = section(pages.read("docs/troubleshooting.md"), "A task fails with a message")
    quoted = [
        one for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for one in re.findall(r"`([^`]+)`", row)
    ]
    code = said()
    assert quoted
    for quotation in quoted:
        for part in re.split(r"\.\.\.|\*", quotation):
            assert part.strip() in code or part.strip() in OF_OTHERS, quotation


@pytest.mark.parametrize("page", ["docs/rotation.md", "docs/revocation.md"])
def test_what_a_runbook_quotes_is_said(page: str) -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", pages.read(page), re.MULTILINE)
    code = said()
    assert rows
    for row in rows:
        for part in re.split(r"\.\.\.|NAME|\S*/\S+", row):
            assert part.strip() in code, row


def test_links_to_the_former_page_of_errors_lead_on() -> None:
    there = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in HEADING.findall(pages.read("docs/troubleshooting.md"))
    }
    links = re.findall(r'<a id="([^"]+)"></a>\[[^\]]+\]\(troubleshooting\.md#([^)]+)\)', pages.read("docs/errors.md"))
    assert len(dict(links)) >= 31
    assert {target for _anchor, target in links} <= there


def test_every_check_of_the_verification_has_its_fix() -> None:
    rows = [line for line in pages.read("docs/troubleshooting.md").splitlines() if line.startswith("| MV-")]
    named: set[int] = set()
    for row in rows:
        cell = row.split("|")[1]
        for first, last in re.findall(r"MV-(\d+)(?: to MV-(\d+))?", cell):
            named.update(range(int(first), int(last or first) + 1))
    assert {entry.id for entry in CATALOGUE} <= {f"MV-{number:02}" for number in named}
