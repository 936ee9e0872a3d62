# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mutation run counts as killed only what a test has noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.mutation import mutants

COLLECTIONS = Path(mutants.__file__).parents[5]
# The one mutant that inverts whether a skipped case counts.
MUTANT = "case.outcome_of: not (Outcome.SKIPPED in found)"
HEAD = f"""
import pytest
from {mutants.package.__name__}.checks.case import Case, Outcome, outcome_of

def ended():
    return outcome_of([Case("MV-01", "a", Outcome.PASSED, "", replica="1"),
                       Case("MV-01", "b", Outcome.SKIPPED, "", replica="2")])
"""
NOTICING = "def test_a():\n    assert ended() is Outcome.SKIPPED\n"
BLIND = "def test_a():\n    assert ended()\n"
SKIPPED = "def test_a():\n    if ended() is not Outcome.SKIPPED:\n        pytest.skip('not here')\n"
ALWAYS_SKIPPED = "def test_a():\n    pytest.skip('not here')\n"
HELPLESS = "import os\ndef test_a():\n    assert os.getpid() == os.getpgid(0) and False\n"


@pytest.mark.parametrize(
    ("test", "code", "said"),
    [
        (NOTICING, 0, "1 mutants: 1 killed, 0 equivalent, 0 survived"),
        (BLIND, 1, "1 mutants: 0 killed, 0 equivalent, 1 survived"),
        (SKIPPED, 1, "1 mutants: 0 killed, 0 equivalent, 1 survived"),
        (ALWAYS_SKIPPED, 1, "1 mutants: 0 killed, 0 equivalent, 1 survived"),
        (HELPLESS, 1, "fails without any mutant"),
        ("nonsense", 1, "no mutant was tried"),
    ],
    ids=["noticed", "unnoticed", "skipped with the mutant", "skipped always", "failing anyway", "no test"],
)
def test_only_a_test_that_fails_kills_a_mutant(test: str, code: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "test_one.py"
    path.write_text(HEAD + test, encoding="utf-8")
    command = f"import sys; from {mutants.__package__}.run import main; sys.exit(main([{MUTANT!r}], [{str(path)!r}]))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=COLLECTIONS,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr
