# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What applying to a cluster costs: requests to the API server, and time, for a first and for an unchanged run.

The cluster is the double of tests/doubles, so the times are ours and the client's, not a cluster's.
"""

from __future__ import annotations

import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client, objects
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.run import ApplyRun
from ansible_collections.kyma.mtls.tests.benchmarks import harness
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.roles.test_site_on_kubernetes import CONSTANT, REQUESTS_PER_OBJECT, Site

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench

# Kyma's managers take so long.
MANAGER_SECONDS = 10.0


def measure(bench: Bench) -> None:
    found: list[tuple[int, int]] = []
    for number in bench.sizes(1, 5, 15):
        desired = objects.desired(_bodies(number), where="benchmark")
        with tempfile.TemporaryDirectory() as directory, clusters.cluster(Path(directory), poll_seconds=2) as cluster:
            cluster.install_kyma()
            first, cost, _changed = _run(cluster, desired)
            agains = [_run(cluster, desired) for _repeat in range(3)]
        if any(changed for _requests, _cost, changed in agains):
            raise SystemExit("an unchanged run has changed something")
        again = agains[0][0]
        of = f"{number} gateway{'s' if number > 1 else ''} and workloads, {len(desired)} objects"
        bench.record(f"first run, {of}: {first} requests", [cost])
        bench.record(f"unchanged run, {of}: {again} requests", [cost for _requests, cost, _changed in agains])
        bench.point("requests", "first run", number, first)
        bench.point("requests", "unchanged run", number, again)
        found.append((len(desired), again))
    (few, least), (many, most) = found[0], found[-1]
    slope = (most - least) / (many - few) if many > few else least / few
    bench.target(
        "API requests of an unchanged run",
        f"a constant and at most {REQUESTS_PER_OBJECT} an object",
        f"{least - slope * few:.1f} and {slope:.2f} an object ({', '.join(f'{r} for {o} objects' for o, r in found)})",
        is_met=slope <= REQUESTS_PER_OBJECT,
    )
    if not bench.quick:
        _measure_site(bench)


def _measure_site(bench: Bench) -> None:
    """The roles cluster, modules, gateway and httpbin on a fresh cluster, over HTTPS, with Kyma's own waits."""
    waits = {"first_ready_seconds": 0.5, "manager_seconds": MANAGER_SECONDS}
    with (
        tempfile.TemporaryDirectory() as directory,
        clusters.cluster(Path(directory), poll_seconds=2, **waits) as cluster,
    ):
        for stored, body in manifests.a_cluster_has("v1.31.14"):
            cluster.store.set(stored, body)
        (Path(directory) / "pki").mkdir()
        site = Site(cluster, runtimes.Pki(Path(directory) / "pki"), Path(directory))
        counts = []
        for what in ("first", "unchanged"):
            cluster.double.log.clear()
            began = time.perf_counter()
            changes, _printed = site.ok()
            counts.append(len(cluster.double.log))
            applied = len([line for line in cluster.double.log if line.startswith("PATCH")])
            took = harness.Cost(time.perf_counter() - began, 0, 0)
            bench.record(f"{what} run of the site's roles, {applied} objects: {counts[-1]} requests", [took])
        if changes:
            raise SystemExit("an unchanged site has changed something")
    limit = CONSTANT + REQUESTS_PER_OBJECT * applied
    bench.target(
        "API requests of an unchanged site with managed modules",
        f"{CONSTANT} and at most {REQUESTS_PER_OBJECT} an object: {limit}",
        f"{counts[-1]}, after {counts[0]} of the first run",
        is_met=counts[-1] <= limit,
    )


def _bodies(number: int) -> list[dict[str, t.Any]]:
    """A namespace, and so many Gateways, each with a workload and its APIRule."""
    found = [clusters.namespace()]
    for index in range(number):
        for body in (clusters.gateway(), clusters.service(), clusters.deployment(), clusters.apirule()):
            body["metadata"]["name"] = f"{body['metadata']['name']}-{index}"
            if body["kind"] == "Gateway":
                body["spec"]["servers"][0]["hosts"] = [f"*.site-{index}.local.kyma.dev"]
            if body["kind"] == "APIRule":
                body["spec"]["gateway"] += f"-{index}"
                body["spec"]["hosts"] = [f"httpbin.site-{index}.local.kyma.dev"]
                body["spec"]["service"]["name"] += f"-{index}"
            found.append(body)
    return found


def _run(cluster: clusters.TestCluster, desired: t.Sequence[objects.DesiredObject]) -> tuple[int, harness.Cost, bool]:
    """Requests, cost (without processes, so without peak memory) and whether anything changed."""
    began, cpu = time.perf_counter(), time.thread_time()
    api = client.connect({"kubeconfig": str(cluster.kubeconfig), "context": None})
    outcome = ApplyRun(api, check_only=False, timeout_seconds=120).present(desired, wait=True)
    cost = harness.Cost(time.perf_counter() - began, time.thread_time() - cpu, 0)
    return api.requests, cost, outcome.changed
