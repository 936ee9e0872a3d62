# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes objects as data: references, order, and what of them counts in a comparison."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import typing as t
from pathlib import Path

try:
    import yaml
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import FIELD_MANAGER

# What others need comes first; what is not named comes between, in the order given.
FIRST = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "ServiceAccount",
    "ClusterRole",
    "Role",
    "Secret",
    "Bundle",
)
# What reacts to others comes after these are ready: reconciled too early, it waits up to 1000 s for its next turn.
LAST = ("Istio", "APIGateway", "APIRule")
# Kinds of CRDs: they may take a moment to be served after their CRD was applied.
MAY_BE_NEW = frozenset({*LAST, "Gateway"})
# Given out by the server on creation, so a dry run has others than the real one.
ALLOCATED = {"Service": ("clusterIP", "clusterIPs")}
# The server's bookkeeping: no change of an object in itself.
BOOKKEEPING = frozenset({"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"})


@dataclasses.dataclass(frozen=True, order=True)
class Ref:
    """One object by its address."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    @property
    def label(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclasses.dataclass(frozen=True)
class DesiredObject:
    """One object to be applied. ``facts`` stand for its content wherever that must not be seen."""

    ref: Ref
    body: t.Mapping[str, t.Any] = dataclasses.field(repr=False)
    facts: t.Mapping[str, t.Any] | None = None


def ref_of(body: t.Mapping[str, t.Any], *, where: str) -> Ref:
    """Return the address in ``body``.

    Raises MtlsError when something of it is missing.
    """
    metadata = body.get("metadata") or {}
    for name, value in (("apiVersion", body.get("apiVersion")), ("kind", body.get("kind"))):
        if not isinstance(value, str) or not value:
            raise MtlsError(f"{where}: {name} is missing.")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise MtlsError(f"{where}: {body['kind']} has no metadata.name.")
    return Ref(
        api_version=str(body["apiVersion"]),
        kind=str(body["kind"]),
        name=str(metadata["name"]),
        namespace=str(metadata["namespace"]) if metadata.get("namespace") else None,
    )


def desired(definitions: t.Sequence[t.Mapping[str, t.Any]], *, where: str) -> list[DesiredObject]:
    """Return ``definitions`` as objects to be applied.

    Raises MtlsError on an incomplete object, on one that is there twice, and on a Secret: its data would be in logs.
    """
    found: dict[Ref, DesiredObject] = {}
    for number, body in enumerate(definitions, start=1):
        ref = ref_of(body, where=f"object #{number} of {where}")
        if ref.kind == "Secret":
            raise MtlsError(f"{ref.label} is in {where}, so its data would be in logs. Give it by files, in secrets.")
        if ref in found:
            raise MtlsError(f"{ref.label} is twice in {where}.")
        found[ref] = DesiredObject(ref=ref, body=body)
    return list(found.values())


def read_manifest(path: Path, *, sha256: str | None) -> list[dict[str, t.Any]]:
    """Return the objects of a file with YAML documents, whose digest is checked first when one is given.

    Raises MtlsError when the file cannot be read, is another one, or holds no objects.
    """
    data = read_bytes(path, what="manifest")
    digest = hashlib.sha256(data).hexdigest()
    if sha256 and digest != sha256.lower():
        raise MtlsError(
            f"The manifest {path} is not the expected one: its SHA-256 is {digest}, expected is {sha256.lower()}. "
            "Nothing of it was applied. Remove the file and get it again from where you trust it."
        )
    try:
        documents = [document for document in yaml.safe_load_all(data) if document is not None]
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as exc:  # ValueError: an impossible date
        raise MtlsError(f"The manifest {path} is not YAML: {exc}.") from exc
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise MtlsError(f"The manifest {path} holds no Kubernetes objects.")
    return documents


def in_order(objects: t.Iterable[DesiredObject]) -> list[DesiredObject]:
    """Sort ``objects`` so that what others need comes first; the order given is kept otherwise."""

    def rank(desired_object: DesiredObject) -> int:
        if desired_object.ref.kind in FIRST:
            return FIRST.index(desired_object.ref.kind) - len(FIRST)
        return 1 + LAST.index(desired_object.ref.kind) if desired_object.ref.kind in LAST else 0

    return sorted(objects, key=rank)


def content(body: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """Return what counts of an object: neither the server's bookkeeping nor the status.

    The set of fields that are ours counts: taking over a field is a change, though its value stays.
    """
    if body is None:
        return None
    kept = {key: copy.deepcopy(value) for key, value in body.items() if key not in ("metadata", "status")}
    kept["metadata"] = {
        key: copy.deepcopy(value) for key, value in body["metadata"].items() if key not in BOOKKEEPING and value
    }
    for name in ALLOCATED.get(str(body.get("kind")), ()):
        kept.get("spec", {}).pop(name, None)
    ours = our_fields(body)
    if ours:
        kept["metadata"]["fields of kyma.mtls"] = ours
    return kept


def our_fields(body: t.Mapping[str, t.Any]) -> list[str]:
    """Return the fields that we applied, as sorted paths."""
    for entry in body["metadata"].get("managedFields") or []:
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            return sorted(_paths(entry.get("fieldsV1") or {}))
    return []


def applied_at(body: t.Mapping[str, t.Any]) -> str | None:
    """Return when we last changed the object, by the server's clock (RFC 3339); None when we did not."""
    for entry in body["metadata"].get("managedFields") or []:
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            return str(entry["time"]) if entry.get("time") else None
    return None


def declared_by(body: t.Mapping[str, t.Any]) -> set[str]:
    """Return the names of all who apply the object server-side, as a GitOps tool does."""
    return {
        str(entry.get("manager"))
        for entry in body["metadata"].get("managedFields") or []
        if entry.get("operation") == "Apply" and not entry.get("subresource")
    }


def _paths(fields: t.Mapping[str, t.Any], prefix: str = "") -> t.Iterator[str]:
    for key, below in fields.items():
        if key == ".":
            continue
        path = f"{prefix}.{key.partition(':')[2]}" if prefix else key.partition(":")[2]
        nested = {name: value for name, value in below.items() if name != "."}
        if nested:
            yield from _paths(nested, path)
        else:
            yield path
