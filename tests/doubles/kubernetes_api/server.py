# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Kubernetes API over HTTP."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import ssl
import threading
import time
import typing as t
import urllib.parse

import yaml

from . import portforward
from .credentials import credentials, inline
from .refusals import Json, RefusalError, no_such_path
from .rights import FREE

if t.TYPE_CHECKING:
    from .cluster import Cluster
    from .kinds import Kind

PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>status))?)?$"
)
TOKEN = "of-the-double"  # noqa: S105  (it leads to nothing but this double)
VERSION: Json = {
    "major": "1",
    "minor": "31",
    "gitVersion": "v1.31.14",
    "gitCommit": "91c24081f468e7636c824f4f5a2eb68660b81012",
    "gitTreeState": "clean",
    "buildDate": "2026-05-18T00:00:00Z",
    "goVersion": "go1.24.11",
    "compiler": "gc",
    "platform": "linux/amd64",
}
MERGE_PATCHES = {"application/merge-patch+json": False, "application/strategic-merge-patch+json": True}


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment per answer: the client need not wait for a delayed ACK
    server: Server

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002  (the name that http.server has)
        """Say nothing: the requests are counted instead."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  (the names that http.server looks for)

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        length = int(self.headers.get("Content-Length") or 0)
        # JSON is YAML, and clients send JSON under the name of YAML.
        data = self.rfile.read(length)
        try:
            body = yaml.load(data, Loader=yaml.CSafeLoader) if data else None
            if url.path.startswith("/double/"):
                self._send(200, self.server.cluster.control(url.path, body))
                return
            self._authenticate()
            self.server.cluster.count(self.command, self.path, creates=self._creates(url.path))
            if query.get("watch") in ("true", "1", "True"):
                self._watch(url.path, query)
                return
            if url.path.endswith("/portforward"):
                host, _colon, port = self.server.cluster.mishaps.gateway_at.rpartition(":")
                portforward.upgrade(self, port=int(query["ports"]), backend=(host, int(port)))
                return
            code, answer = self._route(url.path, query, body)
        except RefusalError as exc:
            code, answer = exc.code, exc.status
        except Exception as exc:  # noqa: BLE001  (a client must see what is wrong with the double)
            code, answer = 500, {"kind": "Status", "apiVersion": "v1", "message": f"double: {exc!r}", "code": 500}
        self._send(code, answer)

    def _authenticate(self) -> None:
        """Refuse who has neither a certificate of the cluster's CA nor a token."""
        has_certificate = isinstance(self.connection, ssl.SSLSocket) and self.connection.getpeercert()
        if not has_certificate and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise RefusalError(401, "Unauthorized", "Unauthorized")

    def _creates(self, path: str) -> bool:
        """Whether this is a server-side apply of an object that is not there: it needs the right to create, too."""
        if self.command != "PATCH" or "apply-patch" not in (self.headers.get("Content-Type") or ""):
            return False
        try:
            kind, match = self._kind(path)
        except RefusalError:
            return False
        return self.server.cluster.store.peek(kind.stored_as, match["namespace"] or "", match["name"] or "") is None

    def _send(self, code: int, answer: Json) -> None:
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data)

    def _route(self, path: str, query: dict[str, str], body: t.Any) -> tuple[int, Json]:
        discovered = self._discovery(path.rstrip("/"))
        if discovered is not None:
            return 200, discovered
        kind, match = self._kind(path)
        namespace, name = match["namespace"] or "", match["name"]
        status = match["subresource"] == "status"
        if status and not kind.has_status:
            raise no_such_path()
        return self._operate(
            kind, namespace, name, query, body, status=status, namespace_given=bool(match["namespace"])
        )

    def _kind(self, path: str) -> tuple[Kind, re.Match[str]]:
        match = PATH.match(path)
        if match is None:
            raise no_such_path()
        group, version = match["group"] or "", match["core"] or match["version"]
        for kind in self.server.cluster.store.kinds():
            if (kind.group, kind.version, kind.plural) == (group, version, match["plural"]):
                return kind, match
        raise no_such_path()

    def _operate(
        self,
        kind: Kind,
        namespace: str,
        name: str | None,
        query: dict[str, str],
        body: t.Any,
        *,
        status: bool,
        namespace_given: bool,
    ) -> tuple[int, Json]:
        store = self.server.cluster.store
        dry_run = query.get("dryRun") == "All"
        agent = (self.headers.get("User-Agent") or "unknown").partition("/")[0]
        manager = query.get("fieldManager") or agent
        if self.command == "GET":
            found = (
                store.get(kind, namespace, name)
                if name
                else self._list(kind, namespace if namespace_given else None, query)
            )
            return 200, found
        if self.command == "POST":
            if kind.group == FREE:
                return 201, self.server.cluster.rights.review(kind.kind, body)
            return 201, store.create(kind, namespace, body, manager=manager, dry_run=dry_run)
        if name is None:
            raise RefusalError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        if self.command == "PUT":
            return 200, store.update(kind, namespace, name, body, manager=manager, status=status, dry_run=dry_run)
        if self.command == "DELETE":
            return 200, store.delete(kind, namespace, name, dry_run=dry_run)
        return self._patch(kind, namespace, name, query, body, status=status, manager=manager)

    def _patch(
        self, kind: Kind, namespace: str, name: str, query: dict[str, str], body: t.Any, *, status: bool, manager: str
    ) -> tuple[int, Json]:
        store = self.server.cluster.store
        dry_run = query.get("dryRun") == "All"
        content_type = (self.headers.get("Content-Type") or "").partition(";")[0]
        if content_type == "application/apply-patch+yaml":
            if not query.get("fieldManager"):
                message = (
                    'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
                )
                raise RefusalError(422, "Invalid", message)
            force = query.get("force", "false").lower() == "true"
            if (body.get("metadata") or {}).get("name") != name:
                raise RefusalError(400, "BadRequest", "name in the body does not match the name in the URL")
            return store.apply(kind, namespace, body, manager=manager, force=force, dry_run=dry_run)
        if content_type not in MERGE_PATCHES:
            raise RefusalError(415, "UnsupportedMediaType", "the body of the request was in an unknown format", {})
        strategic = MERGE_PATCHES[content_type]
        patched = store.merge_patch(
            kind, namespace, name, body, manager=manager, status=status, strategic=strategic, dry_run=dry_run
        )
        return 200, patched

    def _list(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> Json:
        store = self.server.cluster.store
        labels = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if "=" in part)
        name = query.get("fieldSelector", "").removeprefix("metadata.name=") or None
        found = store.listing(kind, namespace, labels=labels, name=name)
        metadata = {"resourceVersion": str(store.version)}
        if "as=Table" in (self.headers.get("Accept") or ""):
            return table(kind, found, metadata)
        items = [{key: value for key, value in one.items() if key not in ("kind", "apiVersion")} for one in found]
        if kind.custom:
            items = found
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": items}

    def _watch(self, path: str, query: dict[str, str]) -> None:
        kind, match = self._kind(path)
        store = self.server.cluster.store
        namespace, name = match["namespace"], query.get("fieldSelector", "").removeprefix("metadata.name=") or None
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        deadline = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        since = int(query.get("resourceVersion") or 0)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if since == 0:
                with store.lock:
                    since = store.version
                    existing = store.listing(kind, namespace, labels={}, name=name)
                for body in existing:
                    self._chunk({"type": "ADDED", "object": body})
            while time.monotonic() < deadline and not self.server.stopping.is_set():
                with store.lock:
                    store.changed.wait(timeout=min(0.5, max(0.0, deadline - time.monotonic())))
                    news = [one for one in store.events if one[0] > since]
                    since = store.version
                for _version, event, stored, body in news:
                    metadata = body["metadata"]
                    if (
                        stored == kind.stored_as
                        and namespace in (None, metadata.get("namespace"))
                        and name in (None, metadata["name"])
                    ):
                        self._chunk({"type": event, "object": {**body, "apiVersion": kind.api_version}})
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, event: Json) -> None:
        data = json.dumps(event).encode() + b"\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _discovery(self, path: str) -> Json | None:
        kinds = self.server.cluster.store.kinds()
        groups = sorted({kind.group for kind in kinds if kind.group})
        roots: dict[str, Json] = {
            "/version": {**VERSION, **self.server.cluster.version},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(one, kinds) for one in groups]},
        }
        if path in roots:
            return roots[path]
        root, _slash, version = path.removeprefix("/").partition("/")
        if root == "apis" and version in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(version, kinds)}
        found = [kind for kind in kinds if kind.api_version == version]
        if not found or root != ("apis" if found[0].group else "api"):
            return None
        head: Json = {"kind": "APIResourceList"}
        if root == "apis":
            head["apiVersion"] = "v1"
        entries = sorted((one for kind in found for one in kind.discovery()), key=lambda one: str(one["name"]))
        return {**head, "groupVersion": version, "resources": entries}


def _group(name: str, kinds: t.Sequence[Kind]) -> Json:
    versions = list(dict.fromkeys(kind.version for kind in kinds if kind.group == name))
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def table(kind: Kind, found: t.Sequence[Json], metadata: Json) -> Json:
    """Return a list as kubectl shows it."""
    columns = [{"name": "Name", "type": "string", "format": "name", "priority": 0}]
    columns += [{"name": one["name"], "type": one["type"], "format": "", "priority": 0} for one in kind.columns]
    rows = []
    for body in found:
        cells: list[t.Any] = [body["metadata"]["name"]]
        for column in kind.columns:
            value: t.Any = body
            for step in column["jsonPath"].strip(".").split("."):
                value = value.get(step) if isinstance(value, dict) else None
            cells.append(value)
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}
        rows.append({"cells": cells, "object": partial})
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {**head, "columnDefinitions": columns, "rows": rows}


class Server(http.server.ThreadingHTTPServer):
    """The API server of one cluster, on a loopback port."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, cluster: Cluster, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.cluster = cluster
        self.stopping = threading.Event()
        self.credentials = credentials()
        self.context = self.credentials.context()
        self.trust = ssl.create_default_context(cadata=self.credentials.ca.certificate_pem.decode())

    def finish_request(self, request: t.Any, client_address: t.Any) -> None:
        """Shake hands in the connection's own thread: a client that says nothing holds up nobody else."""
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        with secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Say nothing of clients that have gone."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> t.Iterator[str]:
        """Serve inside the block; the value is the URL."""
        with self.cluster.controllers():
            thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            try:
                yield self.url
            finally:
                self.stopping.set()
                self.shutdown()
                self.server_close()
                thread.join()

    def kubeconfig(self, *, name: str = "double", user: str = "double", token: bool = False) -> Json:
        """Return a kubeconfig as k3d writes it: CA, client certificate and key stand in it; or a ``token``."""
        made = self.credentials
        certificate = {
            "client-certificate-data": inline(made.admin.certificate_pem),
            "client-key-data": inline(made.admin.key_pem),
        }
        cluster = {"server": self.url, "certificate-authority-data": inline(made.ca.certificate_pem)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": {"token": TOKEN} if token else certificate}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        }
