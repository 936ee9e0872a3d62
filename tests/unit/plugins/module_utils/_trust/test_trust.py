# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trust stores for real, in directories of the test's own: what was put in, and only that, is taken out again."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._trust import commands, nss, system, trust
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, Home, make_home

needs_certutil = pytest.mark.skipif(shutil.which("certutil") is None, reason="certutil (NSS) is not installed")
# Takes every file of the directory in, as the programs of the distributions do.
TAKE_IN = """
import pathlib, sys
source, bundle = map(pathlib.Path, sys.argv[1:])
bundle.write_text("".join(path.read_text() for path in sorted(source.glob("*.crt"))))
"""


def label(certificate: x509.Certificate) -> str:
    return f"kyma-mtls-{certificate.fingerprint(hashes.SHA256()).hex()[:16]}"


class Host:
    """A CA, the stores of one host, and the record."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = self.new_ca("one")
        self.system = directory / "anchors"
        self.bundle = directory / "bundle.crt"
        self.system.mkdir()
        self.database = directory / "nssdb"
        self.record = directory / "trust.json"

    def new_ca(self, name: str) -> Home:
        path = self.directory / name
        path.mkdir()
        self.home = make_home(path, start=datetime.datetime.now(datetime.UTC) - DAY)
        return self.home

    def client(self, **changes: t.Any) -> nss.Client:
        """Issue the client ``curl`` with a PKCS#12 file, and give what imports it."""
        options = {"p12": {"password": "correct horse"}, **changes}
        self.home.run(self.home.client(**options), now=datetime.datetime.now(datetime.UTC))
        asked = [{"name": "curl", "password": "correct horse"}]
        (client,) = nss.read_clients(asked, directory=self.home.path / "clients", predict=False)
        return client

    def run(self, state: str = "present", **changes: t.Any) -> dict[str, t.Any]:
        options: dict[str, t.Any] = {
            "certificate": self.home.ca_cert if state == "present" else None,
            "content": None,
            "is_present": state == "present",
            "is_system": False,
            "system_directory": self.system,
            "system_command": (sys.executable, "-c", TAKE_IN, str(self.system), str(self.bundle)),
            "databases": (),
            "clients": (),
            "record": self.record,
            "obsolete": (),
            "check_mode": False,
        }
        return trust.run(trust.Options(**(options | changes)))

    def certutil(self, action: str, *arguments: str) -> str:
        command = [shutil.which("certutil") or "", action, "-d", f"sql:{self.database}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=action != "-K").stdout

    def listed(self) -> dict[str, str]:
        """What the NSS database holds: nickname -> trust."""
        lines = [line.rsplit(maxsplit=1) for line in self.certutil("-L").splitlines()[4:] if line]
        return {nickname.strip(): flags for nickname, flags in lines}

    def keys(self) -> int:
        return self.certutil("-K").count("<")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_ca_is_trusted_by_the_system_once_and_taken_out_by_the_record(host: Host) -> None:
    assert host.run(is_system=True)["changed"]
    file = host.system / f"{label(host.home.certificate)}.crt"
    assert host.home.ca_cert.read_bytes().strip() == file.read_bytes().strip()
    assert "BEGIN CERTIFICATE" in host.bundle.read_text()
    assert (file.stat().st_mode & 0o777, host.record.stat().st_mode & 0o777) == (0o644, 0o600)
    assert not host.run(is_system=True)["changed"]

    (host.system / "others.crt").write_text("theirs\n")
    host.home.ca_cert.unlink()  # the record is enough
    assert host.run("absent")["changed"]
    assert host.bundle.read_text() == "theirs\n"
    assert not host.record.exists()
    assert [path.name for path in host.system.iterdir()] == ["others.crt"]
    assert not host.run("absent")["changed"]


def test_check_mode_says_what_would_be_done_and_does_nothing(host: Host) -> None:
    before = sorted(host.directory.rglob("*"))
    result = host.run(is_system=True, check_mode=True)
    assert result["changed"]
    assert result["changes"] == [f"{host.system}/{label(host.home.certificate)}.crt: trusted"]
    assert sorted(host.directory.rglob("*")) == before
    assert not host.run(is_system=True, check_mode=True, certificate=host.directory / "none.crt")["changed"]


def test_the_next_ca_takes_the_place_of_the_one_before(host: Host) -> None:
    host.run(is_system=True)
    old = host.system / f"{label(host.home.certificate)}.crt"
    new = host.new_ca("two").certificate
    assert host.run(is_system=True)["changed"]
    assert not old.exists()
    assert [path.name for path in host.system.iterdir()] == [f"{label(new)}.crt"]


def test_a_file_of_that_name_with_another_content_is_not_removed(host: Host) -> None:
    host.run(is_system=True)
    file = host.system / f"{label(host.home.certificate)}.crt"
    file.write_text("somebody changed this\n")
    host.run("absent")
    assert file.read_text() == "somebody changed this\n"
    file.write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    host.run("absent", is_system=True, certificate=host.home.ca_cert)
    assert file.exists()


def test_a_run_that_was_killed_before_the_certificates_were_taken_in_is_completed(host: Host) -> None:
    with pytest.raises(MtlsError, match="Taking certificates into the system's trust store failed: exit code 9"):
        host.run(is_system=True, system_command=(sys.executable, "-c", "raise SystemExit(9)"))
    assert host.record.exists()
    assert not host.bundle.exists()
    result = host.run(is_system=True)
    assert "which an earlier run did not get to" in result["changes"][0]
    assert "BEGIN CERTIFICATE" in host.bundle.read_text()
    assert not host.run(is_system=True)["changed"]


def test_a_store_that_needs_another_user_is_left_and_said_to_be_pending(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system.SystemStore, "is_writable", property(lambda _self: False))
    result = host.run(is_system=True)
    assert (result["changed"], result["changes"], result["system_pending"]) == (False, [], True)
    assert not list(host.system.iterdir())
    monkeypatch.undo()
    # As root, who is told what to do and does not touch the user's record.
    as_root: dict[str, t.Any] = {"certificate": None, "content": result["content"], "record": None}
    assert host.run(is_system=True, obsolete=tuple(result["obsolete"]), **as_root)["changed"]
    assert host.bundle.read_text() == host.home.ca_cert.read_text()
    assert not host.run(is_system=True)["changed"]


def test_a_store_that_is_not_asked_for_any_more_is_cleaned_by_another_user(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.run(is_system=True)
    monkeypatch.setattr(system.SystemStore, "is_writable", property(lambda _self: False))
    result = host.run()
    assert result["system_pending"]
    assert host.record.exists()
    monkeypatch.undo()
    as_root: dict[str, t.Any] = {"content": result["content"], "record": None}
    assert host.run("absent", is_system=True, **as_root)["changed"]
    assert not list(host.system.iterdir())
    assert not host.run()["system_pending"]


def test_a_system_without_a_known_store_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "KNOWN", (system.SystemStore(host.directory / "none", ("none",)),))
    with pytest.raises(MtlsError, match="trust store of this operating system is not known"):
        host.run(is_system=True, system_directory=None)
    monkeypatch.setattr(system, "KNOWN", (system.SystemStore(host.system, ("sh",)),))
    assert system.find(None, ()).directory == host.system


def test_what_cannot_be_read_is_an_error_in_words(host: Host) -> None:
    with pytest.raises(MtlsError, match="must be named by its whole path"):
        host.run(databases=(Path("nssdb"),))
    with pytest.raises(MtlsError, match="does not exist"):
        host.run(certificate=host.directory / "none.crt")
    (host.directory / "key.pem").write_bytes(host.home.ca_key.read_bytes())
    with pytest.raises(MtlsError, match="holds no certificate"):
        host.run(certificate=host.directory / "key.pem")
    (host.directory / "torn.pem").write_text("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n")
    with pytest.raises(MtlsError, match="is damaged"):
        host.run(certificate=host.directory / "torn.pem")
    with pytest.raises(MtlsError, match="A certificate in content is damaged"):
        host.run(content=(host.directory / "torn.pem").read_text())
    with pytest.raises(MtlsError, match="There is no certificate in PEM in content"):
        host.run(content="")
    assert not host.run(content="", check_mode=True)["changed"]
    host.record.write_text("[")
    with pytest.raises(MtlsError, match=r"The record .* cannot be read"):
        host.run()
    host.record.unlink()
    (host.system / f"{label(host.home.certificate)}.crt").mkdir()
    with pytest.raises(MtlsError, match="cannot be read: Is a directory"):
        host.run(is_system=True)
    shutil.rmtree(host.system)
    with pytest.raises(MtlsError, match="cannot be changed: No such file"):
        system.carry_out(system.SystemStore(host.system, ("true",)), (), ())


def test_a_missing_program_is_named() -> None:
    with pytest.raises(MtlsError, match="Asking needs no-such-program, which is not installed"):
        commands.run(("no-such-program",), what="Asking")
    with pytest.raises(MtlsError, match="Asking failed: its words"):
        commands.run(("sh", "-c", "echo its words >&2; exit 1"), what="Asking")


def test_debian_takes_the_ca_into_its_bundle(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    program = commands.find("update-ca-certificates")
    if program is None or "--localcertsdir" not in Path(program).read_text():
        pytest.skip("Debian's update-ca-certificates is not installed")
    store = host.directory / "certs"
    store.mkdir()
    (host.directory / "hooks").mkdir()
    command = (
        *(program, "--localcertsdir", str(host.system), "--etccertsdir", str(store)),
        *("--hooksdir", str(host.directory / "hooks")),
    )
    verify = ["openssl", "verify", "-CAfile", str(store / "ca-certificates.crt"), str(host.home.ca_cert)]
    debian = system.SystemStore(host.system, command, (*command, "--fresh"))
    monkeypatch.setattr(system, "KNOWN", (debian,))
    assert host.run(is_system=True, system_directory=None)["changed"]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    assert host.run("absent", system_directory=None)["changed"]
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0
    assert not list(store.glob("kyma*"))


@needs_certutil
def test_a_database_trusts_the_ca_and_holds_the_client_until_they_are_taken_out(host: Host) -> None:
    client = host.client()
    arguments: dict[str, t.Any] = {"databases": (host.database,), "clients": (client,)}
    assert host.run(check_mode=True, **arguments)["changed"]
    assert not host.database.exists()
    assert host.run(**arguments)["changed"]
    assert host.database.stat().st_mode & 0o777 == 0o700
    assert host.listed() == {label(host.home.certificate): "C,,", label(host.home.leaf()): "u,u,u"}
    assert host.keys() == 1
    assert not host.run(**arguments)["changed"]

    host.certutil("-A", "-n", "theirs", "-t", "C,,", "-i", str(host.new_ca("two").ca_cert))
    result = host.run("absent")
    assert len(result["changes"]) == 2
    assert host.listed() == {"theirs": "C,,"}
    assert host.keys() == 0
    assert not host.run("absent")["changed"]


@needs_certutil
@pytest.mark.parametrize("change", ["reissued", "rekeyed"])
def test_a_client_s_next_certificate_takes_the_place_of_the_one_before(host: Host, change: str) -> None:
    host.run(databases=(host.database,), clients=(host.client(),))
    changes = {"sans": ["email:curl@example.com"]} if change == "reissued" else {"rekey": True}
    renewed = host.client(**changes)
    assert host.run(databases=(host.database,), clients=(renewed,))["changed"]
    assert host.listed() == {label(host.home.certificate): "C,,", label(host.home.leaf()): "u,u,u"}
    assert host.keys() == 1
    assert not host.run(databases=(host.database,), clients=(renewed,))["changed"]


@needs_certutil
@pytest.mark.parametrize("first", ["of this site", "of the other site"])
def test_another_site_s_client_of_the_same_name_keeps_its_key(host: Host, tmp_path: Path, first: str) -> None:
    (tmp_path / "other").mkdir()
    other = Host(tmp_path / "other")
    other.database = host.database
    sites = [host, other] if first == "of this site" else [other, host]
    for site in sites:
        assert site.run(databases=(host.database,), clients=(site.client(),))["changed"]
    assert host.home.leaf().subject == other.home.leaf().subject
    assert host.home.certificate.subject == other.home.certificate.subject
    assert host.keys() == 2
    for site in sites:
        assert not site.run(databases=(host.database,), clients=(site.client(),))["changed"]

    assert host.run("absent")["changed"]
    assert host.listed() == {label(other.home.certificate): "C,,", label(other.home.leaf()): "u,u,u"}
    assert host.keys() == 1
    assert not other.run(databases=(host.database,), clients=(other.client(),))["changed"]


@needs_certutil
def test_the_ca_of_a_client_is_taken_out_with_it_unless_it_was_there_before(host: Host) -> None:
    host.home.options["ca_chain"] = (host.home.ca_cert,)
    client, client_ca = host.client(), host.home
    host.new_ca("server")
    arguments: dict[str, t.Any] = {"databases": (host.database,), "clients": (client,)}
    host.run(**arguments)
    server, own = (label(one.certificate) for one in (host.home, client_ca))
    assert host.listed() == {server: "C,,", own: ",,", label(client_ca.leaf()): "u,u,u"}
    assert host.run(databases=(host.database,))["changed"]  # the client is not asked for any more
    assert host.listed() == {server: "C,,"}
    host.run("absent")
    assert host.listed() == {}

    host.certutil("-A", "-n", "theirs", "-t", ",,", "-i", str(client_ca.ca_cert))
    host.run(**arguments)
    assert own not in host.listed()
    host.run("absent")
    assert host.listed() == {"theirs": ",,"}


@needs_certutil
@pytest.mark.parametrize("trust", ["CT,C,C", "C,,"])
def test_a_ca_that_the_user_trusts_already_keeps_its_flags_and_is_never_removed(host: Host, trust: str) -> None:
    host.database.mkdir()
    host.certutil("-N", "--empty-password")
    host.certutil("-A", "-n", "Corporate Root", "-t", trust, "-i", str(host.home.ca_cert))
    assert host.run(databases=(host.database,))["changes"] == []
    assert json.loads(host.record.read_text())["authorities"] == []
    assert not host.run("absent")["changed"]
    assert host.listed() == {"Corporate Root": trust}
    # Where it is not in yet, it is put in.
    assert host.run(databases=(host.database, host.directory / "second"))["changed"]
    assert host.run("absent")["changed"]
    assert host.listed() == {"Corporate Root": trust}


@needs_certutil
@pytest.mark.parametrize("flags", [",,", ",C,", "T,,", "p,,"])
def test_a_ca_that_the_user_does_not_trust_is_refused_with_the_commands_that_help(host: Host, flags: str) -> None:
    host.database.mkdir()
    host.certutil("-N", "--empty-password")
    host.certutil("-A", "-n", "Corporate Root", "-t", flags, "-i", str(host.home.ca_cert))
    before = host.listed()
    for check_mode in (True, False):
        with pytest.raises(MtlsError, match="under the nickname Corporate Root, but does not trust it") as raised:
            host.run(is_system=True, databases=(host.database,), check_mode=check_mode)
    assert host.listed() == before
    assert not list(host.system.iterdir())
    assert not host.record.exists()

    commands_given = re.findall(r"\((certutil .+?)\)", str(raised.value))
    assert [one.split()[1] for one in commands_given] == ["-M", "-D"]
    subprocess.run(commands_given[0], shell=True, check=True)  # noqa: S602  (as the user would type it)
    assert not host.run(databases=(host.database,))["changed"]
    subprocess.run(commands_given[1], shell=True, check=True)  # noqa: S602  (as the user would type it)
    assert host.run(databases=(host.database,))["changed"]
    assert host.listed() == {label(host.home.certificate): "C,,"}


@needs_certutil
def test_a_database_that_did_not_take_the_ca_is_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nss.Database, "_add", lambda *_arguments: None)
    with pytest.raises(MtlsError, match=f"this is not so: {host.database}: kyma-mtls-[0-9a-f]{{16}} trusted"):
        host.run(databases=(host.database,))


@needs_certutil
def test_a_client_that_the_user_imported_stays_the_user_s(host: Host) -> None:
    client = host.client()
    host.database.mkdir()
    host.certutil("-N", "--empty-password")
    (host.directory / "password").write_text(client.password)
    import_by_hand = ["pk12util", "-i", client.p12, "-d", f"sql:{host.database}", "-w", host.directory / "password"]
    subprocess.run(import_by_hand, check=True, capture_output=True)
    before = host.listed()
    assert before["curl"] == "u,u,u"
    host.new_ca("server")
    assert host.run(databases=(host.database,), clients=(client,))["changes"] == [
        f"{host.database}: {label(host.home.certificate)} trusted"
    ]
    host.run("absent")
    assert (host.listed(), host.keys()) == (before, 1)


@needs_certutil
def test_a_client_that_the_user_holds_without_its_key_is_refused_with_the_command_that_helps(host: Host) -> None:
    client = host.client()
    host.database.mkdir()
    host.certutil("-N", "--empty-password")
    host.certutil("-A", "-n", "of the user", "-t", ",,", "-i", str(host.home.file(".crt")))
    with pytest.raises(MtlsError, match="under the nickname of the user, but not its key") as raised:
        host.run(databases=(host.database,), clients=(client,))
    assert host.listed() == {"of the user": ",,"}
    assert not host.record.exists()
    (command,) = re.findall(r"\((certutil .+?)\)", str(raised.value))
    subprocess.run(command, shell=True, check=True)  # noqa: S602  (as the user would type it)
    host.run(databases=(host.database,), clients=(client,))
    assert host.listed()[label(host.home.leaf())] == "u,u,u"


@needs_certutil
def test_an_import_that_was_cut_short_is_completed_or_taken_out(host: Host) -> None:
    client = host.client()
    wrong = dataclasses.replace(client, password=client.name)
    with pytest.raises(MtlsError):
        host.run(databases=(host.database,), clients=(wrong,))
    assert host.listed()[label(host.home.leaf())] == ",,"
    assert host.run(databases=(host.database,), clients=(client,))["changed"]
    assert host.listed()[label(host.home.leaf())] == "u,u,u"
    host.run("absent")
    with pytest.raises(MtlsError):
        host.run(databases=(host.database,), clients=(wrong,))
    assert host.run("absent")["changed"]
    assert host.listed() == {}


@needs_certutil
def test_what_cannot_be_told_from_another_s_is_left_and_stays_on_record(host: Host) -> None:
    """As a record says that was written when clients had the nicknames of their files."""
    client = host.client()
    host.run(databases=(host.database,), clients=(client,))
    ours = host.home.leaf()
    record = json.loads(host.record.read_text())
    host.run("absent")
    (host.directory / "password").write_text(client.password)
    import_by_hand = ["pk12util", "-d", f"sql:{host.database}", "-w", host.directory / "password", "-i"]
    subprocess.run([*import_by_hand, client.p12], check=True, capture_output=True)
    host.new_ca("two")
    subprocess.run([*import_by_hand, host.client().p12], check=True, capture_output=True)
    digest = ours.fingerprint(hashes.SHA256()).hex()
    host.record.write_text(json.dumps(record | {"clients": {digest: "curl"}}))
    result = host.run("absent")
    assert not result["changed"]
    (warning,) = result["warnings"]
    assert f"curl stands for more certificates than the one that was put in (SHA-256 {digest})" in warning
    assert host.keys() == 2
    assert json.loads(host.record.read_text())["clients"] == {digest: "curl"}

    host.certutil("-F", "-n", "curl")  # as the warning says
    host.certutil("-F", "-n", "curl")
    assert host.run("absent")["warnings"] == []
    assert not host.record.exists()


@needs_certutil
def test_a_database_that_is_not_asked_for_any_more_is_cleaned(host: Host) -> None:
    host.run(databases=(host.database,))
    assert host.run(databases=(host.directory / "other",))["changed"]
    assert host.listed() == {}
    assert json.loads(host.record.read_text())["databases"] == [str(host.directory / "other")]
    shutil.rmtree(host.directory / "other")  # somebody removed it
    assert not host.run("absent")["changed"]


@needs_certutil
def test_trust_that_somebody_took_away_is_given_back(host: Host) -> None:
    host.run(databases=(host.database,))
    name = label(host.home.certificate)
    host.certutil("-M", "-n", name, "-t", ",,")
    assert host.run(databases=(host.database,))["changed"]
    assert host.listed() == {name: "C,,"}


@needs_certutil
def test_a_database_with_a_password_is_refused_in_words(host: Host) -> None:
    host.database.mkdir()
    password = host.directory / "password"
    password.write_text("secret of the user\n")
    host.certutil("-N", "-f", str(password))
    with pytest.raises(MtlsError, match="is protected by a password"):
        host.run(databases=(host.database,))


@needs_certutil
def test_a_wrong_password_of_the_pkcs12_file_is_said(host: Host) -> None:
    client = host.client()
    wrong = dataclasses.replace(client, password=client.name)
    with pytest.raises(MtlsError, match=r"Importing .*client\.p12 into the NSS database"):
        host.run(databases=(host.database,), clients=(wrong,))


def test_clients_without_files_are_refused_or_predicted(host: Host) -> None:
    asked = [{"name": "curl", "password": "correct horse"}]
    with pytest.raises(MtlsError, match="needs clients_directory"):
        nss.read_clients(asked, directory=None, predict=False)
    with pytest.raises(MtlsError, match=r"client\.p12 does not exist"):
        nss.read_clients(asked, directory=host.directory, predict=False)
    assert nss.read_clients(asked, directory=host.directory, predict=True) == ()
