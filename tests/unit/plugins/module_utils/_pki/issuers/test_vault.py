# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenBao as the issuer of clients and of the server: a real one, in an environment of its own."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import itertools
import json
import os
import signal
import threading
import time
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import vault
from ansible_collections.kyma.mtls.tests.servers import openbao, pki, threads
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki import sides

_NUMBERS = itertools.count(1)
ROBOT = {"name": "robot", "sans": ["URI:spiffe://example.com/robot"]}


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[openbao.OpenBao]:
    program = openbao.find()
    if program is None:
        pytest.skip("OpenBao is not installed (KYMA_MTLS_BAO)")
    with openbao.running(program, tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def fleet(bao: openbao.OpenBao, tmp_path: Path) -> Fleet:
    """A PKI engine of the test's own, and clients of it."""
    mount = f"pki{next(_NUMBERS)}"
    bao.engine(mount)
    return Fleet(bao, mount, tmp_path)


class Fleet:
    """Clients of one PKI engine; every run is one of the module, now."""

    def __init__(self, bao: openbao.OpenBao, mount: str, path: Path) -> None:
        self.bao = bao
        self.mount = mount
        self.path = path
        self.token = bao.token(bao.policy(mount))
        self.side = sides.client(path, ca=None)

    @property
    def vault(self) -> dict[str, t.Any]:
        return self.at()

    def at(self, **changes: t.Any) -> dict[str, t.Any]:
        auth = {"method": "token", "token": self.token}
        given = {"url": self.bao.url, "mount": self.mount, "role": "client", "auth": auth, "timeout": 10}
        return given | dict.fromkeys(("issuer", "namespace", "ca_file")) | changes

    def run(self, *clients: dict[str, t.Any], days_later: float = 0, **changes: t.Any) -> dict[str, t.Any]:
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days_later)
        given = {"vault": self.vault, "defaults": {"key_type": "ECDSA", "hours": 48}} | changes
        return self.side.run(*(clients or ({"name": "curl"},)), now=now, **given)

    def leaf(self, name: str = "curl") -> x509.Certificate:
        return self.side.one(f"clients/{name}/client.crt")

    def records(self) -> list[dict[str, t.Any]]:
        return [json.loads(line) for line in (self.side.path / "issued.jsonl").read_text().splitlines()]

    def lists(self) -> list[x509.CertificateRevocationList]:
        path = self.side.path / "ca.crl"
        if not path.exists():
            return []
        blocks = path.read_text().split("-----BEGIN")[1:]
        return [x509.load_pem_x509_crl(f"-----BEGIN{block}".encode()) for block in blocks]

    def listed(self) -> set[int]:
        return {entry.serial_number for crl in self.lists() for entry in crl}


def test_clients_get_certificates_of_the_issuer_and_an_unchanged_run_signs_nothing(fleet: Fleet) -> None:
    predicted = fleet.run(ROBOT, {"name": "curl"}, check_mode=True)
    assert [change["name"] for change in predicted["changes"]] == ["robot", "curl"]
    assert not fleet.side.path.exists()
    assert len(fleet.bao.signed(fleet.mount)) == 1  # the root

    made = fleet.run(ROBOT, {"name": "curl", "organization": "ML Client Org"})
    assert made["changed"]
    robot = fleet.leaf("robot")
    robot.verify_directly_issued_by(fleet.side.one("ca-bundle.crt"))
    assert robot.subject.rfc4514_string() == "CN=robot,O=ML Client Org"
    san = robot.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://example.com/robot"]
    assert fleet.side.key("clients/robot/client.key").public_key() == robot.public_key()
    assert [(one["name"], one["provider"]) for one in fleet.records()] == [("robot", "vault"), ("curl", "vault")]
    assert not fleet.lists()  # Envoy refuses everybody when a list lapses: none before the first revocation

    before = fleet.side.tree()
    assert not fleet.run(ROBOT, {"name": "curl", "organization": "ML Client Org"})["changed"]
    assert fleet.side.tree() == before
    assert len(fleet.bao.signed(fleet.mount)) == 3


def test_renewal_is_by_share_of_the_lifetime_that_the_issuer_gave(fleet: Fleet) -> None:
    fleet.run()
    first = fleet.leaf()
    assert not fleet.run(days_later=1.2)["changed"]  # of 2 days
    assert "within the renewal window of 33 %" in str(fleet.run(days_later=1.5, check_mode=True)["changes"])
    due = fleet.run(days_later=1.5)
    assert [change["action"] for change in due["changes"]] == ["reissue"]
    assert fleet.leaf().serial_number != first.serial_number
    assert fleet.leaf().public_key() == first.public_key()


def test_a_lifetime_that_the_issuer_cuts_is_reported_and_no_reason_to_renew(fleet: Fleet) -> None:
    made = fleet.run(defaults={"key_type": "ECDSA", "days": 90})
    (note,) = made["notes"]
    assert "shortened the lifetime of 1 certificate (curl): requested 90 days, given 7 days" in note
    assert 'It says: TTL "2160h0m0s" is longer than permitted maxTTL "168h0m0s"' in note
    assert not fleet.run(defaults={"key_type": "ECDSA", "days": 90})["changed"]
    assert not fleet.run({"name": "other"}, defaults={"key_type": "ECDSA"})["notes"]  # the role decides
    assert fleet.leaf("other").not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)


def test_revoked_clients_are_revoked_at_the_issuer_and_its_list_is_published(fleet: Fleet) -> None:
    fleet.run(ROBOT, {"name": "curl"})
    robot = fleet.leaf("robot")
    done = fleet.run(ROBOT, {"name": "curl"}, state="revoked", revoke=["robot"])
    assert done["revoked"][0]["name"] == "robot"
    assert done["kept"] == {"robot": str(fleet.side.path / "revoked/robot")}
    assert fleet.listed() == {robot.serial_number}
    assert fleet.lists()[0].is_signature_valid(t.cast("t.Any", fleet.side.one("ca.crt").public_key()))

    again = fleet.run(ROBOT, {"name": "curl"})
    assert not again["changed"]
    assert "robot was revoked" in str(again["notes"])
    fleet.run(ROBOT, {"name": "curl"}, state="revoked", revoke=["robot"], rekey=["robot"])
    assert fleet.leaf("robot").serial_number not in fleet.listed()
    # A list that is due is renewed at the issuer, before Envoy refuses everybody.
    number = fleet.lists()[0].extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert not fleet.run(ROBOT, {"name": "curl"}, days_later=0.5)["changed"]
    later = fleet.run(ROBOT, {"name": "curl"}, days_later=2.2, defaults={"key_type": "ECDSA"})
    assert "Have the list of" in str(later["actions"])
    assert fleet.lists()[0].extensions.get_extension_for_class(x509.CRLNumber).value.crl_number > number


def test_what_is_revoked_at_the_issuer_itself_is_taken_up(fleet: Fleet) -> None:
    fleet.run(ROBOT, {"name": "curl"})
    serial = fleet.leaf("curl").serial_number
    # Without leading zeros, as OpenBao writes it: one number in 256 is shorter than the others.
    octets = serial.to_bytes((serial.bit_length() + 7) // 8).hex(":")
    fleet.bao.call("POST", f"{fleet.mount}/revoke", {"serial_number": octets})
    done = fleet.run(ROBOT, {"name": "curl"})
    assert "what was revoked at the issuer: certificates of curl" in str(done["notes"])
    assert fleet.listed() == {fleet.leaf("curl").serial_number}
    assert "curl was revoked" in str(fleet.run(ROBOT, {"name": "curl"})["notes"])


def test_a_token_that_may_not_renew_the_list_says_so(fleet: Fleet) -> None:
    fleet.bao.call("POST", f"{fleet.mount}/config/crl", {"auto_rebuild": True, "expiry": "72h"})
    fleet.token = fleet.bao.token(fleet.bao.policy(fleet.mount, rotates=False))
    fleet.run()
    with pytest.raises(MtlsError, match=r"Revoked at the issuer, but not on its revocation list yet.*crl/rotate"):
        fleet.run(state="revoked", revoke=["curl"])
    assert not fleet.lists()
    fleet.token = fleet.bao.token(fleet.bao.policy(fleet.mount))
    fleet.run()
    assert fleet.listed() == {fleet.leaf().serial_number}


def test_one_name_that_the_role_refuses_keeps_no_other_from_being_issued(fleet: Fleet) -> None:
    fleet.run()
    before = fleet.side.tree()
    wrong = {"name": "wrong", "sans": ["URI:spiffe://elsewhere.example/x"]}
    with pytest.raises(MtlsError) as caught:
        fleet.run({"name": "curl"}, wrong, ROBOT)
    said = str(caught.value)
    assert "Certificate wrong is refused by" in said
    assert (
        "URI Subject Alternative Names were provided via CSR which are not valid for this role. Correct it here" in said
    )
    assert said.endswith("1 other certificate was issued.")
    after = fleet.side.tree()
    assert {name for name in after if name not in before} == {
        f"clients/robot/{name}" for name in ("client.crt", "client.key", "client-chain.pem")
    }
    assert after["clients/curl/client.crt"] == before["clients/curl/client.crt"]


def test_what_was_signed_when_the_token_ends_is_recorded_and_written(fleet: Fleet) -> None:
    clients = [{"name": f"c{number}"} for number in range(300)]

    def end_the_token() -> None:
        while len(fleet.bao.signed(fleet.mount)) < 40:
            time.sleep(0.01)
        fleet.bao.call("POST", "auth/token/revoke", {"token": fleet.token})

    ending = threading.Thread(target=end_the_token)
    ending.start()
    with pytest.raises(MtlsError, match=r"permission denied.* [0-9]+ other certificates were issued\."):
        fleet.run(*clients)
    ending.join()
    signed = {int(number.replace(":", ""), 16) for number in fleet.bao.signed(fleet.mount)}
    recorded = {int(one["serial_number"], 16): one["name"] for one in fleet.records()}
    assert signed - {fleet.side.one("ca.crt").serial_number} == set(recorded)
    assert {fleet.leaf(name).serial_number for name in recorded.values()} == set(recorded)
    assert list(recorded.values()) == [f"c{number}" for number in range(len(recorded))]
    fleet.token = fleet.bao.token(fleet.bao.policy(fleet.mount))
    assert len(fleet.run(*clients)["changes"]) == len(clients) - len(recorded)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"role": "none"}, "is refused by .*: unknown role: none. Correct vault.role"),
        ({"mount": "nowhere"}, r"of a PKI needs no token, so none is mounted there: correct vault\.mount"),
        (
            {"auth": {"token": "wrong"}},
            r"permission denied\. Either the token of vault\.auth is not valid any more, or",
        ),
        (
            {"auth": {"method": "approle", "role_id": "a", "secret_id": "b"}},
            r"The login is refused .* role_id and secret_id",
        ),
        ({"auth": {}}, r"vault\.auth\.token is missing"),
        ({"mount": "a b"}, r"vault\.mount is 'a b'"),
        ({"url": "bao"}, "is not a URL of a web server"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(fleet: Fleet, what: dict[str, t.Any], expected: str) -> None:
    with pytest.raises(MtlsError, match=expected):
        fleet.run(vault=fleet.at(**what))
    assert not fleet.side.tree()


def test_without_an_answer_what_is_there_goes_on_serving(fleet: Fleet) -> None:
    silent = fleet.at(url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MtlsError, match=r"cannot be reached: Connection refused\. .* Nothing was changed"):
        fleet.run(vault=silent)
    fleet.run(ROBOT, {"name": "curl"})
    fleet.run(ROBOT, {"name": "curl"}, state="revoked", revoke=["robot"])
    before = fleet.side.tree()
    idle = fleet.run({"name": "curl"}, vault=silent)
    assert not idle["changed"]
    assert "The existing files stay in use" in str(idle["notes"])
    assert "and is not renewed" in str(idle["notes"])  # the revocation list
    with pytest.raises(MtlsError, match="cannot be reached"):
        fleet.run({"name": "curl"}, vault=silent, days_later=1.5)
    with pytest.raises(MtlsError, match="That is near, and Envoy refuses every client from then on"):
        fleet.run({"name": "curl"}, vault=silent, days_later=2.7)
    assert fleet.side.tree() == before


def test_a_role_that_issues_for_other_purposes_is_refused_with_the_first_certificate(fleet: Fleet) -> None:
    fleet.bao.role(fleet.mount, "both", server_flag=True)
    with pytest.raises(MtlsError, match=r"not that of a client alone, but .*serverAuth.* server_flag=false"):
        fleet.run(*({"name": f"c{number}"} for number in range(5)), vault=fleet.at(role="both"))
    assert len(fleet.bao.signed(fleet.mount)) == 2
    assert not fleet.side.tree()
    with pytest.raises(MtlsError, match=r"the subject is .*, without O=Another"):
        fleet.run({"name": "curl", "organization": "Another"})


def test_logins_end_with_the_run(fleet: Fleet) -> None:
    login = fleet.bao.approle(fleet.mount, mount=fleet.mount)
    auth = {"method": "approle", "mount": fleet.mount, **login}

    def tokens() -> int:
        return len(fleet.bao.call("GET", "auth/token/accessors?list=true")["keys"])

    before = tokens()
    assert fleet.run(vault=fleet.at(auth=auth))["changed"]
    assert not fleet.run(vault=fleet.at(auth=auth))["changed"]
    assert tokens() == before
    assert fleet.leaf().issuer == fleet.side.one("ca.crt").subject


def test_another_root_is_trusted_by_one_run_and_issues_in_the_next(fleet: Fleet) -> None:
    fleet.run()
    old = fleet.leaf()
    made = fleet.bao.call(
        "POST", f"{fleet.mount}/root/rotate/internal", {"common_name": "Next Root", "key_type": "ec", "ttl": "70000h"}
    )
    fleet.bao.call("POST", f"{fleet.mount}/config/issuers", {"default": made["issuer_id"]})
    first = fleet.run(ROBOT, {"name": "curl"})
    assert "has a new root CA" in str(first["notes"])
    assert not first["changes"]
    assert len(fleet.side.certificates("ca-bundle.crt")) == 2
    assert fleet.leaf() == old
    second = fleet.run(ROBOT, {"name": "curl"})
    assert {change["name"] for change in second["changes"]} == {"robot", "curl"}
    assert fleet.leaf().issuer.rfc4514_string() == "CN=Next Root"
    assert len(fleet.side.certificates("ca-bundle.crt")) == 2
    assert not fleet.run(ROBOT, {"name": "curl"})["changed"]
    fleet.run(ROBOT, {"name": "curl"}, state="revoked", revoke=["robot"])
    assert len(fleet.lists()) == 2  # of both CAs, as Envoy needs them


def test_a_ca_of_our_own_is_followed_by_the_issuer_with_an_overlap(fleet: Fleet) -> None:
    own = sides.client(fleet.path)
    now = datetime.datetime.now(datetime.UTC)
    own.run({"name": "curl"}, now=now)
    first = fleet.run()
    assert "has a new root CA" in str(first["notes"])
    assert not first["changes"]
    second = fleet.run()
    assert [change["action"] for change in second["changes"]] == ["reissue"]
    assert not (fleet.side.path / "ca.key").exists()
    assert list(fleet.side.path.glob("replaced/*/ca.key"))
    assert [one["provider"] for one in fleet.records()] == ["self_signed", "vault"]


def test_an_intermediate_needs_its_root_and_the_list_of_it(fleet: Fleet) -> None:
    below = f"{fleet.mount}-below"
    fleet.bao.call("POST", f"sys/mounts/{below}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
    request = fleet.bao.call(
        "POST", f"{below}/intermediate/generate/internal", {"common_name": "Issuing", "key_type": "ec"}
    )
    signed = fleet.bao.call(
        "POST",
        f"{fleet.mount}/root/sign-intermediate",
        {"csr": request["csr"], "common_name": "Issuing", "ttl": "70000h"},
    )
    fleet.bao.call("POST", f"{below}/intermediate/set-signed", {"certificate": signed["certificate"]})
    fleet.bao.role(below, "client")
    fleet.token = fleet.bao.token(fleet.bao.policy(below))
    vault = fleet.at(mount=below)
    with pytest.raises(MtlsError, match=r"provide it as provided\.ca"):
        fleet.run(vault=vault)
    provided = {"ca": signed["issuing_ca"], "ca_key": None, "ca_key_content": None, "provider": None}
    fleet.run(vault=vault, provided=provided)
    chain = fleet.side.certificates("clients/curl/client-chain.pem")
    assert [one.subject.rfc4514_string() for one in chain[1:]] == ["CN=Issuing"]
    with pytest.raises(MtlsError, match=r"no usable revocation list of .*Fleet Root.* by crl_url"):
        fleet.run(vault=vault, provided=provided, state="revoked", revoke=["curl"])
    urls = [f"{fleet.bao.url}/v1/{fleet.mount}/crl"]  # in DER
    fleet.run(vault=vault, provided=provided, crl_url=urls)
    assert fleet.lists()
    fleet.run(vault=vault, provided=provided, state="revoked", revoke=["curl"], crl_url=urls)
    assert len(fleet.lists()) == 2
    assert fleet.listed() == {fleet.leaf().serial_number}


def test_the_server_gets_a_certificate_that_is_proven_before_it_is_written(fleet: Fleet) -> None:
    fleet.bao.role(
        fleet.mount, "server", server_flag=True, client_flag=False, key_usage="DigitalSignature,KeyEncipherment"
    )
    side = sides.server(fleet.path, ca=None)
    now = datetime.datetime.now(datetime.UTC)
    vault = fleet.at(role="server")
    with pytest.raises(MtlsError, match=r"not that of a server alone"):
        side.run(vault=fleet.at(), now=now)
    with pytest.raises(MtlsError, match=r"www\.other\.test"):
        side.run(vault=vault, now=now, hostnames=["www.other.test"])
    assert not side.tree()
    side.run(vault=vault, now=now)
    assert side.one("server.crt").issuer == side.one("ca.crt").subject
    assert side.one("server-chain.pem") == side.one("server.crt")
    assert [json.loads(line)["provider"] for line in (side.path / "issued.jsonl").read_text().splitlines()] == ["vault"]
    assert not side.run(vault=vault, now=now)["changed"]


def test_a_run_that_is_killed_between_signature_and_file_is_completed_by_the_next(fleet: Fleet) -> None:
    clients = [{"name": f"c{number}"} for number in range(150)]
    fleet.run(clients[0])
    kept = fleet.leaf("c0")
    child = os.fork()
    if child == 0:  # pragma: no cover  (killed)
        with contextlib.suppress(BaseException):
            fleet.run(*clients)
        os._exit(0)
    while len(fleet.bao.signed(fleet.mount)) < 20:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert fleet.run(*clients)["changed"]
    assert not fleet.run(*clients)["changed"]
    assert fleet.leaf("c0") == kept
    recorded = {int(one["serial_number"], 16) for one in fleet.records()}
    for client in clients:
        leaf = fleet.leaf(client["name"])
        assert leaf.serial_number in recorded
        assert fleet.side.key(f"clients/{client['name']}/client.key").public_key() == leaf.public_key()
    assert not [path for path in fleet.side.path.rglob(".*") if path.is_file()]


UNSET = {"mount": "pki", "role": "client", "issuer": None, "namespace": None, "ca_file": None, "timeout": 10}


class Stranger(http.server.BaseHTTPRequestHandler):
    """Answers everything with one body, as no issuer does."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_arguments: t.Any) -> None:
        pass


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        ("authorities", b"<html>"),
        ("authorities", b"[" * 100_000),
        ("authorities", b'{"data": {"ca_chain": 5}}'),
        ("lists", b'{"data": {"keys": 5}}'),
        ("lists", b'{"data": [1]}'),
        ("prepare", b'{"auth": [1]}'),
    ],
    ids=["page", "deep", "chain", "keys", "data", "auth"],
)
def test_an_answer_that_no_issuer_gives_is_said(ask: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stranger, "body", body)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    with threads.serving(server):
        given = UNSET | {"url": f"http://127.0.0.1:{server.server_address[1]}"}
        given["auth"] = {"method": "approle", "role_id": "a", "secret_id": "b"}
        client = vault.VaultClient(vault.to_pki(given))
        with pytest.raises(MtlsError, match="does not answer as OpenBao or Vault does"):
            getattr(client, ask)()
        client.close()


@pytest.mark.parametrize("has_file", [True, False], ids=["path", "nothing"])
def test_what_the_issuer_names_as_its_ca_is_never_read_from_a_file(
    has_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = pki.make_pki(tmp_path).client_ca.crt if has_file else ""
    monkeypatch.setattr(Stranger, "body", json.dumps({"data": {"certificate": str(certificate)}}).encode())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    with threads.serving(server):
        given = UNSET | {"url": f"http://127.0.0.1:{server.server_address[1]}"}
        given["auth"] = {"method": "token", "token": "hvs.a"}
        with pytest.raises(MtlsError, match=r"certificate in the content of the CA certificates of pki") as raised:
            sides.client(tmp_path / "side", ca=None).run(vault=given)
    assert str(raised.value).count("Nothing was changed.") == 1


def test_the_line_break_at_the_end_of_a_file_is_no_part_of_a_token() -> None:
    given = UNSET | {"url": "https://bao.test", "auth": {"method": "token", "token": "hvs.a\n"}}
    assert vault.to_pki(given) == vault.to_pki(given | {"auth": {"method": "token", "token": "hvs.a"}})


def test_a_certificate_logs_in_over_tls_and_another_one_does_not(tmp_path: Path) -> None:
    program = openbao.find()
    if program is None:
        pytest.skip("OpenBao is not installed (KYMA_MTLS_BAO)")
    made = pki.make_pki(tmp_path / "login")
    with openbao.running(program, tmp_path, is_tls=True) as bao:
        bao.engine("fleet")
        fleet = Fleet(bao, "fleet", tmp_path)
        bao.call("POST", "sys/auth/cert", {"type": "cert"})
        trusted = {"certificate": Path(made.client_ca.crt).read_text(), "token_policies": "fleet"}
        bao.call("POST", "auth/cert/certs/ansible", trusted)
        good = {"method": "cert", "certificate": made.client.crt, "key": made.client.key_file, "role": "ansible"}
        fleet.run(vault=fleet.at(auth=good, ca_file=bao.ca_file))
        assert fleet.leaf().issuer == fleet.side.one("ca.crt").subject
        foreign = good | {"certificate": made.server.crt, "key": made.server.key_file}
        with pytest.raises(MtlsError, match=r"The login is refused .* Check certificate and key of vault\.auth"):
            fleet.run({"name": "other"}, vault=fleet.at(auth=foreign, ca_file=bao.ca_file))
        idle = fleet.run(vault=fleet.at(auth=good))
        assert "its certificate is not trusted" in str(idle["notes"])
