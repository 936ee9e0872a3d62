# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was applied to the local platform so far: its stand-in for the API server's memory.

Objects are one JSON file each. Of a Secret only what it holds in words is kept here; its data goes into Envoy's own
secret file and nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes, write_atomic

PLATFORM_FILE = "platform.json"
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")

Object = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class AppliedState:
    """All objects that the local platform was given: the input of the translation."""

    objects: t.Mapping[str, Object]
    secrets: t.Mapping[str, Object]
    """Label of a Secret -> what it holds, in words."""
    ports: t.Mapping[int, int]
    """Port number in a Gateway -> local port."""
    workloads: t.Mapping[str, Object]
    """``namespace/deployment`` -> {"requirements": text, "command": list}."""
    upstreams: t.Mapping[str, Object] = dataclasses.field(default_factory=dict)
    """``namespace/service:port`` -> what answers in place of the Service's pods, as the module's option has it."""
    key_sets: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    """jwksUri of an APIRule -> the key set that is there."""


def object_key(definition: t.Mapping[str, t.Any]) -> str:
    """Return the file name (without ending) of an object.

    Raises MtlsError when ``definition`` is not a Kubernetes object.
    """
    kind = definition.get("kind")
    metadata = definition.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(kind, str) or not kind.isalnum() or not isinstance(name, str):
        raise MtlsError(f"A definition without kind or metadata.name is not a Kubernetes object: {definition!r:.200}")
    if kind == "Secret":
        raise MtlsError(
            f"Secret {name} is among the definitions. Give it as an item of secrets, with the paths of its files, "
            "so that no key passes through Ansible's arguments."
        )
    namespace = "" if kind == "Namespace" else (metadata or {}).get("namespace") or "default"
    for part in (name, namespace):
        if part and not NAME.fullmatch(str(part)):
            raise MtlsError(f"{kind} {name}: {part!r} is not a Kubernetes name (RFC 1123 subdomain).")
    return f"{kind}_{namespace}_{name}"


def damaged(path: Path, *, reason: str) -> MtlsError:
    """Return the refusal of a stored file."""
    return MtlsError(f"The stored object {path} is damaged: {reason}. Remove the file and run the playbook again.")


class ObjectStore:
    """The state on disk, in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def load(self) -> AppliedState:
        """Return what is on disk; an empty state when there is nothing.

        Raises MtlsError when a file is damaged.
        """
        platform = self._read(self.directory / PLATFORM_FILE) if (self.directory / PLATFORM_FILE).exists() else {}
        objects = {path.stem: self._read(path) for path in sorted(self.directory.glob("*_*.json"))}
        try:
            return AppliedState(
                objects=objects,
                secrets={label: dict(facts) for label, facts in platform.get("secrets", {}).items()},
                ports={int(port): int(local) for port, local in platform.get("ports", {}).items()},
                workloads={
                    name: {
                        "requirements": str(spec["requirements"]),
                        "command": [str(word) for word in spec["command"]],
                    }
                    for name, spec in platform.get("workloads", {}).items()
                },
                upstreams={name: dict(upstream) for name, upstream in platform.get("upstreams", {}).items()},
                key_sets={str(uri): str(text) for uri, text in platform.get("key_sets", {}).items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise damaged(self.directory / PLATFORM_FILE, reason=f"{type(exc).__name__} {exc}") from exc

    @staticmethod
    def _read(path: Path) -> Object:
        try:
            document = json.loads(read_bytes(path, what="stored object"))
        except ValueError as exc:
            raise damaged(path, reason=str(exc)) from exc
        if not isinstance(document, dict):
            raise damaged(path, reason="it is not a JSON object")
        return document

    def save(self, state: AppliedState) -> None:
        """Make the disk hold ``state``: new content first, removals last."""
        for key, definition in state.objects.items():
            self._write(self.directory / f"{key}.json", definition)
        self._write(
            self.directory / PLATFORM_FILE,
            {
                "ports": dict(state.ports),
                "secrets": dict(state.secrets),
                "workloads": dict(state.workloads),
                "upstreams": dict(state.upstreams),
                **({"key_sets": dict(state.key_sets)} if state.key_sets else {}),
            },
        )
        for path in self.directory.glob("*_*.json"):
            if path.stem not in state.objects:
                path.unlink()

    @staticmethod
    def _write(path: Path, document: t.Mapping[str, t.Any]) -> None:
        data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data, mode=0o600)
