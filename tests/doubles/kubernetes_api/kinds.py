# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds that the double serves: the built-in ones that the roles use, and those of CustomResourceDefinitions."""

from __future__ import annotations

import dataclasses
import typing as t

from .refusals import Json

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
CUSTOM_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind in one API version."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    has_status: bool = True
    counts_generations: bool = False
    schema: Json | None = dataclasses.field(default=None, compare=False, repr=False)
    columns: tuple[Json, ...] = dataclasses.field(default=(), compare=False, repr=False)
    categories: tuple[str, ...] = ()
    custom: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored_as(self) -> str:
        """All versions of a kind are one object in the store."""
        return f"{self.plural}.{self.group}"

    @property
    def verbs(self) -> list[str]:
        if self.custom:
            return CUSTOM_VERBS
        return [verb for verb in VERBS if (self.kind, verb) != ("Namespace", "deletecollection")]

    def discovery(self) -> list[Json]:
        """Return its entries in an APIResourceList."""
        main: Json = {
            "name": self.plural,
            "singularName": self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": self.verbs,
        }
        if self.categories:
            main["categories"] = list(self.categories)
        entries = [main]
        if self.has_status:
            status = {"singularName": "", "namespaced": self.namespaced, "kind": self.kind}
            entries.append({"name": f"{self.plural}/status", **status, "verbs": ["get", "patch", "update"]})
        return entries


def _builtin(group: str, version: str, plural: str, kind: str, **options: t.Any) -> Kind:
    return Kind(group=group, version=version, plural=plural, kind=kind, **{"namespaced": True, **options})


CLUSTER_WIDE = {"namespaced": False, "has_status": False}

BUILTIN = (
    _builtin("", "v1", "namespaces", "Namespace", namespaced=False),
    _builtin("", "v1", "nodes", "Node", namespaced=False),
    _builtin("", "v1", "secrets", "Secret", has_status=False),
    _builtin("", "v1", "configmaps", "ConfigMap", has_status=False),
    _builtin("", "v1", "serviceaccounts", "ServiceAccount", has_status=False),
    _builtin("", "v1", "services", "Service"),
    _builtin("", "v1", "pods", "Pod"),
    _builtin("", "v1", "events", "Event", has_status=False),
    _builtin("apps", "v1", "deployments", "Deployment", counts_generations=True),
    _builtin("apps", "v1", "daemonsets", "DaemonSet", counts_generations=True),
    _builtin("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", **CLUSTER_WIDE),
    _builtin("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", **CLUSTER_WIDE),
    _builtin("rbac.authorization.k8s.io", "v1", "roles", "Role", has_status=False),
    _builtin("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", has_status=False),
    _builtin("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", **CLUSTER_WIDE),
    _builtin("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", **CLUSTER_WIDE),
    _builtin("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", **CLUSTER_WIDE),
    _builtin(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
        namespaced=False, counts_generations=True,
    ),
    _builtin(
        "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration",
        namespaced=False, has_status=False, counts_generations=True,
    ),
    _builtin(
        "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration",
        namespaced=False, has_status=False, counts_generations=True,
    ),
)  # fmt: skip


def custom_kinds(definition: Json) -> list[Kind]:
    """Return the kinds that a CustomResourceDefinition defines, one a served version."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Kind(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            has_status="status" in (version.get("subresources") or {}),
            counts_generations=True,
            schema=(version.get("schema") or {}).get("openAPIV3Schema"),
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            categories=tuple(names.get("categories") or ()),
            custom=True,
        )
        for version in spec["versions"]
        if version.get("served")
    ]


def established(definition: Json) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
