# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the workflows may do, and what the scenario on a real cluster goes through."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCENARIO = ROOT / "molecule" / "k3d"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text())

    assert used
    assert [line for line in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}  # v[0-9.]+", line)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_only_the_jobs_that_publish_may_write(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    writing = {
        name
        for name, job in workflow["jobs"].items()
        if "write" in job.get("permissions", {}).values() or "environment" in job
    }

    assert workflow["permissions"] == {"contents": "read"}
    assert writing <= {"publish"}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_a_real_cluster_goes_through_its_whole_life_and_its_logs_are_kept() -> None:
    sequence = yaml.safe_load((SCENARIO / "molecule.yml").read_text())["scenario"]["test_sequence"]
    effects = [step.partition(" ")[2] for step in sequence if step.startswith("side_effect ")]
    job: dict[str, t.Any] = yaml.safe_load((ROOT / ".github/workflows/k3d.yml").read_text())["jobs"]["tutorial"]
    kept = job["steps"][-1]

    assert sequence[:5] == ["destroy", "converge", "idempotence", "check", "verify"]
    assert effects == ["lifecycle.yml", "drift.yml", "blocked.yml"]
    assert all((SCENARIO / name).is_file() for name in effects)
    assert sequence[-2:] == ["cleanup", "destroy"]
    assert kept["if"] == "always()"
    assert kept["with"]["path"].split() == [".build/check", ".build/molecule/k3d-logs"]
