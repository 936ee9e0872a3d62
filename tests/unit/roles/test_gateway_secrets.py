# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files the role gateway makes its Secrets of: a revocation list that is named is never left out in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._istio_secret import gateways
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import Play

MISSING = "The file for crl of Secret istio-system/kyma-mtls-clients-cacert"
# Everything of the Secrets was accepted, and the next thing that is looked at is the cluster.
ACCEPTED = "no-such-kubeconfig"


@pytest.mark.parametrize(
    ("bundle", "crl", "message"),
    [
        ("pki/client/ca-bundle.crt", None, ACCEPTED),
        ("pki/client/ca-bundle.crt", "pki/client/ca.crl", ACCEPTED),
        ("elsewhere/ca-bundle.crt", "elsewhere/ca.crl", ACCEPTED),
        ("pki/client/ca-bundle.crt", "", ACCEPTED),
        ("pki/client/ca-bundle.crt", "pki/client/ca.crl.old", MISSING),
        ("pki/client/ca-bundle.crt", "elsewhere/ca.crl", MISSING),
        ("elsewhere/clients.pem", "elsewhere/ca.crl", MISSING),
    ],
)
def test_list_that_is_named_and_missing_is_an_error(tmp_path: Path, bundle: str, crl: str | None, message: str) -> None:
    play = Play(tmp_path)
    for name, data in (
        (bundle, gateways.Authority("Client CA").pem),
        ("server-chain.pem", gateways.SERVER.pem),
        ("server.key", gateways.SERVER.key_pem),
    ):
        path = play.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    variables = {
        "mtls_platform": "kubernetes",
        "mtls_kubeconfig": str(tmp_path / ACCEPTED),
        "gateway_client_ca_bundle": str(play.home / bundle),
        "gateway_server_chain": str(play.home / "server-chain.pem"),
        "gateway_server_key": str(play.home / "server.key"),
        **({} if crl is None else {"gateway_client_crl": str(play.home / crl) if crl else ""}),
    }

    outcome = play.run("gateway", variables=variables)

    assert outcome.code != 0
    assert message in outcome.words


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
