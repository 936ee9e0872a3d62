# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a PKI as they are, and as they will be when what is planned has been done.

A step of the plan reads what the steps before it will have written, so everything is decided before anything is done.
Nothing here writes to the disk but :meth:`Operation.apply`.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    content_if_any,
    ensure_directory,
    sync_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load

if t.TYPE_CHECKING:
    from cryptography import x509

# The phases of a CA's rotation.
NONE, PREPARED, SWITCHING, OVERLAP = "none", "prepared", "switching", "overlap"
_PHASES = {(False, False): NONE, (True, False): PREPARED, (True, True): SWITCHING, (False, True): OVERLAP}
# What a directory that goes is called meanwhile.
DISCARDED = ".rotated"


class Operation(t.Protocol):
    """One thing that is done to the disk."""

    def apply(self) -> None:
        """Do it. Raises MtlsError."""


@dataclasses.dataclass(frozen=True)
class WriteFile:
    """A file with its mode; the directory is created when it is missing."""

    path: Path
    data: bytes = dataclasses.field(repr=False)
    mode: int = CERTIFICATE_MODE
    is_synced: bool = True

    def apply(self) -> None:
        if not self.path.parent.is_dir():
            ensure_directory(self.path.parent)
        write_atomic(self.path, self.data, mode=self.mode, is_derived=not self.is_synced)


@dataclasses.dataclass(frozen=True)
class SyncDisk:
    """Wait until all files before it are on the disk: for thousands of them at once, instead of for each."""

    def apply(self) -> None:
        os.sync()


@dataclasses.dataclass(frozen=True)
class RemoveFile:
    """A file that goes."""

    path: Path

    def apply(self) -> None:
        self.path.unlink(missing_ok=True)
        sync_directory(self.path.parent)


@dataclasses.dataclass(frozen=True)
class MoveDirectory:
    """A directory that gets another name."""

    source: Path
    target: Path

    def apply(self) -> None:
        ensure_directory(self.target.parent)
        self.source.rename(self.target)
        sync_directory(self.source.parent)


@dataclasses.dataclass(frozen=True)
class DiscardDirectory:
    """A directory that goes, in one step for whoever looks: half of it would be another phase of the rotation."""

    path: Path

    def apply(self) -> None:
        discarded = self.path.with_name(DISCARDED)
        self.path.rename(discarded)
        sync_directory(self.path.parent)
        shutil.rmtree(discarded, ignore_errors=True)


def remove_discarded(directory: Path) -> None:
    """Remove what a killed run has left of a directory that goes."""
    if (directory / DISCARDED).exists():
        shutil.rmtree(directory / DISCARDED, ignore_errors=True)


class PkiState:
    """The files in the directory of a PKI, seen through what is planned: ``operations`` do that, in their order.

    ``actions`` and ``notes`` say in words what will change and what a person should know.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.operations: list[Operation] = []
        self.actions: list[str] = []
        self.notes: list[str] = []
        self._planned: dict[Path, bytes | None] = {}

    def read(self, path: Path, *, what: str = "file") -> bytes | None:
        """Return the content that ``path`` will have, or None. Raises MtlsError when it cannot be read."""
        return self._planned[path] if path in self._planned else content_if_any(path, what=what)

    def require(self, path: Path, *, what: str = "file") -> bytes:
        """Like :meth:`read`, but raise MtlsError when there is no such file."""
        if (data := self.read(path, what=what)) is None:
            raise MtlsError(f"The {what} {path} does not exist.", path=str(path))
        return data

    def is_planned(self, path: Path) -> bool:
        """Whether the plan changes the file."""
        return path in self._planned

    def exists(self, path: Path) -> bool:
        return self._planned[path] is not None if path in self._planned else path.exists()

    def certificates(self, path: Path, *, what: str = "CA certificate") -> tuple[x509.Certificate, ...]:
        """Return the certificates in ``path``. Raises MtlsError when there is none, or one is damaged."""
        return load.load_certificates(self.require(path, what=what), source=str(path), is_whole=True).certificates

    def certificate(self, path: Path) -> x509.Certificate:
        """Return the first certificate in ``path``. Raises MtlsError when there is none."""
        return self.certificates(path)[0]

    @property
    def phase(self) -> str:
        """The phase of the CA's rotation: only ``next``, both, or only ``previous`` has a CA."""
        return _PHASES[self.exists(self.directory / "next/ca.crt"), self.exists(self.directory / "previous/ca.crt")]

    def write(self, path: Path, data: bytes, *, mode: int = CERTIFICATE_MODE, is_synced: bool = True) -> None:
        """Plan a file; one that is not synced needs a :class:`SyncDisk` behind it."""
        self._planned[path] = data
        self.operations.append(WriteFile(path, data, mode, is_synced))

    def remove(self, path: Path) -> None:
        """Plan that a file goes, if it is there."""
        if self.exists(path):
            self._planned[path] = None
            self.operations.append(RemoveFile(path))

    def move_directory(self, source: Path, target: Path, names: t.Iterable[str]) -> None:
        """Plan another name for a directory; ``names`` are its files that matter to the rest of the plan."""
        self.operations.append(MoveDirectory(source, target))
        self._planned |= {source / name: None for name in names}

    def discard_directory(self, path: Path, names: t.Iterable[str]) -> None:
        """Plan that a directory goes; ``names`` are its files that matter to the rest of the plan."""
        self.operations.append(DiscardDirectory(path))
        self._planned |= {path / name: None for name in names}
