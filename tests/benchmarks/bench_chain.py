# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the chain builder on large heaps of candidates, with community.crypto's module beside it where installed.

Usage:  tests/benchmarks/bench_chain.py [COUNT]          (default 5000 candidates)

Three heaps, the right issuer last, in the file and in the order in which equals are tried: all names distinct; all
the same name with key identifiers; all the same name without key identifiers, so that only signatures can tell them
apart. "core" is what the module itself does: parse
the PEM, build and validate the chain. Peak memory is the whole process's, with the interpreter and cryptography.
Every figure is the median of five runs, each in its own process.
"""

from __future__ import annotations

import functools
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

RUNS = 5
HEAPS = ("distinct names", "same name", "same name, no key identifiers")


def make_heap(kind: str, count: int, directory: Path) -> dict[str, str]:
    from ansible_collections.kyma.mtls.tests.limbo import zoo  # noqa: PLC0415  (not in the measured process)

    without = ("ski", "aki") if kind.endswith("identifiers") else ()
    root = zoo.make("Bench Root", days=(-400, 4000), without=without)
    heap = []
    for number in range(count):
        name = f"Authority {number}" if kind == "distinct names" else "Authority"
        heap.append(zoo.make(name, issuer=root, own_key=zoo.key(f"bench {number}"), without=without))
    heap.sort(key=lambda one: hashlib.sha256(one.der).digest())  # the order in which equals are tried
    end = zoo.leaf(heap[-1], without=without)
    files = {
        "leaf": end.pem,
        "pool": "".join(one.pem for one in heap),
        "root": root.pem,
    }
    paths = {}
    for label, content in files.items():
        path = directory / f"{label}.pem"
        path.write_text(content)
        paths[label] = str(path)
    return paths


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def run_ours(paths: dict[str, str]) -> tuple[float, float]:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, sources  # noqa: PLC0415
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy  # noqa: PLC0415
    from ansible_collections.kyma.mtls.tests.limbo import zoo  # noqa: PLC0415

    began = clocks()
    gather = functools.partial(sources.gather_certificates, content=None)
    request = chain.Request(
        leaf_input=gather([paths["leaf"]], what="leaf").items,
        candidates=gather([paths["pool"]], what="candidates").items,
        roots=gather([paths["root"]], what="roots").items,
        policy=Policy(now=zoo.NOW),
    )
    answer = chain.resolve(request)
    answer.as_result()
    ended = clocks()
    if len(answer.path) != 3:
        raise SystemExit("the chain is wrong")
    return ended[0] - began[0], ended[1] - began[1]


def run_peer(paths: dict[str, str]) -> tuple[float, float]:
    """The steps of community.crypto's certificate_complete_chain, called directly."""
    from ansible_collections.community.crypto.plugins.modules import (  # noqa: PLC0415
        certificate_complete_chain as peer,
    )

    class Module:
        """What the peer's functions ask of the module object."""

        def warn(self, *_words: t.Any) -> None:
            pass

        def fail_json(self, **words: t.Any) -> None:
            raise SystemExit(str(words))

    module: t.Any = Module()
    began = clocks()
    current = peer.parse_pem_list(module, Path(paths["leaf"]).read_text(), source="leaf")[-1]
    pool, roots = peer.CertificateSet(module), peer.CertificateSet(module)
    pool.load(paths["pool"])
    roots.load(paths["root"])
    steps = 0
    while not roots.find_parent(current):
        current, steps = pool.find_parent(current), steps + 1
    ended = clocks()
    if steps != 1:
        raise SystemExit("the chain is wrong")
    return ended[0] - began[0], ended[1] - began[1]


def measured(who: str, paths: dict[str, str]) -> dict[str, float] | None:
    figures = []
    for _run in range(RUNS):
        done = subprocess.run(
            [sys.executable, __file__, "--one", who, json.dumps(paths)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"    ({who}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode})")
            return None
        figures.append(json.loads(done.stdout))
    return {key: statistics.median(one[key] for one in figures) for key in figures[0]}


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--one"]:
        runner = {"kyma.mtls": run_ours, "community.crypto": run_peer}[arguments[1]]
        seconds, cpu = runner(json.loads(arguments[2]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "cpu": cpu, "mib": peak}))
        return 0
    count = int(arguments[0]) if arguments else 5000
    for kind in HEAPS:
        with tempfile.TemporaryDirectory() as directory:
            paths = make_heap(kind, count, Path(directory))
            for who in ("kyma.mtls", "community.crypto"):
                figures = measured(who, paths)
                if figures:
                    print(
                        f"{count} candidates, {kind:30s} {who:17s} "
                        f"core {figures['seconds']:.3f} s (CPU {figures['cpu']:.3f} s), peak {figures['mib']:.0f} MiB"
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
