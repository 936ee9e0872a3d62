# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NSS databases for real: what was put in, and only that, is taken out again, whoever else uses them."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._trust import nss
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._trust.hosts import Host, label

needs_certutil = pytest.mark.skipif(shutil.which("certutil") is None, reason="certutil (NSS) is not installed")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


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
