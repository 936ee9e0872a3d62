# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a CA on disk from being the one that is wanted, in words; and what a CA of ours looks like."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import KeySpec
from ansible_collections.kyma.mtls.plugins.module_utils._pki.profile import parse_subject
from ansible_collections.kyma.mtls.plugins.module_utils._pki.reconcile import reconcile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import AuthoritySpec, PkiSpec
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    Home,
    key_pem,
    make_home,
)

P256 = KeySpec("ECDSA", curve="P-256")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def authority(**changes: t.Any) -> AuthoritySpec:
    given: dict[str, t.Any] = {
        "title": "client root CA",
        "basename": "ca",
        "subject": [{"O": "Test Org"}, {"CN": "Test Root CA"}],
        "key": P256,
        "days": 3650,
    }
    given |= changes
    return AuthoritySpec(**(given | {"subject": parse_subject(given["subject"])}))


def create(path: Path, *authorities: AuthoritySpec, passphrase: str | None = None) -> list[x509.Certificate]:
    """Create CAs in a directory as the module does, and return their certificates."""
    spec = PkiSpec(
        usage="client",
        directory=path,
        state="present",
        authorities=authorities,
        certificates=(),
        passphrase=passphrase,
    )
    reconcile(spec, check_mode=False, now=NOW)
    return [x509.load_pem_x509_certificate((path / f"{one.basename}.crt").read_bytes()) for one in authorities]


def problems(home: Home, *, days: int = 0, passphrase: str | None = None, **changes: t.Any) -> str:
    try:
        home.reconcile(
            "present",
            authorities=(authority(**changes),),
            passphrase=passphrase,
            check_mode=True,
            now=NOW + days * DAY,
        )
    except MtlsError as exc:
        return str(exc)
    return ""


def test_the_ca_that_is_specified_has_none(home: Home) -> None:
    assert problems(home) == ""


def test_what_is_missing_can_be_made_or_kept_offline(home: Home) -> None:
    home.ca_key.unlink()
    assert problems(home) == ""
    home.ca_cert.unlink()
    assert problems(home) == ""


def test_a_lost_certificate_is_no_missing_one(home: Home) -> None:
    home.ca_cert.unlink()
    bundle = home.path / "ca-bundle.crt"
    assert problems(home) == ""
    bundle.write_text("")
    text = problems(home)
    assert f"{home.ca_cert} of the client root CA is missing, but what belongs to it is there: {bundle}." in text


def test_an_encrypted_key_is_none(home: Home) -> None:
    home.ca_key.write_bytes(key_pem(home.key, "secret"))
    assert problems(home) == ""
    assert "passphrase is wrong" in problems(home, passphrase="wrong")  # noqa: S106  (a test's)


def test_another_subject_says_what_is_there_what_is_specified_and_what_to_do(home: Home) -> None:
    text = problems(home, subject=[{"O": "Other"}])
    assert '[{"O": "Test Org"}, {"CN": "Test Root CA"}]' in text
    assert 'ca.subject is [{"O": "Other"}]' in text
    assert f"move {home.path} away" in text


@pytest.mark.parametrize("has_certificate", [True, False])
def test_another_key_says_what_is_there_what_is_specified_and_what_to_do(home: Home, has_certificate: bool) -> None:
    if not has_certificate:
        home.ca_cert.unlink()
    text = problems(home, key=KeySpec("RSA", size=2048))
    assert "has the key ECDSA P-256, but ca.key_type, ca.key_size and ca.curve specify RSA 2048" in text


@pytest.mark.parametrize("name", ["ca.key", "ca.crt"])
def test_a_damaged_file_is_named(home: Home, name: str) -> None:
    (home.path / name).write_bytes(b"garbage")
    text = problems(home)
    assert f"Restore {home.path / name} from a backup" in text
    assert "nothing was changed" in text


def test_a_key_of_another_certificate_is_named(home: Home) -> None:
    home.ca_key.write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
    assert "does not belong to the key" in problems(home)


def test_an_expired_certificate_and_one_of_no_ca_are_named(tmp_path: Path) -> None:
    assert "expired on 20" in problems(make_home(tmp_path), days=4000)
    assert "is not that of a CA" in problems(make_home(tmp_path, is_ca=False))
    assert "is not that of a CA" in problems(make_home(tmp_path, is_ca=None))


def extension(certificate: x509.Certificate, kind: type[t.Any]) -> x509.Extension[t.Any]:
    return certificate.extensions.get_extension_for_class(kind)


def test_a_root_and_an_intermediate_are_as_rfc_5280_has_them(tmp_path: Path) -> None:
    root, middle = create(
        tmp_path, authority(), authority(basename="intermediate", subject=[{"CN": "Middle"}], days=9999)
    )
    for one, length in ((root, None), (middle, 0)):
        assert one.version is x509.Version.v3
        assert extension(one, x509.BasicConstraints).critical
        assert extension(one, x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=length)
        usage = extension(one, x509.KeyUsage)
        assert usage.critical
        assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
        assert extension(one, x509.SubjectKeyIdentifier).value.digest
        assert 2**100 < one.serial_number < 2**159
    assert extension(middle, x509.AuthorityKeyIdentifier).value.key_identifier == (
        extension(root, x509.SubjectKeyIdentifier).value.digest
    )
    assert root.subject.rfc4514_string() == "CN=Test Root CA,O=Test Org"
    assert root.not_valid_after_utc == NOW + 3650 * DAY
    assert middle.not_valid_after_utc == root.not_valid_after_utc  # nothing outlives its issuer
    assert root.not_valid_before_utc < NOW
    middle.verify_directly_issued_by(root)
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        (KeySpec("ECDSA", curve="P-384"), hashes.SHA384),
        (KeySpec("RSA", size=2048), hashes.SHA256),
        (KeySpec("Ed25519"), type(None)),
    ],
    ids=str,
)
def test_the_digest_fits_the_key(tmp_path: Path, key: KeySpec, digest: type[object]) -> None:
    (made,) = create(tmp_path, authority(key=key))
    assert isinstance(made.signature_hash_algorithm, digest)


def test_a_key_with_a_passphrase_is_encrypted_and_needed_to_go_on(tmp_path: Path) -> None:
    ed25519_ca = authority(key=KeySpec("Ed25519"))
    create(tmp_path, ed25519_ca, passphrase="secret")  # noqa: S106  (a test's)
    pem = (tmp_path / "ca.key").read_bytes()
    assert b"ENCRYPTED" in pem
    for name in ("ca.crt", "ca-bundle.crt"):
        (tmp_path / name).unlink()
    with pytest.raises(MtlsError, match=r"is encrypted\. Give its passphrase"):
        create(tmp_path, ed25519_ca)
    (again,) = create(tmp_path, ed25519_ca, passphrase="secret")  # noqa: S106  (a test's)
    assert isinstance(again.public_key(), ed25519.Ed25519PublicKey)
    assert (tmp_path / "ca.key").read_bytes() == pem
