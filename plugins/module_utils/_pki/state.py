# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a PKI as they are, and as they will be when what is planned has been done.

A step of the plan reads what the steps before it will have written, so everything is decided before anything is done.
Nothing here writes to the disk but :meth:`Operation.apply`, :meth:`PkiState.create_directory` and
:func:`remove_discarded`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import shutil
import stat
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    PRIVATE_DIRECTORY_MODE,
    content_if_any,
    ensure_directory,
    predict_directory,
    sync_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import CaKeys
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import LeafKey
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec

# The phases of a CA's rotation.
NONE, PREPARED, SWITCHING, OVERLAP = "none", "prepared", "switching", "overlap"
_PHASES = {(False, False): NONE, (True, False): PREPARED, (True, True): SWITCHING, (False, True): OVERLAP}
# What a directory is called while it is removed.
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


@contextlib.contextmanager
def exclusive(directory: Path) -> t.Iterator[None]:
    """Keep other runs on the same CA out until the block ends. The lock leaves no file and dies with the process."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # no directory, no CA: reading it says so in words
        yield
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot lock a directory
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_discarded(directory: Path) -> None:
    """Remove what a killed run has left of a directory that goes."""
    if (directory / DISCARDED).exists():
        shutil.rmtree(directory / DISCARDED, ignore_errors=True)


class PkiState:
    """The files in the directory of a PKI, seen through what is planned: ``operations`` do that, in their order.

    ``actions`` and ``notes`` say in words what will change and what a person should know. ``passphrase`` and
    ``ca_keys`` are for the keys of the CAs. The files of one certificate are in ``certificates.CertificateFiles``.
    """

    def __init__(self, directory: Path, *, passphrase: str | None = None, ca_keys: CaKeys | None = None) -> None:
        self.directory = directory
        self.passphrase = passphrase
        self.ca_keys = ca_keys if ca_keys is not None else CaKeys()
        self.operations: list[Operation] = []
        self.actions: list[str] = []
        self.notes: list[str] = []
        self._planned: dict[Path, bytes | None] = {}

    def create_directory(self) -> None:
        """Create the directory. Raises MtlsError when that is not possible."""
        ensure_directory(self.directory)

    @property
    def trust_bundle(self) -> Path:
        """The CAs that the gateway trusts."""
        return self.directory / "ca-bundle.crt"

    @property
    def crl(self) -> Path:
        """The revocation lists of all CAs."""
        return self.directory / "ca.crl"

    @property
    def register(self) -> Path:
        """The register of issued certificates."""
        return self.directory / "issued.jsonl"

    @property
    def clients(self) -> Path:
        return self.directory / "clients"

    @property
    def revoked(self) -> Path:
        """What is kept of revoked clients."""
        return self.directory / "revoked"

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

    def certificates(
        self, path: Path, *, what: str = "CA certificate", is_whole: bool = True
    ) -> tuple[x509.Certificate, ...]:
        """Return the certificates in ``path``. Raises MtlsError when there is none, or one is damaged.

        Without ``is_whole``, damaged ones are passed over.
        """
        data = self.require(path, what=what)
        return load.load_certificates(data, source=str(path), is_whole=is_whole).certificates

    def certificate(self, path: Path) -> x509.Certificate:
        """Return the first certificate in ``path``. Raises MtlsError when there is none."""
        return self.certificates(path)[0]

    def lists(self) -> tuple[x509.CertificateRevocationList, ...]:
        """Return the revocation lists, none where one cannot be read: the register has all that matters."""
        data = self.read(self.crl, what="revocation list")
        if data is not None:
            with contextlib.suppress(MtlsError, *PARSE_ERRORS):
                lists = load.load_crls(data, source=str(self.crl)).crls
                _probe = [list(crl) for crl in lists]
                return lists
        return ()

    def ca_key(self, path: Path) -> LeafKey | None:
        """Return the key of a CA, None when there is no such file.

        Raises MtlsError for a damaged one, and WrongPassphraseError for one that the passphrase does not open.
        """
        if (data := self.read(path, what="CA key")) is None:
            return None
        return t.cast(
            "LeafKey", load.load_private_key(data, source=str(path), passphrase=load.as_secret(self.passphrase))
        )

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
    def authorities(self) -> tuple[Path, ...]:
        """The certificate of every CA that has a revocation list, if it is there."""
        return tuple(place / f"{name}.crt" for place in self.listed for name in ("ca", "intermediate"))


def find_layout(spec: PkiSpec, state: PkiState, *, is_preparing: bool) -> PkiLayout:
    """Say where the CA is that issues. While the next one is prepared, that is the next one."""
    directory, phase = state.directory, state.phase
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


def made_with_root(usage: str, state: PkiState, place: Path) -> tuple[Path, ...]:
    """The files that there can only be when there has been a root CA in ``place``."""
    names: tuple[str, ...] = ("intermediate.key", "intermediate.crt")
    if place == state.directory:
        names += (*_MADE_WITH_ROOT[usage], "next/ca.crt", "previous/ca.crt")
    return tuple(place / name for name in names)


_PRIVATE_SUFFIXES = (".key", ".p12", ".jsonl")
_SHOWN = 5
# A group may be let into a directory; others may not, and nobody else may replace what is in it.
_LOOSE_DIRECTORY = stat.S_IWGRP | stat.S_IRWXO
_LOOSE_FILE = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
# What a killed write_atomic leaves of our files.
_LEFT_OVER = re.compile(
    r"\.(?:(?:ca|intermediate|cross|server|client)\.(?:key|crt|crl|p12)"
    r"|(?:intermediate|server|client)-chain\.pem|ca-bundle\.crt|switched-at|prepared-at)\.[a-z0-9_]{8}"
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


def plan_modes(state: PkiState) -> None:
    """Plan the modes of what others may use in the directory, which need not exist, and say so.

    Temporary files of a killed run go without a word: they may hold half a key.
    Raises MtlsError when the directory cannot be created, and when this is root and a directory or private file belongs
    to somebody else, who could put something else in the place of what root writes and trusts.
    """
    directory = state.directory
    if not directory.is_dir():
        predict_directory(directory)
        return
    try:
        found = list(_walk(directory))
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
    places = [os.fspath(directory)]  # no path objects: of ten thousand clients they would take half the time
    while places:
        place = places.pop()
        # In check mode another run may be at work: what it has renamed in the meantime is no problem.
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(place)  # noqa: PTH116  (see above)
            yield from _correct(place, found, _LOOSE_DIRECTORY, PRIVATE_DIRECTORY_MODE, directory)
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        places += [entry.path] if entry.name != DISCARDED else []
                    elif entry.name.startswith(".") and _LEFT_OVER.fullmatch(entry.name):
                        yield RemoveFile(Path(entry.path))
                    else:
                        yield from _correct_file(entry, directory)


def _correct_file(entry: os.DirEntry[str], directory: Path) -> t.Iterator[CorrectMode]:
    with contextlib.suppress(FileNotFoundError):
        if entry.name.endswith(_PRIVATE_SUFFIXES) and entry.is_file():
            yield from _correct(entry.path, entry.stat(), _LOOSE_FILE, KEY_MODE, directory)
        elif entry.is_file(follow_symlinks=False) and (mode := entry.stat().st_mode) & _WRITABLE:
            yield CorrectMode(Path(entry.path), stat.S_IMODE(mode), stat.S_IMODE(mode) & ~_WRITABLE)


def _correct(path: str, found: os.stat_result, loose: int, corrected: int, directory: Path) -> t.Iterator[CorrectMode]:
    if found.st_uid != 0 and os.geteuid() == 0:
        raise MtlsError(
            f"{path} belongs to {_owner(found.st_uid)}, but this run is root's: whoever owns it could read or replace "
            f"what is written there. Run as that user, or give the files to root with chown -R root {directory}."
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & loose:
        yield CorrectMode(Path(path), mode, corrected)


def _owner(uid: int) -> str:
    import pwd  # noqa: PLC0415  (rare)

    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user with the number {uid}"
