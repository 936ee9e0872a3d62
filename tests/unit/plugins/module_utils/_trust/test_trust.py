# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trust stores for real, in directories of the test's own: what was put in, and only that, is taken out again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._trust import stores
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._trust.hosts import Host, label


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
    with pytest.raises(MtlsError, match="Updating the system's trust store failed: exit code 9"):
        host.run(is_system=True, system_command=(sys.executable, "-c", "raise SystemExit(9)"))
    assert host.record.exists()
    assert not host.bundle.exists()
    result = host.run(is_system=True)
    assert "which an interrupted run has not done" in result["changes"][0]
    assert "BEGIN CERTIFICATE" in host.bundle.read_text()
    assert not host.run(is_system=True)["changed"]


def test_a_store_that_needs_another_user_is_left_and_said_to_be_pending(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores.SystemStore, "is_writable", property(lambda _self: False))
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
    monkeypatch.setattr(stores.SystemStore, "is_writable", property(lambda _self: False))
    result = host.run()
    assert result["system_pending"]
    assert host.record.exists()
    monkeypatch.undo()
    as_root: dict[str, t.Any] = {"content": result["content"], "record": None}
    assert host.run("absent", is_system=True, **as_root)["changed"]
    assert not list(host.system.iterdir())
    assert not host.run()["system_pending"]


def test_a_system_without_a_known_store_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "KNOWN", (stores.SystemStore(host.directory / "none", ("none",)),))
    with pytest.raises(MtlsError, match="trust store of this operating system is not known"):
        host.run(is_system=True, system_directory=None)
    monkeypatch.setattr(stores, "KNOWN", (stores.SystemStore(host.system, ("sh",)),))
    assert stores.system_store(None, ()).directory == host.system


def test_what_cannot_be_read_is_an_error_in_words(host: Host) -> None:
    with pytest.raises(MtlsError, match="must be named by its whole path"):
        host.run(databases=(Path("nssdb"),))
    with pytest.raises(MtlsError, match="does not exist"):
        host.run(certificate=host.directory / "none.crt")
    (host.directory / "key.pem").write_bytes(host.home.ca_key.read_bytes())
    with pytest.raises(MtlsError, match=r"There is no certificate in PEM in .*key\.pem"):
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
        stores.SystemStore(host.system, ("true",)).apply((), ())


def test_a_missing_program_is_named() -> None:
    with pytest.raises(MtlsError, match="Asking needs no-such-program, which is not installed"):
        stores._run(("no-such-program",), what="Asking")
    with pytest.raises(MtlsError, match="Asking failed: its words"):
        stores._run(("sh", "-c", "echo its words >&2; exit 1"), what="Asking")


def test_debian_takes_the_ca_into_its_bundle(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    program = stores._find("update-ca-certificates")
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
    debian = stores.SystemStore(host.system, command, (*command, "--fresh"))
    monkeypatch.setattr(stores, "KNOWN", (debian,))
    assert host.run(is_system=True, system_directory=None)["changed"]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    assert host.run("absent", system_directory=None)["changed"]
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0
    assert not list(store.glob("kyma*"))
