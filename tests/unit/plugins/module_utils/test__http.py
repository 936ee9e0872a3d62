# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTTP client: connections that are kept, redirects, proxies, TLS, and errors in words."""

from __future__ import annotations

import contextlib
import http.server
import select
import socket
import ssl
import time
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils import _http
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.servers import pki, threads
from ansible_collections.kyma.mtls.tests.servers.ports import free_port


class Handler(http.server.BaseHTTPRequestHandler):
    """Says what was asked; ``/drop`` closes the connection after a good answer that promised to keep it."""

    protocol_version = "HTTP/1.1"
    seen: t.ClassVar[list[tuple[int, str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.client_address[1], self.path, self.headers.get("Proxy-Authorization", "")))
        if self.path.startswith("/loop"):
            self._say(302, b"", Location="/loop")
        elif self.path == "/moved":
            self._say(301, b"", location="/here?a=1")  # as Envoy writes it
        elif self.path == "/astray":
            self._say(302, b"", Location="http://[")
        elif self.path == "/none":
            self._say(404, b"nothing")
        else:
            self._say(200, self.path.encode())
        if self.path == "/drop":
            self.close_connection = True

    def do_POST(self) -> None:
        self._say(200, self.rfile.read(int(self.headers["Content-Length"])))

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: t.Any) -> None:
        pass


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> t.Iterator[int]:
    Handler.seen.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with threads.serving(server, context):
        yield server.server_address[1]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_connection_is_kept_and_opened_again_when_the_server_has_closed_it() -> None:
    with serving() as port:
        client = _http.HttpClient(f"http://127.0.0.1:{port}/v1/")
        try:
            assert [client.request("GET", path).body for path in ("/a", "/drop", "/b")] == [
                b"/v1/a",
                b"/v1/drop",
                b"/v1/b",
            ]
            assert client.request("POST", "/c", body=b"{}").body == b"{}"
        finally:
            client.close()
        assert len({where for where, _path, _proxy in Handler.seen}) == 1
        client = _http.HttpClient(f"http://127.0.0.1:{port}")
        try:
            assert [client.request("GET", path).status for path in ("/drop", "/b", "/none")] == [200, 200, 404]
        finally:
            client.close()
        assert len({where for where, _path, _proxy in Handler.seen}) == 3


def test_requests_are_under_way_at_once_and_their_connections_are_kept() -> None:
    with serving() as port:
        client = _http.HttpClient(f"http://127.0.0.1:{port}")
        try:
            waits = [client.send("GET", path) for path in ("/a", "/drop", "/c")]
            assert [wait().body for wait in waits] == [b"/a", b"/drop", b"/c"]
            # One of the three was closed by the server since.
            waits = [client.send("GET", path) for path in ("/d", "/e", "/f")]
            assert [wait().body for wait in reversed(waits)] == [b"/f", b"/e", b"/d"]
        finally:
            client.close()
        assert len({where for where, _path, _proxy in Handler.seen}) == 4


def test_many_requests_do_not_wait_for_a_silent_server_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = _http.HttpClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=600)
        waits = [client.send("GET", f"/{number}") for number in range(20)]
        moment = time.monotonic() + 600
        monkeypatch.setattr(_http.time, "monotonic", lambda: moment)
        for wait in waits:
            with pytest.raises(_http.NoAnswerError, match="there was no answer in time"):
                wait()
        client.close()


def test_redirects_are_followed_to_an_end() -> None:
    with serving() as port:
        place = f"http://127.0.0.1:{port}"
        assert _http.fetch(f"{place}/moved") == b"/here?a=1"
        with pytest.raises(MtlsError, match="redirects more than 5 times"):
            _http.fetch(f"{place}/loop")
        with pytest.raises(MtlsError, match="/none answers with the status 404"):
            _http.fetch(f"{place}/none")
        with pytest.raises(MtlsError, match="/astray redirects to what is not a URL"):
            _http.fetch(f"{place}/astray")


def test_a_path_in_another_script_is_asked_for() -> None:
    with serving() as port:
        assert _http.fetch(f"http://127.0.0.1:{port}/M\u00fcller.crl") == b"/M%C3%BCller.crl"


@pytest.mark.parametrize("value", ["hvs.secret\n", "hvs.\nsecret", "hvs.secret\u20ac"], ids=["end", "break", "euro"])
def test_a_value_that_no_header_can_have_is_not_shown(value: str) -> None:
    client = _http.HttpClient("http://127.0.0.1/")
    with pytest.raises(MtlsError, match=r"header X-Token for .* has a line break") as raised:
        client.request("GET", headers={"X-Token": value})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("proxy", ["http://me:word@proxy:99999", "http://me:word@[proxy"], ids=["port", "host"])
def test_a_proxy_that_is_no_url_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(MtlsError, match="The proxy for http in the environment is not a URL") as raised:
        _http.fetch("http://issuer.invalid/")
    assert "word" not in str(raised.value)


def test_a_proxy_of_the_environment_is_used_unless_the_host_is_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as port:
        monkeypatch.setenv("http_proxy", f"http://me:my%20word@127.0.0.1:{port}")
        assert _http.fetch("http://issuer.invalid/ca.crl") == b"http://issuer.invalid/ca.crl"
        assert Handler.seen[-1][2] == "Basic bWU6bXkgd29yZA=="
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert _http.fetch(f"http://127.0.0.1:{port}/direct") == b"/direct"
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
        with pytest.raises(MtlsError, match=r"through the proxy 127\.0\.0\.1"):
            _http.fetch("https://other.invalid/ca.crl")


def test_tls_is_verified_by_the_ca_file_and_the_client_has_a_certificate(tmp_path: Path) -> None:
    made = pki.make_pki(tmp_path)
    server = made.server_certificate("local", sans=[x509.DNSName("localhost")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.crt, server.key_file)
    context.load_verify_locations(made.client_ca.crt)
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(context) as port:
        place = f"https://localhost:{port}/a"
        trust = _http.TlsTrust(made.server_ca.crt, made.client.crt, made.client.key_file)
        assert _http.fetch(place, trust=trust) == b"/a"
        with pytest.raises(MtlsError, match=r"its certificate is not trusted .*Name the CA of its certificate"):
            _http.fetch(place)


class Tunnel(http.server.BaseHTTPRequestHandler):
    """A proxy that connects its clients with the server that they name."""

    asked: t.ClassVar[list[str]] = []

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        host, _colon, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: server, server: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)

    def log_message(self, *_arguments: t.Any) -> None:
        pass


def test_tls_goes_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pki.make_pki(tmp_path)
    server = made.server_certificate("local", sans=[x509.DNSName("localhost")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.crt, server.key_file)
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tunnel)
    with serving(context) as port, threads.serving(proxy):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
        client = _http.HttpClient(f"https://localhost:{port}", trust=_http.TlsTrust(made.server_ca.crt))
        try:
            assert client.request("GET", "/a").body == b"/a"
            assert client.request("POST", "/b", body=b"{}").body == b"{}"
        finally:
            client.close()
        assert Tunnel.asked == [f"localhost:{port}"]


@pytest.mark.parametrize(
    ("url", "trust", "expected"),
    [
        ("ldap://ca.example.com/a", {}, "is not a URL of a web server"),
        ("https://", {}, "is not a URL of a web server"),
        ("https://a:b/", {}, "is not a URL"),
        ("http://a..b/", {}, "cannot be reached"),
        ("https://127.0.0.1/", {"ca_file": "/nowhere/ca.crt"}, "CA file /nowhere/ca.crt cannot be used: No such file"),
        ("https://127.0.0.1/", {"certificate": "/nowhere/a.crt"}, "certificate /nowhere/a.crt with the key"),
    ],
)
def test_what_cannot_be_asked_is_said(url: str, trust: dict[str, str], expected: str) -> None:
    with pytest.raises(MtlsError, match=expected):
        _http.fetch(url, trust=_http.TlsTrust(**trust))


def test_a_closed_port_is_unreachable() -> None:
    with pytest.raises(_http.NoAnswerError, match="cannot be reached: Connection refused"):
        _http.fetch(f"http://127.0.0.1:{free_port()}/")
