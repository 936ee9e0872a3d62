# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens at the sidecar: what Kyma and istiod make of the access strategy jwt of an APIRule.

A RequestAuthentication refuses tokens that do not hold (401), and an AuthorizationPolicy what has none (403).
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
import urllib.parse

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import TYPE
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import Field

_FILTER = "envoy.filters.http.jwt_authn"
_PAYLOAD = "payload"
# Kyma's api-gateway, processors/v2alpha1/authorizationpolicy.
_SCOPE_CLAIMS = ("scp", "scope", "scopes")
_ONLY_BEARER = "the local platform reads a token from Authorization: Bearer, or from the parameter access_token."


@dataclasses.dataclass(frozen=True)
class TokenIssuer:
    """Who signs tokens, and where his public keys are."""

    name: str
    key_set: str
    field: Field


@dataclasses.dataclass(frozen=True)
class TokenGrant:
    """Scopes and audiences that a token must have, all of them."""

    scopes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TokenRule:
    """The access strategy jwt: a token of one of the issuers, for which one of the grants holds."""

    issuers: tuple[TokenIssuer, ...]
    grants: tuple[TokenGrant, ...] = (TokenGrant(),)


def read_jwt(item: Field) -> TokenRule:
    """The access strategy jwt in ``item``."""
    fields = item.fields(required=("authentications",), optional=("authorizations",))
    issuers = tuple(_read_issuer(entry) for entry in fields["authentications"].items())
    if "authorizations" not in fields:
        return TokenRule(issuers)
    return TokenRule(issuers, tuple(_read_grant(entry) for entry in fields["authorizations"].items()))


def _read_issuer(item: Field) -> TokenIssuer:
    fields = item.fields(
        required=("issuer", "jwksUri"), refused={"fromHeaders": _ONLY_BEARER, "fromParams": _ONLY_BEARER}
    )
    for name in ("issuer", "jwksUri"):
        text = fields[name].text()
        if (name == "jwksUri" or ":" in text) and not urllib.parse.urlsplit(text).netloc:
            raise fields[name].refusal(f"{text!r} is not a valid URI.")
    return TokenIssuer(fields["issuer"].text(), fields["jwksUri"].text(), fields["jwksUri"])


def _read_grant(item: Field) -> TokenGrant:
    fields = item.fields(optional=("requiredScopes", "audiences"))
    texts = {name: tuple(entry.text() for entry in field.items()) for name, field in fields.items()}
    return TokenGrant(texts.get("requiredScopes", ()), texts.get("audiences", ()))


def principals(rule: TokenRule) -> list[Json]:
    """RBAC principals of which one must hold: a token of an issuer, with what a grant asks for."""
    issued = {"or_ids": {"ids": [_of_issuer(issuer.name) for issuer in rule.issuers]}}
    return [{"and_ids": {"ids": [issued, *conditions]}} for grant in rule.grants for conditions in _conditions(grant)]


def _conditions(grant: TokenGrant) -> t.Iterator[list[Json]]:
    audiences = [_has("aud", audience) for audience in grant.audiences]
    if not grant.scopes:
        yield audiences
    for claim in _SCOPE_CLAIMS if grant.scopes else ():
        yield [*(_has(claim, scope) for scope in grant.scopes), *audiences]


def _of_issuer(name: str) -> Json:
    subject = _claim("sub", {"string_match": {"safe_regex": {"regex": ".+"}}})
    return {"and_ids": {"ids": [_claim("iss", {"string_match": {"exact": name}}), subject]}}


def _has(claim: str, value: str) -> Json:
    exact = {"string_match": {"exact": value}}
    return {"or_ids": {"ids": [_claim(claim, exact), _claim(claim, {"list_match": {"one_of": exact}})]}}


def _claim(name: str, value: Json) -> Json:
    return {"metadata": {"filter": _FILTER, "path": [{"key": _PAYLOAD}, {"key": name}], "value": value}}


def token_filter(issuers: t.Iterable[TokenIssuer], key_sets: t.Mapping[str, str]) -> Json:
    """The filter that checks a token where there is one; istiod downloads what ``key_sets`` has here."""
    distinct = {(issuer.name, issuer.key_set): issuer for issuer in issuers}
    providers = {
        f"origins-{number}": {
            "issuer": issuer.name,
            "local_jwks": {"inline_string": _read_key_set(issuer, key_sets)},
            "forward": True,
            "payload_in_metadata": _PAYLOAD,
            "normalize_payload_in_metadata": {"space_delimited_claims": ["scope", "permission"]},
        }
        for number, (_key, issuer) in enumerate(sorted(distinct.items()))
    }
    requirements: list[Json] = [{"provider_name": name} for name in providers]
    return {
        "name": _FILTER,
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "bypass_cors_preflight": True,
            "providers": providers,
            "rules": [
                {
                    "match": {"prefix": "/"},
                    "requires": {"requires_any": {"requirements": [*requirements, {"allow_missing": {}}]}},
                }
            ],
        },
    }


def _read_key_set(issuer: TokenIssuer, key_sets: t.Mapping[str, str]) -> str:
    text = key_sets.get(issuer.key_set)
    if text is None:
        raise issuer.field.refusal(
            f"the local platform downloads nothing; give a file with the keys of {issuer.key_set} in key_sets."
        )
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError):
        keys = None
    if not isinstance(keys, list) or not keys:
        raise issuer.field.refusal(f"the keys of {issuer.key_set} are not a JSON Web Key Set (RFC 7517 section 5).")
    if any(isinstance(key, dict) and {"d", "k"} & set(key) for key in keys):
        raise issuer.field.refusal(f"the keys of {issuer.key_set} are secret ones; give the public keys only.")
    return text
