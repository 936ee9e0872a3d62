# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of pitfalls in docs/kubernetes.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "tests/unit"
PLAYED = UNIT / "plugins/module_utils/_kubernetes/test_pitfalls.py"


def rows() -> dict[int, list[str]]:
    """The cells of each pitfall by its number."""
    text = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8").partition("## Pitfalls")[2]
    lines = re.findall(r"^\| (\d+) \|(.*)\|$", text, re.MULTILINE)
    return {int(number): [cell.strip() for cell in cells.split(" | ")] for number, cells in lines}


def test_every_pitfall_has_a_test_that_exists_or_a_reason_why_not():
    table = rows()
    assert sorted(table) == list(range(1, 25))
    played = PLAYED.read_text(encoding="utf-8")
    for number, cells in table.items():
        handling, tests = cells[-2:]
        named = re.findall(r"`([^`]+)`", tests)
        assert named or (tests == "none" and handling.startswith("not tested")), number
        for name in named:
            if name.isdigit():
                assert int(name) == number
                assert f"def test_{name}_" in played, number
            elif name.endswith(".py"):
                assert list(UNIT.rglob(name)), (number, name)
            elif name.endswith(".yml"):
                assert (ROOT / "molecule/kubernetes" / name).is_file(), (number, name)
            else:
                assert f"def {name}(" in played, (number, name)
