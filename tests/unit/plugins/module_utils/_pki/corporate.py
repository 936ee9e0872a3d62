# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody else has made: a corporate PKI, and the options that provide it, for the tests of this directory."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    Home,
    certificate_pem,
    key_pem,
    make_ca,
    make_home,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    Side,
    server,
)

SERVER = {"common_name": "www.corp.test", "sans": ["DNS:www.corp.test"]}


@dataclasses.dataclass
class Corporate:
    """A corporate PKI: a root, an intermediate that issues, a server and a client."""

    home: Home
    issuing: Home

    @property
    def ca(self) -> str:
        return self.home.ca_cert.read_text()

    @property
    def intermediate(self) -> str:
        return self.issuing.ca_cert.read_text()

    def server(self, **changes: t.Any) -> dict[str, t.Any]:
        """The options that provide the server with its certificate."""
        return {
            "name": "server",
            "certificate": str(self.issuing.path / "clients/server/server.crt"),
            "key": str(self.issuing.path / "clients/server/server.key"),
            "chain": str(self.issuing.ca_cert),
        } | changes

    def client(self, **changes: t.Any) -> dict[str, t.Any]:
        return {
            "name": "curl",
            "certificate": self.issuing.file(".crt").read_text(),
            "key_content": self.issuing.file(".key").read_text(),
        } | changes


def make_corporate(path: Path) -> Corporate:
    (path / "root").mkdir()
    home = make_home(path / "root", common_name="Corporate Root")
    key = ec.generate_private_key(ec.SECP256R1())
    middle = make_ca(key, common_name="Corporate Issuing", issuer=(home.certificate, home.key))
    issuing = Home(path / "issuing", key, middle)
    issuing.path.mkdir()
    issuing.ca_cert.write_bytes(certificate_pem(middle))
    issuing.ca_key.write_bytes(key_pem(key))
    issuing.run(
        issuing.client("server", usage="server", **SERVER),
        issuing.client("curl"),
    )
    return Corporate(home, issuing)


def provided(ca: str, **changes: t.Any) -> dict[str, t.Any]:
    return {"ca": ca, "ca_key": None, "ca_key_content": None} | changes


def corporate_server(path: Path, corporate: Corporate, **changes: t.Any) -> Side:
    return server(path, **({"hostnames": ["www.corp.test"], "provided": provided(corporate.ca)} | changes))
