# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PKI that comes from a backup: a register that is older than the list, loosened modes, somebody else's files."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import stat
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, NOW
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import Side, client, server

MIDDLE = {"subject": [{"O": "Test Org"}, {"CN": "Test Intermediate"}], "days": 1825}
PEOPLE = ({"name": "alice"}, {"name": "bob"})


def revoked(path: Path) -> set[int]:
    blocks = (path / "ca.crl").read_text().split("-----END X509 CRL-----\n")[:-1]
    lists = [x509.load_pem_x509_crl(f"{one}-----END X509 CRL-----\n".encode()) for one in blocks]
    return {entry.serial_number for crl in lists for entry in crl}


def next_update(path: Path) -> datetime.datetime:
    found = x509.load_pem_x509_crl((path / "ca.crl").read_bytes()).next_update_utc
    assert found is not None
    return found


def register(path: Path) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in (path / "issued.jsonl").read_text().splitlines()]


def with_a_revoked_client(tmp_path: Path, **options: t.Any) -> Side:
    side = client(tmp_path, **options)
    side.run(*PEOPLE)
    side.run(*PEOPLE, state="revoked", revoke=["alice"])
    return side


LOSSES: dict[str, t.Callable[[list[bytes]], bytes | None]] = {
    "lost": lambda _lines: None,
    "empty": lambda _lines: b"",
    "before the revocation": lambda lines: b"".join(lines[:-1]),
    "before alice": lambda lines: b"".join(one for one in lines if b"alice" not in one),
    "cut in the last line": lambda lines: b"".join(lines)[:-20],
}


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("intermediate", [None, MIDDLE], ids=["root", "intermediate"])
def test_a_register_that_lost_a_revocation_takes_it_up_from_the_list(
    tmp_path: Path, how: str, intermediate: dict[str, t.Any] | None
) -> None:
    side = with_a_revoked_client(tmp_path, intermediate=intermediate)
    path, listed = side.path / "issued.jsonl", revoked(side.path)
    left = LOSSES[how](path.read_bytes().splitlines(keepends=True))
    path.unlink() if left is None else path.write_bytes(left)
    before = side.tree()
    predicted = side.run(*PEOPLE, check_mode=True)
    assert side.tree() == before
    done = side.run(*PEOPLE)
    for result in (predicted, done):
        assert result["changed"]
        assert any("issued.jsonl lacks 1 revocations" in note and "alice" in note for note in result["notes"])
        # Alice stays revoked and gets nothing new; bob keeps what he has.
        assert [one for one in result["changes"] if one["action"] in {"issue", "reissue"}] == []
    assert [one["name"] for one in register(side.path) if one["event"] == "revoked"] == ["alice"]
    for name in ("alice", "bob"):
        assert side.tree()[f"clients/{name}/client.crt"] == before[f"clients/{name}/client.crt"]
    assert not side.run(*PEOPLE)["changed"]
    # The list goes on, instead of lapsing and shutting everybody out.
    for days in (70, 140):
        side.run(*PEOPLE, now=NOW + days * DAY)
        assert next_update(side.path) > NOW + (days + 80) * DAY
        assert revoked(side.path) == listed


def test_who_got_a_new_certificate_since_is_not_held(tmp_path: Path) -> None:
    side = client(tmp_path)
    side.run(*PEOPLE)
    side.run(*PEOPLE, state="revoked", revoke=["alice"], rekey=["alice"])
    certificate = side.one("clients/alice/client.crt")
    (side.path / "issued.jsonl").unlink()
    side.run(*PEOPLE)
    assert side.one("clients/alice/client.crt") == certificate
    late = NOW + 340 * DAY
    assert {one["name"] for one in side.run(*PEOPLE, now=late)["changes"]} == {"alice", "bob"}


def test_a_revocation_that_nobody_can_be_named_for_is_kept(tmp_path: Path) -> None:
    side = with_a_revoked_client(tmp_path)
    listed = revoked(side.path)
    for name in ("clients", "revoked"):
        shutil.rmtree(side.path / name)
    (side.path / "issued.jsonl").unlink()
    assert any("lacks 1 revocations" in note for note in side.run({"name": "bob"})["notes"])
    side.run({"name": "bob"}, now=NOW + 70 * DAY)
    assert revoked(side.path) == listed
    assert not side.run({"name": "bob"}, now=NOW + 70 * DAY)["changed"]


def test_a_list_of_somebody_else_revokes_nothing(tmp_path: Path) -> None:
    other, side = with_a_revoked_client(tmp_path / "other"), client(tmp_path)
    side.run(*PEOPLE)
    shutil.copy(other.path / "ca.crl", side.path / "ca.crl")
    assert not side.run(*PEOPLE)["changed"]
    assert [one["event"] for one in register(side.path)] == ["issued", "issued"]


def test_the_newer_of_two_lists_counts_and_none_of_their_revocations_is_lost(tmp_path: Path) -> None:
    side = with_a_revoked_client(tmp_path)
    older = (side.path / "ca.crl").read_bytes()
    side.run(*PEOPLE, state="revoked", revoke=["bob"], now=NOW + DAY)
    listed = revoked(side.path)
    (side.path / "ca.crl").write_bytes(older + (side.path / "ca.crl").read_bytes())
    (side.path / "issued.jsonl").unlink()
    side.run(*PEOPLE, now=NOW + DAY)
    assert (side.path / "ca.crl").read_bytes().count(b"BEGIN X509 CRL") == 1
    assert revoked(side.path) == listed


def openly(path: Path) -> list[str]:
    """Name the private files and the directories that others may use."""
    return [
        str(one.relative_to(path))
        for one in (path, *path.rglob("*"))
        if (one.is_dir() or one.suffix in {".key", ".p12", ".jsonl"}) and one.stat().st_mode & 0o077
    ]


def loosen(path: Path) -> None:
    for one in (path, *path.rglob("*")):
        one.chmod(0o755 if one.is_dir() else 0o644)


@pytest.mark.parametrize("phase", ["present", "prepared", "switched", "finished"])
@pytest.mark.parametrize("make", [server, client])
def test_loosened_modes_are_corrected_with_a_note(tmp_path: Path, make: type[Side], phase: str) -> None:
    side = make(tmp_path, intermediate=MIDDLE)
    people = PEOPLE if side.usage == "client" else (side.certificate(),)
    side.run(*people)
    if side.usage == "client":
        side.run(*people, state="revoked", revoke=["alice"])
    for state in ("prepared", "switched", "finished"):
        if phase != "present":
            side.run(*people, state=state)
        if state == phase:
            break
    loosen(side.path)
    predicted = side.run(*people, check_mode=True)
    assert predicted["changed"]
    assert any("Correct the modes of what others could read" in one for one in predicted["notes"])
    assert openly(side.path)
    done = side.run(*people)
    assert any("Correct the modes" in one and "(0644)" in one for one in done["notes"])
    assert openly(side.path) == []
    assert stat.S_IMODE((side.path / "ca.crt").stat().st_mode) == 0o644
    assert not side.run(*people)["changed"]


def test_what_others_could_replace_is_corrected_too(tmp_path: Path) -> None:
    side = client(tmp_path)
    side.run()
    for name in ("ca.crt", "ca-bundle.crt"):
        (side.path / name).chmod(0o666)
    assert "ca.crt (0666)" in " ".join(side.run()["notes"])
    assert {stat.S_IMODE((side.path / name).stat().st_mode) for name in ("ca.crt", "ca-bundle.crt")} == {0o644}
    assert not side.run()["changed"]


def test_a_group_may_be_let_into_a_directory(tmp_path: Path) -> None:
    side = server(tmp_path)
    side.run()
    side.path.chmod(0o750)
    assert not side.run()["changed"]
    assert stat.S_IMODE(side.path.stat().st_mode) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("whose", [".", "clients/alice", "ca.key"])
def test_root_does_not_work_among_somebody_elses_files(tmp_path: Path, whose: str) -> None:
    side = client(tmp_path)
    side.run(*PEOPLE)
    os.chown(side.path / whose, 65534, 65534)
    before = side.tree()
    for check_mode in (True, False):
        with pytest.raises(MtlsError, match=r"belongs to the user nobody, but this run is root's.*chown -R root"):
            side.run(*PEOPLE, {"name": "carol"}, check_mode=check_mode)
    assert side.tree() == before


def test_what_a_killed_revocation_left_goes(tmp_path: Path) -> None:
    side = with_a_revoked_client(tmp_path)
    kept = {name: data for name, data in side.tree().items() if name.startswith("revoked/")}
    (side.path / "revoked/alice/.client.key.abcdefgh").write_bytes(kept["revoked/alice/client.key"][:50])
    (side.path / "revoked/alice/client-chain.pem").unlink()  # killed before the last file
    side.run(*PEOPLE)
    assert {name: data for name, data in side.tree().items() if name.startswith("revoked/")} == kept
    assert not side.run(*PEOPLE)["changed"]
