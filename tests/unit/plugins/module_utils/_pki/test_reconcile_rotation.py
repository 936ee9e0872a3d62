# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA's rotation by the states of one side, and a rotation that was interrupted."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, NOW
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    Side,
    client,
    openssl_accepts,
    server,
)

MIDDLE = {"subject": [{"CN": "Test Intermediate"}], "days": 1825}
STATES = ("prepared", "switched", "finished")


def accepted_by(side: Side, anchor: str) -> bool:
    """Whether a client that trusts ``anchor`` alone accepts the chain that is served."""
    chain = str(side.path / "server-chain.pem")
    return openssl_accepts(side.path / anchor, side.path / "server.crt", "-untrusted", chain)


@pytest.mark.parametrize("middle", [None, MIDDLE], ids=["root", "intermediate"])
def test_the_servers_ca_step_by_step(tmp_path: Path, middle: dict[str, object] | None) -> None:
    side = server(tmp_path, intermediate=middle, grace_days=30)
    side.run()
    old = side.one("ca.crt")
    shutil.copy(side.path / "ca.crt", tmp_path / "old.crt")

    predicted = side.run(state="prepared", check_mode=True)
    assert "Create the next server root CA in" in predicted["actions"][0]
    assert not (side.path / "next").exists()
    prepared = side.run(state="prepared")
    assert (prepared["changed"], prepared["phase"]) == (True, "prepared")
    assert accepted_by(side, "ca.crt")
    assert accepted_by(side, "next/ca.crt")
    assert not side.run(state="prepared")["changed"]
    new = side.one("next/ca.crt")

    assert side.run(state="switched", check_mode=True)["phase"] == "overlap"
    switched = side.run(state="switched")
    assert (switched["phase"], side.one("ca.crt")) == ("overlap", new)
    assert accepted_by(side, "ca.crt")
    assert openssl_accepts(
        tmp_path / "old.crt", side.path / "server.crt", "-untrusted", str(side.path / "server-chain.pem")
    )
    # The grace period: nothing to do, whatever is asked for.
    for state in ("present", *STATES):
        again = side.run(state=state)
        assert (again["changed"], again["phase"]) == (False, "overlap"), state
    assert (again["is_finished"], again["until"][:10]) == (False, "2026-12-23")

    late = NOW + 31 * DAY
    assert "Retire the previous CA" in side.run(now=late, check_mode=True)["actions"][0]
    assert "Retire the previous CA" in side.run(now=late)["actions"][0]
    assert len(side.certificates("server-chain.pem")) == (2 if middle is None else 3)
    assert not side.run(now=late)["changed"]
    (retired,) = (side.path / "retired").iterdir()
    assert side.one(f"retired/{retired.name}/ca.crt") == old


def test_the_clients_ca_step_by_step(tmp_path: Path) -> None:
    side = client(tmp_path)
    side.run()
    side.run(state="revoked", revoke=["curl"], rekey=["curl"])
    old = side.one("ca.crt")
    side.run(state="prepared")
    new = side.one("next/ca.crt")
    assert side.certificates("ca-bundle.crt") == [old, new]
    assert (side.path / "ca.crl").read_text().count("BEGIN") == 2
    assert side.run(state="switched")["changes"][0]["action"] == "reissue"
    side.one("clients/curl/client.crt").verify_directly_issued_by(new)
    finished = side.run(state="finished")
    assert (finished["is_finished"], finished["left_behind"]) == (True, [])
    assert side.certificates("ca-bundle.crt") == [new]
    assert (side.path / "ca.crl").read_text().count("BEGIN") == 1
    for state in ("present", "finished"):
        assert not side.run(state=state)["changed"]


@pytest.mark.parametrize("make", [server, client])
def test_an_intermediate_goes_with_its_root_when_the_next_ca_has_none(tmp_path: Path, make: type[Side]) -> None:
    side = make(tmp_path, intermediate=MIDDLE)
    side.run()
    old = {name: data for name, data in side.tree().items() if name.startswith("intermediate")}
    for state in ("prepared", "switched"):
        side.run(state=state, intermediate=None)
    assert not list(side.path.glob("intermediate*"))
    assert {name: side.tree()[f"previous/{name}"] for name in old} == old
    for _run in range(2):
        side.run(intermediate=None)
    # With an intermediate again it is a new one, below the new root.
    side.run()
    side.one("intermediate.crt").verify_directly_issued_by(side.one("ca.crt"))
    assert side.tree()["intermediate.key"] != old["intermediate.key"]
    leaf = side.path / ("server-chain.pem" if make is server else "clients/curl/client-chain.pem")
    assert openssl_accepts(side.path / "ca.crt", leaf, "-untrusted", str(leaf))


def test_an_exchange_killed_before_the_old_intermediate_went_is_completed(tmp_path: Path) -> None:
    side = server(tmp_path, intermediate=MIDDLE)
    side.run()
    side.run(state="prepared", intermediate=None)
    # As a run leaves it that was killed when all was copied.
    shutil.copytree(side.path, side.path / "previous", ignore=shutil.ignore_patterns("next", "previous"))
    for name in ("ca.key", "ca.crt"):
        shutil.copy(side.path / "next" / name, side.path / name)
    side.run(intermediate=None)
    assert not list(side.path.glob("intermediate*"))
    assert not side.run(intermediate=None)["changed"]


def test_who_is_left_behind_keeps_the_old_ca(tmp_path: Path) -> None:
    side = client(tmp_path)
    side.run({"name": "curl"}, {"name": "former"})
    for state in ("prepared", "switched"):
        side.run({"name": "curl"}, state=state)
    waiting = side.run({"name": "curl"}, state="finished")
    assert (waiting["is_finished"], waiting["left_behind"], waiting["changed"]) == (False, ["former"], False)
    assert not side.run({"name": "curl"}, state="prepared")["changed"]  # no other rotation while this one lasts
    assert side.run({"name": "curl"}, {"name": "former"})["changes"][0]["name"] == "former"
    assert side.run({"name": "curl"})["phase"] == "none"


@pytest.mark.parametrize("make", [server, client])
def test_a_run_says_what_it_did_and_check_mode_what_would_be_done(tmp_path: Path, make: type[Side]) -> None:
    side = make(tmp_path)
    side.run()
    for state in (*STATES, "prepared again"):
        if state == "prepared again":  # the next CA has been made, and a killed run did not get on
            side.run(state="prepared")
            (side.path / "next/cross.crt").unlink(missing_ok=True)
            if side.usage == "client":
                shutil.copy(side.path / "ca.crt", side.path / "ca-bundle.crt")
        predicted = side.run(state=state.split()[0], check_mode=True)
        done = side.run(state=state.split()[0])
        assert predicted["actions"] or state == "prepared again", state
        assert done["actions"], state


@pytest.mark.parametrize("make", [server, client])
def test_check_mode_predicts_what_the_run_does_in_every_phase(tmp_path: Path, make: type[Side]) -> None:
    side = make(tmp_path)
    side.run()
    for reached in (None, *STATES):
        if reached is not None:
            side.run(state=reached)
        for state in ("present", *STATES):
            twin = dataclasses.replace(side, path=tmp_path / f"{reached}-{state}" / side.usage)
            shutil.copytree(side.path, twin.path)
            predicted = twin.run(state=state, check_mode=True)
            assert twin.tree() == side.tree()
            done = twin.run(state=state)
            assert [predicted[one] for one in ("changed", "phase")] == [done[one] for one in ("changed", "phase")], (
                reached,
                state,
            )


@pytest.mark.parametrize("make", [server, client])
@pytest.mark.parametrize("state", ["present", *STATES])
def test_an_exchange_that_was_interrupted_is_predicted_and_completed(
    tmp_path: Path, make: type[Side], state: str
) -> None:
    side = make(tmp_path, intermediate=MIDDLE)
    side.run()
    side.run(state="prepared")
    # As a run leaves it that was killed when it had copied half of the new CA's files.
    shutil.copytree(side.path, side.path / "previous", ignore=shutil.ignore_patterns("next", "previous", "clients"))
    for name in ("intermediate.key", "intermediate.crt"):
        shutil.copy(side.path / "next" / name, side.path / name)
    new, before = side.one("next/ca.crt"), side.tree()
    predicted = side.run(state=state, check_mode=True)
    assert "into use" in predicted["actions"][0]
    assert side.tree() == before
    done = side.run(state=state)
    assert side.one("ca.crt") == new
    assert done["phase"] == ("none" if make is server and state != "switched" else "overlap")
    for _run in range(2):  # one to give clients new certificates, the next to retire the CA of the ones before
        side.run()
    settled = side.run()
    assert (settled["changed"], settled["phase"]) == (False, "none")
    assert side.one("ca.crt") == new


@pytest.mark.parametrize("other", ["next", "previous"])
def test_a_lost_bundle_is_made_again_of_both_cas(tmp_path: Path, other: str) -> None:
    side = client(tmp_path, grace_days=30)
    side.run()
    for state in ("prepared", "switched")[: 1 if other == "next" else 2]:
        side.run(state=state)
    before = set(side.certificates("ca-bundle.crt"))
    (side.path / "ca-bundle.crt").write_text("garbage")
    with pytest.raises(MtlsError, match=r"Remove .* to have it written again with the existing CAs, then add"):
        side.run()
    (side.path / "ca-bundle.crt").unlink()
    why = f"again of {side.path / 'ca.crt'}, {side.path / other / 'ca.crt'}. Add further CAs that were in it again"
    assert why in side.run(check_mode=True)["actions"][0]
    assert why in side.run()["actions"][0]
    assert set(side.certificates("ca-bundle.crt")) == before
    assert len(before) == 2
    assert not side.run()["changed"]


def test_a_bundle_that_is_lost_when_the_old_ca_ends_is_made_of_the_new_one(tmp_path: Path) -> None:
    side = client(tmp_path, grace_days=30)
    for state in ("present", "prepared", "switched"):
        side.run(state=state)
    late = NOW + 31 * DAY
    (side.path / "ca-bundle.crt").write_text("garbage")
    with pytest.raises(MtlsError, match=r"Remove .* to have it written again with the existing CAs, then add"):
        side.run(now=late)
    (side.path / "ca-bundle.crt").unlink()
    assert side.run(now=late)["phase"] == "none"
    assert side.certificates("ca-bundle.crt") == side.certificates("ca.crt")


def test_a_rotation_that_cannot_begin_makes_no_ca(tmp_path: Path) -> None:
    for make, gone in ((server, "ca.key"), (client, "ca-bundle.crt"), (server, "ca.crt")):
        side = make(tmp_path / gone)
        side.run()
        (side.path / gone).unlink()
        with pytest.raises(MtlsError, match=f"{gone} does not exist"):
            side.run(state="prepared")
        assert not (side.path / "next").exists()


def test_a_next_ca_that_is_not_the_one_specified_is_refused(tmp_path: Path) -> None:
    side = server(tmp_path)
    side.run()
    side.run(state="prepared")
    shutil.copy(side.path / "ca.key", side.path / "next/ca.key")
    before = side.tree()
    with pytest.raises(MtlsError, match=r"of the next server root CA, .* does not belong to the key"):
        side.run(state="prepared")
    assert side.tree() == before


@pytest.mark.parametrize(("make", "state"), [(client, "finished"), (client, "revoked"), (server, "revoked")])
def test_where_there_is_no_pki_and_nothing_to_do_no_directory_appears(
    tmp_path: Path, make: type[Side], state: str
) -> None:
    assert not make(tmp_path / "new/side").run(state=state)["changed"]
    assert not (tmp_path / "new").exists()
