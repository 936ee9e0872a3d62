# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One side of the PKI from nothing to settled: what is made, what is kept, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.kyma.mtls.plugins.module_utils import _parallel
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import certificates
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, NOW
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    Side,
    ca_of,
    client,
    openssl_accepts,
    server,
)

MIDDLE = {"subject": [{"O": "Test Org"}, {"CN": "Test Intermediate"}], "days": 1825}


def test_a_server_from_nothing_to_settled(tmp_path: Path) -> None:
    side = server(tmp_path)
    predicted = side.run(check_mode=True)
    assert predicted["changed"]
    assert "Create the server root CA" in predicted["diff"]["after"]
    assert "issued by CN=Test Server Root,O=Test Org" in predicted["diff"]["after"]
    assert not side.path.exists()

    first = side.run()
    assert (first["changed"], first["phase"]) == (True, "none")
    assert "Create the server root CA" in first["actions"][0]
    assert sorted(side.tree()) == ["ca.crt", "ca.key", "server-chain.pem", "server.crt", "server.key"]
    assert side.path.stat().st_mode & 0o777 == 0o700
    assert side.certificates("server-chain.pem") == [side.one("server.crt"), side.one("ca.crt")]
    assert openssl_accepts(side.path / "ca.crt", side.path / "server.crt", "-verify_hostname", "any.mtls.test")

    before = side.tree()
    for check_mode in (False, True):
        settled = side.run(check_mode=check_mode)
        assert (settled["changed"], settled["actions"], settled["changes"]) == (False, [], [])
        assert settled["diff"]["after"] == ""
    assert side.tree() == before


def test_clients_from_nothing_to_settled(tmp_path: Path) -> None:
    side = client(tmp_path)
    people = [{"name": "curl", "common_name": "Test Curl"}, {"name": "robot", "subject": [{"CN": "robot"}]}]
    assert side.run(*people, check_mode=True)["changed"]
    assert not side.path.exists()
    first = side.run(*people)
    assert [one["name"] for one in first["changes"]] == ["curl", "robot"]
    assert side.certificates("ca-bundle.crt") == side.certificates("ca.crt")
    # Who says nothing else gets the defaults; a whole subject is taken as it is.
    assert side.one("clients/curl/client.crt").subject.rfc4514_string() == "O=Test Org,CN=Test Curl"
    assert side.one("clients/robot/client.crt").subject.rfc4514_string() == "CN=robot"
    assert openssl_accepts(side.path / "ca-bundle.crt", side.path / "clients/curl/client.crt", "-purpose", "sslclient")
    assert not side.run(*people)["changed"]
    assert not (side.path / "ca.crl").exists()


@pytest.mark.parametrize("include_root", [True, False])
def test_an_intermediate_issues_and_the_roots_key_may_go(tmp_path: Path, include_root: bool) -> None:
    people = {}
    for make in (server, client):
        side = make(tmp_path, intermediate=MIDDLE, include_root=include_root, ca_key_passphrase="secret")  # noqa: S106  (a test's)
        people[side.usage] = side
        side.run()
        assert b"ENCRYPTED" in (side.path / "intermediate.key").read_bytes()
        assert not side.run()["changed"]
        (side.path / "ca.key").unlink()
        assert not side.run()["changed"]
    chain = people["server"].certificates("server-chain.pem")
    assert [len(chain), chain[1]] == [3 if include_root else 2, people["server"].one("intermediate.crt")]
    leaf_chain = people["client"].certificates("clients/curl/client-chain.pem")
    assert leaf_chain[1:] == people["client"].certificates("intermediate.crt")
    (people["server"].path / "intermediate.crt").unlink()
    with pytest.raises(MtlsError, match=r"issuer's key .*ca\.key does not exist\. Put the key back in place"):
        people["server"].run()


def test_the_leaf_is_renewed_and_its_chain_with_it(tmp_path: Path) -> None:
    side = server(tmp_path)
    side.run()
    old, key = side.one("server.crt"), (side.path / "server.key").read_bytes()
    late = side.run(now=NOW + 340 * DAY)
    assert "within the renewal window" in late["changes"][0]["reasons"][0]
    assert side.certificates("server-chain.pem")[0] == side.one("server.crt") != old
    assert (side.path / "server.key").read_bytes() == key
    assert side.run(now=NOW + 340 * DAY, rekey=["server"])["changes"][0]["reasons"] == [
        "a new key and certificate are requested"
    ]
    assert (side.path / "server.key").read_bytes() != key


@pytest.mark.parametrize(
    "name",
    [
        "ca.key",
        "ca.crt",
        "ca.crl",
        "cross.crt",
        "ca-bundle.crt",
        "intermediate-chain.pem",
        "switched-at",
        "prepared-at",
    ],
)
def test_what_a_killed_write_left_is_removed(tmp_path: Path, name: str) -> None:
    side = client(tmp_path)
    side.run()
    before = side.tree()
    (side.path / f".{name}.abcdefgh").write_text("torn")
    assert not side.run()["changed"]
    assert side.tree() == before


def test_a_killed_run_goes_on_with_the_key_that_is_there(tmp_path: Path) -> None:
    side = client(tmp_path)
    side.run()
    key = (side.path / "ca.key").read_bytes()
    for path in list(side.path.iterdir()):
        if path.name != "ca.key":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (side.path / ".ca.crt.abcdefgh").write_text("torn")
    side.run()
    assert (side.path / "ca.key").read_bytes() == key
    assert not (side.path / ".ca.crt.abcdefgh").exists()
    assert not side.run()["changed"]


Damage: t.TypeAlias = t.Callable[[Side], object]


def leave(side: Side) -> None:
    """Damage nothing."""
    assert side.path.is_dir()


REFUSED: dict[str, tuple[str, Damage, dict[str, t.Any], str]] = {
    "a lost CA": (
        "client",
        lambda side: (side.path / "ca.crt").unlink(),
        {},
        "is missing, but what belongs to it is there: .*ca-bundle.crt, .*issued.jsonl",
    ),
    "a lost CA of the server": (
        "server",
        lambda side: (side.path / "ca.crt").unlink(),
        {},
        "is missing, but what belongs to it is there: .*server.crt",
    ),
    "another subject": ("server", leave, {"ca": ca_of("client")}, "ca.subject is"),
    "another key": (
        "client",
        leave,
        {"ca": ca_of("client", key_type="RSA")},
        "ca.key_type, ca.key_size and ca.curve",
    ),
    "a damaged key": (
        "server",
        lambda side: (side.path / "ca.key").write_text("garbage"),
        {},
        "A CA is never replaced automatically",
    ),
    "a damaged bundle": (
        "client",
        lambda side: (side.path / "ca-bundle.crt").write_text("garbage"),
        {},
        "What the gateway trusts is damaged",
    ),
    "a bundle that trusts another CA": (
        "client",
        lambda side: shutil.copy(side.path / "clients/curl/client.crt", side.path / "ca-bundle.crt"),
        {},
        "but not the root CA of the clients",
    ),
    "a damaged client's key": (
        "client",
        lambda side: (side.path / "clients/curl/client.key").write_text("garbage"),
        {},
        "Certificate curl: The private key",
    ),
    "a host name that no SAN covers": (
        "server",
        leave,
        {"hostnames": ["www.elsewhere.test"]},
        "would not be valid for 'www.elsewhere.test': its sans do not cover that name",
    ),
    "a host name that no SAN will cover": (
        "server",
        lambda side: (side.path / "server.crt").unlink(),
        {"hostnames": ["www.elsewhere.test"]},
        "would not be valid for 'www.elsewhere.test': its sans do not cover that name",
    ),
    "somebody unknown to be given a new key": (
        "client",
        leave,
        {"rekey": ["nobody"]},
        "requested for nobody, but certificates has curl",
    ),
    "lists that would lapse": (
        "client",
        leave,
        {"crl_days": 10},
        "crl_refresh_before|refresh_before is 30",
    ),
    "no workers": ("server", leave, {"concurrency": 0}, "concurrency is 0"),
    "no CA at all": ("server", leave, {"ca": None}, "ca is missing"),
    "an empty subject": ("server", leave, {"ca": ca_of("server", subject=[])}, "the subject is empty"),
    "a CA of no days": ("server", leave, {"ca": ca_of("server", days=0)}, "ca.days is 0"),
    "a short key": (
        "server",
        leave,
        {"ca": ca_of("server", key_type="RSA", key_size=1024)},
        "key_size is 1024",
    ),
}


@pytest.mark.parametrize("check_mode", [True, False], ids=["check", "run"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(tmp_path: Path, case: str, check_mode: bool) -> None:
    usage, damage, changes, why = REFUSED[case]
    side = {"server": server, "client": client}[usage](tmp_path)
    side.run()
    damage(side)
    before = side.tree()
    with pytest.raises(MtlsError, match=why):
        side.run(check_mode=check_mode, **changes)
    assert side.tree() == before


def test_what_can_never_be_is_refused_before_a_ca_is_made(tmp_path: Path) -> None:
    with pytest.raises(MtlsError, match="does not accept Ed25519 client certificates"):
        client(tmp_path).run({"name": "curl", "key_type": "Ed25519"})
    with pytest.raises(MtlsError, match="do not cover that name"):
        server(tmp_path).run(hostnames=["www.elsewhere.test"])
    assert list(tmp_path.iterdir()) == []


def test_an_encrypted_key_without_its_passphrase_makes_no_ca(tmp_path: Path) -> None:
    side = server(tmp_path, ca=ca_of("server", key_type="Ed25519"))
    side.run(ca_key_passphrase="secret")  # noqa: S106  (a test's)
    assert not side.run()["changed"]  # nothing has to be issued
    for name in ("ca.crt", "server.crt", "server.key", "server-chain.pem"):
        (side.path / name).unlink()
    with pytest.raises(MtlsError, match=r"ca\.key is encrypted\. Give its passphrase"):
        side.run()


@pytest.mark.parametrize("make", [server, client])
def test_an_intermediate_of_another_root_is_not_used(tmp_path: Path, make: type[Side]) -> None:
    other, side = make(tmp_path / "other", intermediate=MIDDLE), make(tmp_path, intermediate=MIDDLE)
    for one in (other, side):
        one.run()
    for name in ("intermediate.key", "intermediate.crt"):
        shutil.copy(other.path / name, side.path / name)
    before = side.tree()
    with pytest.raises(
        MtlsError, match=r"was not issued by the .* root CA in .*ca\.crt.* move .*intermediate\.crt and"
    ):
        side.run()
    assert side.tree() == before


def test_a_passphrase_that_comes_later_is_said_to_protect_no_key(tmp_path: Path) -> None:
    side = client(tmp_path, intermediate=MIDDLE)
    assert side.run()["notes"] == []
    before = side.tree()
    secret = {"ca_key_passphrase": "secret"}
    for check_mode in (True, False):
        told = side.run(check_mode=check_mode, **secret)
        assert [note.split(" of the ")[0] for note in told["notes"]] == [
            f"The key {side.path / name}" for name in ("ca.key", "intermediate.key")
        ]
        assert "not encrypted" in told["notes"][0]
        assert "openssl pkey -aes256" in told["notes"][0]
        assert "secret" not in " ".join(told["notes"])
        assert not told["changed"]
    assert side.tree() == before
    # What the note says helps.
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    for name in ("ca.key", "intermediate.key"):
        path = side.path / name
        files = ["-in", str(path), "-out", f"{path}.new"]
        subprocess.run([openssl, "pkey", "-aes256", *files, "-passout", "pass:secret"], check=True)
        Path(f"{path}.new").rename(path)
        assert path.stat().st_mode & 0o777 == 0o600
    done = side.run(**secret)
    assert (done["changed"], done["notes"]) == (False, [])


def test_a_chain_that_somebody_changed_is_put_right(tmp_path: Path) -> None:
    side = server(tmp_path)
    side.run()
    good = (side.path / "server-chain.pem").read_bytes()
    (side.path / "server-chain.pem").write_bytes(good * 2)
    predicted = side.run(check_mode=True)
    assert predicted["changed"]
    assert side.run()["changed"]
    assert (side.path / "server-chain.pem").read_bytes() == good


def test_further_cas_in_the_bundle_stay(tmp_path: Path) -> None:
    side, other = client(tmp_path), client(tmp_path / "other")
    side.run()
    other.run()
    both = (side.path / "ca-bundle.crt").read_bytes() + (other.path / "ca.crt").read_bytes()
    (side.path / "ca-bundle.crt").write_bytes(both)
    assert not side.run()["changed"]
    assert (side.path / "ca-bundle.crt").read_bytes() == both


def test_the_lists_of_who_is_revoked_are_kept_fresh(tmp_path: Path) -> None:
    side = client(tmp_path)
    people = [{"name": "curl"}, {"name": "robot"}]
    side.run(*people)
    with pytest.raises(MtlsError, match="nobody never got a certificate"):
        side.run(*people, state="revoked", revoke=["nobody"])
    predicted = side.run(*people, state="revoked", revoke=["robot"], check_mode=True)
    assert predicted["changed"]
    assert not (side.path / "ca.crl").exists()
    done = side.run(*people, state="revoked", revoke=["robot"])
    assert [one["name"] for one in done["revoked"]] == ["robot"]
    assert done["kept"] == {"robot": str(side.path / "revoked/robot")}
    assert done["changes"] == []
    settled = side.run(*people)
    assert not settled["changed"]
    assert "was revoked, so robot is left as it is" in settled["notes"][0]
    crl = (side.path / "ca.crl").read_bytes()
    assert side.run(*people, now=NOW + 61 * DAY)["lists"][0]["reasons"][0].startswith("its next update is due")
    assert (side.path / "ca.crl").read_bytes() != crl
    again = side.run(*people, state="revoked", revoke=["robot"], rekey=["robot"], now=NOW + 61 * DAY)
    assert [one["action"] for one in again["changes"]] == ["reissue"]
    assert not side.run(*people, now=NOW + 61 * DAY)["changed"]


def test_a_chain_that_no_client_would_accept_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Somebody has put a CA into place that may only issue for clients."""
    side = server(tmp_path)
    side.run()
    key, old = side.key("ca.key"), side.one("ca.crt")
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 1000 * DAY)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    (side.path / "ca.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    before = side.tree()
    for check_mode in (True, False):
        with pytest.raises(MtlsError, match="extended key usage"):
            side.run(rekey=["server"], check_mode=check_mode)
    assert side.tree() == before


@pytest.mark.parametrize("name", ["server.key", "server.crt", "server-chain.pem"])
def test_a_directory_in_the_place_of_a_file_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    side = server(tmp_path)
    side.path.mkdir()
    (side.path / name).mkdir()
    with pytest.raises(MtlsError, match=r"directory"):
        side.run()
    assert side.tree() == {}


def many(*changes: tuple[int, dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    listed = [{"name": f"client-{number}"} for number in range(12)]
    for number, change in changes:
        listed[number] |= change
    return listed


@pytest.mark.parametrize("check_mode", [True, False], ids=["check", "run"])
def test_the_plan_of_many_is_that_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    """In each share: one that stays, one that is issued anew, repaired, removed, held, and one that is new."""
    changes = [
        *((number, {"common_name": "another"}) for number in (0, 5, 9)),
        *((number, {"state": "absent"}) for number in (2, 6, 10)),
    ]
    results = []
    for cores in (1, 3):
        monkeypatch.setattr(_parallel, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(certificates, "_SHARE", 4)
        side = client(tmp_path / str(cores))
        side.run(*many())
        assert not side.run(*many())["changed"]
        side.run(*many(), state="revoked", revoke=["client-3", "client-7"])
        for number in (1, 4, 8):
            (side.path / f"clients/client-{number}/client-chain.pem").unlink()
        (side.path / "clients/client-11/client.crt").unlink()
        result = side.run(*many(*changes), {"name": "new"}, check_mode=check_mode)
        results.append({part: result[part] for part in ("changes", "changed", "notes")})
        actions = {change["name"]: change["action"] for change in result["changes"]}
        assert sorted(actions.values()) == ["issue"] * 2 + ["reissue"] * 3 + ["remove"] * 3 + ["repair"] * 3
    assert repr(results[0]).replace(str(tmp_path / "1"), "") == repr(results[1]).replace(str(tmp_path / "3"), "")


def test_what_is_wrong_in_any_share_is_told_once_and_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_parallel, "cores", lambda: 3)
    monkeypatch.setattr(certificates, "_SHARE", 4)
    side = client(tmp_path)
    side.run(*many())
    for number in (1, 6, 11):
        (side.path / f"clients/client-{number}/client.key").write_text("damaged")
    (side.path / "clients/client-2/client.crt").unlink()
    before = side.tree()
    with pytest.raises(MtlsError) as caught:
        side.run(*many())
    assert [problem.split(":")[0] for problem in caught.value.details["problems"]] == [
        "Certificate client-1",
        "Certificate client-6",
        "Certificate client-11",
    ]
    assert side.tree() == before
