# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handing over and trusting by the roles, as a user would run them."""

from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import make_home
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import EC, Play


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def clients(*names: str, **others: str) -> dict[str, t.Any]:
    """Variables with clients: ``names`` present, ``others`` with a state."""
    listed = [{"name": name} for name in names] + [{"name": name, "state": state} for name, state in others.items()]
    return {**EC, "client_pki_clients": listed}


def test_clients_come_and_go_with_what_they_were_handed(play: Play) -> None:
    assert play.run("server_pki", "client_pki", variables=clients("curl", "robot")).changed > 0
    client = play.pki / "client"
    script = (client / "clients/robot/curl.sh").read_text()
    assert "--connect-to ::127.0.0.1:8443 " in script
    assert "https://httpbin.mtls.local.kyma.dev/headers" in script
    root = (play.pki / "server/ca.crt").read_bytes()
    assert (client / "clients/robot/server-ca.crt").read_bytes() == root
    assert play.run("client_pki", variables=clients("curl", "robot")).changed == 0

    gone = play.run("client_pki", variables=clients("curl", robot="absent"), arguments=("--check",))
    assert gone.changed > 0
    assert (client / "clients/robot/client.key").exists()
    assert play.run("client_pki", variables=clients("curl", robot="absent")).changed > 0
    assert not (client / "clients/robot").exists()
    assert (client / "clients/curl/curl.sh").exists()
    assert play.run("client_pki", variables=clients("curl", robot="absent")).changed == 0


# Without HTTPBin, clients are given the address of the first workload that is there.
SHOPS = [
    {"name": "old", "hosts": ["old.mtls.local.kyma.dev"], "state": "absent"},
    {"name": "new", "hosts": ["new.mtls.local.kyma.dev"], "paths": [{"path": "/api/{**}"}]},
]


HTTPBIN = "https://httpbin.mtls.local.kyma.dev/headers"


@pytest.mark.parametrize(
    ("platform", "connect_to", "url"),
    [
        ({"mtls_platform": "local", "gateway_port": 9443}, "127.0.0.1:9443", HTTPBIN),
        (
            {"mtls_platform": "k3d", "cluster_https_port": 9444, "httpbin_enabled": False, "httpbin_workloads": SHOPS},
            "127.0.0.1:9444",
            "https://new.mtls.local.kyma.dev/api/",
        ),
        ({"mtls_platform": "kubernetes", "gateway_address": "192.0.2.1:443"}, "192.0.2.1:443", HTTPBIN),
        (
            {"mtls_platform": "kubernetes", "mtls_workload_domain": "www.example.com"},
            "",
            "https://www.example.com/headers",
        ),
    ],
)
def test_every_platform_has_its_address(play: Play, platform: dict[str, t.Any], connect_to: str, url: str) -> None:
    (play.pki / "server").mkdir(parents=True)
    (play.pki / "client/clients/curl").mkdir(parents=True)
    for file in ("server/ca.crt", "client/clients/curl/client.crt"):  # the content is not what this is about
        (play.pki / file).write_text("-----BEGIN CERTIFICATE-----\n")
    tasks = [{"ansible.builtin.include_role": {"name": "kyma.mtls.client_pki", "tasks_from": "hand_over"}}]
    play.run_play([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], platform)
    script = (play.pki / "client/clients/curl/curl.sh").read_text()
    assert url in script
    assert ("--connect-to" in script) == bool(connect_to)
    assert f"::{connect_to}" in script or not connect_to


def test_the_role_works_without_a_server_and_without_handing_over(play: Play) -> None:
    alone = play.run("client_pki", variables=EC)
    assert alone.changed > 0
    assert "server/ca.crt does not exist" in alone.words
    assert play.run("client_pki", variables=EC).changed == 0
    assert play.run("server_pki", "client_pki", variables=EC | {"client_pki_handover": False}).changed > 0
    assert sorted(path.name for path in (play.pki / "client/clients/curl").iterdir()) == [
        "client-chain.pem",
        "client.crt",
        "client.key",
    ]


def test_the_gateway_s_ca_is_trusted_on_request_and_taken_out_by_the_teardown(play: Play) -> None:
    if shutil.which("certutil") is None:
        pytest.skip("certutil (NSS) is not installed")
    database = play.directory / "nssdb"
    variables = EC | {"trust_nss": [str(database)]}
    roles = ("server_pki", "client_pki", "trust")
    predicted = play.run(*roles, variables=variables, arguments=("--check",))
    assert predicted.changed > 0
    assert not play.home.exists()
    assert play.run(*roles, variables=variables).changed > 0
    assert listed(database) == 1
    assert json.loads((play.home / "trust.json").read_text())["databases"] == [str(database)]
    assert play.run(*roles, variables=variables).changed == 0

    teardown = [{"ansible.builtin.import_playbook": "kyma.mtls.teardown"}]
    assert play.run_play(teardown, {"mtls_purge": True}).changed > 0  # without the variables of the site
    assert listed(database) == 0
    assert not play.home.exists()


@pytest.mark.parametrize(
    ("role", "variable", "value"),
    [
        ("client_pki", "client_pki_handover_archive_passwords", {"curl": "correct horse battery"}),
        ("trust", "trust_nss_clients", []),
    ],
)
def test_a_variable_of_an_earlier_version_is_refused_by_name(
    play: Play, role: str, variable: str, value: t.Any
) -> None:
    failed = play.run(role, variables=EC | {variable: value})
    assert failed.code != 0
    assert f"{variable} is gone" in failed.words


# Becomes one who has another home, and to whom the system's store is there to be written to.
BECOME_ROOT = """
from __future__ import annotations

DOCUMENTATION = '''
name: root_of_test
short_description: becomes root as far as a role can tell
description: In a test.
author: The kyma.mtls authors
options:
  become_user:
    description: Whom to become.
    default: root
    keyword: [{name: become_user}]
'''

import shlex

from ansible.plugins.become import BecomeBase


class BecomeModule(BecomeBase):
    name = "root_of_test"

    def build_become_command(self, cmd, shell):
        super().build_become_command(cmd, shell)
        assert self.get_option("become_user") == "root"
        return f"mkdir -p {shlex.quote(STORE)}; HOME={shlex.quote(HOME)} {self._build_success_command(cmd, shell)}"
"""


def test_root_trusts_the_ca_of_the_user_and_not_one_in_a_home_of_its_own(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, of_root = play.directory / "anchors", play.directory / "root"
    plugins = play.directory / "become_plugins"
    plugins.mkdir()
    places = f"STORE, HOME = {str(store)!r}, {str(of_root)!r}\n"
    (plugins / "root_of_test.py").write_text(BECOME_ROOT + places)
    homes = {}
    for home in (play.directory, of_root):
        (home / "home/pki/server").mkdir(parents=True)
        homes[home] = make_home(home / "home/pki/server")
    monkeypatch.setenv("HOME", str(play.directory))
    monkeypatch.setenv("ANSIBLE_BECOME_PLUGINS", str(plugins))
    monkeypatch.setenv("ANSIBLE_BECOME_ALLOW_SAME_USER", "true")  # where root runs the tests
    variables = {
        "mtls_home": "~/home",
        "ansible_become_method": "root_of_test",
        "trust_system": True,
        "trust_system_directory": str(store),
        "trust_system_command": ["true"],
    }
    # The user whom the rest of the play becomes is not the one who may write to the store.
    plays = [
        {"hosts": "localhost", "gather_facts": False, "become_user": "somebody", "roles": ["kyma.mtls.trust"]},
    ]
    assert play.run_play(plays, variables).changed > 0
    (taken_in,) = store.iterdir()
    assert taken_in.read_bytes() == homes[play.directory].ca_cert.read_bytes()
    assert play.run_play(plays, variables).changed == 0
    # As -e trust_system=false gives it.
    assert play.run_play(plays, {**variables, "trust_system": "false"}).changed > 0
    assert not list(store.iterdir())
    assert play.run_play(plays, variables).changed > 0
    remove = {"ansible.builtin.include_role": {"name": "kyma.mtls.trust", "tasks_from": "remove"}}
    assert play.run_play([{"hosts": "localhost", "gather_facts": False, "tasks": [remove]}], variables).changed > 0
    assert not list(store.iterdir())
    assert not (play.home / "trust.json").exists()


def listed(database: Path) -> int:
    command = [shutil.which("certutil") or "", "-L", "-d", f"sql:{database}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.count(",,") + done.stdout.count("u,u,u")
