# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server on loopback may do to a download."""

from __future__ import annotations

import http.server
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._download import fetch
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.servers.threads import serving


class Handler(http.server.BaseHTTPRequestHandler):
    """Promises 100 bytes and gives those of the path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"x" * int(self.path.strip("/")))

    def log_message(self, _format: str, *_arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(made):
        yield f"http://127.0.0.1:{made.server_address[1]}"


def test_a_whole_file_is_returned(server: str) -> None:
    assert fetch(f"{server}/100", timeout_seconds=10) == b"x" * 100


def test_a_connection_that_ends_too_early_is_told(server: str) -> None:
    with pytest.raises(MtlsError, match=rf"{server}/10 cannot be fetched: .*90 more expected.* or name a mirror"):
        fetch(f"{server}/10", timeout_seconds=10)


def test_a_url_that_is_none_is_told(server: str) -> None:
    with pytest.raises(MtlsError, match=r"cannot be fetched: URL can't contain control characters.* Check the URL"):
        fetch(f"{server}/a b", timeout_seconds=10)


def test_a_port_that_is_none_is_told() -> None:
    with pytest.raises(MtlsError, match=r"http://127\.0\.0\.1:port/ cannot be fetched: nonnumeric port"):
        fetch("http://127.0.0.1:port/", timeout_seconds=10)
