# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Distinguished names as OpenSSL prints them; the program itself is the second opinion."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import rfc2253

CN, ORG, OU = "2.5.4.3", "2.5.4.10", "2.5.4.11"
NAMES = {
    "plain": [(ORG, "ML Client Org"), (CN, "ML Client Curl")],
    "umlaut": [(CN, "curl"), (ORG, "Müller GmbH")],
    "other scripts": [(CN, "Ελλάς 日本 😀"), (ORG, "Łódź")],
    "special": [(CN, 'a,b+c"d\\e<f>g;h=i#j/k')],
    "edges": [(CN, " leading"), (ORG, "#number"), (OU, "trailing ")],
    "one space": [(CN, " "), (ORG, "x")],
    "control": [(CN, "a\x7fb\tc\nd\x01")],
    "mail": [(CN, "x"), ("1.2.840.113549.1.9.1", "a@example.org")],
    "serial": [(CN, "x"), ("2.5.4.5", "42")],
    "address": [("2.5.4.6", "DE"), ("2.5.4.8", "BW"), ("2.5.4.7", "W"), ("2.5.4.9", "S 1"), ("2.5.4.17", "12345")],
    "person": [("2.5.4.12", "Dr"), ("2.5.4.4", "Doe"), ("2.5.4.42", "Jo"), ("2.5.4.43", "J"), ("2.5.4.65", "jd")],
    "directory": [("0.9.2342.19200300.100.1.1", "u"), ("0.9.2342.19200300.100.1.25", "example"), (CN, "x")],
    "validated": [("1.3.6.1.4.1.311.60.2.1.3", "DE"), ("2.5.4.15", "Private Organization"), (CN, "x")],
    "unknown": [(CN, "x"), ("1.3.6.1.4.1.99999.1", "é")],
    "newer": [(CN, "x"), ("2.5.4.97", "PSDDE-1")],
    "units": [(CN, "x"), (OU, "a"), (OU, "b")],
}
# OpenSSL has got names for these, BoringSSL (and so Envoy) has none.
NAMED_BY_OPENSSL_ALONE = {"newer"}


def element(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def der_of(pairs: list[tuple[str, str]]) -> bytes:
    return x509.Name(
        [x509.NameAttribute(x509.ObjectIdentifier(oid), value, _validate=False) for oid, value in pairs]
    ).public_bytes()


def printed_by_openssl(name: bytes, tmp_path: Path) -> str:
    """Have OpenSSL print the subject of a certificate request: it need not be signed by anybody to be printed."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    content = element(0x02, b"\0") + name + spki + bytes.fromhex("a000")
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    request = b"\x30\x82" + (len(content) + 4 + len(algorithm) + 5).to_bytes(2, "big")
    request += b"\x30\x82" + len(content).to_bytes(2, "big") + content + algorithm + bytes.fromhex("0303003000")
    path = tmp_path / "request.der"
    path.write_bytes(request)
    command = ["openssl", "req", "-inform", "DER", "-in", str(path), "-noout", "-subject", "-nameopt", "RFC2253"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return ran.stdout.removeprefix("subject=").removesuffix("\n")


@pytest.mark.parametrize("case", NAMES)
def test_names_are_printed_as_openssl_does(case: str, tmp_path: Path) -> None:
    name = der_of(NAMES[case])
    printed = printed_by_openssl(name, tmp_path)
    if case not in NAMED_BY_OPENSSL_ALONE:
        assert rfc2253.text(name) == printed
    assert rfc2253.prints(printed, name)


@pytest.mark.parametrize(
    ("tag", "codec"), [(0x14, "latin-1"), (0x1E, "utf-16-be"), (0x1C, "utf-32-be"), (0x0C, "utf-8")]
)
def test_strings_of_every_kind_are_printed_as_openssl_does(tag: int, codec: str, tmp_path: Path) -> None:
    pair = element(0x30, bytes.fromhex("0603550403") + element(tag, "Müller, GmbH".encode(codec)))
    name = element(0x30, element(0x31, pair))
    assert rfc2253.text(name) == printed_by_openssl(name, tmp_path) == r"CN=M\C3\BCller\, GmbH"


def test_a_value_that_is_no_string_is_printed_as_openssl_does(tmp_path: Path) -> None:
    name = element(0x30, element(0x31, element(0x30, bytes.fromhex("0603550403") + bytes.fromhex("03020001"))))
    printed = printed_by_openssl(name, tmp_path)
    assert rfc2253.text(name) == printed
    assert rfc2253.prints(printed, name)


@pytest.mark.parametrize("pairs", NAMES.values(), ids=NAMES)
def test_what_is_printed_reads_back(pairs: list[tuple[str, str]]) -> None:
    name = der_of(pairs)
    assert rfc2253.parse(rfc2253.text(name)) == tuple(reversed(rfc2253.attributes(name)))


@pytest.mark.parametrize(
    "printed",
    [
        r"O=M\C3\BCller GmbH,CN=curl",  # OpenSSL
        "O=Müller GmbH,CN=curl",  # RFC 4514, Apache httpd
        "O=M\u00c3\u00bcller GmbH,CN=curl",  # the octets of UTF-8, read as Latin-1
        "CN=curl, O=Müller GmbH",  # the order of the encoding, with spaces
        'organizationName="Müller GmbH";commonName=curl',  # RFC 1779
        "2.5.4.10=#0c0c4dc3bc6c6c657220476d6248,OID.2.5.4.3=curl",
    ],
)
def test_other_spellings_of_the_same_name_are_that_name(printed: str) -> None:
    assert rfc2253.prints(printed, der_of(NAMES["umlaut"]))


@pytest.mark.parametrize(
    "printed",
    [
        "O=Muller GmbH,CN=curl",
        "O=Müller GmbH,CN=Curl",
        "O=Müller GmbH",
        "O=Müller GmbH,CN=curl,CN=curl",
        "O=Müller GmbH+CN=curl",
        r"O=Müller GmbH\,CN=curl",
        "CN=Müller GmbH,O=curl",
        "O=Müller GmbH,CN=curl,",
        'O="Müller GmbH,CN=curl',
        "O=M\\FCller GmbH,CN=curl",
        "O=Müller GmbH,surprise=curl",
        "Müller GmbH",
        "",
    ],
)
def test_anything_else_is_not_that_name(printed: str) -> None:
    assert not rfc2253.prints(printed, der_of(NAMES["umlaut"]))


def test_the_parts_of_one_relative_name_have_no_order() -> None:
    parts = [x509.NameAttribute(x509.NameOID.COMMON_NAME, "a"), x509.NameAttribute(x509.NameOID.USER_ID, "u")]
    name = x509.Name([x509.RelativeDistinguishedName(parts)]).public_bytes()
    assert rfc2253.prints("CN=a+UID=u", name)
    assert rfc2253.prints("UID=u+CN=a", name)
    assert not rfc2253.prints("UID=u,CN=a", name)


def test_a_space_that_http_took_off_the_end_is_read_as_one() -> None:
    assert rfc2253.prints("CN=a\\", der_of([(CN, "a ")]))
