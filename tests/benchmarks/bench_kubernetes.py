# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What applying to a cluster costs: requests to the API server, and time, for a first and for an unchanged run.

The cluster is the double of tests/doubles, so the times are ours and the client's, not a cluster's.

    PYTHONPATH=.build/collections python tests/benchmarks/bench_kubernetes.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client, objects
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.run import Patience, Run
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters

WORKLOADS = (1, 5, 15)
REPEATS = 3


def bodies(number: int) -> list[dict[str, t.Any]]:
    """A namespace, a Gateway, and so many workloads with their APIRules."""
    found = [clusters.namespace(), clusters.gateway()]
    for index in range(number):
        for body in (clusters.service(), clusters.deployment(), clusters.apirule()):
            body["metadata"]["name"] = f"httpbin-{index}"
            if body["kind"] == "APIRule":
                body["spec"]["hosts"] = [f"httpbin-{index}.mtls.local.kyma.dev"]
                body["spec"]["service"]["name"] = f"httpbin-{index}"
            found.append(body)
    return found


def run(cluster: clusters.TestCluster, wanted: t.Sequence[objects.Wanted]) -> tuple[int, float, bool]:
    """Requests, seconds and whether anything changed."""
    began = time.perf_counter()
    api = client.connect({"kubeconfig": str(cluster.kubeconfig), "context": None})
    one = Run(api, check_only=False, patience=Patience(timeout_seconds=120))
    outcome = one.present(wanted, wait=True)
    return api.requests, time.perf_counter() - began, outcome.changed


def main() -> None:
    print("workloads  objects  first run: requests, s   unchanged run: requests, requests per object, median s")
    for number in WORKLOADS:
        wanted = objects.wanted(bodies(number), where="benchmark")
        with tempfile.TemporaryDirectory() as directory, clusters.cluster(Path(directory)) as cluster:
            cluster.install_kyma()
            first, seconds, _changed = run(cluster, wanted)
            again = [run(cluster, wanted) for _repeat in range(REPEATS)]
        if any(changed for _requests, _seconds, changed in again):
            raise SystemExit("an unchanged run has changed something")
        requests = again[0][0]
        median = statistics.median(seconds for _requests, seconds, _changed in again)
        print(
            f"{number:9}  {len(wanted):7}  {first:19}, {seconds:4.1f}  {requests:23}, {requests / len(wanted):19.2f},"
            f" {median:8.2f}"
        )


if __name__ == "__main__":
    main()
