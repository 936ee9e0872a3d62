# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A port of this host that leads to a pod through the API server, with a stream of its own for each connection.

kubectl's port-forward carries all connections in one stream and ends as a whole when the pod resets one of them, which
is what a gateway does to a client that it refuses. Here a reset ends the connection that it is meant for.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import threading
import time
import typing as t

try:
    import websocket
    from kubernetes.stream.ws_client import create_websocket, get_websocket_url
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

DATA, ERROR = 0, 1
READ_BYTES = 65536
ACCEPT_SECONDS = 1.0


class Stream(t.Protocol):
    """A WebSocket that carries one connection."""

    def recv_data(self) -> tuple[int, bytes]: ...
    def send_binary(self, payload: bytes) -> t.Any: ...
    def close(self) -> None: ...


def open_stream(client: t.Any, *, namespace: str, pod: str, port: int) -> Stream:
    """Return a new stream to ``port`` of ``pod``. Raises MtlsError with the server's words."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
    query = [("ports", str(port))]
    headers: dict[str, str] = {}
    client.update_params_for_auth(headers, query, ["BearerToken"], path, "GET", None)
    url = get_websocket_url(client.configuration.host + path, query)
    try:
        stream = create_websocket(client.configuration, url, headers)
        for _channel in (DATA, ERROR):
            stream.recv_data()  # each begins with the number of the port
    except (websocket.WebSocketException, OSError) as exc:
        raise MtlsError(f"No port of Pod {namespace}/{pod} can be forwarded: {str(exc).rstrip('.')}.") from exc
    found: Stream = stream
    return found


def relay(near: socket.socket, stream: Stream) -> None:
    """Carry bytes between ``near`` and ``stream`` until one of them ends; what has arrived is delivered first."""

    def outwards() -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while data := near.recv(READ_BYTES):
                stream.send_binary(bytes([DATA]) + data)
        with contextlib.suppress(OSError, websocket.WebSocketException):
            stream.close()

    sender = threading.Thread(target=outwards, daemon=True)
    sender.start()
    with contextlib.suppress(OSError, websocket.WebSocketException):
        while True:
            opcode, frame = stream.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE or (frame and frame[0] == ERROR):
                break
            if frame:
                near.sendall(frame[1:])
    with contextlib.suppress(OSError):
        near.shutdown(socket.SHUT_RDWR)
    sender.join()


def serve(listener: socket.socket, connect: t.Callable[[], Stream], *, seconds: float) -> None:
    """Forward every connection to ``listener`` for so long."""
    deadline = time.monotonic() + seconds
    listener.settimeout(ACCEPT_SECONDS)
    while time.monotonic() < deadline:
        try:
            near, _address = listener.accept()
        except TimeoutError:
            continue
        near.settimeout(None)
        threading.Thread(target=_forward, args=(near, connect), daemon=True).start()


def _forward(near: socket.socket, connect: t.Callable[[], Stream]) -> None:
    with near, contextlib.suppress(MtlsError):
        relay(near, connect())


def listen(connect: t.Callable[[], Stream], *, port: int) -> socket.socket:
    """Return a listener on ``port`` of 127.0.0.1 (0: a free one) for connections that ``connect`` can carry.

    Raises MtlsError when the port is taken, or when nothing can be forwarded.
    """
    connect().close()
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as exc:
        raise MtlsError(
            f"Port {port} of 127.0.0.1 cannot be listened on: {exc.strerror}. Free it, or choose another "
            "(gateway_forwarded_port; 0 is a free one)."
        ) from exc


Say = t.Callable[[dict[str, t.Any]], None]


def in_a_process_of_its_own(work: t.Callable[[Say], None]) -> dict[str, t.Any]:
    """Run ``work`` in a process that may outlive this one, and return what it says when it is ready.

    ``work`` gets the function by which it says so, and makes its own connection: the Python client removes the files of
    the certificates of a connection when the process ends that has made it.
    Raises MtlsError when ``work`` does.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _child(work, os.fdopen(writer, "wb"))
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    said: dict[str, t.Any] = json.loads(text or '{"failed": "Forwarding ended without a word."}')
    if "failed" in said:
        raise MtlsError(said["failed"])
    return said


def _child(work: t.Callable[[Say], None], writer: t.BinaryIO) -> t.NoReturn:
    def say(said: dict[str, t.Any]) -> None:
        # The parent waits for the end of what is said: once.
        if not writer.closed:
            with contextlib.suppress(OSError), writer:
                writer.write(json.dumps(said).encode())

    try:
        _detach()
        work(say)
    except MtlsError as exc:
        say({"failed": str(exc)})
    except BaseException as exc:  # noqa: BLE001  (the parent has to know, whatever it is)
        say({"failed": f"Forwarding ended: {type(exc).__name__}: {exc}."})
    finally:
        _run_exit_handlers()
        os._exit(0)


def _detach() -> None:
    """Leave the session and the streams of the parent, which waits for their end."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _run_exit_handlers() -> None:
    """As at the end of a process: the Python client removes its files then."""
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
