# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a CA on disk from being the one that is wanted, in words."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.filter.authority_problems import FilterModule
from ansible_collections.kyma.mtls.plugins.module_utils._pki import inspect
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    Home,
    key_pem,
    make_home,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def problems(home: Home, *, days: int = 0, passphrase: str | None = None, **changes: t.Any) -> str:
    files = inspect.look(["ca.key", "ca.crt"], directory=home.path, passphrase=passphrase, now=NOW + days * DAY)
    wanted = {
        "basename": "ca",
        "title": "server root CA",
        "subject": [{"O": "Test Org"}, {"CN": "Test Root CA"}],
        "subject_variable": "server_pki_ca_subject",
        "key": "ECDSA P-256",
        "key_variables": "server_pki_ca_key",
    }
    found = FilterModule().filters()["authority_problems"](files, **(wanted | changes))
    return " ".join(found)


def test_the_ca_that_is_wanted_has_none(home: Home) -> None:
    assert problems(home) == ""


def test_what_is_missing_can_be_made_or_kept_offline(home: Home) -> None:
    home.ca_key.unlink()
    assert problems(home) == ""
    home.ca_cert.unlink()
    assert problems(home) == ""


def test_an_encrypted_key_is_none(home: Home) -> None:
    home.ca_key.write_bytes(key_pem(home.key, "secret"))
    assert problems(home) == ""
    assert "passphrase is wrong" in problems(home, passphrase="wrong")  # noqa: S106  (a test's)


def test_another_subject_says_what_is_there_what_is_asked_and_what_to_do(home: Home) -> None:
    text = problems(home, subject=[{"O": "Other"}])
    assert '[{"O": "Test Org"}, {"CN": "Test Root CA"}]' in text
    assert 'server_pki_ca_subject asks for [{"O": "Other"}]' in text
    assert f"move {home.path} away" in text


@pytest.mark.parametrize("has_certificate", [True, False])
def test_another_key_says_what_is_there_what_is_asked_and_what_to_do(home: Home, has_certificate: bool) -> None:
    if not has_certificate:
        home.ca_cert.unlink()
    text = problems(home, key="RSA 2048")
    assert "is ECDSA P-256, but the variables ask for RSA 2048" in text
    assert "server_pki_ca_key_type, server_pki_ca_key_size and server_pki_ca_curve" in text


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


def test_ed25519_has_no_size() -> None:
    filters = FilterModule().filters()
    files = {
        "ca.key": {"path": "/pki/ca.key", "exists": True, "error": None, "key": {"type": "Ed25519"}},
        "ca.crt": {"path": "/pki/ca.crt", "exists": False, "error": None},
    }
    wanted = {"basename": "ca", "title": "CA", "subject": [], "subject_variable": "s", "key_variables": "k_key"}
    assert filters["authority_problems"](files, key="Ed25519", **wanted) == []
