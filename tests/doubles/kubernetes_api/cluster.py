# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster: the store, the controllers that play Kubernetes and Kyma, and the mishaps that a test can order."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import threading
import time
import typing as t

from .issuers import CertManager, GardenerCertificates, GardenerDns, TrustManager
from .kubelet import Kubernetes
from .kyma import ApiGatewayManager, IstioManager
from .refusals import Json, RefusalError
from .rights import Rights, attributes
from .store import Store

if t.TYPE_CHECKING:
    from .kinds import Kind

TICK_SECONDS = 0.03
# Where nothing has happened for a while, only something long is waited for: a cluster at rest costs next to nothing.
REST_SECONDS = 1.0
TICK_AT_REST_SECONDS = 0.3


@dataclasses.dataclass
class Mishaps:
    """What goes wrong, as it does on real clusters; a test sets it by POST /double/mishaps."""

    established_after: float = 0.2
    """Seconds until a CRD is served (pitfall 1)."""
    pods_ready_after: float = 0.2
    manager_seconds: float = 0.3
    """Seconds that a manager needs for one reconciliation."""
    first_ready_seconds: float = 0.3
    """How long a fresh Istio CR is Ready before it is Processing again, for once; 0: there is no second pass."""
    blocked_seconds: float = 0.3
    """Seconds until a manager looks again at a deletion that was blocked."""
    apirule_seconds: float = 0.4
    """Seconds until a changed APIRule is processed: until then its old Ready stands."""
    istio_errors: int = 0
    """How often the Istio CR says Error before it is Ready."""
    webhook_refusals: int = 0
    """How often istiod's validating webhook is not reachable yet (pitfall 24)."""
    webhook_down: bool = False
    """The conversion webhook's Service has no endpoints (pitfall 3)."""
    no_load_balancer: bool = False
    gateway_at: str = "127.0.0.1:8443"
    """Where a real server plays the pod to which a port is forwarded."""
    image_missing: str = ""
    """Pods with this image cannot be started."""
    overloaded: int = 0
    """How many requests are answered with 429."""
    sidecars_off: bool = False
    """Namespace label or not, no sidecars are injected (pitfall 5: before the injector is up)."""
    forbidden: list[str] = dataclasses.field(default_factory=list)
    """What the user may not do, as ``verb resources``."""
    rules: list[Json] | None = None
    """All that the user may do; see rights.Rights."""
    rules_incomplete: bool = False
    issuing_seconds: float = 0.2
    """Seconds from a Certificate, CertificateRequest or DNSEntry to its end."""
    issuer_says: str = ""
    """Why an issuer refuses; Gardener's controller and cert-manager then wait before they try again."""
    dns_state: str = "Ready"
    """State of DNSEntries and DNSProviders; empty: no provider serves the domain."""
    ca_bundle_lost: bool = False
    """Something has replaced the CRD: caBundle is gone and nobody puts it back (pitfall 4)."""


class Cluster:
    """Everything behind the API."""

    def __init__(self, *, kubernetes: str = "v1.31.14") -> None:
        self.store = Store()
        self.mishaps = Mishaps()
        self.version: Json = {"gitVersion": kubernetes, "minor": kubernetes.split(".")[1]}
        self.requests: collections.Counter[str] = collections.Counter()
        self.log: list[str] = []
        self.used = Rights().used
        """What was asked for so far, in the words of RBAC."""
        self.parts = (Kubernetes(self), IstioManager(self), ApiGatewayManager(self))
        self.parts += (GardenerCertificates(self), GardenerDns(self), CertManager(self), TrustManager(self))
        self.store.before_write.append(self._admit)
        self.store.before_read.append(self._convert)

    @property
    def minor(self) -> int:
        return int(self.version["minor"])

    @contextlib.contextmanager
    def controllers(self) -> t.Iterator[None]:
        """Let the controllers run inside the block."""
        stop = threading.Event()

        def loop() -> None:
            seen, since = -1, time.monotonic()
            while not stop.wait(TICK_AT_REST_SECONDS if time.monotonic() - since > REST_SECONDS else TICK_SECONDS):
                self.tick()
                if self.store.version != seen:
                    seen, since = self.store.version, time.monotonic()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def tick(self) -> None:
        """Let every controller look around once."""
        with self.store.lock:
            for part in self.parts:
                part.tick(time.monotonic())

    @property
    def rights(self) -> Rights:
        """The rights of the user, as a test has ordered them."""
        return Rights(self.mishaps.rules, self.mishaps.forbidden, self.mishaps.rules_incomplete, self.used)

    def count(self, method: str, path: str, *, creates: bool = False) -> None:
        """Note a request; refuse what its user may not do. ``creates``: it applies what is not there yet."""
        with self.store.lock:
            self.requests[method] += 1
            self.log.append(f"{method} {path}")
            bare, _mark, query = path.partition("?")
            asked = attributes(method, bare, watch="watch=" in query)
            for verb in ([asked.verb] + (["create"] if creates else [])) if asked else ():
                self.rights.require(asked._replace(verb=verb))
            if self.mishaps.overloaded > 0:
                self.mishaps.overloaded -= 1
                raise RefusalError(429, "TooManyRequests", "the server has received too many requests", {})

    def control(self, path: str, body: t.Any) -> Json:
        """Answer a test: order mishaps, read what was asked of the server."""
        with self.store.lock:
            if path == "/double/mishaps":
                for key, value in (body or {}).items():
                    if not hasattr(self.mishaps, key):
                        raise RefusalError(422, "Invalid", f"there is no mishap {key}")
                    setattr(self.mishaps, key, value)
                return dataclasses.asdict(self.mishaps)
            if path == "/double/requests":
                answer: Json = {"total": sum(self.requests.values()), "methods": dict(self.requests), "log": self.log}
                answer["used"] = sorted(list(one)[:4] for one in self.used)
                self.requests, self.log = collections.Counter(), []
                return answer
            if path == "/double/version":
                self.version = body
                return self.version
        raise RefusalError(404, "NotFound", f"the double has no {path}")

    # Webhooks

    def _admit(self, kind: Kind, _operation: str) -> None:
        if kind.stored_as == "gateways.networking.istio.io" and self.mishaps.webhook_refusals > 0:
            self.mishaps.webhook_refusals -= 1
            message = (
                'Internal error occurred: failed calling webhook "validation.istio.io": failed to call webhook: Post '
                '"https://istiod.istio-system.svc:443/validate?timeout=10s": '
                'no endpoints available for service "istiod"'
            )
            raise RefusalError(500, "InternalError", message, {})
        self._convert(kind, True)

    def _convert(self, kind: Kind, anything: bool) -> None:
        """Every APIRule is stored as v2alpha1: reading or writing another version needs the webhook."""
        if kind.stored_as != "apirules.gateway.kyma-project.io" or not anything:
            return
        definition = self.store.peek("customresourcedefinitions.apiextensions.k8s.io", "", kind.stored_as)
        if definition is None or definition["spec"]["conversion"].get("strategy") != "Webhook":
            return
        client = definition["spec"]["conversion"]["webhook"]["clientConfig"]
        where = f"conversion webhook for {kind.api_version}, Kind={kind.kind} failed: Post "
        where += '"https://api-gateway-webhook-service.kyma-system.svc:9443/convert?timeout=30s": '
        if self.mishaps.webhook_down or not self.deployment_ready("kyma-system", "api-gateway-controller-manager"):
            raise RefusalError(500, "", where + "dial tcp 10.43.9.9:9443: connect: connection refused", {})
        if not client.get("caBundle"):
            where += "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            raise RefusalError(500, "", where, {})

    # What controllers ask each other

    def deployment_ready(self, namespace: str, name: str) -> bool:
        body = self.store.peek("deployments.apps", namespace, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return False
        status = body.get("status") or {}
        return bool(status.get("availableReplicas")) and status["availableReplicas"] == body["spec"].get("replicas", 1)
