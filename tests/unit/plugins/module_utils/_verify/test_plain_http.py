# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers plain HTTP beside the TLS port: the workload, somebody else, or nobody."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import plain_http
from ansible_collections.kyma.mtls.tests.servers.pki import HOST
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.tls_server import Client, TlsServer, answer, server_context
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

PAGE = "<html><head><title>Payroll</title></head><body><p>Request {} served.</p>" + "<p>Row</p>" * 40 + "</body></html>"
OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nWelcome to nginx"
CHECKS = ["MV-06", "MV-23"]


class PlainServer:
    """Answers every connection with ``data`` without TLS, or keeps quiet."""

    def __init__(self, data: bytes | None) -> None:
        self._data = data
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                self._open.append(connection)
                if self._data is not None:
                    connection.recv(65536)
                    connection.sendall(self._data)
                    connection.close()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()


def echo(client: Client) -> bytes:
    return answer(client.echo())


def page(_client: Client) -> bytes:
    body = PAGE.format(17).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def verify_beside(
    port: int, serve: t.Callable[[Client], bytes], pki: Pki, verify_address: Verify, **options: t.Any
) -> t.Any:
    """Verify a TLS server with ``port`` as the port 80 beside it, which only root may have."""
    with pytest.MonkeyPatch.context() as patch, TlsServer(server_context(pki), serve) as server:
        patch.setattr(plain_http, "_PORT", port)
        return verify_address(server.address, checks=CHECKS, **options)


def test_workload_that_echoes_on_port_80_fails(pki: Pki, verify_address: Verify, workload: Workload) -> None:
    report = verify_beside(workload.port, echo, pki, verify_address)
    assert report.verdict == "failed", cases_text(report, "passed", "warning")
    assert "it reports the request's headers" in cases_text(report, "failed")


@pytest.mark.parametrize(
    ("data", "serve", "options", "sign"),
    [
        (answer({"id": 7, "at": "now"}), lambda _client: answer({"id": 8, "at": "then"}), {}, "the same keys"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + PAGE.format(18).encode(), page, {}, "the same content"),
        (
            answer({"name": "payroll", "more": 1}),
            lambda _client: answer({"name": "payroll"}),
            {"expect": {"name": "payroll"}},
            "meets what is expected",
        ),
    ],
)
def test_answer_of_the_workload_on_port_80_is_recognised(
    data: bytes,
    serve: t.Callable[[Client], bytes],
    options: dict[str, t.Any],
    sign: str,
    pki: Pki,
    verify_address: Verify,
) -> None:
    plain = PlainServer(data)
    report = verify_beside(plain.port, serve, pki, verify_address, **options)
    plain.stop()
    assert report.verdict == "failed", cases_text(report, "passed", "warning")
    assert outcomes(report)["MV-06"] == "failed"
    assert sign in cases_text(report, "failed")


@pytest.mark.parametrize(
    ("data", "outcome", "said"),
    [
        (OTHER, "warning", "not as the workload does"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "warning", "HTTP 502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "warning", "does not answer in HTTP"),
        (None, "warning", "no answer within 1 s"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "passed", "not served: HTTP 404"),
        (f"HTTP/1.1 301 Moved\r\nLocation: https://{HOST}/\r\n\r\n".encode(), "passed", "HTTP 301 to https"),
    ],
)
def test_somebody_else_on_port_80_is_reported_and_fails_nothing(
    data: bytes | None, outcome: str, said: str, pki: Pki, verify_address: Verify
) -> None:
    plain = PlainServer(data)
    report = verify_beside(plain.port, page, pki, verify_address, timeout=1.0)
    plain.stop()
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert outcomes(report)["MV-06"] == outcome
    assert said in cases_text(report, outcome)


def test_port_80_that_cannot_be_the_gateways_is_said_not_to_be_looked_at(pki: Pki, verify_address: Verify) -> None:
    report = verify_beside(free_port(), page, pki, verify_address)
    assert report.verdict == "passed"
    assert outcomes(report)["MV-06"] == "passed"
    assert "own port 80 was not checked: it is reached at 127.0.0.1:" in cases_text(report, "skipped")
