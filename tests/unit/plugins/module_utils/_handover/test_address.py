# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses: what clients, and browsers, are to ask for."""

from __future__ import annotations

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import read_address
from ansible_collections.kyma.mtls.plugins.module_utils._handover.texts import curl_script, readme


@pytest.mark.parametrize(
    ("url", "connect_to", "target", "browser_url"),
    [
        ("https://www.example.com", None, ("www.example.com", 443), "https://www.example.com"),
        ("https://www.example.com:444/a?b=c", "", ("www.example.com", 444), "https://www.example.com:444/a?b=c"),
        ("https://www.example.com/a", "127.0.0.1:8443", ("127.0.0.1", 8443), "https://www.example.com:8443/a"),
        ("https://www.example.com/a", "localhost:443", ("localhost", 443), "https://www.example.com/a"),
        ("https://www.example.com:444/a", "[::1]:443", ("::1", 443), "https://www.example.com/a"),
    ],
)
def test_an_address_is_read(url: str, connect_to: str | None, target: tuple[str, int], browser_url: str) -> None:
    address = read_address(url, connect_to)
    assert (address.target, address.browser_url) == (target, browser_url)
    assert address.connect_to == (connect_to or "")


def test_an_international_host_is_written_as_browsers_and_curl_write_it() -> None:
    address = read_address("https://stra\u00dfe.test:444/a?b=c", None)
    assert (address.host, address.url) == ("xn--strae-oqa.test", "https://xn--strae-oqa.test:444/a?b=c")
    assert read_address("https://a.test./", None).host == "a.test"


@pytest.mark.parametrize(
    ("url", "connect_to", "words"),
    [
        ("http://www.example.com", None, "is not an https:// address"),
        ("https://", None, "is not an https:// address"),
        ("https://me@www.example.com", None, "is not an https:// address"),
        ("https://www.example.com/#top", None, "is not an https:// address"),
        ("https://www.example.com:port", None, "cannot be read"),
        ("https://www.example.com/a b", None, "characters that a URL cannot have"),
        ("https://www.example.com/\u00e4", None, "characters that a URL cannot have"),
        ("https://\u2764.test/", None, "is not a host name"),
        ("https://www.example.com", "127.0.0.1", "must be host:port"),
        ("https://www.example.com", "127.0.0.1:0", "must be host:port"),
        ("https://www.example.com", "127.0.0.1:70000", "must be host:port"),
        ("https://www.example.com", "a'b:1", "must be host:port"),
    ],
)
def test_what_is_no_address_is_refused(url: str, connect_to: str | None, words: str) -> None:
    with pytest.raises(MtlsError, match=words):
        read_address(url, connect_to)


def test_a_proxy_is_left_out_on_this_host_only() -> None:
    local = curl_script("curl", read_address("https://www.example.com", "127.0.0.1:8443"), has_server_ca=True)
    assert b"--connect-to ::127.0.0.1:8443 --noproxy '*' " in local
    remote = curl_script("curl", read_address("https://www.example.com", "192.0.2.1:443"), has_server_ca=True)
    assert b"--noproxy" not in remote
    assert b"--connect-to ::192.0.2.1:443 " in remote


def test_without_another_address_the_url_says_it_all() -> None:
    address = read_address("https://www.example.com/$(reboot)", None)
    text = readme("curl", address, has_server_ca=False, has_p12=True).decode()
    assert "The address is <https://www.example.com/$(reboot)>.\n" in text
    assert "curl --cert client-chain.pem --key client.key 'https://www.example.com/$(reboot)'\n" in text
    assert "hosts" not in text
    assert "2. Restart the browser" in text
