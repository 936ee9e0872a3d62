# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throw-away identities: each wrong in exactly one way, and none of them on any disk."""

from __future__ import annotations

import datetime
import os
import ssl
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity, identity_from_files
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module

if t.TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.datetime.now(tz=datetime.UTC)


@pytest.fixture(params=["ec", "rsa", "p384"])
def throw_away(request: pytest.FixtureRequest, tmp_path: Path) -> ThrowAwayIdentities:
    pki = pki_module.make_pki(tmp_path, kind=request.param)
    model = identity_from_files("model", certificate=pki.client.crt, key=pki.client.key_file)
    return ThrowAwayIdentities(model, IssuingCa(pki.client_ca.certificate, pki.client_ca.key), now=NOW)


def every_identity(throw_away: ThrowAwayIdentities) -> dict[str, Identity]:
    model_key = throw_away._model.load_key()
    made = {
        "twin": throw_away.twin(),
        "uri": throw_away.with_uri(),
        "no san": throw_away.without_uri(),
        "no subject": throw_away.without_subject(),
        "expired": throw_away.expired(),
        "future": throw_away.not_yet_valid(),
        "server": throw_away.server_only(),
        "any": throw_away.any_usage(),
        "weak": throw_away.weak_key(),
        "sha1": throw_away.sha1_signature(),
        "large": throw_away.oversized(12000),
        "intermediate": throw_away.by_intermediate("x", presented=True),
        "path length": throw_away.beyond_path_length(),
        "constraint": throw_away.outside_name_constraint(),
        "other": throw_away.of_other_ca(),
        "impostor": throw_away.of_impostor_ca(),
        "self-signed": throw_away.self_signed(),
        "client as ca": throw_away.of_client_as_ca(model_key),
        "stolen": throw_away.with_stolen_certificate(),
    }
    assert "PRIVATE" not in repr(made)
    return made


def test_every_identity_can_be_presented(throw_away: ThrowAwayIdentities) -> None:
    for identity in every_identity(throw_away).values():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        identity.install(context)


def test_each_is_wrong_in_its_own_way_only(throw_away: ThrowAwayIdentities) -> None:
    made = every_identity(throw_away)
    model = throw_away._model.certificate
    for name in ("expired", "future", "server", "any", "weak", "sha1", "impostor", "twin"):
        certificate = made[name].certificate
        assert certificate.subject == model.subject, name
        assert certificate.issuer == model.issuer, name
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < datetime.timedelta(days=3), name
    assert made["expired"].certificate.not_valid_after_utc < NOW
    assert made["future"].certificate.not_valid_before_utc > NOW
    assert isinstance(made["sha1"].certificate.signature_hash_algorithm, hashes.SHA1)
    assert made["stolen"].certificate == model
    authority = t.cast("IssuingCa", throw_away._authority).certificate
    for name in ("twin", "expired", "server", "weak"):
        made[name].certificate.verify_directly_issued_by(authority)
    impostor = made["impostor"].chain[1]
    assert impostor.subject == authority.subject
    assert impostor.public_key() != authority.public_key()
    identifier = impostor.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert identifier == authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value


def test_nothing_is_left_in_the_temporary_directory(
    throw_away: ThrowAwayIdentities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    throw_away.twin().install(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert list(scratch.iterdir()) == []


def test_without_memfd_the_file_is_encrypted_private_and_gone(
    throw_away: ThrowAwayIdentities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.delattr(os, "memfd_create")
    looks: list[tuple[int, bytes]] = []

    class Context(ssl.SSLContext):
        def load_cert_chain(self, certfile: t.Any, keyfile: t.Any = None, password: t.Any = None) -> None:
            path = next(scratch.iterdir())
            looks.append((path.stat().st_mode & 0o777, path.read_bytes()))
            super().load_cert_chain(certfile, keyfile, password)

    throw_away.twin().install(Context(ssl.PROTOCOL_TLS_CLIENT))
    [(mode, content)] = looks
    assert mode == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
    assert b"BEGIN PRIVATE KEY" not in content
    assert list(scratch.iterdir()) == []


def test_without_the_client_ca_key_it_says_what_is_missing(pki: pki_module.Pki) -> None:
    model = identity_from_files("model", certificate=pki.client.crt, key=pki.client.key_file)
    with pytest.raises(MtlsError, match="client_ca_key"):
        ThrowAwayIdentities(model, None, now=NOW).expired()


def test_a_wrong_passphrase_is_refused_without_asking_anyone(pki: pki_module.Pki, tmp_path: Path) -> None:
    holder = pki_module.Holder(pki.client.certificate, pki.client.key).save(tmp_path, "locked", passphrase=b"right")
    for passphrase in (None, "wrong"):
        identity = identity_from_files("x", certificate=holder.crt, key=holder.key_file, passphrase=passphrase)
        with pytest.raises(MtlsError, match="passphrase"):
            identity.install(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    identity_from_files("x", certificate=holder.crt, key=holder.key_file, passphrase="right").install(  # noqa: S106
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
