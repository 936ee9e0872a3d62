# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of whole playbooks share: the place, and two gateways that one run has set up."""

from __future__ import annotations

import dataclasses
import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.playbooks import ssh
from ansible_collections.kyma.mtls.tests.playbooks.place import (
    ROOT,
    Outcome,
    Place,
    make_environment,
    new_root,
    uv_cache,
)
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

PASSPHRASE, P12_PASSWORD = "a passphrase of the CA", "a password of Alice"
EC = {"server_pki_key_type": "ECDSA", "client_pki_key_type": "ECDSA"}


@pytest.fixture(scope="session")
def place() -> t.Iterator[Place]:
    with new_root() as root:
        made = Place(Path(root))
        made.install()
        yield made


@dataclasses.dataclass(frozen=True)
class Gateways:
    """Two hosts of one inventory: ``near`` by a local connection, ``far`` by SSH where that can be."""

    place: Place
    homes: dict[str, Path]
    ports: dict[str, int]
    is_far_remote: bool
    first: Outcome
    """The run that set both up, at the highest verbosity that shows arguments."""

    def play(
        self, playbook: str, *arguments: str | Path, limit: str = "", variables: t.Mapping[str, t.Any] | None = None
    ) -> Outcome:
        only = ("--limit", limit) if limit else ()
        return self.place.play(playbook, *INVENTORY, *only, *arguments, variables={**TARGET, **(variables or {})})


# The hosts of a play are chosen before there is any host whose variables could say so.
TARGET = {"mtls_target": "gateways"}
INVENTORY = ("--inventory", "inventory.json", "-e", "@secrets.yml", "--vault-password-file", "password")


@pytest.fixture(scope="session")
def gateways(place: Place) -> t.Iterator[Gateways]:
    near_port, far_port, ssh_port = free_port(), free_port(), free_port()
    target = place.root / "target"
    target.mkdir()
    python = make_environment(target / "python", "cryptography", "uv", "-c", str(ROOT / "requirements.txt"))
    with ExitStack() as stack:
        connection: dict[str, t.Any] = {"ansible_connection": "local"}
        homes = {"near": place.controller / "near", "far": target / "far gateway"}
        far_home = str(homes["far"])
        if ssh.sshd() is not None:
            hidden = (ROOT, place.controller)
            host = stack.enter_context(ssh.host(target, port=ssh_port, cache=uv_cache(), hidden=hidden))
            connection, homes["far"], far_home = host.variables(), host.home / "far gateway", "~/far gateway"
        hosts: dict[str, dict[str, t.Any]] = {
            "near": {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                "mtls_home": str(homes["near"]),
                "gateway_port": near_port,
                "client_pki_ca_key_passphrase": "{{ vault_passphrase }}",
                "client_pki_clients": [{"name": "alice", "p12": {"password": "{{ vault_p12_password }}"}}],
            },
            "far": {
                **connection,
                "ansible_python_interpreter": str(python),
                "mtls_home": far_home,
                "gateway_port": far_port,
                "client_pki_clients": [{"name": "bob"}, {"name": "carol"}],
            },
        }
        inventory = {"gateways": {"hosts": hosts, "vars": EC}}
        place.write("inventory.json", inventory)
        password = place.write("password", "the password of the vault\n")
        vaulted = place.vaulted(password, vault_passphrase=PASSPHRASE, vault_p12_password=P12_PASSWORD)
        place.write("secrets.yml", vaulted)
        first = place.play("kyma.mtls.site", *INVENTORY, "-vvv", variables=TARGET)
        made = Gateways(place, homes, {"near": near_port, "far": far_port}, ssh.sshd() is not None, first)
        try:
            yield made
        finally:
            down = made.play("kyma.mtls.teardown", variables={"mtls_purge": True})
            assert down.code == 0, down.output
            assert not [home for home in homes.values() if home.exists()]
