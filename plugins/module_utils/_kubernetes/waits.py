# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When is an object ready? One named predicate each, all in one table.

A predicate looks at an object as the API server returned it and gives a verdict with the object's own words, which a
person sees while waiting and, after the time is up, in the error. What is transient is no failure: Kyma's managers
report ``Error`` on a fresh cluster and try again by themselves.
"""

from __future__ import annotations

import datetime
import json
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import cert_manager, gardener
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import applied_at
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.verdict import Circumstances, Verdict

Body = t.Mapping[str, t.Any]
# Kyma's API Gateway needs some seconds to notice a change; after these an older Ready is the answer to it.
STALE_READY_SECONDS = 15.0
# The first Ready of a fresh Istio CR is followed by another pass within a second: one that lasts is the final one.
SETTLED_SECONDS = 5.0


Predicate = t.Callable[[Body, Circumstances], Verdict]


def exists(_body: Body, _circumstances: Circumstances) -> Verdict:
    return Verdict(ready=True, words="there")


def deployment_ready(body: Body, _circumstances: Circumstances) -> Verdict:
    """The newest template is rolled out: kubectl rollout status."""
    status = body.get("status") or {}
    desired = (body.get("spec") or {}).get("replicas", 1)
    counts = {key: status.get(key) or 0 for key in ("replicas", "updatedReplicas", "availableReplicas")}
    words = f"{counts['availableReplicas']} of {desired} replicas available, {counts['updatedReplicas']} up to date"
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            words += f"; {str(condition['message']).rstrip('.')}"
    observed = (status.get("observedGeneration") or 0) >= (body["metadata"].get("generation") or 0)
    if not observed:
        words += "; the change is not noticed yet"
    elif counts["replicas"] > desired:
        words += f"; {counts['replicas'] - desired} old pods still there"
    return Verdict(ready=observed and all(count == desired for count in counts.values()), words=words)


def daemonset_ready(body: Body, _circumstances: Circumstances) -> Verdict:
    status = body.get("status") or {}
    desired = status.get("desiredNumberScheduled") or 0
    ready = status.get("numberReady") or 0
    updated = status.get("updatedNumberScheduled") or 0
    observed = (status.get("observedGeneration") or 0) >= (body["metadata"].get("generation") or 0)
    return Verdict(
        ready=observed and desired > 0 and ready == desired and updated == desired,
        words=f"{ready} of {desired} pods ready",
    )


def crd_established(body: Body, _circumstances: Circumstances) -> Verdict:
    conditions = {condition.get("type"): condition for condition in (body.get("status") or {}).get("conditions") or []}
    for name in ("NamesAccepted", "Established"):
        condition = conditions.get(name) or {}
        if condition.get("status") != "True":
            return Verdict(ready=False, words=f"not {name}: {condition.get('message') or 'no reason given'}")
    return Verdict(ready=True, words="Established")


def webhook_injected(body: Body, _circumstances: Circumstances) -> Verdict:
    """The manager has put its CA into the CRD's conversion webhook; without it no version but the stored one works."""
    conversion = (body.get("spec") or {}).get("conversion") or {}
    if conversion.get("strategy") != "Webhook":
        return Verdict(ready=True, words="no conversion webhook")
    client = (conversion.get("webhook") or {}).get("clientConfig") or {}
    if client.get("caBundle"):
        return Verdict(ready=True, words="conversion webhook has its CA")
    return Verdict(
        ready=False,
        words=(
            "spec.conversion.webhook.clientConfig.caBundle is empty; the API Gateway manager fills it when it starts. "
            "If it stays empty: delete Secret kyma-system/api-gateway-webhook-certificate, then restart Deployment "
            "kyma-system/api-gateway-controller-manager"
        ),
    )


def kyma_state_ready(body: Body, circumstances: Circumstances) -> Verdict:
    """The CR of a Kyma module is Ready, and says so about the version that was requested."""
    status = body.get("status") or {}
    state = status.get("state") or "no state yet"
    words = state_words(body) or state
    if circumstances.version:
        installed = installed_istio(body)
        if installed != circumstances.version:
            return Verdict(
                ready=False, words=f"{words}; Istio {installed or 'none'}, waiting for {circumstances.version}"
            )
    if state == "Warning" and circumstances.accept_warning:
        return Verdict(ready=True, words=words, warning=True)
    if state == "Ready" and body.get("kind") == "Istio" and not _has_settled(status, circumstances.now):
        return Verdict(ready=False, words=f"{words}, for less than {SETTLED_SECONDS:g} s")
    return Verdict(ready=state == "Ready", words=words)


def _has_settled(status: Body, now: datetime.datetime | None) -> bool:
    since = (_ready_condition(status) or {}).get("lastTransitionTime")
    if now is None or not since:
        return True
    try:
        began = datetime.datetime.fromisoformat(str(since))
    except ValueError:
        return True
    return (now - began).total_seconds() >= SETTLED_SECONDS


def state_words(body: Body) -> str:
    """Return what the CR of a Kyma module says about itself: state, description and why it is not Ready."""
    status = body.get("status") or {}
    words = _with_description(status["state"], status) if status.get("state") else ""
    condition = _ready_condition(status)
    if condition and condition.get("status") != "True":
        words += f" [{condition.get('reason', '')}: {str(condition.get('message', '')).rstrip('.')}]"
    return words.strip()


def _ready_condition(status: Body) -> Body | None:
    return next((condition for condition in status.get("conditions") or [] if condition.get("type") == "Ready"), None)


def apirule_ready(body: Body, circumstances: Circumstances) -> Verdict:
    """The APIRule is Ready, and not still so from before the change.

    Its status has no observedGeneration: the time of its last processing must have moved since the change.
    """
    status = body.get("status") or {}
    state = status.get("state") or "no state yet"
    words = _with_description(state, status)
    if state != "Ready":
        return Verdict(ready=False, words=words)
    processed = status.get("lastProcessedTime") or ""
    if circumstances.changed and circumstances.before is not None:
        earlier = ((circumstances.before.get("status") or {}).get("lastProcessedTime")) or ""
        stale = processed == earlier
    else:
        # A run that was interrupted may have left a change that nobody has processed yet.
        stale = processed < (applied_at(body) or "") and circumstances.waited < STALE_READY_SECONDS
    if stale:
        return Verdict(ready=False, words=f"{words} (still from {processed or 'before'})")
    return Verdict(ready=True, words=words)


def load_balancer_address(body: Body, _circumstances: Circumstances) -> Verdict:
    address = service_address(body)
    if address:
        return Verdict(ready=True, words=address)
    return Verdict(ready=False, words="no address in status.loadBalancer; does the cluster have a load balancer?")


def certificate_ready(body: Body, circumstances: Circumstances) -> Verdict:
    """A Certificate, of Gardener's cert-management or of cert-manager, is issued."""
    if str(body.get("apiVersion")).startswith(gardener.CERTIFICATES):
        return gardener.certificate_ready(body, circumstances)
    return cert_manager.certificate_ready(body, circumstances)


PREDICATES: dict[str, Predicate] = {
    "exists": exists,
    "deployment_ready": deployment_ready,
    "daemonset_ready": daemonset_ready,
    "crd_established": crd_established,
    "webhook_injected": webhook_injected,
    "kyma_state_ready": kyma_state_ready,
    "apirule_ready": apirule_ready,
    "load_balancer_address": load_balancer_address,
    "certificate_ready": certificate_ready,
    "dns_ready": gardener.dns_ready,
    "bundle_synced": cert_manager.bundle_synced,
}

# What is awaited of an object that was applied, by its kind.
BY_KIND = {
    "Deployment": "deployment_ready",
    "DaemonSet": "daemonset_ready",
    "CustomResourceDefinition": "crd_established",
    "Istio": "kyma_state_ready",
    "APIGateway": "kyma_state_ready",
    "APIRule": "apirule_ready",
    "Certificate": "certificate_ready",
    "DNSEntry": "dns_ready",
    "DNSProvider": "dns_ready",
    "Bundle": "bundle_synced",
}


def service_address(body: Body) -> str:
    """Return the first address of a Service of type LoadBalancer, "" when it has none."""
    for ingress in ((body.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
        address = ingress.get("ip") or ingress.get("hostname")
        if address:
            return str(address)
    return ""


def installed_istio(istio_cr: Body) -> str:
    """Return the Istio version that Kyma's manager has installed, "" when it has not said so yet."""
    return str(last_applied(istio_cr).get("IstioTag") or "").partition("-")[0]


def last_applied(istio_cr: Body) -> dict[str, t.Any]:
    """Return what Kyma's Istio manager notes about the last configuration that it applied with success."""
    text = (istio_cr["metadata"].get("annotations") or {}).get("operator.kyma-project.io/lastAppliedConfiguration")
    try:
        noted = json.loads(text or "{}")
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}


def _with_description(state: str, status: Body) -> str:
    description = " ".join(str(status.get("description") or "").split()).rstrip(".")
    return f"{state} ({description})" if description else str(state)
