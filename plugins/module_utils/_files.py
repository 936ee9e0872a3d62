# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that a crash cannot tear and that nobody else can read.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644
PRIVATE_DIRECTORY_MODE = 0o700


def read_bytes(path: str | os.PathLike[str], *, what: str = "file") -> bytes:
    """Return the content of ``path``; ``what`` names its role in the error.

    Raises MtlsError when the file is missing or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as exc:
        raise MtlsError(f"The {what} {path} does not exist.", path=os.fspath(path)) from exc
    except OSError as exc:
        raise MtlsError(f"The {what} {path} cannot be read: {exc.strerror}.", path=os.fspath(path)) from exc


def content_if_any(path: Path) -> bytes | None:
    """Return the content of ``path``, None when there is no such file. Raises MtlsError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise MtlsError(f"{path} cannot be read: {exc.strerror}.", path=str(path)) from exc


def ensure_directory(path: str | os.PathLike[str], *, mode: int = PRIVATE_DIRECTORY_MODE) -> bool:
    """Make ``path`` a directory with ``mode`` (parents too, when they are missing); return whether anything changed.

    Raises MtlsError when that is not possible.
    """
    directory = Path(path)
    try:
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        for one in reversed(missing):
            # A concurrent maker is as good as we are; mkdir's own mode is subject to the umask.
            with contextlib.suppress(FileExistsError):
                one.mkdir(mode=mode)
        if not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if stat.S_IMODE(directory.stat().st_mode) != mode:
            directory.chmod(mode)
            return True
    except OSError as exc:
        raise MtlsError(
            f"The directory {directory} cannot be made with mode {mode:04o}: {exc.strerror}. "
            "Choose a place that this user may write to.",
            path=str(directory),
        ) from exc
    return bool(missing)


def write_atomic(path: str | os.PathLike[str], data: bytes, *, mode: int, is_derived: bool = False) -> None:
    """Replace ``path`` by ``data`` in one step: a reader or a crash sees the old content or the new, nothing between.

    The mode is set before the content is written, so a key is never readable by others. What ``is_derived``, made again
    by the next run wherever its content is not as it should be, need not wait for the disk.
    Raises MtlsError when that is not possible; the old content is then untouched.
    """
    target = Path(path)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            if not is_derived:
                os.fsync(stream.fileno())
        Path(temporary).replace(target)
        temporary = ""
        if not is_derived:
            sync_directory(target.parent)
    except OSError as exc:
        raise MtlsError(f"The file {target} cannot be written: {exc.strerror}.", path=str(target)) from exc
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def sweep(directory: Path, names: t.Iterable[str]) -> None:
    """Remove the temporary files that a killed :func:`write_atomic` of ``names`` left, for they may hold a key."""
    left = re.compile(rf"\.(?:{'|'.join(map(re.escape, names))})\.[a-z0-9_]{{8}}")
    for path in [one for one in directory.iterdir() if left.fullmatch(one.name)]:
        path.unlink(missing_ok=True)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in ``path`` survive a power failure (fsync on the directory)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
