# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules kubernetes_apply and kyma_modules as Ansible calls them."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import typing as t

import pytest
import yaml
from ansible.module_utils.common import warnings as kept_warnings
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import run as runs
from ansible_collections.kyma.mtls.plugins.modules import kubernetes_apply, kyma_modules
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._istio_secret import gateways
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes

if t.TYPE_CHECKING:
    import pathlib

Json = dict[str, t.Any]
SERVER = "Secret istio-system/kyma-mtls"


@pytest.fixture
def cluster(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[clusters.TestCluster]:
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.02)
    with clusters.cluster(tmp_path) as made:
        made.install_istio()
        yield made


@pytest.fixture
def pki(tmp_path: pathlib.Path) -> runtimes.Pki:
    (tmp_path / "pki").mkdir()
    return runtimes.Pki(tmp_path / "pki")


def run(
    capsys: pytest.CaptureFixture[str], arguments: Json, module: t.Any = kubernetes_apply, **internal: t.Any
) -> tuple[Json, str]:
    """The module's result, and everything that it printed."""
    arguments = {**arguments, **{f"_ansible_{key}": value for key, value in internal.items()}}
    kept_warnings._global_warnings.clear()  # every call has a process of its own elsewhere
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    captured = capsys.readouterr()
    result: Json = json.loads(captured.out)
    return result, captured.out + captured.err


def actions(result: Json) -> dict[str, str]:
    return {one["object"]: one["action"] for one in result["changes"]}


def without_secrets(text: str, pki: runtimes.Pki) -> bool:
    """Whether nothing of the files is in ``text``, in any form."""
    for name in ("server.key", "server-chain.pem", "ca-bundle.crt"):
        data = pki.path(name).read_bytes()
        lines = data.decode().splitlines()[1:-1]
        encoded = base64.b64encode(data).decode()
        if any(line in text for line in lines) or encoded[:40] in text or encoded in text:
            return False
    return True


def test_secrets_and_gateway_are_applied_and_nothing_of_a_secret_is_shown(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "definition": [clusters.namespace(), clusters.gateway()],
        "secrets": pki.secrets(),
    }
    predicted, told = run(capsys, arguments, check_mode=True, diff=True)
    made, shown = run(capsys, arguments, diff=True)
    again, _text = run(capsys, arguments)

    assert predicted["pending"] == ["Gateway test/kyma-mtls-gateway"]
    assert actions(predicted) == actions(made)
    assert actions(made)[SERVER] == "created"
    assert not again["changed"]
    assert again["requests"] <= 2 * 4 + 2 + 3
    held = cluster.body("secrets.", "istio-system", "kyma-mtls")
    assert held["type"] == "kubernetes.io/tls"
    assert base64.b64decode(held["data"]["tls.key"]) == pki.path("server.key").read_bytes()
    assert cluster.body("secrets.", "istio-system", "kyma-mtls-cacert")["type"] == "Opaque"
    after = json.loads(made["diff"]["after"])[SERVER]
    assert after["data"] == {"tls.crt": "(not shown)", "tls.key": "(not shown)"}
    assert len(after["holds"]["certificate"]["fingerprint_sha256"].replace(":", "")) == 64
    assert without_secrets(told + shown, pki)


def test_a_renewed_certificate_is_a_change_that_is_told_in_words(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"kubeconfig": str(cluster.kubeconfig), "secrets": pki.secrets()}
    run(capsys, arguments)
    pki.new_server_certificate()
    predicted, _text = run(capsys, arguments, check_mode=True, diff=True)
    made, text = run(capsys, arguments, diff=True)

    assert actions(made) == {SERVER: "changed", "Secret istio-system/kyma-mtls-cacert": "unchanged"}
    assert predicted["diff"] == made["diff"]
    before, after = (json.loads(made["diff"][side])[SERVER] for side in ("before", "after"))
    assert before["holds"]["certificate"]["fingerprint_sha256"] != after["holds"]["certificate"]["fingerprint_sha256"]
    assert (before["data (compared)"], after["data (compared)"]) == ("another", "as given")
    assert without_secrets(text, pki)


def test_a_secret_that_somebody_has_spoilt_is_set_back(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"kubeconfig": str(cluster.kubeconfig), "secrets": pki.secrets()}
    run(capsys, arguments)
    kind = cluster.store.kind_of("v1", "Secret")
    spoilt = {"data": {"tls.crt": base64.b64encode(b"spoilt").decode()}}
    cluster.store.merge_patch(
        kind, "istio-system", "kyma-mtls", spoilt, manager="kubectl", status=False, strategic=False, dry_run=False
    )
    made, text = run(capsys, arguments, diff=True)

    assert json.loads(made["diff"]["before"])[SERVER]["holds"] == "nothing that the gateway could use"
    assert ".data.tls.crt (set by kubectl)" in json.dumps(made["warnings"])
    assert not run(capsys, arguments)[0]["changed"]
    assert without_secrets(text, pki)


def test_a_secret_of_another_type_is_told_with_what_to_do(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = cluster.store.kind_of("v1", "Secret")
    body = {"metadata": {"name": "kyma-mtls"}, "type": "Opaque", "data": {}}
    cluster.store.create(kind, "istio-system", body, manager="kubectl-create")
    arguments = {"kubeconfig": str(cluster.kubeconfig), "secrets": pki.secrets()}
    failed, text = run(capsys, arguments)

    assert failed["failed"]
    assert "made with another type. Delete it" in failed["msg"]
    assert without_secrets(text, pki)


def test_a_secret_that_the_gateway_could_not_use_never_gets_to_the_server(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    _leaf, other_key = pki.client_ca.issue((runtimes.NameOID.COMMON_NAME, "other"))
    secret = pki.server_secret(**{"tls.key": pki.put("other.key", other_key)})
    failed, _text = run(capsys, {"kubeconfig": str(cluster.kubeconfig), "secrets": [secret]})
    assert "the private key does not belong to" in failed["msg"]
    assert cluster.double.log == []


CLIENTS = "Secret istio-system/kyma-mtls-cacert"


@pytest.fixture
def revoked(cluster: clusters.TestCluster, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Json:
    """What was applied: a client CA with a list of two revoked clients."""
    authority = gateways.Authority("Client CA")
    for name, data in (
        ("ca.pem", authority.pem),
        ("new.crl", authority.crl(10, 11, number=2)),
        ("old.crl", authority.crl(10, number=1)),
    ):
        (tmp_path / name).write_bytes(data)
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "definition": [],
        "secrets": [{"name": "kyma-mtls-cacert", "files": crl_files(tmp_path, "new.crl")}],
    }
    made, _text = run(capsys, arguments)
    assert "warnings" not in made
    return arguments


def crl_files(directory: pathlib.Path, crl: str) -> Json:
    return {"cacert": str(directory / "ca.pem"), "crl": str(directory / crl)}


@pytest.mark.parametrize("is_check", [True, False])
def test_an_older_crl_is_refused_before_anything_is_applied(
    cluster: clusters.TestCluster,
    revoked: Json,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    is_check: bool,
) -> None:
    held = cluster.body("secrets.", "istio-system", "kyma-mtls-cacert")
    arguments = {
        **revoked,
        "definition": [clusters.namespace("never")],
        "secrets": [{"name": "kyma-mtls-cacert", "files": crl_files(tmp_path, "old.crl")}],
    }

    refused, _text = run(capsys, arguments, check_mode=is_check)

    assert "(number 2, " in refused["msg"]
    assert "serial number b would no longer be revoked" in refused["msg"]
    assert "accept_older_crl" in refused["msg"]
    assert cluster.body("secrets.", "istio-system", "kyma-mtls-cacert") == held
    assert cluster.store.peek("namespaces.", "", "never") is None
    gone = {**revoked, "secrets": [{"name": "kyma-mtls-cacert", "files": {"cacert": str(tmp_path / "ca.pem")}}]}
    assert "now there is none" in run(capsys, gone, check_mode=is_check)[0]["msg"]


@pytest.mark.parametrize("is_check", [True, False])
def test_a_secret_that_is_too_large_is_refused_before_anything_is_sent(
    cluster: clusters.TestCluster, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], is_check: bool
) -> None:
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 - 10))
    (tmp_path / "more").write_bytes(b"x" * 11)
    files = {"crl": str(tmp_path / "large"), "note": str(tmp_path / "more")}
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "definition": [clusters.namespace("never")],
        "secrets": [{"name": "large", "files": files, "for_gateway": False}],
    }
    cluster.double.log.clear()

    refused, _text = run(capsys, arguments, check_mode=is_check)

    assert "Secret istio-system/large has 1.00 MiB of data, 1.00 MiB of it in crl, but" in refused["msg"]
    assert "Rotate the client CA (rotate=client_ca)" in refused["msg"]
    assert refused["msg"].endswith("Nothing was sent.")
    assert cluster.double.log == []
    (tmp_path / "more").write_bytes(b"x" * 10)
    assert run(capsys, arguments, check_mode=is_check)[0]["changed"]


def test_an_older_crl_is_published_with_a_warning_when_that_is_wanted(
    revoked: Json, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = [{"name": "kyma-mtls-cacert", "files": crl_files(tmp_path, "old.crl")}]

    made, _text = run(capsys, {**revoked, "secrets": secrets, "accept_older_crl": True})
    again, _text = run(capsys, {**revoked, "secrets": secrets})

    assert actions(made) == {CLIENTS: "changed"}
    assert "serial number b would no longer be revoked" in str(made["warnings"])
    assert not again["changed"]
    assert "warnings" not in again


@pytest.mark.parametrize("how", ["edited", "made anew"])
def test_a_crl_that_somebody_removed_from_the_secret_is_put_back_loudly(
    cluster: clusters.TestCluster, revoked: Json, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    held = cluster.body("secrets.", "istio-system", "kyma-mtls-cacert")
    kind = cluster.store.kind_of("v1", "Secret")
    if how == "edited":
        place = ("istio-system", "kyma-mtls-cacert")
        edited = {**held, "data": {"cacert": held["data"]["cacert"]}}
        cluster.store.update(kind, *place, edited, manager="kubectl-edit", status=False)
    else:
        cluster.store.delete(kind, "istio-system", "kyma-mtls-cacert")
        made_anew = {"metadata": {"name": "kyma-mtls-cacert"}, "data": {"cacert": held["data"]["cacert"]}}
        cluster.store.create(kind, "istio-system", {**held, **made_anew}, manager="kubectl-create")

    predicted, _text = run(capsys, revoked, check_mode=True)
    made, _text = run(capsys, revoked)
    again, _text = run(capsys, revoked)

    assert "removed the revocation list (crl): REVOKED CLIENTS GOT IN. It would be put back" in str(
        predicted["warnings"]
    )
    assert "removed the revocation list (crl): REVOKED CLIENTS GOT IN. It was put back" in str(made["warnings"])
    assert cluster.body("secrets.", "istio-system", "kyma-mtls-cacert")["data"] == held["data"]
    assert not again["changed"]
    assert "warnings" not in again


def test_a_crl_that_is_gone_is_taken_out_of_its_secret(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = cluster.store.kind_of("v1", "Secret")
    name = "kyma-mtls-cacert"
    old = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"cacert": "QQ==", "crl": "QQ=="}}
    cluster.store.apply(kind, "istio-system", old, manager="kyma.mtls", force=False, dry_run=False)
    run(capsys, {"kubeconfig": str(cluster.kubeconfig), "secrets": [pki.client_secret()]})
    assert set(cluster.body("secrets.", "istio-system", name)["data"]) == {"cacert"}


def test_without_files_and_cluster_check_mode_predicts_everything(
    tmp_path: pathlib.Path, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    pki.path("server.key").unlink()
    arguments = {
        "kubeconfig": str(tmp_path / "nowhere"),
        "definition": [clusters.namespace()],
        "secrets": pki.secrets(),
        "manifests": [{"path": str(tmp_path / "manifest.yaml")}],
    }
    predicted, _text = run(capsys, arguments, check_mode=True, diff=True)
    assert predicted["changed"]
    assert predicted["pending"] == [
        str(tmp_path / "nowhere"),
        str(tmp_path / "manifest.yaml"),
        str(pki.path("server.key")),
    ]
    gone, _text = run(capsys, {**arguments, "state": "absent"}, check_mode=True)
    assert not gone["changed"]


def test_what_was_applied_is_deleted_without_its_files(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "definition": [clusters.namespace(), clusters.service()],
        "secrets": pki.secrets(),
    }
    run(capsys, arguments)
    pki.path("server.key").unlink()
    removed, _text = run(capsys, {**arguments, "state": "absent"})
    assert list(actions(removed)) == [
        "Service test/httpbin",
        "Secret istio-system/kyma-mtls-cacert",
        "Secret istio-system/kyma-mtls",
        "Namespace test",
    ]
    assert not run(capsys, {**arguments, "state": "absent"})[0]["changed"]


def test_addresses_of_services_are_told(cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]) -> None:
    service = {"api_version": "v1", "kind": "Service", "name": "istio-ingressgateway", "namespace": "istio-system"}
    arguments = {"kubeconfig": str(cluster.kubeconfig), "wait_for": [{**service, "until": "load_balancer_address"}]}
    result, _text = run(capsys, arguments)
    assert not result["changed"]
    assert result["addresses"] == {"istio-system/istio-ingressgateway": "127.0.0.1"}


def test_what_is_not_there_in_time_is_named(cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str]) -> None:
    missing = {"api_version": "example.org/v1", "kind": "Thing", "name": "it"}
    arguments = {"kubeconfig": str(cluster.kubeconfig), "wait_for": [missing], "wait_timeout": 0}
    failed, _text = run(capsys, arguments)
    assert failed["msg"] == "Not ready after 0 s: Thing it: not there."
    assert failed["waiting"] == ["Thing it: not there"]


def test_what_is_waited_for_is_told_to_who_listens(
    cluster: clusters.TestCluster,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KYMA_MTLS_PROGRESS", str(tmp_path / "waiting"))
    missing = {"api_version": "example.org/v1", "kind": "Thing", "name": "it"}
    run(capsys, {"kubeconfig": str(cluster.kubeconfig), "wait_for": [missing], "wait_timeout": 1})
    assert (tmp_path / "waiting").read_text() == "Thing it: not there"


def test_a_secret_that_somebody_made_immutable_is_refused_in_words(
    cluster: clusters.TestCluster, pki: runtimes.Pki, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"kubeconfig": str(cluster.kubeconfig), "secrets": pki.secrets()}
    run(capsys, arguments)
    kind = cluster.store.kind_of("v1", "Secret")
    cluster.store.merge_patch(
        kind, "istio-system", "kyma-mtls", {"immutable": True},
        manager="kubectl", status=False, strategic=False, dry_run=False,
    )  # fmt: skip
    assert not run(capsys, arguments)[0].get("failed")
    pki.new_server_certificate()
    failed, text = run(capsys, arguments)
    assert "field is immutable when `immutable` is set" in failed["msg"]
    assert "made immutable. Delete it" in failed["msg"]
    assert without_secrets(text, pki)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sidecars": ["httpbin"]}, "sidecars: 'httpbin' is not namespace/name"),
        ({"kubeconfig": "/nowhere/kubeconfig"}, "no usable connection to a cluster in /nowhere/kubeconfig"),
        ({"context": "other"}, "no usable connection"),
    ],
)
def test_what_cannot_be_used_is_told(
    cluster: clusters.TestCluster, capsys: pytest.CaptureFixture[str], arguments: Json, words: str
) -> None:
    failed, _text = run(capsys, {"kubeconfig": str(cluster.kubeconfig), **arguments})
    assert words in failed["msg"]


def test_a_cluster_that_is_down_is_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with clusters.cluster(tmp_path) as cluster:
        kubeconfig = cluster.kubeconfig
    failed, _text = run(capsys, {"kubeconfig": str(kubeconfig), "definition": [clusters.namespace()]})
    assert "does not answer" in failed["msg"]


def test_an_object_in_both_a_manifest_and_the_definition_is_refused(
    cluster: clusters.TestCluster, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(clusters.namespace()), encoding="utf-8")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    arguments = {"kubeconfig": str(cluster.kubeconfig), "manifests": [{"path": str(path), "sha256": digest}]}
    failed, _text = run(capsys, {**arguments, "definition": [clusters.namespace()]})
    assert failed["msg"] == "Given more than once: Namespace test."
    assert actions(run(capsys, arguments)[0]) == {"Namespace test": "created"}
    assert actions(run(capsys, {**arguments, "state": "absent"})[0]) == {}


def test_a_library_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    for module, options in (
        (kubernetes_apply, {}),
        (kyma_modules, {"directory": "/d", "manifests": [], "cluster": True}),
    ):
        failed, _text = run(capsys, options, module)
        assert "Failed to import the required Python library (kubernetes)" in failed["msg"]


def test_versions_are_told_and_a_downgrade_is_refused(
    cluster: clusters.TestCluster, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests.write(tmp_path)
    cluster.install_kyma()
    path = "istio/releases/download/{}/istio-manager.yaml"
    arguments = {
        "kubeconfig": str(cluster.kubeconfig),
        "directory": str(tmp_path),
        "require_sha256": False,
        "cluster": True,
        "manifests": [{"path": path.format("1.30.0")}],
    }
    found, _text = run(capsys, arguments, kyma_modules)
    assert found["installed"] == {"istio_module": "1.30.0", "istio": "1.30.2", "api_gateway_module": "3.10.0"}
    assert found["wanted"] == {"istio_module": "1.30.0", "istio": "1.30.2", "api_gateway_module": ""}
    assert found["states"] == {"istio": "Ready", "api_gateway": "Ready"}

    older = {**arguments, "manifests": [{"path": path.format("1.27.4")}]}
    failed, _text = run(capsys, older, kyma_modules)
    assert "A downgrade is not supported" in failed["msg"]


def test_versions_of_a_cluster_that_is_not_there_are_none_in_check_mode(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "istio-manager.yaml").write_text("kind: Namespace\n")
    arguments = {
        "kubeconfig": str(tmp_path / "kubeconfig"),
        "directory": str(tmp_path),
        "require_sha256": False,
        "cluster": True,
        "manifests": [{"path": "istio-manager.yaml"}],
    }
    found, _text = run(capsys, arguments, kyma_modules, check_mode=True)
    assert found["pending"] == [arguments["kubeconfig"]]
    assert set(found["installed"].values()) == {""}
