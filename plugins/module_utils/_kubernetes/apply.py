# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring objects to a cluster, server-side, and see what that changed.

Each object costs one GET (what is there) and one PATCH (what becomes of it). In check mode the PATCH is a dry run of
the server, so defaults, admission and conflicts are those of the real one.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import objects, secrets
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import (
    FIELD_MANAGER,
    ApiError,
    ApiResource,
    UnknownKindError,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import DesiredObject, Ref

Body = dict[str, t.Any]
# How long a kind may take to be served after its CRD was applied.
KIND_SECONDS = 60
MODIFIED_RETRIES = 5


@dataclasses.dataclass(frozen=True)
class ObjectChange:
    """What became of one object, or would become in check mode."""

    ref: Ref
    action: t.Literal["created", "changed", "unchanged", "deleted"]
    before: Body | None = dataclasses.field(default=None, repr=False)
    after: Body | None = dataclasses.field(default=None, repr=False)
    predicted: bool = False
    """The server could not be asked: what the object needs is not there yet."""
    conflicts: tuple[str, ...] = ()


class Applier:
    """Applies objects, or asks the server what applying them would do."""

    def __init__(self, api: Api, *, dry_run: bool) -> None:
        self.api = api
        self.dry_run = dry_run

    def apply(self, desired: DesiredObject) -> ObjectChange:
        """Apply one object.

        Raises MtlsError when it is refused, naming the object, with the server's words.
        """
        try:
            resource = self._resource(desired.ref)
        except UnknownKindError:
            if not self.dry_run:
                raise
            return ObjectChange(ref=desired.ref, action="created", after=dict(desired.body), predicted=True)
        path = resource.path(namespace_of(desired.ref, resource), desired.ref.name)
        before = self.api.get(path, what=desired.ref.label)
        if before is not None and not self.dry_run:
            self._step_over_second(desired.ref, before)
        try:
            after, conflicts = self._patch(desired, path, before)
        except ApiError as exc:
            missing = missing_namespace(exc)
            if missing is None:
                raise hidden(exc, desired) from exc
            if self.dry_run:
                return ObjectChange(ref=desired.ref, action="created", after=dict(desired.body), predicted=True)
            raise MtlsError(
                f"{desired.ref.label}: there is no namespace {missing}."
                + (" Istio is not installed (role modules)." if missing == "istio-system" else " Create it first.")
            ) from exc
        return ObjectChange(
            ref=desired.ref, action=verdict(before, after), before=before, after=after, conflicts=conflicts
        )

    def delete(self, ref: Ref) -> ObjectChange:
        """Delete one object; whoever has put a finalizer on it may take its time after that."""
        try:
            resource = self.api.resource(ref.api_version, ref.kind)
        except UnknownKindError:
            return ObjectChange(ref=ref, action="unchanged")
        path = resource.path(namespace_of(ref, resource), ref.name)
        before = self.api.get(path, what=ref.label)
        if before is None:
            return ObjectChange(ref=ref, action="unchanged")
        if not before["metadata"].get("deletionTimestamp"):
            self.api.delete(path, what=ref.label, dry_run=self.dry_run)
        return ObjectChange(ref=ref, action="deleted", before=before)

    def _resource(self, ref: Ref) -> ApiResource:
        """Return how ``ref`` is addressed; a kind whose CRD was just applied gets some time to appear."""
        deadline = self.api.clock() + (0 if self.dry_run else KIND_SECONDS)
        while True:
            try:
                return self.api.resource(ref.api_version, ref.kind)
            except UnknownKindError:
                if self.api.clock() >= deadline or ref.kind not in objects.MAY_BE_NEW:
                    raise
            self.api.sleep(1)

    def _patch(self, desired: DesiredObject, path: str, before: Body | None) -> tuple[Body, tuple[str, ...]]:
        conflicts: list[tuple[str, str]] = []
        for attempt in range(MODIFIED_RETRIES):
            try:
                return self.api.apply(path, desired.body, what=desired.ref.label, dry_run=self.dry_run), ()
            except ApiError as exc:
                if exc.status != 409:
                    raise
                conflicts = conflicts_of(exc)
                if conflicts:
                    break
                if attempt == MODIFIED_RETRIES - 1:
                    raise
                self.api.sleep(0.2)
        refuse_fight(desired.ref, conflicts, before)
        after = self.api.apply(path, desired.body, what=desired.ref.label, dry_run=self.dry_run, force=True)
        return after, tuple(f"{field} (set by {manager})" for manager, field in conflicts)

    def _step_over_second(self, ref: Ref, before: Body) -> None:
        """Make sure that a later processing of an APIRule gets a later time, whose grain is a second."""
        processed = (before.get("status") or {}).get("lastProcessedTime")
        if ref.kind != "APIRule" or not processed:
            return
        try:
            at = datetime.datetime.fromisoformat(processed).timestamp()
        except ValueError:
            return
        age = self.api.now().timestamp() - at
        if 0 <= age < 1:
            self.api.sleep(1 - age)


def namespace_of(ref: Ref, resource: ApiResource) -> str | None:
    """Return the namespace that ``ref`` is in: as kubectl does, ``default`` when none is named."""
    return (ref.namespace or "default") if resource.namespaced else None


def verdict(before: Body | None, after: Body) -> t.Literal["created", "changed", "unchanged"]:
    if before is None:
        return "created"
    return "unchanged" if objects.content(before) == objects.content(after) else "changed"


def conflicts_of(exc: ApiError) -> list[tuple[str, str]]:
    """Return (manager, field) of all conflicts of field ownership."""
    found = []
    for cause in exc.causes:
        if cause.get("reason") == "FieldManagerConflict":
            manager = re.search(r'conflict with "([^"]*)"', cause.get("message", ""))
            found.append((manager[1] if manager else "someone else", cause.get("field", "a field")))
    return found


def refuse_fight(ref: Ref, conflicts: t.Sequence[tuple[str, str]], before: Body | None) -> None:
    """Refuse to take fields from somebody who declares them, as a GitOps tool does, on an object that was never ours.

    Whatever else has changed our fields (kubectl edit, a person in a hurry) is corrected.
    """
    declaring = objects.declared_by(before) if before is not None else set()
    owners = sorted({manager for manager, _field in conflicts} & (declaring - {FIELD_MANAGER}))
    if owners and FIELD_MANAGER not in declaring:
        fields = ", ".join(field for manager, field in conflicts if manager in owners)
        raise MtlsError(
            f"{ref.label} belongs to {', '.join(owners)}, which declares {fields} with other values. "
            "Two owners would undo each other's work without end. Choose another name, "
            "or have that owner give up these fields first.",
            conflicts=[f"{field} (set by {manager})" for manager, field in conflicts],
        )


def missing_namespace(exc: ApiError) -> str | None:
    match = re.search(r'namespaces "([^"]+)" not found', str(exc))
    return match[1] if exc.status == 404 and match else None


def hidden(exc: ApiError, desired: DesiredObject) -> MtlsError:
    """Return the refusal of ``one`` without anything of a Secret's data."""
    if desired.ref.kind != "Secret":
        return exc
    message = secrets.without_data(str(exc), desired.body)
    if exc.status == 422 and "field is immutable" in message:
        cause = "was made immutable" if "`immutable`" in message else "was made with another type"
        message += f" The Secret {cause}. Delete it (the gateway keeps serving what it has), then run again."
    return MtlsError(message, status=exc.status, reason=exc.reason)


def difference(changes: t.Sequence[ObjectChange], *, now: datetime.datetime) -> dict[str, dict[str, t.Any]]:
    """Return the two sides of what differs, object by object, without any Secret's data."""
    sides: dict[str, dict[str, t.Any]] = {"before": {}, "after": {}}
    for change in changes:
        if change.action == "unchanged":
            continue
        before, after = objects.content(change.before), objects.content(change.after)
        if change.ref.kind == "Secret":
            same = (before or {}).get("data") == (after or {}).get("data")
            before, after = secrets.shown(before, now=now), secrets.shown(after, now=now)
            if before is not None and after is not None and not same:
                before["data (compared)"], after["data (compared)"] = "another", "as given"
        for side, value in (("before", before), ("after", after)):
            if value is not None:
                sides[side][change.ref.label] = value
    return sides
