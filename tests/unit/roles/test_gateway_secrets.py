# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files the role gateway makes its Secrets of: a revocation list that is named is never left out in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._istio_secret import gateways
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import Play

MISSING = "The file for crl of Secret istio-system/kyma-mtls-clients-cacert"
# Everything of the Secrets was accepted, and the next thing that is looked at is the cluster.
ACCEPTED = "no-such-kubeconfig"


#: The bundle, the list (None: the variable is not set), and what is said.
CASES = (
    ("pki/client/ca-bundle.crt", None, ACCEPTED),
    ("pki/client/ca-bundle.crt", "pki/client/ca.crl", ACCEPTED),
    ("elsewhere/ca-bundle.crt", "elsewhere/ca.crl", ACCEPTED),
    ("pki/client/ca-bundle.crt", "", ACCEPTED),
    ("pki/client/ca-bundle.crt", "pki/client/ca.crl.old", MISSING),
    ("pki/client/ca-bundle.crt", "elsewhere/ca.crl", MISSING),
    ("elsewhere/clients.pem", "elsewhere/ca.crl", MISSING),
)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the role gateway says of each case, each on a host of one run."""
    play = Play(tmp_path_factory.mktemp("lists"))
    bundles = {bundle: gateways.Authority("Client CA").pem for bundle, _crl, _said in CASES}
    for name, data in {
        **bundles,
        "server-chain.pem": gateways.SERVER.pem,
        "server.key": gateways.SERVER.key_pem,
    }.items():
        path = play.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    hosts = {
        f"case-{number}": {
            "gateway_client_ca_bundle": str(play.home / bundle),
            **({} if crl is None else {"gateway_client_crl": str(play.home / crl) if crl else ""}),
        }
        for number, (bundle, crl, _said) in enumerate(CASES)
    }
    inventory = play.directory / "inventory.json"
    inventory.write_text(json.dumps({"cases": {"hosts": hosts}}))
    variables = {
        "mtls_platform": "kubernetes",
        "mtls_kubeconfig": str(play.directory / ACCEPTED),
        "gateway_server_chain": str(play.home / "server-chain.pem"),
        "gateway_server_key": str(play.home / "server.key"),
    }
    plays = [{"hosts": "cases", "gather_facts": False, "roles": ["kyma.mtls.gateway"]}]

    outcome = play.run_play(plays, variables, "-i", str(inventory))

    assert outcome.code != 0
    parts = outcome.output.split("fatal: [")[1:]
    words = {part.partition("]")[0]: " ".join(part.split()) for part in parts}
    return [words[host] for host in hosts]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_list_that_is_named_and_missing_is_an_error(number: int, said: list[str]) -> None:
    assert CASES[number][-1] in said[number]


def test_lists_that_a_configmap_would_not_carry_are_an_error(tmp_path: Path) -> None:
    play = Play(tmp_path)
    crl = play.home / "pki/client/ca.crl"
    crl.parent.mkdir(parents=True)
    crl.write_bytes(b"a list")
    variables = {
        "mtls_platform": "kubernetes",
        "mtls_kubeconfig": str(tmp_path / ACCEPTED),
        "gateway_client_ca_credential": "configmap://istio-system/clients",
    }

    outcome = play.run("gateway", variables=variables)

    assert outcome.code != 0
    assert f"There are revocation lists in {crl}" in outcome.words
