# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an external issuer to a CA of our own: the overlap comes first."""

from __future__ import annotations

import datetime
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.corporate import (
    SERVER,
    Corporate,
    make_corporate,
    provided,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    Side,
    client,
    openssl_accepts,
    server,
)

DAY = datetime.timedelta(days=1)
OURS = {"name": "server", **SERVER}


@pytest.fixture
def served(tmp_path: Path, corporate: Corporate) -> Side:
    side = server(tmp_path, hostnames=["www.corp.test"], grace_days=30)
    side.run(corporate.server(), provided=provided(corporate.ca, provider="acme"))
    return side


@pytest.fixture
def fleet(tmp_path: Path, corporate: Corporate) -> Side:
    side = client(tmp_path)
    both = corporate.ca + corporate.intermediate
    side.run(corporate.client(), provided=provided(both, provider="cert_manager"))
    return side


def accepts(side: Side, anchor: str, at: datetime.datetime = NOW) -> bool:
    chain = str(side.path / "server-chain.pem")
    return openssl_accepts(side.path / anchor, side.path / "server.crt", "-untrusted", chain, at=at)


def test_who_trusts_the_server_is_given_our_ca_before_it_is_used(served: Side) -> None:
    before = served.tree()
    predicted = served.run(OURS, check_mode=True)
    assert served.tree() == before
    first = served.run(OURS)
    assert predicted["actions"] == first["actions"]
    assert (first["phase"], first["is_finished"], first["changes"]) == ("prepared", False, [])
    assert f"give {served.path / 'next/ca.crt'} to all clients" in str(first["notes"])
    assert {name: data for name, data in served.tree().items() if not name.startswith("next/")} == before
    assert not served.run(OURS, now=NOW + 29 * DAY)["changed"]

    later = NOW + 31 * DAY
    (served.path / "given.crt").write_bytes(served.tree()["next/ca.crt"])
    switched = served.run(OURS, now=later)
    assert (switched["phase"], [change["action"] for change in switched["changes"]]) == ("none", ["reissue"])
    assert accepts(served, "given.crt", at=later)
    assert list(served.path.glob("retired/*/ca.crt"))
    assert not served.run(OURS, now=later)["changed"]


def test_without_a_grace_period_the_server_switches_at_once(served: Side) -> None:
    switched = served.run(OURS, grace_days=0)
    assert switched["phase"] == "none"
    assert accepts(served, "ca.crt")
    assert not served.run(OURS, grace_days=0)["changed"]


def test_the_server_switches_before_its_certificate_ends(served: Side) -> None:
    served.run(OURS, grace_days=10_000)
    end = served.one("server.crt").not_valid_after_utc
    assert not served.run(OURS, grace_days=10_000, now=end - 2 * DAY)["changed"]
    assert served.run(OURS, grace_days=10_000, now=end - DAY)["phase"] == "none"


def test_the_gateway_trusts_both_cas_before_clients_get_certificates_of_ours(fleet: Side, corporate: Corporate) -> None:
    first = fleet.run()
    assert first["changes"] == []
    assert "Nothing was issued: publish it" in str(first["notes"])
    assert fleet.one("ca.crt") == corporate.home.certificate
    assert fleet.one("next/ca.crt") in fleet.certificates("ca-bundle.crt")
    with pytest.raises(MtlsError, match="Revoke at the issuer"):
        fleet.run(revoke=["curl"])
    second = fleet.run(fleet.certificate(), {"name": "later"})
    assert {change["action"] for change in second["changes"]} == {"reissue", "issue"}
    assert corporate.home.certificate in fleet.certificates("ca-bundle.crt")
    assert fleet.one("clients/curl/client.crt").issuer == fleet.one("ca.crt").subject
    # Nobody is left with a certificate of the issuer, and without a grace period that is the end of it.
    third = fleet.run(fleet.certificate(), {"name": "later"})
    assert third["phase"] == "none"
    assert corporate.home.certificate not in fleet.certificates("ca-bundle.crt")
    assert not fleet.run(fleet.certificate(), {"name": "later"})["changed"]
    # And revocation is ours.
    fleet.run(state="revoked", revoke=["curl"])
    assert (fleet.path / "ca.crl").exists()


@pytest.mark.parametrize("state", ["prepared", "switched", "finished"])
def test_the_steps_of_a_rotation_are_not_those_of_this_change(state: str, served: Side, fleet: Side) -> None:
    for _time in ("before our CA is prepared", "after"):
        for side, issuer in ((served, "acme"), (fleet, "cert_manager")):
            before = side.tree()
            with pytest.raises(MtlsError, match=rf"{issuer} is replaced by a CA of our own.* Run the site instead"):
                side.run(*([OURS] if side is served else []), state=state)
            assert side.tree() == before
        served.run(OURS)
        fleet.run()


def test_revocation_names_the_issuer_that_has_the_key(fleet: Side) -> None:
    with pytest.raises(MtlsError, match=r"cert_manager is replaced .* Revoke at the issuer, or after the change"):
        fleet.run(state="revoked", revoke=["curl"])
    fleet.run()
    fleet.run()
    before = fleet.tree()
    with pytest.raises(
        MtlsError, match=r"still trusts .* of cert_manager, which gave way .* Revoke at cert_manager, or"
    ):
        fleet.run(state="revoked", revoke=["curl"])
    assert fleet.tree() == before
    # What the message says is the way.
    assert fleet.run(grace_days=0)["phase"] == "none"
    assert fleet.run(state="revoked", revoke=["curl"])["revoked"]


def test_an_issuer_of_which_nobody_has_a_certificate_gives_way_too(tmp_path: Path, corporate: Corporate) -> None:
    side = client(tmp_path)
    trusted = provided(corporate.ca + corporate.intermediate, provider="cert_manager")
    side.run(provided=trusted, certificates=[])
    assert not side.run(provided=trusted, certificates=[])["changed"]
    side.run()
    assert [change["action"] for change in side.run()["changes"]] == ["issue"]
    assert (side.path / "ca.key").exists()


def test_a_ca_of_our_own_without_its_key_stays_what_it_is(served: Side) -> None:
    """Its key may be kept offline, and an external issuer may have come before it."""
    served.run(OURS, grace_days=0)
    (served.path / "ca.key").unlink()
    before = served.tree()
    assert not served.run(OURS, grace_days=0)["changed"]
    assert served.tree() == before


@pytest.mark.parametrize("text", [b"", b"soon", b"\xff"], ids=["empty", "words", "binary"])
def test_when_our_ca_was_prepared_is_known_from_it_when_the_note_is_damaged(served: Side, text: bytes) -> None:
    served.run(OURS)
    (served.path / "next/prepared-at").write_bytes(text)
    assert served.run(OURS, now=NOW + 29 * DAY)["phase"] == "prepared"
    assert served.run(OURS, now=NOW + 31 * DAY)["phase"] == "none"


def test_there_is_no_way_back_before_the_way_there_has_ended(tmp_path: Path, corporate: Corporate) -> None:
    side = server(tmp_path, hostnames=["www.corp.test"], grace_days=30)
    side.run(OURS)
    acme = provided(corporate.ca, provider="acme")
    assert side.run(corporate.server(), provided=acme)["phase"] == "overlap"
    before = side.tree()
    with pytest.raises(MtlsError, match=r"Set the provider to acme again, and run once with grace_days set to 0"):
        side.run(OURS)
    assert side.tree() == before
    # What the message says is the way.
    assert side.run(corporate.server(), provided=acme, grace_days=0)["phase"] == "none"
    assert side.run(OURS, grace_days=0)["phase"] == "none"
    assert accepts(side, "ca.crt")


@pytest.mark.parametrize("content", [None, b"torn"], ids=["lost", "torn"])
def test_a_server_without_a_readable_certificate_switches_at_once(served: Side, content: bytes | None) -> None:
    place = served.path / "server.crt"
    place.unlink() if content is None else place.write_bytes(content)
    assert served.run(OURS)["phase"] == "none"
    assert accepts(served, "ca.crt")
    assert not served.run(OURS)["changed"]


def test_clients_whose_files_are_lost_get_certificates_of_ours(fleet: Side) -> None:
    shutil.rmtree(fleet.path / "clients")
    assert fleet.run()["changes"] == []
    assert [change["action"] for change in fleet.run()["changes"]] == ["issue"]
    fleet.run()
    assert not fleet.run()["changed"]


def test_from_one_issuer_to_another_and_back_to_ours(tmp_path: Path, served: Side) -> None:
    (tmp_path / "other").mkdir()
    other = make_corporate(tmp_path / "other")
    served.run(other.server(), provided=provided(other.ca, provider="gardener"))
    assert served.one("ca.crt") == other.home.certificate
    assert "gardener is replaced by" in str(served.run(OURS)["notes"])
    # Changed their mind: the issuer goes on, and our CA waits no longer.
    assert served.run(other.server(), provided=provided(other.ca, provider="gardener"))["phase"] == "none"


@pytest.mark.parametrize("usage", ["server", "client"])
def test_a_kill_at_any_write_is_completed_by_the_next_run(
    usage: str, served: Side, fleet: Side, kill_at_each_write: t.Callable[..., t.Iterator[None]]
) -> None:
    side = served if usage == "server" else fleet

    def step() -> dict[str, t.Any]:
        result = side.run(*([OURS] if usage == "server" else []), grace_days=0)
        trusted = side.certificates("ca-bundle.crt") if usage == "client" else []
        chain = side.certificates("clients/curl/client-chain.pem") if usage == "client" else []
        assert {one.issuer for one in chain[-1:]} <= {ca.subject for ca in trusted}
        return result

    def steps() -> None:
        while step()["changed"]:
            pass

    for _killed in kill_at_each_write(side.path, steps, most=60):
        for _run in range(4):
            last = step()
        assert (last["changed"], last["phase"]) == (False, "none")
        assert (side.path / "ca.key").exists()
        assert not (side.path / "next").exists()
