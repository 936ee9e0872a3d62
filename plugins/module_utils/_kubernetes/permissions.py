# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user of a kubeconfig may do.

One SelfSubjectRulesReview tells all rights in a namespace, those on the whole cluster among them. In a namespace that
does not exist there are only the latter. Where a review is incomplete (an authorizer other than RBAC), each right has a
review of its own.
"""

from __future__ import annotations

import secrets
import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

API_VERSION = "authorization.k8s.io/v1"
Rules = t.Sequence[t.Mapping[str, t.Any]]


@dataclass(frozen=True)
class Permission:
    """What one has to be allowed to do; no namespace means all of them, and resources that are in none."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    """Name of the one object that it is needed for; no name means any."""

    def __str__(self) -> str:
        full = f"{self.resource}.{self.group}" if self.group else self.resource
        named = f" {self.name}" if self.name else ""
        return f"{self.verb} {full}{named}" + (f" in {self.namespace}" if self.namespace else "")


def denied(api: Api, needed: t.Sequence[Permission]) -> list[Permission]:
    """Return what of ``needed`` the user may not do, in that order."""
    # Nobody can have granted anything in a namespace whose name is made up here.
    nowhere = f"kyma-mtls-{secrets.token_hex(8)}"
    rules = {
        name: _rules(api, name or nowhere) for name in dict.fromkeys(permission.namespace for permission in needed)
    }
    return [permission for permission in needed if not _is_allowed(api, permission, rules[permission.namespace])]


def _is_allowed(api: Api, permission: Permission, rules: Rules | None) -> bool:
    return _review(api, permission) if rules is None else any(_covers(rule, permission) for rule in rules)


def _rules(api: Api, namespace: str) -> Rules | None:
    """Return the rules in ``namespace``, None when they are not all that count."""
    status = _ask(api, "SelfSubjectRulesReview", {"namespace": namespace})
    return None if status.get("incomplete") else status.get("resourceRules") or []


def _review(api: Api, permission: Permission) -> bool:
    attributes = {"verb": permission.verb, "group": permission.group, "resource": permission.resource}
    attributes |= {
        key: value for key, value in (("namespace", permission.namespace), ("name", permission.name)) if value
    }
    return bool(_ask(api, "SelfSubjectAccessReview", {"resourceAttributes": attributes}).get("allowed"))


def _ask(api: Api, kind: str, spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    answer = api.request(
        "POST",
        f"/apis/{API_VERSION}/{kind.lower()}s",
        what="The review of permissions",
        body={"apiVersion": API_VERSION, "kind": kind, "spec": spec},
    )
    return answer.get("status") or {}


def _covers(rule: t.Mapping[str, t.Any], permission: Permission) -> bool:
    names = rule.get("resourceNames")
    return (not names or permission.name in names) and all(
        value in given or "*" in given
        for value, given in (
            (permission.verb, rule.get("verbs") or []),
            (permission.group, rule.get("apiGroups") or []),
            (permission.resource, rule.get("resources") or []),
        )
    )
