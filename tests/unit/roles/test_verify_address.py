# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the role verify connects to, and with which files: by what other roles publish, or by its own variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.servers import pki as pki_module

if t.TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[3]
FOREIGN = "https://127.0.0.2:1/whoami"
OURS = "https://httpbin.mtls.local.kyma.dev/headers"
# Variables, and where the role must connect to.
CASES: dict[str, tuple[Mapping[str, t.Any], str]] = {
    "local": ({"gateway_port": 9443}, "127.0.0.1:9443"),
    "local, empty value of old playbooks": ({"gateway_port": 9443, "verify_connect_to": ""}, "127.0.0.1:9443"),
    "local, old variable": ({"verify_gateway_port": 9444}, "127.0.0.1:9444"),
    "local, given": ({"verify_connect_to": "127.0.0.3:1"}, "127.0.0.3:1"),
    "local, another endpoint": ({"verify_url": FOREIGN}, "127.0.0.2:1"),
    "local, another host of the gateway": (
        {"verify_url": "https://other.mtls.local.kyma.dev/", "gateway_port": 9443},
        "127.0.0.1:9443",
    ),
    "local, another domain": (
        {"gateway_domain": "*.apps.test", "verify_url": "https://a.apps.test/", "gateway_port": 9443},
        "127.0.0.1:9443",
    ),
    "k3d": ({"mtls_platform": "k3d", "cluster_https_port": 9445}, "127.0.0.1:9445"),
    "k3d, another endpoint": ({"mtls_platform": "k3d", "verify_url": FOREIGN}, "127.0.0.2:1"),
    "k3d, another endpoint, empty value": (
        {"mtls_platform": "k3d", "verify_url": FOREIGN, "verify_connect_to": ""},
        "127.0.0.2:1",
    ),
    "k3d, another endpoint, given": (
        {"mtls_platform": "k3d", "verify_url": FOREIGN, "verify_connect_to": "127.0.0.3:1"},
        "127.0.0.3:1",
    ),
    "kubernetes": ({"mtls_platform": "kubernetes", "gateway_address": "127.0.0.3:2"}, "127.0.0.3:2"),
    "kubernetes, another endpoint": (
        {"mtls_platform": "kubernetes", "gateway_address": "127.0.0.3:2", "verify_url": FOREIGN},
        "127.0.0.2:1",
    ),
    "kubernetes for this role alone": (
        {"verify_platform": "kubernetes", "gateway_address": "127.0.0.3:2"},
        "127.0.0.3:2",
    ),
    "k3d for this role alone": ({"verify_platform": "k3d", "cluster_https_port": 9446}, "127.0.0.1:9446"),
    "local for this role alone": (
        {"mtls_platform": "k3d", "verify_platform": "local", "gateway_port": 9447},
        "127.0.0.1:9447",
    ),
}


def play(
    directory: Path, document: dict[str, t.Any], inventory: str = "localhost,"
) -> subprocess.CompletedProcess[str]:
    (directory / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, **document}]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", inventory, str(directory / "play.json")]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def role(name: str, tasks_from: str = "main") -> dict[str, t.Any]:
    return {"name": name, "ansible.builtin.include_role": {"name": f"kyma.mtls.{name}", "tasks_from": tasks_from}}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the role verify says on one host for each case; nothing listens anywhere."""
    directory = tmp_path_factory.mktemp("addresses")
    pki = pki_module.make_pki(directory / "pki")
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "mtls_home": str(directory / "home"),
        "verify_client_cert": pki.client.crt,
        "verify_client_key": pki.client.key_file,
        "verify_ca": [pki.server_ca.crt],
        "verify_client_ca_cert": [],
        "verify_client_ca_key": "",
        "verify_clients": [],
        "verify_crl": "",
        "verify_checks": ["MV-23"],
        "verify_timeout": 2,
        "verify_wait_for": 0,
        "verify_fail_on": "never",
        "verify_report_dir": "",
        "ansible_become": False,
    }
    hosts = {f"case-{number}": {**common, **variables} for number, (variables, _to) in enumerate(CASES.values())}
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    done = play(directory, {"tasks": [role("verify")]}, str(inventory))
    words = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, words[-4000:]
    assert "The variable verify_gateway_port is deprecated. Use gateway_port." in words
    return {
        title: found[1]
        if (found := re.search(rf"ok: \[case-{number}\] => .*?OUTAGE: \S+ at (\S+?)[,;:]? ", words))
        else words
        for number, title in enumerate(CASES)
    }


@pytest.mark.parametrize("case", CASES)
def test_the_role_connects_to(case: str, told: dict[str, str]) -> None:
    assert told[case] == CASES[case][1]


def test_files_are_found_where_the_other_roles_have_put_them(tmp_path: Path) -> None:
    """Neither the directories of the PKI roles nor those of the gateway are below mtls_home."""
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "mtls_home": str(tmp_path / "home"),
        "server_pki_key_type": "ECDSA",
        "client_pki_key_type": "ECDSA",
    }
    show = {
        "name": "Show",
        "ansible.builtin.debug": {
            "msg": "{{ [verify_ca, verify_client_cert, verify_client_ca_cert, verify_client_ca_key, verify_crl,"
            " gateway_server_chain, gateway_server_key, gateway_client_ca_bundle, client_pki_handover_server_ca] }}"
        },
    }
    published = [role("server_pki"), role("client_pki")]
    published[0]["vars"] = {"server_pki_directory": str(tmp_path / "server")}
    published[1]["vars"] = {"client_pki_directory": str(tmp_path / "clients")}
    others = [{"role": f"kyma.mtls.{name}", "when": False} for name in ("verify", "gateway", "client_pki")]
    done = play(tmp_path, {"vars": variables, "roles": others, "tasks": [*published, show]})
    assert done.returncode == 0, done.stdout[-4000:]
    for path in (
        "server/ca.crt",
        "server/server-chain.pem",
        "server/server.key",
        "clients/ca-bundle.crt",
        "clients/ca.key",
        "clients/ca.crl",
        "clients/clients/curl/client-chain.pem",
    ):
        assert str(tmp_path / path) in done.stdout, path
    assert "home/pki" not in done.stdout
