# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module: stages, waiting, and the report of it.

Stages: namespaces and CRDs; everything else; what reacts to the rest (the CRs of the Kyma modules, APIRules). Each is
applied and awaited before the next, because a manager that looks too early backs off for up to 1000 s.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, sentence
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import (
    blockers,
    cert_manager,
    objects,
    overlaps,
    sidecars,
    waits,
)
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.apply import Applier, ObjectChange, namespace_of
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError, UnknownKindError, pauses
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.verdict import Circumstances, Verdict
from ansible_collections.kyma.mtls.plugins.module_utils._progress import Report, silent

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import DesiredObject, Ref

POLL_SECONDS = 2.0
# No status says when istiod has sent a changed Gateway to Envoy; it waits for more changes for 10 s at most.
SWITCH_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class WaitTarget:
    """One object to wait for."""

    ref: Ref
    until: str
    circumstances: Circumstances = dataclasses.field(default_factory=Circumstances)
    known: dict[str, t.Any] | None = dataclasses.field(default=None, repr=False)
    """The object as this run has seen it last: no request is needed to look at it once."""


@dataclasses.dataclass
class AppliedChanges:
    """What was, or would be, done."""

    changes: list[ObjectChange] = dataclasses.field(default_factory=list)
    restarted: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    seen: dict[Ref, dict[str, t.Any]] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def changed(self) -> bool:
        return bool(self.restarted) or any(change.action != "unchanged" for change in self.changes)


class ApplyRun:
    """One call of the module."""

    def __init__(
        self,
        api: Api,
        *,
        check_only: bool,
        timeout_seconds: float,
        versions: t.Mapping[str, str] | None = None,
        accept_warning: bool = False,
        report: Report = silent,
    ) -> None:
        self.api = api
        self.check_only = check_only
        self.timeout_seconds = timeout_seconds
        self.versions = versions or {}
        self.accept_warning = accept_warning
        self.report = report
        self.outcome = AppliedChanges()
        self._applier = Applier(api, dry_run=check_only)
        self._began = api.clock()

    def present(
        self,
        desired: t.Sequence[DesiredObject],
        *,
        wait: bool,
        targets: t.Sequence[WaitTarget] = (),
        with_sidecar: t.Sequence[tuple[str, str]] = (),
    ) -> AppliedChanges:
        """Apply ``desired`` stage by stage, then wait for ``targets``."""
        ordered = objects.in_order(desired)
        for _number, group in itertools.groupby(ordered, key=lambda desired_object: stage_of(desired_object.ref)):
            self._stage(list(group), wait=wait, with_sidecar=with_sidecar)
        if not self.check_only:
            self._wait(targets)
        return self.outcome

    def absent(self, refs: t.Sequence[Ref], *, wait: bool) -> AppliedChanges:
        """Delete ``refs`` in the order given, each gone before the next goes."""
        for ref in refs:
            change = self._applier.delete(ref)
            self.outcome.changes.append(change)
            if wait and not self.check_only and change.action == "deleted":
                self._wait_gone(ref)
        return self.outcome

    def retire(self, refs: t.Sequence[Ref]) -> AppliedChanges:
        """Delete Secrets that nothing uses any more, after the gateway had the time to change to their successors."""
        changed = [change.ref.kind for change in self.outcome.changes if change.action != "unchanged"]
        if refs and "Gateway" in changed and not self.check_only:
            self.api.sleep(SWITCH_SECONDS)
        return self.absent(refs, wait=False)

    def _stage(
        self, group: t.Sequence[DesiredObject], *, wait: bool, with_sidecar: t.Sequence[tuple[str, str]]
    ) -> None:
        changes = [self._applier.apply(desired_object) for desired_object in group]
        self.outcome.changes += changes
        for change in changes:
            if change.after is not None:
                self.outcome.seen[change.ref] = change.after
            if change.conflicts:
                self.outcome.warnings.append(
                    f"{change.ref.label}: somebody else had set {', '.join(change.conflicts)}; "
                    f"{'it would be' if self.check_only else 'it was'} set back."
                )
        gateways = [
            change.after for change in changes if change.ref.kind == "Gateway" and change.after and not change.predicted
        ]
        self.outcome.warnings += overlaps.overlapping(self.api, gateways)
        if wait and not self.check_only:
            self._wait([self._target(change) for change in changes if change.ref.kind in waits.BY_KIND])
        deployments = [(change.ref, change) for change in changes if change.ref.kind == "Deployment"]
        for ref, change in deployments:
            if (ref.namespace or "default", ref.name) in with_sidecar and not change.predicted:
                self._ensure_sidecars(ref, change, wait=wait)

    def _target(self, change: ObjectChange) -> WaitTarget:
        return WaitTarget(
            ref=change.ref,
            until=waits.BY_KIND[change.ref.kind],
            circumstances=self.circumstances(change.ref, changed=change.action != "unchanged", before=change.before),
            known=change.after,
        )

    def circumstances(self, ref: Ref, *, changed: bool = False, before: t.Any = None) -> Circumstances:
        return Circumstances(
            changed=changed,
            before=before,
            accept_warning=self.accept_warning,
            version=self.versions.get(ref.kind, ""),
        )

    def _ensure_sidecars(self, ref: Ref, change: ObjectChange, *, wait: bool) -> None:
        """Restart a Deployment whose pods were made before Istio could give them a sidecar."""
        if change.after is None or (change.before is None and self.check_only) or sidecars.opted_out(change.after):
            return
        bare = sidecars.pods_without(self.api, change.after)
        if not bare:
            return
        if not self.check_only:
            restarted = sidecars.restart(self.api, change.after)
            if wait:
                self._wait([WaitTarget(ref=ref, until="deployment_ready", known=restarted)])
                self._wait_for_sidecars(ref, change.after)
        self.outcome.restarted.append(f"{ref.label} (no sidecar in {', '.join(bare)})")

    def _wait_for_sidecars(self, ref: Ref, deployment: dict[str, t.Any]) -> None:
        until_next = pauses(POLL_SECONDS)
        while bare := sidecars.pods_without(self.api, deployment):
            words = [f"{ref.label}: no Istio sidecar in {', '.join(bare)}"]
            self._pause(
                until_next,
                words,
                advice=(
                    f"Is namespace {ref.namespace} labelled istio-injection=enabled, and is istiod running? "
                    "An APIRule refuses pods without sidecar."
                ),
            )

    def _wait(self, targets: t.Sequence[WaitTarget]) -> None:
        """Wait until all ``targets`` are ready.

        Raises MtlsError with their own words when the time is up.
        """
        began = self.api.clock()
        until_next = pauses(POLL_SECONDS)
        open_targets = list(targets)
        while open_targets:
            looked = [(target, self._look(target, waited=self.api.clock() - began)) for target in open_targets]
            self.outcome.warnings += [
                f"{target.ref.label}: {verdict.words}"
                for target, verdict in looked
                if verdict.ready and verdict.warning
            ]
            for target, verdict in looked:
                if verdict.is_final:
                    details = " ".join(["", *self._details(target.ref)])
                    raise MtlsError(f"{target.ref.label}: {sentence(verdict.words)}{details}", waiting=[verdict.words])
            # What was known has been looked at: from now on the server is asked.
            open_targets = [dataclasses.replace(target, known=None) for target, verdict in looked if not verdict.ready]
            if open_targets:
                words = [f"{target.ref.label}: {verdict.words}" for target, verdict in looked if not verdict.ready]
                self._pause(until_next, words, advice="", targets=open_targets)

    def _look(self, target: WaitTarget, *, waited: float) -> Verdict:
        body = target.known if target.known is not None else self._fetch(target.ref)
        if body is None:
            return Verdict(ready=False, words="not there")
        self.outcome.seen[target.ref] = body
        circumstances = dataclasses.replace(target.circumstances, waited=waited, now=self.api.now())
        return waits.PREDICATES[target.until](body, circumstances)

    def _fetch(self, ref: Ref) -> dict[str, t.Any] | None:
        try:
            resource = self.api.resource(ref.api_version, ref.kind)
        except UnknownKindError:
            return None
        return self.api.get(resource.path(namespace_of(ref, resource), ref.name), what=ref.label)

    def _wait_gone(self, ref: Ref) -> None:
        blocking: list[str] | None = None
        until_next = pauses(POLL_SECONDS)
        while (body := self._fetch(ref)) is not None:
            if blockers.is_blocked(body):
                # One look is enough: what is listed changes with the next run only.
                blocking = blockers.named(self.api, body) if blocking is None else blocking
                self._pause(until_next, [f"{ref.label}: {blockers.words(body, blocking)}"], advice=blockers.ADVICE)
                continue
            words = waits.state_words(body) or "still there"
            finalizers = ", ".join(body["metadata"].get("finalizers") or [])
            self._pause(
                until_next,
                [f"{ref.label}: {words}" + (f" (finalizers: {finalizers})" if finalizers else "")],
                advice="Its manager removes the finalizers when it has cleaned up, so it must be running."
                if finalizers
                else "",
            )

    def _pause(
        self,
        until_next: t.Iterator[float],
        words: t.Sequence[str],
        *,
        advice: str,
        targets: t.Sequence[WaitTarget] = (),
    ) -> None:
        """Report and sleep a little, or give up."""
        if self.api.clock() - self._began >= self.timeout_seconds:
            details = [line for target in targets for line in self._details(target.ref)]
            raise MtlsError(
                sentence(f"Not ready after {self.timeout_seconds:g} s: {'; '.join(text.rstrip('.') for text in words)}")
                + (f" {' '.join(details)}" if details else "")
                + (f" {advice}" if advice else ""),
                waiting=list(words),
            )
        self.report(words)
        self.api.sleep(next(until_next))

    def _details(self, ref: Ref) -> list[str]:
        """Return what the pods of a Deployment say, or the issuer of a certificate: the reason is hardly ever in
        the object itself.
        """
        body = self.outcome.seen.get(ref)
        if ref.api_version == cert_manager.API_VERSION and ref.kind == "Certificate" and body is not None:
            return cert_manager.details(self.api, body)
        if ref.kind != "Deployment" or body is None:
            return []
        try:
            return sidecars.troubles(self.api, body)
        except ApiError:
            return []


def stage_of(ref: Ref) -> int:
    """Return when ``ref`` is applied, relative to others; see the top of this file."""
    if ref.kind in ("Namespace", "CustomResourceDefinition"):
        return 0
    return 2 + objects.LAST.index(ref.kind) if ref.kind in objects.LAST else 1
