# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wherever a page, a scenario or a variable's documentation shows curl how to connect, the real curl gets there."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.unit.docs import pages

WAYS = re.compile(r"""--(connect-to|resolve)[ =]['"]?((?:\{\{[^}]*\}\}|[^\s'"`)}|]|\[[^]]*\])+)""")
PLACES = ("*.md", "docs/*.md", "roles/*/README.md", "roles/*/meta/*.yml", "molecule/**/*.yml", "plugins/modules/*.py")


def shown() -> list[tuple[str, str, str]]:
    """Place, option and value of every way to connect; prose that only names the option has no value with a colon."""
    return sorted(
        {
            (path.relative_to(pages.ROOT).as_posix(), option, value)
            for pattern in PLACES
            for path in pages.ROOT.glob(pattern)
            for option, value in WAYS.findall(path.read_text(encoding="utf-8"))
            if ":" in value
        }
    )


@pytest.fixture(scope="module")
def port() -> t.Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def connects(option: str, value: str, port: int) -> bool:
    curl = str(shutil.which("curl"))
    command = [curl, "--disable", "--noproxy", "*", "--silent", "--max-time", "20", "--output", "/dev/null"]
    # Without that way the name leads nowhere, so an answer comes from it alone.
    done = subprocess.run(
        [*command, f"--{option}", value, f"http://httpbin.mtls.invalid:{port}/"], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize(("place", "option", "value"), shown())
def test_curl_gets_to_where_a_page_says(place: str, option: str, value: str, port: int) -> None:
    assert (pages.ROOT / Path(place)).is_file()
    # Where it leads is this test's server; for whom stays as it is shown, but for the host and the port of the URL.
    where = rf"127.0.0.1:{port}" if option == "connect-to" else "127.0.0.1"
    here = re.sub(r"[^:]*:[^:]*$" if option == "connect-to" else r"[^:]*$", where, value)
    here = here.replace("httpbin.mtls.local.kyma.dev", "httpbin.mtls.invalid")
    here = re.sub(r"^([^:]*):(443|8443):", rf"\1:{port}:", here)
    assert connects(option, here, port), f"curl does not understand {value} ({here})"


def test_curl_knows_no_star_for_any_host(port: int) -> None:
    """What pages must not show."""
    assert connects("connect-to", f"::127.0.0.1:{port}", port)
    assert not connects("connect-to", f"*:{port}:127.0.0.1:{port}", port)
