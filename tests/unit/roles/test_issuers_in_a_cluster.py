# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs with an issuer in the cluster: the key stays there, and exactly the rights that are asked for are used."""

from __future__ import annotations

import base64
import json
import os
import typing as t

import yaml
from cryptography import x509

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import issuers
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import kyma as managers
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import ROOT
from ansible_collections.kyma.mtls.tests.unit.roles.test_runs_on_kubernetes import (  # pylint: disable=unused-import
    OPTIONAL,
    Place,
    own_permissions,
    place,  # noqa: F401  (a fixture)
)

if t.TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, t.Any]
SECRETS = "secrets."


def permissions(*names: str) -> list[Json]:
    variables = yaml.safe_load((ROOT / "roles/cluster/vars/main.yml").read_text(encoding="utf-8"))
    found = own_permissions()
    for name in names:
        variable, _dot, key = name.partition(".")
        found += variables[variable][key] if key else variables[variable]
    return found


def asked_for(rules: list[Json]) -> set[tuple[str, str, str, str]]:
    return {
        (verb, one.get("group", ""), one["resource"], one.get("namespace", ""))
        for one in rules
        for verb in one["verbs"]
    }


def register(directory: Path, usage: str) -> list[Json]:
    lines = (directory / f"home/pki/{usage}/issued.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def names(cluster: clusters.TestCluster) -> set[str]:
    return {one["metadata"]["name"] for one in cluster.store.peek_all(SECRETS)}


def test_gardener_from_nothing_to_nothing_on_the_clusters_own_domain(place: Place) -> None:  # noqa: F811
    cluster = place.cluster
    cluster.install_kyma()
    cluster.install_issuers(*issuers.gardener_crds())
    gateway = clusters.gateway("kyma-gateway", mode="SIMPLE")
    gateway["metadata"]["namespace"] = "kyma-system"
    gateway["spec"]["servers"][0]["hosts"] = ["*.c-1a2b.kyma.example.com"]
    cluster.store.set(managers.GATEWAY, gateway)
    controller = next(one for one in cluster.double.parts if isinstance(one, issuers.GardenerCertificates))
    root = place.directory / "root.pem"
    root.write_bytes(controller.ca.root.certificate_pem)
    given = {
        "mtls_parent_domain": "auto",
        "server_pki_provider": "gardener",
        "server_pki_gardener_dns": "entry",
        "server_pki_gardener_ca": str(root),
        "server_pki_key_type": "ECDSA",
    }
    rules = permissions("__cluster_issuers.gardener", "__cluster_dns_resources.entry", "__cluster_kyma_gateway")
    cluster.double.used.clear()
    cluster.double.mishaps.rules = rules

    place.ok("site", "status", **given)

    host = "*.mtls.c-1a2b.kyma.example.com"
    certificate = cluster.body(issuers.GARDENER, "istio-system", "kyma-mtls")
    assert certificate["spec"]["commonName"] == host
    assert certificate["spec"]["privateKey"] == {"algorithm": "ECDSA", "size": 256}
    assert "renewBefore" not in certificate["spec"]
    assert cluster.body(issuers.DNS_ENTRY, "istio-system", "kyma-mtls")["spec"]["dnsName"] == host
    served = cluster.body(managers.GATEWAY, "test", "kyma-mtls-gateway")["spec"]["servers"][0]
    assert served["hosts"] == [host]
    assert served["tls"]["caCertCredentialName"] == "kyma-mtls-clients-cacert"
    # The role gateway has left the issuer's Secret as it is, and no key has left it.
    assert "ca.crt" in cluster.body(SECRETS, "istio-system", "kyma-mtls")["data"]
    assert names(cluster) == {"kyma-mtls", "kyma-mtls-clients-cacert"}
    home = place.directory / "home/pki/server"
    assert not (home / "server.key").exists()
    assert (home / "ca.crt").read_bytes() == controller.ca.root.certificate_pem
    (first,) = register(place.directory, "server")
    assert (first["provider"], first["usage"]) == ("gardener", "server")
    place.ok("rotate", "teardown", **given)
    assert len(register(place.directory, "server")) == 2
    assert cluster.store.peek_all(issuers.GARDENER) == cluster.store.peek_all(issuers.DNS_ENTRY) == []
    assert names(cluster) == set()
    assert place.used() - OPTIONAL == asked_for(rules)


def test_a_role_finds_the_clusters_domain_after_a_role_with_another(place: Place) -> None:  # noqa: F811
    place.cluster.install_kyma()
    gateway = clusters.gateway("kyma-gateway", mode="SIMPLE")
    gateway["metadata"]["namespace"] = "kyma-system"
    gateway["spec"]["servers"][0]["hosts"] = ["*.c-1a2b.kyma.example.com"]
    place.cluster.store.set(managers.GATEWAY, gateway)
    roles = [
        {"role": "kyma.mtls.server_pki", "vars": {"mtls_parent_domain": domain, "server_pki_directory": directory}}
        for domain, directory in (("one.test", "{{ mtls_home }}/one"), ("auto", "{{ mtls_home }}/two"))
    ]
    (place.directory / "roles.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": roles}])
    )

    place.ok(os.path.relpath(place.directory / "roles", ROOT / "playbooks"), server_pki_key_type="ECDSA")

    for directory, host in (("one", "*.mtls.one.test"), ("two", "*.mtls.c-1a2b.kyma.example.com")):
        certificate = x509.load_pem_x509_certificate((place.directory / f"home/{directory}/server.crt").read_bytes())
        names_of = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names_of.get_values_for_type(x509.DNSName) == [host]


def test_cert_manager_keeps_the_key(place: Place) -> None:  # noqa: F811
    cluster = place.cluster
    cluster.install_kyma()
    cluster.install_issuers(*issuers.cert_manager_crds())
    roles = [{"role": f"kyma.mtls.{name}"} for name in ("client_pki", "server_pki", "gateway")]
    (place.directory / "roles.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": roles}])
    )

    # An earlier run had a CA of its own.
    own = [{"hosts": "localhost", "gather_facts": False, "roles": ["kyma.mtls.server_pki"]}]
    (place.directory / "own.yml").write_text(json.dumps(own))
    place.ok(os.path.relpath(place.directory / "own", ROOT / "playbooks"))
    controller = next(one for one in cluster.double.parts if isinstance(one, issuers.CertManager))
    chain = controller.ca.issuing.certificate_pem + controller.ca.root.certificate_pem

    shown = place.ok(
        os.path.relpath(place.directory / "roles", ROOT / "playbooks"),
        server_pki_provider="cert_manager",
        server_pki_cert_manager_issuer={"name": "company-ca"},
        server_pki_cert_manager_spec={"duration": "240h"},
        client_pki_provider="cert_manager",
        client_pki_provided_ca=chain.decode(),
        client_pki_cert_manager={"name": "company-ca"},
        client_pki_hours=24,
    )

    spec = cluster.body(issuers.CERT_MANAGER, "istio-system", "kyma-mtls")["spec"]
    assert spec["usages"] == ["digital signature", "server auth", "key encipherment"]
    assert (spec["duration"], spec["renewBeforePercentage"]) == ("240h", 33)
    after = cluster.body(SECRETS, "istio-system", "kyma-mtls")["data"]
    assert "PRIVATE KEY" not in shown
    home = place.directory / "home/pki/server"
    assert base64.b64decode(after["ca.crt"]) == (home / "ca.crt").read_bytes() == controller.ca.root.certificate_pem
    assert not (home / "server.key").exists()
    # The clients' keys are ours, and their CA is where the gateway looks for it.
    assert (place.directory / "home/pki/client/clients/curl/client.key").exists()
    assert {one["provider"] for one in register(place.directory, "client")} == {"cert_manager"}
    trusted = cluster.body(SECRETS, "istio-system", "kyma-mtls-clients-cacert")["data"]["cacert"]
    assert base64.b64decode(trusted) == controller.ca.root.certificate_pem


def test_trust_manager_gets_the_client_cas_from_nothing_to_nothing(place: Place) -> None:  # noqa: F811
    cluster = place.cluster
    cluster.install_kyma()
    cluster.install_issuers(*issuers.trust_manager_crds())
    bundle, credential = "kyma-mtls-clients", "configmap://istio-system/kyma-mtls-clients"
    given = {"gateway_client_ca_credential": credential, "gateway_client_ca_by_trust_manager": True}
    rules = permissions("__cluster_bundles")
    cluster.double.used.clear()
    cluster.double.mishaps.rules = rules

    place.ok("site", **given)

    trusted = (place.directory / "home/pki/client/ca-bundle.crt").read_text(encoding="utf-8")
    assert cluster.body(issuers.BUNDLE, "", bundle)["spec"]["sources"] == [{"inLine": trusted}]
    assert cluster.body("configmaps.", "istio-system", bundle)["data"] == {"ca.crt": trusted}
    served = cluster.body(managers.GATEWAY, "test", "kyma-mtls-gateway")["spec"]["servers"][0]
    assert served["tls"]["caCertCredentialName"] == credential
    assert names(cluster) == {"kyma-mtls"}
    place.ok("site", "teardown", **given)
    assert cluster.store.peek_all(issuers.BUNDLE) == []
    assert place.used() - OPTIONAL == asked_for(rules)
    refused = place.play("site", gateway_client_ca_by_trust_manager=True)
    assert refused.returncode != 0
    assert "needs gateway_client_ca_credential, as configmap://istio-system/NAME" in " ".join(refused.stdout.split())
