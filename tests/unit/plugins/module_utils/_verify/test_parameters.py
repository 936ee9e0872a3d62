# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options: what a user says is read and checked before the first connection."""

from __future__ import annotations

import shlex
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify import check_mode
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import BY_ID, REFUSALS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import (
    read_options,
    read_target,
    select_checks,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report import next_steps
from ansible_collections.kyma.mtls.tests.servers.pki import Pki
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters


@pytest.mark.parametrize(
    ("url", "connect_to", "address", "authority", "path"),
    [
        ("https://a.test", None, ("a.test", 443), "a.test", "/"),
        ("https://a.test:8443/x?y=z", None, ("a.test", 8443), "a.test:8443", "/x?y=z"),
        ("https://a.test/ä b", "127.0.0.1:1", ("127.0.0.1", 1), "a.test", "/%C3%A4%20b"),
        ("https://[::1]:44/", "[fe80::1]:2", ("fe80::1", 2), "[::1]:44", "/"),
        ("https://bücher.test/", None, ("xn--bcher-kva.test", 443), "xn--bcher-kva.test", "/"),
    ],
)
def test_targets(url: str, connect_to: str | None, address: tuple[str, int], authority: str, path: str) -> None:
    target = read_target(url, connect_to)
    assert (target.address, target.authority, target.path) == (address, authority, path)


@pytest.mark.parametrize(
    ("url", "connect_to"),
    [
        ("http://a.test", None),
        ("https://", None),
        ("a.test", None),
        ("https://a.test:99999", None),
        ("https://me:secret@a.test", None),
        ("https://a.test", "127.0.0.1"),
        ("https://a.test", "127.0.0.1:0"),
        ("https://a.test", "127.0.0.1:70000"),
        ("https://a.test", "a:b:1"),
    ],
)
def test_wrong_targets_are_refused_without_repeating_a_password(url: str, connect_to: str | None) -> None:
    with pytest.raises(MtlsError) as caught:
        read_target(url, connect_to)
    assert "secret" not in str(caught.value)


def test_checks_are_selected_by_id() -> None:
    assert select_checks(None, None) == set(BY_ID)
    assert select_checks(["MV-24", "MV-25"], ["MV-25"]) == {"MV-24"}
    with pytest.raises(MtlsError, match="no check MV-99"):
        select_checks(["MV-99"], None)
    with pytest.raises(MtlsError, match="exclude each other"):
        select_checks(["MV-24"], ["MV-24"])
    assert set(BY_ID) >= REFUSALS


def test_every_check_is_documented_with_its_source() -> None:
    readme = Path(__file__).resolve().parents[5] / "roles" / "verify" / "README.md"
    text = readme.read_text()
    for entry in BY_ID.values():
        assert f"| {entry.id} | {entry.title} | {entry.expected} | {entry.source} |" in text


def test_a_foreign_key_is_refused_before_any_connection(pki: Pki) -> None:
    with pytest.raises(MtlsError, match="does not belong to its certificate"):
        read_options(parameters(pki, "127.0.0.1:1", client_key=pki.server.key_file))


def test_a_missing_file_is_named(pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(MtlsError, match=r"missing\.crt does not exist"):
        read_options(parameters(pki, "127.0.0.1:1", client_cert=str(tmp_path / "missing.crt")))
    with pytest.raises(MtlsError, match=r"missing\.key does not exist"):
        read_options(parameters(pki, "127.0.0.1:1", client_key=str(tmp_path / "missing.key")))


def test_a_client_ca_key_of_another_ca_is_refused(pki: Pki) -> None:
    with pytest.raises(MtlsError, match="belongs to none of the certificates"):
        read_options(parameters(pki, "127.0.0.1:1", client_ca_key=pki.server_ca.key_file))


@pytest.mark.parametrize("changes", [{"timeout": 0.0}, {"timeout": -1.0}, {"wait_for": -1.0}, {"concurrency": 0}])
def test_numbers_without_sense_are_refused(changes: dict[str, t.Any], pki: Pki) -> None:
    with pytest.raises(MtlsError, match="but must be"):
        read_options(parameters(pki, "127.0.0.1:1", **changes))


@pytest.mark.parametrize("changes", [{"method": "GET / HTTP/1.1\r\nX: y"}, {"identity_headers": {"X\r\nY": "z"}}])
def test_nothing_can_be_smuggled_into_the_request(changes: dict[str, t.Any], pki: Pki) -> None:
    with pytest.raises(MtlsError):
        read_options(parameters(pki, "127.0.0.1:1", **changes))


def test_pkcs12_gives_the_same_client(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "client.p12"
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"client", pki.client.key, pki.client.certificate, None, serialization.BestAvailableEncryption(b"changeit")
        )
    )
    given = {"client_cert": None, "client_key": None, "client_p12": str(path), "client_p12_password": "changeit"}
    found = read_options(parameters(pki, "127.0.0.1:1", **given))
    assert found.client.certificate == pki.client.certificate
    assert "PRIVATE" not in repr(found)
    with pytest.raises(MtlsError, match="password is wrong"):
        read_options(parameters(pki, "127.0.0.1:1", **{**given, "client_p12_password": "wrong"}))


def test_a_listed_client_that_cannot_be_read_is_a_case_not_a_crash(pki: Pki, tmp_path: Path) -> None:
    listed = {"name": "ghost", "cert": str(tmp_path / "x"), "key": None, "key_passphrase": None, "expect": "accepted"}
    found = read_options(parameters(pki, "127.0.0.1:1", clients=[listed]))
    assert found.clients[0].identity is None
    assert "does not exist" in found.clients[0].problem


def test_check_mode_asks_what_is_missing(pki: Pki, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    found = check_mode.missing(parameters(pki, address, ca=[str(tmp_path / "ca.crt")]))
    assert found is not None
    assert "ca.crt does not exist yet" in found
    found = check_mode.missing(parameters(pki, address))
    assert found is not None
    assert "nothing listens" in found


def test_the_curl_command_can_be_pasted(pki: Pki) -> None:
    given = parameters(pki, "127.0.0.1:8443", client_cert="/a b/it's:me.crt", client_key="/a b/k", ca=["/c d/ca.crt"])
    command = next_steps.curl_command(given, read_target("https://a.test/headers", "127.0.0.1:8443"))
    assert command == (
        "curl --fail --connect-to ::127.0.0.1:8443 --noproxy '*' --cacert '/c d/ca.crt' "
        """--cert '/a b/it'"'"'s\\:me.crt' --key '/a b/k' https://a.test/headers"""
    )


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://a.test/'; touch injected; '", "https://a.test/';%20touch%20injected;%20'"),
        ("https://a.test/$(touch injected)`x`", "https://a.test/$(touch%20injected)%60x%60"),
        ('https://a.test/?q="&a=\\|', "https://a.test/?q=%22&a=%5C%7C"),
        ("https://a.test/{a,b}?[1-3]", "https://a.test/%7Ba,b%7D?%5B1-3%5D"),
        ("https://[::1]:8443/", "https://[::1]:8443/"),
        ("https://a.test./", "https://a.test./"),
    ],
)
def test_no_url_is_more_than_one_word_of_the_curl_command(pki: Pki, url: str, sent: str) -> None:
    command = next_steps.curl_command(parameters(pki, "127.0.0.1:1"), read_target(url, "127.0.0.1:1"))
    assert shlex.split(command)[-1] == sent
    assert shlex.join(shlex.split(command)) == command


@pytest.mark.parametrize(
    ("url", "host", "authority"),
    [
        ("https://b\u00fccher.test/", "xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("https://B\u00dcCHER.test/", "xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("https://stra\u00dfe.test/", "xn--strae-oqa.test", "xn--strae-oqa.test"),
        ("https://\u03c3\u03c9\u03bb\u03b9\u03c2.test/", "xn--uxadwb4a.test", "xn--uxadwb4a.test"),
        ("https://b\u00fccher\u3002test/", "xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("https://a.test./", "a.test", "a.test."),
        ("https://b\u00fccher.test.:444/", "xn--bcher-kva.test", "xn--bcher-kva.test.:444"),
    ],
)
def test_a_host_is_named_as_browsers_and_curl_name_it(url: str, host: str, authority: str) -> None:
    target = read_target(url, "127.0.0.1:1")
    assert (target.host, target.authority) == (host, authority)


@pytest.mark.parametrize("host", ["\u00fc..test", "-\u00fc.test", "\u2764.test", "\u00fc" * 64 + ".test"])
def test_a_host_that_idna_does_not_allow_is_refused_by_name(host: str) -> None:
    with pytest.raises(MtlsError, match="is not a host name"):
        read_target(f"https://{host}/", None)
