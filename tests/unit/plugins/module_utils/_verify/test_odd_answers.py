# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that end, compress or cut their answers as not many do, or ask for the certificate late."""

from __future__ import annotations

import gzip
import json
import typing as t
import zlib

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import expectations
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.pki import HOST
from ansible_collections.kyma.mtls.tests.servers.tls_server import Client, TlsServer, answer, server_context
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify

BODY = json.dumps({"who": "am I"}).encode()
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("says_goodbye", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        OK + b"\r\n" + BODY,
        OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(BODY),
        OK + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(BODY),
    ],
    ids=["until the end", "with a length", "chunked", "gzip", "deflate"],
)
def test_answer_is_read_however_it_ends_and_is_coded(
    data: bytes, says_goodbye: bool, pki: Pki, verify_address: Verify
) -> None:
    # The answer that ends most abruptly meets all checks, the others those that only look at an answer.
    is_abrupt = data.startswith(OK + b"\r\n") and not says_goodbye
    which: dict[str, t.Any] = {"skip": ["MV-50", "MV-51"]} if is_abrupt else {"checks": ["MV-23", "MV-24", "MV-25"]}
    with TlsServer(server_context(pki), lambda _client: data, says_goodbye=says_goodbye) as server:
        report = verify_address(server.address, expect={"who": "am I"}, **which)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert outcomes(report)["MV-23"] == outcomes(report)["MV-24"] == "passed"


def test_gzip_that_is_none_or_a_bomb_is_no_json() -> None:
    assert expectations.parse_json(b"\x1f\x8bnot gzip") is None
    assert expectations.parse_json(gzip.compress(b"[" + b"0," * (20 << 20) + b"0]")) is None


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 80\r\n\r\n" + BODY,
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"Server: x\r\n",
    ],
    ids=["length", "chunks", "header"],
)
@pytest.mark.parametrize("says_goodbye", [True, False])
def test_beginning_of_an_answer_is_no_refusal(
    data: bytes, says_goodbye: bool, pki: Pki, verify_address: Verify
) -> None:
    """Who is served under a wrong name has been served, also when the server breaks off."""

    def serve(client: Client) -> bytes:
        return answer({}) if client.server_name == HOST and client.header("Host") == HOST else data

    with TlsServer(server_context(pki), serve, says_goodbye=says_goodbye) as server:
        report = verify_address(server.address, checks=["MV-23", "MV-50", "MV-51"])
    assert report.verdict == "outage", cases_text(report, "passed")
    assert outcomes(report)["MV-50"] == outcomes(report)["MV-51"] == "outage"
    assert "ended too early" in cases_text(report, "outage")


LATE = """
ServerRoot {directory}
PidFile {directory}/httpd.pid
ErrorLog {directory}/error.log
Listen 127.0.0.1:{port}
ServerName {host}
{modules}
SSLSessionCache shmcb:{directory}/sessions(512000)
Mutex file:{directory}
<VirtualHost 127.0.0.1:{port}>
ServerName {host}
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
SSLProtocol {protocol}
SSLCipherSuite ECDHE+AESGCM
SSLCACertificateFile {client_ca}
SSLVerifyClient none
SSLVerifyDepth 3
<Location />
SSLVerifyClient {verify}
</Location>
ProxyPass / http://127.0.0.1:{upstream}/
</VirtualHost>
"""


@pytest.fixture
def apache_that_asks_late(
    pki: Pki, workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[t.Callable[..., str]]:
    """Return a function that starts an Apache httpd that asks for the certificate once it knows the path."""
    if real.find("apache2") is None:
        pytest.skip("apache2 is not installed")
    started: list[real.Running] = []

    def start(*, protocol: str, verify: str = "require") -> str:
        def command(place: real.Place) -> list[str]:
            modules = "\n".join(
                f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
                for name in ("mpm_event", "authz_core", "proxy", "proxy_http", "socache_shmcb", "ssl")
            )
            config = LATE.format(
                directory=place.directory,
                port=place.port,
                host=HOST,
                modules=modules,
                certificate=place.certificate,
                key=place.key,
                protocol=protocol,
                client_ca=place.client_ca,
                verify=verify,
                upstream=place.upstream,
            )
            return ["apache2", "-X", "-f", str(place.write("httpd.conf", config))]

        monkeypatch.setitem(real.KINDS, "late", real.Kind("apache2", command, {}))
        started.append(real.start("late", pki, tmp_path / "late", workload.port))
        return started[-1].address

    yield start
    for one in started:
        one.stop()


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
def test_certificate_that_is_asked_for_after_the_handshake_counts_but_warns(
    protocol: str, apache_that_asks_late: t.Callable[..., str], verify_address: Verify
) -> None:
    """curl gets in there, so the good client of a verification must, too, and nobody else."""
    report = verify_address(apache_that_asks_late(protocol=f"-all +{protocol}"), skip=["MV-50", "MV-51"])
    found = outcomes(report)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert found["MV-20"] == "warning"
    assert "read the request" in cases_text(report, "warning")
    for check in ("MV-21", "MV-23", "MV-24", "MV-25", "MV-26", "MV-27", "MV-28", "MV-35"):
        assert found[check] in {"passed", "warning"}, cases_text(report, "skipped")


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
def test_certificate_that_is_asked_for_late_and_not_needed_fails(
    protocol: str, apache_that_asks_late: t.Callable[..., str], verify_address: Verify
) -> None:
    report = verify_address(
        apache_that_asks_late(protocol=f"-all +{protocol}", verify="optional"), skip=["MV-50", "MV-51"]
    )
    assert report.verdict == "failed"
    assert outcomes(report)["MV-24"] == outcomes(report)["MV-20"] == "failed"
