# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thousand clients by OpenBao in one task, beside what OpenBao itself can: prepared requests over one connection.

Both share the cores with OpenBao. The prepared requests are measured before and after the task. The clients come from a
file, as is advised for so many (docs/fleets.md). OpenBao keeps what it issues in memory, and so does the task; the same
with files on the disk is measured beside it.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._http import HttpClient
from ansible_collections.kyma.mtls.tests.benchmarks import harness, plays
from ansible_collections.kyma.mtls.tests.servers import openbao

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench

MOUNT = "pki"
_SHARED = Path("/dev/shm")  # noqa: S108  (a directory of its own is made in it)
MEMORY = str(_SHARED) if os.access(_SHARED, os.W_OK) else None
ROLE = "kyma.mtls.client_pki"


def measure(bench: Bench) -> None:
    program = openbao.find()
    if program is None:
        raise SystemExit("OpenBao is not installed: make test installs it into .build, or set KYMA_MTLS_BAO.")
    count = 50 if bench.quick else 1000
    clients = plays.clients(count, key_type="ECDSA")
    with tempfile.TemporaryDirectory() as directory, openbao.running(program, Path(directory)) as bao:
        bao.engine(MOUNT)
        token = bao.token(bao.policy(MOUNT))
        empty, _module = plays.floor(bench)
        before = _rate(bao, token, count)
        vault = {"url": bao.url, "mount": MOUNT, "role": "client", "auth": {"token": token}}
        values = {"client_pki_clients": clients, "client_pki_handover": False}
        outside = {**values, "client_pki_provider": "vault", "client_pki_vault": vault}
        listed = Path(directory) / "clients.json"
        listed.write_text(json.dumps(clients))
        runs = 1 if bench.quick else 3
        idle = _cpu(bao)
        first = [_first(vault, listed, place=MEMORY) for _run in range(runs)]
        issuing = (_cpu(bao) - idle) / runs
        on_disk = [_first(vault, listed, place=None) for _run in range(runs)]
        with tempfile.TemporaryDirectory() as home:
            plays.roles(ROLE, values={**outside, "mtls_home": home})
            agains = [plays.roles(ROLE, values={**outside, "mtls_home": home}) for _run in range(runs)]
        after = _rate(bao, token, count)
        with tempfile.TemporaryDirectory() as home:
            plays.roles(ROLE, values={**values, "mtls_home": home})
            owns = [plays.roles(ROLE, values={**values, "mtls_home": home}) for _run in range(runs)]
    of = f"{count} clients, ECDSA P-256"
    made = bench.record(f"pki by OpenBao, first run, {of}", first)
    disk = bench.record(f"pki by OpenBao, first run, {of}, files on this machine's disk", on_disk)
    again = bench.record(f"client_pki by OpenBao, unchanged, {of}", agains)
    own = bench.record(f"client_pki self_signed, unchanged, {of}", owns)
    issuer = statistics.mean((before, after))
    rate = count / (made.wall - empty.wall)
    bench.note(f"OpenBao, prepared requests over one connection: {before:.0f}/s before, {after:.0f}/s after")
    bench.note(f"with files on this machine's disk: {count / (disk.wall - empty.wall) / issuer:.2f} of that rate")
    bench.target(
        f"pki by OpenBao, one task, {of}",
        "at least 0.8 of the rate of prepared requests",
        f"{rate / issuer:.2f} ({rate:.0f}/s against {issuer:.0f}/s, without the {empty.wall:.1f} s of an empty play)",
        is_met=rate >= 0.8 * issuer,
        distance=f"of {harness.cores()} cores, the task takes {made.cpu - empty.cpu:.1f} s and OpenBao {issuing:.1f} s",
    )
    ratio = again.wall / own.wall
    measured = f"{ratio:.2f} times ({again.wall:.2f} s against {own.wall:.2f} s)"
    bench.target(f"unchanged, {of}", "at most 1.15 times self_signed", measured, is_met=ratio <= 1.15)


def _first(vault: plays.Values, listed: Path, *, place: str | None) -> harness.Cost:
    """Issue for all clients of the list, as one task, into a directory that was not there."""
    with tempfile.TemporaryDirectory(dir=place) as home:
        task = {"usage": "client", "directory": f"{home}/pki/client", "vault": vault, "certificates_file": str(listed)}
        return plays.tasks({"kyma.mtls.pki": task})


def _cpu(bao: openbao.OpenBao) -> float:
    """Return the CPU seconds of OpenBao so far (proc(5))."""
    fields = Path(f"/proc/{bao.process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _rate(bao: openbao.OpenBao, token: str, count: int) -> float:
    """Return how many prepared requests a second are signed over one connection that is kept."""
    bodies = [_request(f"prepared-{number}") for number in range(count)]
    client = HttpClient(f"{bao.url}/v1")
    began = time.perf_counter()
    for body in bodies:
        answer = client.request("POST", f"/{MOUNT}/sign/client", body=body, headers={"X-Vault-Token": token})
        if not answer.is_good:
            raise SystemExit(f"OpenBao does not sign: {answer.body!r}")
    taken = time.perf_counter() - began
    client.close()
    return count / taken


def _request(name: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    csr = signed.public_bytes(serialization.Encoding.PEM).decode()
    return json.dumps({"csr": csr, "common_name": name, "exclude_cn_from_sans": True, "format": "pem"}).encode()
