# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks as Ansible's users know playbooks: tags, limits, check mode, defaults of modules, status."""

from __future__ import annotations

import re
import socket
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.playbooks.conftest import Gateways
from ansible_collections.kyma.mtls.tests.playbooks.place import ROOT, Place
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

ROLES = ["cluster", "modules", "server_pki", "client_pki", "gateway", "httpbin", "verify"]
LOCAL = ("--inventory", "localhost,", "-c", "local", "-e", "ansible_python_interpreter={{ ansible_playbook_python }}")
# What each role has to do when this is asked of it: so it shows whether its tasks were reached.
WORK = {
    "server_pki": {"server_pki_common_name": "gateway.example.org"},
    "gateway": {"gateway_tls_minimum_version": "TLSV1_3"},
}


def listed(outcome_output: str) -> list[str]:
    """The tasks of --list-tasks, without the validation of arguments, which Ansible adds."""
    tasks = re.findall(r"^      (\S.*?)\s+TAGS:", outcome_output, re.MULTILINE)
    return [task for task in tasks if "Validating arguments" not in task]


def content(*directories: Path) -> dict[str, bytes]:
    files = [path for directory in directories for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


def test_every_role_has_its_tag(place: Place) -> None:
    outcome = place.play("kyma.mtls.site", *LOCAL, "--list-tags")
    tags = re.findall(r"TASK TAGS: \[(.*)\]", outcome.output)
    assert tags == [", ".join(sorted(["always", "trust", *ROLES]))]


@pytest.mark.parametrize(
    ("arguments", "work", "is_reached"),
    [
        (("--tags", "server_pki"), "server_pki", True),
        (("--tags", "gateway"), "gateway", True),
        (("--tags", "gateway"), "server_pki", False),
        (("--skip-tags", "verify,server_pki"), "server_pki", False),
    ],
)
def test_tags_reach_all_tasks_of_their_roles_and_no_others(
    gateways: Gateways, arguments: tuple[str, str], work: str, is_reached: bool
) -> None:
    outcome = gateways.play("kyma.mtls.site", *arguments, "--check", limit="near", variables=WORK[work])
    assert outcome.code == 0, outcome.output[-5000:]
    assert (outcome.changed["near"] > 0) == is_reached
    ran = [task for task in outcome.tasks if "Validating arguments" not in task]
    named = set(arguments[1].split(","))
    found = {role for role in ROLES if [task for task in ran if f"kyma.mtls.{role} : " in task]}
    if arguments[0] == "--tags":
        assert found == named
    else:
        assert found == set(ROLES) - named


def test_a_run_can_start_at_any_task_that_is_listed(gateways: Gateways) -> None:
    tasks = listed(gateways.play("kyma.mtls.site", "--list-tasks").output)
    first = next(task for task in tasks if task.startswith("kyma.mtls.httpbin : "))
    outcome = gateways.play("kyma.mtls.site", "--check", "--start-at-task", first, limit="near")
    assert outcome.code == 0, outcome.output[-5000:]
    assert outcome.roles() >= {"httpbin", "verify"}
    assert not outcome.roles() & set(ROLES[:5])


def test_a_limit_leaves_the_other_hosts_alone(gateways: Gateways) -> None:
    outcome = gateways.play("kyma.mtls.status", limit="far")
    assert outcome.code == 0, outcome.output
    assert set(outcome.hosts) == {"far"}


def test_status_of_an_installed_site_says_in_one_line_that_all_is_well(gateways: Gateways) -> None:
    outcome = gateways.play("kyma.mtls.status", limit="near")
    assert outcome.code == 0, outcome.output
    assert "All is well." in outcome.output
    port = f"127.0.0.1:{gateways.ports['near']}"
    for words in ("envoy", "workload-test-httpbin", port, "server/server.crt", "PASSED"):
        assert words in outcome.output
    assert outcome.changed == {"near": 0}


def test_status_fails_where_something_is_not_well(place: Place) -> None:
    outcome = place.play("kyma.mtls.status", *LOCAL, variables={"mtls_home": str(place.controller / "nowhere")})
    assert outcome.code == 2
    assert "NOT WELL: there is no site in" in outcome.words


def test_verification_alone_finds_what_the_site_has_made(gateways: Gateways) -> None:
    outcome = gateways.play("kyma.mtls.verify", limit="near")
    assert outcome.code == 0, outcome.output[-5000:]
    assert "PASSED: " in outcome.output


def test_check_mode_of_every_playbook_on_a_finished_site_changes_nothing(gateways: Gateways) -> None:
    home = gateways.homes["near"]
    kept = (home / "pki", home / "report", home / "runtime/objects", home / "runtime/envoy")
    before = content(*kept)
    playbooks = " ".join(f"kyma.mtls.{name}" for name in ("site", "verify", "rotate", "revoke", "teardown", "status"))
    outcome = gateways.play(
        playbooks,
        *("--check", "--diff"),
        limit="near",
        variables={"rotate": "server", "client": "alice", "reissue": True, "mtls_purge": True},
    )
    assert outcome.code == 0, outcome.output[-5000:]
    assert outcome.changed["near"] > 0
    assert "PRIVATE KEY" not in outcome.output
    assert content(*kept) == before


@pytest.mark.parametrize("rotate", ["server_ca", "client_ca"])
def test_check_mode_of_a_rotation_of_a_ca_changes_nothing(gateways: Gateways, rotate: str) -> None:
    home = gateways.homes["near"]
    before = content(home / "pki")
    outcome = gateways.play("kyma.mtls.rotate", "--check", "--diff", limit="near", variables={"rotate": rotate})
    assert outcome.code == 0, outcome.output[-5000:]
    assert outcome.changed["near"] > 0
    assert content(home / "pki") == before


def test_check_mode_of_every_playbook_on_an_empty_home_makes_nothing(place: Place) -> None:
    home = place.controller / "empty"
    playbooks = " ".join(f"kyma.mtls.{name}" for name in ("site", "verify", "rotate", "teardown"))
    variables = {"mtls_home": str(home), "gateway_port": free_port(), "rotate": "server"}
    outcome = place.play(playbooks, *LOCAL, "--check", "--diff", variables=variables)
    assert outcome.code == 0, outcome.output[-5000:]
    assert outcome.changed["localhost"] > 0
    assert "PRIVATE KEY" not in outcome.output
    assert not home.exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"client_pki_clients": [{"name": "a", "key_type": "DSA"}]}, "value of key_type must be one of"),
        # The last role's argument, before the first one starts.
        ({"verify_timeout": "soon"}, "argument 'verify_timeout' is of type str"),
        ({"gateway_tls_mode": "NONE"}, "value of gateway_tls_mode must be one of"),
        ({"gateway_port": "https"}, "gateway_port"),
        ({"gateway_port": 70000}, "is not a TCP port"),
        ({"gateway_port": "taken"}, "is taken by another process"),
        ({"mtls_home": "file/home"}, "is not a directory. Choose another home"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    place: Place, variables: dict[str, t.Any], words: str
) -> None:
    home = place.controller / "refused"
    place.write("file", "in the way")
    given = {"mtls_home": str(home), "gateway_port": free_port(), **variables}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if given["gateway_port"] == "taken":
            given["gateway_port"] = listener.getsockname()[1]
        outcome = place.play("kyma.mtls.site", *LOCAL, variables=given)
    assert outcome.code == 2
    assert words in outcome.words, outcome.output[-3000:]
    assert not home.exists()


def test_defaults_of_modules_are_taken_for_one_module_and_for_a_group(place: Place) -> None:
    nowhere = str(place.controller / "no-kubeconfig")
    tasks: list[dict[str, t.Any]] = [
        {"name": "By the group of all", "kyma.mtls.site_info": {}, "register": "seen"},
        {
            "name": "By the module's own name, through its action",
            "kyma.mtls.local_runtime": {"state": "stopped"},
            "register": "stopped",
        },
        {
            "name": "What was taken is what was given",
            "ansible.builtin.assert": {"that": ["seen.expiries | length == 0", "stopped.environment is match(place)"]},
        },
        {"name": "By the group of those that ask a cluster", "kyma.mtls.kubernetes_apply": {"definition": []}},
    ]
    playbook = place.write(
        "defaults.yml",
        [
            {
                "name": "Defaults of modules",
                "hosts": "all",
                "gather_facts": False,
                "module_defaults": {
                    "group/kyma.mtls.mtls": {},
                    "group/kyma.mtls.kubernetes": {"kubeconfig": nowhere},
                    "kyma.mtls.site_info": {"home": f"{place.controller}/nothing"},
                    "kyma.mtls.local_runtime": {"path": f"{place.controller}/nothing"},
                },
                "vars": {"place": str(place.controller)},
                "tasks": tasks,
            }
        ],
    )
    outcome = place.play(str(playbook), *LOCAL)
    assert outcome.hosts["localhost"]["ok"] == 3, outcome.output
    assert nowhere in outcome.words


def test_nothing_of_the_checkout_is_installed_or_needed(gateways: Gateways) -> None:
    """Where the system allows it, the checkout did not even exist for all runs of this file."""
    place = gateways.place
    assert gateways.first.code == 0
    assert str(ROOT) not in gateways.first.output.replace(str(place.root), "")
    texts = [path.read_bytes() for path in (gateways.homes["near"] / "runtime/supervisor").rglob("*") if path.is_file()]
    assert texts
    assert not [text for text in texts if str(ROOT).encode() in text]
    assert not [path for path in place.collections.rglob("*") if path.is_symlink()]
