# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's edge: names in, files out, passwords nowhere."""

from __future__ import annotations

import datetime
import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import client_handover
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, Home, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path, start=datetime.datetime.now(datetime.UTC) - DAY)
    made.run(made.client(), now=datetime.datetime.now(datetime.UTC))
    return made


def run(capsys: pytest.CaptureFixture[str], home: Home, **options: t.Any) -> tuple[dict[str, t.Any], str]:
    arguments = {
        "directory": str(home.path / "clients"),
        "clients": ["curl"],
        "url": "https://www.example.com/",
        "server_ca": str(home.ca_cert),
    }
    with patch_module_args({**arguments, **options}), pytest.raises(SystemExit):
        client_handover.main()
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.out + captured.err


def test_a_client_is_handed_over_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    result, _text = run(capsys, home, _ansible_check_mode=True)
    assert result["changed"]
    assert not home.file(".crt").with_name("curl.sh").exists()
    (home.path / "fleet.csv").write_text("name,state\ncurl,\nformer,absent\n", encoding="utf-8")
    result, _text = run(capsys, home, clients=[], clients_file=str(home.path / "fleet.csv"))
    assert [Path(one["path"]).name for one in result["changes"]] == ["curl.sh", "README.md", "server-ca.crt"]
    result, _text = run(capsys, home)
    assert not result["changed"]


def test_keys_are_in_no_output(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    result, text = run(capsys, home, _ansible_diff=True)
    assert result["changed"]
    assert "PRIVATE KEY-----" not in text


def test_failures_and_warnings_are_in_words(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    result, _text = run(capsys, home, url="http://www.example.com/")
    assert result["failed"]
    assert "is not an https:// address" in result["msg"]
    result, text = run(capsys, home, server_ca=str(home.path / "none.crt"))
    assert not result["changed"]
    assert "none.crt does not exist" in text


def test_documentation_and_argument_spec_agree_on_names() -> None:
    documented = yaml.safe_load(client_handover.DOCUMENTATION)["options"]
    assert set(documented) == {"directory", "clients", "clients_file", "url", "connect_to", "server_ca"}
