# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA's rotation: every step leaves something that all accept."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import state
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    CaKey,
    Home,
    certificate_pem,
    key_pem,
    make_ca,
    make_home,
)


def step(home: Home, state: str, *, now: datetime.datetime = NOW, **changes: t.Any) -> dict[str, t.Any]:
    return home.reconcile(state, now=now, **changes)


def make_next(home: Home, *, key: CaKey | None = None, **changes: t.Any) -> x509.Certificate:
    """Put the next CA into its place, as the role does; it has the name of the one in use."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    certificate = make_ca(key, start=NOW, **changes)
    (home.path / "next").mkdir()
    (home.path / "next" / "ca.key").write_bytes(key_pem(key))
    (home.path / "next" / "ca.crt").write_bytes(certificate_pem(certificate))
    return certificate


def load(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def accepts(anchor: Path, leaf: Path, *untrusted: Path) -> bool:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    others = [argument for path in untrusted for argument in ("-untrusted", str(path))]
    command = [openssl, "verify", "-x509_strict", "-no_check_time", "-CAfile", str(anchor), *others, str(leaf)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def key_belongs(directory: Path) -> bool:
    key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    return key.public_key() == load(directory / "ca.crt")[0].public_key()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    (tmp_path / "ca-bundle.crt").write_bytes(certificate_pem(made.certificate))
    made.run(made.client("curl"))
    return made


def test_a_rotation_step_by_step(home: Home) -> None:
    foreign = make_ca(ec.generate_private_key(ec.SECP256R1()), common_name="Somebody else's")
    (home.path / "ca-bundle.crt").write_bytes(certificate_pem(home.certificate, foreign))
    old, key = home.certificate, home.file(".key").read_bytes()
    new = make_next(home)

    result = step(home, "prepared")
    assert (result["changed"], result["phase"]) == (True, "prepared")
    assert load(home.path / "ca-bundle.crt") == [old, foreign, new]
    assert not step(home, "prepared")["changed"]
    assert step(home, "switched")["phase"] == "overlap"
    assert load(home.ca_cert) == [new]
    assert load(home.path / "previous" / "ca.crt") == [old]
    assert key_belongs(home.path)
    assert key_belongs(home.path / "previous")
    assert not (home.path / "next").exists()
    assert not step(home, "switched")["changed"]
    assert not step(home, "prepared")["changed"]

    waiting = step(home, "finished")
    assert (waiting["is_finished"], waiting["left_behind"], waiting["changed"]) == (False, ["curl"], False)
    home.run(home.client("curl"))
    assert home.file(".key").read_bytes() == key
    done = step(home, "finished")
    assert (done["is_finished"], done["phase"]) == (True, "none")
    assert load(home.path / "ca-bundle.crt") == [foreign, new]
    (retired,) = (home.path / "retired").iterdir()
    assert load(retired / "ca.crt") == [old]
    again = step(home, "finished")
    assert (again["changed"], again["is_finished"]) == (False, True)


def test_the_old_ca_stays_until_the_grace_period_ends(home: Home) -> None:
    make_next(home)
    step(home, "prepared")
    step(home, "switched")
    home.run(home.client("curl"))
    early = step(home, "finished", grace_days=14, now=NOW + 13 * DAY)
    assert (early["is_finished"], early["until"]) == (False, "2026-12-07T12:00:00Z")
    assert len(load(home.path / "ca-bundle.crt")) == 2
    assert step(home, "finished", grace_days=14, now=NOW + 14 * DAY)["is_finished"]
    assert len(load(home.path / "ca-bundle.crt")) == 1


def test_the_grace_period_begins_when_the_new_ca_is_put_into_use(home: Home) -> None:
    make_next(home)
    step(home, "prepared")
    step(home, "switched", now=NOW + 20 * DAY)
    home.run(home.client("curl"), now=NOW + 20 * DAY)
    early = step(home, "finished", grace_days=14, now=NOW + 33 * DAY)
    assert (early["is_finished"], early["until"]) == (False, "2026-12-27T12:00:00Z")
    assert step(home, "finished", grace_days=14, now=NOW + 34 * DAY)["is_finished"]


@pytest.mark.parametrize("content", [None, "", "yesterday", b"\xff"])
def test_a_rotation_without_a_known_beginning_counts_from_the_new_cas_own(
    home: Home, content: str | bytes | None
) -> None:
    make_next(home)
    step(home, "switched", now=NOW + 5 * DAY)
    path = home.path / "previous/switched-at"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert step(home, "finished", grace_days=14, now=NOW + 6 * DAY)["until"] == "2026-12-07T12:00:00Z"


def test_an_exchange_that_is_completed_later_keeps_its_beginning(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    make_next(home)

    def killed(operation: state.WriteFile) -> None:
        write(operation)
        if operation.path == home.ca_cert:
            raise KeyboardInterrupt

    write = state.WriteFile.apply
    monkeypatch.setattr(state.WriteFile, "apply", killed)
    with pytest.raises(KeyboardInterrupt):
        step(home, "switched")
    monkeypatch.undo()
    step(home, "switched", now=NOW + 3 * DAY)
    assert step(home, "finished", grace_days=14, now=NOW + 3 * DAY)["until"] == "2026-12-07T12:00:00Z"


def test_an_expired_ca_is_not_waited_for(home: Home) -> None:
    make_next(home, days=9999)
    step(home, "prepared")
    step(home, "switched")
    assert not step(home, "finished", grace_days=9000)["is_finished"]
    assert step(home, "finished", grace_days=9000, now=NOW + 3700 * DAY)["is_finished"]


def test_who_is_revoked_or_unreadable_or_expired_keeps_no_ca_in_use(home: Home) -> None:
    home.run(home.client("brief", days=1, renew_before=0), home.client("damaged"))
    home.file("-chain.pem", "damaged").write_text("nothing")
    step(home, "revoked", revoke=("curl",))
    make_next(home)
    step(home, "prepared")
    step(home, "switched")
    assert step(home, "finished", now=NOW + 2 * DAY)["is_finished"]


def test_intermediate_authorities_go_along(home: Home) -> None:
    for directory in (home.path, home.path / "next"):
        if directory != home.path:
            make_next(home)
        key = ec.generate_private_key(ec.SECP256R1())
        root = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
        middle = make_ca(key, common_name="Middle", issuer=(load(directory / "ca.crt")[0], t.cast("t.Any", root)))
        (directory / "intermediate.key").write_bytes(key_pem(key))
        (directory / "intermediate.crt").write_bytes(certificate_pem(middle))
    old, new = load(home.path / "intermediate.crt"), load(home.path / "next" / "intermediate.crt")
    step(home, "prepared", usage="server")
    step(home, "switched", usage="server")
    assert load(home.path / "intermediate.crt") == new
    assert load(home.path / "previous" / "intermediate.crt") == old
    assert step(home, "finished", usage="server")["is_finished"]


def test_a_next_ca_without_its_key_is_not_put_into_use(home: Home) -> None:
    make_next(home)
    (home.path / "next" / "ca.key").unlink()
    with pytest.raises(MtlsError, match=r"cannot issue\. The CA key .* does not exist"):
        step(home, "switched")
    assert load(home.ca_cert) == [home.certificate]


def test_a_ca_whose_key_is_away_cannot_sign_the_next_one(home: Home) -> None:
    make_next(home)
    home.ca_key.unlink()
    with pytest.raises(MtlsError, match=r"ca\.key does not exist"):
        step(home, "prepared", usage="server")


def test_a_cross_certificate_of_another_next_ca_is_replaced(home: Home) -> None:
    make_next(home)
    step(home, "prepared", usage="server")
    before = load(home.path / "next" / "cross.crt")
    shutil.move(home.path / "next" / "cross.crt", home.path / "cross.crt")
    shutil.rmtree(home.path / "next")
    make_next(home)
    shutil.move(home.path / "cross.crt", home.path / "next" / "cross.crt")
    step(home, "prepared", usage="server")
    assert load(home.path / "next" / "cross.crt") != before


def test_an_ed25519_ca_signs_its_successor(tmp_path: Path) -> None:
    home = make_home(tmp_path, key=ed25519.Ed25519PrivateKey.generate())
    make_next(home, key=ed25519.Ed25519PrivateKey.generate())
    step(home, "prepared", usage="server")
    (cross,) = load(tmp_path / "next" / "cross.crt")
    cross.verify_directly_issued_by(home.certificate)


def test_a_ca_that_was_retired_before_is_not_retired_twice(home: Home) -> None:
    make_next(home)
    step(home, "prepared")
    step(home, "switched")
    home.run(home.client("curl"))
    shutil.copytree(home.path / "previous", home.path / "kept")
    step(home, "finished")
    shutil.move(home.path / "kept", home.path / "previous")
    assert step(home, "finished")["phase"] == "none"
    assert len(list((home.path / "retired").iterdir())) == 1
