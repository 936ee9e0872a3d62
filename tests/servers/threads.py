# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers of the standard library that answer from a thread while a block runs."""

from __future__ import annotations

import contextlib
import threading
import typing as t

if t.TYPE_CHECKING:
    import socketserver
    import ssl


@contextlib.contextmanager
def serving(server: socketserver.BaseServer, context: ssl.SSLContext | None = None) -> t.Iterator[None]:
    """Have ``server`` answer meanwhile; with ``context`` it speaks TLS."""
    with server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
