# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CAs whose key is in a token or behind a command: what they sign, what is refused, and when nobody is asked."""

from __future__ import annotations

import datetime
import importlib
import re
import shutil
import sys
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._signer import pkcs11
from ansible_collections.kyma.mtls.tests.unit import softhsm
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki import sides
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW

TWO = ({"name": "curl"}, {"name": "robot"})
LATER = NOW + datetime.timedelta(days=70)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[softhsm.Token]:
    made = softhsm.make_token(tmp_path / "hsm")
    pkcs11.close()
    for variable, value in made.environment.items():
        monkeypatch.setenv(variable, value)
    yield made
    pkcs11.close()


@pytest.fixture
def service(tmp_path: Path) -> softhsm.Service:
    return softhsm.make_service(tmp_path / "service")


def restart() -> None:
    """What the next run would be: another process, which has opened no token."""
    pkcs11.close()


def refusal(side: sides.Side, *people: dict[str, t.Any], **changes: t.Any) -> str:
    """Run, and give the message; the files must be as before."""
    before = side.tree() if side.path.exists() else None
    with pytest.raises(MtlsError) as caught:
        side.run(*people, **changes)
    assert (side.tree() if side.path.exists() else None) == before
    return str(caught.value)


def issues_and_revokes(side: sides.Side) -> None:
    """The whole life of a client PKI whose root's key is not a file."""
    assert side.run(*TWO)["changed"]
    assert not list(side.path.glob("*.key"))
    for name in ("curl", "robot"):
        assert sides.openssl_accepts(side.path / "ca.crt", side.path / f"clients/{name}/client.crt")
    result = side.run(*TWO, state="revoked", revoke=["robot"])
    assert [one["name"] for one in result["revoked"]] == ["robot"]
    renewed = side.run(*TWO, now=LATER)
    assert renewed["lists"][0]["reasons"], renewed
    crl = x509.load_pem_x509_crl((side.path / "ca.crl").read_bytes())
    assert crl.is_signature_valid(side.one("ca.crt").public_key())
    assert len(crl) == 1


@pytest.mark.parametrize("kind", ["EC:prime256v1", "EC:secp384r1", "RSA:2048"])
def test_a_key_in_a_token_signs_ca_leaves_and_lists(token: softhsm.Token, tmp_path: Path, kind: str) -> None:
    token.create_key("ca", kind)
    name = {"EC:secp384r1": "P-384"}.get(kind, "P-256")
    ca = sides.ca_of("client", key_type="RSA" if kind == "RSA:2048" else "ECDSA", curve=name)
    issues_and_revokes(sides.client(tmp_path, ca=ca, ca_key=token.key("ca")))


@pytest.mark.parametrize(("kind", "output"), [("EC", "cat"), ("RSA", "base64"), ("P-384", "cat")])
def test_a_command_signs_ca_leaves_and_lists(tmp_path: Path, kind: str, output: str) -> None:
    service = softhsm.make_service(tmp_path / "service", kind, output)
    ca = sides.ca_of(
        "client", key_type="RSA" if kind == "RSA" else "ECDSA", curve="P-384" if kind == "P-384" else "P-256"
    )
    issues_and_revokes(sides.client(tmp_path, ca=ca, ca_key=service.key(public_key=service.public_key)))


def test_check_mode_signs_nothing_and_an_unchanged_run_asks_nobody(service: softhsm.Service, tmp_path: Path) -> None:
    side = sides.server(tmp_path, ca_key=service.key())
    for intermediate in (None, {"subject": [{"CN": "Intermediate"}], "days": 100}):
        predicted = side.run(check_mode=True, intermediate=intermediate)
        assert predicted["actions"][0].startswith("Create the server root CA")
        assert "in the service behind the command" in predicted["actions"][0]
    assert service.signatures == 0
    assert side.run()["actions"] == side.run(check_mode=True)["actions"] + predicted["actions"][:1]
    done = service.signatures
    silent = service.key(command=["/no/such/command"])
    assert not side.run(ca_key=silent)["changed"]
    assert side.run(ca_key=silent, check_mode=True, rekey=["server"])["changed"]
    assert service.signatures == done
    message = refusal(side, side.certificate(sans=["DNS:a.example"]), check_mode=True)
    assert "its sans do not cover that name" in message or "permit" in message


def test_an_unchanged_run_opens_no_token_and_check_mode_looks_for_the_key(
    token: softhsm.Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.create_key("ca")
    side = sides.client(tmp_path, ca_key=token.key("ca"))
    side.run()
    tokens = token.directory / "tokens"
    tokens.rename(tokens.with_name("taken out"))
    tokens.mkdir()
    restart()
    assert not side.run()["changed"]
    assert not side.run(check_mode=True)["changed"]
    for check_mode in (True, False):
        assert "There is no token 'kyma' (ca_key.pkcs11.token)" in refusal(side, *TWO, check_mode=check_mode)
        restart()
    monkeypatch.setenv("SOFTHSM2_CONF", "/nowhere")
    assert "cannot be used as a PKCS#11 module: the PKCS#11 module says" in refusal(side, *TWO)


FAILING: dict[str, tuple[list[str], str]] = {
    "it fails": (["sh", "-c", "echo 'AccessDenied: kms:Sign' >&2; exit 7"], "exit code 7: AccessDenied: kms:Sign."),
    "it fails silently": (["false"], "failed with exit code 1, and printed no error."),
    "it takes too long": (["sh", "-c", "sleep 60 & sleep 60"], "has not signed within 1 seconds"),
    "it prints without end": (["yes"], "has not signed within 1 seconds"),
    "it prints too much": (["head", "-c", "9000000", "/dev/zero"], "returned 65536 bytes that are not a signature"),
    "it ends without its errors' end": (["sh", "-c", "exec >&-; sleep 60"], "has not signed within 1 seconds"),
    "it prints nothing": (["true"], "returned 0 bytes that are not a signature by the CA's key"),
    "it prints something else": (["echo", "signed"], "ECDSA over a digest of 32 bytes (sha256)"),
    "it is not there": (["/no/such/program"], "cannot be started: No such file or directory."),
}


@pytest.mark.parametrize("case", FAILING)
def test_nothing_is_written_when_a_command_does_not_sign(service: softhsm.Service, tmp_path: Path, case: str) -> None:
    command, words = FAILING[case]
    new = sides.client(tmp_path, ca_key=service.key(command=command, timeout=1))
    assert words in refusal(new)
    side = sides.client(tmp_path, ca_key=service.key())
    side.run()
    assert words in refusal(side, *TWO, ca_key=service.key(command=command, timeout=1))
    for intermediate in ({"subject": [{"CN": "Intermediate"}], "days": 100},):
        assert words in refusal(side, ca_key=service.key(command=command, timeout=1), intermediate=intermediate)


def test_a_signature_by_another_key_is_never_used(service: softhsm.Service, tmp_path: Path) -> None:
    other = softhsm.make_service(tmp_path / "other")
    side = sides.client(tmp_path, ca_key=service.key(command=other.argv))
    assert "not a signature by the CA's key" in refusal(side)
    side = sides.client(tmp_path, ca_key=service.key())
    side.run()
    assert "not a signature by the CA's key" in refusal(
        side, state="revoked", revoke=["curl"], ca_key=service.key(command=other.argv)
    )
    message = refusal(side, *TWO, ca_key=other.key())
    assert re.search(r"was created with another key: it is not that of ca_key.*rotate the CA", message)


def test_what_is_wrong_with_a_token_is_said_in_words(token: softhsm.Token, tmp_path: Path) -> None:
    token.create_key("ca")
    token.create_key("twice", identifier="0a")
    token.create_key("twice", identifier="0b")
    token.create_key("long", "EC:secp521r1")
    token.create_key("other kind", "EC:edwards25519")
    for _number in range(2):
        token.initialise("double")
    side = sides.client(tmp_path)
    cases = {
        "the PIN is wrong. It is not tried again": token.key("ca", pin="0000"),
        "it is not there. The token has these private keys: 'ca', 'long', 'other kind', 'twice', 'twice'.": token.key(
            "other"
        ),
        "Without a PIN, a token shows no private keys": token.key("ca", pin=None),
        "2 private keys have that label (ids 0a, 0b)": token.key("twice"),
        "There is no token 'elsewhere' (ca_key.pkcs11.token)": token.key("ca", token="elsewhere"),  # noqa: S106
        "There is no token 'kyma' with the serial number 77": token.key("ca", serial="77"),
        "module) does not exist. Install the software of the token": token.key("ca", module="/no/module.so"),
        "/usr/lib/os-release (ca_key.pkcs11.module) cannot be used as a PKCS#11": token.key(
            "ca", module="/usr/lib/os-release"
        ),
        "its curve is none of P-256 and P-384": token.key("long"),
        "it is a EC_EDWARDS key. Use an RSA or ECDSA key": token.key("other kind"),
        "2 tokens are called 'double' (serial numbers": token.key("ca", token="double"),  # noqa: S106
        "is ECDSA P-256, but ca.key_type, ca.key_size and ca.curve ask for RSA 2048": token.key("ca"),
    }
    for words, key in cases.items():
        restart()
        options: dict[str, t.Any] = {"ca": sides.ca_of("client", key_type="RSA")} if "RSA" in words else {}
        message = refusal(side, ca_key=key, **options)
        assert words in message
        assert softhsm.PIN not in message
    # A token locks itself after a few wrong PINs: within a run, one is tried once.
    restart()
    for _attempt in range(12):
        assert "the PIN is wrong" in refusal(side, ca_key=token.key("ca", pin="0000"))
    restart()
    assert side.run(ca_key=token.key("twice", id="0A"))["changed"]
    assert not (tmp_path / "client/ca.key").exists()


def test_a_token_without_the_public_key_serves_a_ca_that_is_there(token: softhsm.Token, tmp_path: Path) -> None:
    token.create_key("ca")
    side = sides.client(tmp_path, ca_key=token.key("ca"))
    side.run()
    token.delete("ca", "pubkey")
    restart()
    assert side.run(*TWO)["changed"]
    assert "has no public key object beside it" in refusal(sides.client(tmp_path / "new", ca_key=token.key("ca")))


def test_without_the_library_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    key = {"pkcs11": {"module": "/m.so", "token": "kyma", "label": "ca", "pin": "1"}}
    assert "needs the Python library python-pkcs11" in refusal(sides.client(tmp_path, ca_key=key))


REFUSED: dict[str, tuple[dict[str, t.Any], str]] = {
    "both": (
        {"ca_key": {"pkcs11": {"module": "m", "token": "t", "label": "l"}, "command": ["c"]}},
        "has both pkcs11 and",
    ),
    "neither": ({"ca_key": {"public_key": "k"}}, "ca_key has neither pkcs11 and command"),
    "no public key": ({"ca_key": {"command": ["c"], "timeout": 30}}, "ca_key.public_key is missing"),
    "no time": ({"ca_key": {"command": ["c"], "public_key": "k", "timeout": 0}}, "ca_key.timeout is 0"),
    "id": (
        {"ca_key": {"pkcs11": {"module": "m", "token": "t", "label": "l", "id": "xyz"}}},
        "ca_key.pkcs11.id is 'xyz'",
    ),
    "public key file": ({"ca_key": {"command": ["c"], "public_key": "/none", "timeout": 9}}, "ca_key.public_key /none"),
    "public key content": (
        {"ca_key": {"command": ["c"], "public_key": "-----BEGIN NOTHING-----", "timeout": 9}},
        "ca_key.public_key is not a public key in PEM",
    ),
    "Ed25519": ({"ca": {"key_type": "Ed25519"}}, "ca.key_type is Ed25519, but"),
    "no intermediate": (
        {"intermediate_key": {"command": ["c"], "public_key": "k", "timeout": 9}},
        "no intermediate CA",
    ),
    "provided": ({"provided": {"ca": "x", "ca_key": None, "ca_key_content": None}}, "the CA is provided"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything(service: softhsm.Service, tmp_path: Path, case: str) -> None:
    changes, words = REFUSED[case]
    changes = {**changes, **({"ca": sides.ca_of("client", **changes["ca"])} if "ca" in changes else {})}
    assert words in refusal(sides.client(tmp_path, ca_key=service.key()), **changes)
    assert service.signatures == 0


def test_a_key_that_moved_into_a_token_is_the_same_ca(token: softhsm.Token, tmp_path: Path) -> None:
    side = sides.client(tmp_path)
    side.run()
    before = side.tree()
    token.import_key("moved", side.path / "ca.key")
    token.create_key("another")
    assert "A CA is never given another key; nothing was changed" in refusal(side, ca_key=token.key("another"))
    result = side.run(ca_key=token.key("moved"))
    assert not result["changed"]
    assert "Whoever reads the file has the CA" in result["notes"][0]
    assert side.tree() == before
    (side.path / "ca.key").unlink()
    assert side.run(*TWO, ca_key=token.key("moved"))["notes"] == []
    assert sides.openssl_accepts(side.path / "ca.crt", side.path / "clients/robot/client.crt")
    filed = sides.client(tmp_path / "filed")
    filed.run()
    filed.run(state="prepared")
    assert "next/ca.key, and ca_key names another key" in refusal(filed, state="prepared", ca_key=token.key("another"))
    assert "is to be created with the key of ca_key, but there is the file" in refusal(
        _with_key_only(tmp_path), ca_key=token.key("another")
    )


def _with_key_only(tmp_path: Path) -> sides.Side:
    """What a run leaves that was killed after it had made a key."""
    side = sides.client(tmp_path / "killed")
    side.run()
    key = (side.path / "ca.key").read_bytes()
    shutil.rmtree(side.path)
    side.path.mkdir(mode=0o700)
    (side.path / "ca.key").write_bytes(key)
    (side.path / "ca.key").chmod(0o600)
    return side


@pytest.mark.parametrize("usage", ["server", "client"])
def test_rotation_from_a_file_to_a_token_to_a_command_and_back(
    token: softhsm.Token, service: softhsm.Service, tmp_path: Path, usage: str
) -> None:
    """Every step is the next run of its own, and every list of every CA is signed by the key that CA has."""
    token.create_key("ca")
    side = sides.server(tmp_path) if usage == "server" else sides.client(tmp_path)
    side.run()
    if usage == "client":
        side.run(state="revoked", revoke=["curl"], rekey=["curl"])
    ways: list[dict[str, t.Any]] = [
        {"ca_key": token.key("ca")},
        {"ca_key": service.key(), "previous_ca_keys": [token.key("ca")]},
        {"previous_ca_keys": [service.key()]},
    ]
    for number, way in enumerate(ways):
        old = side.one("ca.crt")
        restart()
        if number == 1:
            assert "and a new CA needs a new key" in refusal(side, state="prepared", ca_key=token.key("ca"))
            wrong = refusal(side, state="prepared", ca_key=service.key()) if usage == "server" else ""
            assert not wrong or "was created with another key" in wrong
        before = side.tree()
        assert side.run(state="prepared", check_mode=True, **way)["changed"]
        assert side.tree() == before
        assert side.run(state="prepared", **way)["phase"] == "prepared"
        if usage == "client":  # a run of the site in between
            assert not side.run(**way)["changed"]
        assert side.run(state="switched", **way)["phase"] == "overlap"
        assert not side.run(grace_days=10, **way)["changed"]
        if usage == "client":  # lists of both CAs are due
            due = NOW + datetime.timedelta(days=70 * (number + 1))
            lists = side.run(now=due, grace_days=1000, **way)["lists"]
            assert [one["reasons"] != [] for one in lists] == [True, True], lists
        assert side.run(state="finished", **way)["is_finished"]
        new = side.one("ca.crt")
        assert new.public_key() != old.public_key()
        assert (side.path / "ca.key").exists() == (number == 2)
        leaf = "server.crt" if usage == "server" else "clients/curl/client.crt"
        assert sides.openssl_accepts(side.path / "ca.crt", side.path / leaf)
        assert not side.run(**way)["changed"]


def test_root_in_a_token_and_intermediate_in_a_file_or_the_other_way(token: softhsm.Token, tmp_path: Path) -> None:
    token.create_key("root", identifier="01")
    token.create_key("issuing", identifier="02")
    intermediate = {"subject": [{"CN": "Intermediate"}], "days": 100}
    for name, options in {
        "root": {"ca_key": token.key("root")},
        "issuing": {"intermediate_key": token.key("issuing")},
        "both": {"ca_key": token.key("root"), "intermediate_key": token.key("issuing")},
    }.items():
        side = sides.server(tmp_path / name, intermediate=intermediate, **options)
        assert side.run(check_mode=True)["changed"]
        side.run()
        assert (side.path / "ca.key").exists() == (name == "issuing")
        assert (side.path / "intermediate.key").exists() == (name == "root")
        untrusted = ("-untrusted", str(side.path / "intermediate.crt"))
        assert sides.openssl_accepts(side.path / "ca.crt", side.path / "server.crt", *untrusted)
        assert side.run(rekey=["server"])["changed"]
        assert not side.run()["changed"]


def test_a_file_that_is_lost_is_asked_for_as_ever(tmp_path: Path) -> None:
    side = sides.client(tmp_path)
    side.run()
    (side.path / "ca.key").unlink()
    assert "The CA key" in refusal(side, *TWO)
    importlib.invalidate_caches()
