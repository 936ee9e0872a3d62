# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was applied so far, on disk."""

from __future__ import annotations

import json
import pathlib
import stat
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local.store import AppliedState, ObjectStore, object_key

SERVICE = {"kind": "Service", "metadata": {"name": "httpbin", "namespace": "test"}}
STATE = AppliedState(
    objects={object_key(SERVICE): SERVICE},
    secrets={"Secret istio-system/kyma-mtls": {"certificate": {"subject": "CN=x"}}},
    ports={443: 8443},
    workloads={"test/httpbin": {"requirements": "a==1", "command": ["a", "{socket}"]}},
)
EMPTY = AppliedState(objects={}, secrets={}, ports={}, workloads={})


def test_empty_directory_is_an_empty_state(tmp_path: pathlib.Path) -> None:
    assert ObjectStore(tmp_path).load() == EMPTY


def test_state_is_found_again_and_private(tmp_path: pathlib.Path) -> None:
    ObjectStore(tmp_path).save(STATE)

    assert ObjectStore(tmp_path).load() == STATE
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_unchanged_files_are_not_written_again(tmp_path: pathlib.Path) -> None:
    ObjectStore(tmp_path).save(STATE)
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}

    ObjectStore(tmp_path).save(STATE)

    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before


def test_objects_that_are_gone_leave_the_disk(tmp_path: pathlib.Path) -> None:
    ObjectStore(tmp_path).save(STATE)
    ObjectStore(tmp_path).save(EMPTY)

    assert ObjectStore(tmp_path).load() == EMPTY
    assert [path.name for path in tmp_path.iterdir()] == ["platform.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"ports": []}',
        '{"ports": {"https": 8443}}',
        '{"secrets": {"Secret a/b": 1}}',
        '{"workloads": {"test/httpbin": {"command": []}}}',
        '{"workloads": {"test/httpbin": null}}',
    ],
)
def test_damaged_platform_file_is_refused_by_its_path(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "platform.json").write_text(content, encoding="utf-8")

    with pytest.raises(MtlsError, match=r"stored object .*/platform\.json is damaged: .*Remove the file"):
        ObjectStore(tmp_path).load()


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        (SERVICE, "Service_test_httpbin"),
        ({"kind": "Service", "metadata": {"name": "httpbin"}}, "Service_default_httpbin"),
        ({"kind": "Namespace", "metadata": {"name": "test"}}, "Namespace__test"),
    ],
)
def test_object_is_stored_under_kind_namespace_and_name(definition: dict[str, t.Any], key: str) -> None:
    assert object_key(definition) == key


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({}, "is not a Kubernetes object"),
        ({"kind": "Service", "metadata": None}, "is not a Kubernetes object"),
        ({"kind": "Service", "metadata": {"name": 5}}, "is not a Kubernetes object"),
        ({"kind": "../Service", "metadata": {"name": "a"}}, "is not a Kubernetes object"),
        (
            {"kind": "Service", "metadata": {"name": "a", "namespace": "../b"}},
            r"Service a: '\.\./b' is not a Kubernetes name",
        ),
        ({"kind": "Service", "metadata": {"name": "a", "namespace": [1]}}, "is not a Kubernetes name"),
        (
            {"kind": "Secret", "metadata": {"name": "a"}, "data": {"tls.key": "QQ=="}},
            "Secret a is among the definitions",
        ),
    ],
)
def test_what_is_no_object_is_refused(definition: dict[str, t.Any], message: str) -> None:
    with pytest.raises(MtlsError, match=message) as caught:
        object_key(definition)

    assert "QQ==" not in str(caught.value)


def test_stored_objects_can_be_read_by_a_person(tmp_path: pathlib.Path) -> None:
    ObjectStore(tmp_path).save(STATE)

    assert json.loads((tmp_path / "Service_test_httpbin.json").read_text(encoding="utf-8")) == SERVICE
