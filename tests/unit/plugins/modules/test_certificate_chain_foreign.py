# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others made and no parser expects: it is used, or refused by the name of its file, and nothing hangs."""

from __future__ import annotations

import itertools
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.tests.limbo import zoo
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.test_certificate_chain import place, run

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.unit.plugins.modules.test_certificate_chain import Place

__all__ = ["place"]  # the fixture

TLS_FEATURE = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24")
ODD_EXTENSIONS = {
    "a TLS feature that has no name": (TLS_FEATURE, "3007020530030201 05"),
    "a TLS feature that is not a list": (TLS_FEATURE, "0500"),
    "key usage that is no bit string": (x509.KeyUsage.oid, "0500"),
    "a SAN with a broken address": (x509.SubjectAlternativeName.oid, "3003870101"),
    "a SAN with other bytes than ASCII": (x509.SubjectAlternativeName.oid, "30048202fffe"),
    "CRL distribution points with an unknown reason": (x509.CRLDistributionPoints.oid, "300630048102 00ff"),
    "certificate policies with a damaged notice": (x509.CertificatePolicies.oid, "3003020105"),
    "name constraints of a mask with holes": (x509.NameConstraints.oid, "300ea00c300a87080a000000ff00ff00"),
}


@pytest.mark.parametrize("what", ODD_EXTENSIONS)
@pytest.mark.parametrize("where", ["leaf", "candidate", "root"])
def test_an_extension_that_cannot_be_read_is_a_refusal_that_names_the_certificate(what, where):
    oid, content = ODD_EXTENSIONS[what]
    odd = {"extra": [(x509.UnrecognizedExtension(oid, bytes.fromhex(content)), False)]}
    odd["without"] = {x509.KeyUsage.oid: ["ku"], x509.SubjectAlternativeName.oid: ["san"]}.get(oid, ())
    root = zoo.make("Root", **(odd if where == "root" else {}))
    middle = zoo.make("Middle", issuer=root, **(odd if where == "candidate" else {}))
    end = zoo.leaf(middle, **(odd if where == "leaf" else {}))
    result = run(leaf_content=end.pem, candidates_content=middle.pem, roots_content=root.pem)
    assert result["failed"]
    assert {"leaf": "CN=leaf", "candidate": "CN=Middle", "root": "CN=Root"}[where] in result["msg"]
    assert "parsed" in result["msg"]


@pytest.mark.parametrize("option", ["leaf", "candidates", "roots", "crls", "private_key"])
@pytest.mark.parametrize("kind", ["pipe", "/dev/full", "/dev/zero", "directory", "endless", "missing"])
def test_only_regular_files_are_read_and_they_have_an_end(option, kind, place: Place):
    path = str(place.directory / "odd")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        Path(path).mkdir()
    elif kind == "endless":
        with Path(path).open("wb") as stream:
            stream.truncate(2**40)
    elif kind != "missing":
        path = kind
    given: t.Any = path if option in {"leaf", "private_key"} else [path]
    result = run(**place.options(**{option: given}))
    if kind == "directory":  # an empty one holds nothing
        said = {"leaf": "The leaf input holds no certificate", "roots": "There is no root", "private_key": path}
        assert said.get(option, "") in result.get("msg", "")
    else:
        assert result["failed"]
        assert path in result["msg"]
    assert place.dest.exists() is not result.get("failed", False)


@pytest.mark.parametrize("kind", ["pipe", "/dev/full", "/dev/null", "directory", "/proc/self/comm", "link"])
def test_only_regular_files_are_written(kind, place: Place):
    path = place.directory / "odd"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind.startswith("link"):
        path.symlink_to("/dev/full")
    else:
        path = Path(kind)
    for check in (False,) if kind.startswith("/proc") else (True, False):
        result = run(check=check, **place.options(dest=str(path)))
        assert result["failed"]
        assert str(path) in result["msg"] or "/dev/full" in result["msg"] or "comm" in result["msg"]
    assert path.is_symlink() or not path.is_file() or kind.startswith("/proc")


def test_a_ca_whose_name_is_latin_1_in_a_t61string_is_read():
    subject = "Mxnchen Root"
    utf8, latin = (b"\x0c\x0cMxnchen Root", b"\x14\x0cM\xfcnchen Root")
    plain = zoo.make(subject)
    root = zoo.altered(plain, plain, utf8, latin)
    middle = zoo.altered(zoo.make("Middle", issuer=plain), plain, utf8, latin)
    result = run(leaf_content=zoo.leaf(middle).pem, candidates_content=middle.pem, roots_content=root.pem)
    assert [one["subject"] for one in result["certificates"]] == ["CN=leaf", "CN=Middle", "CN=München Root"]
    with pytest.raises(MtlsError, match=r"The names of the certificate CN=München Root .* in ca.crt cannot be read"):
        load.load_certificates(root.pem.encode(), source="ca.crt")


def test_a_string_that_is_not_of_its_type_is_said_to_be_unreadable():
    plain = zoo.make("Mxnchen Root")
    root = zoo.altered(plain, plain, b"\x0c\x0cMxnchen Root", b"\x0c\x0cM\xfcnchen Root")
    result = run(leaf_content=zoo.leaf(root, issuer_name=plain.certificate.subject).pem, roots_content=root.pem)
    assert result["failed"]
    result = run(leaf_content=root.pem, roots_content=plain.pem)
    assert "names cannot be parsed" in result["msg"]


def test_twenty_thousand_skipped_blocks_are_one_line(place: Place):
    block = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    (place.directory / "pool" / "0-many.pem").write_text(place.middle.pem + block * 19_999)
    for number in range(50):
        (place.directory / "pool" / f"{number}.pem").write_text(place.middle.pem + block)
    result = run(**place.options())
    assert result["chain"] == place.chain
    said = [str(one) for one in result["warnings"] if "EC PARAMETERS" in str(one)]
    assert len(result["warnings"]) < 15
    line = "19999 blocks (EC PARAMETERS) are not certificates and are skipped: 2, 3, 4, 5, 6 ..."
    assert any(line in one for one in said)


def costly(rounds: int) -> bytes:
    """An encrypted key that asks for so many rounds; nobody has done them."""
    key = subprocess.run(
        [  # noqa: S607  (whichever openssl the machine has)
            "openssl",
            "pkcs8",
            "-topk8",
            "-outform",
            "DER",
            "-v2",
            "aes-256-cbc",
            "-iter",
            "65537",
            "-passout",
            "pass:x",
        ],
        input=zoo.leaf(None).key_pem().encode(),
        capture_output=True,
        check=True,
    ).stdout
    assert bytes.fromhex("0203010001") in key
    return key.replace(bytes.fromhex("0203010001"), bytes.fromhex("0203") + rounds.to_bytes(3, "big"))


def test_a_key_that_would_take_minutes_to_open_is_refused(place: Place):
    (place.directory / "leaf.key").write_bytes(costly(8_000_000))
    secret = {"private_key_passphrase": "x"}
    result = run(**place.options(private_key=str(place.directory / "leaf.key"), **secret))
    assert "leaf.key asks for 8000000 rounds of key derivation" in result["msg"]


def test_a_pkcs12_file_that_would_take_minutes_to_open_is_refused():
    protection = (
        serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(65537).hmac_hash(hashes.SHA256()).build(b"x")
    )
    made = zoo.leaf(None)
    data = pkcs12.serialize_key_and_certificates(b"x", made.key, made.certificate, None, protection)
    assert load.load_pkcs12(data, password=b"x", source="x.p12").cert is not None
    positions = [place for place in range(len(data)) if data.startswith(bytes.fromhex("0203010001"), place)]
    assert len(positions) >= 2  # the encryption's and the MAC's
    for position in (positions[0], positions[-1]):
        changed = data[:position] + bytes.fromhex("02037fffff") + data[position + 5 :]
        with pytest.raises(MtlsError, match=r"x.p12 asks for 8388607 rounds"):
            load.load_pkcs12(changed, password=b"x", source="x.p12")


# What of it stands directly in an option, and not in a list or hidden, ansible-core itself refuses.
LONE_SURROGATES = itertools.product(
    ["\ud800", "\udc80"], ["candidates", "roots", "crls", "private_key_content", "hostnames"]
)
NO_NAMES = itertools.product(
    ["a\0b", "x" * 70_000], ["candidates", "roots", "crls", "dest", "private_key_content", "hostnames"]
)


@pytest.mark.parametrize(("text", "option"), [*LONE_SURROGATES, *NO_NAMES])
def test_text_that_names_nothing_is_refused_in_words(option, text, place: Place):
    given: t.Any = text if option in {"dest", "private_key_content"} else [text]
    result = run(**place.options(**{option: given}))
    assert result["failed"]
    assert result["msg"]
