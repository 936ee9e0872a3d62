# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's clients as the certificates of certificate_batch."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.kyma.mtls.plugins.filter.client_certificates import FilterModule

DEFAULTS = {"organization": "Org", "key_type": "RSA", "days": 365}


def certificate(**client: t.Any) -> dict[str, t.Any]:
    (one,) = FilterModule().filters()["client_certificates"]([client], directory="/pki/clients", defaults=DEFAULTS)
    return t.cast("dict[str, t.Any]", one)


def test_a_client_gets_its_directory_usage_and_defaults() -> None:
    assert certificate(name="curl") == {
        **DEFAULTS,
        "name": "curl",
        "common_name": "curl",
        "usage": "client",
        "directory": "/pki/clients/curl",
    }


def test_what_a_client_says_wins_and_null_says_nothing() -> None:
    one = certificate(name="curl", common_name="ML Client Curl", days=30, key_type=None)
    assert (one["common_name"], one["days"], one["key_type"]) == ("ML Client Curl", 30, "RSA")


def test_a_whole_subject_leaves_no_room_for_defaults() -> None:
    one = certificate(name="curl", subject=[{"CN": "x"}])
    assert "organization" not in one
    assert "common_name" not in one


def test_a_subject_beside_an_organization_is_left_for_the_module_to_refuse() -> None:
    assert certificate(name="curl", subject=[{"CN": "x"}], organization="y")["organization"] == "y"


@pytest.mark.parametrize("client", [{}, {"name": ""}, "curl"])
def test_a_client_without_a_name_is_refused(client: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="needs a name"):
        FilterModule().filters()["client_certificates"]([client], directory="/pki")


def test_a_new_key_is_for_those_alone_who_are_named() -> None:
    clients = [{"name": "curl"}, {"name": "robot"}, {"name": "gone", "state": "absent"}]
    make = FilterModule().filters()["client_certificates"]
    made = make(clients, directory="/pki", rekey=["robot"])
    assert [one.get("rekey") for one in made] == [None, True, None]
    with pytest.raises(AnsibleFilterError, match="asked for gone, nemo, but the list of clients has curl, robot"):
        make(clients, directory="/pki", rekey=["nemo", "gone"])
