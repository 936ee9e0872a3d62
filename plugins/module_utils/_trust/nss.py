# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NSS databases, in which Firefox, and Chromium on Linux, keep CAs and certificates of their own.

They are changed by certutil and pk12util, which are NSS's own.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import ensure_directory
from ansible_collections.kyma.mtls.plugins.module_utils._trust import certificates, commands

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._trust.certificates import Certificate

_FILE = "cert9.db"
_LINE = re.compile(r"(?P<nickname>.+?)\s+(?P<trust>[a-zA-Z]*,[a-zA-Z]*,[a-zA-Z]*)\s*")


@dataclasses.dataclass(frozen=True)
class Client:
    """A client's certificate as it is in ``p12``, under the name that the file gives it."""

    nickname: str
    certificate: Certificate
    p12: Path
    password: str = dataclasses.field(repr=False)


def read_clients(
    asked: t.Sequence[t.Mapping[str, t.Any]], *, directory: Path | None, predict: bool
) -> tuple[Client, ...]:
    """Give the clients of the module's ``nss_clients``; with ``predict`` those whose files are there by now.

    Raises MtlsError when a file is missing.
    """
    if asked and directory is None:
        raise MtlsError("nss_clients needs clients_directory, in which the clients' files are.")
    clients = []
    for one in asked:
        own = t.cast("Path", directory) / one["name"]
        p12 = own / "client.p12"
        if p12.exists():
            (certificate, *_others) = certificates.read(own / "client.crt")
            clients.append(Client(one["friendly_name"] or one["name"], certificate, p12, one["password"]))
        elif not predict:
            raise MtlsError(f"The PKCS#12 file {p12} does not exist. Have it made (p12 of the client) and run again.")
    return tuple(clients)


class Database:
    """One database, by its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def exists(self) -> bool:
        return (self.directory / _FILE).exists()

    def plan(
        self, wanted: t.Sequence[Certificate], clients: t.Sequence[Client], obsolete: t.Mapping[str, str]
    ) -> list[str]:
        """Say in words what is to change; empty when nothing is. ``obsolete`` maps fingerprints to nicknames."""
        present = self._trust_by_nickname()
        changes = [f"{self.directory}: {_nickname(one)} trusted" for one in wanted if not self._trusts(one, present)]
        changes += [
            f"{self.directory}: certificate of {one.nickname} imported"
            for one in clients
            if one.nickname not in present or one.certificate.fingerprint not in self._fingerprints(one.nickname)
        ]
        return changes + [
            f"{self.directory}: {nickname} removed"
            for fingerprint, nickname in obsolete.items()
            if nickname in present and fingerprint in self._fingerprints(nickname)
        ]

    def carry_out(
        self, wanted: t.Sequence[Certificate], clients: t.Sequence[Client], obsolete: t.Mapping[str, str]
    ) -> None:
        """Bring the database to the wanted state; make it when it is missing and needed. Raises MtlsError."""
        if not self.exists:
            if not wanted and not clients:
                return
            if not self.directory.is_dir():
                ensure_directory(self.directory)
            self._certutil("-N", "--empty-password")
        present = self._trust_by_nickname()
        kept = {one.certificate.fingerprint for one in clients}
        for fingerprint, nickname in obsolete.items():
            if nickname in present and fingerprint in self._fingerprints(nickname):
                # The client's key is that of its next certificate, unless it gets none.
                has_key = "u" in present[nickname]
                is_renewed = has_key and any(one.nickname == nickname for one in clients) and fingerprint not in kept
                self._certutil("-F" if has_key and not is_renewed else "-D", "-n", nickname)
        for one in wanted:
            if not self._trusts(one, present):
                self._add(one)
        for client in clients:
            if client.certificate.fingerprint not in self._fingerprints(client.nickname):
                self._import(client)

    def _trusts(self, certificate: Certificate, present: t.Mapping[str, str]) -> bool:
        return present.get(_nickname(certificate), "").startswith("C")

    def _add(self, certificate: Certificate) -> None:
        with tempfile.NamedTemporaryFile(suffix=".crt") as file:
            file.write(certificate.pem)
            file.flush()
            self._certutil("-A", "-n", _nickname(certificate), "-t", "C,,", "-i", file.name)

    def _import(self, client: Client) -> None:
        # NamedTemporaryFile has the mode 0600, and an argument would be visible to everybody.
        with tempfile.NamedTemporaryFile(mode="w", encoding="utf-8") as file:
            file.write(client.password)
            file.flush()
            commands.run(
                ("pk12util", "-i", str(client.p12), "-d", f"sql:{self.directory}", "-w", file.name),
                what=f"Importing {client.p12} into the NSS database {self.directory}",
            )

    def _trust_by_nickname(self) -> dict[str, str]:
        if not self.exists:
            return {}
        lines = self._certutil("-L").decode(errors="replace").splitlines()
        found = [_LINE.fullmatch(line) for line in lines]
        return {one["nickname"]: one["trust"] for one in found if one is not None}

    def _fingerprints(self, nickname: str) -> list[str]:
        """Give those of every certificate under that nickname; none when there is none."""
        arguments = ("certutil", "-L", "-d", f"sql:{self.directory}", "-n", nickname, "-a")
        done = commands.attempt(arguments, what="Reading an NSS database")
        return [one.fingerprint for one in certificates.parse(done.stdout)] if done.returncode == 0 else []

    def _certutil(self, action: str, *arguments: str) -> bytes:
        try:
            return commands.run(
                ("certutil", action, "-d", f"sql:{self.directory}", *arguments),
                what=f"certutil {action} in the NSS database {self.directory}",
            )
        except MtlsError as exc:
            if "SEC_ERROR_TOKEN_NOT_LOGGED_IN" in str(exc) or "password" in str(exc).lower():
                raise MtlsError(
                    f"The NSS database {self.directory} is protected by a password. Import there by hand."
                ) from exc
            raise


def _nickname(certificate: Certificate) -> str:
    return certificates.label(certificate.fingerprint)
