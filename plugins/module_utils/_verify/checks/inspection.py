# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One inspection: the options, the good client, and every way to try the endpoint."""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import threading
import typing as t
from dataclasses import dataclass, field

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import NONCE_HEADER
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import expectations
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.expiry import NEVER, WARNING, Threshold
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import client_hello, connection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_1
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import USER_AGENT, HttpRequest
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind, Observation
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.tls_context import (
    PassingContexts,
    make_context,
)

if t.TYPE_CHECKING:
    import ssl

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import WorkloadUnderTest
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.identity_log import IdentityLog
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import (
        ClientContext,
        HttpOffer,
    )
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import VerifyTarget
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.probe_kit import Kit
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.sample import Sample

# Less is too little to be told from somebody else's.
_LEAST_CONTENT = 16
_PATIENCE_SECONDS = 3.0
STOPPED = "not tried: the server had stopped answering"
Headers: t.TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ListedClient:
    """A further identity, with what is expected of the server."""

    name: str
    expect: str
    identity: Identity | None
    problem: str = ""


@dataclass(frozen=True)
class VerifyOptions:
    """All that a user can say, read and checked."""

    target: VerifyTarget
    client: Identity
    ca_pem: str | None = None
    authority: IssuingCa | None = None
    notes: tuple[str, ...] = ()
    server_cas: tuple[x509.Certificate, ...] = ()
    server_ca_key: PrivateKeyTypes | None = None
    kit: Kit | None = None
    expected_client_cas: tuple[x509.Certificate, ...] = ()
    revoked: tuple[ListedClient, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    clients: tuple[ListedClient, ...] = ()
    samples: tuple[Sample, ...] = ()
    require_checks: frozenset[str] = frozenset()
    method: str = "GET"
    expect_status: frozenset[int] = frozenset({200})
    expect: t.Mapping[str, t.Any] = field(default_factory=dict)
    identity_headers: t.Mapping[str, str] = field(default_factory=dict)
    identity_path: str = "headers"
    identity_source: str = "headers"
    identity_answer_prefix: str = ""
    identity_log: bool = False
    identity_log_file: IdentityLog | None = None
    client_name: str = ""
    workloads: tuple[WorkloadUnderTest, ...] = ()
    #: names of clients that may not pass at ``target``, but perhaps at other workloads
    denied_clients: frozenset[str] = frozenset()
    minimum_tls: str = "1.2"
    checks: frozenset[str] = frozenset()
    timeout: float = 10.0
    wait_for: float = 0.0
    concurrency: int = 8
    replicas: tuple[tuple[str, int], ...] = ()
    replica_count: int = 1
    replica_confidence: float = 0.99
    expiry_warning: Threshold = WARNING
    expiry_failure: Threshold = NEVER
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(tz=datetime.UTC))


class Inspection:
    """Tries the endpoint as one identity or another; remembers contexts, and stops when the server hangs."""

    def __init__(self, options: VerifyOptions) -> None:
        self.options = options
        self.target = options.target
        self.trusted = True
        self.reference = b""
        self.suites = ""
        self.extra: Headers = ()
        self.offer = HTTP_1
        self._contexts: dict[tuple[int, bool, bool], ClientContext] = {}
        self._passing = PassingContexts()
        self._kept: list[Identity] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def server_name(self) -> str:
        return self.target.host

    def attempt(
        self,
        identity: Identity | None,
        *,
        version: str | None = None,
        headers: Headers = (),
        host: str | None = None,
        session: ssl.SSLSession | None = None,
        keep_session: bool = False,
        verified: bool = True,
        server_name: str | None = "",
        offer: HttpOffer | None = None,
        may_hang: bool = False,
    ) -> Observation:
        """Connect as ``identity`` (None: without a certificate) and send the request; never raises for the peer.

        ``version`` pins one TLS version. ``server_name`` and ``host`` replace the target's own in SNI and Host
        (None: no SNI); the server's certificate is then not checked against them. ``offer`` replaces the usual one.
        ``may_hang``: that this gets no answer says nothing about other connections.
        """
        if self._stopped.is_set():
            return Observation(Kind.CANCELLED, "before", STOPPED)
        own_name, offer = server_name == "", offer or self.offer
        checked = verified and self.trusted and own_name
        try:
            context = self.context(identity, verified=checked, offer=offer)
        except MtlsError as exc:
            return Observation(Kind.LOCAL, "before", str(exc))
        nonce = secrets.token_hex(16) if self.options.identity_log else ""
        headers = (*headers, (NONCE_HEADER, nonce)) if nonce else headers
        observation = connection.converse(
            self.target.address,
            context,
            server_name=self.server_name if own_name else server_name,
            request=self._request(headers, host),
            timeout=self.options.timeout,
            version=version,
            offer=offer,
            session=session,
            keep_session=keep_session,
        )
        if observation.kind is Kind.TIMEOUT and not may_hang:
            self._stopped.set()
        return dataclasses.replace(self._recognised(observation), nonce=nonce)

    def _recognised(self, observation: Observation) -> Observation:
        """Mark an answer with the workload's content: what the good client got, or the request that it reports."""
        body = observation.response.body if observation.response else b""
        is_same = len(body) >= _LEAST_CONTENT and body == self.reference
        reports_request = USER_AGENT.encode() in body and USER_AGENT.encode() in self.reference
        is_workloads = is_same or reports_request or (bool(self.reference) and self._meets_expectations(body))
        return dataclasses.replace(observation, is_workloads=True) if is_workloads else observation

    def _meets_expectations(self, body: bytes) -> bool:
        document = expectations.parse_json(body) if self.options.expect else None
        return document is not None and not expectations.unmet(self.options.expect, document)

    def resume_after_timeout(self) -> None:
        """Try again from now on (the waiting for a server that starts does that)."""
        self._stopped.clear()

    def ask(self, question: client_hello.ClientHello) -> client_hello.HelloAnswer:
        """Send a hand-built hello; by ALPN it offers what the good client does."""
        if self._stopped.is_set():
            return client_hello.HelloAnswer("cancelled", STOPPED)
        question = dataclasses.replace(question, alpn=self.offer.alpn)
        answer = client_hello.say_hello(self.target.address, question, timeout=self.options.timeout)
        if answer.kind == "timeout":
            self._stopped.set()
        return answer

    def knock(self) -> Observation:
        """Send the request without TLS."""
        if self._stopped.is_set():
            return Observation(Kind.CANCELLED, "before", STOPPED)
        observation = connection.knock(self.target.address, self._request((), None), timeout=self.options.timeout)
        return self._recognised(observation)

    def _request(self, headers: Headers, host: str | None) -> HttpRequest:
        return HttpRequest(
            self.options.method, self.target.path, host or self.target.authority, (*self.extra, *headers)
        )

    def asking_for(self, method: str, path: str) -> Inspection:
        """Return an inspection of the same server that asks for something else, and does not wait long for it."""
        target = dataclasses.replace(self.target, path=path)
        timeout = min(self.options.timeout, _PATIENCE_SECONDS)
        return self.like(dataclasses.replace(self.options, method=method, target=target, timeout=timeout))

    def offering(self, suites: str) -> Inspection:
        """Return an inspection of the same server that offers these cipher suites, by OpenSSL's names."""
        other = self.like(self.options)
        other.suites = suites
        return other

    def like(self, options: VerifyOptions, *, reference: bytes | None = None, extra: Headers = ()) -> Inspection:
        """Return an inspection with other ``options``, perhaps another ``reference`` for the workload's content, and
        headers for every request.
        """
        other = Inspection(options)
        other.trusted, other.offer, other.extra = self.trusted, self.offer, extra or self.extra
        other.reference = self.reference if reference is None else reference
        return other

    def context(self, identity: Identity | None, *, verified: bool, offer: HttpOffer | None = None) -> ClientContext:
        """Return a context for ``identity``, made once. Raises MtlsError when the local OpenSSL refuses it.

        Of clients with files there may be thousands, each with a connection or a few: their contexts are not kept, and
        to watch one that is not verified anyway costs more than it tells.
        """
        if identity is not None and identity.key_file and identity is not self.options.client:
            if not (verified or identity.weak):
                return self._passing.lend(identity, suites=self.suites)
            return make_context(
                identity, ca_pem=self.options.ca_pem, verified=verified, watched=verified, suites=self.suites
            )
        key = (id(identity), verified, bool((offer or self.offer).alpn))
        with self._lock:
            found = self._contexts.get(key)
        if found is None:
            made = make_context(identity, ca_pem=self.options.ca_pem, verified=verified, suites=self.suites)
            with self._lock:
                # The first one stays, whoever made another meanwhile: a session belongs to one context.
                found = self._contexts.setdefault(key, made)
                if identity is not None:
                    self._kept.append(identity)  # an id is only as good as its object's life
        return found
