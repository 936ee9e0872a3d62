# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workloads as the role httpbin takes them, in a real Envoy, and the proof of them."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import posixpath
import re
import ssl
import time
import typing as t
import urllib.parse

import jinja2
import yaml

from ansible_collections.kyma.mtls.plugins.module_utils import _workloads
from ansible_collections.kyma.mtls.plugins.module_utils._envoy import mesh, render
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration, Settings
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import translate
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.upstream import read_upstream
from ansible_collections.kyma.mtls.plugins.module_utils._identity_log import NONCE_HEADER
from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import rfc2253
from ansible_collections.kyma.mtls.tests.servers.pki import Holder, Pki
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.threads import serving
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running, samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.report.result import Report

Json = dict[str, t.Any]
ROLE = pathlib.Path(__file__).parents[5] / "roles/httpbin"
HEADERS = {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%", "X-CLIENT-SSL-SAN": "URI=%DOWNSTREAM_PEER_URI_SAN%"}
CHECKS = ["MV-23", "MV-24", "MV-25", "MV-70", "MV-71", "MV-43", "MV-72", "MV-73"]


def rendered(
    workloads: t.Sequence[Json], *, subjects: t.Mapping[str, str], tls_mode: str, template: str = "workloads"
) -> tuple[Json, list[Json]]:
    """Return the routes, and the objects that the role's ``template`` makes of them."""
    defaults = {
        "namespace": "test",
        "gateway": "test/kyma-mtls-gateway",
        "identity_headers": HEADERS,
        "tls_mode": tls_mode,
        "platform": "local",
        "owner": "test",
    }
    routes = _workloads.read_workloads(workloads, defaults=defaults, subjects=subjects)
    environment = jinja2.Environment(trim_blocks=True, autoescape=False)  # noqa: S701  (YAML)
    environment.filters["to_json"] = json.dumps
    text = environment.from_string((ROLE / f"templates/{template}.yaml.j2").read_text()).render(**routes)
    return routes, [document for document in yaml.safe_load_all(text) if document]


class WorkloadSite:
    """A running gateway with workloads, and clients by their names."""

    def __init__(self, directory: pathlib.Path, pki: Pki, clients: t.Mapping[str, Holder]) -> None:
        self.directory, self.pki, self.clients = directory, pki, clients
        self.settings = Settings(
            ports={443: free_port()}, directory=str(directory / "gateway"), sockets=str(directory / "s")
        )
        self.subjects = {
            name: rfc2253.text(holder.certificate.subject.public_bytes()) for name, holder in clients.items()
        }
        self.workloads: list[Json] = []
        self._version = 0
        self._waits = False
        self._written: dict[str, str] = {}
        self._mesh: mesh.Mesh | None = None

    def configuration(
        self,
        workloads: t.Sequence[Json],
        *,
        tls_mode: str = "MUTUAL",
        change: t.Callable[[Json], Json | None] = lambda one: one,
    ) -> Configuration:
        """Return Envoy's configuration; ``change`` spoils an object, or drops it."""
        routes, objects = rendered(workloads, subjects=self.subjects, tls_mode=tls_mode)
        changed = [change(one) for one in objects]
        return translate(
            [
                samples.make_gateway(samples.make_server("*.mtls.test", mode=tls_mode)),
                *(one for one in changed if one is not None),
            ],
            workloads={},
            settings=self.settings,
            key_sets={uri: pathlib.Path(path).read_text() for uri, path in routes["key_sets"].items()},
            upstreams={
                f"{one['service']}:{one['port']}": read_upstream("x", one | {"ca": None}) for one in routes["upstreams"]
            },
        )

    def serve(self, workloads: t.Sequence[Json], **how: t.Any) -> None:
        """Have Envoy take up the ``workloads``."""
        configuration = self.configuration(workloads, **how)
        self.workloads = list(workloads)
        self._version += 1
        documents = dict(render.files(configuration)) | self._secrets(configuration)
        written = {path: json.dumps(document, sort_keys=True) for path, document in documents.items()}
        # What is as before, Envoy does not take up again.
        changed = [path[:3] for path, text in written.items() if self._written.get(path) != text]
        self._written.update(written)
        before = self._listener_updates() if self._version > 1 else 0
        for document in documents.values():
            if "resources" in document:
                document["version_info"] = f"v{self._version}"
        order = {"sds": 0, "cds": 1, "rds": 2, "lds": 3}
        for path in sorted(documents, key=lambda path: order.get(path[:3], 4)):
            running.replace(configuration, path, documents[path])
        if self._version > 1:
            self._await_version(changed.count("rds"), before + ("lds" in changed))
        waits = any(part in "".join(written.values()) for part in ("jwt_authn", NONCE_HEADER.lower()))
        if self._waits or waits:
            # Kept connections to the sidecar go through the former filters and logs until they are drained.
            time.sleep(1.2)
        self._waits = waits

    def _secrets(self, configuration: Configuration) -> dict[str, Json]:
        """Return the SDS files by their paths; the mesh stays the same."""
        server, client_ca = self.pki.server, pathlib.Path(self.pki.client_ca.crt).read_bytes()
        certificate, key = (pathlib.Path(server.files[kind]).read_bytes() for kind in ("crt", "key"))
        self._mesh = mesh.renew(self._mesh, configuration.mesh_identities, now=samples.NOW)
        found = {}
        for one in configuration.credentials:
            is_server = one.kind == "certificate"
            found[one.path] = (
                render.sds_certificate(one.resource, certificate, key)
                if is_server
                else render.sds_validation(one.resource, client_ca, None)
            )
        for one in configuration.mesh_credentials:
            pair = self._mesh.identities.get(one.name)
            found[one.path] = (
                render.sds_certificate(one.resource, pair.certificate, pair.key)
                if pair
                else render.sds_validation(one.resource, self._mesh.root.certificate)
            )
        return found

    def _ask(self, what: str) -> str:
        return running.ask_admin(f"{self.settings.sockets}/admin.sock", what)

    def _listener_updates(self) -> int:
        found = re.search("update_success: ([0-9]+)", self._ask("/stats?filter=^listener_manager.lds.update_success"))
        assert found
        return int(found[1])

    def _await_version(self, routes: int, listener_updates: int) -> None:
        """Wait until Envoy has what was written."""

        def look() -> running.Answer:
            routes_there = self._ask("/config_dump?resource=dynamic_route_configs")
            found = routes_there.count(f'"version_info": "v{self._version}"')
            return running.Answer(status=int(found >= routes and self._listener_updates() >= listener_updates))

        assert running.repeat(look, until=lambda answer: bool(answer.status)).status, "Envoy does not take it up"

    def contexts(self) -> dict[str, ssl.SSLContext]:
        """Return the TLS context of each client."""
        ca = pathlib.Path(self.pki.server_ca.crt).read_bytes()
        return {
            name: running.make_context(
                ca,
                (pathlib.Path(holder.crt).read_bytes(), pathlib.Path(holder.key_file).read_bytes()),
                directory=self.directory,
            )
            for name, holder in self.clients.items()
        }

    def nobody(self) -> ssl.SSLContext:
        """Return the TLS context of who has no certificate."""
        return running.make_context(pathlib.Path(self.pki.server_ca.crt).read_bytes(), directory=self.directory)

    def prove(self, client: str, **changes: t.Any) -> Report:
        """Return the report of a verification with ``client`` as the good one, at the first workload."""
        good = self.clients[client]
        given = {
            "url": f"https://{self.workloads[0]['hosts'][0]}/",
            "ca": [self.pki.server_ca.crt],
            "client_cert": good.crt,
            "client_key": good.key_file,
            "client_name": client,
            "clients": [
                {"name": name, "cert": holder.crt, "key": holder.key_file, "key_passphrase": None, "expect": "accepted"}
                for name, holder in self.clients.items()
                if name != client
            ],
            "identity_headers": HEADERS,
            "workloads": self.workloads,
            "checks": CHECKS,
            "expect_status": [200, 404],
            **changes,
        }
        return verify.verify(read_options(parameters(self.pki, f"127.0.0.1:{self.settings.ports[443]}", **given)))


class _Static(http.server.BaseHTTPRequestHandler):
    """A workload that reports nothing, or each header of the request in one of its answer."""

    def do_GET(self) -> None:
        path = posixpath.normpath(urllib.parse.unquote(self.path)) if self.server.decodes else self.path  # type: ignore[attr-defined]
        body = f"content of {path.strip('/').lower() or 'the root'}, long enough to be known again\n".encode()
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        for name in ("X-CLIENT-SSL-CN", "X-CLIENT-SSL-SAN"):
            if self.server.reports and name in self.headers:  # type: ignore[attr-defined]
                self.send_header(f"X-Seen-{name}", self.headers[name])
        if self.server.status != 204:  # type: ignore[attr-defined]
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and self.server.status != 204:  # type: ignore[attr-defined]
            self.wfile.write(body)

    do_POST = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, *_args: t.Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def static_server(*, reports: bool = False, decodes: bool = False, status: int = 200) -> t.Iterator[int]:
    """A server of pages on a port of its own, which answers ``status``.

    ``decodes``: it decodes a path before it resolves dots, as nginx does.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Static)
    server.reports, server.decodes = reports, decodes  # type: ignore[attr-defined]
    server.status = status  # type: ignore[attr-defined]
    with serving(server):
        yield server.server_address[1]
