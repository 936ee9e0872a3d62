# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a caller demands of one side of a PKI, and which part of it each state takes care of.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._pki import rotation

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.authority import Authority
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.placement import Placement

PRESENT, PREPARED, SWITCHED, FINISHED, REVOKED = "present", "prepared", "switched", "finished", "revoked"


@dataclasses.dataclass(frozen=True)
class Demand:
    """What the module's caller asks for.

    ``authorities`` are the root and, if there is to be one, the intermediate below it; none when finished certificates
    are provided. ``permitted_variable`` names what the caller sets, for messages.
    """

    usage: str
    directory: Path
    state: str
    authorities: tuple[Authority, ...]
    passphrase: str | None
    certificates: tuple[t.Mapping[str, t.Any], ...]
    hostnames: tuple[str, ...]
    include_root: bool
    grace_days: int
    crl_days: int
    crl_refresh_before: int
    revoke: tuple[str, ...]
    rekey: tuple[str, ...]
    concurrency: int | None
    check_mode: bool
    provided: Placement | None = None
    permitted_variable: str = "permitted_names"

    @property
    def is_client(self) -> bool:
        return self.usage == "client"

    @property
    def issuer(self) -> str:
        """The start of the names of the files of the CA that issues."""
        return self.authorities[-1].basename if self.authorities else "ca"

    @property
    def is_issuing(self) -> bool:
        """Whether there is a CA here that issues; otherwise finished certificates are provided."""
        return bool(self.authorities)

    @property
    def bundle(self) -> Path:
        return self.directory / "ca-bundle.crt"

    @property
    def register(self) -> Path | None:
        return self.directory / "issued.jsonl" if self.is_client else None

    @property
    def is_or_would(self) -> str:
        """The verb of what is done, which in check mode is only said."""
        return "would be" if self.check_mode else "is"

    @property
    def has_lists(self) -> bool:
        """Whether revocation lists are kept: those of the clients' CAs."""
        return self.is_client and self.is_issuing and self.state != SWITCHED

    def has_leaves(self, *, is_preparing: bool) -> bool:
        """Whether certificates are issued: a client gets none of a CA that is not in use yet, the server does."""
        if not self.is_issuing:
            return False
        if self.is_client:
            return self.state in {PRESENT, SWITCHED} or (self.state == REVOKED and bool(self.rekey))
        return self.state in {PRESENT, SWITCHED, FINISHED} or is_preparing

    def rotation(self, state: str, *, check_mode: bool) -> rotation.Options:
        """The options of one step of the CA's rotation."""
        return rotation.Options(
            directory=self.directory,
            state=state,
            bundle=self.bundle if self.is_client else None,
            is_cross_signed=not self.is_client,
            passphrase=self.passphrase,
            grace_days=self.grace_days,
            clients=self.directory / "clients" if self.is_client else None,
            register=self.register,
            check_mode=check_mode,
        )
