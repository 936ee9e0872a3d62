# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole site on the platform local: from nothing, unchanged, with many clients and gateways, from a clean clone.

Wheels are in the installer's cache (a first, uncounted site sees to that), so no network is measured.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import harness, plays
from ansible_collections.kyma.mtls.tests.benchmarks.metered import Metered

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench, Cost, Figure

MANY_CLIENTS = 1000
MODULE_MIB = 150


def measure(bench: Bench) -> None:
    with plays.Site() as site:  # fills caches
        site.apply()
    empty, module = plays.floor(bench)
    floor = f"an empty play is {empty.wall:.1f} s, each module task {module.wall - empty.wall:.1f} s more"
    one = _one_client(bench, floor)
    _gateways(bench, one)
    if not bench.quick:
        _many_clients(bench, one, floor)
    _clean_clone(bench)


def _one_client(bench: Bench, floor: str) -> Figure:
    """Return the figure of the unchanged run."""
    firsts, agains, told = [], [], ""
    for _round in range(1 if bench.quick else 3):
        with plays.Site() as site:
            firsts.append(site.apply())
            agains.append(site.apply_unchanged())
            told = told or site.play("site", profile=True).output
    first = bench.record("site.yml, empty home to verified", firsts)
    again = bench.record("site.yml, unchanged", agains)
    measured = f"{first.wall:.1f} s wall, {first.cpu:.1f} s CPU"
    for target, wall, cpu in (("10 s wall and 8 s CPU", 10, 8), ("20 s wall", 20, 1e9)):
        is_met = first.wall <= wall and first.cpu <= cpu
        bench.target("site.yml on local, first run", f"at most {target}", measured, is_met=is_met, distance=floor)
    for wall in (2.3, 5):
        is_met, distance = again.wall <= wall, f"{again.wall - wall:.1f} s above the target; {floor}"
        bench.target(
            "site.yml, unchanged", f"at most {wall} s", f"{again.wall:.1f} s", is_met=is_met, distance=distance
        )
    bench.note("Slowest tasks of an unchanged run (with a profiler, so a little slower):\n" + _slowest(told))
    return again


def _slowest(output: str) -> str:
    """The first lines of profile_tasks' table: task, dashes, seconds."""
    found = re.findall(r"^(.+?) -{2,} ([\d.]+)s$", output, re.MULTILINE)
    return "\n".join(f"{float(seconds):6.2f} s  {name.strip()}" for name, seconds in found[:8])


def _gateways(bench: Bench, one: Figure) -> None:
    """Gateways in one site: one more object each, not one more task."""
    bench.point("gateways", "site.yml, unchanged", 1, one.wall)
    for count in bench.sizes(5, 20):
        with plays.Site(gateway_additional_objects=[_gateway(number) for number in range(1, count)]) as site:
            site.apply()
            figure = bench.measure(f"site.yml, unchanged, {count} gateways", site.apply_unchanged)
        bench.point("gateways", "site.yml, unchanged", count, figure.wall)


def _gateway(number: int) -> dict[str, t.Any]:
    server = {
        "port": {"number": 443, "name": "mtls", "protocol": "HTTPS"},
        "tls": {"mode": "MUTUAL", "credentialName": "kyma-mtls"},
        "hosts": [f"host-{number}.local.kyma.dev"],
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": f"gateway-{number}", "namespace": "test"},
        "spec": {"selector": {"app": "istio-ingressgateway", "istio": "ingressgateway"}, "servers": [server]},
    }


def _many_clients(bench: Bench, one: Figure, floor: str) -> None:
    bench.point("clients", "site.yml, unchanged", 1, one.wall)
    for count in (100, MANY_CLIENTS):
        with plays.Site(client_pki_clients=plays.clients(count)) as site, tempfile.TemporaryDirectory() as directory:
            metered = Metered(Path(directory))
            site.apply(**metered.values)
            many = bench.measure(f"site.yml, unchanged, {count} clients", site.apply_unchanged)
            bench.point("clients", "site.yml, unchanged", count, many.wall)
            if count < MANY_CLIENTS:
                continue
            more = many.wall - one.wall
            handshakes = "it holds a full handshake and a request of every client; see `verify` for their rate"
            what, measured = f"site.yml, unchanged, {count} clients against one", f"{more:+.1f} s"
            bench.target(what, "at most 2.5 s more", measured, is_met=more <= 2.5, distance=f"{handshakes}; {floor}")
            site.apply_unchanged(**metered.values)
            _memory(bench, metered)


def _memory(bench: Bench, metered: Metered) -> None:
    peaks: dict[str, float] = {}
    for name, _cpu, mib in metered.modules():
        peaks[name] = max(mib, peaks.get(name, 0))
    largest = max(peaks, key=lambda name: peaks[name])
    bench.note(
        f"Peak memory of each module's process, {MANY_CLIENTS} clients, first and unchanged run:\n"
        + "\n".join(f"{mib:6.0f} MiB  {name}" for name, mib in sorted(peaks.items(), key=lambda one: -one[1]))
    )
    bench.target(
        f"peak memory of any module, {MANY_CLIENTS} clients",
        f"at most {MODULE_MIB} MiB",
        f"{peaks[largest]:.0f} MiB ({largest})",
        is_met=peaks[largest] <= MODULE_MIB,
    )


def _clean_clone(bench: Bench) -> None:
    """`make site` in a fresh clone, environment and all."""

    def once() -> Cost:
        # Short: below it lie Unix sockets.
        with tempfile.TemporaryDirectory(prefix="bench") as directory:
            clone = Path(directory) / "clone"
            subprocess.run(["git", "clone", "--quiet", str(harness.ROOT), str(clone)], check=True)  # noqa: S607  (PATH)
            same = (f"PYTHON={Path(sys.executable).resolve()}", f"EXTRA=-e gateway_port={plays.free_port()}")
            try:
                return harness.run("make", "site", *same, cwd=clone, env=plays.settings()).cost
            finally:
                harness.run("make", "down", "PURGE=1", *same, cwd=clone, env=plays.settings())

    clean = bench.measure("make site from a clean clone", once, runs=1)
    bench.target("make site from a clean clone", "at most 60 s", f"{clean.wall:.0f} s", is_met=clean.wall <= 60)
