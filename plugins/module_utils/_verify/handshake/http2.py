# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP/2 request as bytes, and the response out of bytes: no more of RFC 9113 and RFC 7541 than a verdict needs.

Of the response's header only the status is read. A header block is read without a dynamic table: the client allows
none (SETTINGS_HEADER_TABLE_SIZE 0).
"""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import MAXIMUM_BODY, NotHttpError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Response

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import HttpRequest

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY, _ACK = 0x1, 0x4, 0x8, 0x20, 0x1
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE = 1, 2, 4
_STREAM = 1
_MAXIMUM_FRAME = 16384
# RFC 7541 appendix A: 8 to 14 are :status with these values.
_STATUS_VALUES = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
# RFC 7541 appendix B, the digits: five bits for 0 to 2, six for 3 to 9.
_DIGITS = {"00000": "0", "00001": "1", "00010": "2", **{f"{number + 22:06b}": str(number) for number in range(3, 10)}}
_ERRORS = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"),
    *("FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
    *("INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"),
)


class StreamResetError(Exception):
    """The server ended the stream, or the connection, without an answer."""


class Http2Exchange:
    """A request on a fresh HTTP/2 connection, and its response."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._data = bytearray()
        self._block: bytearray | None = None
        self._block_ends = False
        self._replies = bytearray()
        self._status: int | None = None
        self._body = bytearray()

    def opening(self) -> bytes:
        """Return the preface, the settings and the request."""
        request = self._request
        settings = b"".join(
            struct.pack("!HI", number, value)
            for number, value in (
                (_HEADER_TABLE_SIZE, 0),
                (_ENABLE_PUSH, 0),
                (_INITIAL_WINDOW_SIZE, MAXIMUM_BODY + _MAXIMUM_FRAME),
            )
        )
        pairs = [
            (":method", request.method),
            (":scheme", "https"),
            (":authority", request.authority),
            (":path", request.path),
            *((name.lower(), value) for name, value in request.all_headers()),
        ]
        block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in _marked(pairs))
        window = struct.pack("!I", MAXIMUM_BODY)
        parts = [block[at : at + _MAXIMUM_FRAME] for at in range(0, len(block), _MAXIMUM_FRAME)]
        frames = [_frame(_HEADERS, _END_STREAM | (_END_HEADERS if len(parts) == 1 else 0), _STREAM, parts[0])]
        frames += [_frame(_CONTINUATION, _END_HEADERS if part is parts[-1] else 0, _STREAM, part) for part in parts[1:]]
        return _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window) + b"".join(frames)

    @property
    def begun(self) -> bool:
        """Whether an answer has begun to come."""
        return self._status is not None

    def replies(self) -> bytes:
        """Return what must be sent back now: acknowledgements."""
        data = bytes(self._replies)
        self._replies.clear()
        return data

    def feed(self, data: bytes) -> Response | None:
        """Add ``data``; return the response once it is whole. Raises NotHttpError or StreamResetError."""
        self._data += data
        while len(self._data) >= 9:
            size = int.from_bytes(self._data[:3], "big")
            if size > _MAXIMUM_FRAME:
                raise NotHttpError("the answer is not HTTP/2: a frame is larger than the client allows")
            if len(self._data) < 9 + size:
                return None
            kind, flags = self._data[3], self._data[4]
            stream = int.from_bytes(self._data[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self._data[9 : 9 + size])
            del self._data[: 9 + size]
            if self._take(kind, flags, stream, payload):
                return Response(self._status or 0, "", (), bytes(self._body))
        return None

    def finish(self) -> Response | None:
        """The peer closed: an answer that was not complete by then is none."""
        return None

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Act on one frame; return whether the response is whole."""
        if kind == _SETTINGS and not flags & _ACK:
            self._replies += _frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self._replies += _frame(_PING, _ACK, 0, payload)
        elif kind == _GOAWAY and (any(payload[4:8]) or int.from_bytes(payload[:4], "big") & 0x7FFFFFFF < _STREAM):
            raise StreamResetError(f"the server ended the HTTP/2 connection: {_error(payload[4:8])}")
        elif kind == _RST_STREAM and stream == _STREAM:
            raise StreamResetError(f"the server reset the HTTP/2 stream: {_error(payload[:4])}")
        elif kind in {_HEADERS, _CONTINUATION} and stream == _STREAM:
            return self._take_headers(kind, flags, payload)
        elif kind == _DATA and stream == _STREAM:
            self._body += _unpadded(payload, flags)
            if len(self._body) > MAXIMUM_BODY:
                raise NotHttpError(f"the response's body is larger than {MAXIMUM_BODY} bytes")
            return bool(flags & _END_STREAM)
        return False

    def _take_headers(self, kind: int, flags: int, payload: bytes) -> bool:
        if kind == _HEADERS:
            payload = _unpadded(payload, flags)
            self._block = bytearray(payload[5:] if flags & _PRIORITY else payload)
            self._block_ends = bool(flags & _END_STREAM)
        elif self._block is not None:
            self._block += payload
        if not flags & _END_HEADERS or self._block is None:
            return False
        block, self._block = bytes(self._block), None
        if self._status is None:
            status = _status_of(block)
            # An interim response (RFC 9113 section 8.1): the real one follows.
            self._status = None if 100 <= status < 200 else status
        return self._block_ends and self._status is not None


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _error(code: bytes) -> str:
    number = int.from_bytes(code, "big")
    return _ERRORS[number] if number < len(_ERRORS) else f"error {number}"


def _unpadded(payload: bytes, flags: int) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise NotHttpError("the answer is not HTTP/2: a frame's padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def _marked(pairs: t.Iterable[tuple[str, str]]) -> t.Iterator[tuple[bytes, bytes]]:
    for name, value in pairs:
        yield name.encode("latin-1", "replace"), value.strip().encode("latin-1", "replace")


def _literal(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    size -= 127
    coded = bytearray([127])
    while size >= 128:
        coded.append(size & 127 | 128)
        size >>= 7
    return bytes(coded) + bytes([size]) + text


class _Block:
    """Reads a header block (RFC 7541 section 6)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def peek(self) -> int:
        return self._data[self._at]

    def number(self, prefix: int) -> int:
        mask = (1 << prefix) - 1
        value = self._byte() & mask
        if value < mask:
            return value
        for shift in range(0, 28, 7):
            octet = self._byte()
            value += (octet & 127) << shift
            if not octet & 128:
                return value
        raise NotHttpError("the answer is not HTTP/2: a number in its header is too large")

    def text(self) -> tuple[bytes, bool]:
        """Return a string as it is coded, and whether that is Huffman's code."""
        is_huffman = bool(self.peek() & 128) if self.more else False
        size = self.number(7)
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise NotHttpError("the answer is not HTTP/2: its header is truncated")
        self._at += size
        return part, is_huffman

    def _byte(self) -> int:
        if not self.more:
            raise NotHttpError("the answer is not HTTP/2: its header is truncated")
        self._at += 1
        return self._data[self._at - 1]


def _status_of(data: bytes) -> int:
    """Return the value of :status, which comes before all other fields (RFC 9113 section 8.3)."""
    block = _Block(data)
    while block.more:
        first = block.peek()
        if first & 0xE0 == 0x20:  # the size of the dynamic table
            block.number(5)
            continue
        if first & 0x80:
            status = _STATUS_VALUES.get(block.number(7))
        else:
            index = block.number(6 if first & 0x40 else 4)
            is_status = index in _STATUS_VALUES if index else block.text() == (b":status", False)
            status = _number_of(*block.text()) if is_status else None
        if status is not None:
            return status
        break
    raise NotHttpError("the HTTP/2 answer does not begin with a status")


def _number_of(coded: bytes, is_huffman: bool) -> int | None:
    text = coded.decode("latin-1")
    if is_huffman:
        bits, text = "".join(f"{octet:08b}" for octet in coded), ""
        while (found := next((code for code in _DIGITS if bits.startswith(code)), None)) is not None:
            text += _DIGITS[found]
            bits = bits[len(found) :]
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() else None
