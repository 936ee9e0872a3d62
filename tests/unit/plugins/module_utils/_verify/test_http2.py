# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP/2 as a client without a dynamic table speaks it: byte by byte, and with real servers."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_2
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import HttpRequest, NotHttpError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http2 import Http2Exchange, StreamResetError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import (
    cases_text,
    outcomes,
    parameters,
)

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

REQUEST = HttpRequest("GET", "/headers", "a.test")
SETTINGS = bytes.fromhex("000000040000000000")


def frame(kind: int, flags: int, payload: bytes, *, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(block: bytes, *, flags: int = 0x5) -> bytes:
    return frame(1, flags, block)


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"\x88", 200),
        (b"\x20\x8d", 404),  # after "no dynamic table"
        (b"\x48\x03403", 403),  # literal, with indexing
        (b"\x08\x83\x68\x0c\xff", 403),  # the same in Huffman's code
        (b"\x08\x83\x10\x84\x1f", None),
        (b"\x00\x07:status\x03496", 496),
        (b"\xff\xff\xff\xff\xff\xff", None),
        (b"\xbe", None),  # an entry of the dynamic table that was not allowed
        (b"\x08\x7f", None),
        (b"\x82", None),
        (b"", None),
    ],
)
def test_status_is_read_in_every_coding(block: bytes, status: int | None) -> None:
    exchange = Http2Exchange(REQUEST)
    if status is None:
        with pytest.raises(NotHttpError):
            exchange.feed(headers(block))
        return
    response = exchange.feed(headers(block))
    assert response is not None
    assert response.status == status


def test_answer_in_pieces_with_padding_interim_and_continuation_is_whole_at_its_end() -> None:
    data = b"".join(
        [
            SETTINGS,
            frame(6, 0, b"12345678", stream=0),
            headers(b"\x08\x03103", flags=0x4),
            frame(1, 0x20, b"\x00\x00\x00\x00\x10"),  # with a priority, and the block follows
            frame(9, 0x4, b"\x88"),
            frame(0, 0x8, b"\x03hel\x00\x00\x00"),
            frame(0, 0x1, b"lo"),
        ]
    )
    exchange, response, replies = Http2Exchange(REQUEST), None, b""
    for byte in data:
        assert response is None
        response = exchange.feed(bytes([byte]))
        replies += exchange.replies()
    assert response is not None
    assert (response.status, response.body) == (200, b"hello")
    assert replies == frame(4, 1, b"", stream=0) + frame(6, 1, b"12345678", stream=0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(3, 0, b"\x00\x00\x00\x0d"), "HTTP_1_1_REQUIRED"),
        (frame(7, 0, b"\x00\x00\x00\x01\x00\x00\x00\x01", stream=0), "PROTOCOL_ERROR"),
        (frame(7, 0, b"\x00\x00\x00\x00\x00\x00\x00\x00", stream=0), "NO_ERROR"),
        (frame(3, 0, b"\x00\x00\x00\x63"), "error 99"),
    ],
)
def test_stream_that_the_server_ends_is_no_answer(data: bytes, said: str) -> None:
    with pytest.raises(StreamResetError, match=said):
        Http2Exchange(REQUEST).feed(data)


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n\r\n", frame(0, 0x8, b"\x09x"), frame(1, 0x8, b"")])
def test_bytes_that_are_not_http2_are_named(data: bytes) -> None:
    with pytest.raises(NotHttpError, match="not HTTP/2"):
        Http2Exchange(REQUEST).feed(data)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("kind", ["envoy", "haproxy"])
def test_real_server_answers_who_speaks_http2(
    kind: str, version: str, pki: Pki, workload: Workload, tmp_path: Path
) -> None:
    if real.find(real.KINDS[kind].program) is None:
        pytest.skip(f"{kind} is not installed")
    server = real.start(kind, pki, tmp_path, workload.port)
    try:
        inspection = Inspection(read_options(parameters(pki, server.address)))
        long = (("X-Long", "x" * 20000), ("X-Short", "y"))
        answered = inspection.attempt(inspection.options.client, version=version, offer=HTTP_2, headers=long)
        refused = inspection.attempt(None, version=version, offer=HTTP_2)
        elsewhere = inspection.attempt(inspection.options.client, offer=HTTP_2, host="unrelated.invalid")
        malformed = inspection.attempt(inspection.options.client, offer=HTTP_2, headers=(("Connection", "X-Short"),))
    finally:
        server.stop()
    assert (answered.kind, answered.alpn, answered.status) == (Kind.ANSWERED, "h2", 200)
    assert answered.response is not None
    echoed = json.loads(answered.response.body)["headers"]
    assert (len(echoed["x-long"]), echoed["x-short"]) == (20000, "y")
    assert refused.kind is Kind.ALERT
    assert elsewhere.status in {404, 421}
    assert malformed.kind is {"envoy": Kind.CLOSED, "haproxy": Kind.RESET}[kind], malformed.detail


@pytest.mark.parametrize(("kind", "how"), [("envoy", "alpn"), ("haproxy", "known")])
def test_a_server_that_speaks_only_http2_is_verified_in_it(
    kind: str, how: str, pki: Pki, workload: Workload, verify_address: Verify, tmp_path: Path
) -> None:
    if real.find(real.KINDS[kind].program) is None:
        pytest.skip(f"{kind} is not installed")
    checks = ["MV-01", "MV-05", "MV-06", "MV-20", "MV-23", "MV-24", "MV-25", "MV-40", "MV-41", "MV-50"]
    found = []
    for client_auth in ("required", "optional"):
        setting = real.Setting(only_http_2=how, client_auth=client_auth, underscores="DROP_HEADER")
        server = real.start(kind, pki, tmp_path / client_auth, workload.port, setting)
        try:
            headers_ = real.KINDS[kind].headers
            found.append(verify_address(server.address, checks=checks, identity_headers=headers_))
        finally:
            server.stop()
    sound, lax = found
    assert sound.verdict == "passed", cases_text(sound, "failed", "outage")
    assert set(outcomes(sound).values()) <= {"passed", "warning"}
    assert "the server does not speak it (the server closed the connection" in cases_text(sound, "skipped")
    assert sound.server["variants"] == {}
    assert lax.verdict == "failed"
    assert outcomes(lax)["MV-24"] == outcomes(lax)["MV-20"] == "failed"
