# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that are sound in one way and not in another, and combinations of options that could hide it."""

from __future__ import annotations

import secrets
import socket
import ssl
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import protocol
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import outcome_of
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import client_hello
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.pki import HOST, make_ca, make_leaf, name
from ansible_collections.kyma.mtls.tests.servers.tls_server import Client, TlsServer, answer, server_context
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import cases_text, outcomes

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.servers.pki import Holder, Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import Verify


def echo(client: Client) -> bytes:
    return answer(client.echo())


def trusting_another_ca(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server.crt, pki.server.key_file)
    context.load_verify_locations(pki.server_ca.crt)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def of_another_ca(pki: Pki) -> ssl.SSLContext:
    stranger = make_ca(name(common_name="Another Server CA"))
    holder = make_leaf(stranger, subject=name(common_name=HOST), sans=[x509.DNSName(HOST)], usage=None)
    return server_context(pki, holder=holder.save(pki.directory / "another", "server"))


@pytest.mark.parametrize("checks", [["MV-24"], ["MV-20", "MV-24", "MV-25"]], ids=str)
@pytest.mark.parametrize(
    ("made", "said"),
    [(trusting_another_ca, "the good client does not get in"), (of_another_ca, "certificate is not trusted")],
)
def test_a_replica_that_does_not_serve_the_good_client_proves_nothing(
    made: t.Callable[[Pki], ssl.SSLContext], said: str, checks: list[str], pki: Pki, verify_address: Verify
) -> None:
    """Whatever is selected: the refusals of that replica have no control."""
    with TlsServer(server_context(pki), echo) as first, TlsServer(made(pki), echo, host="127.0.0.2") as second:
        report = verify_address(first.address, replicas=[second.address], checks=checks)
        alone = verify_address(first.address, replicas=[first.address], checks=checks)
    assert report.verdict == "failed"
    assert f"replica {second.address}: " in " ".join(report.reasons)
    assert said in " ".join(report.reasons)
    assert alone.verdict == "passed", cases_text(alone, "failed", "outage")


class Together(TlsServer):
    """Serves only clients that offer TLS 1.3 and 1.2 in one hello, as no check of one version does."""

    def shake_hands(self, connection: t.Any) -> ssl.SSLSocket:
        if b"\x04\x03\x04\x03\x03" in connection.recv(65536, socket.MSG_PEEK):  # supported_versions
            return super().shake_hands(connection)
        connection.recv(65536)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")  # alert 70 (protocol_version)
        raise ConnectionError


def test_a_server_that_speaks_no_version_alone_proves_nothing(pki: Pki, verify_address: Verify) -> None:
    """It lets everybody in, and no refusal could be tried in any version."""
    context = server_context(pki, verify=ssl.CERT_NONE)
    with Together(context, echo) as server:
        report = verify_address(server.address, checks=["MV-06", "MV-24", "MV-25"])
        whole = verify_address(server.address)
    assert report.verdict == "failed"
    assert "no refusal could be tried" in " ".join(report.reasons)
    assert outcomes(whole)["MV-23"] == "failed"


LONG = "a" * 64


@pytest.mark.parametrize("host", [f"{LONG}.test", "a..test", "."])
@pytest.mark.parametrize("option", ["connect_to", "replicas", "url"])
def test_a_host_that_nobody_can_look_up_is_an_outage_in_words(
    option: str, host: str, pki: Pki, verify_address: Verify
) -> None:
    every: dict[str, dict[str, t.Any]] = {
        "connect_to": {"connect_to": f"{host}:443"},
        "replicas": {"replicas": [f"{host}:443"]},
        "url": {"url": f"https://{host}/", "connect_to": None},
    }
    given = every[option]
    with TlsServer(server_context(pki), echo) as server:
        address = given.pop("connect_to", server.address)
        report = verify_address(address, checks=["MV-23", "MV-24"], timeout=5.0, **given)
    assert report.verdict == "outage"
    assert "no connection: " in cases_text(report, "outage")


def test_an_address_is_named_as_todays_rules_name_it(verify_address: Verify) -> None:
    """straße.test is not strasse.test."""
    report = verify_address("straße.invalid:443", checks=["MV-23"], timeout=5.0)
    assert report.target["address"] == "xn--strae-oqa.invalid:443"
    with pytest.raises(MtlsError, match="connect_to is 'snow☃:443', which has a host that cannot be used"):
        verify_address("snow☃:443", checks=["MV-23"])


URI_SAN = {"X-CLIENT-SSL-SAN": "%DOWNSTREAM_PEER_URI_SAN%"}


def reported(*prefixes: str, forgeable: bool) -> t.Callable[[Client], bytes]:
    """Return a workload that reports only the headers that begin with one of ``prefixes``; the client has no SAN."""

    def serve(client: Client) -> bytes:
        mine = [one for one in client.headers if one[0].lower().replace("_", "-") != "x-client-ssl-san" or forgeable]
        client.headers = [one for one in mine if one[0].lower().startswith(prefixes)]
        return answer(client.echo())

    return serve


def test_headers_that_are_reported_only_when_they_are_there_are_forged_too(pki: Pki, verify_address: Verify) -> None:
    given = {"identity_headers": URI_SAN, "client_ca_key": None, "checks": ["MV-23", "MV-24", "MV-41"]}
    for prefixes in (("x-client-ssl-san",), ("x-client-ssl-san", "host")):
        with TlsServer(server_context(pki), reported(*prefixes, forgeable=True)) as server:
            report = verify_address(server.address, **given)
        assert outcomes(report)["MV-41"] == "failed", cases_text(report, "passed", "skipped")
        with TlsServer(server_context(pki), reported(*prefixes, forgeable=False)) as server:
            report = verify_address(server.address, **given)
        assert outcomes(report)["MV-41"] == "skipped", cases_text(report, "passed")


def test_headers_that_are_never_reported_are_no_pass(pki: Pki, verify_address: Verify) -> None:
    given = {"client_ca_key": None, "checks": ["MV-23", "MV-24", "MV-40", "MV-41"]}
    with TlsServer(server_context(pki), lambda _client: answer({"headers": {}})) as server:
        report = verify_address(server.address, identity_headers=URI_SAN, **given)
    assert (outcomes(report)["MV-40"], outcomes(report)["MV-41"]) == ("skipped", "skipped")
    assert "does not report the headers of a request" in cases_text(report, "skipped")

    def names_only(client: Client) -> bytes:
        assert client.certificate is not None
        subject = x509.load_der_x509_certificate(client.certificate).subject.rfc4514_string()
        return answer({"headers": {"X-CLIENT-SSL-CN": subject}})

    with TlsServer(server_context(pki), names_only) as server:
        both = {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%", **URI_SAN}
        report = verify_address(server.address, identity_headers=both, **given)
    assert (outcomes(report)["MV-40"], outcomes(report)["MV-41"]) == ("passed", "warning")
    assert "the workload does not report X-CLIENT-SSL-SAN, so" in cases_text(report, "warning")


def test_a_header_that_is_absent_where_all_are_reported_is_empty(pki: Pki, verify_address: Verify) -> None:
    with TlsServer(server_context(pki), reported("", forgeable=False)) as server:
        report = verify_address(server.address, identity_headers=URI_SAN, client_ca_key=None, checks=["MV-23", "MV-40"])
    assert (report.verdict, outcomes(report)["MV-40"]) == ("passed", "passed")


@pytest.mark.parametrize(
    ("last", "outcome"), [("alert", "passed"), ("hello", "passed"), ("closed", "outage"), ("timeout", "outage")]
)
def test_who_breaks_off_amid_the_groups_may_take_weaker_ones(last: str, outcome: str) -> None:
    answer_to_the_rest = client_hello.HelloAnswer(last, alert=40 if last == "alert" else None)
    cases = protocol.check_groups(protocol.Accepted((0x001D,), answer_to_the_rest))
    assert outcome_of(cases) == outcome


class OpenFor(TlsServer):
    """Needs a certificate of the client CA, but of those whose ClientHello ``opens``."""

    def __init__(
        self,
        pki: Pki,
        opens: t.Callable[[bytes], bool],
        *,
        holder: Holder | None = None,
        lax_holder: Holder | None = None,
    ) -> None:
        super().__init__(server_context(pki, holder=holder), echo)
        self._lax = server_context(pki, verify=ssl.CERT_NONE, holder=lax_holder or holder)
        self._opens = opens

    def shake_hands(self, connection: socket.socket) -> ssl.SSLSocket:
        context = self._lax if self._opens(connection.recv(65536, socket.MSG_PEEK)) else self.context
        return context.wrap_socket(connection, server_side=True)


def suites_of(hello: bytes) -> set[bytes]:
    """Return the cipher suites of a ClientHello (RFC 5246 section 7.4.1.2)."""
    at = 44 + hello[43]
    size = int.from_bytes(hello[at : at + 2], "big")
    return {hello[one : one + 2] for one in range(at + 2, at + 2 + size, 2)}


ECDSA_SUITE, RSA_SUITE = b"\xc0\x2b", b"\xc0\x2f"


@pytest.mark.parametrize(
    ("kind", "missing", "offered"), [("rsa", ECDSA_SUITE, RSA_SUITE), ("ec", RSA_SUITE, ECDSA_SUITE)]
)
def test_a_server_that_is_open_for_one_kind_of_suites_fails(
    kind: str, missing: bytes, offered: bytes, pki: Pki, verify_address: Verify
) -> None:
    holder = pki.server_certificate(f"suites-{kind}", kind=kind)

    def opens(hello: bytes) -> bool:
        suites = suites_of(hello)
        return offered in suites and missing not in suites

    given = {"checks": ["MV-20", "MV-23", "MV-24", "MV-25"]}
    with OpenFor(pki, opens, holder=holder) as server:
        report = verify_address(server.address, **given)
    assert outcomes(report) == {"MV-20": "failed", "MV-23": "passed", "MV-24": "failed", "MV-25": "failed"}
    assert "TLSv1.2, suites a" in cases_text(report, "failed")
    with OpenFor(pki, lambda _hello: False, holder=holder) as server:
        report = verify_address(server.address, **given)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")


def test_a_server_that_is_open_with_a_second_certificate_which_nobody_trusts_fails(
    pki: Pki, verify_address: Verify
) -> None:
    """Who breaks in does not verify the server; and that certificate is a fault of its own."""
    stranger = make_ca(name(common_name="Another Server CA"))
    other = make_leaf(stranger, subject=name(common_name=HOST), sans=[x509.DNSName(HOST)], usage=None, kind="rsa")
    other.save(pki.directory / "second", "server")

    def opens(hello: bytes) -> bool:
        return RSA_SUITE in suites_of(hello) and ECDSA_SUITE not in suites_of(hello)

    with OpenFor(pki, opens, lax_holder=other) as server:
        report = verify_address(server.address, checks=["MV-13", "MV-23", "MV-24"])
    assert outcomes(report) == {"MV-13": "failed", "MV-23": "passed", "MV-24": "failed"}
    assert "trusted, TLSv1.2, suites aRSA" in cases_text(report, "failed")
    assert "no certificate, TLSv1.2, suites aRSA" in cases_text(report, "failed")


@pytest.mark.parametrize(
    ("opens", "offer"),
    [
        (lambda hello: HOST.upper().encode() in hello, "SNI HTTPBIN.MTLS.TEST"),
        (lambda hello: b"\x02h2\x08http/1.1" in hello, "ALPN h2 and http/1.1"),
    ],
)
def test_a_server_that_is_open_for_another_spelling_of_the_same_fails(
    opens: t.Callable[[bytes], bool], offer: str, pki: Pki, verify_address: Verify
) -> None:
    with OpenFor(pki, opens) as server:
        report = verify_address(server.address, checks=["MV-23", "MV-24", "MV-25"])
    assert outcomes(report) == {"MV-23": "passed", "MV-24": "failed", "MV-25": "failed"}
    assert f"no certificate, TLSv1.3, {offer}" in cases_text(report, "failed")


def test_a_server_that_is_open_under_another_name_of_its_certificate_fails(pki: Pki, verify_address: Verify) -> None:
    names = [HOST, "public.mtls.example", "other.mtls.example", "*.mtls.example"]
    holder = pki.server_certificate("names", sans=[x509.DNSName(one) for one in names])
    for name_ in names[1:3]:
        with OpenFor(pki, lambda hello, name_=name_: name_.encode() in hello, holder=holder) as server:  # type: ignore[misc]
            report = verify_address(server.address, checks=["MV-23", "MV-24", "MV-25"])
        assert outcomes(report) == {"MV-23": "passed", "MV-24": "failed", "MV-25": "failed"}
        assert f"SNI {name_}" in cases_text(report, "failed")


def test_a_server_that_opens_after_all_checks_of_it_fails(pki: Pki, verify_address: Verify) -> None:
    """Who opens its door after so many connections is open."""
    checks = ["MV-23", "MV-24", "MV-25"]
    connections: list[bytes] = []
    with OpenFor(pki, lambda hello: bool(connections.append(hello))) as server:  # type: ignore[func-returns-value]
        report = verify_address(server.address, checks=checks)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    last = len(connections) - 2  # the good client's, and then those that nobody expects any more
    later: list[bytes] = []

    def opens(hello: bytes) -> bool:
        later.append(hello)
        return len(later) > last

    with OpenFor(pki, opens) as server:
        report = verify_address(server.address, checks=checks)
    assert outcomes(report)["MV-24"] == "failed", cases_text(report, "passed")
    assert "after all others" in cases_text(report, "failed")


def test_a_refusal_with_what_is_expected_of_the_workload_is_none(pki: Pki, verify_address: Verify) -> None:
    """The content differs each time, and still it is the workload's."""

    def serve(client: Client) -> bytes:
        document = {"name": "payroll", "nonce": secrets.token_hex(8)}
        return answer(document, status="403 Forbidden" if client.certificate is None else "200 OK")

    with TlsServer(server_context(pki, verify=ssl.CERT_OPTIONAL), serve) as server:
        given = {"checks": ["MV-23", "MV-24"], "expect": {"name": "payroll"}}
        report = verify_address(server.address, **given)
        other = verify_address(server.address, checks=["MV-23", "MV-24"])
    assert outcomes(report) == {"MV-23": "passed", "MV-24": "failed"}
    assert "with the workload's content" in cases_text(report, "failed")
    assert other.verdict == "passed"  # nobody said how that content can be told


def test_plain_http_by_head_has_no_body_to_wait_for(
    pki: Pki, workload: Workload, verify_address: Verify, tmp_path: Path
) -> None:
    """nginx says how long the page would be, and sends none. The workload knows no HEAD, which does not matter here."""
    server = real.start("nginx", pki, tmp_path, workload.port)
    try:
        report = verify_address(server.address, method="HEAD", expect_status=[501], checks=["MV-06", "MV-23"])
    finally:
        server.stop()
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert outcomes(report)["MV-06"] == "passed"


@pytest.mark.parametrize("form", ["files", "PKCS#12"])
def test_a_client_with_an_rsa_pss_key_gets_in(form: str, pki: Pki, verify_address: Verify, tmp_path: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)  # noqa: S607  (a fixed command)

    (tmp_path / "extensions").write_text("keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n")
    openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key")
    openssl("req", "-new", "-key", "key", "-subj", "/CN=pss", "-out", "csr")
    issuer = ["-CA", pki.client_ca.crt, "-CAkey", pki.client_ca.key_file, "-set_serial", "77"]
    openssl("x509", "-req", "-in", "csr", *issuer, "-days", "9", "-extfile", "extensions", "-out", "crt")
    openssl("pkcs12", "-export", "-in", "crt", "-inkey", "key", "-out", "p12", "-passout", "pass:secret")
    forms: dict[str, dict[str, t.Any]] = {
        "files": {"client_cert": str(tmp_path / "crt"), "client_key": str(tmp_path / "key")},
        "PKCS#12": {
            "client_cert": None,
            "client_key": None,
            "client_p12": str(tmp_path / "p12"),
            "client_p12_password": "secret",
        },
    }
    with TlsServer(server_context(pki), echo) as server:
        report = verify_address(server.address, checks=["MV-23", "MV-24", "MV-25"], **forms[form])
    assert report.verdict == "passed", cases_text(report, "failed", "outage")


def test_a_client_ca_with_an_rsa_pss_key_gets_every_check(pki: Pki, verify_address: Verify, tmp_path: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)  # noqa: S607  (a fixed command)

    (tmp_path / "extensions").write_text("keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n")
    openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "ca.key")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=PSS CA", "-days", "9", "-out", "ca.crt")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key",
            "-subj", "/CN=client", "-out", "csr")  # fmt: skip
    openssl("x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "77", "-days", "9",
            "-extfile", "extensions", "-out", "crt")  # fmt: skip
    given = {"client_cert": "crt", "client_key": "key", "client_ca_key": "ca.key"}
    changes: dict[str, t.Any] = {name: str(tmp_path / file) for name, file in given.items()}
    context = server_context(pki)
    context.load_verify_locations(tmp_path / "ca.crt")
    checks = ["MV-23", "MV-27", "MV-28", "MV-31", "MV-32"]
    with TlsServer(context, echo) as server:
        changes |= {"client_ca_cert": [str(tmp_path / "ca.crt")], "checks": checks, "require_checks": checks}
        report = verify_address(server.address, **changes)
    assert report.verdict == "passed", cases_text(report, "failed", "outage", "skipped")


@pytest.mark.parametrize("left", ["client.key", "tls.crt", "alice.p12"])
def test_a_revoked_client_without_its_certificate_is_no_pass(
    left: str, pki: Pki, verify_address: Verify, tmp_path: Path
) -> None:
    """What is kept below revoked_dir is there to be tried: half of it is not overlooked."""
    whole, half = tmp_path / "mallory" / "1", tmp_path / "alice" / "2"
    for folder, names in ((whole, ("client.crt", "client.key")), (half, (left,))):
        folder.mkdir(parents=True)
        for name_ in names:
            source = pki.revoked.key_file if name_.endswith("key") else pki.revoked.crt
            (folder / name_).write_bytes(Path(source).read_bytes())
    (tmp_path / "index.pem").touch()
    context = server_context(pki)
    context.load_verify_locations(pki.crl)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    with TlsServer(context, echo) as server:
        given = {"revoked_dir": str(tmp_path), "client_ca_key": None, "checks": ["MV-23", "MV-29"]}
        report = verify_address(server.address, **given)
        assert report.verdict == "failed"
        assert f"could not be tried: {half} has no client-chain.pem and no client.crt" in cases_text(report, "failed")
        (half / left).unlink()
        report = verify_address(server.address, **given)
    assert report.verdict == "passed", cases_text(report, "failed", "outage")
    assert outcomes(report)["MV-29"] == "passed"


def test_http1_in_which_only_strangers_are_served_fails(pki: Pki, verify_address: Verify) -> None:
    """Nobody may be served in a way in which the good client is not."""

    def serve_strangers_without_alpn(client: Client) -> bytes | None:
        has_alpn = client.tls.selected_alpn_protocol() is not None
        return answer(client.echo()) if has_alpn == (client.certificate is not None) else None

    context = server_context(pki, verify=ssl.CERT_OPTIONAL)
    with TlsServer(context, serve_strangers_without_alpn) as server:
        report = verify_address(server.address, checks=["MV-20", "MV-23", "MV-24"])
    assert outcomes(report) == {"MV-20": "failed", "MV-23": "passed", "MV-24": "failed"}
    failed = {case["name"] for case in report.checks[-1]["cases"] if case["outcome"] == "failed"}
    assert failed >= {"no certificate, TLSv1.2, no ALPN", "no certificate, TLSv1.3, no ALPN"}
    assert "no certificate, TLSv1.3" not in failed


def test_who_is_refused_for_a_missing_intermediate_is_tried_with_it(pki: Pki, verify_address: Verify) -> None:
    """The server has no revocation list. Without its intermediate, a revoked client would be refused all the same."""
    middle = make_ca(name(common_name="Test Client Intermediate"), issuer=pki.client_ca)
    middle.save(pki.directory, "client-middle")
    good = pki.client_certificate("below-good", issuer=middle, chain=(middle.certificate,))
    bare = pki.client_certificate("below-bare", issuer=middle)
    listed = {"name": "bare", "cert": bare.crt, "key": bare.key_file, "key_passphrase": None, "expect": "refused"}
    with TlsServer(server_context(pki), echo) as server:
        report = verify_address(
            server.address,
            client_cert=good.crt,
            client_key=good.key_file,
            client_ca_key=None,
            revoked_cert=bare.crt,
            revoked_key=bare.key_file,
            clients=[listed],
            checks=["MV-23", "MV-29", "MV-33"],
        )
    assert outcomes(report) == {"MV-23": "passed", "MV-29": "failed", "MV-33": "failed"}, cases_text(report, "passed")
