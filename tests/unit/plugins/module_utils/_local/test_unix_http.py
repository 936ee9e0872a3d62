# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP over a Unix socket."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import pathlib
import socket
import socketserver
import threading
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._local import unix_http
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.running import short_directory


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the status in the path, and with the path."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_arguments: t.Any) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"


@contextlib.contextmanager
def server() -> t.Iterator[pathlib.Path]:
    with short_directory() as directory, socketserver.UnixStreamServer(str(directory / "s"), Answers) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield directory / "s"
        finally:
            made.shutdown()
            thread.join()


def test_answer_is_returned() -> None:
    with server() as path:
        assert unix_http.get(path, "/200") == b"/200"


def test_other_status_is_no_answer() -> None:
    with server() as path, pytest.raises(http.client.HTTPException, match="GET /503: HTTP 503"):
        unix_http.get(path, "/503")


def test_missing_socket_is_an_os_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        unix_http.get(tmp_path / "s", "/")


def test_silent_process_does_not_hang() -> None:
    with short_directory() as directory, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(directory / "s"))
        silent.listen()
        with pytest.raises(TimeoutError):
            unix_http.get(directory / "s", "/", timeout=0.1)
