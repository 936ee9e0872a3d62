# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads as data: the tokens that their paths need, as an APIRule and as istiod have them.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
import urllib.parse

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

Json = dict[str, t.Any]

# Claims in which Kyma's API Gateway looks for a scope.
_SCOPE_CLAIMS = ("scp", "scope", "scopes")


def tokens_of(workload: t.Mapping[str, t.Any], *, owner: str, platform: str) -> list[Json | None]:
    """Return, for each path, the ``jwt`` of an APIRule and what policies have for it; None where no token is needed.

    Raises MtlsError naming the workload and what is missing.
    """
    return [
        _read(path["jwt"], owner=owner, platform=platform) if path.get("jwt") else None
        for path in workload.get("paths") or [{}]
    ]


def _read(given: t.Mapping[str, t.Any], *, owner: str, platform: str) -> Json:
    issuer, uri = str(given.get("issuer") or ""), str(given.get("jwks_uri") or "")
    parts = urllib.parse.urlsplit(uri)
    if not issuer or parts.scheme not in ("http", "https") or not parts.netloc:
        raise MtlsError(f"{owner}: jwt needs the issuer, and jwks_uri with the http(s) address of its keys.")
    if platform == "local" and not given.get("jwks_file"):
        raise MtlsError(f"{owner}: on the platform local, jwt needs jwks_file with the keys of {issuer}.")
    scopes = [str(scope) for scope in given.get("scopes") or ()]
    audiences = [str(audience) for audience in given.get("audiences") or ()]
    authorization = {
        **({"requiredScopes": scopes} if scopes else {}),
        **({"audiences": audiences} if audiences else {}),
    }
    claims = [("aud", audience) for audience in audiences]
    conditions = [
        [_condition(name, value) for name, value in (*((claim, scope) for scope in scopes), *claims)]
        for claim in (_SCOPE_CLAIMS if scopes else ("",))
    ]
    return {
        "apirule": {
            "authentications": [{"issuer": issuer, "jwksUri": uri}],
            **({"authorizations": [authorization]} if authorization else {}),
        },
        "principal": f"{issuer}/*",
        "conditions": conditions,
    }


def _condition(claim: str, value: str) -> Json:
    return {"key": f"request.auth.claims[{claim}]", "values": [value]}


def distinct_issuers(tokens: t.Iterable[Json | None]) -> list[Json]:
    """Return the rules of a RequestAuthentication, one for each issuer."""
    found: dict[tuple[str, str], Json] = {}
    for token in tokens:
        for issuer in token["apirule"]["authentications"] if token else ():
            found[issuer["issuer"], issuer["jwksUri"]] = {**issuer, "forwardOriginalToken": True}
    return list(found.values())


def key_sets(given: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, str]:
    """Return where the keys are that a cluster downloads: the address, and the file on the platform local."""
    tokens = (
        path["jwt"]
        for workload in given
        if workload.get("state", "present") == "present"
        for path in workload.get("paths") or ()
        if path.get("jwt")
    )
    return {str(jwt.get("jwks_uri")): str(jwt["jwks_file"]) for jwt in tokens if jwt.get("jwks_file")}
