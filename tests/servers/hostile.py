# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile servers: they misbehave in every way at every stage of a connection, towards everyone or strangers only.

    with Hostile(pki, act="reset", stage="flight") as server:
        ...  # connect to server.address

``stage`` says when: accept (before a byte was read), hello (after the ClientHello), flight (after the server's first
flight), handshake (after the client's last flight), request (after the request was read), response (amid the answer).
``act`` says what: close, reset, hang, garbage, drip (a byte now and then, for ever), plain (HTTP without TLS),
alert:N (a fatal alert), or serve (behave well).
``audience`` is everyone, or strangers: all but clients with a certificate of the client CA.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki

STAGES = ("accept", "hello", "flight", "handshake", "request", "response")
ACTS = ("close", "reset", "hang", "garbage", "drip")
_BODY = b'{"headers": {}}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
_DRIP_SECONDS = 0.02


class _EndError(Exception):
    """This connection is over."""


class Hostile:
    """A server in threads; a context manager."""

    def __init__(
        self,
        pki: Pki,
        *,
        act: str,
        stage: str = "accept",
        audience: str = "everyone",
        ask: bool = True,
        require: bool = False,
        answer: bytes = _ANSWER,
    ) -> None:
        self.act, self.stage, self.audience, self.answer = act, stage, audience, answer
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pki.server.crt, pki.server.key_file)
        if ask:
            self._context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_OPTIONAL
            self._context.load_verify_locations(pki.client_ca.crt)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> t.Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: t.Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(_EndError, OSError, ssl.SSLError, ValueError):
            _Conversation(self, connection).run()
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()

    # What a conversation needs

    @property
    def context(self) -> ssl.SSLContext:
        return self._context

    def misbehave(self, connection: socket.socket) -> t.NoReturn:
        """Do what this server is here for, then end the connection."""
        if self.act == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.act == "hang":
            self._over.wait()
        elif self.act == "garbage":
            connection.sendall(b"\x00\xff GARBAGE, neither TLS nor HTTP \x16\x03" * 20)
        elif self.act == "plain":
            connection.sendall(_ANSWER)
        elif self.act == "drip":
            self._drip(connection)
        elif self.act.startswith("alert:"):
            connection.sendall(b"\x15\x03\x03\x00\x02\x02" + bytes([int(self.act.split(":")[1])]))
        raise _EndError

    def _drip(self, connection: socket.socket) -> None:
        # The head of a handshake record that promises more than will ever come.
        for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(100000):
            connection.sendall(bytes([byte]))
            if self._over.wait(_DRIP_SECONDS):
                return


class _Conversation:
    def __init__(self, server: Hostile, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = server.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._flights = 0

    def run(self) -> None:
        everyone = self._server.audience == "everyone"
        self._at("accept", everyone)
        self._read()
        self._at("hello", everyone)
        stranger = not self._handshake(everyone=everyone)
        self._at("handshake", everyone or stranger)
        request = b""
        while b"\r\n\r\n" not in request:
            request += self._receive()
        self._at("request", everyone or stranger)
        if self._server.stage == "response" and (everyone or stranger):
            self._send(self._server.answer[: len(self._server.answer) // 2])
            self._server.misbehave(self._connection)
        self._send(self._server.answer)
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def _at(self, stage: str, concerned: bool) -> None:
        if self._server.stage == stage and concerned and self._server.act != "serve":
            self._server.misbehave(self._connection)

    def _handshake(self, *, everyone: bool) -> bool:
        """Return whether the client showed a certificate of the client CA."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._at("flight", everyone)
                self._read()
            except ssl.SSLError:
                # A certificate that does not verify. The alert stays here: this server refuses nobody properly.
                if everyone or self._server.act == "serve":
                    self._flush()
                    raise
                self._server.misbehave(self._connection)
            else:
                self._flush()
                return self._tls.getpeercert(binary_form=True) is not None

    def _receive(self) -> bytes:
        while True:
            try:
                data = self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._flush()
                self._read()
                continue
            if not data:
                raise _EndError
            return data

    def _read(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise _EndError
        self._incoming.write(data)

    def _send(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._connection.sendall(data)
