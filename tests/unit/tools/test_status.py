# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""make status looks at the platform that the site is on."""

from __future__ import annotations

import runpy
import sys
import typing as t
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[3]


class Replaced(Exception):  # noqa: N818  (no error: the process goes on as another program)
    """The process would be another program from here on."""


@pytest.mark.parametrize("platform", ["k3d", "kubernetes"])
def test_a_site_on_a_cluster_is_looked_at_by_the_playbook(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM", platform)
    monkeypatch.setattr(sys, "argv", ["status.py", "-e", "mtls_context=mine"])
    replaced: t.Any = mock.Mock(side_effect=Replaced)
    with mock.patch("os.execv", replaced), pytest.raises(Replaced):
        runpy.run_path(str(ROOT / "tools/status.py"))["main"]()
    assert replaced.call_args.args[1] == [str(ROOT / "tools/play"), "status", "-e", "mtls_context=mine"]


def test_a_local_site_is_looked_at_without_ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLATFORM", raising=False)
    monkeypatch.setenv("MTLS_HOME", str(tmp_path / "none"))
    with mock.patch("os.execv") as replaced:
        assert runpy.run_path(str(ROOT / "tools/status.py"))["main"]() == 1
    assert not replaced.called
