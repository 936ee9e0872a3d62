# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare a cluster's objects with the tutorial's: ``compare.py TUTORIAL DEVIATIONS OBJECTS``.

Every field of the tutorial must be in the cluster with the same value, and every field that we applied must be in the
tutorial, but for the listed deviations. A deviation that does not occur is an error too: the list stays true.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml


def leaves(value: object, path: str = "") -> dict[str, object]:
    """Return all values below ``value`` by their paths."""
    if isinstance(value, dict) and value:
        return {key: one for name, below in value.items() for key, one in leaves(below, f"{path}.{name}").items()}
    if isinstance(value, list) and value:
        parts = [leaves(below, f"{path}[{number}]") for number, below in enumerate(value)]
        return {key: one for part in parts for key, one in part.items()}
    return {path: value}


def label(body: dict) -> str:
    return f"{body['kind']} {body['metadata']['name']}"


def applied(body: dict) -> dict:
    """Return the part of ``body`` that kyma.mtls has applied."""
    for entry in body["metadata"].get("managedFields") or []:
        if entry["manager"] == "kyma.mtls" and entry["operation"] == "Apply":
            return picked(body, entry["fieldsV1"])
    return {}


def picked(value: object, fields: dict) -> object:
    below = {key: one for key, one in fields.items() if key != "."}
    if not below:
        return value
    if isinstance(value, list):
        keys = [(json.loads(key[2:]), one) for key, one in below.items() if key.startswith("k:")]
        return [picked(item, one) for wanted, one in keys for item in value if wanted.items() <= item.items()]
    return {key[2:]: picked(value[key[2:]], one) for key, one in below.items()}


def compare(tutorial: list[dict], deviations: list[dict], objects: list[dict]) -> list[str]:
    held = {label(body): body for body in objects}
    allowed = {(one["object"], one["path"]): one for one in deviations}
    used: set[tuple[str, str]] = set()
    found = []

    def deviates(name: str, path: str, ours: object, theirs: object) -> None:
        for (where, start), one in allowed.items():
            if where == name and (path == start or path.startswith((f"{start}.", f"{start}["))):
                used.add((where, start))
                if path == start and "ours" in one and one["ours"] != ours:
                    found.append(f"{name}{path}: {ours!r}, listed as {one['ours']!r}")
                return
        found.append(f"{name}{path}: tutorial {theirs!r}, cluster {ours!r}")

    for body in tutorial:
        name = label(body)
        if name not in held:
            found.append(f"{name} is not there")
            continue
        wanted = leaves({key: one for key, one in body.items() if key != "kind"})
        ours, everything = leaves(applied(held[name])), leaves(held[name])
        for path, value in wanted.items():
            if everything.get(path) != value:
                deviates(name, path, everything.get(path), value)
        for path, value in ours.items():
            if path not in wanted and path:
                deviates(name, path, value, None)
    others = sorted(set(held) - {label(body) for body in tutorial})
    found += [f"{name} is not in the tutorial" for name in others if name not in {where for where, _path in allowed}]
    found += [f"{where}{path}: listed as a deviation, but is none" for where, path in sorted(set(allowed) - used)]
    return found


def main(tutorial: Path, deviations: Path, objects: Path) -> int:
    found = compare(
        yaml.safe_load(tutorial.read_text(encoding="utf-8")),
        yaml.safe_load(deviations.read_text(encoding="utf-8")),
        json.loads(objects.read_text(encoding="utf-8")),
    )
    print("\n".join(found) or "as in the tutorial, but for the listed deviations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*(Path(argument) for argument in sys.argv[1:4])))
