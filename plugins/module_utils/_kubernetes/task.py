# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a module's parameters to its result: what the module kubernetes_apply does, without Ansible."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils import _progress as progress
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.sources import SecretSource, secret_source
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import (
    client,
    client_cas,
    objects,
    prune,
    secrets,
    waits,
)
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.apply import ObjectChange, difference
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import DesiredObject, Ref
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.run import AppliedChanges, ApplyRun, WaitTarget

if t.TYPE_CHECKING:
    import datetime


@dataclasses.dataclass(frozen=True)
class ApplyRequest:
    """What one call asks for."""

    connection: t.Mapping[str, str | None]
    definitions: tuple[dict[str, t.Any], ...]
    manifests: tuple[tuple[Path, str | None], ...]
    secrets: tuple[SecretSource, ...]
    sidecars: tuple[tuple[str, str], ...]
    wait: bool
    wait_for: tuple[tuple[Ref, str], ...]
    timeout_seconds: float
    istio_version: str
    accept_warning: bool
    accept_older_crl: bool
    state: t.Literal["present", "absent"]
    prune: str = ""
    prune_kinds: tuple[str, ...] = ()
    prune_namespaces: tuple[str, ...] = ()

    @classmethod
    def of(cls, parameters: t.Mapping[str, t.Any]) -> ApplyRequest:
        """Return the request that the module's parameters make."""
        return cls(
            connection={key: parameters[key] for key in ("kubeconfig", "context")},
            definitions=tuple(parameters["definition"]),
            manifests=tuple((Path(parameter["path"]), parameter["sha256"]) for parameter in parameters["manifests"]),
            secrets=tuple(secret_source(parameter) for parameter in parameters["secrets"]),
            sidecars=tuple(_namespaced(parameter) for parameter in parameters["sidecars"]),
            wait=parameters["wait"],
            wait_for=tuple(
                (
                    Ref(parameter["api_version"], parameter["kind"], parameter["name"], parameter["namespace"]),
                    parameter["until"],
                )
                for parameter in parameters["wait_for"]
            ),
            timeout_seconds=parameters["wait_timeout"],
            istio_version=parameters["istio_version"],
            accept_warning=parameters["accept_warning"],
            accept_older_crl=parameters["accept_older_crl"],
            state=parameters["state"],
            prune=parameters["prune"],
            prune_kinds=tuple(parameters["prune_kinds"]),
            prune_namespaces=tuple(parameters["prune_namespaces"]),
        )


@dataclasses.dataclass(frozen=True)
class ApplyResult:
    """What the module returns."""

    changed: bool
    diff: dict[str, dict[str, t.Any]]
    warnings: tuple[str, ...]
    facts: dict[str, t.Any]


def execute(
    request: ApplyRequest, *, check_only: bool, now: datetime.datetime, report: progress.Report = progress.silent
) -> ApplyResult:
    """Do what ``request`` asks for, or with ``check_only`` say what that would change; ``report`` what is waited for.

    Everything given is read and checked before the API server is asked for anything.
    Raises MtlsError when something is refused or does not get ready.
    """
    desired, pending, given = _desired(request, check_only=check_only, now=now)
    kubeconfig = request.connection["kubeconfig"]
    if check_only and kubeconfig and not Path(kubeconfig).exists():
        predicted = _predicted(desired, request, pending=(kubeconfig, *pending), now=now)
        return dataclasses.replace(predicted, warnings=given.warnings)
    api = client.connect(request.connection)
    compared = secrets.compare(api, given.secrets, accept_older_crl=request.accept_older_crl, check_only=check_only)
    run = ApplyRun(
        api,
        check_only=check_only,
        timeout_seconds=request.timeout_seconds,
        versions={"Istio": request.istio_version},
        accept_warning=request.accept_warning,
        report=report,
    )
    superseded: tuple[Ref, ...] = ()
    if request.state == "present":
        placed = client_cas.place(api, desired, request.secrets, check_only=check_only)
        desired, superseded = list(placed.desired), placed.superseded
        compared += [*placed.warnings, *client_cas.check(api, desired, now=now)]
    if request.prune:
        strays, partial = prune.strays(
            api,
            label=request.prune,
            kinds=request.prune_kinds,
            keep=[desired_object.ref for desired_object in desired],
            namespaces=request.prune_namespaces,
        )
        compared += partial
        # First, so that a host that moves to another object is free.
        run.absent(strays, wait=request.wait)
    if request.state == "absent":
        outcome = run.absent(list(reversed(_refs(desired, request))), wait=request.wait)
    else:
        targets = [
            WaitTarget(ref=ref, until=until, circumstances=run.circumstances(ref)) for ref, until in request.wait_for
        ]
        run.present(desired, wait=request.wait, targets=targets, with_sidecar=request.sidecars)
        outcome = run.retire(superseded)
        pending += tuple(change.ref.label for change in outcome.changes if change.predicted)
    return ApplyResult(
        changed=outcome.changed or bool(pending),
        diff=difference(outcome.changes, now=now),
        warnings=(*given.warnings, *compared, *outcome.warnings),
        facts=_facts(outcome, pending=pending, requests=api.requests),
    )


def _desired(
    request: ApplyRequest, *, check_only: bool, now: datetime.datetime
) -> tuple[list[DesiredObject], tuple[str, ...], secrets.SecretsToApply]:
    """Return all objects in the order in which they go to the server, the files that are missing, and the Secrets."""
    desired = objects.desired(request.definitions, where="definition")
    pending: list[str] = []
    for path, sha256 in request.manifests:
        if check_only and not path.exists():
            pending.append(str(path))
            continue
        bodies = objects.read_manifest(path, sha256=sha256)
        if request.state == "absent":
            # There may be more in a namespace than this manifest has put there.
            bodies = [body for body in bodies if body.get("kind") != "Namespace"]
        desired += objects.desired(bodies, where=str(path))
    given = secrets.SecretsToApply()
    if request.state == "present":
        given = secrets.secrets_to_apply(request.secrets, predict=check_only, now=now)
        desired += given.desired
        pending += given.pending
    twice = sorted(
        {
            desired_object.ref.label
            for desired_object in desired
            if sum(other.ref == desired_object.ref for other in desired) > 1
        }
    )
    if twice:
        raise MtlsError(f"Given more than once: {', '.join(twice)}.")
    return objects.in_order(desired), tuple(pending), given


def _refs(desired: t.Sequence[DesiredObject], request: ApplyRequest) -> list[Ref]:
    """Return what is to be deleted, in the order in which it would be applied; for Secrets no file is needed."""
    refs = [secrets.ref_of_secret(source) for source in request.secrets]
    refs += [Ref("v1", "Secret", source.replaces, source.namespace) for source in request.secrets if source.replaces]
    bare = [DesiredObject(ref=ref, body={}) for ref in refs]
    return [desired_object.ref for desired_object in objects.in_order([*desired, *bare])]


def _predicted(
    desired: t.Sequence[DesiredObject], request: ApplyRequest, *, pending: tuple[str, ...], now: datetime.datetime
) -> ApplyResult:
    """Return the result for a cluster that does not exist yet."""
    outcome = AppliedChanges()
    if request.state == "present":
        outcome.changes = [
            ObjectChange(ref=desired_object.ref, action="created", after=dict(desired_object.body), predicted=True)
            for desired_object in desired
        ]
    changed = request.state == "present" and bool(desired or pending[1:])
    return ApplyResult(
        changed=changed,
        diff=difference(outcome.changes, now=now),
        warnings=(),
        facts=_facts(outcome, pending=pending, requests=0),
    )


def _facts(outcome: AppliedChanges, *, pending: t.Sequence[str], requests: int) -> dict[str, t.Any]:
    addresses = {
        f"{ref.namespace}/{ref.name}": waits.service_address(body)
        for ref, body in outcome.seen.items()
        if ref.kind == "Service" and waits.service_address(body)
    }
    return {
        "changes": [{"object": change.ref.label, "action": change.action} for change in outcome.changes],
        "restarted": outcome.restarted,
        "pending": list(pending),
        "addresses": addresses,
        "requests": requests,
    }


def _namespaced(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (slash and namespace and name):
        raise MtlsError(f"sidecars: {text!r} is not namespace/name.")
    return namespace, name
