# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocation: the register decides, every CA has a list, nothing is un-revoked."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.kyma.mtls.plugins.module_utils import _parallel
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import revocation
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    Home,
    certificate_pem,
    key_pem,
    make_ca,
    make_home,
)

Lists: t.TypeAlias = list[x509.CertificateRevocationList]


def revoke(
    home: Home, *names: str, now: datetime.datetime = NOW, check_mode: bool = False, **changes: t.Any
) -> dict[str, t.Any]:
    return home.reconcile("revoked", revoke=names, now=now, check_mode=check_mode, **changes)


def lists(home: Home) -> Lists:
    mark = b"-----BEGIN X509 CRL-----"
    parts = (home.path / "ca.crl").read_bytes().split(mark)[1:]
    return [x509.load_pem_x509_crl(mark + part) for part in parts]


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serials(crl: x509.CertificateRevocationList) -> set[int]:
    return {one.serial_number for one in crl}


def problems(home: Home, *, now: datetime.datetime = NOW) -> list[str]:
    """Why a list would be made anew."""
    found = revoke(home, now=now, check_mode=True)
    return [reason for one in found["lists"] for reason in one["reasons"]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    made.run(made.client("curl"), made.client("robot"))
    return made


def test_there_is_no_list_before_the_first_revocation(home: Home) -> None:
    assert problems(home) == []
    result = revoke(home)
    assert not result["changed"]
    assert result["lists"] == []
    assert not (home.path / "ca.crl").exists()


def test_a_revoked_client_is_registered_listed_and_kept(home: Home) -> None:
    result = revoke(home, "curl")
    assert result["changed"]
    assert [one["name"] for one in result["revoked"]] == ["curl"]
    entry = json.loads(home.register.read_text().splitlines()[-1])
    assert (entry["event"], entry["name"]) == ("revoked", "curl")
    (crl,) = lists(home)
    assert serials(crl) == {home.leaf("curl").serial_number}
    assert crl.is_signature_valid(home.key.public_key())  # type: ignore[arg-type]
    assert crl.next_update_utc == NOW + 90 * DAY
    identifier = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == x509.SubjectKeyIdentifier.from_public_key(home.key.public_key()).digest
    kept = Path(result["kept"]["curl"])
    assert (kept / "client.key").read_bytes() == home.file(".key").read_bytes()
    assert (kept / "client.key").stat().st_mode & 0o777 == 0o600
    assert problems(home) == []

    again = revoke(home, "curl")
    assert not again["changed"]
    assert again["kept"] == result["kept"]


def test_every_certificate_that_a_client_still_has_is_revoked(home: Home) -> None:
    first = home.leaf("curl").serial_number
    home.run(home.client("curl", common_name="other"))
    second = home.leaf("curl").serial_number
    home.run(home.client("brief", days=1, renew_before=0))
    assert len(revoke(home, "curl")["revoked"]) == 2
    assert serials(lists(home)[0]) == {first, second}
    assert revoke(home, "brief", now=NOW + 2 * DAY)["revoked"] == []  # it expired


@pytest.mark.parametrize("least", [2, 20])
def test_of_many_clients_at_once_each_is_listed_and_kept(
    home: Home, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []
    monkeypatch.setattr(revocation, "_MANY", least)
    monkeypatch.setattr(revocation, "_SHARE", least // 2)
    monkeypatch.setattr(_parallel, "cores", lambda: 2)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(os, "sync", lambda: waits.append("all"))
    result = revoke(home, "curl", "robot")
    assert waits == ["all"] * (least == 2)
    (made,) = lists(home)
    assert serials(made) == {home.leaf(name).serial_number for name in ("curl", "robot")}
    assert [entry.serial_number for entry in made] == sorted(serials(made))
    for directory in map(Path, result["kept"].values()):
        assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {
            "client.key": 0o600,
            "client.crt": 0o644,
            "client-chain.pem": 0o644,
        }
    assert not revoke(home, "curl", "robot")["changed"]


def test_check_mode_only_says_it(home: Home) -> None:
    before = home.register.read_bytes()
    result = revoke(home, "curl", check_mode=True)
    assert result["changed"]
    assert "Revoke the certificate of curl: CN=curl, serial number" in result["diff"]["after"]
    assert "because there is none yet" in result["diff"]["after"]
    assert home.register.read_bytes() == before
    assert not (home.path / "ca.crl").exists()
    assert not Path(result["kept"]["curl"]).exists()
    assert revoke(home, "curl")["kept"] == result["kept"]


def test_who_never_got_a_certificate_is_named(home: Home) -> None:
    with pytest.raises(MtlsError, match=r"nemo never got a certificate.*It knows curl, robot"):
        revoke(home, "curl", "nemo")
    assert not (home.path / "ca.crl").exists()


def test_a_revoked_client_gets_no_certificate_unless_asked_for(home: Home) -> None:
    revoke(home, "curl")
    before = {path: path.read_bytes() for path in (home.path / "clients").rglob("*") if path.is_file()}
    result = home.run(home.client("curl"), home.client("robot"))
    assert not result["changed"]
    assert result["certificates"][0]["is_held"]
    assert "curl was revoked" in result["notes"][0]
    # Neither at the end of its life, nor when its files are gone.
    assert not home.run(home.client("curl"), now=NOW + 360 * DAY)["changed"]
    assert {path: path.read_bytes() for path in before} == before
    shutil.rmtree(home.path / "clients" / "curl")
    assert not home.run(home.client("curl"))["changed"]

    result = home.run(home.client("curl", rekey=True), home.client("robot"))
    assert home.actions(result) == {"curl": "issue", "robot": "none"}
    assert home.leaf("curl").serial_number not in serials(lists(home)[0])
    assert not home.run(home.client("curl"), home.client("robot"))["changed"]


def test_a_new_key_is_made_for_whom_it_is_asked(home: Home) -> None:
    old_key, old = home.file(".key").read_bytes(), home.leaf()
    result = home.run(home.client("curl", rekey=True), check_mode=True)
    assert home.actions(result) == {"curl": "reissue"}
    assert home.file(".key").read_bytes() == old_key
    home.run(home.client("curl", rekey=True))
    assert home.file(".key").read_bytes() != old_key
    assert home.leaf().serial_number != old.serial_number
    assert home.leaf().public_key() != old.public_key()


def test_a_new_certificate_that_a_crash_lost_is_made_again_with_a_new_key(home: Home) -> None:
    revoke(home, "curl")
    files = {path: path.read_bytes() for path in (home.path / "clients" / "curl").iterdir()}
    home.run(home.client("curl", rekey=True))
    for path, data in files.items():  # as if only the register's line had been written
        path.write_bytes(data)
    result = home.run(home.client("curl"))
    assert home.reasons(result) == "it was revoked, so a new key is generated"
    assert home.file(".key").read_bytes() not in files.values()


def test_a_list_that_a_crash_left_behind_is_made_from_the_register(home: Home) -> None:
    revoke(home, "robot")
    old = (home.path / "ca.crl").read_bytes()
    revoke(home, "curl")
    (home.path / "ca.crl").write_bytes(old)
    assert problems(home) == ["1 revoked certificate is missing"]
    assert revoke(home)["lists"][0]["reasons"] == ["1 revoked certificate is missing"]
    assert len(serials(lists(home)[0])) == 2
    (home.path / "ca.crl").unlink()
    assert "there is none yet" in problems(home)[0]
    revoke(home, now=NOW + DAY)
    assert len(serials(lists(home)[0])) == 2


def test_a_damaged_list_is_made_again(home: Home) -> None:
    revoke(home, "curl", "robot")
    (home.path / "ca.crl").write_bytes(b"-----BEGIN X509 CRL-----\nx\n-----END X509 CRL-----\n")
    assert "there is none yet" in problems(home)[0]
    assert revoke(home)["changed"]
    assert len(serials(lists(home)[0])) == 2


def test_a_list_is_refreshed_before_it_lapses_and_its_number_grows(home: Home) -> None:
    revoke(home, "curl")
    (before,) = lists(home)
    assert not revoke(home, now=NOW + 59 * DAY)["changed"]
    assert problems(home, now=NOW + 59 * DAY) == []
    later = NOW + 61 * DAY
    assert "next update is due" in problems(home, now=later)[0]
    assert "its next update is due on" in revoke(home, now=later)["lists"][0]["reasons"][0]
    (after,) = lists(home)
    assert number(after) > number(before)
    assert after.next_update_utc == later + 90 * DAY
    assert {one.revocation_date_utc for one in after} == {one.revocation_date_utc for one in before}
    # A clock that was set back makes no smaller number and no list from the future.
    assert "not valid before" in revoke(home, now=NOW)["lists"][0]["reasons"][0]
    assert number(lists(home)[0]) == number(after) + 1


def test_a_list_of_somebody_else_keeps_its_entries(home: Home) -> None:
    revoke(home, "curl")
    foreign = x509.RevokedCertificateBuilder().serial_number(4711).revocation_date(NOW).build()
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(home.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_revoked_certificate(foreign)
        .sign(t.cast("t.Any", home.key), hashes.SHA256())
    )
    (home.path / "ca.crl").write_bytes(made.public_bytes(Encoding.PEM))
    revoke(home)
    assert serials(lists(home)[0]) == {4711, home.leaf().serial_number}


def test_a_list_of_another_ca_in_the_trust_bundle_stays(home: Home) -> None:
    foreign_key = ec.generate_private_key(ec.SECP256R1())
    foreign = make_ca(foreign_key, common_name="Somebody else's")
    (home.path / "ca-bundle.crt").write_bytes(certificate_pem(home.certificate, foreign))
    revoke(home, "curl")
    added = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(foreign.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .sign(foreign_key, hashes.SHA256())
    )
    with (home.path / "ca.crl").open("ab") as file:
        file.write(added.public_bytes(Encoding.PEM))
    assert not revoke(home)["changed"]
    revoke(home, "robot")
    assert [len(crl) for crl in lists(home)] == [2, 0]
    assert lists(home)[1] == added
    # Without its CA it goes.
    (home.path / "ca-bundle.crt").write_bytes(certificate_pem(home.certificate))
    assert "Remove the list of a CA that is no longer trusted" in revoke(home)["diff"]["after"]
    assert len(lists(home)) == 1


def test_every_authority_in_the_path_has_a_list(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    middle = make_ca(key, common_name="Middle", issuer=(home.certificate, home.key), days=1000)
    (tmp_path / "intermediate.crt").write_bytes(certificate_pem(middle))
    (tmp_path / "intermediate.key").write_bytes(key_pem(key))
    through = {"ca_cert": tmp_path / "intermediate.crt", "ca_key": tmp_path / "intermediate.key"}
    home.run(home.client("curl"), home.client("robot"), **through, ca_chain=(tmp_path / "intermediate.crt",))
    revoke(home, "curl")
    root, intermediate = lists(home)
    assert (len(root), serials(intermediate)) == (0, {home.leaf().serial_number})
    assert problems(home) == []

    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    for client, code in (("curl", 2), ("robot", 0)):
        command = [openssl, "verify", "-crl_check_all", "-x509_strict", "-no_check_time"]
        command += ["-CAfile", str(home.ca_cert), "-CRLfile", str(tmp_path / "ca.crl")]
        command += ["-untrusted", str(tmp_path / "intermediate.crt"), str(home.file(".crt", client))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("certificate revoked" in done.stderr) == bool(code)

    # An authority that is gone takes its list with it; a new one of the same name gets its own.
    (tmp_path / "intermediate.crt").unlink()
    assert "Remove the list of a CA that is no longer trusted" in revoke(home, check_mode=True)["diff"]["after"]
    assert revoke(home)["changed"]
    assert len(lists(home)) == 1
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "previous").mkdir()
    (tmp_path / "previous/ca.crt").write_bytes(certificate_pem(make_ca(other)))
    (tmp_path / "previous/ca.key").write_bytes(key_pem(other))
    revoke(home)
    first, second = lists(home)
    assert first.issuer == second.issuer
    assert not second.is_signature_valid(home.key.public_key())  # type: ignore[arg-type]


def test_a_key_that_is_away_is_named_and_nothing_is_done(home: Home) -> None:
    revoke(home, "robot")
    home.ca_key.rename(home.path / "away")
    assert not revoke(home)["changed"]
    before = home.register.read_bytes()
    with pytest.raises(MtlsError, match=r"revocation list in .*ca\.crl must be issued.*ca\.key does not exist"):
        revoke(home, "curl")
    assert home.register.read_bytes() == before


def test_an_ed25519_authority_signs_lists(tmp_path: Path) -> None:
    home = make_home(tmp_path, key=ed25519.Ed25519PrivateKey.generate())
    home.run(home.client("curl"))
    revoke(home, "curl")
    assert len(lists(home)[0]) == 1


def test_files_of_a_client_that_are_not_the_revoked_ones_are_not_kept(home: Home) -> None:
    home.file(".key").unlink()
    home.file(".crt", "robot").write_bytes(home.file(".crt").read_bytes())
    assert revoke(home, "robot")["kept"] == {}
    assert revoke(home, "curl")["kept"] == {}


@pytest.mark.parametrize(("days", "refresh_before"), [(10, 10), (10, 0)])
def test_lists_must_live_longer_than_their_refresh(home: Home, days: int, refresh_before: int) -> None:
    with pytest.raises(MtlsError, match="refresh_before must be more than 0"):
        revoke(home, "curl", crl_days=days, crl_refresh_before=refresh_before)


def test_without_any_authority_nothing_is_revoked(home: Home) -> None:
    home.ca_cert.unlink()
    with pytest.raises(MtlsError, match="There is no CA certificate"):
        revoke(home, "curl")
