# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hand-built ClientHellos: ask a server what it accepts without finishing a handshake.

They reach versions, suites and groups that the local OpenSSL no longer speaks, cost the server next to nothing
(a HelloRetryRequest needs no key exchange), and carry no secret.
"""

from __future__ import annotations

import os
import socket
import struct
import time
import typing as t
from dataclasses import dataclass

TLS_1_0 = 0x0301
TLS_1_1 = 0x0302
TLS_1_2 = 0x0303
TLS_1_3 = 0x0304
VERSION_NAMES = {0x0300: "SSLv3", TLS_1_0: "TLSv1", TLS_1_1: "TLSv1.1", TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}

GROUP_NAMES = {
    0x0017: "P-256",
    0x0018: "P-384",
    0x0019: "P-521",
    0x001D: "X25519",
    0x001E: "X448",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
    0x6399: "X25519Kyber768Draft00",
    0x0013: "P-192",
    0x0015: "P-224",
    0x0016: "secp256k1",
}
MODERN_SUITES = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0x1304: "TLS_AES_128_CCM_SHA256",
    0x1305: "TLS_AES_128_CCM_8_SHA256",
}
# Authenticated encryption with forward secrecy: what SP 800-52r2 section 3.3.1 and OWASP ASVS 12.1.2 leave of TLS 1.2.
STRONG_SUITES = {
    0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    0xC02C: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xCCA9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCA8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xC0AC: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
    0xC0AD: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
    0x009E: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    0x009F: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
    0xCCAA: "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xC09E: "TLS_DHE_RSA_WITH_AES_128_CCM",
    0xC09F: "TLS_DHE_RSA_WITH_AES_256_CCM",
}
WEAK_SUITES = {
    0x009C: "TLS_RSA_WITH_AES_128_GCM_SHA256",
    0x009D: "TLS_RSA_WITH_AES_256_GCM_SHA384",
    0x002F: "TLS_RSA_WITH_AES_128_CBC_SHA",
    0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
    0x003C: "TLS_RSA_WITH_AES_128_CBC_SHA256",
    0x003D: "TLS_RSA_WITH_AES_256_CBC_SHA256",
    0x0041: "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA",
    0x0084: "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA",
    0x0096: "TLS_RSA_WITH_SEED_CBC_SHA",
    0xC009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    0xC00A: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0xC013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    0xC014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC023: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    0xC024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    0xC027: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    0xC028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
    0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
    0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
    0x006B: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
    0x0045: "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA",
    0x0088: "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
    0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0xC008: "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
    0xC012: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0x0009: "TLS_RSA_WITH_DES_CBC_SHA",
    0x0004: "TLS_RSA_WITH_RC4_128_MD5",
    0x0005: "TLS_RSA_WITH_RC4_128_SHA",
    0xC007: "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    0xC011: "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    0x0001: "TLS_RSA_WITH_NULL_MD5",
    0x0002: "TLS_RSA_WITH_NULL_SHA",
    0x003B: "TLS_RSA_WITH_NULL_SHA256",
    0xC006: "TLS_ECDHE_ECDSA_WITH_NULL_SHA",
    0xC010: "TLS_ECDHE_RSA_WITH_NULL_SHA",
    0x0018: "TLS_DH_anon_WITH_RC4_128_MD5",
    0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA",
    0x003A: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
    0x006C: "TLS_DH_anon_WITH_AES_128_CBC_SHA256",
    0x00A6: "TLS_DH_anon_WITH_AES_128_GCM_SHA256",
    0xC018: "TLS_ECDH_anon_WITH_AES_128_CBC_SHA",
    0xC019: "TLS_ECDH_anon_WITH_AES_256_CBC_SHA",
    0x0003: "TLS_RSA_EXPORT_WITH_RC4_40_MD5",
    0x0008: "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA",
    0x0014: "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
}
SUITE_NAMES = {**MODERN_SUITES, **STRONG_SUITES, **WEAK_SUITES}

EXTENSION_EXTENDED_MASTER_SECRET = 23
EXTENSION_RENEGOTIATION_INFO = 0xFF01

_RENEGOTIATION_SCSV = 0x00FF
_RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807, 0x0203, 0x0201)
_CLASSIC_GROUPS = (0x001D, 0x0017, 0x0018, 0x0019, 0x001E, 0x0100)


@dataclass(frozen=True)
class ClientHello:
    """A ClientHello to be sent."""

    version: int
    suites: t.Sequence[int]
    groups: t.Sequence[int] = _CLASSIC_GROUPS
    server_name: str | None = None
    compressions: t.Sequence[int] = (0,)
    alpn: t.Sequence[str] = ()

    def encode(self) -> bytes:
        legacy = min(self.version, TLS_1_2)
        extensions = b"".join(_extension(number, data) for number, data in self._extensions())
        suites = [*self.suites, *([] if self.version == TLS_1_3 else [_RENEGOTIATION_SCSV])]
        body = (
            struct.pack("!H", legacy)
            + os.urandom(32)
            + b"\x20"
            + os.urandom(32)
            + _vector(2, b"".join(struct.pack("!H", suite) for suite in suites))
            + _vector(1, bytes(self.compressions))
            + _vector(2, extensions)
        )
        message = b"\x01" + _vector(3, body)
        return struct.pack("!BH", 22, min(self.version, TLS_1_0)) + _vector(2, message)

    def _extensions(self) -> t.Iterator[tuple[int, bytes]]:
        if self.server_name:
            yield 0, _vector(2, b"\x00" + _vector(2, self.server_name.encode("ascii", "replace")))
        yield 10, _vector(2, b"".join(struct.pack("!H", group) for group in self.groups))
        yield 11, b"\x01\x00"
        yield 13, _vector(2, b"".join(struct.pack("!H", scheme) for scheme in _SIGNATURES))
        yield EXTENSION_EXTENDED_MASTER_SECRET, b""
        if self.alpn:
            yield 16, _vector(2, b"".join(_vector(1, protocol.encode()) for protocol in self.alpn))
        if self.version == TLS_1_3:
            yield 43, b"\x02\x03\x04"
            # No share at all: the server answers with a HelloRetryRequest that names its suite and group.
            yield 51, b"\x00\x00"


@dataclass(frozen=True)
class HelloAnswer:
    """What a server answered to a ClientHello: ``kind`` is hello, alert, closed, timeout or garbage."""

    kind: str
    detail: str = ""
    alert: int | None = None
    version: int | None = None
    suite: int | None = None
    group: int | None = None
    compression: int = 0
    extensions: frozenset[int] = frozenset()

    def text(self) -> str:
        return self.detail or self.kind


def say_hello(address: tuple[str, int], hello: ClientHello, *, timeout: float) -> HelloAnswer:
    """Send ``hello`` to ``address`` and return the first thing the server says."""
    deadline = time.monotonic() + timeout
    try:
        with socket.create_connection(address, timeout=timeout) as connection:
            connection.sendall(hello.encode())
            return _read_answer(connection, deadline)
    except TimeoutError:
        return HelloAnswer("timeout", f"no answer within {timeout:g} s")
    except ConnectionResetError:
        return HelloAnswer("closed", "the server reset the connection without an answer")
    except OSError as exc:
        return HelloAnswer("unreachable", f"no connection: {exc.strerror or exc}")


def _read_answer(connection: socket.socket, deadline: float) -> HelloAnswer:
    data = bytearray()
    handshake = bytearray()
    while True:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(remaining)
        part = connection.recv(16384)
        if not part:
            return HelloAnswer("closed", "the server closed the connection without an answer")
        data += part
        while len(data) >= 5:
            kind, size = data[0], int.from_bytes(data[3:5], "big")
            if kind not in {20, 21, 22} or data[1] != 3:
                return HelloAnswer("garbage", f"the answer is not TLS, it begins with {bytes(data[:8])!r}")
            if len(data) < 5 + size:
                break
            record = bytes(data[5 : 5 + size])
            del data[: 5 + size]
            if kind == 21:
                if len(record) != 2:
                    return HelloAnswer("garbage", "the server's alert is malformed")
                if record[0] == 2:
                    return HelloAnswer("alert", alert=record[1])
                continue
            if kind == 22:  # a change_cipher_spec beside it means nothing (RFC 8446 appendix D.4)
                handshake += record
        if len(handshake) >= 4 and len(handshake) >= 4 + int.from_bytes(handshake[1:4], "big"):
            return _parse_server_hello(bytes(handshake))


def _parse_server_hello(message: bytes) -> HelloAnswer:
    try:
        if message[0] != 2:
            return HelloAnswer("garbage", f"the answer is not a ServerHello but message {message[0]}")
        body = message[4 : 4 + int.from_bytes(message[1:4], "big")]
        version, random = struct.unpack("!H32s", body[:34])
        at = 35 + body[34]
        suite, compression = struct.unpack("!HB", body[at : at + 3])
        extensions = _parse_extensions(body[at + 3 :])
    except (IndexError, struct.error):
        return HelloAnswer("garbage", "the server's hello is malformed")
    share = extensions.get(51, b"")
    return HelloAnswer(
        "hello",
        version=int.from_bytes(extensions[43], "big") if 43 in extensions else version,
        suite=suite,
        group=int.from_bytes(share[:2], "big") if len(share) >= 2 else None,
        compression=compression,
        extensions=frozenset(extensions),
        detail="HelloRetryRequest" if random == _RETRY_RANDOM else "ServerHello",
    )


def _parse_extensions(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 2
    while at + 4 <= len(data):
        number, size = struct.unpack("!HH", data[at : at + 4])
        found[number] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def _vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _extension(number: int, data: bytes) -> bytes:
    return struct.pack("!H", number) + _vector(2, data)
