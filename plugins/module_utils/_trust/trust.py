# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trust stores compared with what is asked for, changed, and a record of it.

The record is written before any store is changed, so that what a killed run left can be found and removed.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    ensure_directory,
    read_bytes,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._trust.stores import (
    Certificate,
    NssDatabase,
    SystemStore,
    TrustStore,
    parse,
    system_store,
)


@dataclasses.dataclass(frozen=True)
class TrustOptions:
    """The options of the module."""

    certificate: Path | None
    content: str | None
    is_present: bool
    is_system: bool
    system_directory: Path | None
    system_command: tuple[str, ...]
    databases: tuple[Path, ...]
    record: Path | None
    obsolete: tuple[str, ...]
    check_mode: bool


@dataclasses.dataclass(frozen=True)
class TrustRecord:
    """Which certificates were put where, by their fingerprints; ``clients`` were imported by version 0.1.0."""

    is_system: bool = False
    databases: list[str] = dataclasses.field(default_factory=list)
    authorities: list[str] = dataclasses.field(default_factory=list)
    clients: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> bytes:
        return (json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n").encode()


def run(options: TrustOptions) -> dict[str, t.Any]:
    """Bring every store to the requested state and return the module's result; in check mode only predict it.

    Raises MtlsError. A system store that this user may not write to is left as it is, and the result says so.
    """
    if relative := [str(directory) for directory in options.databases if not directory.is_absolute()]:
        raise MtlsError(f"The NSS database {relative[0]} must be named by its whole path, beginning with / or ~.")
    before = _read_record(options.record)
    certificates = _certificates(options)
    given = [certificate.fingerprint for certificate in certificates]
    obsolete = [
        authority for authority in dict.fromkeys([*before.authorities, *options.obsolete]) if authority not in given
    ]
    plans = [
        (store, trusted, removed, store.plan(trusted, removed))
        for store, trusted, removed in _stores(options, before, certificates, obsolete)
    ]
    pending = [plan for plan in plans if plan[3] and isinstance(plan[0], SystemStore) and not plan[0].is_writable]
    made = [plan for plan in plans if plan not in pending]
    changes = [change for plan in made for change in plan[3]]
    after = TrustRecord()
    if options.is_present and (options.is_system or options.databases):
        after = TrustRecord(options.is_system, [str(directory) for directory in options.databases], given)
    if not options.check_mode:
        _write_record(options.record, _union(before, after))
        for store, trusted, removed, differences in made:
            if differences:
                store.apply(trusted, removed)
        if not pending:
            _write_record(options.record, after)
    return {
        "changed": bool(changes),
        "changes": changes,
        "system_pending": bool(pending),
        "obsolete": obsolete,
        "content": b"".join(certificate.pem for certificate in certificates).decode(),
        "diff": {
            "before_header": "trust stores",
            "after_header": "trust stores",
            "before": "",
            "after": "".join(f"{change}\n" for plan in plans for change in plan[3]),
        },
    }


def _stores(
    options: TrustOptions, before: TrustRecord, certificates: tuple[Certificate, ...], obsolete: list[str]
) -> t.Iterator[tuple[TrustStore, tuple[Certificate, ...], list[str]]]:
    """Give every store with what it is to trust, and what is to be removed from it."""
    everything = [*obsolete, *(certificate.fingerprint for certificate in certificates)]
    for directory in dict.fromkeys([*options.databases, *map(Path, before.databases)]):
        store = NssDatabase(directory)
        if options.is_present and directory in options.databases:
            yield store, certificates, [*obsolete, *before.clients]
        else:
            yield store, (), [*everything, *before.clients]
    if options.is_system or before.is_system:
        system = system_store(options.system_directory, options.system_command)
        if options.is_present and options.is_system:
            yield system, certificates, obsolete
        else:
            yield system, (), everything


def _certificates(options: TrustOptions) -> tuple[Certificate, ...]:
    if options.content is not None:
        # What does not exist yet is predicted to be nothing.
        return () if options.check_mode and not options.content else parse(options.content.encode(), source="content")
    if options.certificate is None or not options.certificate.exists():
        if options.is_present and not options.check_mode:
            raise MtlsError(f"The CA certificate {options.certificate} does not exist. Create it first.")
        return ()
    return parse(read_bytes(options.certificate, what="certificate"), source=str(options.certificate))


def _read_record(path: Path | None) -> TrustRecord:
    if path is None or not path.exists():
        return TrustRecord()
    try:
        return TrustRecord(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as exc:
        raise MtlsError(
            f"The record {path} of what is in trust stores cannot be read: {exc}. Restore it; or remove it, and "
            "take certificates named kyma-mtls-... out of the trust stores by hand.",
            path=str(path),
        ) from exc


def _write_record(path: Path | None, record: TrustRecord) -> None:
    if path is None:
        return
    if record == TrustRecord():
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != record.to_json():
        if not path.parent.is_dir():  # the mode of a directory that is there already is its owner's business
            ensure_directory(path.parent)
        write_atomic(path, record.to_json(), mode=KEY_MODE)


def _union(first: TrustRecord, second: TrustRecord) -> TrustRecord:
    return TrustRecord(
        is_system=first.is_system or second.is_system,
        databases=list(dict.fromkeys([*first.databases, *second.databases])),
        authorities=list(dict.fromkeys([*first.authorities, *second.authorities])),
        clients={**first.clients, **second.clients},
    )
