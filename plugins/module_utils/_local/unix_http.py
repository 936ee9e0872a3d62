# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP to a process of the local platform over its Unix socket: supervisor's XML-RPC and Envoy's admin interface."""

from __future__ import annotations

import http.client
import socket
import typing as t
import xmlrpc.client
from pathlib import Path


class UnixHTTPConnection(http.client.HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class UnixTransport(xmlrpc.client.Transport):
    """The transport for xmlrpc.client.ServerProxy."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: t.Any) -> http.client.HTTPConnection:  # noqa: ARG002  (the base class's signature)
        return UnixHTTPConnection(self._path, timeout=self._timeout)


def get(path: Path, target: str, *, timeout: float = 5.0) -> bytes:
    """Return the body of ``GET target`` over the socket ``path``.

    Raises OSError or http.client.HTTPException when there is no good answer.
    """
    connection = UnixHTTPConnection(path, timeout=timeout)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"GET {target}: HTTP {response.status}")
    return body
