# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ten thousand clients from a file: certificates, an unchanged site that tries a sample of them, and their revocation.

The reading of the file is measured without Ansible, in a process of its own, for as many clients and for one.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import bench_rotation, harness, plays
from ansible_collections.kyma.mtls.tests.benchmarks.metered import Metered

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench, Cost

CLIENTS = 10_000
ENDINGS = ("csv", "json", "yml")
PKI = {
    "usage": "client",
    "ca": {"subject": [{"O": "Fleet"}, {"CN": "Fleet Root"}], "key_type": "ECDSA"},
    "defaults": {"organization": "Fleet", "key_type": "ECDSA"},
}
# Reads a list of clients up to the specs of all certificates, and prints what that took.
_READER = """
import datetime, json, resource, sys, time
from ansible_collections.kyma.mtls.plugins.module_utils._pki import parameters
from ansible_collections.kyma.mtls.plugins.modules import pki
given = {key: one.get("default") for key, one in pki.argument_spec().items()}
given |= json.loads(sys.argv[1])
given["ca"] = {key: one.get("default") for key, one in pki.argument_spec()["ca"]["options"].items()} | given["ca"]
began = time.perf_counter(), time.process_time()
spec = parameters.to_spec(parameters.with_clients_of_file(given), now=datetime.datetime.now(datetime.UTC))
ended = time.perf_counter(), time.process_time()
assert len(spec.certificates) == int(sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([ended[0] - began[0], ended[1] - began[1], peak]))
"""


def measure(bench: Bench) -> None:
    count = 100 if bench.quick else CLIENTS
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        fleets = {ending: make_fleet(directory / f"fleet.{ending}", count) for ending in ENDINGS}
        _arguments(bench, directory, fleets, count)
        _certificates(bench, directory, fleets["csv"], count)
        _site(bench, fleets["csv"], count)


def make_fleet(path: Path, count: int) -> Path:
    """Write a list of so many clients, as the ending of its name says."""
    rows = [{"name": f"client-{number}", "common_name": f"Client {number}"} for number in range(count)]
    if path.suffix == ".csv":
        lines = ["name,common_name", *(",".join(row.values()) for row in rows)]
    elif path.suffix == ".json":
        lines = [json.dumps(rows, indent=1)]
    else:
        lines = [f"- name: {row['name']}\n  common_name: {row['common_name']}" for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def _arguments(bench: Bench, directory: Path, fleets: dict[str, Path], count: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT / ".build" / "collections")}

    def read(path: Path, number: int) -> Cost:
        given = {**PKI, "directory": str(directory / "none"), "certificates_file": str(path)}
        done = harness.run(sys.executable, "-c", _READER, json.dumps(given), str(number), env=environment)
        return harness.Cost(*json.loads(done.output))

    more = {}
    for ending, path in fleets.items():
        single = make_fleet(directory / f"single.{ending}", 1)
        one = bench.measure(f"arguments, 1 client from {ending}", lambda single=single: read(single, 1))  # type: ignore[misc]
        many = bench.measure(f"arguments, {count:,} clients from {ending}", lambda path=path: read(path, count))  # type: ignore[misc]
        more[ending] = many.wall - one.wall
    told = ", ".join(f"{seconds:+.2f} s ({ending})" for ending, seconds in more.items())
    is_met = all(seconds <= 1.5 for seconds in more.values())
    bench.target(f"arguments, {count:,} clients from a file over one", "at most 1.5 s more", told, is_met=is_met)


def _certificates(bench: Bench, directory: Path, fleet: Path, count: int) -> None:
    """The module pki as a task."""
    task = {"kyma.mtls.pki": {**PKI, "directory": str(directory / "pki"), "certificates_file": str(fleet)}}
    first = bench.record(f"pki, first issue, {count:,} clients, ECDSA P-256", [plays.tasks(task)])
    metered = Metered(directory)
    again = bench.measure(f"pki, unchanged, {count:,} clients, ECDSA P-256", lambda: plays.tasks(task))
    plays.tasks(task, values=metered.values)
    peak = max([first.mib, *(mib for _name, _cpu, mib in metered.modules())])
    for what, seconds, most in (("first issue", first.wall, 35), ("unchanged", again.wall, 8)):
        bench.target(
            f"pki, {what}, {count:,} clients, ECDSA P-256",
            f"at most {most} s",
            f"{seconds:.1f} s",
            is_met=seconds <= most,
        )
    bench.target(f"peak memory of pki, {count:,} clients", "at most 350 MiB", f"{peak:.0f} MiB", is_met=peak <= 350)


def _site(bench: Bench, fleet: Path, count: int) -> None:
    """The site with a sample of the clients, and all of them revoked but one."""
    # The first client is none of the file's: it stays, and asks on while the others are revoked.
    values = {"client_pki_clients_file": str(fleet), "client_pki_key_type": "ECDSA"}
    with plays.Site(**values) as site:
        site.apply()
        again = bench.measure(f"site.yml, unchanged, {count:,} clients, a sample verified", site.apply_unchanged)
        every = bench.measure(
            f"site.yml, unchanged, {count:,} clients, every one verified",
            lambda: site.apply_unchanged(verify_clients_sample=0),
            runs=1,
        )
        bench.note(f"every client verified: {every.wall - again.wall:.1f} s more than a sample of 1,000")
        what = f"site.yml, unchanged, {count:,} clients, a sample of 1,000 verified"
        bench.target(what, "at most 12 s", f"{again.wall:.1f} s", is_met=again.wall <= 12)
        _revocation(bench, site, count)


def _revocation(bench: Bench, site: plays.Site, count: int) -> None:
    """The revocation of all at once; then a list of as many made anew and published, under load."""
    names = [f"client-{number}" for number in range(count)]
    revoke = {"ansible.builtin.include_role": {"name": "kyma.mtls.client_pki", "tasks_from": "revoke"}}
    publish = {"ansible.builtin.include_role": {"name": "kyma.mtls.gateway"}}
    values = {**site.values, "client_pki_revoke": names}
    # A list that is due is made anew: 366 days are less than what is left of the one before.
    anew = {**values, "client_pki_revoke": [], "client_pki_crl_days": 800, "client_pki_crl_refresh_before": 366}
    with bench_rotation.load(site) as counted:
        bench.record(f"{count:,} revocations at once, with their keys kept", [plays.tasks(revoke, values=values)])
        listed = bench.record(
            f"a list of {count:,} revocations made anew and published", [plays.tasks(revoke, publish, values=anew)]
        )
    size = (site.home / "pki/client/ca.crl").stat().st_size
    bench.note(f"the list of {count:,} has {size / 1024:.0f} KiB; Kubernetes takes a Secret of 1024 KiB")
    bench.target(
        f"a list of {count:,} revocations made and published, gateway reload under load",
        "at most 5 s, no failed request",
        f"{listed.wall:.1f} s, {counted['failed']} failed of {counted['total']:,}",
        is_met=listed.wall <= 5 and counted["failed"] == 0 and counted["total"] > 0,
    )
