# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trust stores: the system's, and NSS databases, in which Firefox, and Chromium on Linux, keep CAs of their own."""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import os
import re
import shlex
import shutil
import ssl
import subprocess
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    content_if_any,
    ensure_directory,
    write_atomic,
)

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_ROW = re.compile(r"(?P<nickname>.+?)\s+(?P<trust>[a-zA-Z]*,[a-zA-Z]*,[a-zA-Z]*)\s*")
_SECONDS = 120
# There from before the first change until the program has run, so that the next run completes one that was killed.
_PENDING = "kyma-mtls.pending"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate in DER."""

    der: bytes

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint in lower-case hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pem(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(self.der).encode()


def parse(data: bytes, *, source: str) -> tuple[Certificate, ...]:
    """Return the certificates in PEM that are in ``data``. Raises MtlsError when there are none, or damaged ones."""
    try:
        found = tuple(Certificate(ssl.PEM_cert_to_DER_cert(block.decode("ascii"))) for block in _PEM.findall(data))
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise MtlsError(f"A certificate in {source} is damaged: {exc}.") from exc
    if not found:
        raise MtlsError(f"There is no certificate in PEM in {source}.")
    return found


def label(fingerprint: str) -> str:
    """Return the name of a certificate with this fingerprint in a store; only what has such a name is removed."""
    return f"kyma-mtls-{fingerprint[:16]}"


class TrustStore(t.Protocol):
    """A trust store: ``plan`` says what differs, ``apply`` brings the store there."""

    def plan(self, trusted: t.Sequence[Certificate], removed: t.Sequence[str]) -> list[str]:
        """Return what is to change; ``removed`` are fingerprints. Raises MtlsError."""

    def apply(self, trusted: t.Sequence[Certificate], removed: t.Sequence[str]) -> None:
        """Trust and remove these certificates. Raises MtlsError."""


@dataclasses.dataclass(frozen=True)
class SystemStore:
    """Where the system takes certificates from, and the program that does it."""

    directory: Path
    command: tuple[str, ...]
    #: where another one is needed for what was removed
    removal_command: tuple[str, ...] = ()

    @property
    def is_writable(self) -> bool:
        return os.access(self.directory, os.W_OK)

    def path(self, fingerprint: str) -> Path:
        """Return the file of a certificate."""
        return self.directory / f"{label(fingerprint)}.crt"

    def plan(self, trusted: t.Sequence[Certificate], removed: t.Sequence[str]) -> list[str]:
        changes = [f"{self.path(certificate.fingerprint)}: trusted" for certificate in self._missing(trusted)]
        changes += [f"{self.path(fingerprint)}: removed" for fingerprint in removed if self._holds(fingerprint)]
        if not changes and (self.directory / _PENDING).exists():
            changes.append(f"{self.directory}: update the store, which an interrupted run has not done")
        return changes

    def apply(self, trusted: t.Sequence[Certificate], removed: t.Sequence[str]) -> None:
        pending = self.directory / _PENDING
        obsolete = [fingerprint for fingerprint in removed if self._holds(fingerprint)]
        try:
            command = self.removal_command if obsolete or pending.exists() else ()
            pending.touch()
            for certificate in self._missing(trusted):
                write_atomic(self.path(certificate.fingerprint), certificate.pem, mode=CERTIFICATE_MODE)
            for fingerprint in obsolete:
                self.path(fingerprint).unlink()
            _run(command or self.command, what="Updating the system's trust store")
            pending.unlink()
        except OSError as exc:
            raise MtlsError(f"The system's trust store {self.directory} cannot be changed: {exc.strerror}.") from exc

    def _missing(self, trusted: t.Sequence[Certificate]) -> list[Certificate]:
        return [
            certificate
            for certificate in trusted
            if content_if_any(self.path(certificate.fingerprint)) != certificate.pem
        ]

    def _holds(self, fingerprint: str) -> bool:
        """Whether the file holds what its name says; another one is left alone."""
        content = content_if_any(self.path(fingerprint))
        try:
            return content is not None and [
                certificate.fingerprint for certificate in parse(content, source=str(self.path(fingerprint)))
            ] == [fingerprint]
        except MtlsError:
            return False


#: Debian, Ubuntu and Alpine; Fedora, RHEL and their kin; SUSE; Arch. Without --fresh, links to what was removed stay.
KNOWN = (
    SystemStore(
        Path("/usr/local/share/ca-certificates"),
        ("update-ca-certificates",),
        ("update-ca-certificates", "--fresh"),
    ),
    SystemStore(Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust", "extract")),
    SystemStore(Path("/etc/pki/trust/anchors"), ("update-ca-certificates",)),
    SystemStore(Path("/etc/ca-certificates/trust-source/anchors"), ("update-ca-trust", "extract")),
)


def system_store(directory: Path | None, command: t.Sequence[str]) -> SystemStore:
    """Return the store in ``directory``, or that of this system. Raises MtlsError when it is unknown."""
    if directory is not None:
        return SystemStore(directory, tuple(command))
    for store in KNOWN:
        if store.directory.is_dir() and _find(store.command[0]):
            return store
    raise MtlsError(
        "The trust store of this operating system is not known. Install ca-certificates, or set system_directory "
        "(where certificates are put) and system_command (the program that reads them)."
    )


@dataclasses.dataclass(frozen=True)
class NssDatabase:
    """An NSS database, by its directory. It is changed by certutil, which is NSS's own."""

    directory: Path

    def plan(self, trusted: t.Sequence[Certificate], removed: t.Sequence[str]) -> list[str]:
        rows = self._rows()
        missing = [certificate for certificate in trusted if not self._trusts(certificate, rows)]
        changes = [f"{self.directory}: {label(certificate.fingerprint)} trusted" for certificate in missing]
        return changes + [
            f"{self.directory}: {label(fingerprint)} removed"
            for fingerprint in removed
            if self._holds(fingerprint, rows)
        ]

    def apply(self, trusted: t.Sequence[Certificate], removed: t.Sequence[str]) -> None:
        if not (self.directory / "cert9.db").exists():
            if not self.directory.is_dir():
                ensure_directory(self.directory)
            self._certutil("-N", "--empty-password")
        rows = self._rows()
        for fingerprint in removed:
            if self._holds(fingerprint, rows):
                # Version 0.1.0 also imported clients: -F removes the key, too.
                self._certutil("-F" if "u" in rows[label(fingerprint)] else "-D", "-n", label(fingerprint))
        rows = self._rows()
        for certificate in trusted:
            if not self._trusts(certificate, rows):
                with tempfile.NamedTemporaryFile(suffix=".crt") as file:
                    file.write(certificate.pem)
                    file.flush()
                    self._certutil("-A", "-n", label(certificate.fingerprint), "-t", "C,,", "-i", file.name)
        if left := self.plan(trusted, removed):
            raise MtlsError(
                f"certutil reports no error, but did not do this: {', '.join(left)}. Close the programs that use the "
                "NSS database, and run again.",
                path=str(self.directory),
            )

    def _rows(self) -> dict[str, str]:
        """Return what is in the database: nickname -> trust flags for TLS."""
        if not (self.directory / "cert9.db").exists():
            return {}
        lines = self._certutil("-L").decode(errors="replace").splitlines()
        return {row["nickname"]: row["trust"].split(",")[0] for line in lines if (row := _ROW.fullmatch(line))}

    def _holds(self, fingerprint: str, rows: t.Mapping[str, str]) -> bool:
        nickname = label(fingerprint)
        return nickname in rows and fingerprint in self._fingerprints(nickname)

    def _trusts(self, certificate: Certificate, rows: t.Mapping[str, str]) -> bool:
        """Whether the CA is trusted, under our nickname or a user's own.

        Raises MtlsError when a user holds it without trust: certutil would change the flags of the user's entry.
        """
        if label(certificate.fingerprint) in rows:
            return "C" in rows[label(certificate.fingerprint)]
        holder = next((name for name in rows if certificate.fingerprint in self._fingerprints(name)), None)
        if holder is None or "C" in rows[holder]:
            return holder is not None
        database, nickname = shlex.quote(f"sql:{self.directory}"), shlex.quote(holder)
        raise MtlsError(
            f"The NSS database {self.directory} holds the CA already, under the nickname {holder}, but does not trust "
            f"it for servers. Nothing was changed. Trust it (certutil -M -d {database} -n {nickname} -t C,,) or remove "
            f"it (certutil -D -d {database} -n {nickname}), and run again.",
            path=str(self.directory),
        )

    def _fingerprints(self, nickname: str) -> list[str]:
        """Return the certificates of a nickname: all those of its subject, as NSS has it."""
        pem = self._certutil("-L", "-a", "-n", nickname)
        return [certificate.fingerprint for certificate in parse(pem, source=f"nickname {nickname}")]

    def _certutil(self, action: str, *arguments: str) -> bytes:
        what = f"certutil {action} in the NSS database {self.directory}"
        try:
            return _run(("certutil", action, "-d", f"sql:{self.directory}", *arguments), what=what)
        except MtlsError as exc:
            if "SEC_ERROR_TOKEN_NOT_LOGGED_IN" in str(exc) or "password" in str(exc).lower():
                raise MtlsError(
                    f"The NSS database {self.directory} is protected by a password. Import the CA there by hand."
                ) from exc
            raise


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _run(arguments: t.Sequence[str], *, what: str) -> bytes:
    """Return what the program prints, without a terminal to ask questions on. Raises MtlsError when it fails."""
    program = _find(arguments[0])
    if program is None:
        raise MtlsError(f"{what} needs {arguments[0]}, which is not installed.")
    try:
        done = subprocess.run(  # noqa: S603  (a fixed list of arguments)
            [program, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise MtlsError(f"{what} failed: {exc}.") from exc
    if done.returncode:
        output = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
        raise MtlsError(f"{what} failed: {output or f'exit code {done.returncode}'}.")
    return done.stdout
