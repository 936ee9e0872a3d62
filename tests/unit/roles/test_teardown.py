# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is removed is looked at on the target, not on the controller."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import Outcome, Play


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def purge(play: Play, home: str, of_target: Path) -> Outcome:
    """Take down and remove ``home`` for a user whose home directory on the target is ``of_target``."""
    tasks = [{"ansible.builtin.include_role": {"name": "kyma.mtls.cluster", "tasks_from": "teardown"}}]
    plays: list[dict[str, t.Any]] = [
        {"hosts": "localhost", "gather_facts": False, "tasks": tasks, "environment": {"HOME": str(of_target)}}
    ]
    return play.run_play(plays, {"mtls_home": home, "cluster_home": home, "cluster_purge": True})


@pytest.mark.parametrize("home", ["~", "{tmp}/link", "{tmp}/of-target", "/usr/../usr"])
def test_directory_that_belongs_to_others_too_is_not_removed(play: Play, tmp_path: Path, home: str) -> None:
    of_target = tmp_path / "of-target"
    kept = of_target / "report/verify.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    (tmp_path / "link").symlink_to(of_target)

    refused = purge(play, home.format(tmp=tmp_path), of_target)

    assert refused.code != 0
    assert "a directory that belongs to others too, so nothing is removed" in refused.words
    assert kept.exists()


def test_link_that_leads_elsewhere_on_the_controller_alone_is_no_obstacle(play: Play, tmp_path: Path) -> None:
    home = tmp_path / "target/site"
    (home / "report").mkdir(parents=True)
    (home / "report/verify.json").write_text("{}")

    assert purge(play, "~/site", tmp_path / "target").changed > 0
    assert not home.exists()


def test_site_that_is_not_there_is_gone_already(play: Play, tmp_path: Path) -> None:
    assert purge(play, f"{tmp_path}/none", tmp_path).changed == 0
