# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A user who pastes the constant part of a message finds it in docs/errors.md, with its cause and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._tls.catalogue import CATALOGUE
from ansible_collections.kyma.mtls.tests.unit.docs import pages
from ansible_collections.kyma.mtls.tools import errors

RENEW = "python tools/errors.py --write renews the lists; a new group of messages needs its cause and its mend by hand"


def test_every_message_has_its_place() -> None:
    page = pages.read("docs/errors.md")
    said = errors.messages()
    sections, homeless = errors.placed(page, said)
    assert not homeless, RENEW
    assert errors.renewed(page, sections) == page, RENEW
    assert not errors.outdated(page, said)


def test_every_group_says_cause_and_mend() -> None:
    for section in re.split(r"^## ", pages.read("docs/errors.md"), flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        words = section.partition("<!-- messages")[0]
        assert "**Cause.**" in words, title
        assert "**What to do.**" in words, title
        assert re.search(r"^- `", section, re.MULTILINE), f"{title} has no message any more"


def test_every_check_of_the_verification_has_its_mend() -> None:
    rows = [line for line in pages.read("docs/troubleshooting.md").splitlines() if line.startswith("| MV-")]
    named: set[int] = set()
    for row in rows:
        cell = row.split("|")[1]
        for first, last in re.findall(r"MV-(\d+)(?: to MV-(\d+))?", cell):
            named.update(range(int(first), int(last or first) + 1))
    assert {entry.id for entry in CATALOGUE} <= {f"MV-{number:02}" for number in named}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('raise MtlsError(f"The key {path} is gone.")', {"The key … is gone."}),
        ('raise MtlsError("One thing." if one else f"Other {two} thing.")', {"One thing.", "Other … thing."}),
        ('class OwnError(MtlsError): pass\nraise OwnError("It was an own one.")', {"It was an own one."}),
        (
            'def words():\n    return "Words of another function."\nraise MtlsError(words())',
            {"Words of another function."},
        ),
        ('problems.append(f"There is {number} problem.")', {"There is … problem."}),
        ('module.fail_json(msg="The library is missing.")', {"The library is missing."}),
        ('WHY = "it has no effect"\nfields(refused={"one": WHY})', {"it has no effect"}),
        ('raise ValueError("nobody reads this one")', set()),
        ("raise MtlsError(str(exc))", set()),
    ],
)
def test_messages_are_found_wherever_they_are_made(code: str, said: set[str], tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/one.py").write_text(code)
    assert {message.text for message in errors.messages(tmp_path)} == said


def test_messages_of_tasks_are_found_in_blocks_too(tmp_path: Path) -> None:
    tasks = tmp_path / "roles/one/tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text(
        "- block:\n"
        "    - ansible.builtin.assert:\n"
        "        that: one\n"
        '        fail_msg: "{{ one }} is not two."\n'
        "- ansible.builtin.fail:\n"
        "    msg: It cannot be.\n"
    )
    assert {message.text for message in errors.messages(tmp_path)} == {"… is not two.", "It cannot be."}


@pytest.mark.parametrize("page", ["docs/rotation.md", "docs/revocation.md"])
def test_what_a_runbook_quotes_is_said(page: str) -> None:
    sources = [*(pages.ROOT / "plugins").rglob("*.py"), *(pages.ROOT / "roles").rglob("tasks/*.yml")]
    sources += (pages.ROOT / "playbooks").rglob("*.yml")
    said = " ".join([message.text for message in errors.messages()] + [path.read_text("utf-8") for path in sources])
    said = errors.flat(re.sub(r'"\s*\n\s*f?"', "", said))
    rows = re.findall(r"^\| `([^`]+)` \|", pages.read(page), re.MULTILINE)
    assert rows
    for row in rows:
        for part in re.split(r"\.\.\.|NAME|\S*/\S+", row):
            assert part.strip() in said, row
