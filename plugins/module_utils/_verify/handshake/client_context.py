# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One TLS context of one client for connections of every version and protocol.

To make a context is expensive (keys and CAs are parsed again), and OpenSSL copies what it says of versions and of ALPN
into a connection when that is made. So these are set for each connection, under a lock, and the context is used again.
"""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.handshake_messages import watch

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class HttpOffer:
    """What a client offers by ALPN; ``is_http_2``: what it speaks where nothing was agreed on (prior knowledge)."""

    alpn: tuple[str, ...]
    is_http_2: bool = False

    def __str__(self) -> str:
        offered = f"ALPN {' and '.join(self.alpn)}" if self.alpn else "no ALPN"
        return f"{offered}, HTTP/2" if self.is_http_2 else offered


HTTP_1, HTTP_2, BOTH = HttpOffer(("http/1.1",)), HttpOffer(("h2",)), HttpOffer(("h2", "http/1.1"))
NO_ALPN, HTTP_2_WITHOUT_ALPN = HttpOffer(()), HttpOffer((), is_http_2=True)


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
        alpn: tuple[str, ...],
        server_name: str | None,
        session: ssl.SSLSession | None,
    ) -> ssl.SSLObject:
        """Return a connection that offers ``version`` (None: 1.2 and later) and the protocols ``alpn``.

        OpenSSL 1.1.1 cannot take ALPN back: a context offers it always or never.
        """
        with self._lock:
            if self._offered != (version, alpn):
                self.ssl.minimum_version = VERSIONS[version] if version else ssl.TLSVersion.TLSv1_2
                self.ssl.maximum_version = VERSIONS[version] if version else self._highest
                if alpn:
                    self.ssl.set_alpn_protocols(list(alpn))
                self._offered = (version, alpn)
            return self.ssl.wrap_bio(incoming, outgoing, server_hostname=server_name, session=session)
