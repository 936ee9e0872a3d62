# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a PKI should be: its CAs, its certificates, and which part of it each state takes care of."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca_keys import CaKeys

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.certificate_spec import CertificateSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.external_files import ExternalCa
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.foreign_lists import ListSource
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import KeySpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.request_issuer import RequestSigner

PRESENT, PREPARED, SWITCHED, FINISHED, REVOKED = "present", "prepared", "switched", "finished", "revoked"
# Who issues. Every other provider is an external issuer: what it has issued was acquired before, and is checked here.
SELF_SIGNED, PROVIDED = "self_signed", "provided"


@dataclasses.dataclass(frozen=True)
class AuthoritySpec:
    """A CA as it should be: ``basename`` is ``ca`` for the root and ``intermediate`` for the one below it.

    ``days`` and ``constraints`` only count when the CA is created.
    """

    title: str
    basename: str
    subject: x509.Name
    key: KeySpec
    days: int
    constraints: x509.NameConstraints | None = None

    @property
    def is_root(self) -> bool:
        return self.basename == "ca"

    def key_path(self, directory: Path) -> Path:
        return directory / f"{self.basename}.key"

    def certificate_path(self, directory: Path) -> Path:
        return directory / f"{self.basename}.crt"


@dataclasses.dataclass(frozen=True)
class PkiSpec:
    """One PKI, the server's or the clients', as it should be.

    ``authorities`` are the root and, if there is one, the intermediate CA below it; none when finished certificates are
    provided. ``external`` are the checked files of a provided CA. ``provider`` is who issues. ``ca_keys`` are the CA
    keys that are not files.

    ``signer`` is the external issuer that signs certificate requests. ``list_sources`` are where the revocation lists
    of CAs come from whose key is elsewhere; with ``publishes_lists`` there is always one, otherwise from the first
    revocation on. With ``is_held_back``, nothing is issued until the gateway trusts the issuer's new CA.
    """

    usage: str
    directory: Path
    state: str
    authorities: tuple[AuthoritySpec, ...]
    certificates: tuple[CertificateSpec, ...]
    passphrase: str | None = dataclasses.field(default=None, repr=False)
    ca_keys: CaKeys = dataclasses.field(default_factory=CaKeys)
    external: ExternalCa | None = None
    provider: str = SELF_SIGNED
    hostnames: tuple[str, ...] = ()
    include_root: bool = True
    grace_days: int = 0
    crl_days: int = 90
    crl_refresh_before: int = 30
    revoke: tuple[str, ...] = ()
    rekey: tuple[str, ...] = ()
    signer: RequestSigner | None = dataclasses.field(default=None, repr=False)
    list_sources: tuple[ListSource, ...] = ()
    publishes_lists: bool = False
    is_held_back: bool = False
    concurrency: int | None = None

    @property
    def is_client(self) -> bool:
        return self.usage == "client"

    @property
    def is_issuing(self) -> bool:
        """Whether there is a CA here that issues; otherwise finished certificates are provided."""
        return bool(self.authorities)

    @property
    def issuer_basename(self) -> str:
        return self.authorities[-1].basename if self.authorities else "ca"

    @property
    def trust_bundle(self) -> Path:
        return self.directory / "ca-bundle.crt"

    @property
    def crl(self) -> Path:
        return self.directory / "ca.crl"

    @property
    def register(self) -> Path | None:
        """The register of certificates: the clients', and the server's from an external issuer."""
        is_kept = self.is_client or self.provider not in {SELF_SIGNED, PROVIDED}
        return self.directory / "issued.jsonl" if is_kept else None

    @property
    def clients(self) -> Path:
        return self.directory / "clients"

    @property
    def revoked(self) -> Path:
        return self.directory / "revoked"

    @property
    def keeps_lists(self) -> bool:
        """Whether this state takes care of revocation lists: those of the clients' CAs."""
        return self.is_client and self.is_issuing and self.state != SWITCHED

    def issues_certificates(self, *, is_preparing: bool) -> bool:
        """Whether certificates are issued: a client gets none of a CA that is not in use yet, the server does."""
        if not self.is_issuing or self.is_held_back:
            return False
        if self.is_client:
            return self.state in {PRESENT, SWITCHED} or (self.state == REVOKED and bool(self.rekey))
        return self.state in {PRESENT, SWITCHED, FINISHED} or is_preparing
