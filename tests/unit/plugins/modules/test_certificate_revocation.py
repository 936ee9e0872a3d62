# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's edge: options in, result out."""

from __future__ import annotations

import datetime
import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import certificate_revocation
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, Home, make_home


def run(home: Home, capsys: pytest.CaptureFixture[str], **options: t.Any) -> dict[str, t.Any]:
    given = {
        "register": str(home.register),
        "crl": str(home.path / "ca.crl"),
        "authorities": [{"certificate": str(home.ca_cert), "key": str(home.ca_key)}],
    }
    with patch_module_args(given | options), pytest.raises(SystemExit):
        certificate_revocation.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.fixture
def home(tmp_path: Path) -> Home:
    now = datetime.datetime.now(datetime.UTC)
    made = make_home(tmp_path, start=now - DAY)
    made.run(made.client("curl"), now=now)
    return made


def test_a_revocation_is_predicted_made_and_settled(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"names": ["curl"], "clients": str(home.path / "clients"), "keep": str(home.path / "revoked")}
    predicted = run(home, capsys, **more, _ansible_check_mode=True)
    assert predicted["changed"]
    done = run(home, capsys, **more)
    assert done["revoked"] == predicted["revoked"]
    assert done["kept"] == {"curl": str(home.path / "revoked" / "curl")}
    assert not run(home, capsys, **more)["changed"]
    assert not run(home, capsys)["changed"]


def test_what_cannot_be_done_is_told(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(home, capsys, names=["nemo"])
    assert result["failed"]
    assert "nemo never got a certificate" in result["msg"]
