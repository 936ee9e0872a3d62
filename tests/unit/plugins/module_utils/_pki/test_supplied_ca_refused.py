# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is refused of what somebody else has made: by name, and before anything is touched."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.corporate import Corporate, provided
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    certificate_pem,
    key_pem,
    make_ca,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    client,
    server,
)


def refused(corporate: Corporate) -> dict[str, tuple[str, dict[str, t.Any], dict[str, t.Any], str]]:
    """Side, how its certificate is given, other options, and what the refusal says."""
    stranger = key_pem(ec.generate_private_key(ec.SECP256R1())).decode()
    edwards = corporate.issuing.path / "clients/server/server.crt"
    return {
        "a key of another certificate": (
            "server",
            corporate.server(key=None, key_content=stranger),
            {},
            r"\(certificate of server in certificates\): The private key does not belong .*key_content of server",
        ),
        "an incomplete chain": ("server", corporate.server(chain=None), {}, "www.corp.test.*Corporate Issuing"),
        "a client's certificate for a server": (
            "server",
            corporate.client(name="server", chain=str(corporate.issuing.ca_cert)),
            {},
            "extended key usage does not include serverAuth",
        ),
        "another host": ("server", corporate.server(), {"hostnames": ["x.test"]}, "it is not valid for 'x.test'"),
        "an expired one": ("server", corporate.server(), {"now": NOW + 400 * DAY}, "it expired at"),
        "no certificate": (
            "server",
            corporate.server(certificate=None),
            {},
            "certificate of server in certificates is missing",
        ),
        "no key": ("server", corporate.server(key=None), {}, "key of server in certificates is missing"),
        "a file that is not there": ("server", corporate.server(key="/none.key"), {}, r"/none\.key does not exist"),
        "no certificate in it": (
            "server",
            corporate.server(certificate="-----BEGIN CERTIFICATE-----"),
            {},
            "block 1 of the content of certificate of server in certificates is cut off or damaged",
        ),
        "a leaf as the root": (
            "server",
            corporate.server(),
            {"provided": provided(edwards.read_text())},
            "There is no root among the certificates in the content of provided.ca",
        ),
        "no CA": ("server", corporate.server(), {"provided": provided("")}, "provided.ca is missing"),
        "two servers": (
            "server",
            corporate.server(),
            {"certificates": []},
            "The server's certificate and key are missing",
        ),
        "a leaf to trust": (
            "client",
            corporate.client(),
            {"provided": provided(corporate.ca + edwards.read_text())},
            "is not that of a CA",
        ),
        "an intermediate without its root": (
            "client",
            corporate.client(),
            {"provided": provided(corporate.intermediate)},
            "There is no root",
        ),
        "an intermediate of another root": (
            "client",
            corporate.client(),
            {
                "provided": provided(
                    certificate_pem(make_ca(ec.generate_private_key(ec.SECP256R1()), common_name="Other")).decode()
                    + corporate.intermediate
                )
            },
            "The CA CN=Corporate Issuing.* cannot be used",
        ),
        "a client to be issued without the CA's key": (
            "client",
            {"name": "robot"},
            {},
            "Certificate robot cannot be issued here, because the CA's key is not provided",
        ),
        "a client to be revoked without it": (
            "client",
            corporate.client(),
            {"revoke": ["curl"]},
            "Certificates cannot be revoked",
        ),
        "a PKCS#12 file": ("client", corporate.client(p12={"password": "x"}), {}, "a PKCS#12 file is not made"),
        "a client to be removed": ("client", corporate.client(state="absent"), {}, "its files are not removed"),
        "a key of no CA there": (
            "client",
            {"name": "curl"},
            {"provided": provided(corporate.ca, ca_key_content=stranger)},
            "belongs to none of the certificates in the content of provided.ca",
        ),
        "a leaf as the CA that issues": (
            "client",
            {"name": "curl"},
            {"provided": provided(edwards.read_text(), ca_key=str(edwards.with_suffix(".key")))},
            "is not that of a CA",
        ),
        "a rotation": ("client", corporate.client(), {"state": "prepared"}, "it is not rotated here"),
        "a key where a path belongs": (
            "server",
            corporate.server(key=stranger),
            {},
            "key of server in certificates holds a private key, which output and logs would show",
        ),
        "a key beside the certificate": (
            "server",
            corporate.server(certificate=stranger + corporate.ca),
            {},
            "certificate of server in certificates holds a private key, .* as the option whose name ends in",
        ),
        "a key beside a client's chain": (
            "client",
            corporate.client(chain=corporate.intermediate + stranger),
            {},
            "chain of curl in certificates holds a private key",
        ),
        "a key beside the CAs": (
            "client",
            corporate.client(),
            {"provided": provided(corporate.ca + stranger)},
            "provided.ca holds a private key",
        ),
        "a key beside a certificate without the provider": (
            "client",
            corporate.client(certificate=stranger + corporate.ca),
            {"provided": None},
            "certificate of curl in certificates holds a private key",
        ),
        "finished certificates without the provider": (
            "server",
            corporate.server(),
            {"provided": None},
            "Set provided, or leave",
        ),
    }


CASES = (
    *("a key of another certificate", "an incomplete chain", "a client's certificate for a server", "another host"),
    *("an expired one", "no certificate", "no key", "a file that is not there", "no certificate in it"),
    *("a leaf as the root", "no CA", "two servers", "a leaf to trust", "an intermediate without its root"),
    *("an intermediate of another root", "a client to be issued without the CA's key"),
    *("a client to be revoked without it", "a PKCS#12 file", "a client to be removed", "a key of no CA there"),
    *("a leaf as the CA that issues", "a rotation", "a key where a path belongs"),
    *("a key beside the certificate", "a key beside a client's chain", "a key beside the CAs"),
    "a key beside a certificate without the provider",
    "finished certificates without the provider",
)


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named_and_nothing_is_made(tmp_path: Path, corporate: Corporate, case: str) -> None:
    cases = refused(corporate)
    assert set(cases) == set(CASES)
    usage, certificate, changes, why = cases[case]
    ca = corporate.ca if usage == "server" else corporate.ca + corporate.intermediate
    side = {"server": server, "client": client}[usage](tmp_path, provided=provided(ca), hostnames=["www.corp.test"])
    options = {"certificates": [certificate]} | changes
    with pytest.raises(MtlsError, match=why) as caught:
        side.run(**options)
    assert "PRIVATE KEY-----" not in str(caught.value)
    assert not side.path.exists()


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", ".hidden", "", "/tmp/outside"])  # noqa: S108  (a name)
def test_a_finished_certificate_stays_in_a_directory_of_its_own(
    tmp_path: Path, corporate: Corporate, name: str
) -> None:
    side = client(tmp_path, provided=provided(corporate.ca + corporate.intermediate))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MtlsError, match=r"cannot be a file name\. Use one without /"):
        side.run(corporate.client(name=name))
    assert sorted(tmp_path.rglob("*")) == before


def test_two_finished_certificates_do_not_share_a_name(tmp_path: Path, corporate: Corporate) -> None:
    corporate.issuing.run(corporate.issuing.client("other"))
    other = {
        "certificate": corporate.issuing.file(".crt", "other").read_text(),
        "key_content": corporate.issuing.file(".key", "other").read_text(),
    }
    side = client(tmp_path, provided=provided(corporate.ca + corporate.intermediate))
    with pytest.raises(MtlsError, match="Certificate curl: the list has this name twice"):
        side.run(corporate.client(), corporate.client(**other))
    assert not side.path.exists()


def test_an_ed25519_client_is_refused_by_name(tmp_path: Path, corporate: Corporate) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    root, signer = corporate.home.certificate, t.cast("t.Any", corporate.home.key)
    certificate = make_ca(key, common_name="Edwards", issuer=(root, signer), is_ca=None, key_cert_sign=None)
    side = client(tmp_path, provided=provided(corporate.ca))
    pem = {"certificate": certificate_pem(certificate).decode(), "key_content": key_pem(key).decode()}
    with pytest.raises(MtlsError, match="has an Ed25519 key, which Envoy"):
        side.run({"name": "curl"} | pem)
