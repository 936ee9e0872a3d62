# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arguments of several roles, validated before the first one starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
ROLES = ["cluster", "modules", "server_pki", "client_pki", "gateway", "httpbin", "verify"]
CASES: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "nothing is set": ({}, []),
    "right values": ({"gateway_port": 9443, "client_pki_clients": [{"name": "a"}], "verify_skip": ["MV-01"]}, []),
    "values as text": ({"gateway_port": "9443", "server_pki_intermediate": "yes"}, []),
    "a template": ({"gateway_port": "{{ 9000 + 443 }}", "gateway_tls_mode": "{{ 'SIMPLE' }}"}, []),
    "wrong values in two roles": (
        {"gateway_tls_mode": "NONE", "verify_timeout": "soon"},
        ["value of gateway_tls_mode must be one of", "argument 'verify_timeout' is of type str"],
    ),
    "a template of a wrong value": ({"gateway_port": "{{ 'https' }}"}, ["argument 'gateway_port' is of type"]),
    "inside a list": ({"client_pki_clients": [{"common_name": "a"}]}, ["missing required arguments: name"]),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the action says in each case; the roles are part of the play, or not."""
    directory = tmp_path_factory.mktemp("validate")
    hosts = {
        f"case-{number}": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        for number, (variables, _words) in enumerate(CASES.values())
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    task = {"name": "Validate", "kyma.mtls.validate_roles": {"roles": ROLES}, "ignore_errors": True}
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "{{ found.msg | default('') }}"}}
    tasks = [{**task, "register": "found"}, show]
    loaded = [{"role": f"kyma.mtls.{role}", "when": False} for role in ROLES]
    play = {"hosts": "all", "gather_facts": False}
    (directory / "play.json").write_text(
        json.dumps([{**play, "tasks": tasks}, {**play, "pre_tasks": tasks, "roles": loaded}])
    )
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", directory / "inventory.json", directory / "play.json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    found: dict[str, list[str]] = {title: [] for title in CASES}
    for part in done.stdout.split("TASK [Show]")[1:]:
        for number, title in enumerate(CASES):
            start = part.index(f"ok: [case-{number}] => ") + len(f"ok: [case-{number}] => ")
            found[title].append(json.JSONDecoder().raw_decode(part[start:])[0]["msg"])
    return found


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_told_whether_the_roles_are_in_the_play_or_not(case: str, told: dict[str, list[str]]) -> None:
    wanted = CASES[case][1]
    assert len(told[case]) == 2
    for message in told[case]:
        assert len(message.splitlines()) == len(wanted), message
        for words in wanted:
            assert words in message
