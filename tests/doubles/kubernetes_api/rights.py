# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a request asks for in the words of RBAC, and whether its user may."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .refusals import Json, RefusalError

PATH = re.compile(
    r"^/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?$"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# Everybody may ask what he may.
FREE = "authorization.k8s.io"


class Attributes(t.NamedTuple):
    """One thing that a request asks for."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""


def attributes(method: str, path: str, *, watch: bool = False) -> Attributes | None:
    """Return what a request asks for, None for discovery and reviews."""
    match = PATH.match(path)
    if match is None or match["group"] == FREE:
        return None
    name = match["name"] or ""
    verb = VERBS.get(method) or ("watch" if watch else "get" if name else "list")
    resource = match["resource"] + (f"/{match['sub']}" if match["sub"] else "")
    return Attributes(verb, match["group"] or "", resource, match["namespace"] or "", name)


@dataclasses.dataclass
class Rights:
    """The rights of the user: everything, unless ``rules`` say what."""

    rules: list[Json] | None = None
    """Each with ``verbs``, ``group``, ``resource`` and ``namespace`` ("" for all and for cluster-wide resources)."""
    forbidden: list[str] = dataclasses.field(default_factory=list)
    """What is not allowed in spite of that, as ``verb resource``."""
    incomplete: bool = False
    """Whether rules are not all told by a review of rules, as with an authorizer that is a webhook."""
    used: set[Attributes] = dataclasses.field(default_factory=set)

    def allow(self, asked: Attributes) -> bool:
        if f"{asked.verb} {asked.resource}" in self.forbidden:
            return False
        return self.rules is None or any(
            asked.verb in one["verbs"]
            and (asked.group, asked.resource) == (one.get("group", ""), one["resource"])
            and one.get("namespace", "") in ("", asked.namespace)
            and (not one.get("names") or asked.name in one["names"])
            for one in self.rules
        )

    def require(self, asked: Attributes) -> None:
        """Note that the right is used; refuse in the API server's words."""
        self.used.add(asked._replace(name=""))
        if not self.allow(asked):
            full = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
            where = f' in the namespace "{asked.namespace}"' if asked.namespace else " at the cluster scope"
            message = (
                f'{full}{f" {chr(34)}{asked.name}{chr(34)}" if asked.name else ""} is forbidden: User "limited" cannot '
                f'{asked.verb} resource "{asked.resource}" in API group "{asked.group}"{where}'
            )
            raise RefusalError(403, "Forbidden", message, {"group": asked.group, "kind": asked.resource})

    def review(self, kind: str, body: Json) -> Json:
        """Answer a SelfSubjectAccessReview or a SelfSubjectRulesReview."""
        return self._rules(body) if kind == "SelfSubjectRulesReview" else self._access(body)

    def _access(self, body: Json) -> Json:
        given = body["spec"]["resourceAttributes"]
        asked = Attributes(*(given.get(key, "") for key in ("verb", "group", "resource", "namespace", "name")))
        return {**body, "status": {"allowed": self.allow(asked)}}

    def _rules(self, body: Json) -> Json:
        namespace = body["spec"]["namespace"]
        everything = [{"verbs": ["*"], "group": "*", "resource": "*"}]
        rules = everything if self.rules is None else self.rules
        # A denial is no rule of RBAC: somebody else decides then, and this review does not know.
        incomplete = self.incomplete or bool(self.forbidden)
        told = [
            {"verbs": one["verbs"], "apiGroups": [one.get("group", "")], "resources": [one["resource"]]}
            | ({"resourceNames": one["names"]} if one.get("names") else {})
            for one in ([] if incomplete else rules)
            if one.get("namespace", "") in ("", namespace)
        ]
        return {**body, "status": {"resourceRules": told, "nonResourceRules": [], "incomplete": incomplete}}
