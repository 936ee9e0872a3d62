# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a Gateway on a cluster takes its client CAs from: never from the server's own Secret, unnoticed."""

from __future__ import annotations

import base64
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.sources import secret_source
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client_cas
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import run as runs
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._istio_secret import gateways
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.modules.test_kubernetes_apply import actions, run

if t.TYPE_CHECKING:
    import pathlib

Json = dict[str, t.Any]
OLD, NEW = "kyma-mtls-cacert", "kyma-mtls-clients-cacert"
SECRETS = "secrets."
GATEWAY = "gateways.networking.istio.io"


@pytest.fixture
def cluster(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[clusters.TestCluster]:
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(runs, "SWITCH_SECONDS", 0.02)
    with clusters.cluster(tmp_path) as made:
        made.install_istio()
        yield made


@pytest.fixture
def pki(tmp_path: pathlib.Path) -> runtimes.Pki:
    (tmp_path / "pki").mkdir()
    return runtimes.Pki(tmp_path / "pki")


def gateway(name: str = "kyma-mtls-gateway", **tls: str) -> Json:
    body = clusters.gateway(name)
    body["spec"]["servers"][0]["tls"] |= tls
    return body


def before(cluster: clusters.TestCluster, pki: runtimes.Pki, **more: t.Any) -> Json:
    """What an earlier version applied."""
    definition = [clusters.namespace(), gateway()]
    return {"kubeconfig": str(cluster.kubeconfig), "definition": definition, "secrets": pki.secrets(), **more}


def now(cluster: clusters.TestCluster, pki: runtimes.Pki, **more: t.Any) -> Json:
    """What this one applies."""
    clients = {**pki.client_secret(), "name": NEW, "replaces": OLD}
    definition = [clusters.namespace(), gateway(caCertCredentialName=NEW)]
    return before(cluster, pki, definition=definition, secrets=[pki.server_secret(), clients], **more)


def set_istio(cluster: clusters.TestCluster, version: str | None) -> None:
    if version is None:
        cluster.store.drop("deployments.apps", "istio-system", "istiod")
        return
    body = dict(manifests.installed_by_istio(version))["deployments.apps"][0]
    cluster.store.set("deployments.apps", body)


def from_an_issuer(cluster: clusters.TestCluster, name: str = "kyma-mtls") -> None:
    """What an issuer in the cluster makes: the server's certificate, with its issuer in ca.crt."""
    authority = samples.Authority("Company CA", "Company")
    leaf, key = authority.issue((runtimes.NameOID.COMMON_NAME, "*.mtls.local.kyma.dev"))
    data = {"tls.crt": leaf + authority.pem, "tls.key": key, "ca.crt": authority.pem}
    cluster.store.set(
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "istio-system"},
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        },
    )


def names(cluster: clusters.TestCluster) -> set[str]:
    return {one["metadata"]["name"] for one in cluster.store.peek_all(SECRETS)}


def test_an_upgrade_publishes_the_new_secret_switches_the_gateway_and_removes_the_old_one(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, before(cluster, pki))
    predicted, _text = run(capsys, now(cluster, pki), check_mode=True, diff=True)
    assert names(cluster) == {"kyma-mtls", OLD}
    cluster.double.log.clear()
    made, _text = run(capsys, now(cluster, pki), diff=True)
    written = [
        one for one in cluster.double.log if one.startswith(("PATCH", "DELETE")) and "namespaces/test?" not in one
    ]
    again, _text = run(capsys, now(cluster, pki))

    assert actions(predicted) == actions(made)
    assert actions(made) == {
        "Namespace test": "unchanged",
        "Secret istio-system/kyma-mtls": "unchanged",
        f"Secret istio-system/{NEW}": "created",
        "Gateway test/kyma-mtls-gateway": "changed",
        f"Secret istio-system/{OLD}": "deleted",
    }
    order = [next(n for n, one in enumerate(written) if part in one) for part in (NEW, "kyma-mtls-gateway", f"/{OLD}")]
    assert order == sorted(order)
    assert names(cluster) == {"kyma-mtls", NEW}
    assert not again["changed"]
    assert "warnings" not in made
    gone, _text = run(capsys, {**now(cluster, pki), "state": "absent"})
    assert gone["changed"]
    assert names(cluster) == set()


def test_a_revocation_does_not_get_lost_on_the_way_to_the_new_secret(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = gateways.Authority("Client CA")
    pki.put("ca-bundle.crt", authority.pem)
    pki.put("ca.crl", authority.crl(10, 11, number=2))
    run(capsys, before(cluster, pki))
    pki.put("ca.crl", authority.crl(10, number=1))

    refused, _text = run(capsys, now(cluster, pki))

    assert "serial number b would no longer be revoked" in refused["msg"]
    assert names(cluster) == {"kyma-mtls", OLD}


@pytest.mark.parametrize(("version", "warns"), [("1.27.1", False), (None, True)])
def test_an_older_istio_gets_the_older_name(
    cluster: clusters.TestCluster,
    pki: runtimes.Pki,
    capsys: pytest.CaptureFixture[str],
    version: str | None,
    warns: bool,
) -> None:
    set_istio(cluster, version)
    made, _text = run(capsys, now(cluster, pki))
    again, _text = run(capsys, now(cluster, pki))

    assert names(cluster) == {"kyma-mtls", OLD}
    assert cluster.body(GATEWAY, "test", "kyma-mtls-gateway")["spec"]["servers"][0]["tls"] == {
        "mode": "MUTUAL",
        "credentialName": "kyma-mtls",
    }
    assert not again["changed"]
    assert ("The version of Istio is unknown" in str(made.get("warnings"))) is warns
    set_istio(cluster, "1.28.0-distroless")
    run(capsys, now(cluster, pki))
    assert names(cluster) == {"kyma-mtls", NEW}


@pytest.mark.parametrize("whose", ["given", "foreign", "unseen"])
def test_a_secret_that_another_gateway_uses_is_kept_up_to_date(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str], whose: str
) -> None:
    run(capsys, before(cluster, pki))
    arguments = now(cluster, pki)
    if whose == "given":
        other = gateway("other")
        other["spec"]["servers"][0]["hosts"] = ["*.other.local.kyma.dev"]
        arguments["definition"] = [*arguments["definition"], other]
    elif whose == "foreign":
        kind = cluster.store.kind_of("networking.istio.io/v1", "Gateway")
        cluster.store.create(kind, "test", gateway("foreign"), manager="kubectl")
    else:
        cluster.double.mishaps.forbidden = ["list gateways"]
    new = gateways.Authority("Another CA").pem
    pki.put("ca-bundle.crt", new)

    made, _text = run(capsys, arguments)

    assert names(cluster) == {"kyma-mtls", OLD, NEW}
    for name in (OLD, NEW):
        assert base64.b64decode(cluster.body(SECRETS, "istio-system", name)["data"]["cacert"]) == new
    assert ("cannot be seen without the permission to list" in str(made.get("warnings"))) is (whose == "unseen")


def test_a_secret_of_somebody_else_is_left_alone(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = {"metadata": {"name": OLD, "namespace": "istio-system"}, "data": {"cacert": "QQ=="}}
    cluster.store.set(SECRETS, {"apiVersion": "v1", "kind": "Secret", **foreign})
    made, _text = run(capsys, now(cluster, pki))
    assert f"Secret istio-system/{OLD}" not in actions(made)
    assert OLD in names(cluster)


@pytest.mark.parametrize("is_check", [True, False])
def test_a_gateway_open_to_the_servers_issuer_is_refused_before_anything_is_applied(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], is_check: bool
) -> None:
    from_an_issuer(cluster)
    arguments = {"kubeconfig": str(cluster.kubeconfig), "definition": [clusters.namespace(), gateway()]}

    refused, _text = run(capsys, arguments, check_mode=is_check)

    assert (
        "Gateway test/kyma-mtls-gateway would let in every client with a certificate of CN=Company CA" in refused["msg"]
    )
    assert f"Secret istio-system/{OLD}, which is not there" in refused["msg"]
    assert cluster.store.peek(GATEWAY, "test", "kyma-mtls-gateway") is None
    # The same with a name of its own, beside which there is such a Secret.
    from_an_issuer(cluster, "kyma-mtls-clients")
    arguments["definition"] = [clusters.namespace(), gateway(caCertCredentialName=NEW)]
    assert f"Secret istio-system/{NEW}, which is not there" in run(capsys, arguments)[0]["msg"]


def test_what_only_a_deletion_would_open_is_a_warning(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    from_an_issuer(cluster)
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "definition": [clusters.namespace(), gateway()],
        "secrets": [pki.client_secret()],
    }
    for _run in range(2):
        made, _text = run(capsys, arguments)
        assert "Whoever deletes it lets in every client with a certificate of CN=Company CA" in str(made["warnings"])
    clients = {**pki.client_secret(), "name": NEW, "replaces": OLD}
    arguments |= {"definition": [clusters.namespace(), gateway(caCertCredentialName=NEW)], "secrets": [clients]}
    made, _text = run(capsys, arguments)
    assert "warnings" not in made
    assert names(cluster) == {"kyma-mtls", NEW}


def test_client_cas_of_a_users_own_in_the_servers_secret_are_no_trap(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    from_an_issuer(cluster)
    body = cluster.body(SECRETS, "istio-system", "kyma-mtls")
    body["data"]["ca.crt"] = base64.b64encode(gateways.Authority("Clients").pem).decode()
    cluster.store.set(SECRETS, body)
    made, _text = run(capsys, {"kubeconfig": str(cluster.kubeconfig), "definition": [clusters.namespace(), gateway()]})
    assert "warnings" not in made


def test_a_configmap_of_client_cas_has_to_hold_some(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "definition": [clusters.namespace(), gateway(caCertCredentialName="configmap://istio-system/clients")],
        "secrets": [pki.server_secret()],
    }
    made, _text = run(capsys, arguments)
    assert "ConfigMap istio-system/clients, which is not there: nobody gets in" in str(made["warnings"])
    body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "clients", "namespace": "istio-system"}}
    cluster.store.set("configmaps.", {**body, "data": {"other": "x"}})
    assert "has neither cacert nor ca.crt" in str(run(capsys, arguments)[0]["warnings"])
    cluster.store.set("configmaps.", {**body, "data": {"ca.crt": "nothing"}})
    assert "ca.crt" in run(capsys, arguments)[0]["msg"]
    cluster.store.set("configmaps.", {**body, "data": {"ca.crt": pki.path("ca-bundle.crt").read_text()}})
    assert "warnings" not in run(capsys, arguments)[0]


def test_what_a_gateway_needs_and_nobody_gave_is_a_warning(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"kubeconfig": str(cluster.kubeconfig), "definition": [clusters.namespace(), gateway()]}
    warnings = str(run(capsys, arguments)[0]["warnings"])
    assert f"needs Secret istio-system/{OLD}, which is not there: nobody gets in" in warnings
    assert "takes the server's certificate from Secret istio-system/kyma-mtls, which is not there" in warnings
    cluster.double.mishaps.forbidden = ["get secrets"]
    assert "what it takes from Secrets of the cluster was not checked" in str(run(capsys, arguments)[0]["warnings"])
    pair = gateway()
    pair["spec"]["servers"][0]["tls"] = {"mode": "PASSTHROUGH"}
    arguments["definition"] = [clusters.namespace(), pair]
    assert "warnings" not in run(capsys, arguments)[0]


def test_a_status_looks_for_the_name_that_this_istio_has(cluster: clusters.TestCluster, pki: runtimes.Pki) -> None:
    given = [{**pki.client_secret(), "name": NEW, "replaces": OLD, "namespace": "istio-system"}]
    sources = [secret_source(one) for one in given]
    assert [one.name for one in client_cas.names_on(cluster.api(), sources)] == [NEW]
    set_istio(cluster, "1.27.1")
    assert [one.name for one in client_cas.names_on(cluster.api(), sources)] == [OLD]
    plain = [secret_source({**pki.server_secret(), "namespace": "istio-system", "optional_files": {}})]
    assert client_cas.names_on(cluster.api(), plain) == plain


@pytest.mark.parametrize("data", ["ca", "certificate"])
def test_a_secret_beside_that_cannot_be_read_opens_nothing(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    from_an_issuer(cluster, "kyma-mtls-clients")
    body = cluster.body(SECRETS, "istio-system", "kyma-mtls-clients")
    body["data"]["ca.crt" if data == "ca" else "tls.crt"] = base64.b64encode(b"nothing").decode()
    cluster.store.set(SECRETS, body)
    made, _text = run(capsys, now(cluster, pki))
    assert "warnings" not in made
