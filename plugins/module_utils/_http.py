# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP to an external issuer: connections that are kept, one for each request under way, and errors in words.

Ansible's own ``open_url`` opens a connection for every request, and asks macOS for proxies, which a forked process does
not survive. Here the variables ``https_proxy``, ``http_proxy`` and ``no_proxy`` decide.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import http.client
import json
import ssl
import time
import typing as t
import urllib.parse
import urllib.request

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, sentence

_LIMIT = 64 * 2**20  # bytes, as of files
_REDIRECTS = 5
# An answer that has arrived is read however late.
_LEAST_SECONDS = 0.05
_PORTS = {"http": 80, "https": 443}
# UnicodeError: a name that no host can have.
_FAILURES = (OSError, http.client.HTTPException, UnicodeError)
# What a server does to a connection that it has kept for long enough. The request was not taken up.
_DROPPED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class NoAnswerError(MtlsError):
    """There was no answer."""


@dataclasses.dataclass(frozen=True)
class HttpAnswer:
    """What a server said."""

    status: int
    body: bytes = dataclasses.field(repr=False)
    headers: t.Mapping[str, str]

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def location(self) -> str:
        """Where a redirect leads, if this is one."""
        return next((value for name, value in self.headers.items() if name.lower() == "location"), "")


@dataclasses.dataclass(frozen=True)
class TlsTrust:
    """Whom to trust, and who one is. Without a CA file the system's CAs are trusted."""

    ca_file: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings. Raises MtlsError naming the file that cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ValueError) as exc:
            raise MtlsError(
                f"The CA file {self.ca_file} cannot be used: {_words(exc)} It must hold CA certificates in PEM."
            ) from exc
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key or None)
            except (OSError, ValueError) as exc:
                raise MtlsError(
                    f"The certificate {self.certificate} with the key {self.key or self.certificate} cannot be used: "
                    f"{_words(exc)}"
                ) from exc
        return context


class _Request(t.NamedTuple):
    method: str
    target: str
    body: bytes | None
    headers: dict[str, str]


class _Connection(http.client.HTTPConnection):
    """Sends a request as one piece: otherwise the server wakes up for its head, and again for its body."""

    _pieces: list[bytes] | None = None

    def request(self, method: str, url: str, body: t.Any = None, headers: t.Any = None, **options: t.Any) -> None:
        self._pieces = []
        try:
            super().request(method, url, body, headers or {}, **options)
        finally:
            pieces, self._pieces = self._pieces, None
        self.send(b"".join(pieces))

    def send(self, data: t.Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    """The same over TLS."""


class HttpClient:
    """Requests to the server of one URL, several at once if wanted: each takes a connection that no other one has."""

    def __init__(self, url: str, *, trust: TlsTrust = TlsTrust(), timeout_seconds: float = 30) -> None:
        self.url = url.rstrip("/")
        try:
            self._parts = urllib.parse.urlsplit(self.url)
            port = self._parts.port
        except ValueError as exc:
            raise MtlsError(f"{url} is not a URL: {exc}.") from exc
        if self._parts.scheme not in _PORTS or not self._parts.hostname:
            raise MtlsError(f"{url} is not a URL of a web server: it must begin with https:// or http:// and a host.")
        self._port = port or _PORTS[self._parts.scheme]
        self._trust = trust
        self._timeout = timeout_seconds
        self._proxy = _proxy_of(self._parts)
        self._context: ssl.SSLContext | None = None
        self._connections: list[http.client.HTTPConnection] = []
        self._idle: list[http.client.HTTPConnection] = []

    def request(
        self, method: str, path: str = "", *, body: bytes | None = None, headers: t.Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """Return the answer, whatever its status. Raises NoAnswerError when there is none."""
        return self.send(method, path, body=body, headers=headers)()

    def send(
        self, method: str, path: str = "", *, body: bytes | None = None, headers: t.Mapping[str, str] | None = None
    ) -> t.Callable[[], HttpAnswer]:
        """Send a request, and return what waits for its answer, once. Both raise NoAnswerError when there is none."""
        target = f"{self._parts.path}{path}" or "/"
        if self._parts.query:
            target += f"?{self._parts.query}"
        if not target.isascii():
            target = "".join(sign if sign.isascii() else urllib.parse.quote(sign, errors="replace") for sign in target)
        sent = {"User-Agent": "kyma.mtls", **(headers or {})}
        _refuse_headers(sent, self.url)
        if self._proxy is not None and self._parts.scheme == "http":
            target = f"{self._parts.scheme}://{self._parts.netloc}{target}"
            sent |= _proxy_headers(self._proxy)
        return self._begin(_Request(method, target, body, sent), is_new=not self._idle)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    def _begin(self, request: _Request, *, is_new: bool) -> t.Callable[[], HttpAnswer]:
        connection = self._connect() if is_new else self._idle.pop()
        try:
            if connection.sock is not None:
                connection.sock.settimeout(self._timeout)
            connection.request(request.method, request.target, body=request.body, headers=request.headers)
        except _FAILURES as exc:
            return self._retry(connection, request, exc, is_new=is_new)
        return functools.partial(self._end, connection, request, time.monotonic() + self._timeout, is_new=is_new)

    def _end(
        self, connection: http.client.HTTPConnection, request: _Request, until: float, *, is_new: bool
    ) -> HttpAnswer:
        try:
            # The time counts from when the request was sent, so many requests do not wait for one server in turn.
            connection.sock.settimeout(max(until - time.monotonic(), _LEAST_SECONDS))
            response = connection.getresponse()
            data = response.read(_LIMIT + 1)
            if len(data) > _LIMIT:
                raise http.client.HTTPException(f"the answer is larger than {_LIMIT // 2**20} MiB")
        except _FAILURES as exc:
            return self._retry(connection, request, exc, is_new=is_new)()
        self._idle.append(connection)
        return HttpAnswer(response.status, data, dict(response.headers.items()))

    def _retry(
        self, connection: http.client.HTTPConnection, request: _Request, exc: Exception, *, is_new: bool
    ) -> t.Callable[[], HttpAnswer]:
        """Send a request again that a kept connection has lost, on a new one. Raises NoAnswerError otherwise."""
        connection.close()
        if is_new or not isinstance(exc, _DROPPED):
            raise self._unreachable(exc) from exc
        return self._begin(request, is_new=True)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._port
        if self._proxy is not None:
            host, port = self._proxy.hostname or "", self._proxy.port or _PORTS["http"]
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            self._context = self._context or self._trust.context()
            connection = _SecureConnection(host, port, timeout=self._timeout, context=self._context)
            if self._proxy is not None:
                connection.set_tunnel(self._parts.hostname or "", self._port, headers=_proxy_headers(self._proxy))
        else:
            connection = _Connection(host, port, timeout=self._timeout)
        self._connections.append(connection)
        return connection

    def _unreachable(self, exc: Exception) -> NoAnswerError:
        through = f" through the proxy {self._proxy.hostname}" if self._proxy is not None else ""
        advice = "Check the URL and the way to it."
        if isinstance(exc, ssl.SSLCertVerificationError):
            advice = "Name the CA of its certificate by the ca_file."
        return NoAnswerError(f"{self.url} cannot be reached{through}: {_words(exc)} {advice}")


def fetch(url: str, *, trust: TlsTrust = TlsTrust(), timeout_seconds: float = 30) -> bytes:
    """Return what ``url`` holds. Raises MtlsError when it cannot be had."""
    place = url
    for _number in range(_REDIRECTS + 1):
        client = HttpClient(place, trust=trust, timeout_seconds=timeout_seconds)
        try:
            answer = client.request("GET")
        finally:
            client.close()
        if answer.is_good:
            return answer.body
        if not 300 <= answer.status < 400 or not answer.location:
            raise MtlsError(f"{place} answers with the status {answer.status}. Check the URL.")
        try:
            place = urllib.parse.urljoin(place, answer.location)
        except ValueError as exc:
            raise MtlsError(f"{place} redirects to what is not a URL: {exc}. Check the URL.") from exc
    raise MtlsError(f"{url} redirects more than {_REDIRECTS} times. Give the final URL.")


def parse_json(body: bytes) -> t.Any:
    """Return what a server says in JSON. Raises ValueError when it is something else."""
    try:
        return json.loads(body)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def _refuse_headers(headers: t.Mapping[str, str], url: str) -> None:
    """Refuse what cannot be in a header. The message never has the value: it may be a token."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise MtlsError(
                f"The header {name} for {url} has a line break, or another character that is not printable ASCII. "
                "Correct the value that is given for it."
            )


def _proxy_of(parts: urllib.parse.SplitResult) -> urllib.parse.SplitResult | None:
    proxies = urllib.request.getproxies_environment()
    named = proxies.get(parts.scheme)
    is_excluded = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it
    if not named or is_excluded(parts.hostname or "", proxies):
        return None
    try:
        found = urllib.parse.urlsplit(named if "://" in named else f"http://{named}")
        _port = found.port
    except ValueError as exc:  # it may hold a password
        raise MtlsError(f"The proxy for {parts.scheme} in the environment is not a URL: {exc}. Correct it.") from exc
    return found


def _proxy_headers(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = ":".join(urllib.parse.unquote(part or "") for part in (proxy.username, proxy.password))
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _words(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "there was no answer in time."
    if isinstance(exc, ssl.SSLCertVerificationError):
        return sentence(f"its certificate is not trusted ({exc.verify_message})")
    return sentence(getattr(exc, "strerror", None) or str(exc) or type(exc).__name__)
