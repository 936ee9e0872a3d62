# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client can offer one server: TLS version, ALPN and SNI.

A gateway picks its rules by them, so a bad client is tried with every offer with which the good one is served.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.names import UNKNOWN_NAME, sibling_of
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import (
    BOTH,
    HTTP_1,
    HTTP_2,
    NO_ALPN,
    VERSIONS,
    HttpOffer,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Headers, Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

# Beside the suites that everybody gets: servers have a certificate for each kind of key, and settings that hang on it.
_SUITES = ("aRSA", "aECDSA", "kRSA")
MAXIMUM_NAMES = 16


@dataclass(frozen=True)
class TlsOffer:
    """One offer of a client. ``server_name`` is what SNI says: "" for the target's own name, None for no SNI.

    ``usual`` is how the good client connects: by HTTP/1.1 where that is spoken. ``suites`` are OpenSSL's names of what
    is offered, "" for the usual ones. ``is_rare``: not every client is tried so.
    """

    version: str
    http: HttpOffer = HTTP_1
    server_name: str | None = ""
    suites: str = ""
    is_rare: bool = False
    usual: HttpOffer = HTTP_1

    @property
    def is_plain(self) -> bool:
        """Whether this is how everybody connects: in the usual HTTP, under the server's own name."""
        return self.http == self.usual and self.server_name == "" and not self.suites

    def __str__(self) -> str:
        parts = [self.version]
        if self.http != HTTP_1:
            parts.append(str(self.http))
        if self.server_name is None:
            parts.append("no SNI")
        elif self.server_name:
            parts.append(f"SNI {self.server_name}")
        if self.suites:
            parts.append(f"suites {self.suites}")
        return ", ".join(parts)

    def attempt(
        self, inspection: Inspection, identity: Identity | None, *, verified: bool = False, headers: Headers = ()
    ) -> Observation:
        """Connect with this offer as ``identity``. An attacker need not verify the server."""
        inspection = inspection.offering(self.suites) if self.suites else inspection
        return inspection.attempt(
            identity,
            version=self.version,
            offer=self.http,
            server_name=self.server_name,
            verified=verified,
            headers=headers,
            may_hang=not self.is_plain,
        )


def all_offers(host: str, other_names: t.Iterable[str] = (), usual: HttpOffer = HTTP_1) -> list[TlsOffer]:
    """Return every offer to try at ``host``, the plain ones first; ``other_names`` are those of other sites."""
    http_offers = dict.fromkeys((HTTP_1, HTTP_2, NO_ALPN, usual))
    names: list[str | None] = [""]
    if parse_ip(host) is None:
        names += [None, UNKNOWN_NAME, sibling_of(host)]
    found = [
        TlsOffer(version, http, name, usual=usual)
        for version, http, name in itertools.product(VERSIONS, http_offers, names)
    ]
    found += [TlsOffer("TLSv1.2", usual, suites=suites, is_rare=True, usual=usual) for suites in _SUITES]
    found += [TlsOffer(version, BOTH, is_rare=True, usual=usual) for version in VERSIONS]
    # Names are the same in capitals (RFC 6066 section 3), but not for everybody who compares them.
    candidates = dict.fromkeys((host.upper(), *other_names))
    others = [name for name in candidates if name not in {host, *names} and "*" not in name]
    found += [
        TlsOffer(version, usual, server_name=name, is_rare=True, usual=usual)
        for version, name in itertools.product(VERSIONS, others[:MAXIMUM_NAMES])
        if len(names) > 1
    ]
    return sorted(found, key=lambda offer: not offer.is_plain)
