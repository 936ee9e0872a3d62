# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PKI roles with certificates of a real OpenBao, by ansible-playbook."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.kyma.mtls.tests.servers import openbao
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import Play


def test_both_roles_have_their_certificates_issued_and_show_no_secret(tmp_path: Path) -> None:
    program = openbao.find()
    if program is None:
        pytest.skip("OpenBao is not installed (KYMA_MTLS_BAO)")
    play = Play(tmp_path)
    with openbao.running(program, tmp_path) as bao:
        for mount in ("fleet", "gateways"):
            bao.engine(mount)
        usages = "DigitalSignature,KeyEncipherment"
        bao.role("gateways", "server", server_flag=True, client_flag=False, key_usage=usages)
        login = bao.approle(bao.policy("fleet"))
        token = bao.token(bao.policy("gateways"))
        variables = {
            "server_pki_provider": "vault",
            "server_pki_vault": {"url": bao.url, "mount": "gateways", "role": "server", "auth": {"token": token}},
            "client_pki_provider": "vault",
            "client_pki_vault": {
                "url": bao.url,
                "mount": "fleet",
                "role": "client",
                "auth": {"method": "approle", **login},
            },
            "client_pki_key_type": "ECDSA",
            "client_pki_hours": 24,
        }
        roles = ("server_pki", "client_pki")
        first = play.run(*roles, variables=variables, arguments=("-vvv", "--diff"))
        assert first.changed > 0
        assert "CN=ML Client Curl, client, a new ECDSA P-256 key, for 24 hours, issued by" in first.words
        again = play.run(*roles, variables=variables, arguments=("-vvv", "--diff"))
        assert again.changed == 0
        for secret in (token, login["secret_id"]):
            assert secret not in first.output + again.output
            assert not any(secret.encode() in content for content in play.tree().values())
    client = x509.load_pem_x509_certificate((play.pki / "client/clients/curl/client.crt").read_bytes())
    client.verify_directly_issued_by(x509.load_pem_x509_certificate((play.pki / "client/ca-bundle.crt").read_bytes()))
    server = x509.load_pem_x509_certificate((play.pki / "server/server.crt").read_bytes())
    server.verify_directly_issued_by(x509.load_pem_x509_certificate((play.pki / "server/ca.crt").read_bytes()))
