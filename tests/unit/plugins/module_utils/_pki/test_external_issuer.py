# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an external issuer has issued: checked as what is provided, recorded with its issuer, and then published."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import system_roots
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.corporate import (
    SERVER,
    Corporate,
    corporate_server,
    make_corporate,
    provided,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import Side, client


def records(side: Side) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in (side.path / "issued.jsonl").read_text().splitlines()]


def outside(corporate: Corporate, **changes: t.Any) -> dict[str, t.Any]:
    return provided(corporate.ca, provider="acme") | changes


def test_a_server_certificate_is_recorded_with_its_issuer_once(tmp_path: Path, corporate: Corporate) -> None:
    side = corporate_server(tmp_path, corporate, provided=outside(corporate))
    first = side.run(corporate.server())
    assert f"Write {side.path / 'server.crt'} from what is issued by acme." in first["actions"]
    (entry,) = records(side)
    assert (entry["provider"], entry["name"], entry["usage"]) == ("acme", "server", "server")
    assert int(entry["serial_number"], 16) == side.one("server.crt").serial_number
    assert not side.run(corporate.server())["changed"]
    corporate.issuing.run(corporate.issuing.client("server", usage="server", rekey=True, **SERVER))
    side.run(corporate.server())
    assert len(records(side)) == 2


def test_clients_certificates_are_recorded_with_their_issuer(tmp_path: Path, corporate: Corporate) -> None:
    both = corporate.ca + corporate.intermediate
    side = client(tmp_path, provided=outside(corporate, provider="cert_manager", ca=both))
    side.run(corporate.client())
    (entry,) = records(side)
    assert (entry["provider"], entry["name"], entry["usage"]) == ("cert_manager", "curl", "client")


def test_an_external_issuer_beside_the_key_of_a_ca_is_refused(tmp_path: Path, corporate: Corporate) -> None:
    # Every run would take the other's files away.
    side = client(tmp_path / "new", provided=outside(corporate, ca_key_content="a key"))
    with pytest.raises(MtlsError, match="provided has the key of a CA, but the external issuer acme as its provider"):
        side.run()
    assert not side.path.exists()


def test_what_is_issued_here_is_recorded_as_ours(tmp_path: Path) -> None:
    side = client(tmp_path)
    side.run()
    assert {entry["provider"] for entry in records(side)} == {"self_signed"}


def test_the_issuer_may_change_its_root(tmp_path: Path, corporate: Corporate) -> None:
    side = corporate_server(tmp_path, corporate, provided=outside(corporate))
    side.run(corporate.server())
    (tmp_path / "next").mkdir()
    following = make_corporate(tmp_path / "next")
    side.run(following.server(), provided=outside(following))
    assert side.one("ca.crt") == following.home.certificate
    assert not side.run(following.server(), provided=outside(following))["changed"]


def test_the_key_may_stay_elsewhere(tmp_path: Path, corporate: Corporate) -> None:
    side = corporate_server(tmp_path, corporate, provided=outside(corporate))
    side.run(corporate.server())
    without = corporate.server(key=None, key_is_elsewhere=True)
    moved = side.run(without)
    assert any(action.startswith(f"Move {side.path / 'server.key'} to") for action in moved["actions"])
    assert not (side.path / "server.key").exists()
    assert [path.name for path in (side.path / "replaced").rglob("*.key")] == ["server.key"]
    assert not side.run(without)["changed"]
    with pytest.raises(MtlsError, match="key of server in certificates is missing"):
        side.run(corporate.server(key=None))


def test_what_cannot_be_proven_is_neither_recorded_nor_published(tmp_path: Path, corporate: Corporate) -> None:
    side = corporate_server(tmp_path, corporate, provided=outside(corporate))
    side.run(corporate.server())
    before = side.tree()
    (tmp_path / "other").mkdir()
    other = make_corporate(tmp_path / "other")
    for wrong in (other.server(), corporate.server(key=other.server()["key"]), corporate.server(chain=None)):
        with pytest.raises(MtlsError, match="Nothing was changed"):
            side.run(wrong)
        assert side.tree() == before


def test_the_roots_are_those_of_the_system_unless_they_are_named(
    tmp_path: Path, corporate: Corporate, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "system.pem"
    roots.write_text(corporate.ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    side = corporate_server(tmp_path, corporate, provided=outside(corporate, ca=None))
    side.run(corporate.server())
    assert side.one("ca.crt") == corporate.home.certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere"))
    monkeypatch.setattr(system_roots, "_BUNDLES", ())
    with pytest.raises(MtlsError, match="Install the package ca-certificates"):
        side.run(corporate.server())
