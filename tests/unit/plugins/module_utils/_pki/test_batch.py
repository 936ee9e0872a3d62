# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A list of certificates brought to the wanted state: what is done, why, and what is left alone."""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import os
import shutil
import ssl
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import issue
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    Home,
    certificate_pem,
    key_pem,
    make_ca,
    make_home,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tree(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


# First issue, and nothing to do


def test_first_run_issues_and_second_changes_nothing(home: Home) -> None:
    first = home.run(home.client(), home.server())
    assert home.actions(first) == {"curl": "issue", "server": "issue"}
    assert first["changed"]
    before = tree(home.path)
    second = home.run(home.client(), home.server())
    assert home.actions(second) == {"curl": "none", "server": "none"}
    assert not second["changed"]
    assert second["changes"] == []
    assert second["diff"]["before"] == second["diff"]["after"] == ""
    assert tree(home.path) == before


def test_keys_are_private_and_nothing_temporary_is_left(home: Home) -> None:
    home.run(home.client(p12={"password": "secret"}))
    assert mode(home.file(".key")) == mode(home.file(".p12")) == mode(home.register) == 0o600
    assert mode(home.file(".crt")) == mode(home.file("-chain.pem")) == 0o644
    assert mode(home.path / "clients") == mode(home.path / "clients/curl") == 0o700
    assert sorted(one.name for one in (home.path / "clients/curl").iterdir()) == [
        "client-chain.pem",
        "client.crt",
        "client.key",
        "client.p12",
    ]


def test_the_mode_of_an_existing_directory_is_its_owners_business(home: Home) -> None:
    (home.path / "clients/curl").mkdir(parents=True, mode=0o755)
    (home.path / "clients/curl").chmod(0o755)
    home.run(home.client())
    assert mode(home.path / "clients/curl") == 0o755


def test_check_mode_predicts_with_reasons_and_touches_nothing(home: Home) -> None:
    before = tree(home.path)
    result = home.run(home.client(), check_mode=True)
    assert home.actions(result) == {"curl": "issue"}
    assert result["changed"]
    assert "a new ECDSA P-256 key" in result["diff"]["after"]
    assert "because there is no certificate yet" in result["diff"]["after"]
    assert tree(home.path) == before


def test_check_mode_predicts_for_a_ca_that_is_still_to_be_made(tmp_path: Path) -> None:
    home = Home(tmp_path / "none", ec.generate_private_key(ec.SECP256R1()), None)  # type: ignore[arg-type]
    result = home.run(home.client(), check_mode=True)
    assert home.actions(result) == {"curl": "issue"}
    assert not result["ca"]["exists"]
    assert "the CA that is still to be created" in result["diff"]["after"]
    assert not home.path.exists()
    with pytest.raises(MtlsError, match=r"CA certificate .*ca\.crt does not exist"):
        home.run(home.client())


def test_check_mode_says_that_leaves_of_a_lost_ca_are_issued_anew(home: Home) -> None:
    home.run(home.client())
    home.ca_cert.unlink()
    result = home.run(home.client(), check_mode=True)
    assert home.actions(result) == {"curl": "reissue"}
    assert "its CA is not created yet" in home.reasons(result)


def test_result_has_facts_and_no_key_material(home: Home) -> None:
    result = home.run(home.client(organization="Org", p12={"password": "hidden"}))
    (facts,) = result["certificates"]
    assert facts["subject"] == "O=Org,CN=curl"
    assert facts["issuer"] == "CN=Test Root CA,O=Test Org"
    assert facts["fingerprint_sha256"] == home.leaf().fingerprint(hashes.SHA256()).hex()
    assert facts["days_left"] == 365
    assert facts["is_new_key"]
    assert result["ca"]["has_key"]
    assert result["ca"]["subject_pairs"] == [{"O": "Test Org"}, {"CN": "Test Root CA"}]
    text = json.dumps(result)
    assert "PRIVATE" not in text
    assert "hidden" not in text


# What the certificates are


def test_client_certificate_is_rfc_5280_version_3(home: Home) -> None:
    home.run(home.client(sans=["URI:spiffe://example.com/curl"]))
    certificate = home.leaf()
    extensions = certificate.extensions
    assert certificate.version == x509.Version.v3
    assert certificate.serial_number.bit_length() > 64
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_encipherment
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    ca_identifier = home.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == ca_identifier
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert not extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_server_certificate_has_its_own_usage_and_rsa_servers_may_encipher_keys(home: Home) -> None:
    home.run(home.server(key_type="RSA"))
    certificate = x509.load_pem_x509_certificate((home.path / "server.crt").read_bytes())
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment


def test_a_name_in_the_sans_alone_is_critical(home: Home) -> None:
    home.run(home.server(common_name=None))
    certificate = x509.load_pem_x509_certificate((home.path / "server.crt").read_bytes())
    assert not list(certificate.subject)
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "p256", "p384", "ed25519"],
)
def test_openssl_accepts_every_kind_strictly(tmp_path: Path, key: t.Any) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    now = datetime.datetime.now(datetime.UTC)
    home = make_home(tmp_path, key=key, start=now - DAY)
    kinds = {
        "rsa": {"key_type": "RSA"},
        "p256": {},
        "p384": {"curve": "P-384"},
        "ed": {"key_type": "Ed25519"},
    }
    items = [
        home.server(name=kind, basename=kind, **changes, sans=["DNS:example.com", "IP:::1"])
        for kind, changes in kinds.items()
    ]
    home.run(*items, now=now)
    for kind in kinds:
        done = subprocess.run(
            [
                *(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "example.com"),
                *("-CAfile", home.ca_cert, tmp_path / f"{kind}.crt"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_python_accepts_server_and_client_with_its_strictest_context(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    home = make_home(tmp_path, start=now - DAY)
    home.run(home.server(sans=["DNS:www.example.com"]), home.client(), now=now)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.create_default_context(cafile=str(home.ca_cert))
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    server.load_cert_chain(home.path / "server-chain.pem", home.path / "server.key")
    server.load_verify_locations(home.ca_cert)
    server.verify_mode = ssl.CERT_REQUIRED
    client.load_cert_chain(home.file("-chain.pem"), home.file(".key"))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="www.example.com"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _round in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    peer = ends[1].getpeercert()
    assert peer is not None
    assert peer["subject"] == ((("commonName", "curl"),),)


def test_authority_key_identifier_is_computed_for_a_ca_without_one(tmp_path: Path) -> None:
    home = make_home(tmp_path, has_key_identifier=False)
    home.run(home.client())
    assert home.leaf().extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def test_serial_numbers_are_unique_even_when_chance_repeats_itself(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([1000, 1000, 2000, 2000, 1000, 3000])
    monkeypatch.setattr(x509, "random_serial_number", lambda: next(numbers))
    home.run(home.client("a"))
    home.run(home.client("a"), home.client("b"))
    home.run(home.client("a"), home.client("b"), home.client("c"))
    assert [home.leaf(client).serial_number for client in "abc"] == [1000, 2000, 3000]


# What is issued again, and why


def test_a_reissue_keeps_the_key(home: Home) -> None:
    home.run(home.client())
    key = home.file(".key").read_bytes()
    serial = home.leaf().serial_number
    result = home.run(home.client(common_name="other"))
    assert home.actions(result) == {"curl": "reissue"}
    assert home.file(".key").read_bytes() == key
    assert home.leaf().serial_number != serial
    assert not result["certificates"][0]["is_new_key"]
    assert "the same key" in result["diff"]["after"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"common_name": "other"}, "the subject is CN=curl, specified is CN=other"),
        ({"sans": ["URI:spiffe://a"]}, "without URI:spiffe://a"),
        (
            {"usage": "server", "sans": ["DNS:a.example"], "basename": "client"},
            "extended key usage is not server alone",
        ),
        ({"renew_before": 364, "days": 1000}, None),
        ({"renew_before": 366, "days": 1000}, "within the renewal window of 366 days"),
        ({"days": 90}, None),
    ],
)
def test_what_demands_a_new_certificate(home: Home, changes: dict[str, t.Any], reason: str | None) -> None:
    home.run(home.client())
    result = home.run(home.client(**changes))
    assert home.actions(result) == {"curl": "reissue" if reason else "none"}
    assert reason is None or reason in home.reasons(result)


def test_superfluous_sans_are_named(home: Home) -> None:
    home.run(home.client(sans=["DNS:a.example", "DNS:b.example"]))
    assert home.actions(home.run(home.client(sans=["DNS:b.example", "DNS:a.example"]))) == {"curl": "none"}
    assert "with DNS:a.example" in home.reasons(home.run(home.client(sans=["DNS:b.example"])))


def test_a_certificate_is_renewed_within_its_window_and_not_before(home: Home) -> None:
    home.run(home.client())
    assert not home.run(home.client(), now=NOW + 334 * DAY)["changed"]
    result = home.run(home.client(), now=NOW + 336 * DAY)
    assert "within the renewal window of 30 days" in home.reasons(result)
    assert home.leaf().not_valid_after_utc == NOW + (336 + 365) * DAY


def test_expired_and_future_certificates_are_issued_again(home: Home) -> None:
    home.run(home.client())
    assert "it expired on 2027-11-23" in home.reasons(home.run(home.client(renew_before=0), now=NOW + 365 * DAY))
    assert "it is not valid before" in home.reasons(home.run(home.client()))


def test_another_key_type_is_a_new_key_and_said_so(home: Home) -> None:
    home.run(home.client())
    result = home.run(home.client(key_type="RSA"))
    assert "the key is ECDSA P-256, specified is RSA 2048, so a new key is generated" in home.reasons(result)
    assert result["certificates"][0]["is_new_key"]
    assert isinstance(serialization.load_pem_private_key(home.file(".key").read_bytes(), None), rsa.RSAPrivateKey)
    assert not home.run(home.client(key_type="RSA"))["changed"]


def test_another_ca_issues_again_and_the_same_key_renewed_does_not(home: Home) -> None:
    home.run(home.client())
    home.ca_cert.write_bytes(certificate_pem(make_ca(home.key, days=5000)))
    assert not home.run(home.client())["changed"]
    make_home(home.path, common_name="Other Root CA")
    assert "it was not issued by CN=Other Root CA,O=Test Org" in home.reasons(home.run(home.client()))


def test_a_ca_of_the_same_name_with_another_key_issues_again(home: Home) -> None:
    home.run(home.client())
    make_home(home.path)
    assert "it was not issued by" in home.reasons(home.run(home.client()))


def test_a_key_without_its_certificate_is_used(home: Home) -> None:
    home.run(home.client())
    key = home.file(".key").read_bytes()
    home.file(".crt").unlink()
    result = home.run(home.client())
    assert home.actions(result) == {"curl": "issue"}
    assert "there is a key, but no certificate" in home.reasons(result)
    assert home.file(".key").read_bytes() == key


def test_a_certificate_without_its_key_gets_both_anew(home: Home) -> None:
    home.run(home.client())
    home.file(".key").unlink()
    assert "its key is missing" in home.reasons(home.run(home.client()))
    assert not home.run(home.client())["changed"]


def test_a_certificate_of_another_key_is_issued_again_for_the_key(home: Home) -> None:
    home.run(home.client())
    other = key_pem(ec.generate_private_key(ec.SECP256R1()))
    home.file(".key").write_bytes(other)
    assert "does not belong to the key" in home.reasons(home.run(home.client()))
    assert home.file(".key").read_bytes() == other
    assert not home.run(home.client())["changed"]


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_corrupt_certificate_is_issued_again_and_said_so(home: Home, content: bytes) -> None:
    home.run(home.client())
    home.file(".crt").write_bytes(content)
    result = home.run(home.client())
    assert home.actions(result) == {"curl": "reissue"}
    assert "the certificate on disk cannot be read" in home.reasons(result)
    assert "no readable certificate" in result["diff"]["before"]
    assert not home.run(home.client())["changed"]


def test_a_file_with_two_certificates_is_no_leaf(home: Home) -> None:
    home.run(home.client())
    home.file(".crt").write_bytes(certificate_pem(home.leaf(), home.certificate))
    assert "the file holds 2 certificates" in home.reasons(home.run(home.client()))


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (bytes.fromhex("0603551d0f0101ff0404"), b"\x05"),  # the value of keyUsage, an OCTET STRING of 4 bytes
        (b"\x0c\x04", b"\xff\xfe"),  # the UTF8String of 4 bytes in the subject
    ],
    ids=["extensions", "subject"],
)
def test_a_certificate_with_unreadable_parts_is_issued_again(home: Home, place: bytes, damage: bytes) -> None:
    home.run(home.client())
    der = home.leaf().public_bytes(serialization.Encoding.DER)
    start = der.index(place) + len(place)
    home.file(".crt").write_bytes(der[:start] + damage + der[start + len(damage) :])
    result = home.run(home.client())
    assert home.actions(result) == {"curl": "reissue"}
    assert "cannot be read" in home.reasons(result)
    assert not home.run(home.client())["changed"]


def test_a_version_1_certificate_like_the_tutorials_is_issued_again(home: Home) -> None:
    home.run(home.client())
    old = (
        x509.CertificateBuilder()
        .subject_name(home.leaf().subject)
        .issuer_name(home.certificate.subject)
        .public_key(home.leaf().public_key())  # type: ignore[arg-type]
        .serial_number(5)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 365 * DAY)
        .sign(home.key, hashes.SHA256())
    )
    home.file(".crt").write_bytes(certificate_pem(old))
    reasons = home.reasons(home.run(home.client()))
    assert "its extended key usage is not client alone" in reasons
    assert "its basic constraints extension is not that of a client certificate" in reasons
    assert "its key usage extension is not that of a client certificate" in reasons


# What is never touched


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_corrupt_key_fails_by_name_and_nothing_is_done_for_anyone(home: Home, content: bytes) -> None:
    home.run(home.client())
    home.file(".key").write_bytes(content)
    before = tree(home.path)
    with pytest.raises(MtlsError) as caught:
        home.run(home.client(), home.client("other"))
    assert f"Certificate curl: The private key in {home.file('.key')} cannot be read" in str(caught.value)
    assert "Nothing was changed" in str(caught.value)
    assert tree(home.path) == before


def test_all_problems_are_named_at_once(home: Home) -> None:
    home.run(home.client("a"), home.client("b"))
    for client in "ab":
        home.file(".key", client).write_bytes(b"garbage")
    with pytest.raises(MtlsError, match=r"Certificate a: .*Certificate b: "):
        home.run(home.client("a"), home.client("b"))


@pytest.mark.parametrize("end", [".key", ".crt", "-chain.pem"])
def test_what_cannot_be_read_fails_by_name(home: Home, end: str) -> None:
    home.run(home.client())
    home.file(end).unlink()
    home.file(end).mkdir()
    with pytest.raises(MtlsError, match=f"client{end} cannot be read: Is a directory"):
        home.run(home.client())


def test_what_cannot_be_written_fails_by_name(home: Home) -> None:
    (home.path / "clients").symlink_to("/nowhere/at/all")
    with pytest.raises(MtlsError, match=r"directory .*clients/curl cannot be created"):
        home.run(home.client())


def test_modes_that_cannot_be_set_fail_by_name(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.run(home.client())
    home.file(".key").chmod(0o644)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path), mode)

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(MtlsError, match="Certificate curl: its files cannot be given their modes"):
        home.run(home.client())


# The CA


def test_a_leaf_never_outlives_its_ca_and_is_not_renewed_for_that(tmp_path: Path) -> None:
    home = make_home(tmp_path, days=11)  # until 10 days from now
    result = home.run(home.client())
    assert home.leaf().not_valid_after_utc == home.certificate.not_valid_after_utc
    assert result["certificates"][0]["is_clamped"]
    assert not home.run(home.client(), now=NOW + 9 * DAY)["changed"]


def test_an_expired_ca_issues_nothing_and_says_so(tmp_path: Path) -> None:
    home = make_home(tmp_path, days=11)
    home.run(home.client())
    before = tree(home.path)
    with pytest.raises(MtlsError, match="Renew the CA, or set the clock"):
        home.run(home.client(), now=NOW + 20 * DAY)
    assert tree(home.path) == before


def test_a_ca_key_kept_offline_is_missed_only_when_something_is_issued(home: Home) -> None:
    home.run(home.client())
    home.ca_key.unlink()
    assert not home.run(home.client())["changed"]
    with pytest.raises(MtlsError, match=r"Certificate new must be issued. The CA key .* does not exist"):
        home.run(home.client(), home.client("new"))
    with pytest.raises(MtlsError, match="Certificate new must be issued"):
        home.run(home.client(), home.client("new"), check_mode=True)
    home.file("-chain.pem").unlink()
    assert home.actions(home.run(home.client())) == {"curl": "repair"}


def test_an_encrypted_ca_key_needs_its_passphrase_only_when_something_is_issued(home: Home) -> None:
    home.ca_key.write_bytes(key_pem(home.key, "right"))
    with pytest.raises(MtlsError, match=r"no passphrase was given\. Give it as ca_key_passphrase"):
        home.run(home.client())
    with pytest.raises(MtlsError, match="the passphrase is wrong"):
        home.run(home.client(), ca_key_passphrase="wrong")  # noqa: S106  (a test's)
    assert home.run(home.client(), ca_key_passphrase="right")["changed"]  # noqa: S106  (a test's)
    assert not home.run(home.client())["changed"]


def test_a_corrupt_ca_key_fails_by_name_even_with_nothing_to_do(home: Home) -> None:
    home.run(home.client())
    home.ca_key.write_bytes(b"garbage")
    with pytest.raises(MtlsError, match=r"The private key in .*ca\.key cannot be read"):
        home.run(home.client())


def test_a_ca_key_of_another_ca_is_refused(home: Home) -> None:
    home.ca_key.write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(MtlsError, match="does not belong to the CA certificate"):
        home.run(home.client())


@pytest.mark.parametrize(
    ("changes", "lack"),
    [
        ({"is_ca": False}, "basicConstraints CA:TRUE"),
        ({"is_ca": None}, "basicConstraints CA:TRUE"),
        ({"key_cert_sign": False}, "keyUsage keyCertSign"),
    ],
)
def test_a_certificate_that_may_not_sign_is_no_ca(tmp_path: Path, changes: dict[str, t.Any], lack: str) -> None:
    home = make_home(tmp_path, **changes)
    with pytest.raises(MtlsError, match=f"may not issue certificates: it has no {lack}"):
        home.run(home.client())


def test_a_ca_without_key_usage_may_sign(tmp_path: Path) -> None:
    home = make_home(tmp_path, key_cert_sign=None)
    assert home.run(home.client())["changed"]


def test_a_ca_file_with_two_certificates_is_refused(home: Home) -> None:
    home.ca_cert.write_bytes(certificate_pem(home.certificate, make_ca(home.key, common_name="Other")))
    with pytest.raises(MtlsError, match="must hold one certificate, but holds 2"):
        home.run(home.client())


# Chains


def make_intermediate(home: Home) -> tuple[Path, x509.Certificate]:
    """Let the home's CA be an intermediate of a new root; return the root's file."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = make_ca(root_key, common_name="Above")
    intermediate = make_ca(home.key, common_name="Between", issuer=(root, root_key))
    home.ca_cert.write_bytes(certificate_pem(intermediate))
    (home.path / "root.crt").write_bytes(certificate_pem(root))
    return home.path / "root.crt", intermediate


def test_chain_is_the_leaf_alone_by_default(home: Home) -> None:
    home.run(home.client())
    assert home.file("-chain.pem").read_bytes() == home.file(".crt").read_bytes()


def test_chain_is_leaf_intermediate_and_root_as_asked(home: Home) -> None:
    root, _intermediate = make_intermediate(home)
    home.run(home.client(), ca_chain=(home.ca_cert, root))
    parts = [path.read_bytes() for path in (home.file(".crt"), home.ca_cert, root)]
    assert home.file("-chain.pem").read_bytes() == b"".join(parts)
    result = home.run(home.client(), ca_chain=(home.ca_cert,))
    assert home.actions(result) == {"curl": "repair"}
    assert home.file("-chain.pem").read_bytes() == b"".join(parts[:2])
    assert home.actions(home.run(home.client(), ca_chain=(root,))) == {"curl": "repair"}


def test_a_chain_in_the_wrong_order_is_refused(home: Home) -> None:
    root, _intermediate = make_intermediate(home)
    with pytest.raises(MtlsError, match="The chain is broken"):
        home.run(home.client(), ca_chain=(root, home.ca_cert))


# Repairs


@pytest.mark.parametrize("end", [".key", ".crt", "-chain.pem"])
def test_a_wrong_mode_is_repaired_without_a_new_certificate(home: Home, end: str) -> None:
    home.run(home.client())
    certificate = home.leaf()
    home.file(end).chmod(0o666)
    result = home.run(home.client())
    assert home.actions(result) == {"curl": "repair"}
    assert f"client{end} has the mode 0666" in home.reasons(result)
    assert home.leaf() == certificate
    assert not home.run(home.client())["changed"]


def test_leftovers_of_a_killed_run_are_swept(home: Home) -> None:
    home.run(home.client())
    left = home.path / "clients/curl/.client.key.abcd_123"
    left.write_bytes(b"half a key")
    other = home.path / "clients/curl/.client.keys.abcd_1234"
    other.write_bytes(b"not ours")
    home.run(home.client(common_name="other"))
    assert not left.exists()
    assert other.exists()


def test_leftovers_are_swept_where_nothing_else_is_to_be_done(home: Home) -> None:
    home.run(home.client())
    left = home.path / "clients/curl/.client.key.abcd_123"
    left.write_bytes(b"half a key")
    assert not home.run(home.client())["changed"]
    assert not left.exists()


# PKCS#12


def open_p12(home: Home, password: str) -> pkcs12.PKCS12KeyAndCertificates:
    return pkcs12.load_pkcs12(home.file(".p12").read_bytes(), password.encode())


@pytest.mark.parametrize("profile", ["modern", "legacy"])
def test_p12_holds_key_certificate_and_chain(home: Home, profile: str) -> None:
    p12 = {"password": "secret", "friendly_name": "My client", "profile": profile}
    home.run(home.client(p12=p12), ca_chain=(home.ca_cert,))
    found = open_p12(home, "secret")
    assert found.key is not None
    assert found.cert is not None
    assert found.cert.certificate == home.leaf()
    assert found.cert.friendly_name == b"My client"
    assert [one.certificate for one in found.additional_certs] == [home.certificate]
    assert not home.run(home.client(p12=p12), ca_chain=(home.ca_cert,))["changed"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "other"}, "does not open with the password"),
        ({"profile": "legacy"}, "its profile is not legacy"),
        ({"friendly_name": "other"}, "its friendly name is another"),
    ],
)
def test_p12_is_made_again_when_it_is_to_be_another(home: Home, changes: dict[str, str], reason: str) -> None:
    home.run(home.client(p12={"password": "secret"}))
    certificate = home.leaf()
    p12 = {"password": "secret"} | changes
    result = home.run(home.client(p12=p12))
    assert home.actions(result) == {"curl": "repair"}
    assert reason in home.reasons(result)
    assert home.leaf() == certificate
    assert not home.run(home.client(p12=p12))["changed"]


def test_p12_is_made_when_asked_for_later_and_follows_the_certificate(home: Home) -> None:
    home.run(home.client())
    asked = home.client(p12={"password": "secret"})
    assert "client.p12 is missing" in home.reasons(home.run(asked))
    home.run(home.client(common_name="other"))
    result = home.run(home.client(common_name="other", p12={"password": "secret"}))
    assert "it holds another certificate" in home.reasons(result)
    home.file(".p12").write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"curl", None, home.leaf(), [home.certificate], serialization.BestAvailableEncryption(b"secret")
        )
    )
    reasons = home.reasons(home.run(home.client(common_name="other", p12={"password": "secret"})))
    assert "client.p12 is replaced" in reasons


# Absent


def test_absent_removes_the_files_and_the_empty_directory_and_records_it_once(home: Home) -> None:
    home.run(home.client(p12={"password": "x"}), home.client("other"))
    gone = {"name": "curl", "directory": str(home.path / "clients/curl"), "state": "absent"}
    result = home.run(gone, home.client("other"))
    assert home.actions(result) == {"curl": "remove", "other": "none"}
    assert "subject" not in result["certificates"][0]
    assert not (home.path / "clients/curl").exists()
    assert home.file(".crt", "other").exists()
    assert not home.run(gone, home.client("other"))["changed"]
    events = [json.loads(line)["event"] for line in home.register.read_text().splitlines()]
    assert events == ["issued", "issued", "removed"]


def test_absent_leaves_what_is_not_ours(home: Home) -> None:
    home.run(home.client())
    note = home.path / "clients/curl/README"
    note.write_text("keep me")
    home.run(home.client(state="absent"))
    assert [one.name for one in note.parent.iterdir()] == ["README"]


def test_absent_removes_what_cannot_be_read_too(home: Home) -> None:
    home.run(home.client())
    home.file(".crt").write_bytes(b"garbage")
    home.file(".key").write_bytes(b"garbage")
    assert home.run(home.client(state="absent"))["changed"]
    assert not home.file(".key").exists()


def test_absent_of_what_never_was_changes_nothing(home: Home) -> None:
    assert not home.run(home.client(state="absent"))["changed"]


def test_absent_that_a_crash_interrupted_is_completed_without_a_second_record(home: Home) -> None:
    home.run(home.client())
    saved = {end: home.file(end).read_bytes() for end in (".key", ".crt")}
    home.run(home.client(state="absent"))
    home.file(".key").parent.mkdir()
    for end, content in saved.items():
        home.file(end).write_bytes(content)
    home.run(home.client(state="absent"))
    assert not home.file(".key").exists()
    assert home.register.read_text().count('"removed"') == 1


def test_files_that_cannot_be_removed_fail_by_name(home: Home) -> None:
    home.run(home.client())
    home.file(".p12").mkdir()
    with pytest.raises(MtlsError, match=r"Certificate curl: .*client\.p12 is a directory.*Nothing was changed"):
        home.run(home.client(state="absent"))
    assert home.file(".key").exists()


# Many at once


def test_more_than_a_batch_are_all_issued_and_recorded(home: Home) -> None:
    items = [home.client(f"client-{number}") for number in range(150)]
    result = home.run(*items, concurrency=4)
    assert len(result["changes"]) == 150
    assert result["register"]["entries"] == 150
    assert len({one["serial_number"] for one in result["certificates"]}) == 150
    assert not home.run(*items)["changed"]


def test_no_concurrency_at_all_is_refused(home: Home) -> None:
    with pytest.raises(MtlsError, match="concurrency is 0, but must be 1 or more"):
        home.run(home.client(), concurrency=0)


def test_two_runs_on_one_ca_take_turns(home: Home) -> None:
    """Without turns, both would find the same state and append to the register at the same place."""
    clients = [home.client(f"client-{number}") for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(home.run, *clients[start : start + 10]) for start in range(0, 40, 10)]:
            assert done.result()["changed"]
    names = sorted(json.loads(line)["name"] for line in home.register.read_text().splitlines())
    assert names == sorted(client["name"] for client in clients)
    assert not home.run(*clients)["changed"]


def test_concurrency_is_the_number_of_cores_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert issue.cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert issue.cores() == 1
