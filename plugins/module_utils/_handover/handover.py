# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients need beside their keys and certificates, in their directories: compared, then written or removed.

A client's directory is the one that its key is in. So a key exists once, a new certificate is handed over by being
issued, and the texts, which name files and not what is in them, stay right. Only the archives hold copies.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    PRIVATE_DIRECTORY_MODE,
    ensure_directory,
    read_bytes,
    sweep,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._handover import archive, texts

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import Address

PROGRAM_MODE = 0o700
CERTIFICATE, CHAIN, KEY, P12 = "client.crt", "client-chain.pem", "client.key", "client.p12"
_OWN = (texts.CURL, texts.README, texts.SERVER_CA)
_NAME = re.compile(r"(?!\.)[^/\x00-\x1f\x7f]+")
_PEM_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


@dataclasses.dataclass(frozen=True)
class Options:
    """What the module's caller asks for. ``server_ca`` None leaves the choice to what clients trust anyway."""

    directory: Path
    clients: tuple[str, ...]
    address: Address
    server_ca: Path | None
    archives: Path | None
    passwords: t.Mapping[str, str]
    check_mode: bool


@dataclasses.dataclass(frozen=True)
class Change:
    """A file to be written, or with ``data`` None to be removed, and why."""

    client: str
    path: Path
    data: bytes | None
    mode: int
    reason: str


def run(options: Options) -> dict[str, t.Any]:
    """Bring every client's files to the wanted state and return the module's result; in check mode only say it.

    Raises MtlsError; what is asked for is checked before anything is changed.
    """
    _check(options)
    notes: list[str] = []
    server_ca = _server_ca(options)
    if options.server_ca is not None and server_ca is None and not _is_prediction(options):
        return {
            "changed": False,
            "changes": [],
            "diff": _diff([]),
            "notes": [
                f"Clients get no {texts.CURL}, {texts.README} and {texts.SERVER_CA}, because the server's CA "
                f"{options.server_ca} does not exist. Make it first, name another file, or turn the hand-over off."
            ],
        }
    changes: list[Change] = []
    handed: list[str] = []
    for name in options.clients:
        directory = options.directory / name
        # In check mode, a client without a directory is one whose certificate would have been issued by now.
        if (directory / CERTIFICATE).exists() or (options.check_mode and not directory.exists()):
            handed.append(name)
            changes += _plan_client(options, name, server_ca)
    for name in sorted({*_directories(options.directory)} - set(handed)):
        if not (options.directory / name / CERTIFICATE).exists():
            changes += _plan_removal(options.directory / name, name)
    if options.archives is not None:
        changes += _plan_archives(options, handed, {(one.client, one.path.name): one for one in changes}, notes)
    if not options.check_mode:
        _carry_out(options, changes)
    return {
        "changed": bool(changes),
        "changes": [{"name": one.client, "path": str(one.path), "reason": one.reason} for one in changes],
        "diff": _diff(changes),
        "notes": notes,
    }


def _check(options: Options) -> None:
    for name in options.clients:
        if not _NAME.fullmatch(name):
            raise MtlsError(f"The client's name {name!r} cannot be that of a directory.")
    if options.passwords and options.archives is None:
        raise MtlsError("There are passwords of archives, but no directory for them. Set archives.")
    for name, password in options.passwords.items():
        archive.check_password(name, password)


def _is_prediction(options: Options) -> bool:
    """Whether this is check mode before the first run, with nothing on disk to go by."""
    return options.check_mode and not options.directory.exists()


def _server_ca(options: Options) -> bytes | None:
    if options.server_ca is None or not options.server_ca.exists():
        return None
    data = read_bytes(options.server_ca, what="server's CA")
    labels = {label.decode() for label in _PEM_LABEL.findall(data)}
    if labels != {"CERTIFICATE"}:
        raise MtlsError(
            f"The server's CA {options.server_ca} must hold certificates in PEM and nothing else, because every client "
            f"gets a copy, but it holds {', '.join(sorted(labels)) or 'none'}.",
            path=str(options.server_ca),
        )
    return data


def _directories(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise MtlsError(f"The directory {directory} cannot be read: {exc.strerror}.", path=str(directory)) from exc


def _plan_client(options: Options, name: str, server_ca: bytes | None) -> list[Change]:
    directory = options.directory / name
    has_ca = options.server_ca is not None
    has_p12 = (directory / P12).exists()
    wanted: dict[str, tuple[bytes | None, int]] = {
        texts.CURL: (texts.curl_script(name, options.address, has_server_ca=has_ca), PROGRAM_MODE),
        texts.README: (
            texts.readme(name, options.address, has_server_ca=has_ca, has_p12=has_p12),
            KEY_MODE,
        ),
        # None in a prediction: the CA is still to be made.
        texts.SERVER_CA: ((server_ca or b"") if has_ca else None, KEY_MODE),
    }
    found = [_compare(name, directory / file, data, mode) for file, (data, mode) in wanted.items()]
    return [one for one in found if one is not None]


def _compare(name: str, path: Path, data: bytes | None, mode: int) -> Change | None:
    """Give the change that makes ``path`` hold ``data`` with ``mode``; None when there is none to make."""
    present, found_mode = _content(path)
    if data is None:
        return None if present is None else Change(name, path, None, 0, "it is not wanted any more")
    if present is None:
        return Change(name, path, data, mode, "it is missing")
    if present != data:
        return Change(name, path, data, mode, "it has another content")
    if found_mode != mode:
        return Change(name, path, data, mode, f"it has the mode {found_mode:04o}, wanted is {mode:04o}")
    return None


def _content(path: Path) -> tuple[bytes | None, int]:
    try:
        with path.open("rb") as stream:
            return stream.read(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    except FileNotFoundError:
        return None, 0
    except OSError as exc:
        raise MtlsError(f"{path} cannot be read: {exc.strerror}.", path=str(path)) from exc


def _plan_removal(directory: Path, name: str) -> list[Change]:
    return [
        Change(name, directory / file, None, 0, "the client has no certificate any more")
        for file in _OWN
        if (directory / file).exists()
    ]


def _plan_archives(
    options: Options, handed: t.Sequence[str], planned: t.Mapping[tuple[str, str], Change], notes: list[str]
) -> list[Change]:
    archives = t.cast("Path", options.archives)
    changes: list[Change] = []
    for name in handed:
        if name not in options.passwords:
            continue
        path = archives / f"{name}.zip"
        files = _archived(options.directory / name, name, planned)
        password = options.passwords[name]
        present, mode = _content(path)
        reason = "it is missing"
        if present is not None:
            if archive.holds(present, files, password=password) and mode == KEY_MODE:
                continue
            reason = "it does not hold the client's files as they are under this password, or is not private"
        data = b"" if options.check_mode else archive.build(files, password=password)
        changes.append(Change(name, path, data, KEY_MODE, reason))
    notes += [
        f"There is a password for the archive of {name}, but no such client in the list."
        for name in sorted(set(options.passwords) - set(options.clients))
    ]
    for path in sorted(archives.glob("*.zip")) if archives.is_dir() else ():
        name = path.stem
        is_kept = name in options.passwords and name in handed
        is_foreign = name not in options.clients and (options.directory / name / CERTIFICATE).exists()
        if not is_kept and not is_foreign:
            changes.append(Change(name, path, None, 0, "the client is to have none"))
    return changes


def _archived(directory: Path, name: str, planned: t.Mapping[tuple[str, str], Change]) -> dict[str, tuple[bytes, int]]:
    """Give what belongs into a client's archive, with the planned changes already made."""
    files: dict[str, tuple[bytes, int]] = {}
    for file in (KEY, CERTIFICATE, CHAIN, P12, *_OWN):
        change = planned.get((name, file))
        data = change.data if change is not None else _content(directory / file)[0]
        if data is not None:
            files[f"{name}/{file}"] = (data, PROGRAM_MODE if file == texts.CURL else KEY_MODE)
    return files


def _carry_out(options: Options, changes: t.Sequence[Change]) -> None:
    if any(one.data is not None and one.path.parent == options.archives for one in changes):
        ensure_directory(t.cast("Path", options.archives), mode=PRIVATE_DIRECTORY_MODE)
    for directory in dict.fromkeys(one.path.parent for one in changes):
        _sweep(directory)
    for change in changes:
        if change.data is not None:
            write_atomic(change.path, change.data, mode=change.mode, is_derived=True)
            continue
        try:
            change.path.unlink(missing_ok=True)
            if not any(change.path.parent.iterdir()):
                change.path.parent.rmdir()
        except OSError as exc:
            raise MtlsError(f"{change.path} cannot be removed: {exc.strerror}.", path=str(change.path)) from exc


def _sweep(directory: Path) -> None:
    """Remove temporary files of ours that a killed run left."""
    if directory.is_dir():
        archives = {path.name[1:-9] for path in directory.glob(".*.zip.*")}
        sweep(directory, [*_OWN, *archives])


def _diff(changes: t.Sequence[Change]) -> dict[str, str]:
    """Give before and after in words: contents are long, and the archives' are secret."""
    return {
        "before_header": "hand-over",
        "after_header": "hand-over",
        "before": "".join(f"{one.path}: {one.reason}\n" for one in changes),
        "after": "".join(f"{one.path}: {'removed' if one.data is None else 'written'}\n" for one in changes),
    }
