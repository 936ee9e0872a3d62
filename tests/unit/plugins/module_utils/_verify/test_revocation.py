# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revoked clients must be refused as revoked, and somebody else must get in."""

from __future__ import annotations

import datetime
import errno
import os
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import certificates, revocation
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.expiry import Threshold
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import VerifyOptions, read_options
from ansible_collections.kyma.mtls.tests.servers.pki import Pki
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


def make_crl(
    pki: Pki, *serials: int, start: datetime.datetime = NOW - DAY, days: int = 40
) -> x509.CertificateRevocationList:
    key = serialization.load_pem_private_key(Path(pki.client_ca.key_file).read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(Path(pki.client_ca.crt).read_bytes())
    builder = x509.CertificateRevocationListBuilder().issuer_name(certificate.subject).last_update(start)
    builder = builder.next_update(start + days * DAY)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(t.cast("t.Any", key), hashes.SHA256())


def serial_of(path: str) -> int:
    return x509.load_pem_x509_certificate(Path(path).read_bytes()).serial_number


@pytest.fixture
def read(pki: Pki, tmp_path: Path) -> t.Callable[..., VerifyOptions]:
    def run(*serials: int, **changes: t.Any) -> VerifyOptions:
        path = tmp_path / "ca.crl"
        path.write_bytes(make_crl(pki, *serials).public_bytes(serialization.Encoding.PEM))
        return read_options(parameters(pki, "127.0.0.1:1", crl=str(path), **changes))

    return run


Read: t.TypeAlias = t.Callable[..., VerifyOptions]


def listed(pki: Pki, **changes: t.Any) -> dict[str, t.Any]:
    files = {"cert": pki.revoked.crt, "key": pki.revoked.key_file, "key_passphrase": None}
    return {"name": "other", "expect": "accepted", **files, **changes}


def test_a_file_that_is_not_there_revokes_nobody(pki: Pki, tmp_path: Path) -> None:
    found = read_options(parameters(pki, "127.0.0.1:1", crl=str(tmp_path / "none.crl")))
    assert found.crls == ()
    assert found.revoked == ()


def test_a_listed_client_that_is_revoked_must_be_refused(pki: Pki, read: Read) -> None:
    found = read(serial_of(pki.revoked.crt), clients=[listed(pki), listed(pki, name="gone", cert="/none")])
    assert [one.name for one in found.revoked] == ["revoked client other"]
    assert [one.name for one in found.clients] == ["gone"]
    assert found.client.name == "good client"


def test_another_client_takes_the_place_of_a_revoked_good_one(pki: Pki, read: Read) -> None:
    found = read(serial_of(pki.client.crt), clients=[listed(pki, expect="refused"), listed(pki, name="second")])
    assert found.client.name == "second"
    assert found.client.files["client_cert"] == pki.revoked.crt
    assert [one.name for one in found.revoked] == ["revoked client"]
    assert [one.expect for one in found.clients] == ["refused"]


def test_a_throw_away_client_takes_the_place_of_the_only_one(pki: Pki, read: Read) -> None:
    found = read(serial_of(pki.client.crt))
    assert found.client.name == "throw-away client"
    assert found.client.files == {}
    assert not revocation.is_revoked(found.crls, found.client)


def test_without_anybody_to_get_in_nothing_can_be_proven(pki: Pki, read: Read) -> None:
    with pytest.raises(MtlsError, match="is revoked, and there is no other client"):
        read(serial_of(pki.client.crt), client_ca_key=None, client_ca_cert=None)


@pytest.mark.parametrize(
    ("age", "outcome", "words"),
    [
        (0, Outcome.PASSED, "1 revoked, next update by"),
        (31, Outcome.WARNING, "without it Envoy refuses every client"),
        (40, Outcome.FAILED, "Envoy refuses every client until there is one"),
    ],
)
def test_a_list_is_missed_before_it_lapses(pki: Pki, age: int, outcome: Outcome, words: str) -> None:
    (case,) = revocation.check_freshness([make_crl(pki, 4711, start=NOW - age * DAY)], now=NOW)
    assert case.outcome is outcome
    assert words in case.observed


def test_a_list_without_next_update_is_noticed(pki: Pki) -> None:
    class Endless:
        issuer = make_crl(pki).issuer
        last_update_utc = NOW
        next_update_utc = None

    (case,) = revocation.check_freshness([t.cast("t.Any", Endless())], now=NOW)
    assert case.outcome is Outcome.WARNING


# Expiry that fails a run.


def test_what_expires_too_soon_fails_when_that_is_demanded(pki: Pki) -> None:
    certificate = x509.load_pem_x509_certificate(Path(pki.client.crt).read_bytes())
    left = (certificate.not_valid_after_utc - NOW).days
    judged = [
        certificates.check_validity(
            "good client", certificate, now=NOW, warning=Threshold(), failure=Threshold(days)
        ).outcome
        for days in (0, left - 1, left + 1)
    ]
    assert judged == [Outcome.PASSED, Outcome.PASSED, Outcome.FAILED]


def test_a_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal is made here."""
    closed = tmp_path / "kept" / "closed"
    closed.mkdir(parents=True)
    real_scandir = os.scandir

    def scandir(path: t.Any) -> t.Any:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(MtlsError, match=f"revoked_dir: {closed} cannot be read: Permission denied"):
        revocation.folders_of(str(closed.parent))
    assert revocation.folders_of(str(tmp_path / "nobody-yet")) == []


def test_a_revoked_client_behind_a_link_is_found_once(pki: Pki, tmp_path: Path) -> None:
    kept, elsewhere = tmp_path / "kept", tmp_path / "elsewhere"
    kept.mkdir()
    elsewhere.mkdir()
    (elsewhere / "client.crt").write_text(Path(pki.revoked.crt).read_text())
    (elsewhere / "client.key").write_text(Path(pki.revoked.key_file).read_text())
    (kept / "mallory").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(kept)
    clients = revocation.read_revoked(str(kept), revocation.folders_of(str(kept)))
    assert [client.name for client in clients] == ["revoked client mallory"]
