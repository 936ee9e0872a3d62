# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sides of a PKI in a directory, asked for as the module is, for the tests of this directory."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.kyma.mtls.plugins.module_utils._pki import parameters, reconcile
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW

_UNSET: dict[str, t.Any] = {
    "ca_key": None,
    "intermediate_key": None,
    "previous_ca_keys": [],
    "state": "present",
    "intermediate": None,
    "ca_key_passphrase": None,
    "name_constraints": None,
    "permitted_names": [],
    "provided": None,
    "vault": None,
    "cert_manager": None,
    "crl_url": [],
    "rekey": [],
    "revoke": [],
    "hostnames": [],
    "include_root": True,
    "grace_days": 0,
    "crl_days": 90,
    "crl_refresh_before": 30,
    "concurrency": None,
}


def ca_of(usage: str, **changes: t.Any) -> dict[str, t.Any]:
    subject = [{"O": "Test Org"}, {"CN": f"Test {usage.title()} Root"}]
    return {"subject": subject, "days": 3650, "key_type": "ECDSA", "key_size": 2048, "curve": "P-256"} | changes


@dataclasses.dataclass
class Side:
    """One side in a directory; every call is one run of the module."""

    usage: str
    path: Path
    options: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def run(
        self, *certificates: dict[str, t.Any], now: datetime.datetime = NOW, check_mode: bool = False, **changes: t.Any
    ) -> dict[str, t.Any]:
        given = _UNSET | {
            "usage": self.usage,
            "directory": str(self.path),
            "ca": ca_of(self.usage),
            "defaults": {"organization": "Test Org", "key_type": "ECDSA", "days": 365, "renew_before": 30},
            "certificates": list(certificates) or [self.certificate()],
        }
        given = given | self.options | changes
        return reconcile.reconcile(parameters.to_spec(given, now=now), check_mode=check_mode, now=now)

    def certificate(self, **changes: t.Any) -> dict[str, t.Any]:
        """The tutorial's server, or its client."""
        if self.usage == "server":
            return {"name": "server", "common_name": "*.mtls.test", "sans": ["DNS:*.mtls.test"]} | changes
        return {"name": "curl"} | changes

    def certificates(self, name: str) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates((self.path / name).read_bytes())

    def one(self, name: str) -> x509.Certificate:
        return self.certificates(name)[0]

    def key(self, name: str, passphrase: bytes | None = None) -> t.Any:
        return serialization.load_pem_private_key((self.path / name).read_bytes(), passphrase)

    def tree(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if path.is_file()}


def server(path: Path, **options: t.Any) -> Side:
    return Side("server", path / "server", {"hostnames": ["any.mtls.test"]} | options)


def client(path: Path, **options: t.Any) -> Side:
    return Side("client", path / "client", options)


def openssl_accepts(anchor: Path, leaf: Path, *arguments: str, at: datetime.datetime = NOW) -> bool:
    """Whether openssl verifies strictly, at the tests' own moment."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    moment = ["-attime", str(int(at.timestamp()))]
    command = [openssl, "verify", "-x509_strict", *moment, "-CAfile", str(anchor), *arguments, str(leaf)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
