# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual hosts that share their sessions, of which one asks for no certificate (as in CVE-2025-23419)."""

from __future__ import annotations

import socket
import ssl
import threading
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.servers.pki import HOST, Pki
from ansible_collections.kyma.mtls.tests.servers.tls_server import Client, TlsServer, answer, server_context
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

SESSIONS = ["MV-05", "MV-23"]


class VirtualHosts(TlsServer):
    """Its own host needs a certificate; the host ``open_name`` does not, and answers ``elsewhere``."""

    def __init__(self, pki: Pki, *, open_name: bytes | None, elsewhere: bytes | None, shared: bool = True) -> None:
        super().__init__(server_context(pki), self._answer)
        self._lock = threading.Lock()
        self._open_name, self._elsewhere = open_name, elsewhere
        self._others = self.context if shared else server_context(pki)

    def shake_hands(self, connection: socket.socket) -> ssl.SSLSocket:
        hello = connection.recv(4096, socket.MSG_PEEK)
        name = HOST.encode() in hello
        is_open = not name if self._open_name is None else self._open_name in hello
        context = self._others if is_open else self.context
        with self._lock:
            context.verify_mode = ssl.CERT_NONE if is_open else ssl.CERT_REQUIRED
            tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        tls.do_handshake()
        # The name that OpenSSL reports of a resumed session is that of the first handshake.
        tls.is_open = is_open  # type: ignore[attr-defined]
        return tls

    def _answer(self, client: Client) -> bytes | None:
        if client.tls.is_open:  # type: ignore[attr-defined]
            return self._elsewhere
        return answer(client.echo()) if client.header("Host") == HOST else answer(status="421 Misdirected Request")


@pytest.mark.parametrize("open_name", [None, b"elsewhere.", b"unrelated."], ids=["all", "neighbour", "stranger"])
@pytest.mark.parametrize("elsewhere", [answer(status="404 Not Found"), None], ids=["404", "silent"])
def test_session_of_an_open_virtual_host_is_tried_at_the_protected_one(
    open_name: bytes | None, elsewhere: bytes | None, pki: Pki, verify_address: Verify
) -> None:
    with VirtualHosts(pki, open_name=open_name, elsewhere=elsewhere) as server:
        report = verify_address(server.address, checks=SESSIONS)
    assert report.verdict == "failed", cases_text(report, "passed")
    for version in ("TLSv1.2", "TLSv1.3"):
        assert f"without a certificate, {version}: a session made under" in cases_text(report, "failed")


@pytest.mark.parametrize("elsewhere", [answer(status="404 Not Found"), None], ids=["404", "silent"])
def test_open_virtual_host_with_sessions_of_its_own_passes(
    elsewhere: bytes | None, pki: Pki, verify_address: Verify
) -> None:
    with VirtualHosts(pki, open_name=None, elsewhere=elsewhere, shared=False) as server:
        report = verify_address(server.address, checks=SESSIONS)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert outcomes(report)["MV-05"] == "passed"
    assert "refused with alert" in cases_text(report, "passed")


def test_every_client_that_gets_a_session_elsewhere_is_tried(pki: Pki, verify_address: Verify) -> None:
    with VirtualHosts(pki, open_name=None, elsewhere=None) as server:
        report = verify_address(server.address, checks=SESSIONS)
    assert "with a certificate of another CA, TLSv1.3" in cases_text(report, "failed")


def test_server_without_sessions_passes(pki: Pki, verify_address: Verify) -> None:
    context = server_context(pki)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    with TlsServer(context, lambda client: answer(client.echo())) as server:
        report = verify_address(server.address, checks=SESSIONS)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
