# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A name server on loopback: every name is 127.0.0.1, and TXT records are set by dynamic updates (RFC 2136)."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import typing as t

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update

KEY_NAME, KEY_SECRET = "acme-key.", "c2VjcmV0LW9mLXRoZS16b25lLTEyMzQ1Njc4OTA="


ZONES = ("kyma.dev.", "example.com.")


class NameServer:
    """The records of all names, and how often they were updated."""

    def __init__(self) -> None:
        self.txt: dict[str, list[str]] = {}
        self.updates = 0
        self.seen: set[str] = set()
        self.port = 0

    def answer(self, wire: bytes) -> bytes:
        keyring = dns.tsigkeyring.from_text({KEY_NAME: KEY_SECRET})
        try:
            question = dns.message.from_wire(wire, keyring=keyring)
        except (dns.exception.DNSException, ValueError):
            return self._refusal(wire)
        reply = dns.message.make_response(question)
        if question.opcode() == dns.opcode.UPDATE:
            if not question.had_tsig:
                reply.set_rcode(dns.rcode.REFUSED)
            else:
                self._update(t.cast("dns.update.UpdateMessage", question), reply)
        else:
            self._look_up(question, reply)
        return reply.to_wire()

    @staticmethod
    def _refusal(wire: bytes) -> bytes:
        """NOTAUTH, as a server answers a key that it does not know."""
        return wire[:2] + bytes([0xA8, dns.rcode.NOTAUTH]) + bytes(8)

    def _update(self, question: dns.update.UpdateMessage, reply: dns.message.Message) -> None:
        zone = question.zone[0].name
        if zone.to_text() not in ZONES:
            reply.set_rcode(dns.rcode.NOTZONE)
            return
        self.updates += 1
        for change in question.update:
            name = change.name.derelativize(zone).to_text().lower()
            values = ["".join(part.decode() for part in item.strings) for item in change]
            present = self.txt.setdefault(name, [])
            if change.deleting == dns.rdataclass.NONE:
                self.txt[name] = [value for value in present if value not in values]
            elif change.deleting == dns.rdataclass.ANY:
                self.txt[name] = []
            else:
                present += [value for value in values if value not in present]
                self.seen.add(name)

    def _look_up(self, question: dns.message.Message, reply: dns.message.Message) -> None:
        reply.flags |= dns.flags.AA | dns.flags.RA
        (asked,) = question.question
        name = asked.name.to_text().lower()
        if asked.rdtype == dns.rdatatype.A:
            reply.answer.append(dns.rrset.from_text(asked.name, 1, "IN", "A", "127.0.0.1"))
        elif asked.rdtype == dns.rdatatype.TXT and self.txt.get(name):
            texts = [f'"{value}"' for value in self.txt[name]]
            reply.answer.append(dns.rrset.from_text(asked.name, 1, "IN", "TXT", *texts))


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


class _Tcp(socketserver.ThreadingTCPServer):
    # Who asked by TCP may keep the connection.
    daemon_threads = True


def _bind(
    udp: type[socketserver.BaseRequestHandler], tcp: type[socketserver.BaseRequestHandler]
) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
    """Listen by UDP and TCP on one port that nobody has."""
    for _attempt in range(100):
        by_udp = _Udp(("127.0.0.1", 0), udp)
        try:
            return by_udp, _Tcp(("127.0.0.1", by_udp.server_address[1]), tcp)
        except OSError:
            by_udp.server_close()
    raise AssertionError("no port is free for both UDP and TCP")


@contextlib.contextmanager
def running() -> t.Iterator[NameServer]:
    """Answer by UDP and TCP on one port until the block ends."""
    names = NameServer()

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            socket.sendto(names.answer(data), self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length = int.from_bytes(self.rfile.read(2), "big")
            answer = names.answer(self.rfile.read(length))
            self.wfile.write(len(answer).to_bytes(2, "big") + answer)

    udp, tcp = _bind(Udp, Tcp)
    names.port = udp.server_address[1]
    with udp, tcp:
        for server in (udp, tcp):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield names
        finally:
            udp.shutdown()
            tcp.shutdown()
