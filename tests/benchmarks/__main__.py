# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tools/bench: run the benchmarks; each prints its medians and compares with its targets.

A missed target is no failure: it is said, with the floor and the distance. Only a benchmark that cannot run fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import (
    bench_chain,
    bench_fleet,
    bench_kubernetes,
    bench_pki,
    bench_rotation,
    bench_site,
    bench_vault,
    bench_verify,
    harness,
    page,
)

BENCHMARKS = {
    "site": bench_site.measure,
    "pki": bench_pki.measure,
    "vault": bench_vault.measure,
    "fleet": bench_fleet.measure,
    "chain": bench_chain.measure,
    "verify": bench_verify.measure,
    "rotation": bench_rotation.measure,
    "kubernetes": bench_kubernetes.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Measure, print medians, keep them as JSON.")
    parser.add_argument("only", nargs="*", help=f"benchmarks to run: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes and single runs: does it work at all?")
    parser.add_argument("--page", action="store_true", help="measure nothing: put the last figures into the docs")
    parser.add_argument("--results", type=Path, help="where the JSON is")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    results = options.results or harness.RESULTS.with_name("quick.json" if options.quick else "results.json")
    if options.page:
        page.write(results, harness.ROOT / "docs")
        return 0
    wanted = {name: BENCHMARKS[name] for name in options.only or BENCHMARKS}
    harness.measure_all(wanted, quick=options.quick, results=results)
    page.draw(results, results.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
