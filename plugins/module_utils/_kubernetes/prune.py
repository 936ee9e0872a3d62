# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects that an earlier run applied and that are no longer asked for, by their label."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError, UnknownKindError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import Ref

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api, ApiResource

# In the order of deletion: routes before the policies that guard them.
KINDS = (
    ("gateway.kyma-project.io/v2", "APIRule"),
    ("networking.istio.io/v1", "VirtualService"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
)
_FORBIDDEN = 403


def strays(
    api: Api, *, label: str, kinds: t.Collection[str], keep: t.Collection[Ref], namespaces: t.Collection[str]
) -> tuple[list[Ref], list[str]]:
    """Return the objects of ``kinds`` with the ``label`` that are not among ``keep``, and warnings.

    Who may not list on the whole cluster finds those in ``namespaces`` only.
    """
    kept = {(ref.kind, ref.namespace or "default", ref.name) for ref in keep}
    found: list[Ref] = []
    is_partial = False
    for api_version, kind in (known for known in KINDS if known[1] in kinds):
        try:
            resource = api.resource(api_version, kind)
        except UnknownKindError:
            continue
        try:
            listed = _list(api, resource, None, label, kind)
        except ApiError as exc:
            if exc.status != _FORBIDDEN:
                raise
            is_partial = True
            listed = [
                item for namespace in sorted(set(namespaces)) for item in _list(api, resource, namespace, label, kind)
            ]
        found += [
            Ref(api_version, kind, item["metadata"]["name"], item["metadata"].get("namespace"))
            for item in listed
            if (kind, item["metadata"].get("namespace"), item["metadata"]["name"]) not in kept
        ]
    warnings = []
    # Who has one namespace has nothing elsewhere.
    if is_partial and len(set(namespaces)) > 1:
        warnings.append(
            "The user of the kubeconfig may not list on the whole cluster, so objects that are no longer in the "
            f"list were searched in {', '.join(sorted(set(namespaces)))} only. Remove others with state: absent."
        )
    return found, warnings


def _list(api: Api, resource: ApiResource, namespace: str | None, label: str, kind: str) -> list[t.Any]:
    where = f" in {namespace}" if namespace else ""
    path = resource.path(namespace)
    return list(api.request("GET", path, what=f"the list of {kind}{where}", label_selector=label)["items"] or ())
