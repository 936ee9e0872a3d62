# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole site on this machine whose CAs have their keys in a token, by the project's own playbooks."""

from __future__ import annotations

import json
import tempfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit import softhsm
from ansible_collections.kyma.mtls.tests.unit.roles import test_pki_roles as pki_roles

#: The checks that take the key of a CA.
DEMANDED = ["MV-27", "MV-28", "MV-31", "MV-32", "MV-34"]
CLIENTS = [{"name": "curl", "common_name": "ML Client Curl"}, {"name": "robot"}]


def playbook(*names: str) -> list[dict[str, t.Any]]:
    return [{"ansible.builtin.import_playbook": f"kyma.mtls.{name}"} for name in names]


def test_a_site_whose_ca_keys_are_in_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="x-", dir="/tmp") as name:  # sockets have short names
        directory = Path(name)
        token = softhsm.make_token(directory / "hsm")
        monkeypatch.setenv(*next(iter(token.environment.items())))
        token.create_key("server-ca", identifier="01")
        token.create_key("client-ca", identifier="02")
        play = pki_roles.Play(directory)
        variables = {
            "gateway_port": free_port(),
            "server_pki_key_type": "ECDSA",
            "client_pki_key_type": "ECDSA",
            "server_pki_ca_key": token.key("server-ca"),
            "client_pki_ca_key": token.key("client-ca"),
            "client_pki_clients": CLIENTS,
            "verify_checks": [*DEMANDED, "MV-23", "MV-24", "MV-29"],
        }
        try:
            first = play.run_play(playbook("site"), variables | {"verify_require_checks": DEMANDED}, "-vvv", "--diff")
            assert first.changed > 0
            assert softhsm.PIN not in first.output
            assert "Create the client root CA" in first.words
            assert "in the token 'kyma'" in first.words
            places = {path.parent.name for path in play.pki.rglob("*.key")}
            assert places == {"server", "curl", "robot"}  # leaves only
            assert not list(play.pki.rglob("ca.key"))
            second = play.run_play(playbook("site"), variables)
            assert second.changed == 0
        finally:
            last = play.run_play(playbook("revoke", "teardown"), variables | {"client": "robot"})
            if last.code != 0:  # a play that fails is the last one
                play.run_play(playbook("teardown"), variables)
        assert last.changed > 0
        checks = {check["id"]: check for check in json.loads((play.home / "report/verify.json").read_text())["checks"]}
        assert checks["MV-29"]["outcome"] == "passed"
        assert any("revoked serial number" in case["name"] for case in checks["MV-29"]["cases"])
        found = [path for path in play.home.rglob("*") if path.is_file()]
        assert not [path for path in found if softhsm.PIN.encode() in path.read_bytes()]
