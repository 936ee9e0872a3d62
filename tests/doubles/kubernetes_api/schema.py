# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare an object with the API's schema, without a cluster: the generated models of the Kubernetes client know it.

A server ignores a field that it does not know, so a misspelt one is lost without a word.
"""

from __future__ import annotations

import typing as t

import pydantic
from kubernetes import client


def problems(body: t.Mapping[str, t.Any]) -> list[str]:
    """Return what the schema of ``body``'s kind does not allow, as 'spec.replica: Extra inputs are not permitted'."""
    group, _slash, version = body["apiVersion"].rpartition("/")
    prefix = "".join(part.title() for part in (group.removesuffix(".k8s.io").split(".")[0], version))
    names = [f"{version.title()}{body['kind']}", f"{prefix}{body['kind']}"]
    model = next((getattr(client, name) for name in names if hasattr(client, name)), None)
    if model is None:
        return [f"no schema of {body['apiVersion']} {body['kind']}"]
    try:
        model.model_validate(dict(body))
    except pydantic.ValidationError as exc:
        return [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in exc.errors()]
    return []
