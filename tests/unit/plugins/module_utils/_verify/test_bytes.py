# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes in, facts out: HTTP responses, hellos, JSON expectations."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import expectations, protocol
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import client_hello, connection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import (
    Http1Exchange,
    HttpRequest,
    NotHttpError,
    ResponseReader,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import (
    Kind,
    Observation,
    VerifyTarget,
)

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (OK + b"content-length: 3\r\n\r\nabcdef", b"abc"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_responses_are_whole_however_they_arrive(data: bytes, body: bytes) -> None:
    at_once = ResponseReader().feed(data)
    assert at_once is not None
    assert at_once.body == body
    reader, found = ResponseReader(), None
    for position in range(len(data)):
        found = found or reader.feed(data[position : position + 1])
    assert found is not None
    assert found.body == body


def test_a_response_may_end_with_the_connection() -> None:
    reader = ResponseReader()
    assert reader.feed(OK + b"\r\nall of it") is None
    response = reader.finish()
    assert response is not None
    assert response.body == b"all of it"
    cut = ResponseReader()
    assert cut.feed(OK + b"Content-Length: 30\r\n\r\ncut") is None
    assert cut.finish() is None
    assert ResponseReader().finish() is None
    head = ResponseReader(head_only=True).feed(OK + b"Content-Length: 30\r\n\r\n")
    assert head is not None


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 \r\n\r\n",
        b"\x15\x03",
        OK + b"Content-Length: many\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n",
        b"HTTP/1.1 200 " + b"x" * 300000,
    ],
)
def test_anything_else_is_not_http(data: bytes) -> None:
    with pytest.raises(NotHttpError):
        ResponseReader().feed(data)


def test_endless_bodies_are_not_collected() -> None:
    reader = ResponseReader()
    reader.feed(OK + b"\r\n")
    with pytest.raises(NotHttpError, match="larger than"):
        reader.feed(b"x" * (17 * 1024 * 1024))


def test_requests_with_a_body_say_that_it_is_empty() -> None:
    assert b"Content-Length: 0\r\n" in Http1Exchange(HttpRequest("POST", "/", "a.test")).opening()
    assert b"Content-Length" not in Http1Exchange(HttpRequest("GET", "/", "a.test")).opening()


# JSON


@pytest.mark.parametrize(
    ("expected", "value", "met"),
    [
        ("a", "a", True),
        ("a.*", "abc", True),
        ("a", "abc", False),
        ("(", "(", True),
        ("(", "x", False),
        (5, 5, True),
        (5, "5", False),
        ("5", 5, True),
        (True, True, True),
        (1, True, False),
        (None, None, True),
        ("x", None, False),
        (["a"], ["a"], True),
    ],
)
def test_expected_values(expected: t.Any, value: t.Any, met: bool) -> None:
    assert (expectations.unmet({"a": expected}, {"a": value}) == []) is met


def test_paths() -> None:
    pytest.importorskip("jmespath")
    document = {"a": {"b-c": [{"d": 1}, {"d": 2}]}}
    assert expectations.resolve("a", document) == document["a"]
    assert expectations.resolve("a.x.y", document) is None
    assert expectations.resolve('a."b-c"[*].d', document) == [1, 2]
    with pytest.raises(MtlsError, match="not a JMESPath expression"):
        expectations.resolve("a[", document)
    assert expectations.parse_json(b"{") is None


def test_without_jmespath_only_dotted_names_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    assert expectations.resolve("a.b", {"a": {"b": 1}}) == 1
    with pytest.raises(MtlsError, match="needs the Python library jmespath"):
        expectations.resolve("a[0]", {})


# Hellos


def server_hello(version: int, suite: int, *, compression: int = 0, extensions: bytes = b"") -> bytes:
    body = struct.pack("!H", min(version, 0x0303)) + bytes(32) + b"\x00" + struct.pack("!HB", suite, compression)
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + struct.pack("!H", len(message)) + message


MODERN = struct.pack("!HHH", 43, 2, 0x0304) + struct.pack("!HHH", 51, 2, 0x001D)


class OneAnswer:
    """Listens once, reads something, answers with bytes, closes."""

    def __init__(self, data: bytes, *, hang: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._data, self._hang = data, hang
        self._over = threading.Event()
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> t.Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        connected, _address = self._listener.accept()
        with connected:
            connected.recv(65536)
            connected.sendall(self._data)
            if self._hang:
                self._over.wait()


def ask(data: bytes, *, hang: bool = False) -> client_hello.HelloAnswer:
    with OneAnswer(data, hang=hang) as server:
        return client_hello.say_hello(
            server.address, client_hello.ClientHello(client_hello.TLS_1_2, [0xC02F], server_name="a.test"), timeout=0.5
        )


def test_answers_to_a_hello_are_understood() -> None:
    found = ask(server_hello(0x0303, 0xC02F, compression=1, extensions=b"\xff\x01\x00\x01\x00\x00\x17\x00\x00"))
    assert (found.kind, found.version, found.suite, found.compression) == ("hello", 0x0303, 0xC02F, 1)
    assert found.extensions == {0xFF01, 23}
    found = ask(server_hello(0x0304, 0x1301, extensions=MODERN))
    assert (found.version, found.suite, found.group) == (0x0304, 0x1301, 0x001D)
    found = ask(b"\x15\x03\x03\x00\x02\x01\x70" + b"\x15\x03\x03\x00\x02\x02\x28")
    assert (found.kind, found.alert) == ("alert", 40)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "garbage"),
        (b"\x15\x03\x03\x00\x01\x02", "garbage"),
        (b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00", "garbage"),
        (b"\x16\x03\x03\x00\x06\x02\x00\x00\x02\x03\x03", "garbage"),
        (b"\x16\x03\x03\x00\x50\x02\x00", "closed"),
    ],
)
def test_odd_answers_to_a_hello(data: bytes, kind: str) -> None:
    found = ask(data)
    assert found.kind == kind
    assert found.text()


def test_no_answer_to_a_hello() -> None:
    assert ask(b"\x16\x03", hang=True).kind == "timeout"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    assert (
        client_hello.say_hello(address, client_hello.ClientHello(client_hello.TLS_1_3, [0x1301]), timeout=1).kind
        == "unreachable"
    )


# The surface


def alert(code: int) -> client_hello.HelloAnswer:
    return client_hello.HelloAnswer("alert", alert=code)


def spoken(version: int, **facts: t.Any) -> client_hello.HelloAnswer:
    return client_hello.HelloAnswer("hello", version=version, **facts)


def outcomes(cases: t.Iterable[Case]) -> list[str]:
    return [case.outcome.value for case in cases]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (alert(70), "passed"),
        (alert(40), "passed"),
        (spoken(client_hello.TLS_1_0, suite=0xC013), "failed"),
        (spoken(client_hello.TLS_1_2, suite=0xC013), "failed"),
        (client_hello.HelloAnswer("closed"), "outage"),
        (client_hello.HelloAnswer("timeout"), "outage"),
        (client_hello.HelloAnswer("garbage"), "outage"),
        (client_hello.HelloAnswer("cancelled"), "skipped"),
    ],
)
def test_old_versions(answer: client_hello.HelloAnswer, outcome: str) -> None:
    assert protocol.check_old_version(client_hello.TLS_1_0, answer).outcome == outcome


def test_tls_1_3_is_wanted_and_preferred() -> None:
    modern = spoken(client_hello.TLS_1_3)
    assert protocol.check_modern_version(modern, "TLSv1.3").outcome is Outcome.PASSED
    assert protocol.check_modern_version(modern, "TLSv1.2").outcome is Outcome.WARNING
    assert protocol.check_modern_version(alert(70), "TLSv1.2").outcome is Outcome.WARNING
    assert protocol.check_modern_version(client_hello.HelloAnswer("timeout"), None).outcome is Outcome.OUTAGE


def test_suites_groups_and_hygiene() -> None:
    found = protocol.Accepted((0xC02F,), alert(40))
    nothing = protocol.Accepted((), alert(40))
    broken = protocol.Accepted((), client_hello.HelloAnswer("timeout"))
    assert outcomes(protocol.check_suites(found, nothing, protocol.Accepted((0x1301,), alert(40)))) == ["passed"] * 3
    assert outcomes(protocol.check_suites(found, protocol.Accepted((0x002F,), alert(40)), None)) == ["passed", "failed"]
    assert outcomes(protocol.check_suites(None, broken, None)) == ["outage"]
    for values, said in (
        ((0x11EC, 0x001D), "preferred"),
        ((0x11EC,), "required"),
        ((0x001D, 0x11EC), "accepted, not preferred"),
        ((0x001D,), "absent"),
    ):
        cases = protocol.check_groups(protocol.Accepted(values, alert(40)))
        assert outcomes(cases) == ["passed", "passed"]
        assert cases[1].observed.endswith(said)
    assert outcomes(protocol.check_groups(protocol.Accepted((0x0013,), alert(40))))[0] == "failed"
    assert outcomes(protocol.check_groups(nothing)) == ["skipped"]
    assert outcomes(protocol.check_groups(broken)) == ["outage"]
    sound = spoken(client_hello.TLS_1_2, extensions=frozenset({23, 0xFF01}))
    assert outcomes(protocol.check_hygiene(sound)) == ["passed"] * 3
    assert outcomes(protocol.check_hygiene(spoken(client_hello.TLS_1_2, compression=1))) == [
        "failed",
        "failed",
        "warning",
    ]
    assert outcomes(protocol.check_hygiene(alert(70))) == ["skipped"]
    assert outcomes(protocol.check_hygiene(client_hello.HelloAnswer("closed"))) == ["outage"]


def test_a_server_that_takes_what_was_not_offered_ends_the_search() -> None:
    def strange(question: client_hello.ClientHello) -> client_hello.HelloAnswer:
        return spoken(question.version, suite=0xFFFF, group=0xFFFF)

    assert protocol.accepted_suites(strange, client_hello.TLS_1_2, [0xC02F], None).values == ()
    assert protocol.accepted_groups(strange, None).values == ()


# Plain connections


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", Kind.CLOSED),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Kind.ANSWERED),
        (b"\x15\x03\x03\x00\x02\x02\x0a", Kind.ALERT),
        (b"220 smtp", Kind.GARBAGE),
    ],
)
def test_plain_answers(data: bytes, kind: Kind) -> None:
    with OneAnswer(data) as server:
        assert connection.knock(server.address, HttpRequest("GET", "/", "a.test"), timeout=2).kind is kind


def test_no_plain_answer() -> None:
    with OneAnswer(b"HTTP/1.1 200", hang=True) as server:
        assert connection.knock(server.address, HttpRequest("GET", "/", "a.test"), timeout=0.3).kind is Kind.TIMEOUT
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    assert connection.knock(address, HttpRequest("GET", "/", "a.test"), timeout=1).kind is Kind.UNREACHABLE


def test_words_for_places_and_endings() -> None:
    target = VerifyTarget("::1", 8443, "/", ("::1", 1))
    assert (target.authority, target.place, target.url) == ("[::1]:8443", "[::1]:1", "https://[::1]:8443/")
    ended = Observation(Kind.RESET, "handshake", "gone")
    assert ended.text() == "gone"
    assert ended.evidence()["ended"] == "reset (handshake)"
