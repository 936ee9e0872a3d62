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
import shlex
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
# One certificate as certutil -L -n shows it.
_SHOWN = re.compile(
    r"Fingerprint \(SHA-256\):\s*(?P<fingerprint>[0-9A-F:\s]+?)\s*Fingerprint \(SHA1\):.*?"
    r"SSL Flags:(?P<flags>.*?)Email Flags:",
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Client:
    """A client's certificate as it is in ``p12``, together with the CAs of its ``chain``."""

    name: str
    certificate: Certificate
    chain: tuple[Certificate, ...]
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
            chain = [found for found in certificates.read(own / "client-chain.pem") if found != certificate]
            clients.append(Client(one["name"], certificate, tuple(chain), p12, one["password"]))
        elif not predict:
            raise MtlsError(f"The PKCS#12 file {p12} does not exist. Have it made (p12 of the client) and run again.")
    return tuple(clients)


@dataclasses.dataclass(frozen=True)
class Held:
    """A certificate that is in a database: its nickname there, and what NSS's flags for TLS say of it."""

    nickname: str
    is_trusted: bool  # as a CA of servers
    has_key: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to change in a database, and what is to be left as it is."""

    directory: Path
    removed: tuple[Held, ...]
    trusted: tuple[Certificate, ...]
    imported: tuple[Client, ...]
    # Fingerprints of CAs that somebody else put in, and that are trusted.
    foreign: frozenset[str]
    # Fingerprint -> nickname of what was put in, but cannot be told from what others put in.
    ambiguous: t.Mapping[str, str]

    @property
    def changes(self) -> list[str]:
        """Words for what is to change; empty when nothing is."""
        return [
            *(f"{self.directory}: {_nickname(one)} trusted" for one in self.trusted),
            *(f"{self.directory}: certificate of {one.name} imported" for one in self.imported),
            *(f"{self.directory}: {one.nickname} removed" for one in self.removed),
        ]

    @property
    def warnings(self) -> list[str]:
        return [
            f"In the NSS database {self.directory}, {nickname} stands for more certificates than the one that was put "
            f"in (SHA-256 {fingerprint}). None of them was removed. Remove that one by hand."
            for fingerprint, nickname in self.ambiguous.items()
        ]


class Database:
    """One database, by its directory.

    NSS takes a nickname for a name of a subject: ``certutil -L`` shows all certificates of that subject, whatever their
    nicknames, and pk12util gives a certificate the nickname that another one of its subject has. What is put in here
    has a nickname that no other certificate has, and is put in by certutil before pk12util can choose one. By such a
    nickname certutil removes exactly that certificate.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def exists(self) -> bool:
        return (self.directory / _FILE).exists()

    def plan(self, wanted: t.Sequence[Certificate], clients: t.Sequence[Client], obsolete: t.Mapping[str, str]) -> Plan:
        """Say what is to change. ``obsolete`` maps fingerprints to nicknames. Raises MtlsError."""
        listing = _Listing(self)
        removed, ambiguous = [], {}
        for fingerprint, nickname in obsolete.items():
            under_it = listing.shown(nickname)
            if fingerprint not in under_it:
                continue
            if listing.count(nickname) == 1 and (nickname == certificates.label(fingerprint) or len(under_it) == 1):
                removed.append(Held(nickname, *under_it[fingerprint]))
            else:
                ambiguous[fingerprint] = nickname
        trusted, foreign = [], set()
        for one in wanted:
            held = listing.find(one)
            if held is not None and held.nickname != _nickname(one):
                self._require_trusted(held)
                foreign.add(one.fingerprint)
            elif held is None or not held.is_trusted:
                trusted.append(one)
        imported = []
        for client in clients:
            held = listing.find(client.certificate)
            if held is None or not held.has_key:
                self._require_ours(client, held)
                imported.append(client)
        return Plan(self.directory, tuple(removed), tuple(trusted), tuple(imported), frozenset(foreign), ambiguous)

    def carry_out(
        self, wanted: t.Sequence[Certificate], clients: t.Sequence[Client], obsolete: t.Mapping[str, str]
    ) -> None:
        """Bring the database to the wanted state; make it when it is missing and needed. Raises MtlsError."""
        if not self.exists:
            if not self.directory.is_dir():
                ensure_directory(self.directory)
            self.certutil("-N", "--empty-password")
        for held in self.plan((), (), obsolete).removed:
            self.certutil("-F" if held.has_key else "-D", "-n", held.nickname)
        # Only now: a removed key may be that of the client's next certificate too.
        plan = self.plan(wanted, clients, {})
        for one in plan.trusted:
            self._add(one, "C,,")
        for client in plan.imported:
            self._import(client)
        if plan.changes and (missing := self.plan(wanted, clients, {}).changes):
            raise MtlsError(
                f"certutil reports no error, but this is not so: {', '.join(missing)}. Close the programs that use the "
                f"NSS database, and run again.",
                path=str(self.directory),
            )

    def _require_ours(self, client: Client, held: Held | None) -> None:
        """Refuse to add a key to what a user holds without one: it could not be told from the user's afterwards."""
        if held is None or held.nickname == _nickname(client.certificate):
            return
        database, nickname = shlex.quote(f"sql:{self.directory}"), shlex.quote(held.nickname)
        raise MtlsError(
            f"The NSS database {self.directory} holds the certificate of {client.name} already, under the nickname "
            f"{held.nickname}, but not its key. Nothing was changed. Take it out (certutil -D -d {database} "
            f"-n {nickname}), and run again.",
            path=str(self.directory),
        )

    def _require_trusted(self, held: Held) -> None:
        """Refuse what a user holds without trust: certutil -A would change the flags of the user's own entry."""
        if held.is_trusted:
            return
        database, nickname = shlex.quote(f"sql:{self.directory}"), shlex.quote(held.nickname)
        raise MtlsError(
            f"The NSS database {self.directory} holds the CA already, under the nickname {held.nickname}, but does not "
            f"trust it for servers. Nothing was changed. Have it trusted (certutil -M -d {database} -n {nickname} "
            f"-t C,,) or take it out (certutil -D -d {database} -n {nickname}), and run again.",
            path=str(self.directory),
        )

    def _add(self, certificate: Certificate, flags: str) -> None:
        with tempfile.NamedTemporaryFile(suffix=".crt") as file:
            file.write(certificate.pem)
            file.flush()
            self.certutil("-A", "-n", _nickname(certificate), "-t", flags, "-i", file.name)

    def _import(self, client: Client) -> None:
        listing = _Listing(self)
        for one in (*client.chain, client.certificate):
            if listing.find(one) is None:
                self._add(one, ",,")
        # NamedTemporaryFile has the mode 0600, and an argument would be visible to everybody.
        with tempfile.NamedTemporaryFile(mode="w", encoding="utf-8") as file:
            file.write(client.password)
            file.flush()
            commands.run(
                ("pk12util", "-i", str(client.p12), "-d", f"sql:{self.directory}", "-w", file.name),
                what=f"Importing {client.p12} into the NSS database {self.directory}",
            )

    def certutil(self, action: str, *arguments: str) -> bytes:
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


class _Listing:
    """What is in a database at one time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        lines = database.certutil("-L").decode(errors="replace").splitlines() if database.exists else []
        self._rows = [(one["nickname"], one["trust"]) for line in lines if (one := _LINE.fullmatch(line))]
        self._others: dict[str, Held] | None = None

    def count(self, nickname: str) -> int:
        return sum(1 for name, _trust in self._rows if name == nickname)

    def find(self, certificate: Certificate) -> Held | None:
        """Give the certificate as it is held, under whatever nickname."""
        for name, trust in self._rows:
            if name == _nickname(certificate):
                for_tls = trust.split(",")[0]
                return Held(name, "C" in for_tls, "u" in for_tls)
        if self._others is None:
            self._others = {
                fingerprint: Held(name, *flags)
                for name in dict.fromkeys(name for name, _trust in self._rows)
                for fingerprint, flags in self.shown(name).items()
            }
        return self._others.get(certificate.fingerprint)

    def shown(self, nickname: str) -> dict[str, tuple[bool, bool]]:
        """Give what NSS takes ``nickname`` for: fingerprint -> whether it is trusted for servers, and has a key."""
        if not self.count(nickname):
            return {}
        text = self._database.certutil("-L", "-n", nickname).decode(errors="replace")
        return {
            re.sub(r"[:\s]", "", one["fingerprint"]).lower(): ("Trusted CA" in one["flags"], "User" in one["flags"])
            for one in _SHOWN.finditer(text)
        }


def _nickname(certificate: Certificate) -> str:
    return certificates.label(certificate.fingerprint)
