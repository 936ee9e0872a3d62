# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP/1.1 request as bytes, and the response out of bytes: no more HTTP than a verdict needs."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Response

MAXIMUM_HEAD = 256 * 1024
MAXIMUM_BODY = 16 * 1024 * 1024
USER_AGENT = "kyma.mtls.mtls_verify"


class NotHttpError(Exception):
    """The bytes are not an HTTP response."""


@dataclass(frozen=True)
class HttpRequest:
    """One request, for HTTP/1.1 or HTTP/2."""

    method: str
    path: str
    authority: str
    headers: tuple[tuple[str, str], ...] = ()
    version: str = "HTTP/1.1"

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that every version of HTTP has."""
        has_body = self.method not in {"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"}
        return (
            ("User-Agent", USER_AGENT),
            ("Accept", "application/json, */*;q=0.5"),
            *self.headers,
            *((("Content-Length", "0"),) if has_body else ()),
        )


class Http1Exchange:
    """A request that asks the server to close the connection after its answer, and its response."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._reader = ResponseReader(head_only=request.method == "HEAD")

    def opening(self) -> bytes:
        """Return the request as bytes. A client's own Connection header has ``close`` in it, too."""
        request = self._request
        pairs = request.all_headers()
        connection = ", ".join(("close", *(value for name, value in pairs if name.lower() == "connection")))
        lines = [
            f"{request.method} {request.path} {request.version}",
            f"Host: {request.authority}",
            f"Connection: {connection}",
            *(f"{name}: {value}" for name, value in pairs if name.lower() != "connection"),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    @property
    def begun(self) -> bool:
        """Whether an answer has begun to come."""
        return not self._reader.empty

    def replies(self) -> bytes:
        """Return what must be sent back now: nothing."""
        return b""

    def feed(self, data: bytes) -> Response | None:
        """Add ``data``; return the response once it is whole. Raises NotHttpError on anything else than HTTP."""
        return self._reader.feed(data)

    def finish(self) -> Response | None:
        """The peer closed: return the response if that ends it properly."""
        return self._reader.finish()


class ResponseReader:
    """Collects bytes until they are one whole response."""

    def __init__(self, *, head_only: bool = False) -> None:
        self._data = bytearray()
        self._head_only = head_only
        self._head: Response | None = None
        self._body_start = 0

    @property
    def empty(self) -> bool:
        """Whether nothing has come yet."""
        return not self._data

    def feed(self, data: bytes) -> Response | None:
        """Add ``data``; return the response once it is whole. Raises NotHttpError on anything else than HTTP."""
        self._data += data
        if self._head is None and not self._parse_head():
            return None
        return self._whole(at_end=False)

    def finish(self) -> Response | None:
        """The peer closed: return the response if that ends it properly."""
        if self._head is None:
            return None
        return self._whole(at_end=True)

    def _parse_head(self) -> bool:
        if not b"HTTP/".startswith(bytes(self._data[:5])):
            raise NotHttpError(f"the answer is not HTTP, it begins with {bytes(self._data[:16])!r}")
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > MAXIMUM_HEAD:
                raise NotHttpError(f"the response's header is larger than {MAXIMUM_HEAD} bytes")
            return False
        lines = bytes(self._data[:end]).decode("latin-1").split("\r\n")
        version, _space, rest = lines[0].partition(" ")
        code, _space, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise NotHttpError(f"the answer's first line is not HTTP/1: {lines[0][:60]!r}")
        pairs = tuple(
            (name.strip(), value.strip()) for name, _colon, value in (line.partition(":") for line in lines[1:])
        )
        if 100 <= int(code) < 200 and int(code) != 101:
            # An interim response (RFC 9110 section 15.2): the real one follows.
            del self._data[: end + 4]
            return self._parse_head() if self._data else False
        self._head = Response(status=int(code), reason=reason, headers=pairs, body=b"")
        self._body_start = end + 4
        return True

    def _header(self, field: str) -> str | None:
        head = self._head
        return next((value for name, value in head.headers if name.lower() == field), None) if head else None

    def _whole(self, *, at_end: bool) -> Response | None:
        head = self._head
        if head is None:
            return None
        body = bytes(self._data[self._body_start :])
        if len(body) > MAXIMUM_BODY:
            raise NotHttpError(f"the response's body is larger than {MAXIMUM_BODY} bytes")
        if self._head_only or head.status in {101, 204, 304}:
            return Response(head.status, head.reason, head.headers, b"")
        if "chunked" in (self._header("transfer-encoding") or "").lower():
            decoded = _unchunk(body)
            return None if decoded is None else Response(head.status, head.reason, head.headers, decoded)
        length = self._header("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit()):
                raise NotHttpError(f"the response's Content-Length is not a number: {length[:40]!r}")
            size = int(length)
            return Response(head.status, head.reason, head.headers, body[:size]) if len(body) >= size else None
        return Response(head.status, head.reason, head.headers, body) if at_end else None


def _unchunk(body: bytes) -> bytes | None:
    """Return the decoded chunks, or None while some are missing (RFC 9112 section 7.1)."""
    decoded = bytearray()
    position = 0
    while True:
        end = body.find(b"\r\n", position)
        if end < 0:
            return None
        try:
            size = int(body[position:end].split(b";")[0], 16)
        except ValueError:
            raise NotHttpError("the response's chunks are malformed") from None
        start = end + 2
        if size == 0:
            return bytes(decoded) if body.find(b"\r\n", start) >= 0 else None
        if size < 0 or len(body) < start + size + 2:
            if size < 0:
                raise NotHttpError("the response's chunks are malformed")
            return None
        decoded += body[start : start + size]
        position = start + size + 2
