# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-playbook as a benchmark runs it: single tasks, roles, and whole sites in homes of their own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import harness

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench, Figure

Values = t.Mapping[str, t.Any]


def settings() -> dict[str, str]:
    """Return the environment of ansible-playbook: the checkout's settings, whatever the caller's are."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return {
        **kept,
        "ANSIBLE_CONFIG": str(harness.ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(harness.ROOT / ".build" / "collections"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def playbook(path: Path | str, values: Values, *, extra: Values | None = None, profile: bool = False) -> harness.Done:
    """Run a playbook with variables, also such as are too long for a command line."""
    environment = settings()
    if profile:
        environment |= {"ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks"}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as variables:
        json.dump({**values, **(extra or {})}, variables)
        variables.flush()
        return harness.run(harness.program("ansible-playbook"), str(path), "-e", f"@{variables.name}", env=environment)


def play(content: Values, values: Values | None = None) -> harness.Done:
    """Run one play on this host."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([{"hosts": "localhost", "gather_facts": False, **content}], file)
        file.flush()
        return playbook(file.name, values or {})


def roles(*names: str, values: Values) -> harness.Cost:
    return play({"roles": list(names)}, values).cost


def tasks(*wanted: Values, values: Values | None = None) -> harness.Cost:
    return play({"tasks": list(wanted)}, values).cost


def floor(bench: Bench) -> tuple[Figure, Figure]:
    """Return what Ansible costs before it does anything: an empty play, and a play of one module that does nothing."""
    empty = bench.measure("an empty play", tasks, runs=5)
    bare = {"ansible.builtin.ping": {}}
    return empty, bench.measure("a play of one module that does nothing (ping)", lambda: tasks(bare), runs=5)


def clients(count: int, **options: t.Any) -> list[dict[str, t.Any]]:
    """Return ``count`` clients for client_pki_clients; the first is the tutorial's."""
    first = {"name": "curl", "common_name": "ML Client Curl", "organization": "ML Client Org", **options}
    others = [
        {"name": f"client-{number}", "common_name": f"Client {number}", "organization": "ML Client Org", **options}
        for number in range(1, count)
    ]
    return [first, *others]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """A site on the platform local in a home of its own, which is gone afterwards."""

    def __init__(self, **values: t.Any) -> None:
        # Short: below it lie Unix sockets.
        self._directory = Path(tempfile.mkdtemp(prefix="bench"))
        self.home = self._directory / "home"
        self.port = free_port()
        self.values = {"mtls_home": str(self.home), "gateway_port": self.port, **values}

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.play("teardown", mtls_purge=True)
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    def play(self, name: str, *, profile: bool = False, **values: t.Any) -> harness.Done:
        return playbook(f"playbooks/{name}.yml", self.values, extra=values, profile=profile)

    def apply(self, **values: t.Any) -> harness.Cost:
        return self.play("site", **values).cost

    def apply_unchanged(self, **values: t.Any) -> harness.Cost:
        done = self.play("site", **values)
        if " changed=0 " not in done.output:
            raise SystemExit(f"The re-run changed something, so it measures something else:\n{done.output[-3000:]}")
        return done.cost
