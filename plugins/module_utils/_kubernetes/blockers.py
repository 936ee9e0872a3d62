# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What blocks the deletion of Kyma's modules: Kyma keeps a CR as long as others use what it has installed.

APIGateway names the APIRules in its condition Ready. Istio only points at its manager's log: there we list ourselves.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import waits
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

Body = t.Mapping[str, t.Any]
ADVICE = (
    "Delete or move what is named there, then run this again; Kyma looks again only after up to 60 s. "
    "Leave the finalizers: without them Kyma would leave behind what it has installed."
)
ISTIO_GROUPS = ("networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io")
# What Kyma itself has made blocks nothing.
KYMAS = "kyma-project.io/module"
MOST_NAMED = 10


def is_blocked(body: Body) -> bool:
    """Whether ``body``, which is being deleted, is the CR of a module that Kyma keeps."""
    return body.get("kind") in ("Istio", "APIGateway") and (body.get("status") or {}).get("state") == "Warning"


def named(api: Api, body: Body) -> list[str]:
    """Return the objects that block the deletion of the Istio CR, none for other CRs: they name them themselves."""
    return [label for group in ISTIO_GROUPS for label in _of_group(api, group)] if body["kind"] == "Istio" else []


def words(body: Body, blocking: t.Sequence[str]) -> str:
    """Return why ``body`` is still there."""
    text = waits.state_words(body)
    if not blocking:
        return text
    more = f" and {len(blocking) - MOST_NAMED} more" if len(blocking) > MOST_NAMED else ""
    return f"{text}: {', '.join(blocking[:MOST_NAMED])}{more}"


def _of_group(api: Api, group: str) -> t.Iterator[str]:
    try:
        version = api.request("GET", f"/apis/{group}", what=f"the versions of {group}")["preferredVersion"]
        path = f"/apis/{version['groupVersion']}"
        kinds = api.request("GET", path, what=f"the kinds of {group}")["resources"]
    except ApiError:
        return
    for kind in kinds:
        if "/" in kind["name"]:
            continue
        try:
            listed = api.request("GET", f"{path}/{kind['name']}", what=f"all {kind['name']}").get("items") or []
        except ApiError:
            # Who may not read some of them still sees the others.
            continue
        for body in listed:
            metadata = body["metadata"]
            if KYMAS not in (metadata.get("labels") or {}):
                yield f"{kind['kind']} {metadata['namespace']}/{metadata['name']}"
