# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates of Gardener and cert-manager: awaited by their states, given up in the issuer's words, read back."""

from __future__ import annotations

import base64
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import objects, status
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import run as runs
from ansible_collections.kyma.mtls.plugins.modules import cluster_certificate_info, kyma_domain_info
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import issuers
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.test_kubernetes_apply import actions, run

if t.TYPE_CHECKING:
    import pathlib

Json = dict[str, t.Any]
HOST = "*.mtls.example.com"
GARDENER, CERT_MANAGER = "cert.gardener.cloud/v1alpha1", "cert-manager.io/v1"
PLACE = {"name": "kyma-mtls", "namespace": "istio-system"}


@pytest.fixture
def cluster(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[clusters.TestCluster]:
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.02)
    with clusters.cluster(tmp_path) as made:
        made.install_istio()
        made.install_issuers(*issuers.gardener_crds(), *issuers.cert_manager_crds())
        yield made


def gardener(**spec: t.Any) -> Json:
    own = {"commonName": HOST, "secretName": "kyma-mtls", "privateKey": {"algorithm": "ECDSA", "size": 256}}
    return {"apiVersion": GARDENER, "kind": "Certificate", "metadata": dict(PLACE), "spec": {**own, **spec}}


def cert_manager(issuer: str = "company-ca", **spec: t.Any) -> Json:
    own = {
        "secretName": "kyma-mtls",
        "dnsNames": [HOST],
        "issuerRef": {"name": issuer, "kind": "ClusterIssuer", "group": "cert-manager.io"},
        "privateKey": {"algorithm": "ECDSA", "size": 256},
        "usages": ["digital signature", "server auth"],
    }
    return {"apiVersion": CERT_MANAGER, "kind": "Certificate", "metadata": dict(PLACE), "spec": {**own, **spec}}


def apply(cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], *bodies: Json, **more: t.Any) -> Json:
    arguments = {"kubeconfig": str(cluster.kubeconfig), "definition": list(bodies), "wait_timeout": 20, **more}
    return run(capsys, arguments)[0]


def read(cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], **internal: t.Any) -> tuple[Json, str]:
    arguments = {"kubeconfig": str(cluster.kubeconfig), "name": "kyma-mtls"}
    return run(capsys, arguments, cluster_certificate_info, **internal)


@pytest.mark.parametrize(("make", "stored"), [(gardener, issuers.GARDENER), (cert_manager, issuers.CERT_MANAGER)])
def test_a_certificate_is_awaited_and_its_ready_of_an_earlier_generation_does_not_count(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], make: t.Callable[..., Json], stored: str
) -> None:
    assert apply(cluster, capsys, make())["changed"]
    first, shown = read(cluster, capsys)
    assert not apply(cluster, capsys, make())["changed"]
    # Longer than a few looks, in which the old one stands.
    cluster.double.mishaps.issuing_seconds = 0.5
    changed = make(dnsNames=[HOST, "mtls.example.com"]) if make is cert_manager else make(dnsNames=["mtls.example.com"])
    assert apply(cluster, capsys, changed)["changed"]
    second, _shown = read(cluster, capsys)

    assert first["facts"]["fingerprint_sha256"] != second["facts"]["fingerprint_sha256"]
    assert not apply(cluster, capsys, changed)["changed"]
    assert "PRIVATE KEY" not in shown
    key = base64.b64decode(cluster.body("secrets.", "istio-system", "kyma-mtls")["data"]["tls.key"]).decode()
    assert key.splitlines()[1] not in shown
    # Gardener's is the issuing intermediate, which is not a root.
    assert bool(second["ca"]) is (make is cert_manager)
    assert second["certificate"].count("BEGIN CERTIFICATE") == 2
    if stored == issuers.GARDENER:
        assert cluster.body(stored, "istio-system", "kyma-mtls")["spec"]["secretRef"]["name"] == "kyma-mtls"
    gone = apply(cluster, capsys, changed, state="absent")
    assert actions(gone) == {"Certificate istio-system/kyma-mtls": "deleted"}


def test_gardeners_back_off_ends_the_wait_in_its_words_and_a_retry_is_one_annotation(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "obtaining certificate failed: error: one or more domains had a problem: [*.mtls.example.com] time limit "
        "exceeded . Details: DNS TXT record '_acme-challenge.mtls.example.com' is not visible on public (or precheck) "
        "name servers. Failed check: DNS entry getting ready"
    )
    cluster.double.mishaps.issuer_says = text
    failed = apply(cluster, capsys, gardener())
    assert "Certificate istio-system/kyma-mtls: Error (obtaining certificate failed" in failed["msg"]
    assert "The controller tries again at 20" in failed["msg"]
    assert "No DNSProvider serves the domain" in failed["msg"]
    cluster.double.mishaps.issuer_says = ""
    assert "tries again at" in apply(cluster, capsys, gardener())["msg"]
    retried = gardener()
    retried["metadata"]["annotations"] = {issuers.RETRY: "reconcile"}
    assert "msg" not in apply(cluster, capsys, retried)
    assert not apply(cluster, capsys, gardener())["changed"]


def test_gardener_renews_when_it_is_told_to(cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]) -> None:
    apply(cluster, capsys, gardener())
    before = read(cluster, capsys)[0]["facts"]
    assert apply(cluster, capsys, gardener(renew=True))["changed"]
    assert read(cluster, capsys)[0]["facts"]["fingerprint_sha256"] != before["fingerprint_sha256"]
    assert not apply(cluster, capsys, gardener())["changed"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("", "no DNSProvider serves this domain yet"),
        ("Invalid", "Remove the other entry, or choose another domain"),
        ("Stale", "Stale (Stale)"),
    ],
)
def test_dns_that_does_not_get_ready_is_shown_with_its_state(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], state: str, words: str
) -> None:
    spec = {"dnsName": HOST, "ttl": 600, "targets": ["1.2.3.4"]}
    entry = {"apiVersion": "dns.gardener.cloud/v1alpha1", "kind": "DNSEntry", "metadata": dict(PLACE), "spec": spec}
    assert "msg" not in apply(cluster, capsys, entry)
    cluster.double.mishaps.dns_state = state
    spec["ttl"] = 300
    assert words in apply(cluster, capsys, entry, wait_timeout=1)["msg"]


def test_cert_managers_failure_comes_with_the_words_of_request_and_issuer(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = apply(cluster, capsys, cert_manager("nobody"), wait_timeout=1)
    assert "There is no ClusterIssuer nobody." in missing["msg"]
    assert 'Referenced "ClusterIssuer" not found' in missing["msg"]
    cluster.double.mishaps.issuer_says = "Vault failed to sign certificate: common name not allowed by this role"
    issuer = cluster.body(issuers.CLUSTER_ISSUER, "", "company-ca")
    condition = {"type": "Ready", "status": "False", "reason": "VaultError", "message": "Failed to initialize Vault"}
    cluster.store.set(issuers.CLUSTER_ISSUER, {**issuer, "status": {"conditions": [condition]}})
    refused = apply(cluster, capsys, cert_manager())
    assert "common name not allowed by this role" in refused["msg"]
    assert "cmctl renew --namespace istio-system kyma-mtls" in refused["msg"]
    assert "ClusterIssuer company-ca: VaultError: Failed to initialize Vault." in refused["msg"]
    # Somebody who may not look there is told what the Certificate says.
    cluster.double.mishaps.forbidden = ["list certificaterequests", "get clusterissuers"]
    assert "common name not allowed" in apply(cluster, capsys, cert_manager())["msg"]


def findings(cluster: clusters.TestCluster, body: Json) -> dict[str, tuple[str, bool]]:
    """What the status says of a Certificate and its Secret, and whether that is well."""
    ref = objects.ref_of(body, where="the test")
    expected = status.Expected(objects=((ref, "certificate_ready"),), secrets=())
    found = status.look({"kubeconfig": str(cluster.kubeconfig)}, expected)
    return {one.name.split()[0]: (one.state, one.is_well) for one in found if one.name.endswith("/kyma-mtls")}


@pytest.mark.parametrize("make", [gardener, cert_manager])
def test_the_status_looks_into_the_secret_whatever_the_certificate_says(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], make: t.Callable[..., Json]
) -> None:
    assert findings(cluster, make())["Certificate"] == ("missing", False)
    apply(cluster, capsys, make())
    well = findings(cluster, make())
    assert well["Certificate"][1]
    assert ", until 20" in well["Secret"][0]
    secret = cluster.body("secrets.", "istio-system", "kyma-mtls")
    cluster.store.set("secrets.", {**secret, "data": {**secret["data"], "tls.key": secret["data"]["tls.crt"]}})
    said = findings(cluster, make())
    assert (said["Certificate"], said["Secret"][1]) == (well["Certificate"], False)
    cluster.store.drop("secrets.", "istio-system", "kyma-mtls")
    assert findings(cluster, make())["Secret"] == ("missing", False)
    assert "or it was deleted. Run again" in read(cluster, capsys)[0]["msg"]


def test_a_renewal_that_fails_is_a_warning_while_the_certificate_is_good(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(cluster, capsys, cert_manager())
    body = cluster.body(issuers.CERT_MANAGER, "istio-system", "kyma-mtls")
    text = "The certificate request has failed to complete and will be retried: Vault is sealed"
    failed = {"type": "Issuing", "status": "False", "reason": "Failed", "message": text}
    body["status"]["conditions"].append({**failed, "observedGeneration": body["metadata"]["generation"]})
    cluster.store.set(issuers.CERT_MANAGER, body)
    result = apply(cluster, capsys, cert_manager())
    assert not result["changed"]
    assert "Vault is sealed, and the present certificate ends at 20" in str(result["warnings"])
    assert "cmctl renew --namespace istio-system kyma-mtls" in str(result["warnings"])
    said = findings(cluster, cert_manager())
    assert ("Vault is sealed" in said["Certificate"][0], said["Certificate"][1]) == (True, False)


def test_a_kind_that_the_cluster_does_not_have_is_named_with_who_brings_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with clusters.cluster(tmp_path) as made:
        made.install_istio()
        assert "clusters that Gardener manages have it" in apply(made, capsys, gardener())["msg"]
        assert "install cert-manager." in apply(made, capsys, cert_manager())["msg"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls.key": b""}, "has no tls.key. Its issuer has not finished"),
        ({"tls.key": None}, "has no tls.key. Its issuer has not finished"),
        ({"tls.crt": b"nothing"}, "tls.crt"),
    ],
)
def test_a_secret_that_no_gateway_could_serve_is_refused(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], change: dict[str, bytes | None], words: str
) -> None:
    assert "There is no Secret istio-system/kyma-mtls: its issuer has not" in read(cluster, capsys)[0]["msg"]
    assert read(cluster, capsys, check_mode=True)[0]["certificate"] == ""
    apply(cluster, capsys, gardener())
    secret = cluster.body("secrets.", "istio-system", "kyma-mtls")
    for key, value in change.items():
        secret["data"].pop(key)
        if value is not None:
            secret["data"][key] = base64.b64encode(value).decode()
    cluster.store.set("secrets.", secret)
    assert words in read(cluster, capsys)[0]["msg"]
    # The role gateway looks at it, too.
    gateway = clusters.gateway()
    gateway["spec"]["servers"][0]["tls"] |= {"mode": "SIMPLE"}
    assert words in apply(cluster, capsys, clusters.namespace(), gateway)["msg"]


def test_a_controller_that_does_not_run_is_said_to_be_missing(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.install_issuers(*issuers.trust_manager_crds())
    controllers = (issuers.CertManager, issuers.TrustManager, issuers.GardenerCertificates)
    cluster.double.parts = tuple(one for one in cluster.double.parts if not isinstance(one, controllers))
    bundle = {"apiVersion": "trust.cert-manager.io/v1alpha1", "kind": "Bundle", "metadata": {"name": "b"}, "spec": {}}
    for body, words in (
        (cert_manager(), "no status yet; is cert-manager running?"),
        (bundle, "no status yet; is trust-manager running?"),
        (gardener(), "no state yet; the change is not noticed yet"),
    ):
        assert words in apply(cluster, capsys, body, wait_timeout=0)["msg"]


def test_the_domain_of_the_cluster_is_that_of_kyma_gateway(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"kubeconfig": str(cluster.kubeconfig)}
    assert "Gateway kyma-system/kyma-gateway is not there" in run(capsys, arguments, kyma_domain_info)[0]["msg"]
    body = clusters.gateway("kyma-gateway")
    body["metadata"]["namespace"] = "kyma-system"
    cluster.store.set("gateways.networking.istio.io", body)
    assert run(capsys, arguments, kyma_domain_info)[0]["domain"] == "mtls.local.kyma.dev"
    body["spec"]["servers"][0]["hosts"] = ["*"]
    cluster.store.set("gateways.networking.istio.io", body)
    assert "so no domain is known. Set mtls_parent_domain" in run(capsys, arguments, kyma_domain_info)[0]["msg"]


def test_a_bundle_is_there_before_the_gateway_that_takes_its_client_cas_from_it(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.install_issuers(*issuers.trust_manager_crds())
    ca = issuers.Ca("Clients").root.certificate_pem.decode()
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}}
    target = {"configMap": {"key": "ca.crt"}, "namespaceSelector": selector}
    bundle = {
        "apiVersion": "trust.cert-manager.io/v1alpha1",
        "kind": "Bundle",
        "metadata": {"name": "kyma-mtls-clients"},
        "spec": {"sources": [{"inLine": ca}], "target": target},
    }
    gateway = clusters.gateway()
    gateway["spec"]["servers"][0]["tls"]["caCertCredentialName"] = "configmap://istio-system/kyma-mtls-clients"
    apply(cluster, capsys, gardener())
    cluster.double.log.clear()
    first = apply(cluster, capsys, clusters.namespace(), gateway, bundle)
    assert "which is not there: nobody gets in until it is" in str(first["warnings"])
    written = [line for line in cluster.double.log if line.startswith("PATCH")]
    order = [part for line in written for part in ("bundles", "gateways") if f"/{part}/" in line]
    assert order == ["bundles", "gateways"]
    again = apply(cluster, capsys, clusters.namespace(), gateway, bundle)
    assert not again["changed"]
    assert "warnings" not in again
    assert cluster.body("configmaps.", "istio-system", "kyma-mtls-clients")["data"] == {"ca.crt": ca}
