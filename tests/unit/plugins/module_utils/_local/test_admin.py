# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Envoy says of the configuration that it runs; the real one is in test_apply.py."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import admin
from ansible_collections.kyma.mtls.plugins.module_utils._local.admin import Admin

STATS = """cluster_manager.cds.version_text: "aaa"
listener_manager.lds.version_text: "bbb"
sds.kubernetes___kyma-mtls.version_text: ""
"""


@pytest.fixture
def envoy(tmp_path: pathlib.Path) -> Admin:
    return Admin(socket=tmp_path / "admin.sock", log=tmp_path / "envoy.log")


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.unix_http, "get", lambda *_arguments: STATS.encode())


def test_version_depends_on_the_content_only() -> None:
    first = admin.versioned({"resources": [{"a": 1, "b": 2}]}, name="lds")
    second = admin.versioned({"resources": [{"b": 2, "a": 1}]}, name="lds")

    assert first["version_info"] == second["version_info"]
    assert len(first["version_info"]) == 32
    assert admin.version_of({"resources": [{"a": 1}]}, name="lds") != first["version_info"]


def test_nothing_of_one_kind_is_not_nothing_of_another() -> None:
    assert admin.version_of({"resources": []}, name="lds") != admin.version_of({"resources": []}, name="cds")


@pytest.mark.usefixtures("stats")
def test_accepted_versions_are_read(envoy: Admin) -> None:
    assert envoy.accepted_versions() == {"aaa", "bbb", ""}
    assert envoy.runs(["aaa", "bbb"])
    assert not envoy.runs(["aaa", "ccc"])
    envoy.wait_for({"aaa": "cds/cds.json"}, log_offset=0)


def test_silence_is_no_version_and_no_address(envoy: Admin) -> None:
    assert envoy.accepted_versions() is None
    assert envoy.listens_on() == frozenset()
    assert not envoy.runs([])


def test_addresses_are_the_tcp_ones(envoy: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"""{"listener_statuses": [{"local_address": {"pipe": {"path": "/x"}}}, {},
        {"local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 8443}}}]}"""
    monkeypatch.setattr(admin.unix_http, "get", lambda *_arguments: body)

    assert envoy.listens_on() == {"127.0.0.1:8443"}


def test_envoy_that_does_not_answer_is_named_with_its_log(envoy: Admin) -> None:
    with pytest.raises(MtlsError, match=r"Envoy does not answer on .*admin\.sock after 0 seconds\. See .*envoy\.log"):
        envoy.wait_for({"aaa": "cds/cds.json"}, log_offset=0, seconds=0)


@pytest.mark.usefixtures("stats")
def test_what_is_not_taken_up_is_named(envoy: Admin) -> None:
    with pytest.raises(MtlsError, match=r"Envoy did not load lds/lds\.json within 0 seconds"):
        envoy.wait_for({"aaa": "cds/cds.json", "ccc": "lds/lds.json"}, log_offset=0, seconds=0)


@pytest.mark.usefixtures("stats")
def test_rejection_is_told_at_once_with_envoys_reason(envoy: Admin) -> None:
    old = "[warning] gRPC config rejected: something long ago\n"
    envoy.log.write_text(old, encoding="utf-8")
    offset = envoy.log_size()
    with envoy.log.open("a", encoding="utf-8") as log:
        log.write("[warning] config update rejected: first.\n[warning] gRPC config rejected: the last.\n")

    with pytest.raises(MtlsError, match=r"Envoy refused the configuration: the last\. See .*envoy\.log\."):
        envoy.wait_for({"ccc": "lds/lds.json"}, log_offset=offset)


def test_log_that_is_not_there_says_nothing(envoy: Admin) -> None:
    assert envoy.log_size() == 0
    assert envoy.rejection(since=0) == ""


@pytest.mark.usefixtures("stats")
def test_waiting_goes_on_until_envoy_is_ready(envoy: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: t.Iterator[frozenset[str] | None] = iter([None, frozenset(), frozenset({"ccc"})])
    monkeypatch.setattr(envoy, "accepted_versions", lambda: next(answers))

    envoy.wait_for({"ccc": "lds/lds.json"}, log_offset=0)

    assert next(answers, "all were asked for") == "all were asked for"
