# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real ACME CA on loopback: Let's Encrypt's Pebble, with a name server by which it finds the names.

Debian's Pebble (2.4) has neither profiles, ARI nor dns-persist-01; KYMA_MTLS_PEBBLE names a newer one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import time
import typing as t
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.kyma.mtls.tests.servers.names import NameServer
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

_PATIENCE_SECONDS = 30.0
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
BLOCKED = "blocked.example"


def find() -> str | None:
    """Return where the program is."""
    return os.environ.get("KYMA_MTLS_PEBBLE") or shutil.which("pebble")


@dataclasses.dataclass
class Pebble:
    """A running CA."""

    directory: Path
    http_port: int
    names: NameServer
    api_port: int
    management_port: int
    program: str
    options: dict[str, t.Any]
    settings: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}/dir"

    @property
    def ca_file(self) -> Path:
        return self.directory / "api-ca.crt"

    @property
    def root(self) -> Path:
        """The root below which it issues: another one after every start."""
        path = self.directory / "root.pem"
        path.write_bytes(self.root_pem(0))
        return path

    def root_pem(self, number: int) -> bytes:
        """One of its roots: with PEBBLE_ALTERNATE_ROOTS, there are several."""
        return self._get(f"https://127.0.0.1:{self.management_port}/roots/{number}")

    def start(self) -> None:
        config = {
            "listenAddress": f"127.0.0.1:{self.api_port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": str(self.directory / "api.crt"),
            "privateKey": str(self.directory / "api.key"),
            "httpPort": self.http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountMACKeys": {"kid-1": EAB_KEY},
            "domainBlocklist": [BLOCKED],
            "certificateValidityPeriod": 90 * 86400,
            "retryAfter": {"authz": 1, "order": 1},
            **self.options,
        }
        (self.directory / "pebble.json").write_text(json.dumps({"pebble": config}))
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": "0",
            "PEBBLE_AUTHZREUSE": "0",
            **self.settings,
        }
        with (self.directory / "pebble.log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(self.program, "-config", str(self.directory / "pebble.json"), "-strict"),
                    *("-dnsserver", f"127.0.0.1:{self.names.port}"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._get(self.url)
            except OSError:
                assert self.process.poll() is None, (self.directory / "pebble.log").read_text()
                assert time.monotonic() < deadline, "Pebble does not answer"
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=10)
            self.process = None

    def log(self) -> str:
        return (self.directory / "pebble.log").read_text()

    def answers(self) -> dict[str, t.Any]:
        """The directory of the CA."""
        found: dict[str, t.Any] = json.loads(self._get(self.url))
        return found

    def orders(self) -> int:
        """How many orders there were, by its log."""
        return self.log().count("Added order ")

    def _get(self, url: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310  (https, of this class)
            body: bytes = answer.read()
            return body


@contextlib.contextmanager
def running(
    program: str, directory: Path, names: NameServer, *, settings: dict[str, str] | None = None, **options: t.Any
) -> t.Iterator[Pebble]:
    """Run Pebble until the block ends; ``options`` are of its configuration, ``settings`` of its environment."""
    directory.mkdir(parents=True, exist_ok=True)
    _make_api_certificate(directory)
    pebble = Pebble(directory, free_port(), names, free_port(), free_port(), program, options, settings or {})
    try:
        pebble.start()
        yield pebble
    finally:
        pebble.stop()


def _make_api_certificate(directory: Path) -> None:
    """A CA, and the certificate of the API below it, which the client trusts by that CA only."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME API test CA")])
    common = (
        x509.CertificateBuilder()
        .issuer_name(ca_name)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )
    ca = (
        common.subject_name(ca_name)
        .serial_number(1)
        .public_key(ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        common.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .serial_number(2)
        .public_key(key.public_key())
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "api-ca.crt").write_bytes(ca.public_bytes(pem))
    (directory / "api.crt").write_bytes(leaf.public_bytes(pem))
    (directory / "api.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
