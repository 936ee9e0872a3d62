# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the role client_pki with many clients: first run, unchanged run, and openssl's own work beside it.

Usage:  tests/benchmarks/bench_pki.py [COUNT ...]          (default 1 50 1000 clients)

"first" is the role on an empty home, root CA and what clients are handed included; "unchanged" is the same again: both
are whole ansible-playbook runs, wall clock. "issue" is the CPU time of issuing alone, in a process of its own with
Python's start and imports; "openssl" is the CPU time of `openssl req -newkey` and `openssl x509 -req` for the same keys
and signatures, measured on at most 100 of them and scaled. Medians of three runs, of one run from 1,000 clients on. The
state of the machine matters: compare figures of one run only.
"""

from __future__ import annotations

import datetime
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".build" / "collections"
COUNTS = (1, 50, 1000)
OPENSSL_SAMPLE = 100
KINDS: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "ECDSA P-256": ({"key_type": "ECDSA"}, ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    "RSA 2048": ({"key_type": "RSA"}, ["rsa:2048"]),
}
PLAY = [{"hosts": "localhost", "gather_facts": False, "roles": ["kyma.mtls.client_pki"]}]


class Cost(t.NamedTuple):
    """Seconds of one run."""

    wall: float
    cpu: float


def run(*command: str | Path, **options: t.Any) -> Cost:
    """Run a command and return what it and its children cost."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def clients(count: int, settings: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return [{"name": f"client-{number}", "common_name": f"Client {number}", **settings} for number in range(count)]


def measure_role(count: int, settings: dict[str, t.Any], directory: Path) -> tuple[Cost, Cost]:
    home = directory / "home"
    shutil.rmtree(home, ignore_errors=True)
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "mtls_home": str(home),
        "client_pki_clients": clients(count, settings),
        # Any CA will do for what every client is handed.
        "client_pki_handover_server_ca": str(home / "pki/client/ca.crt"),
    }
    (directory / "variables.json").write_text(json.dumps(variables))
    (directory / "play.yml").write_text(json.dumps(PLAY))
    command = (shutil.which("ansible-playbook") or "ansible-playbook", "-i", "localhost,", "-e")
    arguments = (f"@{directory / 'variables.json'}", directory / "play.yml")
    first = run(*command, *arguments, cwd=ROOT)
    return first, run(*command, *arguments, cwd=ROOT)


def issue(count: str, kind: str, home: str) -> None:
    """Issue certificates in this process: what the module does, without Ansible."""
    sys.path.insert(0, str(COLLECTIONS))
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import batch  # noqa: PLC0415  (measured too)

    directory = Path(home)
    items = [
        {**client, "directory": str(directory / "clients" / client["name"])}
        for client in clients(int(count), KINDS[kind][0])
    ]
    options = batch.Options(
        ca_cert=directory / "ca.crt",
        ca_key=directory / "ca.key",
        ca_key_passphrase=None,
        ca_chain=(),
        register=directory / "issued.jsonl",
        certificates=tuple(items),
        concurrency=None,
        check_mode=False,
    )
    batch.run(options, now=datetime.datetime.now(datetime.UTC))


def make_ca(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/O=Org/CN=Root CA"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", directory / "ca.key", "-out", directory / "ca.crt"),
    )


def measure_issue(count: int, kind: str, directory: Path) -> Cost:
    make_ca(directory / "ca")
    return run(sys.executable, __file__, "--issue", str(count), kind, directory / "ca")


def measure_openssl(count: int, kind: str, directory: Path) -> float:
    make_ca(directory / "ca")
    sample = min(count, OPENSSL_SAMPLE)
    total = 0.0
    for number in range(sample):
        key, request, certificate = (directory / f"openssl.{end}" for end in ("key", "csr", "crt"))
        total += run(
            *("openssl", "req", "-nodes", "-newkey", *KINDS[kind][1], "-subj", f"/CN=Client {number}/O=Org"),
            *("-keyout", key, "-out", request),
        ).cpu
        total += run(
            *("openssl", "x509", "-req", "-in", request, "-CA", directory / "ca/ca.crt"),
            *("-CAkey", directory / "ca/ca.key", "-days", "365", "-out", certificate),
        ).cpu
    return total * count / sample


def main(counts: t.Sequence[int]) -> None:
    openssl = shutil.which("openssl") or "openssl"
    version = subprocess.run([openssl, "version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{len(os.sched_getaffinity(0))} cores, Python {sys.version.split()[0]}, {version}")
    print(f"{'clients':>8}  {'keys':<12}{'first':>9}{'unchanged':>11}{'issue CPU':>11}{'openssl CPU':>13}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for kind, (settings, _arguments) in KINDS.items():
            for count in counts:
                runs = 3 if count < 1000 else 1
                role = [measure_role(count, settings, directory) for _run in range(runs)]
                first, unchanged = (statistics.median(one[part].wall for one in role) for part in (0, 1))
                ours = statistics.median(measure_issue(count, kind, directory).cpu for _run in range(runs))
                theirs = measure_openssl(count, kind, directory)
                print(
                    f"{count:>8}  {kind:<12}{first:>7.1f} s{unchanged:>9.1f} s{ours:>9.1f} s{theirs:>11.1f} s"
                    f"{ours / theirs:>7.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--issue"]:
        issue(*sys.argv[2:])
    else:
        main([int(one) for one in sys.argv[1:]] or COUNTS)
