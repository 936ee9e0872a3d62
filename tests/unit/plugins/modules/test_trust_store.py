# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's edge: a certificate and stores in, what changed out."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import trust_store
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import make_home


def run(capsys: pytest.CaptureFixture[str], **options: t.Any) -> tuple[dict[str, t.Any], str]:
    with patch_module_args(options), pytest.raises(SystemExit):
        trust_store.main()
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.out + captured.err


def test_a_ca_is_put_in_and_taken_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = make_home(tmp_path)
    store = tmp_path / "anchors"
    store.mkdir()
    record = str(tmp_path / "trust.json")
    place = {"system_directory": str(store), "system_command": ["true"], "record": record}
    options = {"certificate": str(home.ca_cert), "system": True, **place}
    assert run(capsys, _ansible_check_mode=True, **options)[0]["changed"]
    assert not list(store.iterdir())
    assert run(capsys, **options)[0]["changes"] == [f"{next(store.iterdir())}: trusted"]
    assert not run(capsys, **options)[0]["changed"]
    assert run(capsys, state="absent", **place)[0]["changed"]
    assert not list(store.iterdir())


def test_a_failure_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _text = run(capsys, certificate=str(tmp_path / "ca.crt"), system=True)
    assert result["failed"]
    assert "ca.crt does not exist" in result["msg"]
    result, _text = run(capsys)
    assert "certificate" in result["msg"]
