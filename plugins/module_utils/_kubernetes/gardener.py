# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gardener's certificates and DNS entries: when are they ready, and what do their controllers say?

Sources: cert-management (pkg/apis/cert/v1alpha1/types.go, pkg/controller/issuer/certificate/reconciler.go) and
external-dns-management (docs/usage/dnsentry_status.md).
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.verdict import Circumstances, Verdict, condition_of

Body = t.Mapping[str, t.Any]
CERTIFICATES = "cert.gardener.cloud/"
# An annotation that the controller takes away when it begins anew.
RETRY = "gardener.cloud/operation"
# What the controller says, and what to do about it.
_ADVICE = (
    (
        "Failed check: DNS entry getting ready",
        "No DNSProvider serves the domain, or it is in Error: look at kubectl get dnsproviders -A.",
    ),
    ("Failed check: DNS record propagation", "The record is not seen from outside: is the domain's zone a public one?"),
    ("referenced issuer not ready", "Look at the issuer: kubectl get issuers.cert.gardener.cloud -A."),
    ("is not an included domain of issuer", "Name another issuer (server_pki_gardener_issuer) or another domain."),
    ("domain ranges of default issuer", "Name an issuer of your own (server_pki_gardener_issuer)."),
)


def certificate_ready(body: Body, circumstances: Circumstances) -> Verdict:
    """The certificate of this generation is issued; one that the controller has given up for now is final.

    The state alone is not enough: Ready stands until the controller has noticed a change.
    """
    status = body.get("status") or {}
    state = str(status.get("state") or "no state yet")
    words = _words(state, status)
    if not _is_observed(body):
        return Verdict(ready=False, words=f"{words}; the change is not noticed yet")
    condition = condition_of(status, "Ready")
    if state == "Ready" and (condition is None or condition.get("status") == "True"):
        # It renews once and takes the field away.
        is_renewing = bool((body.get("spec") or {}).get("renew"))
        return Verdict(ready=not is_renewing, words=f"{words}, and to be renewed" if is_renewing else words)
    if RETRY in (body["metadata"].get("annotations") or {}):
        return Verdict(ready=False, words=f"{words}; it is to be tried again")
    advice = next((f" {advice}" for part, advice in _ADVICE if part in words), "")
    retry = _later(status, circumstances.now)
    if state == "Error" and retry:
        return Verdict(
            ready=False,
            words=f"{words}. The controller tries again at {retry}.{advice} To have it tried again at once, when the "
            "cause is fixed, set server_pki_gardener_retry for one run.",
            is_final=True,
        )
    if state == "Revoked":
        return Verdict(ready=False, words=f"{words}. Delete the Certificate, then run again.", is_final=True)
    return Verdict(ready=False, words=words + (f".{advice}" if advice else ""))


def dns_ready(body: Body, _circumstances: Circumstances) -> Verdict:
    """The DNSEntry or DNSProvider of this generation is Ready."""
    status = body.get("status") or {}
    state = str(status.get("state") or "")
    if not state and body.get("kind") == "DNSEntry":
        return Verdict(ready=False, words="no state: no DNSProvider serves this domain yet")
    words = _words(state or "no state yet", status)
    if not _is_observed(body):
        return Verdict(ready=False, words=f"{words}; the change is not noticed yet")
    if state == "Invalid":
        return Verdict(ready=False, words=f"{words}. Remove the other entry, or choose another domain.", is_final=True)
    return Verdict(ready=state == "Ready", words=words)


def _words(state: str, status: Body) -> str:
    message = " ".join(str(status.get("message") or "").split()).rstrip(".")
    return f"{state} ({message})" if message else state


def _is_observed(body: Body) -> bool:
    observed = (body.get("status") or {}).get("observedGeneration")
    return observed is not None and observed == body["metadata"].get("generation")


def _later(status: Body, now: datetime.datetime | None) -> str:
    """Return when the controller tries again, if that is still to come."""
    recheck = str((status.get("backoff") or {}).get("recheckAfter") or "")
    try:
        at = datetime.datetime.fromisoformat(recheck)
    except ValueError:
        return ""
    return recheck if now is None or at > now else ""
