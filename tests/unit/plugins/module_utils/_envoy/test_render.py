# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rendered files."""

from __future__ import annotations

import base64
import dataclasses
import json
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import render
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import (
    SETTINGS,
    make_gateway,
    translated,
)


def walk(value: t.Any) -> t.Iterator[tuple[str, t.Any]]:
    """Every key and value inside ``value``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def test_there_is_one_file_a_resource_type_and_route_configuration() -> None:
    assert sorted(render.files(translated())) == [
        "bootstrap.json",
        "cds/cds.json",
        "lds/lds.json",
        "rds/https.443.mtls.kyma-mtls-gateway.test/rds.json",
        "rds/inbound-http-httpbin-test-23af24750b5d/rds.json",
    ]


def test_every_watched_directory_is_that_of_its_file() -> None:
    sources = [value for key, value in walk(render.files(translated())) if key == "path_config_source"]

    assert len(sources) >= 7
    for source in sources:
        assert source["path"].startswith(f"{SETTINGS.directory}/")
        assert source["watched_directory"]["path"] == source["path"].rpartition("/")[0]


def test_the_only_tcp_port_is_the_gateways() -> None:
    documents = render.files(translated())
    addresses = [value for document in documents.values() for key, value in walk(document) if key == "socket_address"]

    assert addresses == [{"address": "127.0.0.1", "port_value": 20543}]
    assert render.bootstrap(translated())["admin"]["address"]["pipe"] == {
        "path": "/home/me/s/admin.sock",
        "mode": 0o600,
    }


def test_no_second_envoy_can_share_the_port() -> None:
    assert translated().listeners[0]["enable_reuse_port"] is False


def test_secrets_are_inline() -> None:
    certificate = render.sds_certificate("kubernetes://a", b"chain", b"key")["resources"][0]
    trusted = render.sds_validation("kubernetes://a-cacert", b"ca")["resources"][0]
    with_list = render.sds_validation("kubernetes://a-cacert", b"ca", b"crl")["resources"][0]

    assert certificate["name"] == "kubernetes://a"
    assert base64.b64decode(certificate["tls_certificate"]["private_key"]["inline_bytes"]) == b"key"
    assert base64.b64decode(trusted["validation_context"]["trusted_ca"]["inline_bytes"]) == b"ca"
    assert "crl" not in trusted["validation_context"]
    assert base64.b64decode(with_list["validation_context"]["crl"]["inline_bytes"]) == b"crl"


def test_the_static_form_touches_nothing_of_a_running_envoy() -> None:
    configuration = translated()
    before = json.dumps(dataclasses.asdict(configuration))
    static = render.static_bootstrap(configuration, {"ROOTCA": render.sds_validation("ROOTCA", b"ca")})
    text = json.dumps(static)

    assert "admin" not in static
    assert SETTINGS.directory not in text
    assert [item["name"] for item in static["static_resources"]["secrets"]] == ["ROOTCA"]
    assert {item["address"]["socket_address"]["port_value"] for item in static["static_resources"]["listeners"]} == {0}
    assert "dynamic_resources" not in static
    assert json.dumps(dataclasses.asdict(configuration)) == before


def test_the_static_form_has_the_routes() -> None:
    routes = [value for key, value in walk(render.static_bootstrap(translated(), {})) if key == "route_config"]

    assert {route["name"] for route in routes} == {
        "https.443.mtls.kyma-mtls-gateway.test",
        "inbound|http||httpbin.test",
    }


def test_the_bootstrap_does_not_change_with_the_objects() -> None:
    assert render.bootstrap(translated()) == render.bootstrap(translated([make_gateway()]))
