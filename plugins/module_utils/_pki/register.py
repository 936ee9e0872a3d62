# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The register of issued certificates: JSON lines, only ever appended to.

A line is on disk before the certificate it speaks of is: a crash may leave a line whose certificate nobody got, never
a certificate that the register does not know. A last line without its end is what such a crash leaves; nothing was
delivered for it, so it is dropped.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import KEY_MODE, ensure_directory, sync_directory

Entry = t.Mapping[str, t.Any]

REVOKED = "revoked"
# The events by which somebody has a certificate.
_GIVEN = frozenset({"issued", "recorded"})


class Register:
    """The entries of one register file, and the way to add to them. ``path`` None means that none is kept."""

    def __init__(
        self, path: Path | None, entries: t.Sequence[Entry] = (), *, size: int = 0, is_torn: bool = False
    ) -> None:
        self.path = path
        self.is_torn = is_torn
        self._size = size
        self._entries: list[Entry] = list(entries)
        self._serials = {str(entry["serial_number"]) for entry in entries if entry.get("serial_number")}
        self._last_event: dict[tuple[str, t.Any], str] = {}
        self._latest: dict[str, str] = {}
        self._revoked: dict[str, Entry] = {}
        for entry in entries:
            self._note(entry)

    def _note(self, entry: Entry) -> None:
        name, serial = str(entry.get("name")), entry.get("serial_number")
        self._last_event[(name, serial)] = entry["event"]
        if not serial:
            return
        if entry["event"] in _GIVEN:
            self._latest[name] = str(serial)
        elif entry["event"] == REVOKED:
            self._revoked.setdefault(str(serial), entry)

    @property
    def count(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    def knows(self, serial_number: str) -> bool:
        """Tell whether this serial number was ever used; always true of a register that is not kept."""
        return self.path is None or serial_number in self._serials

    def is_free(self, serial_number: str) -> bool:
        """Tell whether a new certificate may have this serial number."""
        return serial_number not in self._serials

    def last_event(self, name: str, serial_number: str | None) -> str | None:
        """Give the latest event of a certificate, by its holder's name and serial number."""
        return self._last_event.get((name, serial_number))

    @property
    def revoked(self) -> t.Mapping[str, Entry]:
        """Every revoked certificate's entry by serial number."""
        return self._revoked

    def is_held(self, name: str) -> bool:
        """Tell whether the latest certificate of this holder was revoked: there is no next one unless asked for."""
        return self._latest.get(name) in self._revoked

    def to_revoke(self, name: str, now_text: str) -> list[Entry]:
        """Give what was ever given to ``name``, has not expired at ``now_text`` and is not revoked, each once."""
        found = {
            str(entry["serial_number"]): entry
            for entry in self._entries
            if entry.get("name") == name and entry["event"] in _GIVEN and entry.get("serial_number")
        }
        return [
            entry
            for serial, entry in found.items()
            if serial not in self._revoked and str(entry.get("not_after", "9")) > now_text
        ]

    def names(self) -> list[str]:
        """Give everybody who ever got a certificate."""
        return sorted(self._latest)

    def append(self, entries: t.Sequence[Entry]) -> None:
        """Add ``entries`` and return when they are on the disk. A torn last line is cut off first.

        Raises MtlsError when the file cannot be written.
        """
        if self.path is None or not (entries or self.is_torn):
            return
        data = "".join(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in entries).encode()
        try:
            is_new = not self.path.exists()
            if is_new and not self.path.parent.is_dir():
                ensure_directory(self.path.parent)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, KEY_MODE)
            try:
                os.ftruncate(descriptor, self._size)
                os.lseek(descriptor, self._size, os.SEEK_SET)
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(self.path.parent)
        except OSError as exc:
            raise MtlsError(
                f"The register {self.path} cannot be written: {exc.strerror}. No further certificate was issued.",
                path=str(self.path),
            ) from exc
        self._size += len(data)
        self.is_torn = False
        self._entries.extend(entries)
        for entry in entries:
            self._note(entry)
            if entry.get("serial_number"):
                self._serials.add(str(entry["serial_number"]))


def read_register(path: Path | None) -> Register:
    """Read a register; a file that does not exist yet is an empty one.

    Raises MtlsError when a line other than a torn last one is damaged.
    """
    if path is None:
        return Register(None)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Register(path)
    except OSError as exc:
        raise MtlsError(f"The register {path} cannot be read: {exc.strerror}.", path=str(path)) from exc
    whole = data[: data.rfind(b"\n") + 1]
    entries = [_parse(line, number, path) for number, line in enumerate(whole.splitlines(), start=1) if line.strip()]
    return Register(path, entries, size=len(whole), is_torn=len(whole) != len(data))


def _parse(line: bytes, number: int, path: Path) -> Entry:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        raise MtlsError(
            f"Line {number} of the register {path} is damaged: it is not a JSON object with an event. "
            "Nothing was changed. Restore the file from a backup, or correct or remove that line.",
            path=str(path),
        )
    return entry


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
