# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draw docs/packages.svg: which package of the collection imports which, read from the imports themselves.

Single files beside the packages (``_errors.py``, ``_files.py`` ...) serve everybody and are left out.

    python tools/packages.py            fail if the picture is not the one of the imports
    python tools/packages.py --write    draw it again

An arrow that a longer way already implies is left out. Run from the root of the checkout.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

import grimp

PICTURE = Path("docs/packages.svg")
PLUGINS = "ansible_collections.kyma.mtls.plugins"
UTILS = f"{PLUGINS}.module_utils"
#: Kinds of plugins are one box each; of module_utils every package is one.
KINDS = ("action", "modules", "filter", "lookup", "plugin_utils")
WIDTH, HEIGHT, GAP, ROW = 116, 30, 12, 84
PASSING = "past "

Graph = dict[str, set[str]]


def imports() -> Graph:
    """Return what each box imports from other boxes."""
    modules = grimp.build_graph("ansible_collections.kyma.mtls", cache_dir=None)
    found: Graph = {}
    for module in sorted(modules.modules):
        own = box(module)
        if own:
            others = map(box, modules.find_modules_directly_imported_by(module))
            found.setdefault(own, set()).update(other for other in others if other and other != own)
    return found


def box(module: str) -> str:
    if module.startswith(f"{UTILS}."):
        package = module.removeprefix(f"{UTILS}.").split(".")[0]
        return package if Path("plugins/module_utils", package).is_dir() else ""
    kind = module.removeprefix(f"{PLUGINS}.").split(".")[0]
    return kind if module.startswith(f"{PLUGINS}.") and kind in KINDS else ""


def behind(graph: Graph, start: str) -> set[str]:
    """Return all that ``start`` imports, directly or through others."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = graph[waiting.pop()] - seen
        seen |= fresh
        waiting += fresh
    return seen


def without_shortcuts(graph: Graph) -> Graph:
    return {
        name: {target for target in targets if not any(target in behind(graph, other) for other in targets - {target})}
        for name, targets in graph.items()
    }


def rows(graph: Graph) -> list[list[str]]:
    """Return the boxes by their distance from those that import nothing, the highest first."""
    height: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((level(other) for other in graph[name]), default=-1)
        return height[name]

    for name in graph:
        level(name)
    return [sorted(name for name in graph if height[name] == one) for one in range(max(height.values()), -1, -1)]


def routed(graph: Graph, lines: list[list[str]]) -> tuple[list[list[str]], list[tuple[int, str, str]]]:
    """Give every arrow that passes a row a place in it, shared by all arrows to one box; return rows and segments."""
    row_of = {name: number for number, line in enumerate(lines) for name in line}
    wide = [list(line) for line in lines]
    segments: set[tuple[int, str, str]] = set()
    for start, target in [(one, other) for one in graph for other in graph[one]]:
        below = start
        for row in range(row_of[start] + 1, row_of[target] + 1):
            place = target if row == row_of[target] else f"{PASSING}{target}"
            if place not in wide[row]:
                wide[row].append(place)
            segments.add((row - 1, below, place))
            below = place
    for row, line in enumerate(wide[1:]):  # near what leads there, so that fewer arrows cross
        from_where: dict[str, list[int]] = {name: [] for name in line}
        for at, above, below in segments:
            if at == row:
                from_where[below].append(wide[row].index(above))
        line.sort(key=lambda name, found=from_where: (_middle(found[name]), name))  # type: ignore[misc]
    return wide, sorted(segments)


def _middle(positions: list[int]) -> float:
    return sum(positions) / len(positions) if positions else 0


def picture(graph: Graph) -> str:
    lines, segments = routed(graph, rows(graph))
    width = max(len(line) for line in lines) * (WIDTH + GAP) + GAP
    places = {
        (row, name): (round(width / len(line) * (index + 0.5)), GAP + row * ROW)
        for row, line in enumerate(lines)
        for index, name in enumerate(line)
    }
    parts = []
    for row, above, below in segments:
        (x, y), (to_x, to_y) = places[row, above], places[row + 1, below]
        end = f"{to_x} {to_y + HEIGHT}" if below.startswith(PASSING) else f'{to_x} {to_y - 4}" marker-end="url(#tip)'
        middle = f"L{to_x} {to_y} L" if below.startswith(PASSING) else "L"
        parts.append(f'<path d="M{x} {y + HEIGHT} {middle}{end}"/>')
    for (_row, name), (x, y) in places.items():
        if not name.startswith(PASSING):
            kind = "utils" if name.startswith("_") else "plugins"
            parts.append(
                f'<rect class="{kind}" x="{x - WIDTH // 2}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
                f'<text x="{x}" y="{y + 20}">{escape(name)}</text>'
            )
    height = GAP * 2 + HEIGHT + (len(lines) - 1) * ROW
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' aria-label="Packages of the collection; arrows are imports">\n'
        "<!-- Drawn by tools/packages.py from the imports. -->\n"
        "<style>text { font: 13px sans-serif; text-anchor: middle; fill: #1f2937 } rect { stroke: #4b5563 }"
        " .utils { fill: #e0ecff } .plugins { fill: #fde9c8 } path { stroke: #6b7280; fill: none }</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" style="fill: white; stroke: none"/>\n{body}\n</svg>\n'
    )


def main(arguments: list[str]) -> int:
    sys.path.insert(0, ".build/collections")
    drawn = picture(without_shortcuts(imports()))
    if arguments == ["--write"]:
        PICTURE.write_text(drawn, encoding="utf-8")
        return 0
    if not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn:
        print(f"{PICTURE} is not the picture of the imports any more: python tools/packages.py --write draws it again.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
