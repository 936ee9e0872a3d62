# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets on a cluster: made of files, checked before they are applied, never shown."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import published
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.prepare import Prepared, prepare
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret, too_large
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.sources import SecretSource, read_secrets
from ansible_collections.kyma.mtls.plugins.module_utils._key_material import HIDDEN, hide_parts, hide_private_keys
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import DesiredObject, Ref, our_fields

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

# On a Secret that was published with revocation lists: that they were taken out of it leaves no other trace.
CRL_ANNOTATION = "kyma.mtls/crl"
UNUSABLE = "nothing that the gateway could use"


@dataclasses.dataclass(frozen=True)
class SecretsToApply:
    """Secrets to be applied, the files that are not there yet, and what has to be said about what was given."""

    desired: tuple[DesiredObject, ...] = ()
    secrets: tuple[Secret, ...] = ()
    pending: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def secrets_to_apply(sources: t.Sequence[SecretSource], *, predict: bool, now: datetime.datetime) -> SecretsToApply:
    """Return the Secrets to be applied; with ``predict`` a file that is missing is only noted.

    Raises MtlsError for a missing file, and for a Secret that the gateway could not use, naming what is wrong with it.
    """
    secrets, pending = read_secrets(sources, predict=predict)
    prepared = [prepare(secret, now=now) for secret in secrets]
    for problem in filter(None, (too_large(item.secret) for item in prepared)):
        raise MtlsError(f"{problem} Nothing was sent.")
    return SecretsToApply(
        desired=tuple(_desired(item) for item in prepared),
        secrets=tuple(item.secret for item in prepared),
        pending=pending,
        warnings=tuple(warning for item in prepared for warning in item.warnings),
    )


def compare(api: Api, secrets: t.Sequence[Secret], *, accept_older_crl: bool, check_only: bool) -> list[str]:
    """Look at what the gateway has of ``secrets`` before anything is applied, and return what has to be said about it.

    A Secret that is not there yet is compared with the one that it replaces.

    Raises MtlsError when a revocation would be lost.
    """
    warnings = []
    for secret in secrets:
        if not secret.for_gateway or secret.authorities() is None:
            continue
        names = [name for name in (secret.name, secret.replaces) if name]
        paths = [api.resource("v1", "Secret").path(secret.namespace, name) for name in names]
        body = next((body for path in paths if (body := api.get(path, what=secret.label)) is not None), None)
        if body is None:
            continue
        current = secret_of(body)
        warnings += published.refuse_older(current, secret, accept=accept_older_crl)
        key = published.missing_crl(current, secret)
        # Before the first revocation there is none. One that is not ours any more was replaced as a whole.
        if key is not None and (CRL_ANNOTATION in (body["metadata"].get("annotations") or {}) or not our_fields(body)):
            warnings.append(
                f"{secret.label}: somebody else had removed the revocation list ({key}): REVOKED CLIENTS GOT IN. "
                f"{'It would be' if check_only else 'It was'} put back. Find out who removed it, and when."
            )
    return warnings


def ref_of_secret(source: SecretSource) -> Ref:
    return Ref(api_version="v1", kind="Secret", name=source.name, namespace=source.namespace)


def _desired(prepared: Prepared) -> DesiredObject:
    secret = prepared.secret
    metadata: dict[str, t.Any] = {"name": secret.name, "namespace": secret.namespace}
    if "crls" in prepared.facts:
        lists = (f"{fact['issuer']}: {fact['revoked']} revoked" for fact in prepared.facts["crls"])
        metadata["annotations"] = {CRL_ANNOTATION: "; ".join(lists)}
    return DesiredObject(
        ref=Ref(api_version="v1", kind="Secret", name=secret.name, namespace=secret.namespace),
        body={
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls" if {"tls.crt", "tls.key"} <= set(secret.data) else "Opaque",
            "metadata": metadata,
            "data": {key: base64.b64encode(value).decode() for key, value in sorted(secret.data.items())},
        },
        facts=prepared.facts,
    )


def secret_of(body: t.Mapping[str, t.Any]) -> Secret | None:
    """Return a Secret of the cluster with its data decoded, None when that is not possible."""
    try:
        data = {key: base64.b64decode(value, validate=True) for key, value in (body.get("data") or {}).items()}
    except (binascii.Error, TypeError, ValueError):
        return None
    metadata = body["metadata"]
    return Secret(name=metadata["name"], namespace=metadata.get("namespace", ""), data=data)


def shown(content: t.Mapping[str, t.Any] | None, *, now: datetime.datetime) -> dict[str, t.Any] | None:
    """Return a Secret's content for people: what is in it in words, nothing of its data."""
    if content is None:
        return None
    kept = {key: value for key, value in content.items() if key not in ("data", "stringData")}
    data = content.get("data") or {}
    kept["data"] = dict.fromkeys(sorted(data), HIDDEN)
    secret = secret_of(content)
    try:
        kept["holds"] = prepare(secret, now=now).facts if secret else UNUSABLE
    except MtlsError:
        kept["holds"] = UNUSABLE
    return kept


def without_data(message: str, body: t.Mapping[str, t.Any]) -> str:
    """Return ``message`` without any part of the data of the Secret ``body``, encoded or decoded."""
    return hide_private_keys(hide_parts(message, (body.get("data") or {}).values()))
