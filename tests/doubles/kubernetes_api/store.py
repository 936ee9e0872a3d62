# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects of the cluster: what the API server does with a request, short of HTTP."""

from __future__ import annotations

import datetime
import json
import secrets
import threading
import typing as t
import uuid

from . import defaults, fields, validation
from .fields import Shape, copied
from .kinds import BUILTIN, Kind, custom_kinds, established
from .refusals import Json, RefusalError, conflict, invalid, no_such_path, not_found, success

Key = tuple[str, str, str]
"""(stored kind, namespace or "", name)"""
# After an update or a patch everybody's fields are compared; these are the server's own.
UNMANAGED = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "name", "namespace"}
)
# The letters of the names that the server makes.
GENERATED = "bcdfghjklmnpqrstvwxz2456789"
TOP_LEVEL_KINDS = frozenset({"Pod", "Namespace", "Service"})


def now_text() -> str:
    return datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All objects of a cluster, and the rules by which they change."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects: dict[Key, Json] = {}
        self.events: list[tuple[int, str, str, Json]] = []
        self.version = 200
        self.before_write: list[t.Callable[[Kind, str], None]] = []
        """Webhooks: called with the kind and the operation; they refuse by raising."""
        self.before_read: list[t.Callable[[Kind, bool], None]] = []
        """Conversion: called with the kind and whether there is an object to convert."""
        for name in ("default", "kube-system"):
            self.create(self.kind_of("v1", "Namespace"), "", {"metadata": {"name": name}}, manager="kube-apiserver")

    # Kinds

    def kinds(self) -> list[Kind]:
        found = list(BUILTIN)
        with self.lock:
            for (kind, _namespace, _name), body in self.objects.items():
                if kind == "customresourcedefinitions.apiextensions.k8s.io" and established(body):
                    found += custom_kinds(body)
        return found

    def kind_of(self, api_version: str, kind: str) -> Kind:
        for one in self.kinds():
            if (one.api_version, one.kind) == (api_version, kind):
                return one
        raise no_such_path()

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        with self.lock:
            found = self.objects.get((kind.stored_as, namespace, name))
            self._may_read(kind, found is not None)
            if found is None:
                raise not_found(kind.plural, kind.group, name)
            return self._as(kind, found)

    def listing(self, kind: Kind, namespace: str | None, *, labels: dict[str, str], name: str | None) -> list[Json]:
        with self.lock:
            found = [
                body
                for (stored, where, called), body in sorted(self.objects.items())
                if stored == kind.stored_as
                and namespace in (None, where)
                and name in (None, called)
                and labels.items() <= (body["metadata"].get("labels") or {}).items()
            ]
            self._may_read(kind, bool(found))
            return [self._as(kind, body) for body in found]

    def _may_read(self, kind: Kind, anything: bool) -> None:
        for check in self.before_read:
            check(kind, anything)

    @staticmethod
    def _as(kind: Kind, body: Json) -> Json:
        return {**copied(body), "apiVersion": kind.api_version}

    # Writing

    def create(self, kind: Kind, namespace: str, body: Json, *, manager: str, dry_run: bool = False) -> Json:
        with self.lock:
            metadata = body.get("metadata") or {}
            name = metadata.get("name") or ""
            if not name and metadata.get("generateName"):
                name = metadata["generateName"] + "".join(secrets.choice(GENERATED) for _number in range(5))
            self._namespace_must_exist(kind, namespace)
            if (kind.stored_as, namespace, name) in self.objects:
                full = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
                raise RefusalError(409, "AlreadyExists", f'{full} "{name}" already exists', {"name": name})
            paths = fields.fields_of(body, self._shape(kind))
            managed = {(manager, "Update", ""): (paths, now_text())}
            return self._write(kind, namespace, name, None, body, managed, dry_run=dry_run)

    def apply(
        self, kind: Kind, namespace: str, body: Json, *, manager: str, force: bool, dry_run: bool
    ) -> tuple[int, Json]:
        """Server-side apply. Returns the HTTP status and the object."""
        with self.lock:
            name = body["metadata"]["name"]
            self._namespace_must_exist(kind, namespace)
            shape = self._shape(kind)
            unknown = validation.unknown_fields({"spec": body.get("spec", {})}, self._spec_schema(kind))
            if not kind.custom:
                unknown += validation.unknown_builtin_fields(kind.kind, body)
            if unknown:
                where = f"{namespace}/{name}" if namespace else f"/{name}"
                text = "\n".join(f"{path}: field not declared in schema" for path in unknown)
                message = f"failed to create typed patch object ({where}; {kind.api_version}, Kind={kind.kind}): {text}"
                raise RefusalError(500, "", message)
            live = self.objects.get((kind.stored_as, namespace, name))
            self._may_read(kind, live is not None)
            applied = fields.fields_of(body, shape)
            managed = managed_of(live)
            mine = managed.get((manager, "Apply", ""), (set(), ""))
            before = live or {"metadata": {}}
            self._settle_conflicts(applied, body, before, managed, (manager, "Apply", ""), force=force)
            # A copy: what is taken out of it below must stay in the object when this is a dry run.
            merged = copied(fields.merge(before, body, shape, (), kind.schema))
            # Whole items of lists first: without its key an item would not be found any more.
            for path in sorted(mine[0] - applied, key=lambda path: (path[-1] != ".", -len(path))):
                owned_elsewhere = any(
                    path in paths for who, (paths, _at) in managed.items() if who != (manager, "Apply", "")
                )
                if not owned_elsewhere and not any(path == one[: len(path)] for one in applied):
                    fields.remove(merged, path[:-1] if path[-1] == "." else path)
            managed[manager, "Apply", ""] = (applied, mine[1] if live and mine[0] == applied else now_text())
            code = 200 if live else 201
            written = self._write(kind, namespace, name, live, merged, managed, dry_run=dry_run, applier=manager)
            return code, written

    def _settle_conflicts(
        self,
        applied: set[fields.Path],
        body: Json,
        before: Json,
        managed: dict[tuple[str, str, str], tuple[set[fields.Path], str]],
        me: tuple[str, str, str],
        *,
        force: bool,
    ) -> None:
        found = []
        for who, (paths, at) in list(managed.items()):
            if who == me or who[2]:
                continue
            clash = {
                path
                for path in paths & applied
                if fields.value_at(before, path) != fields.value_at(body, path) and path[-1] != "."
            }
            found += [(who[0], fields.shown(path)) for path in sorted(clash)]
            if clash and force:
                managed[who] = (paths - clash, at)
        if found and not force:
            raise conflict(found)

    def update(
        self, kind: Kind, namespace: str, name: str, body: Json, *, manager: str, status: bool, dry_run: bool = False
    ) -> Json:
        """Replace the object, or only its status, by ``body``; the fields that change become the manager's."""
        with self.lock:
            live = self.objects.get((kind.stored_as, namespace, name))
            self._may_read(kind, live is not None)
            if live is None:
                raise not_found(kind.plural, kind.group, name)
            wanted_version = (body.get("metadata") or {}).get("resourceVersion")
            if wanted_version and wanted_version != live["metadata"]["resourceVersion"]:
                full = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
                message = (
                    f'Operation cannot be fulfilled on {full} "{name}": the object has been modified; '
                    "please apply your changes to the latest version and try again"
                )
                raise RefusalError(409, "Conflict", message, {"name": name, "kind": kind.plural})
            if kind.has_status and not status:
                body = {**body, **({"status": live["status"]} if "status" in live else {})}
                if "status" not in live:
                    body.pop("status", None)
            elif status:
                body = {**copied(live), "status": body.get("status", {})}
            managed = self._updated_managers(kind, live, body, manager, "status" if status else "")
            return self._write(kind, namespace, name, live, body, managed, dry_run=dry_run)

    def _updated_managers(
        self, kind: Kind, live: Json, body: Json, manager: str, subresource: str
    ) -> dict[tuple[str, str, str], tuple[set[fields.Path], str]]:
        shape = self._shape(kind)
        old, new = fields.fields_of(live, shape), fields.fields_of(body, shape)
        changed = {
            path for path in new if path not in old or fields.value_at(live, path) != fields.value_at(body, path)
        }
        managed = managed_of(live)
        gone = old - new
        me = (manager, "Update", subresource)
        for who, (paths, at) in list(managed.items()):
            kept = paths - gone - (changed if who != me else set())
            if kept:
                managed[who] = (kept, at)
            else:
                del managed[who]
        if changed:
            mine = managed.get(me, (set(), ""))[0]
            # A status that is made anew is owned as a whole.
            extra = {("f:status", ".")} if subresource and "status" not in live else set()
            managed[me] = (mine | changed | extra, now_text())
        return managed

    def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Json,
        *,
        manager: str,
        status: bool,
        strategic: bool,
        dry_run: bool,
    ) -> Json:
        with self.lock:
            live = self.get(kind, namespace, name)
            shape = self._shape(kind)
            if strategic and kind.custom:
                raise RefusalError(415, "UnsupportedMediaType", "the body of the request was in an unknown format", {})
            if strategic:
                body = fields.merge(live, patch, shape, (), kind.schema)
                body = without_nulls(body)
            else:
                body = json_merge(live, patch)
            body["metadata"].pop("resourceVersion", None)
            return self.update(kind, namespace, name, body, manager=manager, status=status, dry_run=dry_run)

    def delete(self, kind: Kind, namespace: str, name: str, *, dry_run: bool = False) -> Json:
        with self.lock:
            key = (kind.stored_as, namespace, name)
            live = self.objects.get(key)
            self._may_read(kind, live is not None)
            if live is None:
                raise not_found(kind.plural, kind.group, name)
            if dry_run:
                return self._as(kind, live)
            waits = bool(live["metadata"].get("finalizers")) or kind.kind in ("Namespace", "CustomResourceDefinition")
            if waits:
                if not live["metadata"].get("deletionTimestamp"):
                    marked = copied(live)
                    marked["metadata"]["deletionTimestamp"] = now_text()
                    if kind.kind == "Namespace":
                        marked["status"] = {"phase": "Terminating"}
                    self._put(kind, key, marked, "MODIFIED")
                return self._as(kind, self.objects[key])
            self._drop(kind, key)
            if kind.kind in TOP_LEVEL_KINDS:
                return self._as(kind, live)
            details: Json = {"name": name, "kind": kind.plural, "uid": live["metadata"]["uid"]}
            if kind.group:
                details = {"name": name, "group": kind.group, "kind": kind.plural, "uid": live["metadata"]["uid"]}
            return success(details)

    # What the controllers use: they see everything and set what they are responsible for.

    def peek(self, kind: str, namespace: str, name: str) -> Json | None:
        """Return the object by its stored kind (``deployments.apps``), without conversion."""
        with self.lock:
            return copied(self.objects.get((kind, namespace, name)))

    def peek_all(self, kind: str, *, unless: t.Callable[[Json], bool] = lambda _body: False) -> list[Json]:
        """Copies of all objects of a kind, without those that ``unless`` is true of."""
        with self.lock:
            keys = sorted(key for key in self.objects if key[0] == kind)
            return [copied(self.objects[key]) for key in keys if not unless(self.objects[key])]

    def set(self, kind: str, body: Json) -> None:
        """Write what a controller has made of an object; nothing happens when nothing differs."""
        with self.lock:
            metadata = body["metadata"]
            key = (kind, metadata.get("namespace") or "", metadata["name"])
            old = self.objects.get(key)
            if old is not None and _bare(old) == _bare(body):
                return
            one = next((one for one in self.kinds() if one.stored_as == kind), None)
            if one is None:
                return
            fresh = copied(body)
            if old is None:
                self._identity(fresh)
            if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
                self._drop(one, key)
                return
            self._put(one, key, fresh, "MODIFIED" if old else "ADDED")

    def drop(self, kind: str, namespace: str, name: str) -> None:
        with self.lock:
            one = next((one for one in self.kinds() if one.stored_as == kind), None)
            if one is not None and (kind, namespace, name) in self.objects:
                self._drop(one, (kind, namespace, name))

    # Inside

    def _shape(self, kind: Kind) -> Shape:
        return Shape(kind.kind, kind.schema)

    @staticmethod
    def _spec_schema(kind: Kind) -> Json | None:
        if kind.schema is None:
            return None
        return {"type": "object", "properties": {"spec": (kind.schema.get("properties") or {}).get("spec", {})}}

    def _namespace_must_exist(self, kind: Kind, namespace: str) -> None:
        if not kind.namespaced:
            return
        found = self.objects.get(("namespaces.", "", namespace))
        if found is None:
            raise not_found("namespaces", "", namespace)

    def _write(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        live: Json | None,
        body: Json,
        managed: dict[tuple[str, str, str], tuple[set[fields.Path], str]],
        *,
        dry_run: bool,
        applier: str | None = None,
    ) -> Json:
        body = self._named(kind, namespace, name, live, body)
        body = self._validated(kind, live, body)
        for check in self.before_write:
            check(kind, "UPDATE" if live else "CREATE")
        self._count_generation(kind, live, body)
        self._note_managers(kind, body, live, managed, applier)
        if live is not None and _comparable(live) == _comparable(body) and _managers(live) == _managers(body):
            return self._as(kind, live)
        if dry_run:
            if live is None:
                body["metadata"].pop("resourceVersion", None)
            return self._as(kind, body)
        key = (kind.stored_as, namespace, name)
        if body["metadata"].get("deletionTimestamp") and not body["metadata"].get("finalizers"):
            self._drop(kind, key)
            return self._as(kind, body)
        self._put(kind, key, body, "MODIFIED" if live else "ADDED")
        return self._as(kind, self.objects[key])

    @staticmethod
    def _named(kind: Kind, namespace: str, name: str, live: Json | None, body: Json) -> Json:
        """Return ``body`` under its name, with the defaults of its kind."""
        body = copied(body)
        if live is None and kind.has_status and kind.custom:
            body.pop("status", None)
        body["kind"] = kind.kind
        body["apiVersion"] = kind.api_version
        metadata = body.setdefault("metadata", {})
        metadata["name"] = name
        if namespace:
            metadata["namespace"] = namespace
        defaults.fill(kind.kind, body)
        return body

    @staticmethod
    def _validated(kind: Kind, live: Json | None, body: Json) -> Json:
        """Return ``body`` without unknown fields; refuse what is not valid."""
        if kind.schema is not None:
            causes = validation.check_schema(body, kind.schema, "")
            if causes:
                text = "some validation rules were not checked because the object was invalid; "
                text += "correct the existing errors to complete validation"
                causes.append(validation.cause("FieldValueInvalid", f'Invalid value: "null": {text}', "<nil>"))
            else:
                causes = validation.check_cel(kind.kind, body)
            known = {**kind.schema, "properties": {**(kind.schema.get("properties") or {}), **_FREE}}
            body = validation.prune(body, known)
        else:
            causes = validation.check_builtin(kind.kind, body)
        if live is not None and kind.kind == "Secret" and live.get("type") != body.get("type"):
            text = f'Invalid value: "{body.get("type")}": field is immutable'
            causes.append(validation.cause("FieldValueInvalid", text, "type"))
        if live is not None and kind.kind in ("Secret", "ConfigMap") and live.get("immutable"):
            causes += validation.check_immutable(live, body)
        if causes:
            raise invalid(kind.kind, kind.group, body["metadata"]["name"], causes)
        return body

    def _count_generation(self, kind: Kind, live: Json | None, body: Json) -> None:
        """Give ``body`` its identity, and a new generation when more than its status differs."""
        if live is None:
            self._identity(body)
            if kind.counts_generations:
                body["metadata"]["generation"] = 1
            return
        for key in ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp"):
            if key in live["metadata"]:
                body["metadata"][key] = live["metadata"][key]
        if kind.counts_generations and _without_status(live) != _without_status(body):
            body["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1

    @staticmethod
    def _note_managers(
        kind: Kind,
        body: Json,
        live: Json | None,
        managed: dict[tuple[str, str, str], tuple[set[fields.Path], str]],
        applier: str | None,
    ) -> None:
        """Write managedFields; the time of an apply moves only when something else does."""
        entries = []
        for (manager, operation, subresource), (paths, at) in managed.items():
            if not paths:
                continue
            moved = (
                operation == "Apply"
                and manager == applier
                and live is not None
                and _comparable(live) != _comparable(body)
            )
            entry: Json = {
                "manager": manager,
                "operation": operation,
                "apiVersion": kind.api_version,
                "time": now_text() if moved else at,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields.nested(paths),
            }
            if subresource:
                entry["subresource"] = subresource
            entries.append(entry)
        body["metadata"].pop("managedFields", None)
        if entries:
            body["metadata"]["managedFields"] = entries

    @staticmethod
    def _identity(body: Json) -> None:
        body["metadata"].setdefault("uid", str(uuid.uuid4()))
        body["metadata"].setdefault("creationTimestamp", now_text())

    def _put(self, kind: Kind, key: Key, body: Json, event: str) -> None:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = body
        self._tell(kind, event, body)

    def _drop(self, kind: Kind, key: Key) -> None:
        self.version += 1
        body = self.objects.pop(key)
        self._tell(kind, "DELETED", body)

    def _tell(self, kind: Kind, event: str, body: Json) -> None:
        self.events.append((self.version, event, kind.stored_as, copied(body)))
        self.changed.notify_all()


# What every object has besides what its schema names.
_FREE: Json = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"x-kubernetes-preserve-unknown-fields": True},
}


def _bare(body: Json) -> Json:
    kept = {key: value for key, value in body.items() if key not in ("metadata", "apiVersion")}
    kept["metadata"] = {
        key: value
        for key, value in body["metadata"].items()
        if key not in ("resourceVersion", "uid", "creationTimestamp")
    }
    return kept


def _without_status(body: Json) -> Json:
    return {key: value for key, value in body.items() if key not in ("metadata", "status", "apiVersion", "kind")}


def _comparable(body: Json) -> Json:
    kept = {key: value for key, value in body.items() if key not in ("metadata", "apiVersion")}
    kept["metadata"] = {
        key: value
        for key, value in body["metadata"].items()
        if key not in ("managedFields", "resourceVersion", "generation")
    }
    return kept


def _managers(body: Json) -> list[str]:
    return sorted(
        json.dumps({key: value for key, value in one.items() if key != "time"}, sort_keys=True)
        for one in body["metadata"].get("managedFields") or []
    )


def managed_of(body: Json | None) -> dict[tuple[str, str, str], tuple[set[fields.Path], str]]:
    """Return managedFields as (manager, operation, subresource) -> (paths, time)."""
    return {
        (one["manager"], one["operation"], one.get("subresource", "")): (
            fields.flat(one.get("fieldsV1") or {}),
            one.get("time", ""),
        )
        for one in ((body or {}).get("metadata") or {}).get("managedFields") or []
    }


def json_merge(live: t.Any, patch: t.Any) -> t.Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copied(patch)
    merged = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = json_merge(merged.get(key), value)
    return merged


def without_nulls(value: t.Any) -> t.Any:
    """In a strategic merge patch, null takes a field away."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None or key == "creationTimestamp"}
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return value
