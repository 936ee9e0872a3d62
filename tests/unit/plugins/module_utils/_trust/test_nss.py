# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NSS databases for real: what was added, and only that, is removed again, whoever else uses them."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._trust import stores
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._trust.hosts import Host, label

needs_certutil = pytest.mark.skipif(shutil.which("certutil") is None, reason="certutil (NSS) is not installed")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@needs_certutil
def test_a_database_trusts_the_ca_until_it_is_removed(host: Host) -> None:
    assert host.run(check_mode=True, databases=(host.database,))["changed"]
    assert not host.database.exists()
    assert host.run(databases=(host.database,))["changed"]
    assert host.database.stat().st_mode & 0o777 == 0o700
    assert host.listed() == {label(host.home.certificate): "C,,"}
    assert not host.run(databases=(host.database,))["changed"]

    host.certutil("-A", "-n", "theirs", "-t", "C,,", "-i", str(host.new_ca("two").ca_cert))
    assert len(host.run("absent")["changes"]) == 1
    assert host.listed() == {"theirs": "C,,"}
    assert not host.run("absent")["changed"]


@needs_certutil
def test_the_next_ca_of_the_same_name_takes_the_place_of_the_previous_one(host: Host) -> None:
    host.run(databases=(host.database,))
    new = host.new_ca("two").certificate
    assert len(host.run(databases=(host.database,))["changes"]) == 2
    assert host.listed() == {label(new): "C,,"}
    assert not host.run(databases=(host.database,))["changed"]


@needs_certutil
def test_a_client_that_version_0_1_0_imported_is_removed_with_its_key(host: Host) -> None:
    if shutil.which("pk12util") is None:
        pytest.skip("pk12util (NSS) is not installed")
    host.run(databases=(host.database,))
    host.home.run(host.home.client(p12={"password": "correct horse"}), now=datetime.datetime.now(datetime.UTC))
    client = host.home.path / "clients/curl"
    certificate = x509.load_pem_x509_certificate((client / "client.crt").read_bytes())
    host.certutil("-A", "-n", label(certificate), "-t", ",,", "-i", str(client / "client.crt"))
    imported = ["pk12util", "-i", str(client / "client.p12"), "-d", f"sql:{host.database}", "-W", "correct horse"]
    subprocess.run(imported, check=True, capture_output=True)
    record = json.loads(host.record.read_text())
    record["clients"] = {certificate.fingerprint(hashes.SHA256()).hex(): label(certificate)}
    host.record.write_text(json.dumps(record))
    assert host.listed()[label(certificate)] == "u,u,u"

    assert host.run(databases=(host.database,))["changed"]
    assert label(certificate) not in host.listed()
    assert host.certutil("-K").count("<") == 0
    assert not host.run(databases=(host.database,))["changed"]


@needs_certutil
@pytest.mark.parametrize("trust", ["CT,C,C", "C,,"])
def test_a_ca_that_the_user_trusts_already_keeps_its_flags_and_is_never_removed(host: Host, trust: str) -> None:
    host.database.mkdir()
    host.certutil("-N", "--empty-password")
    host.certutil("-A", "-n", "Corporate Root", "-t", trust, "-i", str(host.home.ca_cert))
    assert host.run(databases=(host.database,))["changes"] == []
    assert not host.run("absent")["changed"]
    assert host.listed() == {"Corporate Root": trust}
    # Where it is not yet, it is added.
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
    assert [command.split()[1] for command in commands_given] == ["-M", "-D"]
    subprocess.run(commands_given[0], shell=True, check=True)  # noqa: S602  (as the user would type it)
    assert not host.run(databases=(host.database,))["changed"]
    subprocess.run(commands_given[1], shell=True, check=True)  # noqa: S602  (as the user would type it)
    assert host.run(databases=(host.database,))["changed"]
    assert host.listed() == {label(host.home.certificate): "C,,"}


@needs_certutil
def test_a_database_that_did_not_take_the_ca_is_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.NssDatabase, "_rows", lambda _self: {})
    with pytest.raises(MtlsError, match=f"did not do this: {host.database}: kyma-mtls-[0-9a-f]{{16}} trusted"):
        host.run(databases=(host.database,))


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
