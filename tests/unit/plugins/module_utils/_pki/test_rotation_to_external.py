# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a server CA of our own to an external issuer: who trusts only the previous CA goes on, for a time."""

from __future__ import annotations

import datetime
import shutil
import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.corporate import SERVER, Corporate, provided
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import Side, openssl_accepts, server

DAY = datetime.timedelta(days=1)


@pytest.fixture
def own(tmp_path: Path) -> Side:
    side = server(tmp_path, hostnames=["www.corp.test"], grace_days=30)
    side.run({"name": "server", **SERVER})
    shutil.copy(side.path / "ca.crt", tmp_path / "before.crt")
    return side


def take_over(side: Side, corporate: Corporate, **changes: t.Any) -> dict[str, t.Any]:
    given = {"provided": provided(corporate.ca, provider="acme")} | changes
    return side.run(corporate.server(), **given)


def accepts(side: Side, anchor: Path, at: datetime.datetime = NOW) -> bool:
    return openssl_accepts(anchor, side.path / "server.crt", "-untrusted", str(side.path / "server-chain.pem"), at=at)


def test_clients_of_the_previous_ca_go_on_until_the_grace_period_is_over(
    tmp_path: Path, own: Side, corporate: Corporate
) -> None:
    before, key = tmp_path / "before.crt", own.tree()["ca.key"]
    predicted = take_over(own, corporate, check_mode=True)
    changed = take_over(own, corporate)
    assert predicted["actions"] == changed["actions"]
    assert changed["phase"] == "overlap"
    assert own.one("ca.crt") == corporate.home.certificate
    assert accepts(own, before)
    assert accepts(own, own.path / "ca.crt")
    assert not (own.path / "ca.key").exists()
    assert own.tree()["previous/ca.key"] == key
    cross = own.one("previous/cross.crt")
    limits = cross.extensions.get_extension_for_class(x509.NameConstraints).value
    assert limits.permitted_subtrees is not None
    assert x509.DNSName("www.corp.test") in limits.permitted_subtrees
    assert not take_over(own, corporate)["changed"]

    # A renewal in the meantime keeps the overlap.
    corporate.issuing.run(corporate.issuing.client("server", usage="server", rekey=True, **SERVER))
    assert take_over(own, corporate)["changed"]
    assert accepts(own, before)

    later = NOW + 31 * DAY
    assert take_over(own, corporate, now=later)["phase"] == "none"
    assert not accepts(own, before, at=later)
    assert accepts(own, own.path / "ca.crt", at=later)
    assert not take_over(own, corporate, now=later)["changed"]
    assert [path.name for path in (own.path / "retired").rglob("ca.key")] == ["ca.key"]


def test_without_a_grace_period_the_issuer_changes_at_once(tmp_path: Path, own: Side, corporate: Corporate) -> None:
    assert take_over(own, corporate, grace_days=0)["phase"] == "none"
    assert accepts(own, own.path / "ca.crt")
    assert not accepts(own, tmp_path / "before.crt")
    assert (own.path / "replaced/own-ca/ca.key").exists()
    assert not take_over(own, corporate, grace_days=0)["changed"]


def test_names_that_the_previous_ca_does_not_permit_are_refused(tmp_path: Path, corporate: Corporate) -> None:
    side = server(tmp_path, grace_days=30)
    side.run()
    before = side.tree()
    with pytest.raises(MtlsError, match="Set grace_days to 0"):
        take_over(side, corporate, hostnames=["www.corp.test"])
    assert side.tree() == before


def test_a_key_that_cannot_be_used_is_said_before_anything_is_changed(own: Side, corporate: Corporate) -> None:
    (own.path / "ca.key").write_bytes(b"damaged")
    before = own.tree()
    with pytest.raises(MtlsError):
        take_over(own, corporate)
    assert own.tree() == before


def test_a_kill_at_any_write_is_completed_by_the_next_run(
    tmp_path: Path, own: Side, corporate: Corporate, kill_at_each_write: t.Callable[..., t.Iterator[None]]
) -> None:
    for _killed in kill_at_each_write(own.path, lambda: take_over(own, corporate), most=20):
        take_over(own, corporate)
        assert accepts(own, tmp_path / "before.crt")
        assert accepts(own, own.path / "ca.crt")
        assert not take_over(own, corporate)["changed"]
