# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the double: ``python -m kubernetes_api --port 20800 --directory DIR`` (with tests/doubles on PYTHONPATH).

DIR gets ``kubeconfig``, ``mirror/`` with the stand-ins for Kyma's releases, ``digests.json`` with their SHA-256, and
``pid``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from pathlib import Path

import yaml

from . import manifests
from .cluster import Cluster
from .server import Server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--kubernetes", default="v1.31.14", help="version that the server reports")
    options = parser.parse_args()
    cluster = Cluster(kubernetes=options.kubernetes)
    for stored, body in manifests.a_cluster_has(options.kubernetes):
        cluster.store.set(stored, body)
    server = Server(cluster, options.port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    directory: Path = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    digests = manifests.write(directory / "mirror")
    with server.running():
        (directory / "digests.json").write_text(json.dumps(digests), encoding="utf-8")
        (directory / "pid").write_text(str(os.getpid()), encoding="utf-8")
        # Written last: who waits for it finds everything else.
        (directory / "kubeconfig").write_text(yaml.safe_dump(server.kubeconfig()), encoding="utf-8")
        stop.wait()


if __name__ == "__main__":
    main()
