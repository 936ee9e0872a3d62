# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's edge: a directory or names in, facts out."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import pki_info
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import make_home


def run(capsys: pytest.CaptureFixture[str], **options: t.Any) -> dict[str, t.Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        pki_info.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def test_named_files_are_described_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_home(tmp_path)
    result = run(capsys, directory=str(tmp_path), files=["ca.key", "ca.crt", "none.crt"], _ansible_check_mode=True)
    assert not result["changed"]
    assert list(result["files"]) == ["ca.key", "ca.crt", "none.crt"]
    assert result["files"]["ca.key"]["matches"] == ["ca.crt"]
    assert not result["files"]["none.crt"]["exists"]


def test_a_directory_is_searched_for_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_home(tmp_path)
    assert list(run(capsys, directory=str(tmp_path))["files"]) == ["ca.crt", "ca.key"]


def test_a_missing_directory_has_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, directory=str(tmp_path / "none"))["files"] == {}
