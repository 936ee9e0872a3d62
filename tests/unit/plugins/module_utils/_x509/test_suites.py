# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our own suite in limbo's format; large suites are run by tests/limbo/run_limbo.py."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.limbo import make_own_suite, run_limbo

if t.TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("limbo") / "suite.json"
    assert make_own_suite.write_suite(path) == 70
    return path


def test_every_case_of_the_own_suite_is_judged_as_expected_in_any_order(suite, capsys):
    assert run_limbo.main([str(suite), "--shuffle", "1"]) == 0, capsys.readouterr().out


def test_a_changed_verdict_fails_the_run(suite, tmp_path, capsys):
    cases = json.loads(suite.read_text())
    cases["testcases"][0]["expected_result"] = "FAILURE"
    changed = tmp_path / "suite.json"
    changed.write_text(json.dumps(cases))
    assert run_limbo.main([str(changed)]) == 1
    assert "expected FAILURE, accepted" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["own::rfc5280::direct"])
def test_a_divergence_that_is_gone_fails_the_run(case, suite, monkeypatch, tmp_path, capsys):
    known = tmp_path / "divergences.json"
    known.write_text(json.dumps({case: "an old reason"}))
    monkeypatch.setattr(run_limbo, "DIVERGENCES", known)
    assert run_limbo.main([str(suite)]) == 1
    assert "agrees now" in capsys.readouterr().out
