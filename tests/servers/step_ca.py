# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real step-ca on loopback with an ACME provisioner. KYMA_MTLS_STEP_CA names the program; else it is on PATH."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import ssl
import subprocess
import time
import typing as t
import urllib.request
from pathlib import Path

from ansible_collections.kyma.mtls.tests.servers.pki import make_ca, name
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

_PATIENCE_SECONDS = 30.0


def find() -> str | None:
    """Return where the program is."""
    return os.environ.get("KYMA_MTLS_STEP_CA") or shutil.which("step-ca")


@dataclasses.dataclass(frozen=True)
class StepCa:
    """A running CA. Its root is also that of its own TLS certificate."""

    url: str
    root: Path
    log: Path


@contextlib.contextmanager
def running(program: str, directory: Path, *, resolver: int) -> t.Iterator[StepCa]:
    """Run step-ca until the block ends; ``resolver`` is the port of the name server that it asks."""
    directory.mkdir()
    above = make_ca(name(common_name="Step Root")).save(directory, "root")
    below = make_ca(name(common_name="Step Issuing"), issuer=above, path_length=0).save(directory, "issuing")
    root = Path(above.crt)
    port = free_port()
    config = {
        "root": str(root),
        "crt": below.crt,
        "key": below.key_file,
        "address": f"127.0.0.1:{port}",
        "dnsNames": ["127.0.0.1", "localhost"],
        "logger": {"format": "text"},
        "db": {"type": "badgerv2", "dataSource": str(directory / "db")},
        "authority": {"provisioners": [{"type": "ACME", "name": "acme", "challenges": ["http-01", "dns-01"]}]},
    }
    (directory / "ca.json").write_text(json.dumps(config))
    log = directory / "step-ca.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--resolver", f"127.0.0.1:{resolver}", str(directory / "ca.json")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"HOME": str(directory), "PATH": os.environ.get("PATH", "")},
        )
    try:
        _wait(process, f"https://127.0.0.1:{port}/health", root, log)
        yield StepCa(f"https://127.0.0.1:{port}/acme/acme/directory", root, log)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(process: subprocess.Popen[bytes], url: str, root: Path, log: Path) -> None:
    context = ssl.create_default_context(cafile=str(root))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2, context=context):  # noqa: S310  (https)
            return
        time.sleep(0.05)
    raise AssertionError(f"step-ca does not come up: {log.read_text()[-2000:]}")
