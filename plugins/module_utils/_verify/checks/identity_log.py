# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What went to a workload that reports nothing: the line of a request of our own in Envoy's access log."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.identity_headers import Echo

_LONGEST_SECONDS = 5.0
_LEAST_SECONDS = 0.5
_PAUSE_SECONDS = 0.05
#: of each file; a request's line is among the last
_TAIL_BYTES = 1_000_000


class IdentityLog:
    """Finds requests in the log at ``path``, also when it has just been rotated."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._patience = _LONGEST_SECONDS
        self._found: dict[str, Echo | None] = {}

    def echo(self, nonce: str) -> Echo | None:
        """Return the headers of the request with ``nonce``, empty where it had none; None when no line tells.

        Waits for the line, which Envoy writes some time after its answer.
        """
        if nonce not in self._found:
            self._found[nonce] = self._await(nonce)
        return self._found[nonce]

    def _await(self, nonce: str) -> Echo | None:
        deadline = time.monotonic() + self._patience
        while not (lines := self._lines(nonce)):
            if time.monotonic() > deadline:
                # Where one line is missing, others are not waited for as long.
                self._patience = _LEAST_SECONDS
                return None
            time.sleep(_PAUSE_SECONDS)
        self._patience = _LONGEST_SECONDS
        # One request has one line: with two, somebody else has written one.
        return _read(lines[0], nonce) if len(lines) == 1 else None

    def _lines(self, nonce: str) -> list[bytes]:
        found = []
        for path in (self.path.with_name(f"{self.path.name}.1"), self.path):
            data = _tail(path)
            if nonce.encode() in data:
                # The last one may be only half-written.
                found += [line for line in data.split(b"\n")[:-1] if nonce.encode() in line and line.startswith(b"{")]
        return list(dict.fromkeys(found))


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read(_TAIL_BYTES)
    except OSError:
        return b""


def _read(line: bytes, nonce: str) -> Echo | None:
    """Return the headers in ``line``, when it says of this request that it went to the workload."""
    try:
        document: t.Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("nonce") != nonce or not document.get("upstream"):
        return None
    headers = document.get("headers")
    if not isinstance(headers, dict) or not all(value is None or isinstance(value, str) for value in headers.values()):
        return None
    return {name.lower(): [] if value is None else [value] for name, value in headers.items()}
