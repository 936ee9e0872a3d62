# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that fail while everything is rotated and a client is revoked, under a constant load on a real gateway.

New connections, new connections of a client that knows only the first root CA, and kept connections.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import harness, plays

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench, Cost

MINIMUM_REQUESTS = 10_000
MOST_ROUNDS = 3
CLIENTS = [{"name": "curl", "common_name": "ML Client Curl"}, {"name": "robot"}]
STEPS: dict[str, tuple[str, dict[str, t.Any]]] = {
    "rotate the server's certificate": ("rotate", {"rotate": "server"}),
    "rotate the server's CA": ("rotate", {"rotate": "server_ca"}),
    "revoke a client": ("revoke", {"client": "robot"}),
    "rotate the clients' CA": ("rotate", {"rotate": "client_ca"}),
    "issue the client again": ("revoke", {"client": "robot", "reissue": "true"}),
}


def measure(bench: Bench) -> None:
    costs: dict[str, list[Cost]] = {}
    counted = {"total": 0, "failed": 0}
    with plays.Site(client_pki_clients=CLIENTS) as site:
        site.apply()
        for _round in range(1 if bench.quick else MOST_ROUNDS):
            for key, value in _round_under_load(site, costs).items():
                counted[key] = counted.get(key, 0) + value
            if counted["total"] >= MINIMUM_REQUESTS:
                break
    for step, runs in costs.items():
        bench.record(step, runs)
    bench.target(
        "rotation and revocation under load",
        f"0 failed of at least {MINIMUM_REQUESTS:,} requests",
        f"{counted['failed']} failed of {counted['total']:,}",
        is_met=counted["failed"] == 0 and counted["total"] >= (1 if bench.quick else MINIMUM_REQUESTS),
    )


def _round_under_load(site: plays.Site, costs: dict[str, list[Cost]]) -> dict[str, int]:
    """Do every step once; return how many requests there were, and how many failed."""
    with load(site) as counted:
        for step, (playbook, values) in STEPS.items():
            costs.setdefault(step, []).append(site.play(playbook, **values).cost)
    return counted


@contextlib.contextmanager
def load(site: plays.Site) -> t.Iterator[dict[str, int]]:
    """Ask the gateway without pause; afterwards the dictionary says how many requests there were, and failed."""
    counted: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory:
        stop = Path(directory) / "stop"
        process = subprocess.Popen(
            [
                *(sys.executable, str(harness.ROOT / "tests/servers/load.py"), f"--home={site.home}"),
                *(f"--port={site.port}", f"--until={stop}", "--seconds=3600"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield counted
        finally:
            stop.touch()
            output, _errors = process.communicate()
    found = json.loads(output)
    for failure, times in found["failures"].items():
        harness.say(f"    {times} times: {failure}")
    counted.update({key: int(found[key]) for key in ("total", "failed")})
