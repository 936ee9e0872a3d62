# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ACME in words: why an order failed and what to do, and the standing record of dns-persist-01.

The protocol itself is community.crypto's.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, sentence

Json = t.Mapping[str, t.Any]

#: What a message contains -> what to do about it; the first that fits.
_ADVICE = {
    "The ingress gateway at": "Another Gateway or VirtualService has this very host on port 80, such as one with "
    "httpsRedirect: kubectl get gateways.networking.istio.io --all-namespaces. Take the host off it, or set "
    "server_pki_acme_challenge to dns-01. The CA was not asked to look.",
    "CERTIFICATE_VERIFY_FAILED": "Set server_pki_acme_ca_file to the CA file by which the server is trusted.",
    "externalAccountRequired|external account binding must be": "Set server_pki_acme_eab to the kid, key and alg that "
    "the CA gave you.",
    "externalAccount|external account|binding": "Check kid, key and alg in server_pki_acme_eab.",
    "support selected profile|invalidProfile": "Set server_pki_acme_profile to one that the CA has.",
    "rejectedIdentifier|policy forbids": "The CA does not issue for that name. Take it off server_pki_sans, or ask "
    "another CA.",
    "unsupportedIdentifier": "The CA does not issue for names of that type. Take it off server_pki_sans.",
    "rateLimited": "Wait as long as the CA says before the next run. Try with its staging directory meanwhile.",
    "accountDoesNotExist|account is not valid|deactivated": "The account is gone. Move its key away to have a new "
    "account created, or name the key of one that is valid in server_pki_acme_account_key.",
    "userActionRequired|agree": "Read the terms of service of the CA, and set server_pki_acme_terms_agreed.",
    r":caa\b": "Allow the CA in the CAA record of the domain.",
    "challenge type|not offer|no challenge": "The CA does not offer that challenge for these names. Set another one as "
    "server_pki_acme_challenge.",
    "refused|timed out|url[o]pen|not known|Temporary failure|No route|Connection failure": "Check that the target host "
    "reaches server_pki_acme_directory, and run the playbook again.",
}
_CHALLENGES = {
    "http-01": "The CA must reach port 80 of every name, and there the ingress gateway.",
    "dns-01": "The CA must find the TXT records at the name servers of the zone. Where they take their time, set "
    "server_pki_acme_dns_seconds.",
    "tls-alpn-01": "The CA must reach port 443 of every name, and there the local gateway.",
}
_SERVED = "The certificate in use stays as it is."


def failure(result: Json, about: Json) -> str:
    """Say in the CA's own words why there is no new certificate, and what to do.

    ``result`` is that of the task which failed; ``about`` names the directory, names, challenge and standing records.
    """
    reasons = _reasons(result)
    names = ", ".join(about["names"])
    said = " ".join(reasons) or "it did not decide in time"
    advice = _advice(said, result, about)
    return f"{about['directory']} issued no certificate for {names}: {sentence(said)} {advice} {_SERVED}"


def standing_records(sans: t.Iterable[str], issuer: Json) -> list[dict[str, t.Any]]:
    """Give the standing records for ``sans``, by which ``issuer`` knows the account (draft-ietf-acme-dns-persist).

    Raises MtlsError when the CA does not say by which name it would look for itself.
    """
    names = (issuer["directory"].get("meta") or {}).get("caaIdentities")
    if not names or not isinstance(names, list):
        raise MtlsError(
            "The CA names no caaIdentities in its directory, which the record of dns-persist-01 begins with. Set "
            "server_pki_acme_challenge to dns-01."
        )
    is_wildcard: dict[str, bool] = {}
    for san in sans:
        name = san.removeprefix("DNS:").lower()
        base = name.removeprefix("*.")
        is_wildcard[base] = is_wildcard.get(base, False) or base != name
    value = f"{names[0]}; accounturi={issuer['account_uri']}"
    return [
        {"name": f"_validation-persist.{base}", "values": [f"{value}; policy=wildcard" if wild else value]}
        for base, wild in is_wildcard.items()
    ]


def _reasons(result: Json) -> list[str]:
    """The reasons of the CA for each name, or else the message of the module."""
    found = []
    for name, authorization in (result.get("authorizations_by_identifier") or {}).items():
        errors = [challenge["error"] for challenge in authorization.get("challenges") or () if challenge.get("error")]
        found += [f"{name.removeprefix('dns:')}: {_detail(error)}" for error in errors]
    error = (result.get("order") or {}).get("error")
    if not found and error:
        found.append(_detail(error))
    if not found and "order" not in result:
        failed = [one for one in result.get("results") or () if one.get("failed")] or [result]
        found = [re.sub(r"\s+", " ", str(one.get("msg") or "")).strip() for one in failed]
    return [reason for reason in found if reason]


def _advice(said: str, result: Json, about: Json) -> str:
    if about["challenge"] == "dns-persist-01" and "authorizations_by_identifier" in result:
        records = "; ".join(f'{record["name"]} TXT "{record["values"][0]}"' for record in about["records"])
        return f"Have these standing records published: {records}."
    if "authorizations_by_identifier" in result:
        return _CHALLENGES.get(about["challenge"], "")
    for pattern, advice in _ADVICE.items():
        if re.search(pattern, said, re.IGNORECASE):
            return advice
    return "Correct that, and run the playbook again."


def _detail(error: t.Any) -> str:
    """Return the words of a problem document (RFC 7807), or of what a CA has instead."""
    words = (error.get("detail") or error.get("type")) if isinstance(error, dict) else error
    return sentence(str(words or "it gives no reason"))
