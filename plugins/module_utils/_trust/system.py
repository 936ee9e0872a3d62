# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trust store of the operating system: a directory of certificates, and a program that takes them in.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, content_if_any, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._trust import certificates, commands

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._trust.certificates import Certificate

# There from before the first change until the program has run, so that a run that was killed is completed by the next.
_PENDING = "kyma-mtls.pending"


@dataclasses.dataclass(frozen=True)
class SystemStore:
    """Where certificates are put, and what takes them in."""

    directory: Path
    command: tuple[str, ...]
    removal_command: tuple[str, ...] = ()  # where another one is needed for what was removed

    def path(self, fingerprint: str) -> Path:
        return self.directory / f"{certificates.label(fingerprint)}.crt"

    @property
    def pending(self) -> Path:
        return self.directory / _PENDING

    @property
    def is_writable(self) -> bool:
        return os.access(self.directory, os.W_OK)


# Debian and Ubuntu, Alpine; Fedora, RHEL and their kin; SUSE; Arch.
KNOWN = (
    SystemStore(
        Path("/usr/local/share/ca-certificates"),
        ("update-ca-certificates",),
        ("update-ca-certificates", "--fresh"),  # without it, links to what was removed stay
    ),
    SystemStore(Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust", "extract")),
    SystemStore(Path("/etc/pki/trust/anchors"), ("update-ca-certificates",)),
    SystemStore(Path("/etc/ca-certificates/trust-source/anchors"), ("update-ca-trust", "extract")),
)


def find(directory: Path | None, command: t.Sequence[str]) -> SystemStore:
    """Give the store in ``directory``, or that of this system. Raises MtlsError when it is unknown."""
    if directory is not None:
        return SystemStore(directory, tuple(command))
    for store in KNOWN:
        if store.directory.is_dir() and commands.find(store.command[0]):
            return store
    raise MtlsError(
        "The trust store of this operating system is not known. Install ca-certificates, or say where certificates "
        "are put and which program takes them in (system_directory, system_command)."
    )


def plan(store: SystemStore, wanted: t.Sequence[Certificate], obsolete: t.Collection[str]) -> list[str]:
    """Say in words what is to change; empty when nothing is."""
    changes = [
        f"{store.path(one.fingerprint)}: trusted"
        for one in wanted
        if content_if_any(store.path(one.fingerprint)) != one.pem
    ]
    changes += [f"{store.path(one)}: removed" for one in obsolete if _is_ours(store, one)]
    if not changes and store.pending.exists():
        changes.append(f"{store.directory}: taken in, which an earlier run did not get to")
    return changes


def carry_out(store: SystemStore, wanted: t.Sequence[Certificate], obsolete: t.Collection[str]) -> None:
    """Bring the store to the wanted state and have it taken in. Raises MtlsError."""
    command = store.command
    try:
        if store.removal_command and (store.pending.exists() or any(_is_ours(store, one) for one in obsolete)):
            command = store.removal_command
        store.pending.touch()
        for one in wanted:
            if content_if_any(store.path(one.fingerprint)) != one.pem:
                write_atomic(store.path(one.fingerprint), one.pem, mode=CERTIFICATE_MODE)
        for fingerprint in obsolete:
            if _is_ours(store, fingerprint):
                store.path(fingerprint).unlink()
        commands.run(command, what="Taking certificates into the system's trust store")
        store.pending.unlink()
    except OSError as exc:
        raise MtlsError(f"The system's trust store {store.directory} cannot be changed: {exc.strerror}.") from exc


def _is_ours(store: SystemStore, fingerprint: str) -> bool:
    """Whether the file of that name holds what its name says: another one is left alone."""
    content = content_if_any(store.path(fingerprint))
    try:
        return content is not None and [one.fingerprint for one in certificates.parse(content)] == [fingerprint]
    except ValueError:
        return False
