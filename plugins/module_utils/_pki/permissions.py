# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may read and replace the files of a PKI, and what a killed run has left among them.

A restored backup may have other modes and another owner.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import stat
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import KEY_MODE, PRIVATE_DIRECTORY_MODE
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import DISCARDED, RemoveFile

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

_PRIVATE_SUFFIXES = (".key", ".p12", ".jsonl")
_SHOWN = 5
# A group may be let into a directory; others may not, and nobody else may replace what is in it.
_LOOSE_DIRECTORY = stat.S_IWGRP | stat.S_IRWXO
_LOOSE_FILE = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
# What a killed write_atomic leaves of our files.
_LEFT_OVER = re.compile(
    r"\.(?:(?:ca|intermediate|cross|server|client)\.(?:key|crt|crl|p12)"
    r"|(?:intermediate|server|client)-chain\.pem|ca-bundle\.crt|switched-at)\.[a-z0-9_]{8}"
)


@dataclasses.dataclass(frozen=True)
class CorrectMode:
    """A directory or private file that others may use, its mode, and the mode that it gets."""

    path: Path
    mode: int
    corrected: int

    def apply(self) -> None:
        try:
            self.path.chmod(self.corrected)
        except OSError as exc:
            raise MtlsError(f"{self.path} cannot be given the mode {self.corrected:04o}: {exc.strerror}.") from exc


def plan(state: PkiState) -> None:
    """Plan the modes of what others may use in the directory, which need not exist, and say so.

    Temporary files of a killed run go without a word: they may hold half a key.
    Raises MtlsError when this is root and a directory or private file belongs to somebody else, who could put something
    else in the place of what root writes and trusts.
    """
    directory = state.directory
    try:
        found = list(_walk(directory)) if directory.is_dir() else []
    except OSError as exc:
        raise MtlsError(f"{exc.filename or directory} cannot be read: {exc.strerror}.") from exc
    state.operations += found
    loosened = [correction for correction in found if isinstance(correction, CorrectMode)]
    if not loosened:
        return
    names = [
        f"{'the directory itself' if file.path == directory else file.path.relative_to(directory)} ({file.mode:04o})"
        for file in loosened[:_SHOWN]
    ]
    more = f" and {len(loosened) - _SHOWN} more" if len(loosened) > _SHOWN else ""
    text = f"Correct the modes of what others could read or replace in {directory}: {', '.join(names)}{more}."
    state.actions.append(text)
    state.notes.append(f"{text} If somebody has read a key, replace it: see docs/rotation.md and docs/revocation.md.")


def _walk(directory: Path) -> t.Iterator[CorrectMode | RemoveFile]:
    places = [directory]
    while places:
        place = places.pop()
        # In check mode another run may be at work: what it has renamed in the meantime is no problem.
        with contextlib.suppress(FileNotFoundError):
            yield from _judged(place, place.stat(), _LOOSE_DIRECTORY, PRIVATE_DIRECTORY_MODE, directory)
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        places += [Path(entry.path)] if entry.name != DISCARDED else []
                    elif entry.name.startswith(".") and _LEFT_OVER.fullmatch(entry.name):
                        yield RemoveFile(Path(entry.path))
                    else:
                        yield from _judged_file(entry, directory)


def _judged_file(entry: os.DirEntry[str], directory: Path) -> t.Iterator[CorrectMode]:
    with contextlib.suppress(FileNotFoundError):
        if entry.name.endswith(_PRIVATE_SUFFIXES) and entry.is_file():
            yield from _judged(Path(entry.path), entry.stat(), _LOOSE_FILE, KEY_MODE, directory)
        elif entry.is_file(follow_symlinks=False) and (mode := entry.stat().st_mode) & _WRITABLE:
            yield CorrectMode(Path(entry.path), stat.S_IMODE(mode), stat.S_IMODE(mode) & ~_WRITABLE)


def _judged(path: Path, found: os.stat_result, loose: int, corrected: int, directory: Path) -> t.Iterator[CorrectMode]:
    if found.st_uid != 0 and os.geteuid() == 0:
        raise MtlsError(
            f"{path} belongs to {_owner(found.st_uid)}, but this run is root's: whoever owns it could read or replace "
            f"what is written there. Run as that user, or give the files to root with chown -R root {directory}."
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & loose:
        yield CorrectMode(path, mode, corrected)


def _owner(uid: int) -> str:
    import pwd  # noqa: PLC0415  (rare)

    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user with the number {uid}"
