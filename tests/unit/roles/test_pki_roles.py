# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles server_pki and client_pki by ansible-playbook, as a user would run them.

KYMA_MTLS_KILLS=100 kills as many further runs with kill -9 at random moments.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml

import ansible_collections.kyma.mtls.plugins.module_utils as collection

COLLECTION = Path(next(iter(collection.__path__))).parents[1]
ROLES = ("server_pki", "client_pki", "trust")
KILLS = int(os.environ.get("KYMA_MTLS_KILLS", "0"))
EC = {"server_pki_key_type": "ECDSA", "client_pki_key_type": "ECDSA"}


class Play:
    """Playbook runs on one home."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.pki = self.home / "pki"
        (directory / "ansible.cfg").write_text("")  # not that of the checkout or of the user

    def command(self, play: list[dict[str, t.Any]], variables: dict[str, t.Any], *arguments: str) -> list[str]:
        (self.directory / "play.yml").write_text(json.dumps(play))
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "mtls_home": str(self.home),
        }
        (self.directory / "variables.json").write_text(json.dumps(common | variables))
        program = Path(sys.executable).with_name("ansible-playbook")
        inventory_and_variables = ["-i", "localhost,", "-e", f"@{self.directory / 'variables.json'}"]
        return [str(program), *inventory_and_variables, *arguments, str(self.directory / "play.yml")]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION.parents[2]),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def run(
        self,
        *roles: str,
        variables: dict[str, t.Any] | None = None,
        arguments: tuple[str, ...] = (),
        killed_after: str = "",
    ) -> Outcome:
        play = [{"hosts": "localhost", "gather_facts": False, "roles": [f"kyma.mtls.{role}" for role in roles]}]
        return self.run_play(play, variables or {}, *arguments, killed_after=killed_after)

    def run_play(
        self, play: list[dict[str, t.Any]], variables: dict[str, t.Any], *arguments: str, killed_after: str = ""
    ) -> Outcome:
        """Run a play; with ``killed_after``, all its processes are killed after the task of that name."""
        killed = {
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "killed_after_change",
            "KILLED_AFTER": killed_after,
        }
        done = subprocess.run(
            self.command(play, variables, *arguments),
            capture_output=True,
            text=True,
            check=False,
            env=self.environment | (killed if killed_after else {}),
            start_new_session=bool(killed_after),
        )
        return Outcome(done.returncode, done.stdout + done.stderr)

    def tree(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.home)): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}


class Outcome:
    """What a run ended with."""

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output
        self.words = re.sub(r"\s+", " ", output).replace("''", "'")

    @property
    def changed(self) -> int:
        assert self.code == 0, self.output
        found = re.search(r"changed=(\d+)", self.output)
        assert found is not None, self.output
        return int(found[1])


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def openssl_verifies(anchor: Path, leaf: Path, *untrusted: Path) -> bool:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    others = [argument for path in untrusted for argument in ("-untrusted", str(path))]
    command = [openssl, "verify", "-x509_strict", "-CAfile", str(anchor), *others, str(leaf)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_home_from_nothing_to_settled(play: Play) -> None:
    """Prediction, first run, second run, check mode on the result; no key in any output."""
    verbose = ("--diff", "-vvv")
    predicted = play.run("server_pki", "client_pki", arguments=("--check", *verbose))
    assert predicted.changed > 0
    assert "Create the server root CA" in predicted.words
    assert "O=ML Client Org,CN=ML Client Curl" in predicted.words
    assert not play.home.exists()

    first = play.run("server_pki", "client_pki", arguments=verbose)
    assert first.changed > 0
    names = sorted(play.tree())
    assert names == [
        "pki/client/ca-bundle.crt",
        "pki/client/ca.crt",
        "pki/client/ca.key",
        *(
            f"pki/client/clients/curl/{name}"
            for name in ("README.md", "client-chain.pem", "client.crt", "client.key", "curl.sh", "server-ca.crt")
        ),
        "pki/client/issued.jsonl",
        *(f"pki/server/{name}" for name in ("ca.crt", "ca.key", "server-chain.pem", "server.crt", "server.key")),
    ]
    modes = {f"{path.stat().st_mode & 0o777:o}" for path in play.pki.rglob("*.key")}
    assert modes == {"600"}
    assert {f"{path.stat().st_mode & 0o777:o}" for path in play.pki.rglob("*") if path.is_dir()} == {"700"}
    server, client = play.pki / "server", play.pki / "client"
    assert openssl_verifies(server / "ca.crt", server / "server.crt")
    assert openssl_verifies(client / "ca-bundle.crt", client / "clients/curl/client.crt")
    chain = (server / "server-chain.pem").read_bytes()
    assert chain == (server / "server.crt").read_bytes() + (server / "ca.crt").read_bytes()

    before = play.tree()
    second = play.run("server_pki", "client_pki", arguments=verbose)
    assert second.changed == 0
    third = play.run("server_pki", "client_pki", arguments=("--check", *verbose))
    assert third.changed == 0
    assert play.tree() == before

    keys = [line for name in names if name.endswith(".key") for line in before[name].decode().splitlines()[1:-1]]
    for outcome in (predicted, first, second, third):
        assert "PRIVATE KEY-----" not in outcome.output
        assert not any(line in outcome.output for line in keys)


def test_intermediates_passphrases_and_elliptic_curves(play: Play) -> None:
    variables = {
        "server_pki_intermediate": True,
        "client_pki_intermediate": True,
        "server_pki_key_type": "ECDSA",
        "client_pki_key_type": "ECDSA",
        "client_pki_curve": "P-384",
        "client_pki_ca_key_passphrase": "correct horse",
        "server_pki_include_root": False,
    }
    first = play.run("server_pki", "client_pki", variables=variables, arguments=("-vvv", "--diff"))
    assert first.changed > 0
    assert "correct horse" not in first.output
    server, client = play.pki / "server", play.pki / "client"
    curl = client / "clients/curl"
    assert openssl_verifies(server / "ca.crt", server / "server.crt", server / "server-chain.pem")
    assert openssl_verifies(client / "ca-bundle.crt", curl / "client.crt", curl / "client-chain.pem")
    assert (server / "server-chain.pem").read_bytes().count(b"BEGIN") == 2
    assert b"ENCRYPTED" in (client / "ca.key").read_bytes()
    assert play.run("server_pki", "client_pki", variables=variables).changed == 0
    # The root's key is needed for nothing any more.
    (client / "ca.key").unlink()
    assert play.run("client_pki", variables=variables).changed == 0


def test_a_run_that_was_killed_between_key_and_certificate_goes_on_with_the_key(play: Play) -> None:
    assert play.run("client_pki", variables=EC).changed > 0
    client = play.pki / "client"
    key = (client / "ca.key").read_bytes()
    certificate = (client / "ca.crt").read_bytes()
    (client / "ca.crt").unlink()
    lost = play.run("client_pki", variables=EC)
    assert lost.code != 0
    assert "is missing, but what belongs to it is there" in lost.words

    for path in (client / "ca-bundle.crt", client / "issued.jsonl"):
        path.unlink()
    shutil.rmtree(client / "clients")
    assert play.run("client_pki", variables=EC).changed > 0
    assert (client / "ca.crt").read_bytes() != certificate
    assert (client / "ca.key").read_bytes() == key
    assert openssl_verifies(client / "ca-bundle.crt", client / "clients/curl/client.crt")

    before = play.tree()
    (client / "ca.key").write_bytes(b"garbage")
    damaged = play.run("client_pki", variables=EC)
    assert damaged.code != 0
    assert f"The private key in {client / 'ca.key'} cannot be read" in damaged.words
    assert "A CA is never replaced automatically" in damaged.words
    (client / "ca.key").write_bytes(key)
    assert play.tree() == before

    (client / "ca-bundle.crt").write_bytes((client / "clients/curl/client.crt").read_bytes())
    other = play.run("client_pki", variables=EC)
    assert other.code != 0
    assert "but not the root CA of the clients" in other.words


def test_a_role_may_be_used_twice_in_a_play_with_other_variables(play: Play) -> None:
    def use(name: str) -> dict[str, t.Any]:
        variables = {
            "client_pki_directory": str(play.pki / name),
            "client_pki_ca_common_name": f"Root {name}",
            "client_pki_key_type": "ECDSA",
            "client_pki_clients": [{"name": name}],
        }
        return {"ansible.builtin.include_role": {"name": "kyma.mtls.client_pki"}, "vars": variables}

    tasks = [{"hosts": "localhost", "gather_facts": False, "tasks": [use("one"), use("two")]}]
    assert play.run_play(tasks, {}).changed > 0
    for name in ("one", "two"):
        assert openssl_verifies(play.pki / name / "ca.crt", play.pki / name / "clients" / name / "client.crt")
    assert (play.pki / "one/ca.crt").read_bytes() != (play.pki / "two/ca.crt").read_bytes()
    assert play.run_play(tasks, {}).changed == 0


def test_what_can_never_be_is_refused_by_name(play: Play) -> None:
    edwards = [{"name": "curl", "key_type": "Ed25519"}]
    refused = play.run("client_pki", variables={"client_pki_clients": edwards}, arguments=("--check",))
    assert refused.code != 0
    assert "does not accept Ed25519 client certificates" in refused.words


def test_a_settled_side_costs_one_module_task(play: Play) -> None:
    """Speed is a promise of the roles: each task costs as much as the work itself."""
    play.run("server_pki", "client_pki", variables=EC)
    again = play.run("server_pki", "client_pki", variables=EC)
    assert again.changed == 0
    ran = re.findall(r"^TASK \[.*?: (.*?)\]", again.output, re.MULTILINE)
    # What runs in Ansible itself, or not at all, costs nothing.
    cheap = (
        "Validating arguments",
        "Check certificates and keys",
        "Publish",
        "Refuse",
        "Fail",
        "Warn",
        "Acquire",
        "Find",
    )
    done = [name for name in ran if not name.startswith(cheap)]
    assert len(done) == 3, ran  # and one for what clients are handed


def test_what_somebody_else_has_made_is_provided(play: Play) -> None:
    """A server's certificate and its key from a vault, CAs to trust from a file, and no key in any output."""
    assert play.run("server_pki", "client_pki", variables=EC).changed > 0
    own, corporate = play.pki, play.directory / "corporate"
    own.rename(corporate)
    server, client = corporate / "server", corporate / "client"
    key = (server / "server.key").read_text()
    variables = {
        "server_pki_provider": "provided",
        "server_pki_provided_ca": str(server / "ca.crt"),
        "server_pki_provided_certificate": (server / "server.crt").read_text(),
        "server_pki_provided_key_content": key,
        "client_pki_provider": "provided",
        "client_pki_provided_ca": (client / "ca.crt").read_text(),
        "client_pki_clients": [
            {
                "name": "curl",
                "certificate": str(client / "clients/curl/client-chain.pem"),
                "key": str(client / "clients/curl/client.key"),
            }
        ],
    }
    verbose = ("--diff", "-vvv")
    predicted = play.run("server_pki", "client_pki", variables=variables, arguments=("--check", *verbose))
    assert "from what is provided" in predicted.words
    assert not own.exists()
    first = play.run("server_pki", "client_pki", variables=variables, arguments=verbose)
    assert first.changed == 3  # the server, the clients, and what they are handed
    assert (own / "server/server.key").read_text() == key
    assert openssl_verifies(own / "client/ca-bundle.crt", own / "client/clients/curl/client.crt")
    again = play.run("server_pki", "client_pki", variables=variables, arguments=verbose)
    assert again.changed == 0
    for outcome in (predicted, first, again):
        # The rest of a P-256 key is its public part, which certificates hold too.
        assert not any(line in outcome.output for line in key.splitlines()[1:3])

    issuing = variables | {
        "client_pki_provided_ca_key": str(client / "ca.key"),
        "client_pki_clients": [{"name": "robot"}],
    }
    assert play.run("client_pki", variables=issuing).changed == 2
    assert openssl_verifies(own / "client/ca.crt", own / "client/clients/robot/client.crt")
    before = play.tree()
    for changes, why in (
        ({"server_pki_provider": "self_signed"}, "A finished certificate or key is given for server"),
        (
            {"server_pki_provided_certificate": "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"},
            "certificate",
        ),
        ({"server_pki_provided_key": key}, "A private key was given where a path or certificates belong"),
        ({"server_pki_hostnames": ["www.elsewhere.test"]}, "it is not valid for 'www.elsewhere.test'"),
    ):
        refused = play.run("server_pki", variables=variables | changes)
        assert refused.code != 0, why
        assert why in refused.words
    exposed = variables | {"server_pki_provided_certificate": (server / "server.crt").read_text() + key}
    entry = {"name": "kyma.mtls.server_pki", "tasks_from": "rotate_certificate"}
    tasks = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": entry}]}]
    refused = play.run_play(tasks, exposed)
    assert refused.code != 0
    assert "A private key was given where a path or certificates belong" in refused.words
    assert play.tree() == before


@pytest.mark.skipif(not KILLS, reason="KYMA_MTLS_KILLS is not set")
@pytest.mark.parametrize("kill", range(KILLS or 1))
def test_a_killed_run_of_the_roles_is_completed_by_the_next(play: Play, kill: int) -> None:
    chance = random.Random(f"{kill} of {KILLS}")  # noqa: S311  (moments, no secrets)
    roles = [{"hosts": "localhost", "gather_facts": False, "roles": ["kyma.mtls.server_pki", "kyma.mtls.client_pki"]}]
    found: dict[str, bytes] = {}
    process = subprocess.Popen(
        play.command(roles, EC),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=play.environment,
        start_new_session=True,
    )
    time.sleep(chance.uniform(1, 12))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if play.home.exists():
        found = {name: content for name, content in play.tree().items() if not Path(name).name.startswith(".")}
    play.run("server_pki", "client_pki", variables=EC)
    assert play.run("server_pki", "client_pki", variables=EC).changed == 0
    after = play.tree()
    for name, content in found.items():
        assert after[name].startswith(content), name  # nothing is replaced; the register only grows


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_agree(role: str) -> None:
    directory = COLLECTION / "roles" / role
    defaults = yaml.safe_load((directory / "defaults/main.yml").read_text())
    options = yaml.safe_load((directory / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    assert documented == {name: value for name, value in defaults.items() if name in documented}
    # A number or a list that follows other variables has a default only in Jinja, which documentation cannot show.
    followers = {name for name, value in defaults.items() if name not in documented and value is not None}
    assert all("{{" in str(defaults[name]) for name in followers)
    assert set(options) == set(defaults) | {name for name, option in options.items() if option.get("required")}
