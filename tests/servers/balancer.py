# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A balancer of TCP connections in front of several servers: in turn, or by chance."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import threading
import typing as t


class Balancer:
    """Hands each connection to one of ``addresses``; a context manager. ``seed``: by chance, else in turn."""

    def __init__(self, addresses: t.Sequence[str], *, seed: int | None = None) -> None:
        self._addresses = [(host, int(port)) for host, _colon, port in (one.rpartition(":") for one in addresses)]
        chance = random.Random(seed)  # noqa: S311  (a test's reproducible chance)
        self._next: t.Iterator[int] = (
            itertools.cycle(range(len(addresses)))
            if seed is None
            else iter(lambda: chance.randrange(len(addresses)), -1)
        )
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._open: set[socket.socket] = set()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.met = [0] * len(addresses)

    def __enter__(self) -> t.Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                number = next(self._next)
                self.met[number] += 1
                try:
                    server = socket.create_connection(self._addresses[number])
                except OSError:
                    client.close()
                    continue
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open |= {client, server}
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._open.discard(source)
