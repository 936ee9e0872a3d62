# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at any moment: the next run completes what is missing, and nothing that was recorded or delivered is lost.

A handful of kills by default; KYMA_MTLS_KILLS=100 makes it a hundred.
"""

from __future__ import annotations

import datetime
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.kyma.mtls.plugins.module_utils import _files
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, Home, make_home

KILLS = int(os.environ.get("KYMA_MTLS_KILLS", "6"))
CLIENTS = 40

# A run in a process of its own: the kill is real. It says when it starts to work, so that kills hit the work.
RUN = """
import datetime, json, sys
from pathlib import Path
from ansible_collections.kyma.mtls.plugins.module_utils._pki import batch
options = json.load(sys.stdin)
paths = {name: Path(options.pop(name)) for name in ("ca_cert", "ca_key", "register")}
print("ready", flush=True)
batch.run(
    batch.Options(**paths, ca_key_passphrase=None, ca_chain=(), concurrency=2, check_mode=False, **options),
    now=datetime.datetime.now(datetime.UTC),
)
"""


def start(home: Home, items: list[dict[str, object]]) -> subprocess.Popen[str]:
    collections = Path(_files.__file__).parents[5]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(collections)},
    )
    options = {"ca_cert": home.ca_cert, "ca_key": home.ca_key, "register": home.register, "certificates": items}
    assert process.stdin is not None
    process.stdin.write(json.dumps(options, default=str))
    process.stdin.close()
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def check_pairs(home: Home) -> None:
    """Every certificate on disk is whole, recorded, and after a kill at worst lacks its files, never its key."""
    whole = [line for line in home.register.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    recorded = {json.loads(line)["serial_number"] for line in whole}
    for path in (home.path / "clients").glob("*/client.crt"):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        text = f"{certificate.serial_number:X}"
        assert text.zfill(len(text) + len(text) % 2) in recorded
        serialization.load_pem_private_key(path.with_suffix(".key").read_bytes(), None)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_run_is_completed_by_the_next(tmp_path: Path, kill: int) -> None:
    home = make_home(tmp_path, start=datetime.datetime.now(datetime.UTC) - DAY)
    ca = (home.ca_key.read_bytes(), home.ca_cert.read_bytes())
    chance = random.Random(f"{kill} {KILLS}")  # noqa: S311  (moments, no secrets)
    half = [home.client(f"client-{number}") for number in range(CLIENTS // 2)]
    assert start(home, half).wait() == 0
    settled = {path: path.read_bytes() for path in (home.path / "clients").glob("*/*")}

    # New clients, re-issues and new keys, killed twice in a row.
    items = [
        home.client(f"client-{number}", common_name=f"again-{number}" if number % 3 == 0 else f"client-{number}")
        | ({"curve": "P-384"} if number % 5 == 1 else {})
        for number in range(CLIENTS)
    ]
    for _attempt in range(2):
        lines = home.register.read_bytes()
        process = start(home, items)
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = lines[: lines.rfind(b"\n") + 1]
        assert home.register.read_bytes().startswith(kept)  # no recorded line is lost
        check_pairs(home)

    assert start(home, items).wait() == 0
    check_pairs(home)
    now = datetime.datetime.now(datetime.UTC)
    assert not home.run(*items, now=now)["changed"]
    assert (home.ca_key.read_bytes(), home.ca_cert.read_bytes()) == ca
    for number in range(CLIENTS // 2):  # who needed nothing was not touched
        if number % 3 and number % 5 != 1:
            for end in (".key", ".crt", "-chain.pem"):
                path = home.file(end, f"client-{number}")
                assert path.read_bytes() == settled[path]
    assert not list((home.path / "clients").glob("*/.*"))
