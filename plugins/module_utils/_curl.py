# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place that builds curl commands, every word of them quoted for the shell.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ipaddress
import shlex
import typing as t
import urllib.parse


class ShellText(str):
    """A word that is shell syntax already, such as ``"$here/client.key"``; it is not quoted again."""

    __slots__ = ()


def join(words: t.Iterable[str]) -> str:
    """Return ``words`` as one line of shell."""
    return " ".join(word if isinstance(word, ShellText) else shlex.quote(word) for word in words)


def curl(
    url: str | None,
    *,
    options: t.Sequence[str] = (),
    connect_to: str = "",
    ca: str = "",
    certificate: str = "",
    key: str = "",
    p12: str = "",
    method: str = "GET",
) -> str:
    """Return a curl command that can be pasted into a shell; without ``url`` only its beginning.

    ``connect_to`` is the host:port that the connection goes to instead of the URL's.
    """
    words = ["curl", *options]
    if connect_to:
        words += ["--connect-to", f"::{connect_to}"]
    if _is_loopback(connect_to, url):
        words += ["--noproxy", "*"]
    if ca:
        words += ["--cacert", ca]
    if p12:
        # curl asks for the password; a command line is no place for it.
        words += ["--cert-type", "P12", "--cert", _escaped(p12)]
    elif certificate:
        words += ["--cert", _escaped(certificate), "--key", key]
    if method != "GET":
        words += ["--request", method]
    if url is not None:
        # curl would take these for lists and ranges of URLs.
        words += ["--globoff", url] if set(url) & set("[]{}") else [url]
    return join(words)


def _escaped(path: str) -> str:
    """In --cert, curl takes what follows a colon for a passphrase."""
    return path if isinstance(path, ShellText) else path.replace("\\", "\\\\").replace(":", "\\:")


def _is_loopback(connect_to: str, url: str | None) -> bool:
    """Whether the connection stays on this machine, where no proxy helps."""
    host = urllib.parse.urlsplit(f"//{connect_to}" if connect_to else url or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
