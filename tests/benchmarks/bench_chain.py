# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""certificate_chain beside community.crypto's certificate_complete_chain, as tasks and without Ansible.

The right issuer is the last of the heap of candidates, in the file and in the order in which equals are tried.
As a task: all names distinct, a play of one task, ours and the peer's by turns.
Without Ansible ("core": parse the PEM, build and validate the chain, in a process of its own): also all the same name
with key identifiers, and without them, so that only signatures can tell the candidates apart.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import math
import os
import resource
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import harness, plays

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench

POOLS = (1, 10, 100, 1000, 5000)
LARGEST = POOLS[-1]
RUNS = 3
HEAPS = ("distinct names", "same name", "same name, no key identifiers")
PEER = "certificate_complete_chain"


def measure(bench: Bench) -> None:
    empty, _module = plays.floor(bench)
    with tempfile.TemporaryDirectory() as directory:
        heap = Path(directory)
        paths = make_heap(HEAPS[0], LARGEST if not bench.quick else 10, heap)
        found = {count: _as_tasks(bench, count, paths, empty) for count in bench.sizes(*POOLS)}
    ratios = ", ".join(f"{ratio:.2f} at {count:,}" for count, ratio in found.items())
    bench.target(
        f"certificate_chain as a task, CPU against {PEER}",
        "no more at any pool size, and less from 1,000",
        f"{ratios} times",
        is_met=all(ratio <= 1 for ratio in found.values()),
        distance=f"ours packs and compiles more code for its Python; an empty play ({empty.cpu:.1f} s) is off both",
    )
    if bench.quick:
        return
    ours, theirs = [_core(bench, kind) for kind in HEAPS][-1]
    bench.target(
        f"certificate_chain worst case, {LARGEST:,} candidates of one name without key identifiers, core",
        "at most the peer's time in the same run",
        f"{ours / theirs:.2f} times ({ours:.2f} s against {theirs:.2f} s of CPU)",
        is_met=ours <= theirs,
        distance="every candidate's key has to be tried on the signature; that alone is two thirds of the time",
    )


def make_heap(kind: str, count: int, directory: Path) -> dict[str, str]:
    from ansible_collections.kyma.mtls.tests.limbo import zoo  # noqa: PLC0415  (not in the measured process)

    without = ("ski", "aki") if kind.endswith("identifiers") else ()
    root = zoo.make("Bench Root", days=(-400, 4000), without=without)
    heap = []
    for number in range(count):
        name = f"Authority {number}" if kind == "distinct names" else "Authority"
        heap.append(zoo.make(name, issuer=root, own_key=zoo.key(f"bench {number}"), without=without))
    heap.sort(key=lambda one: hashlib.sha256(one.der).digest())  # the order in which equals are tried
    files = {
        "leaf": zoo.leaf(heap[-1], without=without).pem,
        "root": root.pem,
        "valid_at": zoo.NOW.strftime("%Y%m%d%H%M%SZ"),
        **{f"pool {size}": "".join(one.pem for one in heap[-size:]) for size in {*POOLS, count} if size <= count},
    }
    paths = {}
    for label, content in files.items():
        path = directory / f"{label}.pem"
        path.write_text(content)
        paths[label] = str(path)
    return {**paths, "pool": paths[f"pool {count}"], "valid_at": files["valid_at"]}


def _as_tasks(bench: Bench, count: int, paths: dict[str, str], empty: harness.Figure) -> float:
    """Return our CPU in parts of the peer's, Ansible's own part taken off both."""
    pool = [paths[f"pool {count}"]]
    roots = [paths["root"]]
    ours = {"leaf": paths["leaf"], "candidates": pool, "roots": roots, "valid_at": paths["valid_at"]}
    leaf = Path(paths["leaf"]).read_text()
    theirs = {"input_chain": leaf, "intermediate_certificates": pool, "root_certificates": roots}
    both: dict[str, list[harness.Cost]] = {"ours": [], "theirs": []}
    for _run in range(1 if bench.quick else RUNS):
        both["ours"].append(plays.tasks({"kyma.mtls.certificate_chain": ours}))
        both["theirs"].append(plays.tasks({f"community.crypto.{PEER}": theirs}))
    of = f"a play of one task, {count:,} candidate{'s' if count > 1 else ''}"
    our = bench.record(f"certificate_chain, {of}", both["ours"])
    their = bench.record(f"{PEER}, {of}", both["theirs"])
    bench.point("candidates", "kyma.mtls.certificate_chain", count, our.cpu - empty.cpu)
    bench.point("candidates", f"community.crypto.{PEER}", count, their.cpu - empty.cpu)
    return (our.cpu - empty.cpu) / (their.cpu - empty.cpu)


def _core(bench: Bench, kind: str) -> tuple[float, float]:
    """Return the CPU seconds of ours and of the peer's, measured by turns; a peer that gives up takes for ever."""
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT / ".build" / "collections")}
    costs: dict[str, list[harness.Cost]] = {who: [] for who in RUNNERS}
    with tempfile.TemporaryDirectory() as directory:
        paths = make_heap(kind, LARGEST, Path(directory))
        for _run in range(5):
            for who, found in costs.items():
                done = harness.run(sys.executable, __file__, who, json.dumps(paths), env=environment)
                if not done.output.startswith("no chain"):
                    found.append(harness.Cost(*json.loads(done.output)))
    seconds = []
    for who, found in costs.items():
        what = f"{who}, core, {LARGEST:,} candidates, {kind}"
        if found:
            seconds.append(bench.record(what, found).cpu)
        else:
            bench.note(f"{what}: no chain")
            seconds.append(math.inf)
    return seconds[0], seconds[1]


def run_ours(paths: dict[str, str]) -> int:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, sources  # noqa: PLC0415
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy  # noqa: PLC0415
    from ansible_collections.kyma.mtls.tests.limbo import zoo  # noqa: PLC0415

    gather = functools.partial(sources.gather_certificates, content=None)
    request = chain.ChainRequest(
        leaf_input=gather([paths["leaf"]], what="leaf").items,
        candidates=gather([paths["pool"]], what="candidates").items,
        roots=gather([paths["root"]], what="roots").items,
        policy=Policy(now=zoo.NOW),
    )
    answer = chain.resolve(request)
    answer.as_result()
    return len(answer.path)


def run_peer(paths: dict[str, str]) -> int:
    """The steps of community.crypto's certificate_complete_chain, called directly."""
    from ansible_collections.community.crypto.plugins.modules import (  # noqa: PLC0415
        certificate_complete_chain as peer,
    )

    class Module:
        """What the peer's functions ask of the module object."""

        def warn(self, *_words: t.Any) -> None:
            pass

        def fail_json(self, **words: t.Any) -> None:
            print(f"no chain: {words}")
            raise SystemExit(0)

    module: t.Any = Module()
    current = peer.parse_pem_list(module, Path(paths["leaf"]).read_text(), source="leaf")[-1]
    pool, roots = peer.CertificateSet(module), peer.CertificateSet(module)
    pool.load(paths["pool"])
    roots.load(paths["root"])
    length = 2
    while not roots.find_parent(current):
        current, length = pool.find_parent(current), length + 1
    return length


# What each of them imports when it runs, and what its module has imported by then.
IMPORTS = {
    "kyma.mtls": (
        "kyma.mtls.plugins.module_utils._x509.chain",
        "kyma.mtls.plugins.module_utils._x509.sources",
        "kyma.mtls.tests.limbo.zoo",
    ),
    "community.crypto": ("community.crypto.plugins.modules.certificate_complete_chain",),
}
RUNNERS = {"kyma.mtls": run_ours, "community.crypto": run_peer}


def main(who: str, paths: dict[str, str]) -> None:
    """Print wall seconds, CPU seconds and peak MiB of one chain, its imports not counted in the seconds."""
    run = RUNNERS[who]
    for name in IMPORTS[who]:
        importlib.import_module(f"ansible_collections.{name}")
    began = time.perf_counter(), time.process_time()
    length = run(paths)
    ended = time.perf_counter(), time.process_time()
    if length != 3:
        raise SystemExit("the chain is wrong")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([ended[0] - began[0], ended[1] - began[1], peak]))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
