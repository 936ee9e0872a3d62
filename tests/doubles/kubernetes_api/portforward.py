# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The subresource portforward of pods, over a WebSocket: what kubelet and API server make of a connection.

A stream ends with an error in its second channel when the pod resets the connection, as recorded; other streams go on.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
import typing as t

if t.TYPE_CHECKING:
    import http.server

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE = 2, 8


def upgrade(handler: http.server.BaseHTTPRequestHandler, *, port: int, backend: tuple[str, int]) -> None:
    """Answer the handshake of a WebSocket and forward it to ``backend``, which plays ``port`` of the pod."""
    key = str(handler.headers["Sec-WebSocket-Key"]).encode()
    accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()  # noqa: S324  (RFC 6455)
    handler.send_response(101)
    for name, value in (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept),
        ("Sec-WebSocket-Protocol", "v4.channel.k8s.io"),
    ):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.flush()
    handler.close_connection = True
    _Stream(handler).run(port, backend)


class _Stream:
    def __init__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.handler = handler
        self.lock = threading.Lock()

    def run(self, port: int, backend: tuple[str, int]) -> None:
        for channel in (0, 1):
            self._send(channel, struct.pack("<H", port))
        try:
            pod = socket.create_connection(backend, timeout=20)
        except OSError as exc:
            self._fail(port, str(exc))
            return
        with pod:
            reader = threading.Thread(target=self._from_pod, args=(pod, port), daemon=True)
            reader.start()
            self._to_pod(pod)
            reader.join()

    def _from_pod(self, pod: socket.socket, port: int) -> None:
        try:
            while data := pod.recv(65536):
                self._send(0, data)
        except ConnectionResetError:
            self._fail(port, "read tcp4 127.0.0.1:48214->127.0.0.1:8443: read: connection reset by peer")
        except OSError:
            pass
        self._write(CLOSE, b"\x03\xe8")

    def _to_pod(self, pod: socket.socket) -> None:
        while (frame := self._receive()) is not None:
            try:
                pod.sendall(frame[1:])
            except OSError:
                break
        try:
            pod.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _receive(self) -> bytes | None:
        head = self.handler.rfile.read(2)
        if len(head) < 2 or head[0] & 15 == CLOSE:
            return None
        length = head[1] & 127
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(self.handler.rfile.read(size), "big")
        mask = self.handler.rfile.read(4)
        data = self.handler.rfile.read(length)
        return bytes(one ^ mask[number % 4] for number, one in enumerate(data))

    def _fail(self, port: int, why: str) -> None:
        text = (
            f"an error occurred forwarding {port} -> {port}: error forwarding port {port} to pod fa9317378cc5, uid : "
        )
        self._send(1, f"{text}failed to execute portforward in network namespace: {why}".encode())

    def _send(self, channel: int, data: bytes) -> None:
        self._write(BINARY, bytes([channel]) + data)

    def _write(self, opcode: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            length = bytes([size])
        else:
            length = b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
        head = bytes([128 | opcode]) + length
        try:
            with self.lock:
                self.handler.wfile.write(head + data)
                self.handler.wfile.flush()
        except OSError:
            return
