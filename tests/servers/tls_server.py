# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TLS server whose TLS and whose answers are a test's own, for faults that no configuration of a real one has.

def serve(client: Client) -> bytes:
    return answer({"headers": {}})

with TlsServer(server_context(pki), serve) as server:
    ...  # connect to server.address
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.kyma.mtls.tests.servers.pki import Holder, Pki

_PATIENCE_SECONDS = 20.0


def server_context(
    pki: Pki, *, verify: ssl.VerifyMode = ssl.CERT_REQUIRED, holder: Holder | None = None
) -> ssl.SSLContext:
    """Return the context of a sound server: sound suites, its CA for clients, TLS 1.2 and 1.3."""
    own = holder or pki.server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.load_cert_chain(own.crt, own.key_file)
    context.load_verify_locations(pki.client_ca.crt)
    context.verify_mode = verify
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass
class Client:
    """One connection after its handshake, with the request that came."""

    tls: ssl.SSLSocket
    server_name: str | None
    path: str = "/"
    method: str = "GET"
    headers: list[tuple[str, str]] = field(default_factory=list)
    raw_headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def certificate(self) -> bytes | None:
        return self.tls.getpeercert(binary_form=True)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def echo(self) -> dict[str, t.Any]:
        """Return what a workload that echoes its request's headers would say."""
        found: dict[str, t.Any] = {}
        for name, value in self.headers:
            found[name] = [*found[name], value] if name in found else [value]
        return {"headers": found}


def answer(document: t.Any = None, *, status: str = "200 OK", headers: str = "") -> bytes:
    """Return an HTTP answer with ``document`` as JSON."""
    body = b"" if document is None else json.dumps(document).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class TlsServer:
    """Serves in threads; a context manager. ``serve`` returns the answer, None closes without one."""

    def __init__(
        self,
        context: ssl.SSLContext,
        serve: Callable[[Client], bytes | None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        says_goodbye: bool = True,
    ) -> None:
        self.context, self._serve, self._says_goodbye = context, serve, says_goodbye
        context.sni_callback = lambda tls, name, _context: setattr(tls, "asked_for", name)
        self._listener = socket.create_server((host, port), backlog=256)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.address = f"{host}:{self.port}"

    def __enter__(self) -> t.Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *args: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def shake_hands(self, connection: socket.socket) -> ssl.SSLSocket:
        """Accept the client in TLS."""
        return self.context.wrap_socket(connection, server_side=True)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            self._spawn(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError, ValueError):
            tls = self.shake_hands(connection)
            client = _read_request(Client(tls, getattr(tls, "asked_for", None)))
            data = self._serve(client)
            if data is not None:
                tls.sendall(data)
                if self._says_goodbye:
                    tls.unwrap()
        self._open.discard(connection)


def _read_request(client: Client) -> Client:
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.tls.recv(65536)
        if not part:
            raise ConnectionError
        data += part
    first, *lines = data.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    client.method, client.path, _version = first.split(" ")
    client.raw_headers = [(name, value.strip()) for name, _colon, value in (one.partition(":") for one in lines)]
    client.headers = [(name.strip(), value) for name, value in client.raw_headers]
    return client
