# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""More servers made to fool the proof: faults of headers, and those that only a script has."""

from __future__ import annotations

import contextlib
import ssl
import typing as t

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import plain_http
from ansible_collections.kyma.mtls.tests.servers import envoy, real
from ansible_collections.kyma.mtls.tests.servers.balancer import Balancer
from ansible_collections.kyma.mtls.tests.servers.tls_server import Client, TlsServer, answer, server_context
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify import test_fooling_servers as table
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_fooling_servers import Row, Site, server
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_plain_http import PlainServer
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.test_session import VirtualHosts

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

IDENTITY = {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%"}
# Values that are empty for some client let that client's own header through: Envoy skips them.
GUARDED = {name: f"{value.strip()} " for name, value in envoy.IDENTITY_HEADERS.items()}
FORGEABLE = {**GUARDED, "X-CLIENT-SSL-ISSUER": "%DOWNSTREAM_PEER_ISSUER%"}
# What a gateway that also serves clients without a certificate does not promise.
NOT_PROMISED = ["MV-05", "MV-20", "MV-24", "MV-50"]


def script(serve: Callable[[Client], bytes | None]) -> table.Serve:
    """Return a gateway that needs a certificate of the client CA, and whose HTTP is ``serve``."""

    @contextlib.contextmanager
    def run(site: Site) -> Iterator[str]:
        with TlsServer(server_context(site.pki), serve) as started:
            yield started.address

    return run


def _envoy(**setting: t.Any) -> real.Setting:
    """Envoy passes look-alikes of headers unless told otherwise, which is a warning of its own."""
    return real.Setting(underscores="DROP_HEADER", **setting)


def gateway(*, removes_named: bool = False, trims_names: bool = False) -> Callable[[Client], bytes]:
    """Return a gateway's HTTP: it sets the identity, and drops what clients say in its place.

    ``removes_named``: what Connection names is removed last; ``trims_names``: names are trimmed too late.
    """

    def serve(client: Client) -> bytes:
        assert client.certificate is not None
        subject = x509.load_der_x509_certificate(client.certificate).subject.rfc4514_string()
        own = {"x-client-ssl-cn", "x-forwarded-client-cert"}
        kept = [
            (name.strip(), value)
            for name, value in client.raw_headers
            if (name if trims_names else name.strip()).lower().replace("_", "-") not in own
        ]
        kept.append(("X-CLIENT-SSL-CN", subject))
        named = {one.strip().lower() for one in (client.header("Connection") or "").split(",")}
        client.headers = [one for one in kept if not (removes_named and one[0].lower() in named)]
        return answer(client.echo())

    return serve


def both_cas(pki: Pki) -> str:
    """Return a file with the clients' CA and the server's."""
    path = pki.directory / "both-cas.pem"
    path.write_bytes(b"".join(one.certificate.public_bytes(real.PEM) for one in (pki.client_ca, pki.server_ca)))
    return str(path)


ROWS = [
    *(
        Row(
            f"{kind} trusts the server's own CA and does not name it{' (and its key is at hand)' if key else ''}",
            "MV-22",
            faulty=server(kind, lambda pki: real.Setting(trusted_unnamed=both_cas(pki))),
            sound=server(kind, lambda _pki: real.Setting()),
            given=(lambda pki: {"server_ca_key": pki.server_ca.key_file}) if key else table.nothing,
            case="a client of the server's CA" if key else "the server's own CA, TLSv1.3",
        )
        for kind, key in (("nginx", True), ("haproxy", True), ("haproxy", False), ("apache", True), ("apache", False))
    ),
    Row(
        "Apache httpd removes what Connection names, the identity headers too",
        "MV-41",
        faulty=server("apache", lambda _pki: real.Setting(keeps_connection=True)),
        sound=script(gateway()),
        given=lambda _pki: {"identity_headers": IDENTITY, "skip": ["MV-50", "MV-51"]},
        case="good client: taken away by Connection",
    ),
    Row(
        "Connection takes the identity header away",
        "MV-41",
        faulty=script(gateway(removes_named=True)),
        sound=script(gateway()),
        given=lambda _pki: {"identity_headers": IDENTITY, "skip": ["MV-50", "MV-51"]},
        case="good client: taken away by Connection",
    ),
    Row(
        "a header with a space before its colon is another one to the gateway only",
        "MV-41",
        faulty=script(gateway(trims_names=True)),
        sound=script(gateway()),
        given=lambda _pki: {"identity_headers": IDENTITY, "skip": ["MV-50", "MV-51"]},
        case="with a space before the colon",
    ),
    *(
        Row(
            f"without a certificate the issuer can be forged{offer}",
            "MV-41",
            faulty=server("envoy", lambda _pki: _envoy(client_auth="optional", headers=FORGEABLE)),
            sound=server("envoy", lambda _pki: _envoy(client_auth="optional", headers=GUARDED)),
            given=lambda _pki: {"identity_headers": GUARDED, "skip": NOT_PROMISED},
            case=f"without a certificate{offer}: as configured",
        )
        for offer in ("", " over HTTP/2")
    ),
    Row(
        "HTTP/2 passes the client's headers through",
        "MV-41",
        faulty=server("envoy", lambda _pki: _envoy(more=({"protocols": ("h2",), "headers": {}},))),
        sound=server("envoy", lambda _pki: _envoy(more=({"protocols": ("h2",)},))),
        given=lambda _pki: {"identity_headers": envoy.IDENTITY_HEADERS},
        case="good client over HTTP/2: as configured",
    ),
]


def without_alpn(serve: Callable[[Client], bytes]) -> table.Serve:
    """Return a sound gateway, whose HTTP is ``serve`` for clients that offer nothing by ALPN."""
    sound = gateway()
    return script(lambda client: sound(client) if client.tls.selected_alpn_protocol() else serve(client))


def names_nobody(client: Client) -> bytes:
    own = {"x-client-ssl-cn", "x-forwarded-client-cert"}
    client.headers = [one for one in client.headers if one[0].lower().replace("_", "-") not in own]
    return answer(client.echo())


ROWS += [
    Row(
        f"without ALPN the gateway {what}",
        check,
        faulty=without_alpn(serve),
        sound=without_alpn(gateway()),
        given=lambda _pki: {"identity_headers": IDENTITY, "checks": ["MV-23", "MV-24", "MV-40", "MV-41"]},
        case="good client, TLSv1.3, no ALPN",
    )
    for what, check, serve in (
        ("says of nobody who it is", "MV-40", names_nobody),
        ("passes the client's headers through", "MV-41", lambda client: answer(client.echo())),
    )
]


def virtual_hosts(*, shared: bool) -> table.Serve:
    """Return two virtual hosts, of which the other one needs no certificate and closes without an answer."""

    @contextlib.contextmanager
    def run(site: Site) -> Iterator[str]:
        with VirtualHosts(site.pki, open_name=None, elsewhere=None, shared=shared) as started:
            yield started.address

    return run


def beside_port_80(document: t.Any) -> table.Serve:
    """Return a sound server with somebody who answers ``document`` on the port that stands for 80."""

    @contextlib.contextmanager
    def run(site: Site) -> Iterator[str]:
        plain = PlainServer(answer(document))
        with pytest.MonkeyPatch.context() as patch, script(gateway())(site) as address:
            patch.setattr(plain_http, "_PORT", plain.port)
            yield address
        plain.stop()

    return run


def three_replicas(*, faulty: bool) -> table.Serve:
    """Return a balancer in front of three servers, of which one may let everybody in."""

    @contextlib.contextmanager
    def run(site: Site) -> Iterator[str]:
        with contextlib.ExitStack() as stack:
            modes = (ssl.CERT_REQUIRED, ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL if faulty else ssl.CERT_REQUIRED)
            servers = [
                stack.enter_context(TlsServer(server_context(site.pki, verify=mode), lambda _client: answer({})))
                for mode in modes
            ]
            yield stack.enter_context(Balancer([one.address for one in servers], seed=1)).address

    return run


def optional(refuse: Callable[[Client], bytes | None]) -> table.Serve:
    """Return a gateway that asks for a certificate, and answers who has none as ``refuse`` says (None: as others)."""
    serve = gateway()

    def answer_to(client: Client) -> bytes:
        if client.certificate is not None:
            return serve(client)
        return refuse(client) or answer(client.echo())

    @contextlib.contextmanager
    def run(site: Site) -> Iterator[str]:
        with TlsServer(server_context(site.pki, verify=ssl.CERT_OPTIONAL), answer_to) as started:
            yield started.address

    return run


FORBIDDEN = answer({}, status="403 Forbidden")
ROWS += [
    *(
        Row(
            f"without a certificate {what}",
            "MV-24",
            faulty=optional(refuse),
            sound=optional(lambda _client: FORBIDDEN),
            given=lambda _pki: {"checks": ["MV-23", "MV-24"], "identity_headers": IDENTITY},
            case=case,
        )
        for what, case, refuse in (
            (
                "HTTP 403 brings the workload's content",
                "",
                lambda client: answer(client.echo(), status="403 Forbidden"),
            ),
            ("HEAD is served", "method HEAD", lambda client: None if client.method == "HEAD" else FORBIDDEN),
            ("POST is served", "method POST", lambda client: None if client.method == "POST" else FORBIDDEN),
            ("//headers is served", "double slash", lambda client: FORBIDDEN if client.path == "/headers" else None),
            (
                "a host in capitals is served",
                "host in capitals",
                lambda client: None if (client.header("Host") or "").startswith("HTTPBIN") else FORBIDDEN,
            ),
            (
                "headers of a gateway are believed",
                "headers of the good client",
                lambda client: None if "Test Client" in (client.header("X-CLIENT-SSL-CN") or "") else FORBIDDEN,
            ),
            (
                "the address in a header is believed",
                "headers of a local client",
                lambda client: None if client.header("X-Forwarded-For") == "127.0.0.1" else FORBIDDEN,
            ),
            ("an escape is served", "escaped letter", lambda client: None if "%" in client.path else FORBIDDEN),
        )
    ),
    Row(
        "a session of another virtual host, which closes without an answer, opens the door",
        "MV-05",
        faulty=virtual_hosts(shared=True),
        sound=virtual_hosts(shared=False),
        given=lambda _pki: {"checks": ["MV-05", "MV-23"]},
        case="without a certificate, TLSv1.3",
    ),
    Row(
        "port 80 serves the workload",
        "MV-06",
        faulty=beside_port_80({"headers": {"Host": "x"}}),
        sound=script(gateway()),
        given=lambda _pki: {"checks": ["MV-06", "MV-23"]},
        case="on port 80",
    ),
    *(
        Row(
            "one of three replicas lets everybody in",
            check,
            faulty=three_replicas(faulty=True),
            sound=three_replicas(faulty=False),
            given=lambda _pki: {
                "replica_count": 3,
                "replica_confidence": 0.9999,
                "checks": ["MV-20", "MV-23", "MV-24"],
            },
            case=case,
        )
        for check, case in (("MV-24", "no certificate, TLSv1.3, 23 fresh connections"), ("MV-20", "no certificate"))
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.check} {row.fault}")
def test_the_fault_is_found_and_a_sound_server_passes(
    row: Row, pki: Pki, workload: Workload, verify_address: Verify, tmp_path: Path
) -> None:
    table.test_the_fault_is_found_and_a_sound_server_passes(row, pki, workload, verify_address, tmp_path)
