# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One honest connection: TCP, a TLS handshake, one HTTP request, and what really became of it.

In TLS 1.3 the client's handshake "succeeds" before the server has judged its certificate; the refusal arrives later,
and a client that stops at the first failed write loses it in a third of all cases. So this engine drives
``ssl.MemoryBIO``: it sends its last handshake flight and the request in one write, keeps reading after a failed
write, and reports the alert that was received, never a guess.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import alert_of_reason
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_1
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.handshake_messages import (
    RecordingSslObject,
    seen,
    spoken_version,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import (
    Http1Exchange,
    NotHttpError,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http2 import Http2Exchange, StreamResetError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    HandshakeFacts,
    Kind,
    Observation,
    Response,
)

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import (
        ClientContext,
        HttpOffer,
    )
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import HttpRequest

_CHUNK = 65536


def converse(
    address: tuple[str, int],
    context: ClientContext,
    *,
    server_name: str | None,
    request: HttpRequest,
    timeout: float,
    version: str | None = None,
    offer: HttpOffer = HTTP_1,
    session: ssl.SSLSession | None = None,
    keep_session: bool = False,
) -> Observation:
    """Connect to ``address``, shake hands as ``context`` says, send ``request``; return what was observed.

    ``version`` pins one TLS version. The request goes in the version of HTTP that was agreed on by ALPN, or else in
    that of ``offer``.

    ``keep_session`` asks for the session to resume later (to copy it is not cheap).

    Never raises for anything that the peer or the network does, and never takes longer than ``timeout`` seconds.
    """
    started = time.monotonic()
    try:
        connection = socket.create_connection(address, timeout=timeout)
    except TimeoutError:
        return Observation(Kind.TIMEOUT, "connect", f"no connection within {timeout:g} s", timeout)
    except (OSError, UnicodeError) as exc:
        return Observation(Kind.UNREACHABLE, "connect", _no_connection(exc), time.monotonic() - started)
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conversation = _Conversation(
            connection, started=started, timeout=timeout, keep_session=keep_session, is_http_2=offer.is_http_2
        )
        return conversation.run(
            lambda incoming, outgoing: context.begin(
                incoming, outgoing, version=version, alpn=offer.alpn, server_name=server_name, session=session
            ),
            request,
        )


class _Conversation:
    def __init__(
        self, connection: socket.socket, *, started: float, timeout: float, keep_session: bool, is_http_2: bool
    ) -> None:
        self._keep_session = keep_session
        self._is_http_2 = is_http_2
        self._connection = connection
        self._started = started
        self._timeout = timeout
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._write_failed = False
        self._stage = "handshake"
        self._handshake_seconds: float | None = None
        self._tls: ssl.SSLObject | None = None
        self._leaf: bytes | None = None
        self._session: ssl.SSLSession | None = None
        self._unread = b""
        self._exchange: Http1Exchange | Http2Exchange | None = None

    def run(
        self, begin: t.Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject], request: HttpRequest
    ) -> Observation:
        try:
            self._tls = begin(self._incoming, self._outgoing)
            self._handshake()
            self._handshake_seconds = time.monotonic() - self._started
            # Now: after a connection that ends without close_notify, OpenSSL gives neither away.
            self._leaf = self._tls.getpeercert(binary_form=True)
            self._note_session()
            self._stage = "response"
            response = self._ask(request)
        except ssl.SSLError as exc:
            return self._failure(exc)
        except (OSError, ValueError, NotHttpError, StreamResetError) as exc:
            return self._broken(exc)
        if response is None:
            return self._observe(Kind.CLOSED, f"the server closed the connection without an answer ({self._stage})")
        self._say_goodbye()
        return self._observe(Kind.ANSWERED, f"HTTP {response.status}", response=response)

    def _handshake(self) -> None:
        tls = t.cast("ssl.SSLObject", self._tls)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            else:
                return

    def _ask(self, request: HttpRequest) -> Response | None:
        tls = t.cast("ssl.SSLObject", self._tls)
        agreed = tls.selected_alpn_protocol()
        is_http_2 = agreed == "h2" if agreed else self._is_http_2
        exchange = Http2Exchange(request) if is_http_2 else Http1Exchange(request)
        self._exchange = exchange
        tls.write(exchange.opening())
        self._flush()
        while True:
            try:
                data = tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                self._note_session()
                self._flush()
                self._receive()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            if not data:
                return exchange.finish()
            response = exchange.feed(data)
            if response is not None:
                self._note_session()
                return response
            if reply := exchange.replies():
                tls.write(reply)
                self._flush()

    def _flush(self) -> None:
        """Send what is pending. A failed write is remembered, not raised: the reason for it may be there to read."""
        data = self._outgoing.read()
        if not data or self._write_failed:
            return
        try:
            self._connection.settimeout(self._remaining())
            self._connection.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            self._write_failed = True

    def _note_session(self) -> None:
        """Keep the session as it is now: a fatal alert or an abrupt end makes OpenSSL forget it."""
        if self._keep_session:
            with contextlib.suppress(ValueError):  # amid a renegotiation there is none to copy
                self._session = t.cast("ssl.SSLObject", self._tls).session or self._session

    def _receive(self) -> None:
        if not self._unread:
            self._connection.settimeout(self._remaining())
            self._unread = self._connection.recv(_CHUNK)
            if not self._unread:
                self._incoming.write_eof()
                return
        # Record by record, when what one of them brings is to be kept before the next one takes it away.
        size = _record_size(self._unread) if self._keep_session else len(self._unread)
        self._incoming.write(self._unread[:size])
        self._unread = self._unread[size:]

    def _remaining(self) -> float:
        remaining = self._started + self._timeout - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining

    def _say_goodbye(self) -> None:
        """Send close_notify, so that the server keeps the session; nobody waits for its answer."""
        with contextlib.suppress(ssl.SSLError, OSError, ValueError):
            t.cast("ssl.SSLObject", self._tls).unwrap()
        with contextlib.suppress(OSError):
            self._flush()

    def _failure(self, exc: ssl.SSLError) -> Observation:
        with contextlib.suppress(OSError):
            self._flush()  # our own alert, as manners demand
        if isinstance(exc, ssl.SSLCertVerificationError):
            return self._observe(Kind.UNTRUSTED, f"the server's certificate is not trusted: {exc.verify_message}")
        alert = alert_of_reason(exc.reason)
        if alert is None and exc.reason and "ALERT" in exc.reason and isinstance(self._tls, RecordingSslObject):
            alert = self._tls.alert
        if alert is not None:
            return self._observe(Kind.ALERT, exc.reason or "alert", alert=alert)
        if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or exc.reason == "UNEXPECTED_EOF_WHILE_READING":
            return self._observe(Kind.CLOSED, f"the server closed the connection without an alert ({self._stage})")
        return self._observe(Kind.GARBAGE, f"not a TLS handshake: {exc.reason or exc}")

    def _broken(self, exc: Exception) -> Observation:
        if isinstance(exc, TimeoutError):
            return self._observe(Kind.TIMEOUT, f"no answer within {self._timeout:g} s ({self._stage})")
        if isinstance(exc, NotHttpError):
            return self._observe(Kind.GARBAGE, str(exc))
        if isinstance(exc, StreamResetError):
            return self._observe(Kind.RESET, str(exc))
        if isinstance(exc, ConnectionError):
            return self._observe(Kind.RESET, f"the server reset the connection without an alert ({self._stage})")
        return self._observe(Kind.LOCAL, f"the connection could not be used: {exc}")

    def _observe(
        self, kind: Kind, detail: str, *, alert: int | None = None, response: Response | None = None
    ) -> Observation:
        tls = self._tls
        cipher = tls.cipher() if tls is not None else None
        if kind not in {Kind.ANSWERED, Kind.TIMEOUT} and self._exchange is not None and self._exchange.begun:
            # Neither an answer nor a refusal: who gets the beginning of an answer has been served.
            kind, detail, alert = Kind.TRUNCATED, f"the answer began, and ended too early: {detail}", None
        return Observation(
            kind=kind,
            stage=self._stage,
            detail=detail,
            duration=time.monotonic() - self._started,
            handshake_seconds=self._handshake_seconds,
            alert=alert,
            response=response,
            tls_version=spoken_version(tls),
            cipher=cipher[0] if cipher else None,
            alpn=tls.selected_alpn_protocol() if tls is not None else None,
            leaf=self._leaf,
            resumed=bool(tls is not None and tls.session_reused),
            session=self._session,
            seen=seen(tls) if tls is not None else HandshakeFacts(),
        )


def _record_size(data: bytes) -> int:
    """The size of the TLS record at the beginning of ``data``, as far as it has come (RFC 8446 section 5.1)."""
    return 5 + int.from_bytes(data[3:5], "big") if len(data) >= 5 else len(data)


def knock(address: tuple[str, int], request: HttpRequest, *, timeout: float) -> Observation:
    """Send ``request`` to ``address`` without TLS and return what came back first.

    Who is there, and gives no answer in HTTP/1.1, is asked in HTTP/2 as well.
    """
    observation = _knock(address, Http1Exchange(request), timeout)
    if observation.response is None and observation.kind not in {Kind.UNREACHABLE, Kind.TIMEOUT}:
        other = _knock(address, Http2Exchange(request), timeout)
        return other if other.response is not None else observation
    return observation


def _knock(address: tuple[str, int], exchange: Http1Exchange | Http2Exchange, timeout: float) -> Observation:
    started = time.monotonic()
    kind, detail, alert, response = Kind.TIMEOUT, f"no answer within {timeout:g} s", None, None
    stage = "connect"
    try:
        with socket.create_connection(address, timeout=timeout) as connection:
            stage = "plain"
            connection.sendall(exchange.opening())
            kind, detail, alert, response = _listen(connection, exchange, started + timeout)
    except (NotHttpError, StreamResetError) as exc:
        kind, detail = Kind.GARBAGE, str(exc)
    except TimeoutError:
        pass
    except (ConnectionResetError, BrokenPipeError):
        kind, detail = Kind.RESET, "the server reset the connection without an answer"
    except (OSError, UnicodeError) as exc:
        kind, detail = Kind.UNREACHABLE, _no_connection(exc)
    return Observation(kind, stage, detail, time.monotonic() - started, alert=alert, response=response)


def _no_connection(exc: OSError | UnicodeError) -> str:
    """A name with a label that is empty or too long is looked up nowhere: Python raises UnicodeError."""
    return f"no connection: {getattr(exc, 'strerror', None) or exc}"


def _listen(
    connection: socket.socket, exchange: Http1Exchange | Http2Exchange, deadline: float
) -> tuple[Kind, str, int | None, Response | None]:
    first = b""
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        try:
            part = connection.recv(_CHUNK)
        except ConnectionError:
            if not first:
                raise
            part = b""
        first = first or part
        if first[:1] == b"\x15":
            return Kind.ALERT, "a TLS alert", first[6] if len(first) > 6 else None, None
        response = exchange.feed(part) if part else exchange.finish()
        if response is not None:
            return Kind.ANSWERED, f"HTTP {response.status}", None, response
        if not part and first:
            return Kind.TRUNCATED, "the answer began, and ended too early", None, None
        if not part:
            return Kind.CLOSED, "the server closed the connection without an answer", None, None
        if reply := exchange.replies():
            connection.sendall(reply)
