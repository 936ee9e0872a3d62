# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection: where it goes, and what it showed."""

from __future__ import annotations

import enum
import typing as t
from dataclasses import dataclass, field

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import alert_name, alert_text

if t.TYPE_CHECKING:
    import ssl


class Kind(enum.StrEnum):
    """What became of one connection."""

    ANSWERED = "answered"
    ALERT = "alert"
    UNTRUSTED = "untrusted"
    CLOSED = "closed"
    RESET = "reset"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"
    LOCAL = "local"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class VerifyTarget:
    """The endpoint: its name in SNI and Host, the path to ask for, and the address to connect to."""

    host: str
    port: int
    path: str
    address: tuple[str, int]
    explicit_address: bool = False
    final_dot: str = ""

    @classmethod
    def of(cls, name: str, port: int, path: str, *, address: tuple[str, int] | None = None) -> VerifyTarget:
        """Return the target of a URL; the final dot of ``name`` is no part of the name that a certificate has."""
        host = name.removesuffix(".")
        return cls(host, port, path, address or (name, port), address is not None, name[len(host) :])

    @property
    def authority(self) -> str:
        """The value of the Host header, with the URL's final dot, as curl sends it."""
        return self.bare_authority if self.port == 443 else f"{self.bare_authority}:{self.port}"

    @property
    def bare_authority(self) -> str:
        """The value of the Host header at a default port."""
        return f"[{self.host}]" if ":" in self.host else f"{self.host}{self.final_dot}"

    @property
    def url(self) -> str:
        return f"https://{self.authority}{self.path}"

    @property
    def place(self) -> str:
        return place_of(self.address)


def place_of(address: tuple[str, int]) -> str:
    """Return ``address`` as people write it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True)
class Response:
    """An HTTP response, parsed."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class HandshakeFacts:
    """What the handshake's messages showed (all None where Python's ssl cannot be watched).

    ``late_request``: the CertificateRequest came when the handshake was over.
    """

    certificate_request: bool | None = None
    late_request: bool = False
    client_cas: tuple[bytes, ...] | None = None
    chain: tuple[bytes, ...] = ()
    group: str | None = None
    tickets: int | None = None
    early_data: int | None = None


@dataclass(frozen=True)
class Observation:
    """What one connection showed, whatever became of it.

    ``nonce``: what its request is known by in a log.
    ``is_workloads``: the content of the answer is the workload's, whatever its status says.
    """

    kind: Kind
    stage: str
    detail: str
    duration: float = 0.0
    handshake_seconds: float | None = None
    alert: int | None = None
    response: Response | None = None
    tls_version: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    leaf: bytes | None = None
    resumed: bool = False
    is_workloads: bool = False
    nonce: str = ""
    session: ssl.SSLSession | None = field(default=None, repr=False)
    seen: HandshakeFacts = field(default_factory=HandshakeFacts)

    @property
    def status(self) -> int | None:
        return self.response.status if self.response else None

    @property
    def is_unrouted(self) -> bool:
        """Whether a gateway that is an Envoy answered 404 without having asked anybody."""
        servers = [value for name, value in self.response.headers if name.lower() == "server"] if self.response else []
        return self.status == 404 and "envoy" in "".join(servers) and not self.is_of_upstream

    @property
    def is_of_upstream(self) -> bool:
        """Whether a gateway that is an Envoy says that the answer is not its own."""
        names = {name.lower() for name, _value in self.response.headers} if self.response else set()
        return "x-envoy-upstream-service-time" in names

    def text(self) -> str:
        """Say in a few words what was observed."""
        if self.alert is not None and self.kind is Kind.ALERT:
            return f"{alert_text(self.alert)}{f' in {self.tls_version}' if self.tls_version else ''}"
        if self.response is not None:
            return f"HTTP {self.response.status}{f' over {self.tls_version}' if self.tls_version else ''}"
        return self.detail

    def evidence(self) -> dict[str, t.Any]:
        """Return the facts of this connection, JSON-able."""
        facts: dict[str, t.Any] = {
            "tls_version": self.tls_version,
            "cipher": self.cipher,
            "group": self.seen.group,
            "alert_code": self.alert,
            "alert_name": None if self.alert is None else alert_name(self.alert),
            "http_status": self.status,
            "duration_ms": round(self.duration * 1000, 1),
        }
        if self.kind not in {Kind.ANSWERED, Kind.ALERT}:
            facts["ended"] = f"{self.kind.value} ({self.stage})"
        return facts
