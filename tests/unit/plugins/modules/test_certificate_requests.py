# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients by cert-manager: the key stays here, and what the issuer signs is proven before it is published."""

from __future__ import annotations

import json
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import certificate_requests
from ansible_collections.kyma.mtls.plugins.modules import pki
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import issuers
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.test_kubernetes_apply import run

if t.TYPE_CHECKING:
    import pathlib

Json = dict[str, t.Any]


class Clients(t.NamedTuple):
    cluster: clusters.TestCluster
    directory: pathlib.Path
    capsys: pytest.CaptureFixture[str]

    @property
    def ca(self) -> issuers.Ca:
        return next(one for one in self.cluster.double.parts if isinstance(one, issuers.CertManager)).ca

    def run(self, *names: str, check_mode: bool = False, issuer: Json | None = None, **more: t.Any) -> Json:
        chain = self.ca.issuing.certificate_pem + self.ca.root.certificate_pem
        arguments = {
            "usage": "client",
            "directory": str(self.directory / "client"),
            "provided": {"ca": chain.decode()},
            "cert_manager": {
                "kubeconfig": str(self.cluster.kubeconfig),
                "name": "company-ca",
                "timeout": 5,
                **(issuer or {}),
            },
            "defaults": {"organization": "ML Client Org", "key_type": "ECDSA", "hours": 24},
            "certificates": [{"name": name} for name in names or ("alice",)],
            **more,
        }
        result, text = run(self.capsys, arguments, pki, check_mode=check_mode)
        assert "PRIVATE KEY" not in text
        return result

    def certificate(self, name: str = "alice") -> x509.Certificate:
        path = self.directory / f"client/clients/{name}/client.crt"
        return x509.load_pem_x509_certificate(path.read_bytes())

    def records(self) -> list[Json]:
        text = (self.directory / "client/issued.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def clients(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> t.Iterator[Clients]:
    monkeypatch.setattr(certificate_requests, "POLL_SECONDS", 0.02)
    with clusters.cluster(tmp_path) as cluster:
        cluster.store.set(
            "namespaces.", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
        )
        cluster.install_issuers(*issuers.cert_manager_crds())
        yield Clients(cluster, tmp_path, capsys)


def test_clients_get_certificates_of_the_issuer_and_keep_their_keys(clients: Clients) -> None:
    predicted = clients.run("alice", "bob", check_mode=True)
    assert predicted["changed"]
    assert "POST" not in {line.split()[0] for line in clients.cluster.double.log}
    made = clients.run("alice", "bob")
    assert made["changed"]
    assert "warnings" not in made
    certificate = clients.certificate()
    assert certificate.issuer == clients.ca.issuing.certificate.subject
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [issuers.EKUS["client auth"]]
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert 23 * 3600 < lifetime.total_seconds() < 25 * 3600
    key = serialization.load_pem_private_key(
        (clients.directory / "client/clients/alice/client.key").read_bytes(), password=None
    )
    assert key.public_key() == certificate.public_key()
    assert (clients.directory / "client/ca-bundle.crt").read_bytes() == clients.ca.root.certificate_pem
    assert {entry["provider"] for entry in clients.records() if entry["event"] == "issued"} == {"cert_manager"}
    # Nothing of it is left on the cluster, and an unchanged run does not ask there.
    assert clients.cluster.store.peek_all(issuers.REQUEST) == []
    clients.cluster.double.log.clear()
    assert not clients.run("alice", "bob")["changed"]
    assert clients.cluster.double.log == []
    # One that is there is left alone when another one is added.
    serial = clients.certificate().serial_number
    clients.run("alice", "bob", "carol")
    assert clients.certificate().serial_number == serial
    assert len([entry for entry in clients.records() if entry["event"] == "issued"]) == 3


def test_what_the_issuer_refuses_is_said_in_its_words_and_leaves_what_works(clients: Clients) -> None:
    clients.run()
    serial = clients.certificate().serial_number
    clients.cluster.double.mishaps.issuer_says = 'Vault failed to sign certificate: role "client" does not exist'
    failed = clients.run("alice", "bob")
    assert "ClusterIssuer company-ca refuses the request of bob: Failed: Vault failed to sign" in failed["msg"]
    assert clients.certificate().serial_number == serial
    assert not (clients.directory / "client/clients/bob/client.crt").exists()
    assert clients.cluster.store.peek_all(issuers.REQUEST) == []
    clients.cluster.double.mishaps.issuer_says = ""
    assert clients.run("alice", "bob")["changed"]


def test_a_certificate_for_another_purpose_is_refused_with_advice_that_fits_the_issuer(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(issuers.EKUS, "client auth", issuers.EKUS["server auth"])
    failed = clients.run()
    assert "its extended key usage is not that of a client alone, but serverAuth" in failed["msg"]
    assert "configure ClusterIssuer company-ca so that it adds no other" in failed["msg"]
    assert "client_flag" not in failed["msg"]
    assert not list((clients.directory / "client").rglob("*.crt"))


def test_an_issuer_that_says_nothing_is_given_up_with_what_is_known_of_it(clients: Clients) -> None:
    clients.cluster.double.parts = tuple(
        one for one in clients.cluster.double.parts if not isinstance(one, issuers.CertManager)
    )
    ca = issuers.Ca("Company")
    chain = (ca.issuing.certificate_pem + ca.root.certificate_pem).decode()
    arguments = {
        "usage": "client", "directory": str(clients.directory / "client"), "provided": {"ca": chain},
        "cert_manager": {"kubeconfig": str(clients.cluster.kubeconfig), "name": "nobody", "timeout": 1},
        "certificates": [{"name": "alice"}],
    }  # fmt: skip
    failed, _text = run(clients.capsys, arguments, pki)
    assert "ClusterIssuer nobody has not signed the request of alice in 1 s: no status yet" in failed["msg"]
    assert "There is no ClusterIssuer nobody." in failed["msg"]
    assert clients.cluster.store.peek_all(issuers.REQUEST) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"provided": None}, "provided.ca is missing: the CA of the issuer"),
        ({"revoke": ["alice"]}, "ClusterIssuer company-ca does not revoke certificates"),
        ({"issuer": {"kubeconfig": "/nowhere"}}, "There is no usable connection to a cluster"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(clients: Clients, more: Json, words: str) -> None:
    assert words in clients.run(**more)["msg"]
    assert not (clients.directory / "client/clients/alice/client.crt").exists()


def test_a_certificate_of_another_ca_is_not_published(clients: Clients) -> None:
    other = issuers.Ca("Other")
    chain = (other.issuing.certificate_pem + other.root.certificate_pem).decode()
    assert "it was issued by CN=Company Issuing, and not by" in clients.run(provided={"ca": chain})["msg"]
    assert not (clients.directory / "client/clients/alice/client.crt").exists()


def test_certificates_that_would_outlive_their_ca_are_named_on_every_run(clients: Clients) -> None:
    defaults = {"organization": "ML Client Org", "key_type": "ECDSA", "days": 36500}
    words = "1 certificate (alice) would outlive the CA CN=Company Issuing"
    assert words in str(clients.run(defaults=defaults)["warnings"])
    again = clients.run(defaults=defaults)
    assert words in str(again["warnings"])
    assert not again["changed"]
