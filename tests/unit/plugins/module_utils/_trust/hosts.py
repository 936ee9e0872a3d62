# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host whose trust stores are directories of a test's own."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.kyma.mtls.plugins.module_utils._trust import trust
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, Home, make_home

# Takes every file of the directory in, as the programs of the distributions do.
TAKE_IN = """
import pathlib, sys
source, bundle = map(pathlib.Path, sys.argv[1:])
bundle.write_text("".join(path.read_text() for path in sorted(source.glob("*.crt"))))
"""


def label(certificate: x509.Certificate) -> str:
    return f"kyma-mtls-{certificate.fingerprint(hashes.SHA256()).hex()[:16]}"


class Host:
    """A CA, the stores of one host, and the record."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = self.new_ca("one")
        self.system = directory / "anchors"
        self.bundle = directory / "bundle.crt"
        self.system.mkdir()
        self.database = directory / "nssdb"
        self.record = directory / "trust.json"

    def new_ca(self, name: str) -> Home:
        path = self.directory / name
        path.mkdir()
        self.home = make_home(path, start=datetime.datetime.now(datetime.UTC) - DAY)
        return self.home

    def run(self, state: str = "present", **changes: t.Any) -> dict[str, t.Any]:
        options: dict[str, t.Any] = {
            "certificate": self.home.ca_cert if state == "present" else None,
            "content": None,
            "is_present": state == "present",
            "is_system": False,
            "system_directory": self.system,
            "system_command": (sys.executable, "-c", TAKE_IN, str(self.system), str(self.bundle)),
            "databases": (),
            "record": self.record,
            "obsolete": (),
            "check_mode": False,
        }
        return trust.run(trust.TrustOptions(**(options | changes)))

    def certutil(self, action: str, *arguments: str) -> str:
        command = [shutil.which("certutil") or "", action, "-d", f"sql:{self.database}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=action != "-K").stdout

    def listed(self) -> dict[str, str]:
        """What the NSS database holds: nickname -> trust."""
        lines = [line.rsplit(maxsplit=1) for line in self.certutil("-L").splitlines()[4:] if line]
        return {nickname.strip(): flags for nickname, flags in lines}
