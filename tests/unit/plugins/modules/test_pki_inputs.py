# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users write into the options of pki: taken and settled by one run, or refused in words with nothing written."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.modules import certificate_batch, pki

EC = {"key_type": "ECDSA", "organization": "Test Org"}
ROOT = [{"O": "Test Org"}, {"CN": "Test Root"}]
Run: t.TypeAlias = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module once; ``ca`` adds to the CA's options."""

    def run_module(usage: str = "client", **options: t.Any) -> dict[str, t.Any]:
        ca = {"subject": ROOT, "key_type": "ECDSA"} | options.pop("ca", {})
        given = {"usage": usage, "directory": str(tmp_path / "pki"), "ca": ca, "defaults": EC} | options
        with patch_module_args(given), pytest.raises(SystemExit):
            pki.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


def curl(**options: t.Any) -> dict[str, t.Any]:
    return {"certificates": [{"name": "curl"} | options]}


def web(*names: str, **options: t.Any) -> dict[str, t.Any]:
    return {"usage": "server", "certificates": [{"name": "server", "sans": list(names)} | options]}


SPELLINGS: list[list[dict[str, t.Any]]] = [
    [{"o": "Lab"}, {"cn": "Lab Root"}],
    [{"2.5.4.10": "Lab"}, {"2.5.4.3": "Lab Root"}],
    [{"serialNumber": 12}, {"Cn": "Lab Root"}],
    [{"CN": "Lab Root"}, {"emailAddress": "lab@example.com"}],
    [{"dc": "example"}, {"Dc": "com"}, {"CN": "Lab Root"}],
    [{"c": "DE"}, {"postalCode": "10115"}, {"1.2.3.4": "own"}, {"CN": "Lab Root"}],
]


@pytest.mark.parametrize("subject", SPELLINGS, ids=str)
@pytest.mark.parametrize("which", ["ca", "intermediate"])
def test_every_spelling_of_a_cas_subject_is_the_same_name_on_the_next_run(
    run: Run, subject: list[dict[str, t.Any]], which: str
) -> None:
    given: dict[str, t.Any] = {"ca": {"subject": subject}}
    if which == "intermediate":
        given = {"intermediate": {"subject": subject}}
    assert run(**curl(), **given)["changed"]
    again = run(**curl(), **given)
    assert again.get("changed") is False, again


def test_another_name_of_the_ca_is_still_refused(run: Run) -> None:
    run(**curl(), ca={"subject": [{"cn": "Lab Root"}]})
    for other in ([{"CN": "lab root"}], [{"CN": "Lab Root"}, {"O": "Lab"}], [{"O": "Lab Root"}]):
        assert 'has the subject [{"CN": "Lab Root"}], but ' in run(**curl(), ca={"subject": other})["msg"]


SETTLED: dict[str, dict[str, t.Any]] = {
    "an address in another spelling": curl(sans=["IP:2001:DB8::0001", "IP:::ffff:192.0.2.1"]),
    "a name twice, in capitals": curl(sans=["DNS:A.example", "dns:a.example"]),
    "a friendly name with an umlaut": curl(p12={"password": "secret", "friendly_name": "Jürgen"}),
    "a friendly name with an emoji": curl(p12={"password": "secret", "friendly_name": "Jürgen 🐝"}),
    "a client named with an emoji": {"certificates": [{"name": "🐝", "p12": {"password": "🐝", "profile": "legacy"}}]},
    "a subject in other spellings": curl(subject=[{"cn": "a"}, {"2.5.4.10": "b"}, {"emailAddress": "a@b.example"}]),
    "a lifetime that its CA cuts": curl(days=100000),
}


@pytest.mark.parametrize("given", SETTLED.values(), ids=SETTLED)
def test_what_is_granted_once_is_settled(run: Run, given: dict[str, t.Any]) -> None:
    assert run(**given)["changed"]
    again = run(**given)
    assert (again["changed"], again["changes"]) == (False, [])


REFUSED: dict[str, tuple[dict[str, t.Any], str]] = {
    "underscore": (web("DNS:my_host.example.com"), "'DNS:my_host.example.com' is not a DNS name.* without underscores"),
    "underscore without constraints": (web("DNS:my_host.test", name_constraints=False), "is not a DNS name"),
    "underscore of a client": (curl(sans=["DNS:my_host.test"]), "is not a DNS name"),
    "address as DNS name": (web("DNS:192.0.2.1"), "is an IP address. Write IP:192.0.2.1"),
    "letter that is not ASCII": (web("DNS:\u212aelvin.test"), "is not a DNS name"),
    "label that is too long": (web(f"DNS:{'a' * 64}.test"), "is not a DNS name"),
    "mailbox without a host": (curl(sans=["email:me@my_host"]), "is not a mailbox"),
    "zone": (curl(sans=["IP:fe80::1%eth0"]), "has a zone, which a certificate cannot hold"),
    "zone of a permitted network": (
        web("DNS:a.test") | {"permitted_names": ["IP:fe80::%eth0/64"]},
        "has a zone, which a certificate cannot hold",
    ),
    "permitted URI": (web("DNS:a.test") | {"permitted_names": ["URI:ü.test"]}, "is not a host, or a domain with a dot"),
    "permitted mailboxes": (web("DNS:a.test") | {"permitted_names": ["email:a_b"]}, "is not a host, or a domain"),
    "host name": (
        web("DNS:a.test") | {"hostnames": ["my_host.test"]},
        "hostnames has 'my_host.test', which is not a host",
    ),
    "years of a root": (
        curl() | {"ca": {"days": 3650000}},
        r"ca\.days is 3650000, but dates .* end with the year 9999",
    ),
    "ages of a root": (curl() | {"ca": {"days": 10**12}}, r"ca\.days is 1000000000000, but dates"),
    "years of an intermediate": (
        curl() | {"intermediate": {"subject": [{"CN": "Sub"}], "days": 3650000}},
        r"intermediate\.days is 3650000, but dates",
    ),
    "years of a client": (curl(days=10000000), "days is 10000000, but dates"),
    "years of a list": (curl() | {"crl_days": 10**10}, "crl_days is 10000000000, but dates"),
    "years of grace": (curl() | {"grace_days": 10**10}, "grace_days is 10000000000, but dates"),
    "grace that is none": (curl() | {"grace_days": -1}, "grace_days is -1, but must be 0 or more"),
    "empty password": (curl(p12={"password": ""}), "the password of its PKCS#12 file is empty"),
    "serialNumber": (curl(subject=[{"serialNumber": "PNO_4711"}]), "'PNO_4711' is not possible: it may hold letters"),
    "serialNumber of the CA": (curl() | {"ca": {"subject": [{"serialNumber": "4_7"}]}}, "'4_7' is not possible"),
    "country": (curl(subject=[{"C": "Dä"}]), "'Dä' is not possible"),
    "domain component": (curl(subject=[{"DC": "ä"}]), "'ä' is not possible: it may hold ASCII characters only"),
    "mailbox in a subject": (curl(subject=[{"emailAddress": "ä@x"}]), "may hold ASCII characters only"),
    "surrogate in a name": ({"certificates": [{"name": "a\ud800"}]}, r"certificates\[0\]\.name holds a character"),
    "surrogate in a subject": (curl(subject=[{"CN": "\udfff"}]), r"certificates\[curl\]\.subject\[0\]\.CN holds a"),
    "surrogate in a CA": (curl() | {"ca": {"subject": [{"CN": "\ud800"}]}}, r"ca\.subject\[0\]\.CN holds a character"),
    "surrogate in a password": (curl(p12={"password": "a\udc80"}), r"certificates\[curl\]\.p12\.password holds a"),
    "NUL in a password": (curl(p12={"password": "a\0b"}), r"certificates\[curl\]\.p12\.password holds a character"),
    "NUL in a passphrase": (curl() | {"ca_key_passphrase": "a\0b"}, "ca_key_passphrase holds a character"),
    "long passphrase": (curl() | {"ca_key_passphrase": "ä" * 600}, "ca_key_passphrase is longer than 1023 bytes"),
}


@pytest.mark.parametrize(("given", "why"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_cannot_be_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path, given: dict[str, t.Any], why: str, *, check_mode: bool
) -> None:
    given = dict(given)
    if "name_constraints" in given["certificates"][0]:
        certificate = dict(given["certificates"][0])
        given |= {"name_constraints": certificate.pop("name_constraints"), "certificates": [certificate]}
    result = run(**given, _ansible_check_mode=check_mode)
    assert result["failed"], result
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(result["msg"])
    assert "exception" not in result
    assert not (tmp_path / "pki").exists()


def test_the_last_years_of_x509_can_be_used(run: Run, tmp_path: Path) -> None:
    assert run(**curl(days=2900000), ca={"days": 2900000})["changed"]
    root = x509.load_pem_x509_certificate((tmp_path / "pki/ca.crt").read_bytes())
    assert root.not_valid_after_utc.year > 9900
    assert not run(**curl(days=2900000), ca={"days": 2900000})["changed"]


def test_the_batch_refuses_the_same(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(certificates=[])
    files = {part: str(tmp_path / "pki" / f"ca.{part[3:]}") for part in ("ca_crt", "ca_key")}
    for item, why in (
        ({"days": 10**9}, "end with the year 9999"),
        ({"common_name": "\ud800"}, "holds a character that cannot be written"),
        ({"p12": {"password": ""}}, "PKCS#12 file is empty"),
        ({"sans": ["IP:fe80::1%1"]}, "has a zone"),
    ):
        one = {"name": "x", "common_name": "x", "directory": str(tmp_path / "x")} | item
        given = {"ca_cert": files["ca_crt"], "ca_key": files["ca_key"], "certificates": [one]}
        with patch_module_args(given), pytest.raises(SystemExit):
            certificate_batch.main()
        result = json.loads(capsys.readouterr().out)
        assert result["failed"]
        assert why in result["msg"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("place", "is_possible"), [("link", False), ("file", False), ("file/pki", False), ("a/b", True)]
)
def test_check_mode_and_the_run_agree_on_a_directory_that_is_to_be_made(
    run: Run, tmp_path: Path, place: str, is_possible: bool
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").write_text("")
    directory = str(tmp_path / place)
    before = sorted(tmp_path.rglob("*"))
    predicted = run(**curl(), directory=directory, _ansible_check_mode=True)
    assert sorted(tmp_path.rglob("*")) == before
    done = run(**curl(), directory=directory)
    assert [one.get("failed", False) for one in (predicted, done)] == [not is_possible] * 2, predicted


FLEET: list[dict[str, t.Any]] = [
    {"name": "curl"},
    {"name": "robot", "sans": ["URI:spiffe://example.com/robot"], "p12": {"password": "a secret"}},
]


def test_clients_of_a_file_are_as_those_of_the_list(run: Run, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.json"
    fleet.write_text(json.dumps(FLEET), encoding="utf-8")
    first = run(certificates=[{"name": "first"}], certificates_file=str(fleet))
    assert [change["name"] for change in first["changes"]] == ["first", "curl", "robot"]
    assert (tmp_path / "pki/clients/robot/client.p12").exists()
    assert run(certificates=[{"name": "first"}, *FLEET])["changed"] is False
    assert run(certificates_file=str(fleet), rekey=["robot"])["changes"][0]["name"] == "robot"


def test_what_is_wrong_with_clients_of_a_file_is_told_with_its_line(run: Run, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.csv"
    fleet.write_text("name,sans\ncurl,\nrobot,DNS:a_b\n", encoding="utf-8")
    refused = run(certificates=[{"name": "curl"}], certificates_file=str(fleet))
    assert f"Certificate curl (line 2 of {fleet}): the list has this name twice" in refused["msg"]
    assert f"Certificate robot (line 3 of {fleet}): " in refused["msg"]
    assert not (tmp_path / "pki").exists()
    assert "certificates_file is for clients only" in run("server", certificates_file=str(fleet))["msg"]


def test_secrets_in_a_file_are_shown_nowhere(run: Run, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yml"
    fleet.write_text("- {name: curl, p12: {password: a secret}, sans: [a secret]}\n", encoding="utf-8")
    refused = run(certificates_file=str(fleet))
    assert refused["failed"]
    assert "a secret" not in json.dumps(refused)
