# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command again and again, and serve the metrics that it writes: the process of the monitor's pod.

A pod that stays, and no CronJob: Prometheus scrapes what runs, and a CronJob's pod is gone before it comes by.
Standard library only, so that an image needs nothing for it.
"""

from __future__ import annotations

import argparse
import http.server
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: So many intervals without a finished run, and the pod is no longer healthy.
_LATE_INTERVALS = 3


class Loop:
    """Runs ``command`` every ``seconds``; a run that takes longer than that is not started twice."""

    def __init__(self, command: t.Sequence[str], *, seconds: float) -> None:
        self._command = list(command)
        self._seconds = seconds
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._finished = time.monotonic()

    @property
    def is_healthy(self) -> bool:
        """Whether a run has finished lately, whatever its verdict was."""
        return time.monotonic() - self._finished < _LATE_INTERVALS * self._seconds

    def run(self) -> None:
        """Run until :meth:`end`; returns soon after it."""
        while not self._ended.is_set():
            started = time.monotonic()
            self._process = subprocess.Popen(self._command)  # noqa: S603  (the command is this program's own argument)
            self._process.wait()
            self._finished = time.monotonic()
            self._ended.wait(max(0.0, started + self._seconds - time.monotonic()))

    def end(self) -> None:
        """End the loop, and the run that is under way."""
        self._ended.set()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def make_server(address: tuple[str, int], directory: Path, loop: Loop) -> http.server.ThreadingHTTPServer:
    """Return a server of /metrics, all files *.prom in ``directory``, and /healthz."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, b"".join(path.read_bytes() for path in sorted(directory.glob("*.prom"))))
            elif self.path == "/healthz":
                self._answer(*(200, b"ok\n") if loop.is_healthy else (503, b"no verification has finished lately\n"))
            else:
                self._answer(404, b"there is /metrics and /healthz\n")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", _CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002  (the name that http.server gives)
            """Requests every few seconds would drown what the verification says."""

    return http.server.ThreadingHTTPServer(address, Handler)


def main(arguments: t.Sequence[str] | None = None) -> None:
    """Run the program until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="serve", description="Run a verification regularly and serve its metrics.")
    parser.add_argument("--listen", default="0.0.0.0", help="address to listen on")  # noqa: S104  (a pod's port)
    parser.add_argument("--port", type=int, default=9464, help="port to listen on")
    parser.add_argument("--every", type=float, required=True, metavar="SECONDS", help="seconds from start to start")
    parser.add_argument("--metrics", type=Path, required=True, metavar="DIRECTORY", help="directory with *.prom files")
    parser.add_argument("command", nargs="+", help="the command to run")
    given = parser.parse_args(arguments)
    loop = Loop(given.command, seconds=given.every)
    server = make_server((given.listen, given.port), given.metrics, loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.end())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    loop.run()
    server.shutdown()


if __name__ == "__main__":
    main()
