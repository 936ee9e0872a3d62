# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""cert-manager's certificates and trust-manager's Bundles: when are they ready, and what does the issuer say?

A Certificate only says that its Secret does not exist. Why is in its CertificateRequest and in the issuer.
Sources: cert-manager (pkg/apis/certmanager/v1, internal/controller/certificates/policies/constants.go).
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError, UnknownKindError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.verdict import (
    Circumstances,
    Verdict,
    condition_of,
    condition_words,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

Body = t.Mapping[str, t.Any]
API_VERSION = "cert-manager.io/v1"
OWNER = "cert-manager.io/certificate-name"


def certificate_ready(body: Body, _circumstances: Circumstances) -> Verdict:
    """The certificate of this generation is in its Secret, and no other one is being issued.

    Ready can stand from before a change while the new certificate is on its way.
    """
    status, generation = body.get("status") or {}, body["metadata"].get("generation")
    ready, issuing = condition_of(status, "Ready"), condition_of(status, "Issuing")
    if ready is None:
        return Verdict(ready=False, words="no status yet; is cert-manager running?")
    words = condition_words(ready)
    if issuing is not None and issuing.get("status") == "True":
        return Verdict(ready=False, words=f"{words}; issuing: {condition_words(issuing)}")
    if ready.get("observedGeneration") != generation:
        return Verdict(ready=False, words=f"{words}; the change is not noticed yet")
    is_ready = ready.get("status") == "True"
    if issuing is None or issuing.get("reason") != "Failed" or issuing.get("observedGeneration") != generation:
        return Verdict(ready=is_ready, words=words)
    present = f", and the present certificate ends at {status.get('notAfter')}" if is_ready else ""
    return Verdict(
        ready=is_ready,
        words=f"{words}; {condition_words(issuing)}{present}. cert-manager tries again an hour after a first failure, "
        "then less and less often. To have it tried again at once, once the cause is fixed: cmctl renew "
        f"--namespace {body['metadata'].get('namespace')} {body['metadata']['name']}.",
        warning=is_ready,
        is_final=not is_ready,
    )


def bundle_synced(body: Body, _circumstances: Circumstances) -> Verdict:
    """trust-manager has written this generation of the Bundle to its targets."""
    synced = condition_of(body.get("status") or {}, "Synced")
    if synced is None:
        return Verdict(ready=False, words="no status yet; is trust-manager running?")
    words = condition_words(synced)
    if synced.get("observedGeneration") != body["metadata"].get("generation"):
        return Verdict(ready=False, words=f"{words}; the change is not noticed yet")
    return Verdict(ready=synced.get("status") == "True", words=words)


def details(api: Api, certificate: Body) -> list[str]:
    """Return what the newest request of ``certificate`` and its issuer say, as far as the user may see them."""
    namespace, name = certificate["metadata"].get("namespace"), certificate["metadata"]["name"]
    found = []
    try:
        path = api.resource(API_VERSION, "CertificateRequest").path(namespace)
        listed = api.request("GET", path, what="CertificateRequests").get("items") or []
        own = [request for request in listed if (request["metadata"].get("annotations") or {}).get(OWNER) == name]
        own.sort(key=lambda request: str(request["metadata"].get("creationTimestamp")))
        for kind in ("InvalidRequest", "Denied", "Ready"):
            condition = condition_of(own[-1].get("status") or {}, kind) if own else None
            if condition is not None and (condition.get("status") == "True") is (kind != "Ready"):
                found.append(f"CertificateRequest {own[-1]['metadata']['name']}: {condition_words(condition)}.")
    except (ApiError, UnknownKindError):
        pass
    return found + of_issuer(api, (certificate.get("spec") or {}).get("issuerRef") or {}, namespace)


def of_issuer(api: Api, reference: Body, namespace: str | None) -> list[str]:
    """Return what an issuer says that is not ready, as far as the user may see it."""
    kind, name = str(reference.get("kind") or "Issuer"), str(reference.get("name"))
    if reference.get("group", "cert-manager.io") != "cert-manager.io":
        return []
    try:
        resource = api.resource(API_VERSION, kind)
        issuer = api.get(resource.path(namespace if resource.namespaced else None, name), what=f"{kind} {name}")
    except (ApiError, UnknownKindError):
        return []
    if issuer is None:
        return [f"There is no {kind} {name}."]
    condition = condition_of(issuer.get("status") or {}, "Ready")
    if condition is not None and condition.get("status") != "True":
        return [f"{kind} {name}: {condition_words(condition)}."]
    return []
