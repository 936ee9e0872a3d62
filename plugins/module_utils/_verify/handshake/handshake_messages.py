# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watch a handshake's messages: the one place that uses ``ssl.SSLContext._msg_callback``.

Python offers no public way to see the CertificateRequest, the served chain before verification, or the session
tickets' extensions; OpenSSL's message callback shows them decrypted, and CPython passes it on by an underscored
attribute. Where that attribute is absent, ``observable()`` says so and the checks that need it are skipped.
"""

from __future__ import annotations

import ssl
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_hello import GROUP_NAMES
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import HandshakeFacts

UNOBSERVABLE = "this Python's ssl cannot show the messages of a handshake (SSLContext._msg_callback is missing)"

# That of the C class: ssl.SSLContext turns every number into an enum, which costs a fifth of a handshake.
_CALLBACK: t.Any = getattr(ssl.SSLContext.__base__, "_msg_callback", None)
_HANDSHAKE = 22
_ALERT = 21
_SERVER_HELLO = 2
_NEW_SESSION_TICKET = 4
_CERTIFICATE = 11
_SERVER_KEY_EXCHANGE = 12
_CERTIFICATE_REQUEST = 13
_FINISHED = 20
_EXTENSION_EARLY_DATA = 42
_EXTENSION_CERTIFICATE_AUTHORITIES = 47
_EXTENSION_KEY_SHARE = 51


def observable() -> bool:
    """Return whether this Python can show a handshake's messages."""
    return _CALLBACK is not None


class RecordingSslObject(ssl.SSLObject):
    """An SSLObject that remembers what the peer sent."""

    received: list[tuple[int, bytes]] | None = None
    alert: int | None = None


def watch(context: ssl.SSLContext) -> None:
    """Make every connection of ``context`` remember the peer's handshake messages and alerts."""
    context.sslobject_class = RecordingSslObject
    if observable():
        _CALLBACK.__set__(context, _note)


def _note(
    connection: ssl.SSLObject, direction: str, version: int, content_type: int, message: int, data: bytes
) -> None:
    del version
    if direction != "read" or not isinstance(connection, RecordingSslObject):
        return
    if content_type == _HANDSHAKE:
        if connection.received is None:
            connection.received = []
        connection.received.append((int(message), bytes(data)))
    elif content_type == _ALERT and len(data) == 2 and data[1] != 0:
        connection.alert = data[1]


def spoken_version(connection: ssl.SSLObject | None) -> str | None:
    """Return the agreed TLS version; unlike ``SSLObject.version`` also after a handshake that failed."""
    if connection is None:
        return None
    cipher = connection.cipher()
    if cipher is None:
        return connection.version()
    # Only TLS 1.3's suites leave the key exchange out of their name; and nothing below 1.2 is ever offered.
    return "TLSv1.3" if cipher[0].startswith("TLS_") else "TLSv1.2"


def seen(connection: ssl.SSLObject) -> HandshakeFacts:
    """Return what the messages of ``connection`` showed."""
    if not isinstance(connection, RecordingSslObject) or connection.received is None:
        return HandshakeFacts()
    modern = spoken_version(connection) == "TLSv1.3"
    requests = [data for message, data in connection.received if message == _CERTIFICATE_REQUEST]
    tickets = [data for message, data in connection.received if message == _NEW_SESSION_TICKET]
    chain = [data for message, data in connection.received if message == _CERTIFICATE]
    try:
        return HandshakeFacts(
            certificate_request=bool(requests),
            late_request=_came_late(connection.received),
            client_cas=_authorities(requests[0][4:], modern=modern) if requests else None,
            chain=_chain(chain[0][4:], modern=modern) if chain else (),
            group=_group(connection.received, modern=modern),
            tickets=len(tickets),
            early_data=max((_early_data(data[4:]) for data in tickets), default=0) if modern else 0,
        )
    except (IndexError, ValueError):
        # Malformed messages end the handshake in OpenSSL; what a broken peer sent is no fact worth keeping.
        return HandshakeFacts(certificate_request=bool(requests), tickets=len(tickets))


def _came_late(received: t.Sequence[tuple[int, bytes]]) -> bool:
    """Whether the first CertificateRequest followed the server's first Finished: post-handshake authentication
    (RFC 8446 section 4.6.2), or renegotiation in TLS 1.2.
    """
    kinds = [message for message, _data in received]
    if _CERTIFICATE_REQUEST not in kinds or _FINISHED not in kinds:
        return False
    return kinds.index(_FINISHED) < kinds.index(_CERTIFICATE_REQUEST)


class _Cursor:
    """Reads length-prefixed fields; raises ValueError at a truncated one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise ValueError("truncated")
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Cursor:
        return _Cursor(self.take(self.number(size)))

    def rest(self) -> bytes:
        return self._data[self._at :]

    @property
    def more(self) -> bool:
        return self._at < len(self._data)


def _extensions(cursor: _Cursor) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while cursor.more:
        number = cursor.number(2)
        found[number] = cursor.vector(2).rest()
    return found


def _names(cursor: _Cursor) -> tuple[bytes, ...]:
    names = []
    while cursor.more:
        names.append(cursor.vector(2).rest())
    return tuple(names)


def _authorities(data: bytes, *, modern: bool) -> tuple[bytes, ...]:
    """RFC 8446 sections 4.3.2 and 4.2.4; RFC 5246 section 7.4.4."""
    cursor = _Cursor(data)
    cursor.vector(1)
    if modern:
        extension = _extensions(cursor.vector(2)).get(_EXTENSION_CERTIFICATE_AUTHORITIES)
        return () if extension is None else _names(_Cursor(extension).vector(2))
    cursor.vector(2)
    return _names(cursor.vector(2))


def _chain(data: bytes, *, modern: bool) -> tuple[bytes, ...]:
    cursor = _Cursor(data)
    if modern:
        cursor.vector(1)
    entries = cursor.vector(3)
    chain = []
    while entries.more:
        chain.append(entries.vector(3).rest())
        if modern:
            entries.vector(2)
    return tuple(chain)


def _group(received: t.Sequence[tuple[int, bytes]], *, modern: bool) -> str | None:
    if modern:
        hello = _Cursor([data for message, data in received if message == _SERVER_HELLO][-1][4:])
        hello.take(34)
        hello.vector(1)
        hello.take(3)
        share = _extensions(hello.vector(2)).get(_EXTENSION_KEY_SHARE)
        number = int.from_bytes(share[:2], "big") if share else None
    else:
        exchange = [data for message, data in received if message == _SERVER_KEY_EXCHANGE]
        number = int.from_bytes(exchange[0][5:7], "big") if exchange and exchange[0][4] == 3 else None
    return None if number is None else GROUP_NAMES.get(number, f"0x{number:04x}")


def _early_data(data: bytes) -> int:
    """Return max_early_data_size of a TLS 1.3 NewSessionTicket (RFC 8446 section 4.6.1), 0 without the extension."""
    cursor = _Cursor(data)
    cursor.take(8)
    cursor.vector(1)
    cursor.vector(2)
    extension = _extensions(cursor.vector(2)).get(_EXTENSION_EARLY_DATA)
    return int.from_bytes(extension, "big") if extension else 0
