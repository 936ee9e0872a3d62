# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put CA certificates into trust stores, and take out exactly what was put in.

A record says which certificates, by fingerprint, went into which stores. It is written before any store is changed, so
that whatever a killed run left can be found and removed.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import KEY_MODE, ensure_directory, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._trust import certificates, nss, system

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._trust.certificates import Certificate


@dataclasses.dataclass(frozen=True)
class Options:
    """What the module's caller asks for."""

    certificate: Path | None
    content: str | None
    is_present: bool
    is_system: bool
    system_directory: Path | None
    system_command: tuple[str, ...]
    databases: tuple[Path, ...]
    clients: tuple[nss.Client, ...]
    record: Path | None
    obsolete: tuple[str, ...]
    check_mode: bool


@dataclasses.dataclass
class Record:
    """What was put where: CA fingerprints, those of clients and their CAs with nicknames, and the stores."""

    is_system: bool = False
    databases: list[str] = dataclasses.field(default_factory=list)
    authorities: list[str] = dataclasses.field(default_factory=list)
    clients: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> bytes:
        return (json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n").encode()


def run(options: Options) -> dict[str, t.Any]:
    """Bring every store to the wanted state and return the module's result; in check mode only say it.

    Raises MtlsError. A system store that this user may not write to is left, and the result says that it is pending.
    """
    if relative := [str(one) for one in options.databases if not one.is_absolute()]:
        raise MtlsError(f"The NSS database {relative[0]} must be named by its whole path, beginning with / or ~.")
    before = _read_record(options.record)
    wanted = _wanted(options)
    clients = options.clients if options.is_present else ()
    fingerprints = [one.fingerprint for one in wanted]
    obsolete = [one for one in dict.fromkeys([*before.authorities, *options.obsolete]) if one not in fingerprints]
    kept_clients = {
        one.fingerprint: certificates.label(one.fingerprint)
        for client in clients
        for one in (client.certificate, *client.chain)
    }
    obsolete_clients = {
        key: name for key, name in before.clients.items() if key not in kept_clients and key not in fingerprints
    }
    out_of_all = {one: certificates.label(one) for one in [*obsolete, *fingerprints]} | before.clients
    out = {one: certificates.label(one) for one in obsolete} | obsolete_clients

    databases = [str(one) for one in options.databases] if options.is_present else []
    plans: list[tuple[nss.Plan, tuple[t.Any, ...]]] = []
    for directory in dict.fromkeys([*databases, *before.databases, *map(str, options.databases)]):
        arguments: tuple[t.Any, ...] = (wanted, clients, out) if directory in databases else ((), (), out_of_all)
        plans.append((nss.Database(Path(directory)).plan(*arguments), arguments))
    changes = [change for plan, _arguments in plans for change in plan.changes]

    store, system_changes, system_arguments = _plan_system(options, before, wanted, obsolete)
    is_pending = bool(system_changes) and store is not None and not store.is_writable
    left = [plan for plan, _arguments in plans if plan.ambiguous]
    after = Record(
        is_system=options.is_present and options.is_system,
        databases=list(dict.fromkeys([*databases, *(str(plan.directory) for plan in left)])),
        authorities=_ours(options, fingerprints, [plan for plan, _arguments in plans]),
        clients={key: name for plan in left for key, name in plan.ambiguous.items()} | kept_clients,
    )
    if not options.check_mode:
        _write_record(options.record, _union(before, after))
        for plan, arguments in plans:
            if plan.changes:
                nss.Database(plan.directory).carry_out(*arguments)
        if system_changes and store is not None and not is_pending:
            system.carry_out(store, *system_arguments)
        if not is_pending:
            _write_record(options.record, after)
    return {
        "changed": bool(changes or (system_changes and not is_pending)),
        "changes": changes + ([] if is_pending else system_changes),
        "system_pending": is_pending,
        "obsolete": obsolete,
        "content": b"".join(one.pem for one in wanted).decode(),
        "warnings": [warning for plan, _arguments in plans for warning in plan.warnings],
        "diff": {
            "before_header": "trust stores",
            "after_header": "trust stores",
            "before": "",
            "after": "".join(f"{one}\n" for one in [*changes, *system_changes]),
        },
    }


def _wanted(options: Options) -> tuple[Certificate, ...]:
    if options.content is not None:
        # What does not exist yet is predicted to be nothing.
        return () if options.check_mode and not options.content else certificates.read_content(options.content)
    if options.certificate is None or not options.certificate.exists():
        if options.is_present and not options.check_mode:
            raise MtlsError(f"The CA certificate {options.certificate} does not exist. Make it first.")
        return ()
    return certificates.read(options.certificate)


def _ours(options: Options, fingerprints: t.Sequence[str], plans: t.Sequence[nss.Plan]) -> list[str]:
    """Give the CAs that are not everywhere there already by somebody else's doing."""
    if not options.is_present:
        return []
    databases = [plan for plan in plans if plan.directory in options.databases]
    return [one for one in fingerprints if options.is_system or any(one not in plan.foreign for plan in databases)]


def _plan_system(
    options: Options, before: Record, wanted: t.Sequence[Certificate], obsolete: t.Sequence[str]
) -> tuple[system.SystemStore | None, list[str], tuple[t.Any, ...]]:
    if not options.is_system and not before.is_system:
        return None, [], ()
    store = system.find(options.system_directory, options.system_command)
    if options.is_present and options.is_system:
        arguments: tuple[t.Any, ...] = (wanted, obsolete)
    else:
        arguments = ((), [*obsolete, *(one.fingerprint for one in wanted)])
    return store, system.plan(store, *arguments), arguments


def _read_record(path: Path | None) -> Record:
    if path is None or not path.exists():
        return Record()
    try:
        return Record(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as exc:
        raise MtlsError(
            f"The record {path} of what is in trust stores cannot be read: {exc}. Restore it; or remove it, and "
            f"take certificates named kyma-mtls-... out of the trust stores by hand.",
            path=str(path),
        ) from exc


def _write_record(path: Path | None, record: Record) -> None:
    if path is None:
        return
    if record == Record():
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != record.to_json():
        if not path.parent.is_dir():  # the mode of a directory that is there already is its owner's business
            ensure_directory(path.parent)
        write_atomic(path, record.to_json(), mode=KEY_MODE)


def _union(one: Record, other: Record) -> Record:
    return Record(
        is_system=one.is_system or other.is_system,
        databases=list(dict.fromkeys([*one.databases, *other.databases])),
        authorities=list(dict.fromkeys([*one.authorities, *other.authorities])),
        clients=one.clients | other.clients,
    )
