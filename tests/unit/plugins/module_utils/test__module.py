# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge between the collection's errors and Ansible."""

from __future__ import annotations

import importlib
import json
import sys
import typing as t

import cryptography
import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils import _module
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError


class FailedError(Exception):
    """What fail_json raises here."""


class Module:
    def __init__(self) -> None:
        self.params: dict[str, t.Any] = {}
        self.argument_spec: dict[str, t.Any] = {}
        self.no_log_values: set[str] = set()

    def fail_json(self, **result: t.Any) -> t.NoReturn:
        raise FailedError(result)


def failure_of(action: t.Callable[[t.Any], None]) -> dict[str, t.Any]:
    with pytest.raises(FailedError) as caught:
        action(Module())
    result: dict[str, t.Any] = caught.value.args[0]
    return result


def test_refusal_becomes_the_modules_failure_with_its_details() -> None:
    def refuse(module: t.Any) -> None:
        with _module.clean_failure(module):
            raise MtlsError("The key is not there.", path="/key")

    assert failure_of(refuse) == {"msg": "The key is not there.", "path": "/key"}


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(ValueError, match="a bug"), _module.clean_failure(t.cast("t.Any", Module())):
        raise ValueError("a bug")


def test_a_panic_of_cryptography_is_a_failure_in_words() -> None:
    panic = type("PanicException", (BaseException,), {})  # its class has no name that could be imported

    def fail(module: t.Any) -> None:
        with _module.clean_failure(module):
            raise panic("called `Result::unwrap()` on an `Err` value")

    assert "cryptography fails on a certificate" in failure_of(fail)["msg"]


def test_present_library_is_enough() -> None:
    _module.require_cryptography(t.cast("t.Any", Module()))


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)

    assert "cryptography" in failure_of(_module.require_cryptography)["msg"]


def test_old_library_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cryptography, "__version__", "43.0.3")

    message = failure_of(_module.require_cryptography)["msg"]

    assert "is 43.0.3 on the target host, but 44.0 or later is needed" in message


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("mtls_verify", "client_ca_key"),
        ("probe_kit", "client_key"),
        ("certificate_batch", "directory"),
        ("certificate_chain", "dest"),
        ("kubernetes_apply", "kubeconfig"),
    ],
)
def test_a_key_in_a_wrong_option_is_hidden_when_ansible_itself_refuses_the_arguments(
    name: str, option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ansible logs the arguments, and shows them at -vvv, before any code of a module runs."""
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, message, **more: logged.append(f"{message}{more}"))
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = pem.decode()
    module = importlib.import_module(f"ansible_collections.kyma.mtls.plugins.modules.{name}")
    with patch_module_args({option: key, "no_such_option": 1}), pytest.raises(SystemExit):
        module.main()
    out = capsys.readouterr().out
    assert json.loads(out)["failed"]
    for line in key.splitlines()[1:3]:
        assert line not in out + "".join(logged)
