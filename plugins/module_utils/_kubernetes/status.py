# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a site on a cluster, read and never changed: nodes, modules, objects, address, certificates."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import (
    address,
    client,
    client_cas,
    issued,
    secrets,
    waits,
)
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.apply import namespace_of
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError, UnknownKindError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.verdict import Circumstances
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import load_certificates

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.sources import SecretSource
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import Ref

Body = t.Mapping[str, t.Any]
CLUSTER = "cluster"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing of the cluster, in what state it is, and whether that is well."""

    name: str
    state: str
    is_well: bool


@dataclasses.dataclass(frozen=True)
class Expected:
    """What should be there: objects and what has to hold of them, Secrets by their files, and the gateway's address."""

    objects: tuple[tuple[Ref, str], ...]
    secrets: tuple[SecretSource, ...]
    service: address.Service | None = None
    connect_to: str = ""
    """The gateway's address, where it is known; else that of ``service`` is looked up."""


def look(connection: t.Mapping[str, str | None], expected: Expected) -> list[Finding]:
    """Return the state of the cluster that ``connection`` leads to. One that does not answer is a finding, too."""
    kubeconfig = connection.get("kubeconfig")
    if kubeconfig and not Path(kubeconfig).exists():
        return [Finding(CLUSTER, f"there is no kubeconfig {kubeconfig}", is_well=False)]
    try:
        api = client.connect(connection)
    except MtlsError as exc:
        return [Finding(CLUSTER, str(exc), is_well=False)]
    return list(_findings(api, expected))


def _findings(api: Api, expected: Expected) -> t.Iterator[Finding]:
    try:
        yield from _nodes(api)
        for ref, until in expected.objects:
            yield from _object(api, ref, until)
        yield from (_secret(api, source) for source in client_cas.names_on(api, expected.secrets))
        yield from _address(api, expected)
    except client.UnreachableError as exc:
        # The rest would wait as long for nothing.
        yield Finding(CLUSTER, str(exc), is_well=False)


def _nodes(api: Api) -> t.Iterator[Finding]:
    try:
        nodes = api.request("GET", "/api/v1/nodes", what="The nodes").get("items") or []
    except ApiError as exc:
        if exc.status != 403:
            raise
        # Who may use a namespace need not see the nodes.
        return
    for node in nodes:
        conditions = (node.get("status") or {}).get("conditions") or []
        ready: Body = next((condition for condition in conditions if condition.get("type") == "Ready"), {})
        is_ready = ready.get("status") == "True"
        state = "Ready" if is_ready else f"not ready ({str(ready.get('message') or 'no reason given').rstrip('.')})"
        yield Finding(f"Node {node['metadata']['name']}", state, is_well=is_ready)


def _object(api: Api, ref: Ref, until: str) -> t.Iterator[Finding]:
    try:
        resource = api.resource(ref.api_version, ref.kind)
        body = api.get(resource.path(namespace_of(ref, resource), ref.name), what=ref.label)
    except UnknownKindError:
        yield Finding(ref.label, "missing, and so is its CustomResourceDefinition", is_well=False)
        return
    except ApiError as exc:
        yield Finding(ref.label, str(exc), is_well=False)
        return
    if body is None:
        yield Finding(ref.label, "missing", is_well=False)
        return
    verdict = waits.PREDICATES[until](body, Circumstances())
    yield Finding(ref.label, verdict.words, is_well=verdict.ready and not verdict.warning)
    if until == "certificate_ready" and (name := (body.get("spec") or {}).get("secretName")):
        yield _issued(api, str(body["metadata"].get("namespace")), str(name))


def _issued(api: Api, namespace: str, name: str) -> Finding:
    """The Secret of a Certificate: its issuer may not have noticed yet that it is gone, or that it was changed."""
    label = f"Secret {namespace}/{name}"
    try:
        found = issued.read(api, namespace, name, now=api.now())
    except MtlsError as exc:
        return Finding(label, str(exc), is_well=False)
    if found is None:
        return Finding(label, "missing", is_well=False)
    return Finding(
        label, f"{found.facts['subject'] or 'a certificate'}, until {found.facts['not_after']}", is_well=True
    )


def _secret(api: Api, source: SecretSource) -> Finding:
    try:
        body = api.get(f"/api/v1/namespaces/{source.namespace}/secrets/{source.name}", what=source.label)
    except ApiError as exc:
        return Finding(source.label, str(exc), is_well=False)
    if body is None:
        return Finding(source.label, "missing", is_well=False)
    # What is published is written anew from the files, in the form that the gateway reads.
    try:
        given = secrets.secrets_to_apply([source], predict=True, now=api.now())
    except MtlsError as exc:
        return Finding(source.label, str(exc), is_well=False)
    if given.pending:
        return Finding(source.label, f"{', '.join(given.pending)} is missing on disk", is_well=False)
    data, desired = body.get("data") or {}, given.desired[0].body["data"]
    paths = {**source.files, **source.optional_files}
    different = [
        f"{key} is missing, {paths.get(key)} is there" if key not in data else f"{key} is not {paths.get(key)}"
        for key, value in desired.items()
        if data.get(key) != value
    ]
    # Other keys may belong to others; our own list that is gone from disk does not.
    different += [
        f"{key} is there, {paths[key]} is missing" for key in sorted(set(data) - set(desired)) if key in paths
    ]
    if different:
        return Finding(source.label, "; ".join(different), is_well=False)
    return Finding(source.label, f"as on disk{_subject(data.get('tls.crt'))}", is_well=True)


def _subject(value: str | None) -> str:
    """Return whose certificate it is and until when, for a Secret that has one."""
    if value is None:
        return ""
    try:
        certificate = load_certificates(base64.b64decode(value), source="tls.crt").certificates[0]
    except (MtlsError, IndexError, binascii.Error):
        return ""
    return f" ({certificate.subject.rfc4514_string()}, until {certificate.not_valid_after_utc:%Y-%m-%d})"


def _address(api: Api, expected: Expected) -> t.Iterator[Finding]:
    found = expected.connect_to
    if not found and expected.service is not None:
        try:
            endpoint = address.outside(api, address.look(api, expected.service), expected.service)
        except client.UnreachableError:
            raise
        except MtlsError as exc:
            yield Finding("Address of the gateway", str(exc), is_well=False)
            return
        if endpoint is None:
            # A port can be forwarded all the same.
            yield Finding("Address of the gateway", "none (a port must be forwarded)", is_well=True)
            return
        found = endpoint.connect_to
    if found:
        host, _colon, port = found.rpartition(":")
        answers = address.answers(host.strip("[]"), int(port))
        state = f"{found}, {'open' if answers else 'nothing answers'}"
        yield Finding("Address of the gateway", state, is_well=answers)
