# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what applying objects to the local platform changes, before anything is touched.

Check mode shows the plan, diff mode its two sides, and execution (apply.py) carries out the same plan.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import render, translate
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration, Credential, Settings
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.upstream import read_upstream
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import expand, read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.prepare import prepare
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret, too_large
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.sources import (
    SecretSource,
    read_secrets,
    secret_source,
)
from ansible_collections.kyma.mtls.plugins.module_utils._local import admin
from ansible_collections.kyma.mtls.plugins.module_utils._local.preflight import port_number
from ansible_collections.kyma.mtls.plugins.module_utils._local.store import AppliedState, Object, object_key
from ansible_collections.kyma.mtls.plugins.module_utils._local.workloads import WorkloadProcess, check_command
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import load_certificates

try:
    from cryptography.hazmat.primitives import serialization
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout

# Where Istio's ingress gateway runs on a cluster, and so where it looks for the Secrets of a Gateway.
GATEWAY_NAMESPACE = "istio-system"


@dataclasses.dataclass(frozen=True)
class LocalRequest:
    """What one call asks for; it is merged into what was applied before."""

    definitions: tuple[Object, ...]
    secrets: tuple[SecretSource, ...]
    ports: t.Mapping[int, int]
    workloads: tuple[WorkloadProcess, ...]
    state: t.Literal["present", "absent"]
    accept_older_crl: bool = False
    upstreams: t.Mapping[str, Object] = dataclasses.field(default_factory=dict)
    prune: str = ""
    key_sets: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, parameters: t.Mapping[str, t.Any]) -> LocalRequest:
        """Return the request that the module's parameters make.

        Raises MtlsError when a port is none.
        """
        return cls(
            definitions=tuple(parameters["definition"]),
            secrets=tuple(secret_source(secret) for secret in parameters["secrets"]),
            ports={port_number(key): port_number(value) for key, value in parameters["ports"].items()},
            workloads=tuple(
                WorkloadProcess(workload["deployment"], workload["requirements"], tuple(workload["command"]))
                for workload in parameters["workloads"]
            ),
            state=parameters["state"],
            accept_older_crl=parameters["accept_older_crl"],
            upstreams={
                f"{upstream['service']}:{upstream['port']}": _upstream(upstream, state=parameters["state"])
                for upstream in parameters["upstreams"]
            },
            prune=parameters["prune"],
            key_sets={
                uri: read_bytes(expand(path), what="key set").decode("utf-8", "replace")
                for uri, path in (parameters["key_sets"] if parameters["state"] == "present" else {}).items()
            },
        )


@dataclasses.dataclass(frozen=True)
class DesiredState:
    """The state that a request leads to, and everything that Envoy needs for it."""

    state: AppliedState
    configuration: Configuration
    secrets: t.Mapping[str, Secret]
    """Name of a Secret that this request brings -> its data."""
    pending: tuple[str, ...]
    """In check mode: files and Gateways that are not there yet."""
    warnings: tuple[str, ...] = ()
    """What has to be said about the Secrets as they were given."""

    def workloads(self) -> tuple[WorkloadProcess, ...]:
        return workloads_of(self.state)


def workloads_of(state: AppliedState) -> tuple[WorkloadProcess, ...]:
    """Return the workloads whose Deployment was applied."""
    return tuple(
        WorkloadProcess(deployment=name, requirements=spec["requirements"], command=tuple(spec["command"]))
        for name, spec in sorted(state.workloads.items())
        if f"Deployment_{name.replace('/', '_')}" in state.objects
    )


def desired(
    request: LocalRequest, *, current: AppliedState, layout: RuntimeLayout, predict: bool, now: datetime.datetime
) -> DesiredState:
    """Return what ``request`` leads to from ``current``. With ``predict``, files that are missing are only noted.

    Raises MtlsError when the objects, the Secrets or the workloads cannot be honoured, naming what and why.
    """
    # What is taken back is only named: its files may be gone, or no longer good.
    sources = request.secrets if request.state == "present" else ()
    secrets, pending = read_secrets(sources, predict=predict)
    prepared = [prepare(secret, now=now) for secret in secrets]
    facts = {item.secret.label: item.facts for item in prepared}
    facts.update({source.label: {"files": "not there yet"} for source in sources if source.label not in facts})
    state = merged(request, current=current, facts=facts)
    waiting = gateways_to_come(state) if predict and request.state == "present" else {}
    configuration = translate.translate(
        [definition for key, definition in state.objects.items() if key not in waiting],
        workloads={workload.deployment: f"unix:{workload.socket(layout)}" for workload in workloads_of(state)},
        upstreams={
            name: read_upstream(f"The upstream of Service {name}", upstream)
            for name, upstream in state.upstreams.items()
        },
        key_sets=state.key_sets,
        settings=Settings(
            ports=state.ports,
            directory=str(layout.envoy),
            sockets=str(layout.sockets),
        ),
    )
    brought = {item.secret.name: item.secret for item in prepared if item.secret.namespace == GATEWAY_NAMESPACE}
    held = dict(state.secrets)
    used = {f"{credential.name}-cacert" for credential in configuration.credentials if credential.kind == "validation"}
    for source in sources:
        if source.replaces in used:
            # Another Gateway takes its client CAs from there: it gets the same.
            held[source.replaced_label] = facts[source.label]
            if source.name in brought:
                brought[source.replaces] = dataclasses.replace(brought[source.name], name=source.replaces, replaces="")
        else:
            held.pop(source.replaced_label, None)
    state = dataclasses.replace(state, secrets=held)
    check_credentials(configuration, state=state)
    return DesiredState(
        state=state,
        configuration=configuration,
        secrets=brought,
        pending=(*pending, *sorted(set(waiting.values()))),
        warnings=tuple(warning for item in prepared for warning in (*item.warnings, *_for_clusters(item.secret))),
    )


def _for_clusters(secret: Secret) -> tuple[str, ...]:
    """Envoy alone has no bound, but who tries a site here means to have it on a cluster."""
    problem = too_large(secret)
    return (f"On a cluster this would be refused: {problem}",) if problem else ()


def _upstream(given: t.Mapping[str, t.Any], *, state: str) -> Object:
    """Return the module's option as it is kept: without what is not set, and the CA's content for its file.

    Raises MtlsError when the file cannot be read or holds anything else than certificates.
    """
    names = ("address", "protocol", "labels", "server_name", "identity_log")
    kept = {name: given[name] for name in names if given.get(name)}
    if given.get("ca") and state == "present":
        data = read_bytes(given["ca"], what="upstream's CA")
        certificates = load_certificates(data, source=str(given["ca"])).certificates
        kept["ca"] = "".join(
            certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates
        )
    return kept


def gateways_to_come(state: AppliedState) -> dict[str, str]:
    """Return the APIRules (by their key) whose Gateway is not there, and that Gateway, in words.

    In check mode an earlier task would have applied it, so its absence says nothing about the APIRule.
    """
    found = {}
    for key, definition in state.objects.items():
        spec = definition.get("spec")
        reference = spec.get("gateway") if key.startswith("APIRule_") and isinstance(spec, dict) else None
        if isinstance(reference, str) and f"Gateway_{reference.replace('/', '_')}" not in state.objects:
            found[key] = f"Gateway {reference}"
    return found


def merged(request: LocalRequest, *, current: AppliedState, facts: t.Mapping[str, Object]) -> AppliedState:
    """Return ``current`` with ``request`` applied to it."""
    objects = dict(current.objects)
    secrets = dict(current.secrets)
    workloads = dict(current.workloads)
    upstreams = dict(current.upstreams)
    _prune(request, objects, upstreams)
    ports = {**current.ports, **request.ports}
    if request.state == "absent":
        ports = {port: local for port, local in current.ports.items() if port not in request.ports}
        for definition in request.definitions:
            objects.pop(object_key(definition), None)
        for source in request.secrets:
            secrets.pop(source.label, None)
            secrets.pop(source.replaced_label, None)
        for workload in request.workloads:
            workloads.pop(workload.deployment, None)
        for name in request.upstreams:
            upstreams.pop(name, None)
    else:
        objects.update({object_key(definition): definition for definition in request.definitions})
        secrets.update(facts)
        upstreams.update(request.upstreams)
        for workload in request.workloads:
            check_command(workload)
            workloads[workload.deployment] = {
                "requirements": workload.requirements,
                "command": list(workload.command),
            }
    return AppliedState(
        objects=objects,
        secrets=secrets,
        ports=ports,
        workloads=workloads,
        upstreams=upstreams,
        key_sets={**current.key_sets, **request.key_sets},
    )


def _prune(request: LocalRequest, objects: dict[str, Object], upstreams: dict[str, Object]) -> None:
    """Drop the labelled objects that the request does not name, and upstreams that only they used."""
    key, _equals, value = request.prune.partition("=")
    named = {object_key(definition) for definition in request.definitions}
    strays = [
        name
        for name, definition in objects.items()
        if value and name not in named and (definition["metadata"].get("labels") or {}).get(key) == value
    ]
    gone = {service for name in strays for service in _services(name, objects.pop(name))}
    used = {service for name, definition in objects.items() for service in _services(name, definition)}
    for service in gone - used:
        upstreams.pop(service, None)


def _services(name: str, definition: Object) -> t.Iterator[str]:
    """Yield the Services that an APIRule leads to, as upstreams are named."""
    spec = definition.get("spec")
    if not name.startswith("APIRule_") or not isinstance(spec, dict):
        return
    for service in (spec.get("service"), *(rule.get("service") for rule in spec.get("rules") or ())):
        if isinstance(service, dict):
            namespace = service.get("namespace") or name.split("_")[1]
            yield f"{namespace}/{service.get('name')}:{service.get('port')}"


def check_credentials(configuration: Configuration, *, state: AppliedState) -> None:
    """Refuse a Gateway whose credential nobody has given: on a cluster its handshakes fail and no status says so."""
    for credential in configuration.credentials:
        if secret_name_for(credential, state=state) is None:
            raise MtlsError(
                f"The Gateway needs Secret {GATEWAY_NAMESPACE}/{credential.name} ({credential.kind}), "
                "but no such Secret was given, now or earlier. Add it to secrets."
            )


def secret_name_for(credential: Credential, *, state: AppliedState) -> str | None:
    """Return the name of the Secret that Istio would take for ``credential``, None when there is none.

    Client CAs come from ``NAME-cacert``, or from ``NAME`` itself when that does not exist.
    """
    base = credential.name.removesuffix("-cacert")
    names = [credential.name] if credential.kind == "certificate" else [f"{base}-cacert", base]
    for name in names:
        if f"Secret {GATEWAY_NAMESPACE}/{name}" in state.secrets:
            return name
    return None


def sds_document(credential: Credential, *, secret: Secret) -> Object:
    """Return the SDS resource file of ``credential`` made of ``secret``.

    Raises MtlsError when the Secret does not hold what the credential is for.
    """
    if credential.kind == "certificate":
        certificate = secret.certificate()
        if certificate is None:
            raise MtlsError(f"{secret.label} holds no certificate (tls.crt and tls.key, or cert and key).")
        return render.sds_certificate(credential.resource, *certificate)
    authorities = secret.authorities()
    if authorities is None:
        raise MtlsError(f"{secret.label} holds no client CAs (cacert or ca.crt), which mode MUTUAL needs.")
    return render.sds_validation(credential.resource, *authorities)


def secret_in(document: t.Any, *, label: str) -> Secret | None:
    """Return the Secret that a file with client CAs was made of, None when it is no such file."""
    try:
        context = document["resources"][0]["validation_context"]
        data = {
            key: base64.b64decode(context[name]["inline_bytes"])
            for key, name in (("cacert", "trusted_ca"), ("crl", "crl"))
            if name in context
        }
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    namespace, _slash, name = label.removeprefix("Secret ").partition("/")
    return Secret(name=name, namespace=namespace, data=data)


def gateway_files(target: DesiredState) -> dict[str, Object]:
    """Return the SDS files that this request decides: relative path -> document."""
    documents = {}
    for credential in target.configuration.credentials:
        name = secret_name_for(credential, state=target.state)
        if name is not None and name in target.secrets:
            documents[credential.path] = sds_document(credential, secret=target.secrets[name])
    return documents


def file_bytes(document: Object, *, name: str) -> bytes:
    """Return the bytes of Envoy's file ``name``; a discovery response gets its version."""
    if "resources" in document:
        document = admin.versioned(document, name=name)
    return (json.dumps(document, indent=1) + "\n").encode()


def differences(before: AppliedState, after: AppliedState) -> dict[str, tuple[t.Any, t.Any]]:
    """Return what differs between two states: label -> (before, after), None where it is absent."""
    found: dict[str, tuple[t.Any, t.Any]] = {}
    pairs: list[tuple[t.Mapping[str, t.Any], t.Mapping[str, t.Any]]] = [
        (
            {label(key): definition for key, definition in before.objects.items()},
            {label(key): definition for key, definition in after.objects.items()},
        ),
        (before.secrets, after.secrets),
        (workload_summaries(before), workload_summaries(after)),
        (
            {f"upstream {key}": upstream for key, upstream in before.upstreams.items()},
            {f"upstream {key}": upstream for key, upstream in after.upstreams.items()},
        ),
        (
            {f"key set {uri}": _digest(text) for uri, text in before.key_sets.items()},
            {f"key set {uri}": _digest(text) for uri, text in after.key_sets.items()},
        ),
        (
            {f"port {key}": local for key, local in before.ports.items()},
            {f"port {key}": local for key, local in after.ports.items()},
        ),
    ]
    for old, new in pairs:
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                found[key] = (old.get(key), new.get(key))
    return found


def _digest(text: str) -> str:
    return f"SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"


def workload_summaries(state: AppliedState) -> dict[str, Object]:
    """Return the workloads for a diff: their pins without the hashes."""
    return {
        f"workload {workload.deployment}": {"command": list(workload.command), "packages": workload.packages.summary}
        for workload in workloads_of(state)
    }


def label(key: str) -> str:
    """Return an object's file name as ``Kind namespace/name``."""
    kind, namespace, name = key.split("_", 2)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
