# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the files of one side of the PKI are, in every phase of a rotation.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._pki import rotation

# What there can only be when there has been a root CA.
_MADE_WITH_ROOT = {
    "server": ("server.crt",),
    "client": ("ca-bundle.crt", "ca.crl", "issued.jsonl", "next/intermediate.crt", "previous/intermediate.crt"),
}


@dataclasses.dataclass(frozen=True)
class View:
    """The CA that issues, and the one that it relies on while the CA is rotated.

    While the server's CA is rotated, the old CA has signed the new one: who trusts only the old one accepts a chain
    that goes over this ``bridge``, and who trusts only the new one accepts the same chain without it.
    """

    directory: Path
    issuer: str  # the start of the names of the files of the CA that issues
    authority: Path
    anchor: Path
    bridge: Path | None
    listed: tuple[Path, ...]  # where the CAs are whose revocation lists the gateway needs

    @property
    def issuer_path(self) -> Path:
        return self.authority / f"{self.issuer}.crt"

    @property
    def below_root(self) -> tuple[Path, ...]:
        """The intermediate CA, if there is one, and what is between it and the root, if anything is."""
        further = self.authority / "intermediate-chain.pem"
        return () if self.issuer == "ca" else (self.issuer_path, further) if further.exists() else (self.issuer_path,)

    @property
    def between(self) -> tuple[Path, ...]:
        """What follows the server's certificate in its chain, up to the root."""
        return (*self.below_root, self.bridge) if self.bridge is not None else self.below_root

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


def current(directory: Path, issuer: str, *, phase: str, is_finished: bool) -> View:
    """The CA in use. An interrupted exchange is seen as completed, and a CA that is to be retired as gone."""
    authority, previous = directory, directory / "previous"
    bridge = previous / "cross.crt"
    if phase == rotation.SWITCHING:
        authority, bridge = directory / "next", directory / "next" / "cross.crt"
    if phase in {rotation.SWITCHING, rotation.OVERLAP} and not is_finished:
        return View(directory, issuer, authority, previous / "ca.crt", bridge, (authority, previous))
    listed = (directory, directory / "next") if phase == rotation.PREPARED else (authority,)
    return View(directory, issuer, authority, authority / "ca.crt", None, listed)


def upcoming(directory: Path, issuer: str) -> View:
    """The next CA, which is made and not yet in use: clients trust the one in use."""
    following = directory / "next"
    return View(directory, issuer, following, directory / "ca.crt", following / "cross.crt", (directory, following))


def made_with_root(usage: str, directory: Path, *, is_next: bool) -> tuple[Path, ...]:
    """The files that there can only be when there has been a root CA in ``directory``."""
    names: tuple[str, ...] = ("intermediate.key", "intermediate.crt")
    if not is_next:
        names += (*_MADE_WITH_ROOT[usage], "next/ca.crt", "previous/ca.crt")
    return tuple(directory / name for name in names)
