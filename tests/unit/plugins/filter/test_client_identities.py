# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter client_identities: which clients have a certificate, and where."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.kyma.mtls.plugins.filter.client_identities import FilterModule

identities = FilterModule().filters()["client_identities"]


def test_clients_that_are_to_be_there_are_found_once_and_in_their_order() -> None:
    clients = [{"name": "b"}, {"name": "gone", "state": "absent"}, {"name": "a", "state": "present"}, {"name": "b"}]

    assert identities(clients, directory="/pki") == [
        {"name": "b", "cert": "/pki/b/client-chain.pem", "key": "/pki/b/client.key"},
        {"name": "a", "cert": "/pki/a/client-chain.pem", "key": "/pki/a/client.key"},
    ]
    assert [one["name"] for one in identities(clients, directory="/pki", without="b")] == ["a"]
    assert identities([], directory="/pki") == []


def test_only_the_first_is_looked_at_when_no_other_is_wanted() -> None:
    clients = [{"name": "gone", "state": "absent"}, {"name": "b"}, {"name": "a"}, None]

    assert [one["name"] for one in identities(clients, directory="", only_first=True)] == ["b"]
    assert [one["name"] for one in identities(clients[:3], directory="", without="b", only_first=True)] == ["a"]
    assert identities(clients[:1], directory="", only_first=True) == []


@pytest.mark.parametrize("client", ["alice", {"common_name": "alice"}, None])
def test_client_without_a_name_is_refused_by_its_number(client: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="Client number 2 of the list of clients has no name"):
        identities([{"name": "a"}, client], directory="/pki")
