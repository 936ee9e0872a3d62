# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The register of issued certificates: JSON lines, only ever appended to.

A line is on disk before the certificate it speaks of is: a crash may leave a line whose certificate nobody got, never
a certificate that the register does not know. A last line that is cut short is what such a crash leaves; nothing was
delivered for it, so it is dropped. One without a newline only is whole, and is kept.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    content_if_any,
    ensure_directory,
    is_encodable,
    sync_directory,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PROVIDED, SELF_SIGNED
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe

if t.TYPE_CHECKING:
    from cryptography import x509

Entry = t.Mapping[str, t.Any]

REVOKED = "revoked"
_LIMIT = 2**30  # bytes; a line has about 600
# The events by which somebody has a certificate.
_GIVEN = frozenset({"issued", "recorded"})
# RFC 5280 section 4.1.2.2: 20 octets.
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,40}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_TIMES = ("time", "not_before", "not_after")
_TEXTS = ("name", "issuer", "subject")


class Register:
    """The entries of one register file, and the way to add to them. ``path`` None means that none is kept."""

    def __init__(
        self,
        path: Path | None,
        entries: t.Sequence[Entry] = (),
        *,
        size: int = 0,
        is_torn: bool = False,
        is_unended: bool = False,
    ) -> None:
        self.path = path
        self.is_torn = is_torn
        self._is_unended = is_unended
        self._size = size
        self._entries: list[Entry] = []
        self._pending: list[Entry] = []
        self._by_serial: dict[int, Entry] = {}
        self._last_event: dict[tuple[str, int | None], str] = {}
        self._latest: dict[str, int] = {}
        self._given: dict[str, dict[int, Entry]] = {}
        self._revoked: dict[int, Entry] = {}
        for entry in entries:
            self._note(entry)

    def _note(self, entry: Entry) -> None:
        self._entries.append(entry)
        name = entry.get("name")
        serial = _number_of(entry)
        self._last_event[(str(name), serial)] = entry["event"]
        if serial is None:
            return
        if entry["event"] in _GIVEN:
            self._by_serial[serial] = entry
            if name is not None:
                self._latest[str(name)] = serial
                self._given.setdefault(str(name), {})[serial] = entry
        else:
            self._by_serial.setdefault(serial, entry)
        if entry["event"] == REVOKED:
            self._revoked.setdefault(serial, entry)

    def take_up(self, entries: t.Sequence[Entry]) -> None:
        """Add ``entries`` that are missing in the file; the next :meth:`write` writes them."""
        self._pending.extend(entries)
        for entry in entries:
            self._note(entry)

    def find(self, serial_number: int) -> Entry | None:
        """Return what is known of a certificate by its serial number."""
        return self._by_serial.get(serial_number)

    @property
    def count(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    def knows(self, serial_number: int) -> bool:
        """Tell whether this serial number was ever used; always true of a register that is not kept."""
        return self.path is None or serial_number in self._by_serial

    def is_free(self, serial_number: int) -> bool:
        """Tell whether a new certificate may have this serial number."""
        return serial_number not in self._by_serial

    def last_event(self, name: str, serial_number: int | None) -> str | None:
        """Give the latest event of a certificate, by its name and serial number."""
        return self._last_event.get((name, serial_number))

    @property
    def revoked(self) -> t.Mapping[int, Entry]:
        """Every revoked certificate's entry by serial number."""
        return self._revoked

    def is_held(self, name: str) -> bool:
        """Tell whether the latest certificate of this name was revoked: there is no next one unless requested."""
        return self._latest.get(name) in self._revoked

    def to_revoke(self, name: str, now_text: str) -> list[Entry]:
        """Give what was ever given to ``name``, has not expired at ``now_text`` and is not revoked, each once."""
        return [
            entry
            for serial, entry in self._given.get(name, {}).items()
            if serial not in self._revoked and str(entry.get("not_after", "9")) > now_text
        ]

    def names(self) -> list[str]:
        """Give everybody who ever got a certificate."""
        return sorted(self._latest)

    def write(self, entries: t.Sequence[Entry], *, is_synced: bool = True) -> None:
        """Add ``entries`` and return when they are on the disk. A torn last line is cut off, an unended one ended.

        Without ``is_synced``, whoever calls waits for the disk. Raises MtlsError when the file cannot be written.
        """
        if self.path is None or not (entries or self._pending or self.is_torn):
            return
        lines = (f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in (*self._pending, *entries))
        data = ("\n" * self._is_unended + "".join(lines)).encode()
        try:
            is_new = not self.path.exists()
            if is_new and not self.path.parent.is_dir():
                ensure_directory(self.path.parent)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, KEY_MODE)
            try:
                os.ftruncate(descriptor, self._size)
                os.lseek(descriptor, self._size, os.SEEK_SET)
                _write_all(descriptor, data)
                if is_synced:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(self.path.parent)
        except OSError as exc:
            raise MtlsError(
                f"The register {self.path} cannot be written: {exc.strerror}. Nothing further was done.",
                path=str(self.path),
            ) from exc
        self._size += len(data)
        self.is_torn = self._is_unended = False
        self._pending.clear()
        for entry in entries:
            self._note(entry)


@dataclasses.dataclass(frozen=True)
class WriteRegister:
    """Write the lines that a plan has added to the register."""

    register: Register

    def apply(self) -> None:
        self.register.write([])


def read_register(path: Path | None) -> Register:
    """Read a register; a file that does not exist yet is an empty one.

    Raises MtlsError when a line other than a torn last one is damaged.
    """
    if path is None:
        return Register(None)
    data = content_if_any(path, what="register", limit=_LIMIT)
    if data is None:
        return Register(path)
    whole = data[: data.rfind(b"\n") + 1]
    is_unended = len(whole) != len(data) and isinstance(_loaded(data[len(whole) :]), dict)
    if is_unended:
        whole = data
    entries = [_parse(line, number, path) for number, line in enumerate(whole.split(b"\n"), start=1) if line.strip()]
    return Register(path, entries, size=len(whole), is_torn=len(whole) != len(data), is_unended=is_unended)


def entry_of(
    event: str,
    name: str,
    certificate: x509.Certificate | None,
    *,
    usage: str,
    moment: datetime.datetime,
    reasons: t.Sequence[str],
    provider: str = SELF_SIGNED,
) -> dict[str, t.Any]:
    """Give the line about a certificate."""
    entry: dict[str, t.Any] = {"event": event, "time": describe.time_text(moment), "name": name}
    if certificate is not None:
        entry |= {
            "serial_number": describe.serial_text(certificate.serial_number),
            "subject": describe.name_text(certificate.subject),
            "sans": profile.sans_text(certificate),
            "issuer": describe.name_text(certificate.issuer),
            "fingerprint_sha256": describe.fingerprint_sha256(certificate),
            "not_before": describe.time_text(certificate.not_valid_before_utc),
            "not_after": describe.time_text(certificate.not_valid_after_utc),
        }
    return entry | {"usage": usage, "provider": provider, "reasons": list(reasons)}


def external_provider(entry: Entry | None) -> str:
    """Return who has issued what an entry is about; "" for a CA that is ours or provided."""
    provider = str((entry or {}).get("provider") or SELF_SIGNED)
    return "" if provider in {SELF_SIGNED, PROVIDED} else provider


def _number_of(entry: Entry) -> int | None:
    """Return the serial number of an entry, however it is written."""
    serial = entry.get("serial_number")
    return int(serial, 16) if serial else None


def _loaded(line: bytes) -> t.Any:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None


def _parse(line: bytes, number: int, path: Path) -> Entry:
    entry = _loaded(line)
    problem = _problem(entry) if isinstance(entry, dict) else "it is not a JSON object with an event"
    if problem:
        raise MtlsError(
            f"Line {number} of the register {path} is damaged: {problem}. "
            "Nothing was changed. Restore the file from a backup, or correct or remove that line.",
            path=str(path),
        )
    return t.cast("Entry", entry)


def _problem(entry: dict[str, t.Any]) -> str:
    """Say what about a line cannot be worked with: a value that is skipped could take a revocation back."""
    event, serial = entry.get("event"), entry.get("serial_number")
    if not isinstance(event, str):
        return "it is not a JSON object with an event"
    if serial is not None and not (isinstance(serial, str) and _SERIAL.fullmatch(serial)):
        return "its serial_number is not a hexadecimal string"
    for part in _TEXTS:
        text = entry.get(part)
        if text is not None and not (isinstance(text, str) and (text.isascii() or is_encodable(text))):
            return f"its {part} is not text"
    for part in _TIMES:
        if (moment := entry.get(part)) is not None and not (isinstance(moment, str) and _TIME.fullmatch(moment)):
            return f"its {part} is not a time like 2026-11-23T12:00:00Z"
    return _revocation_problem(entry) if event == REVOKED else ""


def _revocation_problem(entry: dict[str, t.Any]) -> str:
    serial = entry.get("serial_number")
    if not serial or not 0 < int(serial, 16) < 1 << 159:
        return "its serial_number is not one that a revocation list can hold"
    try:
        if datetime.datetime.fromisoformat(entry["time"]).year < 1950:  # where UTCTime begins
            return "its time is before 1950"
    except (KeyError, TypeError, ValueError):
        return "its time is not a time like 2026-11-23T12:00:00Z"
    return ""


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
