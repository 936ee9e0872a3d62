# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the files of a PKI are, in every phase of a rotation."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import OVERLAP, PREPARED, PkiState

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec

_MADE_WITH_ROOT = {
    "server": ("server.crt",),
    "client": ("ca-bundle.crt", "ca.crl", "issued.jsonl", "next/intermediate.crt", "previous/intermediate.crt"),
}


@dataclasses.dataclass(frozen=True)
class PkiLayout:
    """The CA that issues, and the one that it relies on while the CA is rotated.

    While the server's CA is rotated, the previous CA has signed the new one: who trusts only the previous one accepts a
    chain that goes over this ``cross_certificate``, and who trusts only the new one accepts the same chain without it.
    """

    issuer_basename: str
    authority: Path
    anchor: Path
    cross_certificate: Path | None
    listed: tuple[Path, ...]  # the directories of the CAs whose revocation lists the gateway needs
    chain_file: Path | None  # what is between an intermediate CA and its root

    @property
    def issuer_path(self) -> Path:
        return self.authority / f"{self.issuer_basename}.crt"

    @property
    def below_root(self) -> tuple[Path, ...]:
        """The intermediate CA, if there is one, and what is between it and the root, if anything is."""
        if self.issuer_basename == "ca":
            return ()
        return (self.issuer_path, self.chain_file) if self.chain_file is not None else (self.issuer_path,)

    @property
    def between(self) -> tuple[Path, ...]:
        """What follows the server's certificate in its chain, up to the root."""
        return self.below_root if self.cross_certificate is None else (*self.below_root, self.cross_certificate)

    @property
    def roots(self) -> tuple[Path, ...]:
        """The root CAs of the clients that the gateway accepts: two while one CA goes over into the other."""
        return tuple(place / "ca.crt" for place in self.listed)

    @property
    def authorities(self) -> tuple[tuple[Path, Path], ...]:
        """Certificate and key of every CA that has a revocation list, if they are there."""
        return tuple(
            (place / f"{name}.crt", place / f"{name}.key") for place in self.listed for name in ("ca", "intermediate")
        )


def find(spec: PkiSpec, state: PkiState, *, is_preparing: bool) -> PkiLayout:
    """Say where the CA is that issues. While the next one is prepared, that is the next one."""
    directory, phase = spec.directory, state.phase
    following, previous = directory / "next", directory / "previous"
    authority, anchor = directory, directory / "ca.crt"
    listed: tuple[Path, ...] = (directory,)
    cross_certificate = None
    if is_preparing:
        authority, cross_certificate, listed = following, following / "cross.crt", (directory, following)
    elif phase == OVERLAP:
        anchor, cross_certificate, listed = previous / "ca.crt", previous / "cross.crt", (directory, previous)
    elif phase == PREPARED:
        listed = (directory, following)
    chain_file = authority / "intermediate-chain.pem"
    return PkiLayout(
        spec.issuer_basename,
        authority,
        anchor,
        cross_certificate,
        listed,
        chain_file if state.exists(chain_file) else None,
    )


def made_with_root(spec: PkiSpec, place: Path) -> tuple[Path, ...]:
    """The files that there can only be when there has been a root CA in ``place``."""
    names: tuple[str, ...] = ("intermediate.key", "intermediate.crt")
    if place == spec.directory:
        names += (*_MADE_WITH_ROOT[spec.usage], "next/ca.crt", "previous/ca.crt")
    return tuple(place / name for name in names)
