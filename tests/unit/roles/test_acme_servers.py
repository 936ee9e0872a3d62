# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider acme against other ACME servers than Pebble: OpenBao and step-ca, as a company runs them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.tests.servers import openbao, step_ca
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import Play

names = pytest.importorskip("ansible_collections.kyma.mtls.tests.servers.names")
NAME = "www.mtls.local.kyma.dev"


def variables(url: str, root: str, port: int, **changes: t.Any) -> dict[str, t.Any]:
    dns = {"server": "127.0.0.1", "port": port, "zone": "kyma.dev"}
    return {
        "server_pki_provider": "acme",
        "server_pki_key_type": "ECDSA",
        "server_pki_sans": [f"DNS:{NAME}"],
        "server_pki_hostnames": [NAME],
        "server_pki_acme_directory": url,
        "server_pki_acme_root": root,
        "server_pki_acme_terms_agreed": True,
        "server_pki_acme_challenge": "dns-01",
        "server_pki_acme_dns_server": dns | {"key_name": names.KEY_NAME, "key_secret": names.KEY_SECRET},
        **changes,
    }


def ordered_and_kept(play: Play, given: dict[str, t.Any]) -> x509.Certificate:
    """Order a certificate, see that the next run keeps it, and return it."""
    first = play.run("server_pki", variables=given)
    assert first.code == 0, first.output
    again = play.run("server_pki", variables=given)
    assert (again.code, again.changed) == (0, 0), again.output
    return x509.load_pem_x509_certificate((play.pki / "server/server.crt").read_bytes())


def test_openbao_issues_by_acme(tmp_path: Path) -> None:
    program = openbao.find()
    if program is None:
        pytest.skip("OpenBao is not installed (KYMA_MTLS_BAO names the program)")
    with names.running() as dns, openbao.running(program, tmp_path) as bao:
        bao.engine("pki")
        bao.role(
            "pki",
            "server",
            server_flag=True,
            client_flag=False,
            key_usage="DigitalSignature",
            max_ttl="2160h",
            ttl="2160h",
        )
        place = f"{bao.url}/v1/pki"
        bao.call("POST", "pki/config/cluster", {"path": place, "aia_path": place})
        bao.call(
            "POST",
            "pki/config/acme",
            {
                "enabled": True,
                "default_directory_policy": "role:server",
                "allowed_roles": ["server"],
                "eab_policy": "not-required",
                "dns_resolver": f"127.0.0.1:{dns.port}",
            },
        )
        # Without these, OpenBao keeps the headers of its answers to itself, and no ACME client gets on.
        headers = ["Last-Modified", "Location", "Replay-Nonce", "Link"]
        bao.call("POST", "sys/mounts/pki/tune", {"allowed_response_headers": headers})
        root = str(bao.call("GET", "pki/cert/ca")["certificate"])
        leaf = ordered_and_kept(Play(tmp_path), variables(f"{place}/acme/directory", root, dns.port))
        assert leaf.issuer == x509.load_pem_x509_certificate(root.encode()).subject


def test_step_ca_issues_by_acme(tmp_path: Path) -> None:
    program = step_ca.find()
    if program is None:
        pytest.skip("step-ca is not installed (KYMA_MTLS_STEP_CA names the program; see CONTRIBUTING.md)")
    with names.running() as dns, step_ca.running(program, tmp_path / "step", resolver=dns.port) as ca:
        given = variables(ca.url, str(ca.root), dns.port, server_pki_acme_ca_file=str(ca.root))
        leaf = ordered_and_kept(Play(tmp_path), given)
        assert "Step Issuing" in leaf.issuer.rfc4514_string()
        # One day, as step-ca has it by default: a share of it is left when it is renewed.
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 1
