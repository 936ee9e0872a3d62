# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists of clients in files: the same in three forms, and refused with the line where something is wrong."""

from __future__ import annotations

import builtins
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils import _client_list as client_list
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.modules import pki

FLEET: list[dict[str, t.Any]] = [
    {"name": "alice", "common_name": "Alice, née Smith", "days": 30, "renew_before": 10},
    {"name": "007", "sans": ["DNS:a.example.com", "URI:spiffe://example.com/007"], "key_type": "ECDSA"},
    {"name": "gone", "state": "absent"},
]
AS_YAML = """\
# clients
- name: alice
  common_name: Alice, née Smith
  days: 30
  renew_before: 10

- {name: "007", sans: ["DNS:a.example.com", "URI:spiffe://example.com/007"], key_type: ECDSA}
- name: gone
  state: absent
"""
AS_CSV = """\
name,common_name,days,renew_before,sans,key_type,state
alice,"Alice, née Smith",30,10,,,
007,,,,DNS:a.example.com URI:spiffe://example.com/007,ECDSA,

gone,,,,,,absent
"""


def read(tmp_path: Path, text: str | bytes, name: str) -> list[dict[str, t.Any]]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return client_list.read_client_list(str(path))


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("fleet.yml", AS_YAML, [2, 7, 8]),
        ("fleet.yaml", "﻿" + AS_YAML, [2, 7, 8]),
        ("fleet.json", json.dumps(FLEET, indent=2), [2, 8, 16]),
        ("fleet.json", json.dumps(FLEET), [1, 1, 1]),
        ("fleet.CSV", AS_CSV, [2, 3, 5]),
        ("fleet.csv", "﻿" + AS_CSV.replace("Alice, née", "Alice| née").replace(",", ";").replace("|", ","), [2, 3, 5]),
        ("fleet.csv", AS_CSV.replace("\n", "\r\n"), [2, 3, 5]),
    ],
)
def test_the_same_list_in_every_form(tmp_path, name, text, lines):
    found = read(tmp_path, text, name)
    assert [entry.pop("origin") for entry in found] == [f"line {line} of {tmp_path / name}" for line in lines]
    assert found == FLEET


@pytest.mark.parametrize(("name", "text"), [("a.yml", ""), ("a.yml", "[]"), ("a.json", " [ ] \n"), ("a.csv", "name\n")])
def test_an_empty_list_has_nobody(tmp_path, name, text):
    assert read(tmp_path, text, name) == []


WRONG = {
    "a yaml that is none": ("a.yml", "- name: a\n- name: [\n", "Line 3 of the list"),
    "a mapping": ("a.yml", "# x\nclients:\n  - name: a\n", "is not a list (line 2)"),
    "a yaml tag": ("a.yml", "- name: a\n- name: !vault x\n", "Line 2 of the list"),
    "an impossible date": ("a.yml", "- name: a\n- name: 2026-02-31\n", "Line 2 of the list"),
    "a truth that is none": ("a.yml", "- name: a\n- name: !!bool maybe\n", "Line 2 of the list"),
    "a number without digits": ("a.yml", "- name: a\n- days: !!int ''\n", "Line 2 of the list"),
    "a time that is none": ("a.yml", "- name: a\n- name: !!timestamp soon\n", "Line 2 of the list"),
    "a hyphen too few": ("a.yml", "- name: a\n- name: b\n  name: c\n", "line 2 of the list"),
    "a brace too few": ("a.json", '[{"name": "a"},\n{"name": "b", "name": "c"}]', "line 2 of the list"),
    "too many digits in json": ("a.json", f'[{{"name": "a", "days": {"9" * 5000}}}]', "days is not a whole number"),
    "too many digits in csv": ("a.csv", f"name,days\na,{'9' * 5000}\n", "days is not a whole number"),
    "a text": ("a.yml", "- name: a\n- b\n", "Line 2: this is not a client"),
    "a number as name": ("a.yml", "- name: a\n- name: 007\n", "Line 2: name is not text (put it in quotes)"),
    "a truth as name": ("a.yml", "- name: yes\n", "Line 1: name is not text (put it in quotes)"),
    "no name": ("a.yml", "- name: a\n-\n  days: 3\n", "Line 3: the client has no name"),
    "a name twice": ("a.yml", "- name: a\n- name: b\n- name: a\n", "Line 3 (a): line 1 has this name already"),
    "a truth as days": ("a.yml", "- {name: a, days: true}\n", "Line 1 (a): days is not a whole number"),
    "text as days": ("a.json", '[\n{"name": "a", "days": "3"}]', "Line 2 (a): days is not a whole number"),
    "an unknown field": (
        "a.json",
        '[{"name": "a"},\n\n{"name": "b", "dayz": 3}]',
        "Line 3 (b): there is no field dayz",
    ),
    "an unknown part": ("a.yml", "- {name: a, p12: {pass: b}}\n", "there is no field p12.pass"),
    "a part of another kind": ("a.yml", "- {name: a, p12: {password: 3}}\n", "p12.password is not text"),
    "names that are one text": ("a.json", '[{"name": "a", "sans": "DNS:a"}]', "sans is not a list of text"),
    "a list with a number": ("a.json", '[{"name": "a", "sans": [1]}]', "sans is not a list of text"),
    "a subject of text": ("a.json", '[{"name": "a", "subject": ["CN"]}]', "subject is not a list of dictionaries"),
    "a choice": ("a.csv", "name,state\na,gone\n", "Line 2 (a): state is none of present, absent"),
    "a json that is none": ("a.json", '[{"name": "a"},\n{"name": }]', "Line 2 of the list"),
    "a json without comma": ("a.json", '[{"name": "a"}\n{"name": "b"}]', "Line 2 of the list"),
    "a json with an open end": ("a.json", '[{"name": "a"}\n', "a comma is missing"),
    "a json with more behind": ("a.json", '[{"name": "a"}]\n]', "there is more behind the list"),
    "a json mapping": ("a.json", '{"a": 1}', "it is not a list"),
    "a deep json": ("a.json", "[" * 200_000, "nested too deeply"),
    "no text": ("a.json", b'[{"name": "a"},\n{"name": "\xff"}]', "is not UTF-8 (line 2)"),
    "an unknown column": ("a.csv", "name,dayz\na,3\n", "has 'dayz'"),
    "a column twice": ("a.csv", "name,days,name\na,3,b\n", "has 'name'"),
    "a secret column": ("a.csv", "name,key_passphrase\na,secret\n", "use YAML or JSON"),
    "no column name": ("a.csv", "common_name\na\n", "has no column name"),
    "a cell too many": ("a.csv", "name,days\na,3\nb,3,4\n", "Line 3 of the list of clients"),
    "an open quote": ("a.csv", 'name\na\n"b\n', "Line 3 of the list of clients"),
    "text in a number's column": (
        "a.csv",
        'name,days\na,3\n"b\nc",3\nd,-3\n',
        "Line 5 (d): days is not a whole number",
    ),
    "another ending": ("a.txt", "a", "none of the endings"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_line(tmp_path, case):
    name, text, words = WRONG[case]
    with pytest.raises(MtlsError) as raised:
        read(tmp_path, text, name)
    assert words in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_a_key_in_the_home_of_nobody_is_left_to_be_found_missing(tmp_path):
    (client,) = read(tmp_path, "name,key\na,~nobody-of-that-name/a.key\n", "a.csv")
    assert client["key"] == "~nobody-of-that-name/a.key"


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MtlsError, match=r"list of clients .*fleet\.csv"):
        client_list.read_client_list(str(tmp_path / "fleet.csv"))


def test_of_very_many_problems_the_first_are_shown(tmp_path):
    with pytest.raises(MtlsError, match=r"Line 21 .*There are 30 more\. Nothing was changed") as raised:
        read(tmp_path, "name,state\n" + "".join(f"c{number},no\n" for number in range(50)), "a.csv")
    assert "Line 22" not in str(raised.value)


def test_more_clients_than_can_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(client_list, "MAX_CLIENTS", 2)
    with pytest.raises(MtlsError, match="It has 3 clients"):
        read(tmp_path, AS_CSV, "a.csv")


def test_without_pyyaml_the_other_forms_are_named(tmp_path, monkeypatch):
    found = builtins.__import__

    def without(name: str, *rest: t.Any) -> t.Any:
        if name == "yaml":
            raise ImportError
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert len(read(tmp_path, AS_CSV, "a.csv")) == 3
    with pytest.raises(MtlsError, match="PyYAML is missing on the target host"):
        read(tmp_path, AS_YAML, "a.yml")


def test_the_fields_are_those_of_the_module():
    options = pki.argument_spec()["certificates"]["options"]
    del options["key_is_elsewhere"]  # what a role says of clients whose certificates come from an external issuer
    kinds = {"str": str, "path": str, "int": int, "list": list, "dict": dict}

    def told(spec: t.Mapping[str, t.Any]) -> tuple[t.Any, ...]:
        return kinds[spec["type"]], tuple(spec.get("choices", ()))

    assert {name: field[0:3:2] for name, field in client_list.FIELDS.items()} == {
        name: told(spec) for name, spec in options.items()
    }
    assert set(client_list.FIELDS["p12"].parts) == set(options["p12"]["options"])
