# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module site_info as Ansible calls it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import site_info
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import samples


def call(capsys: pytest.CaptureFixture[str], home: pathlib.Path) -> dict[str, t.Any]:
    with patch_module_args({"home": str(home)}), pytest.raises(SystemExit):
        site_info.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def test_what_is_not_well_is_a_fact_and_no_failure(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, tmp_path / "nowhere")
    assert not result.get("failed")
    assert (result["changed"], result["is_well"]) == (False, False)
    assert result["problems"] == [f"there is no site in {tmp_path}/nowhere"]
    assert result["lines"][-1] == result["verdict"]


def test_moments_are_told_in_iso_8601(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/ca.crt").write_bytes(samples.Authority("ML Client Root CA", "ML Client Org").pem)
    (tmp_path / "report").mkdir()
    (tmp_path / "report/verify.json").write_text('{"verdict": "passed", "counts": {"passed": 1}}', encoding="utf-8")
    result = call(capsys, tmp_path)
    assert result["is_well"]
    assert result["expiries"][0]["not_after"].endswith("+00:00")
    assert result["verification"]["when"].endswith("+00:00")
    assert (result["processes"], result["ports"]) == ([], [])
