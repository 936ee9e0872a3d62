# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets on a cluster: made of files, checked before they are applied, never shown.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils import _credentials
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._key_material import HIDDEN, hide_parts, hide_private_keys
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import Ref, Wanted
from ansible_collections.kyma.mtls.plugins.module_utils._secret_files import SecretSource, read_secrets


def wanted_secrets(
    sources: t.Sequence[SecretSource], *, predict: bool, now: datetime.datetime
) -> tuple[list[Wanted], tuple[str, ...]]:
    """Return the Secrets to be applied, and the files that are not there yet (only with ``predict``).

    Raises MtlsError for a missing file, and for a Secret that the gateway could not use, naming what is wrong with it.
    """
    secrets, pending = read_secrets(sources, predict=predict)
    return [_wanted(secret, now=now) for secret in secrets], pending


def ref_of_secret(source: SecretSource) -> Ref:
    return Ref(api_version="v1", kind="Secret", name=source.name, namespace=source.namespace)


def _wanted(secret: _credentials.Secret, *, now: datetime.datetime) -> Wanted:
    return Wanted(
        ref=Ref(api_version="v1", kind="Secret", name=secret.name, namespace=secret.namespace),
        body={
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls" if {"tls.crt", "tls.key"} <= set(secret.data) else "Opaque",
            "metadata": {"name": secret.name, "namespace": secret.namespace},
            "data": {key: base64.b64encode(value).decode() for key, value in sorted(secret.data.items())},
        },
        facts=_credentials.lint(secret, now=now),
    )


def shown(content: t.Mapping[str, t.Any] | None, *, now: datetime.datetime) -> dict[str, t.Any] | None:
    """Return a Secret's content for people: what is in it in words, nothing of its data."""
    if content is None:
        return None
    kept = {key: value for key, value in content.items() if key not in ("data", "stringData")}
    data = content.get("data") or {}
    kept["data"] = dict.fromkeys(sorted(data), HIDDEN)
    try:
        decoded = {key: base64.b64decode(value, validate=True) for key, value in data.items()}
        secret = _credentials.Secret(
            name=content["metadata"]["name"], namespace=content["metadata"].get("namespace", ""), data=decoded
        )
        kept["holds"] = _credentials.lint(secret, now=now)
    except (MtlsError, binascii.Error, TypeError):
        kept["holds"] = "nothing that the gateway could use"
    return kept


def without_data(message: str, body: t.Mapping[str, t.Any]) -> str:
    """Return ``message`` without any part of the data of the Secret ``body``, encoded or decoded."""
    return hide_private_keys(hide_parts(message, (body.get("data") or {}).values()))
