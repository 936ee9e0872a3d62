# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients need beside their keys and certificates, in their directories: compared, then written or removed.

A client's directory is the one that its key is in. So there is one copy of each key, and a new certificate is in place
when it has been issued. The texts name only files, so they stay right.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import stat
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    is_file_name,
    read_bytes,
    sweep,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._handover import texts
from ansible_collections.kyma.mtls.plugins.module_utils._parallel import collected

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import Address

PROGRAM_MODE = 0o700
CERTIFICATE, P12 = "client.crt", "client.p12"
# The files of so many clients are worth a process of their own: a fifth of a second.
_SHARE = 2000
_FILES = (texts.CURL, texts.README, texts.SERVER_CA)
_PEM_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


@dataclasses.dataclass(frozen=True)
class HandoverOptions:
    """The options of the module. Without ``server_ca``, clients rely on the CAs that their system trusts."""

    directory: Path
    clients: tuple[str, ...]
    address: Address
    server_ca: Path | None
    check_mode: bool


@dataclasses.dataclass(frozen=True)
class FileChange:
    """A file to be written, or with ``data`` None to be removed, and why."""

    client: str
    path: Path
    data: bytes | None
    mode: int
    reason: str


def run(options: HandoverOptions) -> dict[str, t.Any]:
    """Bring every client's files to the requested state and return the module's result; check mode predicts it.

    Raises MtlsError. The options are checked before anything is changed.
    """
    for name in options.clients:
        if not is_file_name(name):
            raise MtlsError(f"The client's name {name!r} cannot be that of a directory.")
    server_ca = _server_ca(options)
    is_prediction = options.check_mode and not options.directory.exists()
    if options.server_ca is not None and server_ca is None and not is_prediction:
        return {
            "changed": False,
            "changes": [],
            "diff": _diff([]),
            "warnings": [
                f"Clients get no {texts.CURL}, {texts.README} and {texts.SERVER_CA}, because the server's CA "
                f"{options.server_ca} does not exist. Make it first, name another file, or turn the hand-over off."
            ],
        }
    changes: list[FileChange] = []
    # In check mode, a client without a directory is one whose certificate would have been issued by now.
    certified = [
        name
        for name in options.clients
        if (options.directory / name / CERTIFICATE).exists()
        or (options.check_mode and not (options.directory / name).exists())
    ]
    changes += collected(certified, functools.partial(_plan_clients, options, server_ca), least=_SHARE)
    for name in sorted({*_directories(options.directory)} - set(certified)):
        if not (options.directory / name / CERTIFICATE).exists():
            changes += _plan_removal(options.directory / name, name)
    if not options.check_mode:
        _apply(changes)
    return {
        "changed": bool(changes),
        "changes": [{"name": change.client, "path": str(change.path), "reason": change.reason} for change in changes],
        "diff": _diff(changes),
        "warnings": [],
    }


def _server_ca(options: HandoverOptions) -> bytes | None:
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


def _plan_clients(options: HandoverOptions, server_ca: bytes | None, names: t.Iterable[str]) -> list[FileChange]:
    return [change for name in names for change in _plan_client(options, name, server_ca)]


def _plan_client(options: HandoverOptions, name: str, server_ca: bytes | None) -> list[FileChange]:
    directory = options.directory / name
    has_ca = options.server_ca is not None
    has_p12 = (directory / P12).exists()
    files: dict[str, tuple[bytes | None, int]] = {
        texts.CURL: (texts.curl_script(name, options.address, has_server_ca=has_ca), PROGRAM_MODE),
        texts.README: (texts.readme(name, options.address, has_server_ca=has_ca, has_p12=has_p12), KEY_MODE),
        # Empty in a prediction: the CA does not exist yet.
        texts.SERVER_CA: ((server_ca or b"") if has_ca else None, KEY_MODE),
    }
    compared = [_compare(name, directory / file, data, mode) for file, (data, mode) in files.items()]
    return [change for change in compared if change is not None]


def _compare(name: str, path: Path, data: bytes | None, mode: int) -> FileChange | None:
    """Return the change that makes ``path`` hold ``data`` with ``mode``; None when there is none to make."""
    try:
        with path.open("rb") as stream:
            present, present_mode = stream.read(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    except FileNotFoundError:
        return None if data is None else FileChange(name, path, data, mode, "it is missing")
    except OSError as exc:
        raise MtlsError(f"{path} cannot be read: {exc.strerror}.", path=str(path)) from exc
    if data is None:
        return FileChange(name, path, None, 0, "it is obsolete")
    if present != data:
        return FileChange(name, path, data, mode, "its content differs")
    if present_mode != mode:
        return FileChange(name, path, data, mode, f"its mode is {present_mode:04o}, not {mode:04o}")
    return None


def _plan_removal(directory: Path, name: str) -> list[FileChange]:
    return [
        FileChange(name, directory / file, None, 0, "the client has no certificate any more")
        for file in _FILES
        if (directory / file).exists()
    ]


def _apply(changes: t.Sequence[FileChange]) -> None:
    for directory in dict.fromkeys(change.path.parent for change in changes):
        if directory.is_dir():
            # Temporary files that a killed run left.
            sweep(directory, _FILES)
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


def _diff(changes: t.Sequence[FileChange]) -> dict[str, str]:
    """Return the files and what happens to them: contents are long."""
    return {
        "before_header": "hand-over",
        "after_header": "hand-over",
        "before": "".join(f"{change.path}: {change.reason}\n" for change in changes),
        "after": "".join(f"{change.path}: {'removed' if change.data is None else 'written'}\n" for change in changes),
    }
