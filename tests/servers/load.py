# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A constant load of good clients on a gateway, on new and on kept connections, with every failure counted.

Run as a program it goes on until a file appears, and then prints what it counted as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from pathlib import Path

TIMEOUT_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where the gateway is, and the files of a good client."""

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path


@dataclasses.dataclass
class Counted:
    """What happened: requests by kind, and failures by their words."""

    requests: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: Counter[str] = dataclasses.field(default_factory=Counter)
    serials: set[str] = dataclasses.field(default_factory=set)

    def to_dict(self) -> dict[str, object]:
        return {
            "total": sum(self.requests.values()),
            "failed": sum(self.failures.values()),
            "requests": dict(self.requests),
            "failures": dict(self.failures),
            "server_certificates": len(self.serials),
        }


class Load:
    """Clients that ask without end until they are stopped."""

    def __init__(self, endpoint: Endpoint, *, new: int = 3, pinned: int = 1, kept: int = 2, pause: float = 0) -> None:
        """``pause``: seconds that each client waits between its requests."""
        self.endpoint = endpoint
        self._pause = pause
        self.counted = Counted()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        # A client that was given the root CA once, and is not told of any other.
        self._root = endpoint.ca.read_text()
        jobs = [("new", self._ask_anew)] * new + [("pinned", self._ask_pinned)] * pinned + [("kept", self._keep)] * kept
        self._threads = [threading.Thread(target=self._run, args=job, daemon=True) for job in jobs]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> Counted:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.counted

    @property
    def total(self) -> int:
        with self._lock:
            return sum(self.counted.requests.values())

    def _run(self, kind: str, job: object) -> None:
        while not self._stop.is_set():
            try:
                job(kind)  # type: ignore[operator]
            except (OSError, http.client.HTTPException, ValueError) as exc:
                self._count(kind, f"{kind}: {type(exc).__name__}: {exc}")
                time.sleep(0.01)
            self._stop.wait(self._pause)

    def _count(self, kind: str, failure: str | None = None, certificate: bytes | None = None) -> None:
        with self._lock:
            self.counted.requests[kind] += 1
            if failure is not None:
                self.counted.failures[failure] += 1
            if certificate is not None:
                self.counted.serials.add(certificate.hex())

    def _ask_anew(self, kind: str) -> None:
        self._once(kind, None)

    def _ask_pinned(self, kind: str) -> None:
        self._once(kind, self._root)

    def _once(self, kind: str, root: str | None) -> None:
        connection, certificate = self._connect(root)
        try:
            self._ask(connection, kind, certificate)
        finally:
            connection.close()

    def _keep(self, kind: str) -> None:
        connection, certificate = self._connect(None)
        try:
            # Without a socket the server closed it with its answer; the next one is a connection of its own.
            while connection.sock is not None and not self._stop.is_set():
                self._ask(connection, kind, certificate)
                self._stop.wait(max(self._pause, 0.002))
        finally:
            connection.close()

    def _connect(self, root: str | None) -> tuple[http.client.HTTPConnection, bytes | None]:
        """Return a connection and the server's certificate, as DER."""
        where = self.endpoint
        context = ssl.create_default_context(cafile=None if root else str(where.ca), cadata=root)
        context.load_cert_chain(where.certificate, where.key)
        connection = http.client.HTTPConnection(where.host, timeout=TIMEOUT_SECONDS)
        plain = socket.create_connection(("127.0.0.1", where.port), timeout=TIMEOUT_SECONDS)
        try:
            encrypted = context.wrap_socket(plain, server_hostname=where.host)
        except BaseException:
            plain.close()
            raise
        connection.sock = encrypted
        return connection, encrypted.getpeercert(binary_form=True)

    def _ask(self, connection: http.client.HTTPConnection, kind: str, certificate: bytes | None) -> None:
        connection.request("GET", "/status/200")
        answer = connection.getresponse()
        answer.read()
        self._count(kind, None if answer.status == 200 else f"{kind}: HTTP {answer.status}", certificate)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--client", default="curl")
    parser.add_argument("--host", default="httpbin.mtls.local.kyma.dev")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that each client waits between its requests")
    parser.add_argument("--until", type=Path, required=True, help="stop when this file appears")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after this time at the latest")
    options = parser.parse_args()
    client = options.home / "pki" / "client" / "clients" / options.client
    endpoint = Endpoint(
        options.host,
        options.port,
        options.home / "pki" / "server" / "ca.crt",
        client / "client-chain.pem",
        client / "client.key",
    )
    load = Load(endpoint, pause=options.pause)
    load.start()
    end = time.monotonic() + options.seconds
    while not options.until.exists() and time.monotonic() < end:
        time.sleep(0.1)
    counted = load.stop()
    print(json.dumps(counted.to_dict(), indent=2))
    return 1 if counted.failures else 0


if __name__ == "__main__":
    sys.exit(main())
