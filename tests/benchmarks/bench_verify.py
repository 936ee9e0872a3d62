# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure mtls_verify: the whole matrix, and many listed clients beside a loop over uri and openssl s_time.

Usage:  tests/benchmarks/bench_verify.py [CLIENTS]          (default 1000)

All three connect to the same Envoy (RSA-2048 on both sides, a workload behind it) and make the same request, each with
a new handshake and a client certificate. "one task" is a whole ansible-playbook run with one task, less an empty run;
the loop over uri is measured with fewer items, less an empty run; openssl s_time counts for itself, one connection
after the other. Every figure is the median of its runs.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

from ansible_collections.kyma.mtls.tests.servers import pki as pki_module  # noqa: E402
from ansible_collections.kyma.mtls.tests.servers import real  # noqa: E402
from ansible_collections.kyma.mtls.tests.servers.workload import Workload  # noqa: E402

RUNS = 3
URI_ITEMS = 20
S_TIME_SECONDS = 5
KEYS = 4


def make_clients(pki: pki_module.Pki, count: int) -> list[dict[str, str]]:
    """Return ``count`` certificates of their own subjects; a few keys are enough for that."""
    keys = [pki_module.new_key("rsa") for _key in range(KEYS)]
    clients = []
    for number in range(count):
        holder = pki.client_certificate(f"client-{number}", key=keys[number % KEYS])
        clients.append({"name": f"client-{number}", "cert": holder.crt, "key": holder.key_file})
    return clients


def play(directory: Path, tasks: list[dict[str, t.Any]], variables: dict[str, t.Any]) -> float:
    """Return the seconds of one ansible-playbook run with ``tasks``."""
    document = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]
    path = directory / "play.json"
    path.write_text(json.dumps(document))
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", str(path)]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return seconds


def median(measure: t.Callable[[], float]) -> float:
    return statistics.median(measure() for _run in range(RUNS))


def s_time(pki: pki_module.Pki, address: str) -> float:
    """Return the connections per second of openssl s_time."""
    command = [
        *("openssl", "s_time", "-connect", address, "-new", "-time", str(S_TIME_SECONDS), "-www", "/headers"),
        *("-cert", pki.client.crt, "-key", pki.client.key_file, "-CAfile", pki.server_ca.crt),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"(\d+) connections in (\d+) real seconds, (\d+) bytes read", done.stdout)
    if not found or int(found[3]) < 100:
        raise SystemExit(f"openssl s_time got no answers: {done.stdout[-500:]}")
    # Its real seconds are whole ones, begun and ended anywhere within.
    return int(found[1]) / S_TIME_SECONDS


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        pki = pki_module.make_pki(directory / "pki", kind="rsa")
        clients = make_clients(pki, count)
        workload = Workload()
        server = real.start("envoy", pki, directory / "envoy", workload.port, real.Setting(any_name=True, http_10=True))
        try:
            measure(directory, pki, clients, server)
        finally:
            server.stop()
            workload.stop()


def measure(directory: Path, pki: pki_module.Pki, clients: list[dict[str, str]], server: real.Running) -> None:
    common = {
        "url": f"https://{pki_module.HOST}/headers",
        "connect_to": server.address,
        "ca": [pki.server_ca.crt],
        "client_cert": pki.client.crt,
        "client_key": pki.client.key_file,
        "identity_headers": dict(real.KINDS["envoy"].headers),
    }
    whole = {**common, "client_ca_cert": [pki.client_ca.crt], "client_ca_key": pki.client_ca.key_file}
    listed = {**common, "checks": ["MV-23", "MV-40"], "clients": "{{ clients }}"}
    uri = {
        "url": f"https://{server.address}/headers",
        "headers": {"Host": pki_module.HOST},
        "ca_path": pki.server_ca.crt,
        "client_cert": "{{ item.cert }}",
        "client_key": "{{ item.key }}",
        "validate_certs": False,
    }
    loop = {"ansible.builtin.uri": uri, "loop": clients[:URI_ITEMS]}
    variables = {"clients": clients}
    empty = median(lambda: play(directory, [], {}))
    matrix = median(lambda: play(directory, [{"kyma.mtls.mtls_verify": whole}], {})) - empty
    many = median(lambda: play(directory, [{"kyma.mtls.mtls_verify": listed}], variables)) - empty
    looped = median(lambda: play(directory, [loop], {})) - empty
    raw = median(lambda: s_time(pki, server.address))
    rate, uri_rate = len(clients) / many, URI_ITEMS / looped
    print(f"whole matrix, one task:             {matrix:8.2f} s")
    print(f"{len(clients)} listed clients, one task:    {many:8.2f} s  {rate:8.1f} clients/s")
    print(f"loop over ansible.builtin.uri:      {looped:8.2f} s  {uri_rate:8.1f} clients/s ({URI_ITEMS} items)")
    print(f"openssl s_time -new:                            {raw:8.1f} connections/s")
    print(f"times uri's rate: {rate / uri_rate:.1f} (at least 5); of s_time's rate: {rate / raw:.2f} (at least 0.5)")


if __name__ == "__main__":
    main()
