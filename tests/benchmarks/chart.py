# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A line chart as one SVG file that follows its reader's light or dark mode.

Written by hand: plotting libraries fix their colours when they draw, so that a chart would be good in one mode only,
and bring a stack of numerics for what is little code. Lines differ in colour and in the shape of their points.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 36, 96, 56
_STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --faint: #d1d9e0; --line-0: #0969da; --line-1: #bc4c00; --line-2: #1a7f37;
    font: 14px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
  @media (prefers-color-scheme: dark) { svg { --paper: #0d1117; --ink: #e6edf3; --faint: #30363d; --line-0: #58a6ff;
    --line-1: #f0883e; --line-2: #3fb950; } }
  .paper { fill: var(--paper); } text { fill: var(--ink); } .title { font-size: 17px; font-weight: 600; }
  .grid { stroke: var(--faint); stroke-width: 1; } .axis { stroke: var(--ink); stroke-width: 1; }
  .line { fill: none; stroke-width: 2.2; } .end { text-anchor: end; } .middle { text-anchor: middle; }
"""
_POINTS = (
    '<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>',
    '<rect x="{left:.1f}" y="{top:.1f}" width="8" height="8" fill="{colour}"/>',
    '<path d="M{x:.1f} {top:.1f} l5.5 9 h-11 z" fill="{colour}"/>',
)


@dataclass(frozen=True)
class Axis:
    """What is along one side, and whether equal steps are equal factors."""

    label: str
    is_logarithmic: bool = False

    def range(self, values: t.Sequence[float]) -> tuple[float, float]:
        low, high = min(values), max(values)
        if self.is_logarithmic:
            return 10 ** math.floor(math.log10(low) + 1e-9), 10 ** math.ceil(math.log10(high) - 1e-9)
        step = _step(high)
        return 0.0, math.ceil(high / step) * step

    def ticks(self, low: float, high: float) -> list[float]:
        if self.is_logarithmic:
            return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
        step = _step(high)
        return [step * number for number in range(round(high / step) + 1)]

    def part(self, value: float, low: float, high: float) -> float:
        """Return where ``value`` is between ``low`` (0) and ``high`` (1)."""
        if self.is_logarithmic:
            return math.log(value / low) / (math.log(high / low) or 1)
        return (value - low) / ((high - low) or 1)


@dataclass(frozen=True)
class Chart:
    """What a chart shows, but for the lines."""

    title: str
    x: Axis
    y: Axis


def _step(high: float) -> float:
    """Return a round step that makes four to ten parts of ``high``."""
    power = 10.0 ** math.floor(math.log10(high or 1))
    return power * next(factor for factor in (0.1, 0.2, 0.5, 1, 2) if high / (power * factor) <= 8)


def draw(chart: Chart, lines: t.Mapping[str, t.Sequence[t.Sequence[float]]]) -> str:
    """Return the SVG of ``lines``: name to points."""
    xs = chart.x.range([point[0] for points in lines.values() for point in points])
    ys = chart.y.range([point[1] for points in lines.values() for point in points])

    def place(point: t.Sequence[float]) -> tuple[float, float]:
        across, up = chart.x.part(point[0], *xs), chart.y.part(point[1], *ys)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    body = [f'<text class="title" x="{LEFT}" y="30">{escape(chart.title)}</text>', *_axes(chart, xs, ys, place)]
    across = float(LEFT)
    for number, (name, points) in enumerate(lines.items()):
        colour = f"var(--line-{number % len(_POINTS)})"
        placed = [place(point) for point in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        body.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
        body += [_point(number, x, y, colour) for x, y in placed]
        body.append(_point(number, across + 5, 61, colour))
        body.append(f'<text x="{across + 16:.0f}" y="66">{escape(name)}</text>')
        across += 42 + 7.4 * len(name)
    described = f"{chart.title}: {chart.y.label} against {chart.x.label}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            f' role="img" aria-label="{escape(described)}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
            *body,
            "</svg>\n",
        ]
    )


def _axes(
    chart: Chart,
    xs: tuple[float, float],
    ys: tuple[float, float],
    place: t.Callable[[t.Sequence[float]], tuple[float, float]],
) -> t.Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in chart.y.ticks(*ys):
        _x, y = place((xs[0], tick))
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="end" x="{LEFT - 8}" y="{y + 5:.1f}">{tick:,.6g}</text>'
    for tick in chart.x.ticks(*xs):
        x, _y = place((tick, ys[0]))
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        yield f'<text class="middle" x="{x:.1f}" y="{bottom + 22}">{tick:,.6g}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<text class="middle" x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 12}">{escape(chart.x.label)}</text>'
    yield f'<text x="{LEFT - 60}" y="{TOP - 10}">{escape(chart.y.label)}</text>'


def _point(number: int, x: float, y: float, colour: str) -> str:
    shape = _POINTS[number % len(_POINTS)]
    return shape.format(x=x, y=y, left=x - 4, top=y - (6 if shape.startswith("<path") else 4), colour=colour)
