# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One TLS context of one client for connections of every version and protocol.

To make a context is expensive (keys and CAs are parsed again), and OpenSSL copies what it says of versions and of ALPN
into a connection when that is made. So these are set for each connection, under a lock, and the context is used again.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ssl
import threading

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.handshake_messages import watch

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
HTTP_1, HTTP_2 = ("http/1.1",), ("h2",)


class ClientContext:
    """A client context that is the same on every Python: no strict extras, no CN fallback, TLS 1.2 or later."""

    def __init__(self, *, watched: bool = True) -> None:
        self.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if watched:
            watch(self.ssl)
        # As curl does: some servers ask for the certificate only when they have read the request.
        self.ssl.post_handshake_auth = True
        self._highest = self.ssl.maximum_version
        self._offered: tuple[str | None, tuple[str, ...]] | None = None
        self._lock = threading.Lock()

    def begin(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        *,
        version: str | None,
        protocols: tuple[str, ...],
        server_name: str | None,
        session: ssl.SSLSession | None,
    ) -> ssl.SSLObject:
        """Return a connection that offers ``version`` (None: 1.2 and later) and, by ALPN, ``protocols``.

        OpenSSL 1.1.1 cannot take ALPN back: a context offers it always or never.
        """
        with self._lock:
            if self._offered != (version, protocols):
                self.ssl.minimum_version = VERSIONS[version] if version else ssl.TLSVersion.TLSv1_2
                self.ssl.maximum_version = VERSIONS[version] if version else self._highest
                if protocols:
                    self.ssl.set_alpn_protocols(list(protocols))
                self._offered = (version, protocols)
            return self.ssl.wrap_bio(incoming, outgoing, server_hostname=server_name, session=session)
