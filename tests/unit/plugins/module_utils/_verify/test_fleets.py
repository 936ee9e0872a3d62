# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many clients: from a file, some of them by chance, and each with its own certificate in a context that many use."""

from __future__ import annotations

import json
import shutil
import ssl
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify import verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_1, ClientContext
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity, identity_from_files
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.sample import draw, with_clients_of_file
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.tls_context import PassingContexts
from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_options
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report import html, summary
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers.pki import Holder, Pki
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._verify.conftest import parameters

NOWHERE = "127.0.0.1:1"


def listed(holders: t.Mapping[str, Holder], **changes: t.Any) -> list[dict[str, t.Any]]:
    common = {"key_passphrase": None, "expect": "accepted", **changes}
    return [{"name": name, "cert": one.crt, "key": one.key_file, **common} for name, one in holders.items()]


@pytest.fixture(scope="module")
def fleet(pki: Pki) -> dict[str, Holder]:
    key = pki_module.new_key()
    return {f"c{number}": pki.client_certificate(f"fleet-{number}", key=key) for number in range(12)}


@pytest.fixture
def home(fleet: dict[str, Holder], tmp_path: Path) -> dict[str, t.Any]:
    """The options for a fleet in a file, whose directories are as the role has them."""
    for name, holder in fleet.items():
        folder = tmp_path / "clients" / name
        folder.mkdir(parents=True)
        shutil.copy(holder.crt, folder / "client-chain.pem")
        shutil.copy(holder.key_file, folder / "client.key")
    rows = [{"name": "gone", "state": "absent"}, *({"name": name} for name in fleet)]
    (tmp_path / "fleet.json").write_text(json.dumps(rows), encoding="utf-8")
    return {"clients_file": str(tmp_path / "fleet.json"), "clients_directory": str(tmp_path / "clients")}


def test_a_sample_is_drawn_anew_for_every_run_and_in_order():
    draws = {tuple(draw(range(1000), 20, kind="listed")[0]) for _run in range(20)}
    assert len(draws) == 20
    assert all(list(drawn) == sorted(set(drawn)) and len(drawn) == 20 for drawn in draws)
    met = {number for _run in range(200) for number in draw(range(10), 3, kind="listed")[0]}
    assert met == set(range(10))
    assert draw(range(5), 0, kind="listed")[0] == draw(range(5), 5, kind="listed")[0] == [0, 1, 2, 3, 4]


def test_clients_of_a_file_are_listed_and_the_first_is_the_good_one(pki: Pki, home: dict[str, t.Any]):
    given = with_clients_of_file(parameters(pki, NOWHERE, **home, client_cert=None, client_key=None))
    options = read_options(given)
    assert given["client_cert"].endswith("/clients/c0/client-chain.pem")
    assert [client.name for client in options.clients] == [f"c{number}" for number in range(1, 12)]
    explicit = with_clients_of_file(parameters(pki, NOWHERE, **home, clients=listed({"own": pki.client})))
    assert explicit["client_cert"] == pki.client.crt
    assert [client["name"] for client in explicit["clients"]] == ["own", *(f"c{number}" for number in range(12))]


def test_of_listed_and_of_revoked_clients_a_sample_is_read(
    pki: Pki, fleet: dict[str, Holder], home: dict[str, t.Any], tmp_path: Path
):
    stranger = listed({"stranger": pki.revoked}, expect="refused")
    changes = {"clients_sample": 3, "clients": [*listed(fleet), *stranger], "revoked_dir": home["clients_directory"]}
    options = read_options(parameters(pki, NOWHERE, **changes))
    assert [client.expect for client in options.clients] == ["accepted"] * 3 + ["refused"]
    assert len(options.revoked) == 3
    # Who is not drawn is not read.
    shutil.rmtree(tmp_path / "clients")
    given = with_clients_of_file(parameters(pki, NOWHERE, **home, clients_sample=2))
    assert [client.problem != "" for client in read_options(given).clients] == [True] * 2
    with pytest.raises(MtlsError, match="clients_sample is -1"):
        read_options(parameters(pki, NOWHERE, clients_sample=-1))


@pytest.mark.parametrize("number", [0, 4])
def test_the_report_says_how_many_were_tried(pki: Pki, fleet: dict[str, Holder], number: int):
    options = read_options(
        parameters(pki, f"127.0.0.1:{free_port()}", clients=listed(fleet), clients_sample=number, checks=["MV-23"])
    )
    report = verify.verify(options)
    cases_text = "Tried 4 of 12 listed clients, chosen at random for this run."
    for text in (
        "\n".join(summary.summary_lines(report)),
        summary.to_json(report).decode(),
        html.to_html(report).decode(),
    ):
        assert (cases_text in text) is bool(number)
    assert report.sample.get("listed") == ({"there": 12, "tried": 4} if number else None)


def shown_to_server(pki: Pki, client: ClientContext) -> x509.Certificate | None:
    """The certificate that a server gets from a connection that ``client`` begins now."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.server.crt, pki.server.key_file)
    server.load_verify_locations(pki.client_ca.crt)
    server.verify_mode = ssl.CERT_REQUIRED
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.begin(back, there, version=None, **OFFER, server_name="a.test", session=None)
    far = server.wrap_bio(there, back, server_side=True)
    for _flight in range(3):
        for end in (near, far):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    raw = far.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(raw) if raw else None


OFFER = {"alpn": HTTP_1.alpn}


def test_one_after_another_uses_a_context_and_each_shows_its_own_certificate(pki: Pki, fleet: dict[str, Holder]):
    rsa = {f"r{number}": pki.client_certificate(f"rsa-{number}", key=pki_module.new_key("rsa")) for number in range(2)}
    holders = [fleet["c1"], rsa["r0"], fleet["c2"], rsa["r1"], rsa["r0"], fleet["c1"]]
    contexts = PassingContexts()
    used: list[ClientContext] = []
    for number, holder in enumerate(holders):
        identity = identity_from_files(str(number), certificate=holder.crt, key=holder.key_file)
        used.append(contexts.lend(identity, suites=""))
        assert shown_to_server(pki, used[-1]) == holder.certificate
    assert used[0] is used[2] is used[5]
    assert used[1] is used[3] is used[4]
    assert used[0] is not used[1]


def test_a_context_that_was_refused_an_identity_is_not_used_again(pki: Pki, fleet: dict[str, Holder], tmp_path: Path):
    contexts = PassingContexts()
    first = contexts.lend(of(fleet["c1"]), suites="")
    (tmp_path / "other.key").write_bytes(
        pki_module.new_key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(MtlsError, match="cannot be used"):
        contexts.lend(of(fleet["c2"], key=str(tmp_path / "other.key")), suites="")
    again = contexts.lend(of(fleet["c3"]), suites="")
    assert again is not first
    assert shown_to_server(pki, again) == fleet["c3"].certificate


def of(holder: Holder, key: str = "") -> Identity:
    return identity_from_files("client", certificate=holder.crt, key=key or holder.key_file)
