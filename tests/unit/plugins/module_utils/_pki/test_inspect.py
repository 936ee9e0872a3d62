# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a PKI's files: facts for what is right, facts for what is wrong."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils._pki import inspect
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    Home,
    key_pem,
)


def look(home: Home, *names: str, passphrase: str | None = None) -> dict[str, dict[str, t.Any]]:
    return inspect.look(names, directory=home.path, passphrase=passphrase, now=NOW)


def test_a_whole_pki_is_found_and_described(home: Home) -> None:
    home.run(home.client(p12={"password": "x"}))
    names = inspect.list_files(home.path)
    assert names == [
        "ca.crt",
        "ca.key",
        *(f"clients/curl/client{end}" for end in ("-chain.pem", ".crt", ".key", ".p12")),
        "issued.jsonl",
    ]
    files = look(home, *names)
    kinds = ["certificate", "private_key", "certificate", "certificate", "private_key", "pkcs12", "register"]
    assert [one["kind"] for one in files.values()] == kinds
    assert all(one["exists"] and one["error"] is None for one in files.values())
    assert files["ca.crt"]["subject_pairs"] == [{"O": "Test Org"}, {"CN": "Test Root CA"}]
    assert files["ca.crt"]["is_ca"]
    assert not files["ca.crt"]["is_expired"]
    assert files["ca.crt"]["key"] == files["ca.key"]["key"] == {"type": "ECDSA", "size": None, "curve": "P-256"}
    assert files["ca.crt"]["days_left"] == 3649
    assert files["ca.key"]["mode"] == "0600"
    assert files["ca.key"]["matches"] == ["ca.crt"]
    assert files["ca.crt"]["matches"] == ["ca.key"]
    assert files["clients/curl/client.key"]["matches"] == ["clients/curl/client-chain.pem", "clients/curl/client.crt"]
    assert not files["clients/curl/client.crt"]["is_ca"]
    assert files["issued.jsonl"]["entries"] == 1
    assert not files["issued.jsonl"]["is_torn"]


def test_no_key_material_is_in_the_facts(home: Home) -> None:
    numbers = home.key.private_numbers()  # type: ignore[union-attr]
    text = str(look(home, "ca.key"))
    assert "PRIVATE KEY-----" not in text
    assert str(numbers.private_value) not in text


def test_what_is_missing_is_a_fact(home: Home) -> None:
    facts = look(home, "none.crt")["none.crt"]
    assert facts == {"path": str(home.path / "none.crt"), "exists": False, "kind": None, "error": None}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.key", b"", "private_key"),
        ("a.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private_key"),
        ("a.crt", b"garbage", "certificate"),
        ("a.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate"),
        ("a.crl", b"garbage", "crl"),
        ("a.jsonl", b"garbage\n", "register"),
    ],
)
def test_what_is_damaged_is_a_fact_that_names_the_file(home: Home, name: str, content: bytes, kind: str) -> None:
    (home.path / name).write_bytes(content)
    facts = look(home, name)[name]
    assert facts["exists"]
    assert facts["kind"] == kind
    assert name in facts["error"]


def test_what_cannot_be_read_is_a_fact(home: Home) -> None:
    (home.path / "a.key").mkdir()
    assert "cannot be read: Is a directory" in look(home, "a.key")["a.key"]["error"]


def test_an_unknown_file_is_of_unknown_kind(home: Home) -> None:
    (home.path / "README").write_text("hello")
    assert look(home, "README")["README"]["kind"] == "unknown"


def test_a_key_of_another_certificate_matches_nothing(home: Home) -> None:
    home.ca_key.write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
    files = look(home, "ca.key", "ca.crt")
    assert files["ca.key"]["matches"] == files["ca.crt"]["matches"] == []


def test_an_encrypted_key_is_opened_with_its_passphrase_only(home: Home) -> None:
    home.ca_key.write_bytes(key_pem(home.key, "right"))
    closed = look(home, "ca.key", "ca.crt")
    assert closed["ca.key"]["is_encrypted"]
    assert closed["ca.key"]["error"] is None
    assert "matches" not in closed["ca.key"]
    assert look(home, "ca.key", "ca.crt", passphrase="right")["ca.key"]["matches"] == ["ca.crt"]  # noqa: S106  (a test's)
    assert "passphrase is wrong" in look(home, "ca.key", passphrase="wrong")["ca.key"]["error"]  # noqa: S106  (a test's)


def test_every_certificate_of_a_bundle_is_described(home: Home) -> None:
    home.run(home.client(), ca_chain=(home.ca_cert,))
    facts = look(home, "clients/curl/client-chain.pem")["clients/curl/client-chain.pem"]
    assert [one["subject"] for one in facts["certificates"]] == ["CN=curl", "CN=Test Root CA,O=Test Org"]
    assert facts["subject"] == "CN=curl"


def test_an_expired_certificate_says_so(home: Home) -> None:
    files = inspect.look(["ca.crt"], directory=home.path, passphrase=None, now=NOW + 4000 * DAY)
    assert files["ca.crt"]["is_expired"]
    assert files["ca.crt"]["days_left"] < 0


def test_a_crl_says_when_its_next_update_is_due(home: Home) -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(home.certificate.subject)
    builder = builder.last_update(NOW).next_update(NOW + 7 * DAY)
    builder = builder.add_revoked_certificate(
        x509.RevokedCertificateBuilder().serial_number(1).revocation_date(NOW).build()
    )
    crl = builder.sign(home.key, hashes.SHA256())
    (home.path / "ca.crl").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    facts = look(home, "ca.crl")["ca.crl"]
    assert facts["kind"] == "crl"
    assert facts["revoked"] == 1
    assert facts["next_update"] == "2026-11-30T12:00:00Z"
    assert facts["days_left"] == 7


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    for name in (".client.key.abcd1234", "README.md", ".hidden.crt"):
        (tmp_path / name).write_text("")
    assert inspect.list_files(tmp_path) == []
    assert inspect.list_files(tmp_path / "none") == []
