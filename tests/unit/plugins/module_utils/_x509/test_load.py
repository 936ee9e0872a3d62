# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load, sources
from ansible_collections.kyma.mtls.tests.limbo import zoo


@pytest.fixture(scope="module")
def made() -> zoo.Made:
    return zoo.leaf(zoo.make("Root"), sans=["DNS:a.example", "IP:192.0.2.1", "URI:spiffe://x/y", "email:a@b.example"])


def test_several_certificates_come_in_their_order_without_duplicates(made):
    other = zoo.make("Root")
    loaded = load.load_certificates((other.pem + made.pem + other.pem).encode(), source="here")
    assert loaded.certificates == (other.certificate, made.certificate)
    assert loaded.warnings == ("here holds 1 duplicate certificate(s); each is used once.",)


def test_concatenated_der_is_read(made):
    other = zoo.make("Root")
    assert len(load.load_certificates(made.der + other.der, source="here").certificates) == 2


@pytest.mark.parametrize("label", ["X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_old_labels_are_read(made, label):
    text = made.pem.replace("CERTIFICATE", label)
    assert load.load_certificates(text.encode(), source="here").certificates == (made.certificate,)


def test_a_damaged_block_is_skipped_with_a_warning(made):
    lines = made.pem.splitlines(keepends=True)
    damaged = "".join([*lines[:2], *lines[4:]])
    loaded = load.load_certificates((damaged + made.pem).encode(), source="here")
    assert loaded.certificates == (made.certificate,)
    assert "block 1 (CERTIFICATE) cannot be parsed" in loaded.warnings[0]


@pytest.mark.parametrize(
    "data", [b"", b"text", b"0", b"\x30\x80", b"-----BEGIN CERTIFICATE-----\nAA", b"\x30\x84\xff\xff\xff\xff"]
)
def test_input_without_a_certificate_is_refused_by_its_name(data):
    with pytest.raises(MtlsError, match="here"):
        load.load_certificates(data, source="here")


def test_begin_lines_without_end_are_read_in_linear_time():
    with pytest.raises(MtlsError):
        load.load_certificates(b"-----BEGIN CERTIFICATE-----\n" * 100000, source="here")


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *itertools.product(["ec", "rsa2048", "ed25519"], ["pkcs8", "der", "behind a certificate"]),
        ("ec", "traditional"),
        ("rsa2048", "traditional"),
    ],
)
def test_private_keys_are_read_in_every_form(kind, form, made):
    key = zoo.key("form", kind)
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    if form == "traditional":
        data = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    else:
        data = key.private_bytes(der if form == "der" else pem, pkcs8, plain)
    if form == "behind a certificate":
        data = made.pem.encode() + data
    loaded = load.load_private_key(data, passphrase=None, source="here")
    assert load.key_matches(zoo.make("X", own_key=key).certificate, loaded)
    assert not load.key_matches(made.certificate, loaded)


def test_an_rsa_key_with_a_wrong_number_is_damaged():
    key = zoo.key("form", "rsa2048")
    plain = serialization.NoEncryption()
    data = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    numbers = key.private_numbers()
    for number in (numbers.public_numbers.n, numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
        content = number.to_bytes((number.bit_length() + 7) // 8, "big")
        damaged = bytearray(data)
        damaged[data.index(content) + len(content) // 2] ^= 4
        with pytest.raises(MtlsError, match=r"private key in here .*damaged"):
            load.load_private_key(bytes(damaged), passphrase=None, source="here")


def test_a_passphrase_that_is_not_needed_does_no_harm(made):
    loaded = load.load_private_key(made.key_pem().encode(), passphrase=b"surplus", source="here")
    assert load.key_matches(made.certificate, loaded)


def test_a_file_without_a_key_is_refused(made):
    with pytest.raises(MtlsError, match="no private key in here"):
        load.load_private_key(made.pem.encode(), passphrase=None, source="here")


def test_crls_are_read_from_pem_and_der():
    text = zoo.crl(zoo.make("Root"))
    loaded = load.load_crls((text + "x\n" + text).encode(), source="here").crls
    assert len(loaded) == 2
    der = loaded[0].public_bytes(serialization.Encoding.DER)
    assert load.load_crls(der, source="here").crls == (loaded[0],)
    with pytest.raises(MtlsError, match="cannot be read"):
        load.load_crls(der[:-5], source="here")


def test_a_description_is_complete(made):
    facts = describe.describe_certificate(made.certificate, now=zoo.NOW)
    assert facts["sans"] == ["DNS:a.example", "IP:192.0.2.1", "URI:spiffe://x/y", "email:a@b.example"]
    assert facts["not_after"] == "2031-06-01T12:00:00Z"
    assert facts["days_left"] == 365
    assert facts["signature"] == {"algorithm": "ecdsa-with-SHA256", "oid": "1.2.840.10045.4.3.2", "hash": "sha256"}


@pytest.mark.parametrize(
    ("kind", "options", "key", "signature"),
    [
        ("rsa2048", {"pss": True}, {"type": "RSA", "size": 2048}, "RSASSA-PSS"),
        ("ed25519", {}, {"type": "Ed25519", "size": 256}, "ed25519"),
        ("ed448", {}, {"type": "Ed448", "size": 456}, "ed448"),
        ("ml-dsa-65", {}, {"type": "ML-DSA-65"}, "ML-DSA-65"),
    ],
)
def test_keys_and_signatures_have_their_usual_names(kind, options, key, signature):
    facts = describe.describe_certificate(zoo.make("Root", kind=kind, **options).certificate, now=zoo.NOW)
    assert facts["key"] == key
    assert facts["signature"]["algorithm"] == signature


def test_names_are_written_as_envoy_prints_them():
    pairs = [(x509.NameOID.COMMON_NAME, "ML Client Curl"), (x509.NameOID.ORGANIZATION_NAME, "ML Client Org")]
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])
    assert describe.name_text(name) == "O=ML Client Org,CN=ML Client Curl"


def test_a_directory_is_read_with_its_subdirectories_each_file_once(tmp_path, made):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.pem").write_text(made.pem)
    (tmp_path / "deep" / "link.pem").symlink_to(tmp_path / "deep" / "er" / "a.pem")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "note.txt").write_text("no certificate")
    gathered = sources.gather_certificates([str(tmp_path)], None, what="candidates")
    assert gathered.items == (made.certificate,)
    assert len(gathered.warnings) == 1
    assert "note.txt" in gathered.warnings[0]


def test_directories_that_are_too_deep_are_skipped_with_a_warning(tmp_path, made, monkeypatch):
    monkeypatch.setattr(sources, "MAX_DEPTH", 1)
    (tmp_path / "one" / "two").mkdir(parents=True)
    (tmp_path / "one" / "two" / "a.pem").write_text(made.pem)
    gathered = sources.gather_certificates([str(tmp_path)], None, what="candidates")
    assert gathered.items == ()
    assert "deeper" in gathered.warnings[0]


def test_too_many_files_are_refused(tmp_path, made, monkeypatch):
    monkeypatch.setattr(sources, "MAX_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.pem").write_text(made.pem)
    with pytest.raises(MtlsError, match="more than 3 files"):
        sources.gather_certificates([str(tmp_path)], None, what="candidates")


@pytest.mark.parametrize(
    ("number", "text"), [(0xABC, "0abc"), (0x12AB, "12ab"), (0, "00"), (-1, "-01"), (2**159 - 1, "7f" + "ff" * 19)]
)
def test_serial_numbers_are_lower_case_hexadecimal_digits(number, text):
    assert describe.serial_text(number) == text
