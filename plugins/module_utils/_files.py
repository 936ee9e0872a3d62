# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that a crash cannot tear and that nobody else can read.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import secrets
import stat
import sys
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644
PRIVATE_DIRECTORY_MODE = 0o700
MAX_BYTES = 64 * 1024 * 1024
_FILE_NAME = re.compile(r"(?!\.)[^/\x00-\x1f\x7f]+")


def is_file_name(text: str) -> bool:
    """Whether ``text`` can be the name of a file or directory that is not hidden."""
    return _FILE_NAME.fullmatch(text) is not None


def expand(path: str | os.PathLike[str]) -> Path:
    """Put the home directory in the place of ~; that of a user who is not there stays as it is, as in a shell."""
    with contextlib.suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def read_bytes(path: str | os.PathLike[str], *, what: str = "file", limit: int = MAX_BYTES) -> bytes:
    """Return the content of the regular file ``path``; ``what`` names its role in the error.

    Raises MtlsError when the file is missing, cannot be read, is not a regular file, or is larger than ``limit``.
    """
    data = content_if_any(path, what=what, limit=limit)
    if data is None:
        raise MtlsError(f"The {what} {path} does not exist.", path=os.fspath(path))
    return data


def content_if_any(path: str | os.PathLike[str], *, what: str = "file", limit: int = MAX_BYTES) -> bytes | None:
    """Like :func:`read_bytes`, but return None when there is no such file."""
    place = os.fspath(path)
    try:
        # Not blocking: the other end of a named pipe may never come.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            mode = status.st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                raise MtlsError(f"The {what} {path} is not a regular file.", path=place)
            # Its size is only a hint: that of a file in /proc is 0, and it may have no end.
            data = _read_at_most(descriptor, limit + 1, hint=status.st_size)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:  # ValueError: a null byte in the path
        raise MtlsError(f"The {what} {path} cannot be read: {_reason(exc)}.", path=place) from exc
    if len(data) > limit:
        raise MtlsError(f"The {what} {path} is larger than {limit // 2**20} MiB: it is not read.", path=place)
    return data


def _read_at_most(descriptor: int, limit: int, *, hint: int) -> bytes:
    """Read to the end or to the limit. A read that asks for the limit at once would allocate as much every time."""
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := os.read(descriptor, min(left, max(hint + 1, 2**16)))):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_encodable(text: str) -> bool:
    """Whether ``text`` can be written: half of a UTF-16 pair (a surrogate) cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse to write where something is that is not a regular file: a device, a pipe, a directory."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  (a path of bytes that are not text is welcome)
    except (OSError, ValueError):
        return  # nothing there, or the attempt to write says why not
    if stat.S_ISDIR(mode):
        raise MtlsError(f"{path} is a directory. Give the name of a file.", path=os.fspath(path))
    if not stat.S_ISREG(mode):
        raise MtlsError(f"{path} is not a regular file, so it is not written. Give another name.", path=os.fspath(path))


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def predict_directory(path: str | os.PathLike[str]) -> None:
    """Raise MtlsError when ``ensure_directory`` could not make ``path`` where it is missing; nothing is written."""
    directory = Path(path)
    try:
        place = next(parent for parent in (directory, *directory.parents) if os.path.lexists(parent))
        number = 0
        if not place.is_dir():
            number = errno.ENOTDIR
        elif place != directory and not os.access(place, os.W_OK | os.X_OK):
            number = errno.EACCES
        if number:
            raise OSError(number, os.strerror(number))
    except OSError as exc:
        raise _not_made(directory, PRIVATE_DIRECTORY_MODE, exc) from exc


def _not_made(directory: Path, mode: int, exc: OSError) -> MtlsError:
    return MtlsError(
        f"The directory {directory} cannot be created with mode {mode:04o}: {exc.strerror}. "
        "Choose a place that this user may write to.",
        path=str(directory),
    )


def ensure_directory(path: str | os.PathLike[str], *, mode: int = PRIVATE_DIRECTORY_MODE) -> bool:
    """Make ``path`` a directory with ``mode`` (parents too, when they are missing); return whether anything changed.

    Raises MtlsError when that is not possible.
    """
    directory = Path(path)
    missing: list[Path] = []
    try:
        try:
            directory.mkdir(mode=mode)
            missing = [directory]
        except FileExistsError:
            pass
        except FileNotFoundError:
            missing = [parent for parent in (directory, *directory.parents) if not parent.exists()]
            for parent in reversed(missing):
                # A concurrent maker is as good as we are; mkdir's own mode is subject to the umask.
                with contextlib.suppress(FileExistsError):
                    parent.mkdir(mode=mode)
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if stat.S_IMODE(directory.stat().st_mode) != mode:
            directory.chmod(mode)
            return True
    except OSError as exc:
        raise _not_made(directory, mode, exc) from exc
    return bool(missing)


def write_atomic(path: str | os.PathLike[str], data: bytes, *, mode: int, is_derived: bool = False) -> None:
    """Replace ``path`` by ``data`` in one step: a reader or a crash sees the old content or the new, nothing between.

    The mode is set before the content is written, so a key is never readable by others. What ``is_derived``, made again
    by the next run wherever its content is not as it should be, need not wait for the disk.
    Raises MtlsError when that is not possible; the old content is then untouched.
    """
    staged = stage(path, data, mode=mode, is_synced=not is_derived)
    try:
        staged.publish()
        if not is_derived:
            sync_directory(Path(path).parent)
    except OSError as exc:
        raise MtlsError(f"The file {path} cannot be written: {exc.strerror}.", path=os.fspath(path)) from exc
    finally:
        staged.discard()


@dataclasses.dataclass
class StagedFile:
    """New content beside the file whose place it takes: until then, nothing has changed."""

    target: str
    temporary: str

    def publish(self) -> None:
        """Take the place of the file, in one step."""
        os.replace(self.temporary, self.target)  # noqa: PTH105  (pathlib takes longer, and fleets have thousands of files)
        self.temporary = ""

    def discard(self) -> None:
        """Remove what was not published."""
        if self.temporary:
            with contextlib.suppress(OSError):
                Path(self.temporary).unlink()


def stage(path: str | os.PathLike[str], data: bytes, *, mode: int, is_synced: bool) -> StagedFile:
    """Write ``data`` beside ``path``, which :meth:`StagedFile.publish` replaces. Raises MtlsError."""
    target = os.fspath(path)
    directory, name = os.path.split(target)
    temporary = ""
    require_regular(target)
    try:
        descriptor, temporary = _temporary(directory, name)
        try:
            os.fchmod(descriptor, mode)
            _write_all(descriptor, data)
            if is_synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        StagedFile(target, temporary).discard()
        raise MtlsError(f"The file {target} cannot be written: {exc.strerror}.", path=target) from exc
    return StagedFile(target, temporary)


def _temporary(directory: str, name: str) -> tuple[int, str]:
    """Create a new file beside ``name`` that only its owner may open."""
    while True:
        path = os.path.join(directory, f".{name}.{secrets.token_hex(4)}")  # noqa: PTH118  (as above)
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), path


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])


def sweep(directory: Path, names: t.Iterable[str]) -> None:
    """Remove the temporary files that a killed :func:`write_atomic` of ``names`` left, for they may hold a key."""
    left = re.compile(rf"\.(?:{'|'.join(map(re.escape, names))})\.[a-z0-9_]{{8}}")
    for path in [entry for entry in directory.iterdir() if left.fullmatch(entry.name)]:
        path.unlink(missing_ok=True)


def is_synced_together(count: int, *, least: int) -> bool:
    """Whether for ``count`` files the disk can be waited for once (``os.sync``), from ``least`` on, and not for each.

    Only Linux waits there; sync(2) of other systems returns before anything is written.
    """
    return count >= least and sys.platform.startswith("linux")


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in ``path`` survive a power failure (fsync on the directory)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
