# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which one server can be reached: TLS version, ALPN and SNI.

A gateway picks its rules by them, so a bad client is tried in every way in which the good one is served.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.names import UNKNOWN_NAME, sibling_of
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_1, VERSIONS
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

# Beside the suites that everybody gets: servers have a certificate for each kind of key, and settings that hang on it.
_SUITES = ("aRSA", "aECDSA", "kRSA")
_MAXIMUM_NAMES = 16
_PROTOCOLS: tuple[tuple[str, ...], ...] = (HTTP_1, ("h2",), ())


@dataclass(frozen=True)
class Way:
    """One way to connect. ``server_name`` is what SNI says: "" for the target's own name, None for no SNI.

    ``suites`` are OpenSSL's names of what is offered, "" for the usual ones. ``is_rare``: not every client is tried so.
    """

    version: str
    protocols: tuple[str, ...] = HTTP_1
    server_name: str | None = ""
    suites: str = ""
    is_rare: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether this is how everybody connects: HTTP/1.1 under the server's own name."""
        return self.protocols == HTTP_1 and self.server_name == "" and not self.suites

    def __str__(self) -> str:
        parts = [self.version]
        if self.protocols != HTTP_1:
            parts.append(f"ALPN {self.protocols[0]}" if self.protocols else "no ALPN")
        if self.server_name is None:
            parts.append("no SNI")
        elif self.server_name:
            parts.append(f"SNI {self.server_name}")
        if self.suites:
            parts.append(f"suites {self.suites}")
        return ", ".join(parts)

    def attempt(self, inspection: Inspection, identity: Identity | None) -> Observation:
        """Connect in this way as ``identity``."""
        inspection = inspection.offering(self.suites) if self.suites else inspection
        return inspection.attempt(
            identity,
            version=self.version,
            alpn=self.protocols,
            server_name=self.server_name,
            may_hang=not self.is_plain,
        )


def all_ways(host: str, certificate_names: t.Iterable[str] = ()) -> list[Way]:
    """Return every way to try at ``host``, the plain ones first; ``certificate_names`` are those of its certificate."""
    names: list[str | None] = [""]
    if parse_ip(host) is None:
        names += [None, UNKNOWN_NAME, sibling_of(host)]
    found = [Way(*combination) for combination in itertools.product(VERSIONS, _PROTOCOLS, names)]
    found += [Way("TLSv1.2", suites=suites, is_rare=True) for suites in _SUITES]
    others = [name for name in dict.fromkeys(certificate_names) if name not in {host, *names} and "*" not in name]
    found += [
        Way(version, server_name=name, is_rare=True)
        for version, name in itertools.product(VERSIONS, others[:_MAXIMUM_NAMES])
        if len(names) > 1
    ]
    return sorted(found, key=lambda way: not way.is_plain)
