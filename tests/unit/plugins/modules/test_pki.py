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

from ansible_collections.kyma.mtls.plugins.doc_fragments import _signer
from ansible_collections.kyma.mtls.plugins.modules import pki

CA = {"subject": [{"O": "Test Org"}, {"CN": "Test Root"}], "key_type": "ECDSA"}
EC = {"key_type": "ECDSA", "organization": "Test Org"}


def run(capsys: pytest.CaptureFixture[str], **options: t.Any) -> tuple[dict[str, t.Any], str]:
    """Run the module; return its result and all that it printed."""
    with patch_module_args({"ca": CA, "defaults": EC} | options), pytest.raises(SystemExit):
        pki.main()
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.out + captured.err


def clients(path: Path, *people: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"usage": "client", "directory": str(path / "client"), "certificates": list(people) or [{"name": "curl"}]}


def server(path: Path, **changes: t.Any) -> dict[str, t.Any]:
    certificate = {"name": "server", "sans": ["DNS:www.mtls.test"]} | changes
    return {"usage": "server", "directory": str(path / "server"), "certificates": [certificate]}


def test_a_side_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (server(tmp_path), clients(tmp_path)):
        result, _text = run(capsys, **options)
        assert result["changed"]
        assert result["changes"][0]["reasons"] == ["there is no certificate yet"]
        result, _text = run(capsys, **options, _ansible_check_mode=True)
        assert not result["changed"]


def test_check_mode_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _text = run(capsys, **server(tmp_path), _ansible_check_mode=True, _ansible_diff=True)
    assert "Create the server root CA" in result["diff"]["after"]
    assert list(tmp_path.iterdir()) == []


def test_options_have_the_documented_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = server(tmp_path) | {"ca": {"subject": CA["subject"]}, "defaults": {}}
    result, _text = run(capsys, **options, _ansible_check_mode=True)
    assert "key RSA 2048, 3650 days, for DNS:www.mtls.test only" in result["actions"][0]
    assert "a new RSA 2048 key, for 365 days" in result["diff"]["after"]


def test_the_pin_of_a_token_is_in_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = {"module": "/no/module.so", "token": "kyma", "label": "ca", "pin": "battery-staple-77"}
    keys = {"ca_key": {"pkcs11": place}, "previous_ca_keys": [{"pkcs11": place | {"pin": "battery-staple-78"}}]}
    result, text = run(capsys, **clients(tmp_path), **keys, _ansible_diff=True, _ansible_verbosity=3)
    assert result["failed"]
    if "invocation" in result:  # ansible-core 2.21 shows arguments only on request
        assert result["invocation"]["module_args"]["ca_key"]["pkcs11"]["label"] == "ca"
    assert "battery" not in text


def test_a_failure_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **clients(tmp_path))
    (tmp_path / "client/ca.crt").unlink()
    result, _text = run(capsys, **clients(tmp_path))
    assert result["failed"]
    assert "is missing, but what belongs to it is there" in result["msg"]


def test_passphrases_passwords_and_keys_are_in_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    person = {"name": "curl", "p12": {"password": "correct horse"}}
    options = clients(tmp_path, person) | {"ca_key_passphrase": "battery staple", "_ansible_diff": True}
    result, text = run(capsys, **options)
    assert result["changed"]
    key = (tmp_path / "client/clients/curl/client.key").read_text()
    content = {"ca": str(tmp_path / "client/ca.crt"), "ca_key_content": (tmp_path / "client/ca.key").read_text()}
    _result, more = run(capsys, **options, provided=content)
    finished = {"certificate": str(tmp_path / "client/clients/curl/client-chain.pem"), "key_content": key}
    other = clients(tmp_path / "other", {"name": "curl"} | finished)
    result, most = run(capsys, **other, provided={"ca": content["ca"]})
    assert result["changed"]
    for secret in ("correct horse", "battery staple", "PRIVATE KEY-----", key.splitlines()[1]):
        assert secret not in text + more + most


@pytest.mark.parametrize("option", ["ca", "ca_key", "certificate", "chain", "key"])
def test_a_key_in_an_option_that_is_not_for_one_is_refused_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    run(capsys, **clients(tmp_path))
    key = (tmp_path / "client/clients/curl/client.key").read_text()
    both = (tmp_path / "client/ca.crt").read_text() + key
    given = {"provided": {"ca": str(tmp_path / "client/ca.crt")}}
    person = {"name": "curl"} | ({option: both} if option in {"certificate", "chain", "key"} else {})
    given["provided"] |= {option: both} if option in {"ca", "ca_key"} else {}
    result, text = run(capsys, **clients(tmp_path / "other", person), **given)
    assert result["failed"]
    assert f"{option} " in result["msg"] or f"provided.{option}" in result["msg"]
    assert "private key" in result["msg"]
    assert key.splitlines()[1] not in text
    assert not (tmp_path / "other").exists()


def test_what_a_person_should_know_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = f"www.{'a' * 62}.mtls.test"
    _result, text = run(capsys, **server(tmp_path, common_name=long, sans=[f"DNS:{long}"]))
    assert "is left out" in text
    run(capsys, **clients(tmp_path))
    _result, text = run(capsys, **clients(tmp_path) | {"ca_key_passphrase": "battery staple"})
    assert "is not encrypted" in text
    assert "battery staple" not in text


def test_documentation_and_argument_spec_agree() -> None:
    def compare(documented: dict[str, t.Any], spec: dict[str, t.Any], where: str) -> None:
        assert set(documented) == set(spec), where
        for name, option in spec.items():
            own = documented[name]
            for part in ("type", "elements", "choices", "default", "required"):
                assert own.get(part) == option.get(part), f"{where}{name}: {part}"
            compare(own.get("suboptions", {}), option.get("options", {}), f"{where}{name}.")

    documented = yaml.safe_load(pki.DOCUMENTATION)["options"]
    for name, shared in yaml.safe_load(_signer.ModuleDocFragment.PKI)["options"].items():
        documented[name] = shared | documented[name]
    compare(documented, pki.argument_spec(), "")
