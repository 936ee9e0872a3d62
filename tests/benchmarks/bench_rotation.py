# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that fail while everything is rotated and a client is revoked, under a constant load on a real gateway.

New connections, new connections of a client that knows only the first root CA, and kept connections. The goal is no
failed request of at least 10,000.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MINIMUM_REQUESTS = 10_000
STEPS = (
    ("rotate", {"rotate": "server"}),
    ("rotate", {"rotate": "server_ca"}),
    ("revoke", {"client": "robot"}),
    ("rotate", {"rotate": "client_ca"}),
    ("revoke", {"client": "robot", "reissue": "true"}),
)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Site:
    """A site in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()

    def play(self, playbook: str, values: dict[str, str]) -> float:
        clients = [{"name": "curl", "common_name": "ML Client Curl"}, {"name": "robot"}]
        given = {"mtls_home": str(self.home), "gateway_port": self.port, "client_pki_clients": clients, **values}
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        }
        command = ["ansible-playbook", f"playbooks/{playbook}.yml", "-e", json.dumps(given)]
        started = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{playbook}.yml failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
        return time.monotonic() - started


def measure(rounds: int) -> dict[str, object]:
    # Short: below it lie Unix sockets.
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        site, stop = Site(Path(directory) / "home"), Path(directory) / "stop"
        try:
            site.play("site", {})
            load = subprocess.Popen(
                [
                    sys.executable,
                    str(ROOT / "tests/servers/load.py"),
                    *(f"--home={site.home}", f"--port={site.port}", f"--until={stop}", "--seconds=3600"),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                for number in range(rounds):
                    for playbook, values in STEPS:
                        seconds = site.play(playbook, values)
                        print(f"round {number + 1}  {playbook} {' '.join(values.values()):12}  {seconds:6.1f} s")
            finally:
                stop.touch()
                output, _errors = load.communicate()
        finally:
            site.play("teardown", {"mtls_purge": "true"})
    return dict(json.loads(output))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is rotated")
    counted = measure(parser.parse_args().rounds)
    print(json.dumps(counted, indent=2))
    print(f"{counted['failed']} of {counted['total']} requests failed; goal: 0 of at least {MINIMUM_REQUESTS}")
    is_met = counted["failed"] == 0 and int(str(counted["total"])) >= MINIMUM_REQUESTS
    print("goal met" if is_met else "goal missed")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
