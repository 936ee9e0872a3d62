# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The register: only appended to, never losing a line, forgiving what a crash leaves."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import read_register
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import Home


def test_every_issue_is_recorded_with_what_it_takes_to_revoke_it(home: Home) -> None:
    result = home.run(home.client(sans=["URI:spiffe://example.com/curl"], organization="Org"))
    (line,) = home.register.read_text().splitlines()
    entry = json.loads(line)
    facts = result["certificates"][0]
    for fact in ("name", "serial_number", "subject", "issuer", "sans", "fingerprint_sha256", "not_before", "not_after"):
        assert entry[fact] == facts[fact], fact
    assert entry["event"] == "issued"
    assert entry["usage"] == "client"
    assert entry["reasons"] == ["there is no certificate yet"]
    assert entry["time"] == "2026-11-23T12:00:00Z"


def test_earlier_lines_are_kept_byte_for_byte(home: Home) -> None:
    home.run(home.client("one"))
    before = home.register.read_bytes()
    home.run(home.client("one"), home.client("two"))
    assert home.register.read_bytes().startswith(before)
    assert home.register.read_bytes().count(b"\n") == 2


def test_a_torn_last_line_is_tolerated_and_repaired(home: Home) -> None:
    home.run(home.client())
    whole = home.register.read_bytes()
    home.register.write_bytes(whole + b'{"event": "issued", "serial_num')
    predicted = home.run(home.client(), check_mode=True)
    assert predicted["changed"]
    assert predicted["register"] == {"path": str(home.register), "entries": 1, "was_torn": True}
    assert "torn" in predicted["diff"]["before"]
    assert home.register.read_bytes() != whole
    assert home.run(home.client())["register"]["was_torn"]
    assert home.register.read_bytes() == whole
    assert not home.run(home.client())["changed"]


def test_a_torn_line_gives_way_to_the_next(home: Home) -> None:
    home.run(home.client("one"))
    whole = home.register.read_bytes()
    home.register.write_bytes(whole + whole[:-2])
    home.run(home.client("one"), home.client("two"))
    names = [json.loads(line)["name"] for line in home.register.read_text().splitlines()]
    assert names == ["one", "two"]


def test_a_last_line_that_only_lacks_its_newline_is_kept(home: Home) -> None:
    home.run(home.client("one"))
    whole = home.register.read_bytes()
    home.register.write_bytes(whole[:-1])
    for check_mode in (True, False):
        settled = home.run(home.client("one"), check_mode=check_mode)
        assert (settled["changed"], settled["register"]["was_torn"], settled["register"]["entries"]) == (
            False,
            False,
            1,
        )
    home.run(home.client("one"), home.client("two"))
    assert home.register.read_bytes().startswith(whole)
    names = [json.loads(line)["name"] for line in home.register.read_text().splitlines()]
    assert names == ["one", "two"]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"serial_number": 12}, "its serial_number is not a hexadecimal string"),
        ({"serial_number": "xyz"}, "its serial_number is not a hexadecimal string"),
        ({"serial_number": ["0A"]}, "its serial_number is not a hexadecimal string"),
        ({"serial_number": "1" * 41}, "its serial_number is not a hexadecimal string"),
        ({"serial_number": "f" * 40}, "its serial_number is not one that a revocation list can hold"),
        ({"serial_number": None}, "its serial_number is not one that a revocation list can hold"),
        ({"serial_number": "0"}, "its serial_number is not one that a revocation list can hold"),
        ({"time": "yesterday"}, "its time is not a time like"),
        ({"time": "2026-13-40T12:00:00Z"}, "its time is not a time like"),
        ({"time": "1900-01-01T12:00:00Z"}, "its time is before 1950"),
        ({"time": None}, "its time is not a time like"),
        ({"not_after": "0"}, "its not_after is not a time like"),
        ({"not_after": 5}, "its not_after is not a time like"),
        ({"name": {"a": 1}}, "its name is not text"),
        ({"name": "\ud800"}, "its name is not text"),
        ({"issuer": 7}, "its issuer is not text"),
    ],
)
def test_a_value_that_could_take_a_revocation_back_is_refused(home: Home, values: dict[str, t.Any], why: str) -> None:
    home.run(home.client())
    line = json.loads(home.register.read_text()) | {"event": "revoked"} | values
    with home.register.open("a") as register:
        register.write(f"{json.dumps(line)}\n")
    before = home.register.read_bytes()
    with pytest.raises(MtlsError, match=rf"Line 2 of the register .* is damaged: {why}.* Nothing was changed"):
        home.run(home.client())
    assert home.register.read_bytes() == before


@pytest.mark.parametrize("spelling", [str.lower, "000{}".format])
def test_a_serial_number_is_the_same_in_every_spelling(home: Home, spelling: t.Callable[[str], str]) -> None:
    home.run(home.client())
    entry = json.loads(home.register.read_text())
    entry["serial_number"] = spelling(entry["serial_number"].lstrip("0"))[-40:]
    home.register.write_text(f"{json.dumps(entry)}\n{json.dumps(entry | {'event': 'revoked'})}\n")
    settled = home.run(home.client())
    assert not settled["changed"]
    assert settled["certificates"][0]["is_held"]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"name": "no event"}', '{"event": 1}'])
def test_a_damaged_line_elsewhere_is_refused_by_number(home: Home, line: str) -> None:
    home.run(home.client())
    home.register.write_text(f"\n{line}\n{home.register.read_text()}")
    with pytest.raises(MtlsError, match=r"Line 2 of the register .* is damaged"):
        home.run(home.client())


def test_a_certificate_that_the_register_does_not_know_is_added(home: Home) -> None:
    home.run(home.client())
    home.register.unlink()
    result = home.run(home.client())
    assert home.actions(result) == {"curl": "repair"}
    assert "the register does not list its serial number" in home.reasons(result)
    assert json.loads(home.register.read_text())["event"] == "recorded"
    assert not home.run(home.client())["changed"]


def test_without_a_register_none_is_kept(home: Home) -> None:
    result = home.run(home.client(), register=None)
    assert result["register"] is None
    assert not home.register.exists()
    assert not home.run(home.client(), register=None)["changed"]
    home.run(home.client(state="absent"), register=None)
    assert not home.file(".key").exists()


def test_a_register_may_be_in_a_directory_of_its_own(home: Home) -> None:
    path = home.path / "records/issued.jsonl"
    home.run(home.client(), register=path)
    assert len(read_register(path).entries) == 1


def test_no_certificate_is_delivered_that_could_not_be_recorded(home: Home) -> None:
    (home.path / "in-the-way").symlink_to("/nowhere/at/all")
    with pytest.raises(MtlsError, match="cannot be created"):
        home.run(home.client(), register=home.path / "in-the-way/issued.jsonl")
    assert not home.file(".key").exists()
    assert not home.file(".crt").exists()


def test_a_register_that_cannot_be_read_or_written_fails_by_name(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MtlsError, match=r"The register .* cannot be read"):
        read_register(home.path)

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(MtlsError, match="cannot be written: No space left on device"):
        read_register(home.register).write([{"event": "issued"}])


def test_events_are_known_by_holder_and_serial_number(tmp_path: Path) -> None:
    register = read_register(tmp_path / "issued.jsonl")
    register.write([{"event": "issued", "name": "a", "serial_number": "0A"}])
    register.write([{"event": "removed", "name": "a", "serial_number": "0a"}])
    for one in (register, read_register(tmp_path / "issued.jsonl")):
        assert one.last_event("a", 10) == "removed"
        assert one.last_event("b", 10) is None
        assert one.knows(10)
        assert not one.is_free(10)
        assert one.is_free(11)
