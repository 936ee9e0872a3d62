# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports for tests that run beside others: other workers, other Pythons, other checkouts."""

from __future__ import annotations

import contextlib
import os
import socket

# Below what Linux and macOS give to whoever asks for any port, so nobody gets one of these by chance.
_FIRST, _LAST = 20000, 29999


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on.

    No other call gives it, in any process, while this process lives: it holds the UDP port of the same number, which
    stands in nobody's way.
    """
    count = _LAST - _FIRST + 1
    for attempt in range(count):
        port = _FIRST + (os.getpid() * 61 + attempt) % count
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            reservation = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            reservation.bind(("127.0.0.1", port))
            probe = stack.enter_context(socket.socket())
            # As servers do: a connection that has just ended does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            reservation.detach()  # held until the process ends
            return port
    raise AssertionError(f"every port from {_FIRST} to {_LAST} is taken")
