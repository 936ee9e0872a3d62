# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmarks say can be trusted and read. Nothing is timed here."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ansible_collections.kyma.mtls.tests.benchmarks import bench_kubernetes, chart, harness, page

SVG = "{http://www.w3.org/2000/svg}"
SPIN = "import time; ends = time.process_time() + 0.2\nwhile time.process_time() < ends: pass"


def test_cpu_and_memory_are_those_of_descendants_too() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}]); print('done')"
    done = harness.run(sys.executable, "-c", child)
    assert done.output == "done\n"
    assert done.cost.cpu >= 0.2
    assert done.cost.wall > 0
    larger = harness.run(sys.executable, "-c", "len(b'x' * 100_000_000)")
    assert larger.cost.mib > done.cost.mib + 50


def test_a_command_that_fails_ends_the_benchmark_with_its_own_words() -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        harness.run(sys.executable, "-c", "import sys; sys.exit('no such thing')")


def test_figures_are_medians_with_their_extremes() -> None:
    costs = [harness.Cost(wall, wall / 2, mib) for wall, mib in ((3.0, 10.0), (1.0, 30.0), (2.0, 20.0))]
    row = harness.Bench("x").record("thing", costs).to_dict()
    assert row == {
        "what": "thing", "runs": 3, "wall": 2.0, "wall_min": 1.0, "wall_max": 3.0, "cpu": 1.0, "mib": 30,
    }  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The results of one benchmark that met a target and missed one, and drew a chart."""

    def measure(bench: harness.Bench) -> None:
        bench.record("thing | other", [harness.Cost(1.5, 1.0, 20.0)])
        bench.target("speed", "at most 2 s", "1.5 s", is_met=True)
        bench.target("flatness", "at most 1 s", "3 s", is_met=False, distance="an empty play is 0.8 s")
        for x, y in ((1, 2.0), (10, 3.0), (1000, 40.0)):
            bench.point("clients", "kyma <mtls>", x, y)
            bench.point("clients", "another", x, y * 2)

    path = tmp_path / "results.json"
    assert not harness.measure_all({"site": measure}, quick=True, results=path)
    return path


def test_results_of_other_benchmarks_are_kept(results: Path) -> None:
    harness.measure_all({"chain": lambda bench: bench.note("seen")}, quick=True, results=results)
    kept = json.loads(results.read_text())
    assert set(kept) == {"site", "chain"}
    assert kept["site"]["environment"]["cores"] >= 1
    assert kept["chain"]["notes"] == ["seen"]


def test_the_page_shows_figures_targets_and_distances_between_its_marks(results: Path, tmp_path: Path) -> None:
    marks = "before\n<!-- measured: {} -->\nold\n<!-- end of measured -->\nafter\n"
    docs = tmp_path / "performance.md"
    docs.write_text(marks.format("targets") + marks.format("site"))
    page.write(results, tmp_path)
    once = docs.read_text()
    assert "old" not in once
    assert once.count("before") == once.count("after") == 2
    assert "| speed | at most 2 s | 1.5 s | yes |" in once
    assert "| flatness | at most 1 s | 3 s | **no**: an empty play is 0.8 s |" in once
    assert "| thing \\| other | 1.50 | 1.00 | 20 | 1 |" in once
    assert "(performance/clients.svg)" in once
    page.write(results, tmp_path)
    assert docs.read_text() == once


def test_the_real_page_has_a_place_for_every_benchmark() -> None:
    from ansible_collections.kyma.mtls.tests.benchmarks.__main__ import BENCHMARKS  # noqa: PLC0415

    marks = re.findall(r"<!-- measured: (\w+) -->", (harness.ROOT / "docs" / "performance.md").read_text())
    assert sorted(marks) == sorted(["targets", *BENCHMARKS])


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match="0 places for the measured site"):
        page.fill("nothing", "site", "text")


def test_a_chart_is_an_image_with_every_line_and_point_inside_it(results: Path, tmp_path: Path) -> None:
    (drawn,) = page.draw(results, tmp_path)
    root = ElementTree.fromstring(drawn.read_text())  # noqa: S314  (our own file)
    assert len(root.findall(f"{SVG}polyline")) == 2
    texts = [one.text for one in root.findall(f"{SVG}text")]
    assert {"kyma <mtls>", "another", "clients", "seconds"} <= set(texts)
    for line in root.findall(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = (float(one) for one in point.split(","))
            assert chart.LEFT - 0.1 <= x <= chart.WIDTH - chart.RIGHT + 0.1
            assert chart.TOP - 0.1 <= y <= chart.HEIGHT - chart.BOTTOM + 0.1
    assert "prefers-color-scheme: dark" in drawn.read_text()
    assert "http" not in drawn.read_text().replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("axis", "values", "ticks"),
    [
        (chart.Axis("x"), [3.0, 7.3], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (chart.Axis("x"), [1.0, 170.0], [0, 50, 100, 150, 200]),
        (chart.Axis("x", is_logarithmic=True), [1, 5000], [1, 10, 100, 1000, 10000]),
        (chart.Axis("x", is_logarithmic=True), [0.3, 10], [0.1, 1, 10]),
    ],
)
def test_axes_have_round_ticks(axis: chart.Axis, values: list[float], ticks: list[float]) -> None:
    assert axis.ticks(*axis.range(values)) == pytest.approx(ticks)


def test_a_benchmark_works_when_in_a_hurry() -> None:
    bench = harness.Bench("kubernetes", quick=True)
    bench_kubernetes.measure(bench)
    assert [row["what"] for row in bench.targets] == ["API requests of an unchanged run"]
    assert bench.figures
