# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where certificates and CRLs come from: files, directories (bounded, whatever their links do) and strings."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load

if t.TYPE_CHECKING:
    from cryptography import x509

MAX_FILES = 20000
MAX_DEPTH = 16
MAX_TOTAL_BYTES = 256 * 1024 * 1024
_SHOWN = 5
_MAX_NOTES = 10

_Item = t.TypeVar("_Item")
_Load: t.TypeAlias = t.Callable[[bytes, str], tuple[tuple[_Item, ...], tuple[str, ...]]]


class Gathered(t.NamedTuple, t.Generic[_Item]):
    """The objects of several sources, without duplicates, and what was passed over."""

    items: tuple[_Item, ...]
    warnings: tuple[str, ...]


def gather_certificates(paths: t.Iterable[str], content: str | None, *, what: str) -> Gathered[x509.Certificate]:
    """Return the certificates of files and directories and of a string; ``what`` names them in messages."""

    def load_one(data: bytes, source: str) -> tuple[tuple[x509.Certificate, ...], tuple[str, ...]]:
        loaded = load.load_certificates(data, source=source, is_probed=False)
        return loaded.certificates, loaded.warnings

    return _gather(paths, content, what=what, load_one=load_one, identity=lambda loaded: loaded)


def gather_crls(paths: t.Iterable[str], content: str | None, *, what: str) -> Gathered[x509.CertificateRevocationList]:
    """Return the CRLs of files and directories and of a string; ``what`` names them in messages."""

    def load_one(data: bytes, source: str) -> tuple[tuple[x509.CertificateRevocationList, ...], tuple[str, ...]]:
        loaded = load.load_crls(data, source=source)
        return loaded.crls, loaded.warnings

    return _gather(paths, content, what=what, load_one=load_one, identity=lambda loaded: loaded.signature)


def _gather(
    paths: t.Iterable[str],
    content: str | None,
    *,
    what: str,
    load_one: _Load[_Item],
    identity: t.Callable[[_Item], t.Hashable],
) -> Gathered[_Item]:
    found: dict[t.Hashable, _Item] = {}
    notes: list[str] = []
    total = 0
    for path in paths:
        directory = os.path.isdir(path)  # noqa: PTH112  (as above)
        names = _walk(path, notes) if directory else [path]
        without: list[str] = []
        for name in names:
            try:
                data = read_bytes(name, what=what)
                total += len(data)
                if total > MAX_TOTAL_BYTES:
                    raise _TooMuchError(f"The {what} are more than {MAX_TOTAL_BYTES // 2**20} MiB: they are not read.")
                items, warnings = load_one(data, name)
            except _TooMuchError:
                raise
            except MtlsError:
                if not directory:
                    raise
                without.append(name)
            else:
                found.update((identity(item), item) for item in items)
                notes += warnings
        if without:
            shown = ", ".join(without[:_SHOWN]) + (" ..." if len(without) > _SHOWN else "")
            notes.append(f"{len(without)} file(s) in {path} hold nothing usable as {what} and are skipped: {shown}")
    if content is not None:
        items, warnings = load_one(content.encode("utf-8", "surrogatepass"), f"the {what} given as a string")
        found.update((identity(item), item) for item in items)
        notes += warnings
    if len(notes) > _MAX_NOTES:
        notes[_MAX_NOTES:] = [f"There are {len(notes) - _MAX_NOTES} more remarks of this kind on the {what}."]
    return Gathered(tuple(found.values()), tuple(notes))


class _TooMuchError(MtlsError):
    """The sum of the files is too large, wherever they lie."""


def _walk(top: str, notes: list[str]) -> list[str]:
    """Every file below ``top``, each once, links followed: a directory or file that was seen is not entered again."""
    files: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [(top, 0)]
    while pending:
        directory, depth = pending.pop()
        for entry, status in _entries(directory, seen, notes):
            if stat.S_ISDIR(status.st_mode):
                if depth >= MAX_DEPTH:
                    notes.append(f"{entry} is deeper than {MAX_DEPTH} directories below {top} and is skipped.")
                else:
                    pending.append((entry, depth + 1))
            elif stat.S_ISREG(status.st_mode):
                files.append(entry)
                if len(files) > MAX_FILES:
                    raise MtlsError(f"The directory {top} holds more than {MAX_FILES} files: it is not read.", path=top)
    return sorted(files)


def _entries(directory: str, seen: set[tuple[int, int]], notes: list[str]) -> t.Iterator[tuple[str, os.stat_result]]:
    try:
        own = os.stat(directory)  # noqa: PTH116  (as above)
        seen.add((own.st_dev, own.st_ino))
        names = sorted(os.listdir(directory))  # noqa: PTH208  (as above)
    except OSError as exc:
        notes.append(f"The directory {directory} cannot be read and is skipped: {exc.strerror}.")
        return
    for name in names:
        path = os.path.join(directory, name)  # noqa: PTH118  (as above)
        try:
            status = os.stat(path)  # noqa: PTH116  (as above)
        except OSError:
            continue  # a dangling link, or gone
        identity = (status.st_dev, status.st_ino)
        if identity not in seen:
            seen.add(identity)
            yield path, status
