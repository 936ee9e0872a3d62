# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Server-side apply: who owns which fields, and what merging does.

Fields are kept as a set of paths. A path is a tuple of steps as they stand in ``fieldsV1``: ``f:name`` for a key,
``k:{...}`` for an item of a list with keys, and ``.`` for such an item itself.
"""

from __future__ import annotations

import json
import typing as t

from .refusals import Json

Path = tuple[str, ...]

# Lists whose items have keys, and lists of values that are a set, by the path of their field names.
LIST_KEYS: dict[str, tuple[str, ...]] = {
    "Service.spec.ports": ("port", "protocol"),
    "*.spec.containers": ("name",),
    "*.spec.initContainers": ("name",),
    "*.spec.containers.ports": ("containerPort", "protocol"),
    "*.spec.containers.env": ("name",),
    "*.spec.initContainers.env": ("name",),
    "*.spec.volumes": ("name",),
    "*.spec.containers.volumeMounts": ("mountPath",),
    "*.webhooks": ("name",),
    "*.status.conditions": ("type",),
    "*.metadata.ownerReferences": ("uid",),
}
KEY_DEFAULTS = {"protocol": "TCP"}
SETS = ("*.metadata.finalizers",)
# Maps that are one value.
ATOMIC = ("Service.spec.selector", "Deployment.spec.selector", "DaemonSet.spec.selector")
IDENTITY = frozenset({"apiVersion", "kind"})
SERVER_METADATA = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"}
)


def copied(value: t.Any) -> t.Any:
    """A deep copy of what JSON can hold: several times faster than that of any Python object."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


class Shape:
    """How the values of one kind merge, from our table or from the schema of its CRD."""

    def __init__(self, kind: str, schema: Json | None) -> None:
        self.kind = kind
        self.schema = schema

    def list_keys(self, names: Path, schema: Json | None) -> tuple[str, ...] | None:
        if schema is not None and schema.get("x-kubernetes-list-type") == "map":
            return tuple(schema["x-kubernetes-list-map-keys"])
        if self.schema is not None and names[:1] != ("metadata",) and names[:2] != ("status", "conditions"):
            return None
        for pattern, keys in LIST_KEYS.items():
            if self._matches(pattern, names):
                return keys
        return None

    def is_set(self, names: Path, schema: Json | None) -> bool:
        if schema is not None and schema.get("x-kubernetes-list-type") == "set":
            return True
        return any(self._matches(pattern, names) for pattern in SETS)

    def atomic(self, names: Path, schema: Json | None) -> bool:
        if schema is not None and schema.get("x-kubernetes-map-type") == "atomic":
            return True
        return self.schema is None and any(self._matches(pattern, names) for pattern in ATOMIC)

    def _matches(self, pattern: str, names: Path) -> bool:
        kind, *rest = pattern.split(".")
        if kind == "*":
            return names[-len(rest) :] == tuple(rest)
        return kind == self.kind and names == tuple(rest)


def below(schema: Json | None, name: str) -> Json | None:
    """Return the schema of a field, None when there is none."""
    if schema is None:
        return None
    properties = schema.get("properties") or {}
    if name in properties:
        found: Json = properties[name]
        return found
    extra = schema.get("additionalProperties")
    return extra if isinstance(extra, dict) else None


def item_key(item: Json, keys: tuple[str, ...]) -> str:
    found = {key: item.get(key, KEY_DEFAULTS.get(key)) for key in sorted(keys)}
    return "k:" + json.dumps({key: value for key, value in found.items() if value is not None}, separators=(",", ":"))


def fields_of(body: Json, shape: Shape) -> set[Path]:
    """Return the fields that ``body`` sets."""
    found: set[Path] = set()
    metadata = {key: value for key, value in body.get("metadata", {}).items() if key not in SERVER_METADATA}
    others = {key: value for key, value in body.items() if key not in IDENTITY and key != "metadata"}
    for key, value in {**({"metadata": metadata} if metadata else {}), **others}.items():
        _fields(value, (f"f:{key}",), (key,), shape, below(shape.schema, key), found)
    return found


def _fields(value: t.Any, path: Path, names: Path, shape: Shape, schema: Json | None, found: set[Path]) -> None:
    if isinstance(value, dict) and value and not shape.atomic(names, schema):
        for key, one in value.items():
            _fields(one, (*path, f"f:{key}"), (*names, key), shape, below(schema, key), found)
        return
    if isinstance(value, list) and value:
        keys = shape.list_keys(names, schema)
        if keys:
            items = (schema or {}).get("items")
            for item in value:
                step = (*path, item_key(item, keys))
                found.add((*step, "."))
                for key, one in item.items():
                    _fields(one, (*step, f"f:{key}"), (*names, key), shape, below(items, key), found)
            return
        if shape.is_set(names, schema):
            found.update((*path, f"v:{json.dumps(one)}") for one in value)
            return
    found.add(path)


def merge(live: t.Any, applied: t.Any, shape: Shape, names: Path = (), schema: Json | None = None) -> t.Any:
    """Return ``live`` with the values of ``applied``."""
    if isinstance(live, dict) and isinstance(applied, dict) and not (names and shape.atomic(names, schema)):
        merged = dict(live)
        for key, value in applied.items():
            merged[key] = (
                merge(live[key], value, shape, (*names, key), below(schema, key)) if key in live else copied(value)
            )
        return merged
    if isinstance(live, list) and isinstance(applied, list):
        keys = shape.list_keys(names, schema)
        if keys:
            return _merge_items(live, applied, keys, shape, names, (schema or {}).get("items"))
        if shape.is_set(names, schema):
            return [*live, *(one for one in applied if one not in live)]
    return copied(applied)


def _merge_items(
    live: list[Json], applied: list[Json], keys: tuple[str, ...], shape: Shape, names: Path, schema: Json | None
) -> list[Json]:
    items = {item_key(item, keys): item for item in live}
    for item in applied:
        key = item_key(item, keys)
        items[key] = merge(items[key], item, shape, names, schema) if key in items else copied(item)
    return list(items.values())


def value_at(body: t.Any, path: Path) -> t.Any:
    """Return the value at ``path``, None when there is none."""
    for step in path:
        if step == "." or body is None:
            return body
        if step.startswith("f:"):
            body = body.get(step[2:]) if isinstance(body, dict) else None
        elif step.startswith("k:"):
            body = find_item(body, step)
        else:
            value = json.loads(step[2:])
            return value if isinstance(body, list) and value in body else None
    return body


def find_item(items: t.Any, step: str) -> t.Any:
    keys = json.loads(step[2:])
    for item in items if isinstance(items, list) else []:
        if all(item.get(key, KEY_DEFAULTS.get(key)) == value for key, value in keys.items()):
            return item
    return None


def remove(body: t.Any, path: Path) -> None:
    """Take the value at ``path`` out of ``body``."""
    for step in path[:-1]:
        body = find_item(body, step) if step.startswith("k:") else (body or {}).get(step[2:])
        if body is None:
            return
    last = path[-1]
    if last.startswith("f:") and isinstance(body, dict):
        body.pop(last[2:], None)
    elif last.startswith("k:") and isinstance(body, list):
        item = find_item(body, last)
        if item is not None:
            body.remove(item)
    elif last.startswith("v:") and isinstance(body, list) and json.loads(last[2:]) in body:
        body.remove(json.loads(last[2:]))


def nested(paths: t.Iterable[Path]) -> Json:
    """Return ``paths`` as fieldsV1."""
    tree: Json = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return tree


def flat(fields: Json, prefix: Path = ()) -> set[Path]:
    """Return fieldsV1 as paths."""
    found: set[Path] = set()
    for step, node in fields.items():
        path = (*prefix, step)
        if node:
            found |= flat(node, path)
        else:
            found.add(path)
    return found


def shown(path: Path) -> str:
    """Return ``path`` as it stands in a conflict."""
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        elif step.startswith("k:"):
            keys = json.loads(step[2:])
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]"
        elif step.startswith("v:"):
            text += f"[{step[2:]}]"
    return text
