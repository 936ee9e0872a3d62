# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module local_apply as Ansible calls it."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import local_apply
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes


@pytest.fixture(scope="module")
def runtime() -> t.Iterator[runtimes.Runtime]:
    with runtimes.runtime() as made:
        yield made


def run(
    capsys: pytest.CaptureFixture[str], arguments: dict[str, t.Any], **internal: t.Any
) -> tuple[dict[str, t.Any], str]:
    """The module's result, and everything that it printed."""
    arguments = {**arguments, **{f"_ansible_{key}": value for key, value in internal.items()}}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        local_apply.main()
    captured = capsys.readouterr()
    result: dict[str, t.Any] = json.loads(captured.out)
    return result, captured.out + captured.err


def test_objects_come_to_life_are_left_alone_and_are_taken_back(
    runtime: runtimes.Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = runtime.parameters()

    predicted, _text = run(capsys, arguments, check_mode=True, diff=True)
    assert predicted["changed"]
    assert not runtime.layout.envoy.exists()

    first, text = run(capsys, arguments, diff=True)
    assert first["changed"]
    assert first["addresses"] == [f"127.0.0.1:{runtime.port}"]
    assert first["pending"] == []
    assert "run envoy" in first["actions"]
    assert "Gateway test/kyma-mtls-gateway" in first["diff"]["after"]
    assert "CN=ML Client Root CA" in first["diff"]["after"]
    assert first["diff"]["before"] == "{}\n"
    assert "-----BEGIN" not in text
    assert predicted["diff"] == first["diff"]
    assert predicted["actions"] == first["actions"]
    assert runtime.get().status == 200

    for check_mode in (True, False):
        second, _text = run(capsys, arguments, check_mode=check_mode, diff=True)
        assert (second["changed"], second["actions"], second["diff"]) == (
            False,
            [],
            {"before": "{}\n", "after": "{}\n"},
        )

    last, _text = run(capsys, {**arguments, "state": "absent"}, diff=True)
    assert last["changed"]
    assert last["addresses"] == []
    assert last["diff"]["before"] != "{}\n"


def test_refusal_is_a_failure_without_a_traceback(
    runtime: runtimes.Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    key = runtime.pki.put("other.key", runtime.pki.client[1])
    arguments = runtime.parameters(secrets=[runtime.pki.server_secret(**{"tls.key": key})])

    result, text = run(capsys, arguments)

    assert result["failed"]
    assert "the private key does not belong to" in result["msg"]
    assert "-----BEGIN" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("ports", [{"https": 8443}, {"443": 0}])
def test_wrong_port_is_a_failure(
    runtime: runtimes.Runtime, capsys: pytest.CaptureFixture[str], ports: dict[str, t.Any]
) -> None:
    result, _text = run(capsys, runtime.parameters(ports=ports))

    assert result["failed"]
    assert "is not a TCP port (1 to 65535)" in result["msg"]
