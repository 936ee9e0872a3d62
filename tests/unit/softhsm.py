# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CA keys that are not files, for tests: a SoftHSM token of the test's own, and openssl as the command that signs."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN = "correct-horse-8642"


@dataclasses.dataclass(frozen=True)
class Token:
    """A token in a directory, with its own configuration."""

    directory: Path
    module: str
    label: str = "kyma"

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.directory / "softhsm2.conf")}

    def initialise(self, label: str) -> None:
        """Make one more token."""
        self._run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN)

    def create_key(self, label: str, kind: str = "EC:prime256v1", identifier: str = "01") -> None:
        """Create a key as docs/ca-keys-in-hardware.md shows it."""
        self.tool("--keypairgen", "--key-type", kind, "--label", label, "--id", identifier, "--usage-sign")

    def import_key(self, label: str, pem: Path, identifier: str = "77") -> None:
        self._run("softhsm2-util", "--import", str(pem), "--token", self.label, "--label", label, "--id", identifier,
                  "--pin", PIN)  # fmt: skip

    def delete(self, label: str, kind: str) -> None:
        self.tool("--delete-object", "--type", kind, "--label", label)

    def tool(self, *arguments: str) -> None:
        self._run(
            "pkcs11-tool", "--module", self.module, "--token-label", self.label, "--login", "--pin", PIN, *arguments
        )

    def key(self, label: str, **changes: t.Any) -> dict[str, t.Any]:
        """Give the value of the option ``ca_key``."""
        place = {"module": self.module, "token": self.label, "label": label, "pin": PIN}
        return {"pkcs11": place | changes}

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **self.environment})


def find_module() -> str | None:
    """Return the path of SoftHSM's module, None when something for a token is not installed."""
    is_there = all(map(shutil.which, ("softhsm2-util", "pkcs11-tool"))) and importlib.util.find_spec("pkcs11")
    return next((path for path in _MODULES if is_there and Path(path).exists()), None)


def make_token(directory: Path) -> Token:
    """Make a token, or skip the test."""
    module = find_module()
    if module is None:
        pytest.skip("SoftHSM (softhsm2), pkcs11-tool (opensc) or python-pkcs11 is not installed")
    (directory / "tokens").mkdir(parents=True)
    configuration = f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    (directory / "softhsm2.conf").write_text(configuration)
    token = Token(directory, module)
    token.initialise(token.label)
    return token


# Signs as a key management service: logs that it was asked, and prints the signature as it is or in base64.
_SCRIPT = 'echo >>"$0/log"; openssl pkeyutl -sign -inkey "$0/service.key" -pkeyopt "digest:$1" | $2'


@dataclasses.dataclass(frozen=True)
class Service:
    """A key outside of the PKI's directory, and a command that signs with it."""

    directory: Path
    digest: str = "sha256"
    output: str = "cat"

    @property
    def argv(self) -> list[str]:
        return ["sh", "-c", _SCRIPT, str(self.directory), self.digest, self.output]

    @property
    def signatures(self) -> int:
        log = self.directory / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    @property
    def public_key(self) -> str:
        return (self.directory / "service.pub").read_text()

    def key(self, **changes: t.Any) -> dict[str, t.Any]:
        """Give the value of the option ``ca_key``."""
        return {"command": self.argv, "public_key": str(self.directory / "service.pub"), "timeout": 30} | changes


def make_service(directory: Path, kind: str = "EC", output: str = "cat") -> Service:
    """Make a key and the command, or skip the test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if kind == "RSA":
        key = rsa.generate_private_key(65537, 2048)
    else:
        key = ec.generate_private_key(ec.SECP384R1() if kind == "P-384" else ec.SECP256R1())
    return service_of(directory, key, "sha384" if kind == "P-384" else "sha256", output)


def service_of(directory: Path, key: t.Any, digest: str = "sha256", output: str = "cat") -> Service:
    """Make the command for ``key``."""
    directory.mkdir(parents=True)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "service.key").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    (directory / "service.pub").write_bytes(public)
    return Service(directory, digest, output)
