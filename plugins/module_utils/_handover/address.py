# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a client finds the gateway, as people, curl and browsers write it."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

_CONNECT_TO = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:]+)\]|(?P<host>[0-9A-Za-z._-]+)):(?P<port>\d{1,5})")
_HOST = re.compile(r"[0-9A-Za-z._-]+")


@dataclasses.dataclass(frozen=True)
class Address:
    """A URL, and the host and port to connect to instead of the URL's when ``connect_host`` is not empty."""

    url: str
    host: str
    port: int
    connect_host: str = ""
    connect_port: int = 0

    @property
    def connect_to(self) -> str:
        """The other address as curl writes it; empty without one."""
        host = f"[{self.connect_host}]" if ":" in self.connect_host else self.connect_host
        return f"{host}:{self.connect_port}" if self.connect_host else ""

    @property
    def target(self) -> tuple[str, int]:
        """Host and port that a connection goes to."""
        return (self.connect_host, self.connect_port) if self.connect_host else (self.host, self.port)

    @property
    def path(self) -> str:
        """What is asked for on the host."""
        parts = urllib.parse.urlsplit(self.url)
        return urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))

    @property
    def browser_url(self) -> str:
        """The URL for a program that cannot connect elsewhere, so that the port is the one to connect to."""
        port = self.target[1]
        parts = urllib.parse.urlsplit(self.url)
        return urllib.parse.urlunsplit(parts._replace(netloc=self.host if port == 443 else f"{self.host}:{port}"))


def read_address(url: str, connect_to: str | None) -> Address:
    """Return what ``url`` and ``connect_to`` (``host:port``) mean. Raises MtlsError naming what is wrong."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError as exc:
        raise MtlsError(f"The url {url!r} cannot be read: {exc}.") from exc
    if not host.isascii():
        # Imported late: it costs more than all the rest, and few names need it.
        from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import a_labels  # noqa: PLC0415

        try:
            host = a_labels(host)
        except ValueError as exc:
            raise MtlsError(f"The host of the url cannot be used: {exc}.") from exc
        url = parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()
    if parts.scheme != "https" or not _HOST.fullmatch(host) or parts.username is not None or parts.fragment:
        raise MtlsError(f"The url {url!r} is not an https:// address of a host, with a path at most.")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise MtlsError(f"The url {url!r} has characters that a URL cannot have. Percent-encode them.")
    if not connect_to:
        return Address(url, host.removesuffix("."), port)
    found = _CONNECT_TO.fullmatch(connect_to)
    if not found or not 0 < int(found["port"]) < 65536:
        raise MtlsError(f"connect_to is {connect_to!r}, but must be host:port, for example 127.0.0.1:8443.")
    return Address(url, host.removesuffix("."), port, found["six"] or found["host"], int(found["port"]))
