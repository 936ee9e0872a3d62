# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's edge: options in, results, warnings and failures out."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import certificate_batch
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import Home, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def run(
    capsys: pytest.CaptureFixture[str], home: Home, *items: dict[str, t.Any], **options: t.Any
) -> tuple[dict[str, t.Any], str]:
    """Run the module; return its result and all that it printed."""
    arguments = {"ca_cert": str(home.ca_cert), "ca_key": str(home.ca_key), "register": str(home.register)}
    with patch_module_args({**arguments, "certificates": list(items), **options}), pytest.raises(SystemExit):
        certificate_batch.main()
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.out + captured.err


def test_certificates_are_issued_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    result, _text = run(capsys, home, home.client(), home.server())
    assert result["changed"]
    assert [one["name"] for one in result["changes"]] == ["curl", "server"]
    assert home.file(".crt").exists()
    result, _text = run(capsys, home, home.client(), home.server())
    assert not result["changed"]


def test_options_have_the_documented_defaults(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    minimal = {"name": "curl", "directory": str(home.path / "clients/curl"), "common_name": "curl"}
    result, _text = run(capsys, home, minimal)
    (facts,) = result["certificates"]
    assert facts["key"]["type"] == "RSA"
    assert facts["key"]["size"] == 2048
    assert facts["key_path"].endswith("clients/curl/client.key")


def test_check_mode_changes_nothing(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    result, _text = run(capsys, home, home.client(), _ansible_check_mode=True)
    assert result["changed"]
    assert not home.file(".key").exists()


def test_a_failure_names_the_certificate_and_the_file(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, home, home.client())
    home.file(".key").write_bytes(b"garbage")
    result, _text = run(capsys, home, home.client())
    assert result["failed"]
    assert f"Certificate curl: The private key in {home.file('.key')} cannot be read" in result["msg"]
    assert len(result["problems"]) == 1


def test_passwords_and_keys_are_in_no_output(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    client = home.client(p12={"password": "correct horse"})
    result, text = run(capsys, home, client, ca_key_passphrase="battery staple", _ansible_diff=True)  # noqa: S106  (a test's)
    assert result["changed"]
    for secret in ("correct horse", "battery staple", "PRIVATE KEY-----"):
        assert secret not in text


def test_a_common_name_that_is_left_out_is_warned_of(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    _result, text = run(capsys, home, home.server(common_name=f"www.{'a' * 62}.example.com"))
    assert "is left out" in text


def test_documentation_and_argument_spec_agree_on_names() -> None:
    documented = yaml.safe_load(certificate_batch.DOCUMENTATION)["options"]
    assert set(documented) == {
        *("ca_cert", "ca_key", "ca_key_passphrase", "ca_chain", "register", "certificates", "concurrency")
    }
    assert set(documented["certificates"]["suboptions"]) == {
        *("name", "directory", "basename", "common_name", "organization", "subject", "sans", "usage"),
        *("key_type", "key_size", "curve", "days", "renew_before", "p12", "state", "rekey"),
    }
