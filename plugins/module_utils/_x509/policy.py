# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the caller requires of a chain, and how far the engine may go to find one."""

from __future__ import annotations

import dataclasses
import typing as t

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

DEFAULT_MAX_DEPTH = 8


@dataclasses.dataclass(frozen=True)
class Limits:
    """The bounds of one search, as counts so that the same input always gives the same answer.

    ``signatures`` are signature checks (giant RSA keys count more), ``steps`` are visits of the path search,
    ``length`` is the number of certificates above the leaf.
    """

    signatures: int = 20000
    steps: int = 150000
    length: int = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """The requirements: when, for what, for which names, by which rules."""

    now: datetime.datetime
    purpose: str = "server"
    profile: str = "rfc5280"
    hostnames: tuple[str, ...] = ()
    max_depth: int = DEFAULT_MAX_DEPTH
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    require_crl: bool = False
    allow_partial: bool = False
    limits: Limits = dataclasses.field(default_factory=Limits)

    @property
    def webpki(self) -> bool:
        return self.profile == "webpki"
