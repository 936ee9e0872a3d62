# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What applying objects changes, decided before anything is touched."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import plan
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.store import AppliedState
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes

EMPTY = AppliedState(objects={}, secrets={}, ports={}, workloads={})


@pytest.fixture
def runtime() -> t.Iterator[runtimes.Runtime]:
    with runtimes.runtime() as made:
        yield made


def desired(
    runtime: runtimes.Runtime, *, current: AppliedState = EMPTY, predict: bool = False, **parameters: t.Any
) -> plan.DesiredState:
    request = plan.LocalRequest.of(runtime.parameters(**parameters))
    layout = RuntimeLayout.at("/home/me/r")
    return plan.desired(request, current=current, layout=layout, predict=predict, now=samples.NOW)


@pytest.mark.parametrize("value", [0, 65536, -1, "", "https", "²", "4 3", None, 44.3])
def test_what_is_no_port_is_refused(value: t.Any) -> None:
    with pytest.raises(MtlsError, match="is not a TCP port"):
        plan.port_number(value)


@pytest.mark.parametrize("value", [1, "443", 65535])
def test_port_may_be_text_as_in_yaml_keys(value: t.Any) -> None:
    assert plan.port_number(value) == int(value)


def test_home_is_expanded_in_the_files_of_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    source = plan.secret_source(
        {"name": "s", "namespace": "n", "files": {"key": "~/k"}, "optional_files": {"crl": "~/c"}}
    )

    assert (source.files, source.optional_files) == ({"key": "/home/me/k"}, {"crl": "/home/me/c"})
    assert source.label == "Secret n/s"


def test_state_has_no_secret_data(runtime: runtimes.Runtime) -> None:
    wanted = desired(runtime)

    assert "PRIVATE" not in repr(wanted)
    assert "BEGIN" not in repr(wanted.state)
    assert "PRIVATE" not in repr(plan.differences(EMPTY, wanted.state))


def test_differences_are_named_for_a_person(runtime: runtimes.Runtime) -> None:
    wanted = desired(runtime)

    found = plan.differences(EMPTY, wanted.state)

    assert list(found) == [
        "APIRule test/httpbin-mtls",
        "Deployment test/httpbin",
        "Gateway test/kyma-mtls-gateway",
        "Namespace test",
        "Service test/httpbin",
        "ServiceAccount test/httpbin",
        "Secret istio-system/kyma-mtls",
        "Secret istio-system/kyma-mtls-cacert",
        "workload test/httpbin",
        "port 443",
    ]
    assert found["workload test/httpbin"][1]["packages"] == ["httpbin==0.10.4"]
    assert {old for old, _new in found.values()} == {None}
    assert plan.differences(wanted.state, wanted.state) == {}


def test_request_is_merged_into_what_was_applied(runtime: runtimes.Runtime) -> None:
    before = desired(runtime).state

    after = desired(
        runtime, current=before, definition=[samples.make_namespace("b")], secrets=[], ports={}, workloads=[]
    ).state

    assert list(plan.differences(before, after)) == ["Namespace b"]


def test_workload_is_run_once_its_deployment_is_there(runtime: runtimes.Runtime) -> None:
    gateway = [samples.make_namespace(), samples.make_gateway()]

    assert desired(runtime, definition=gateway).workloads() == ()
    assert [one.deployment for one in desired(runtime).workloads()] == ["test/httpbin"]


def test_namespace_that_is_not_written_is_default_everywhere(runtime: runtimes.Runtime) -> None:
    deployment = samples.make_deployment()
    del deployment["metadata"]["namespace"]

    wanted = desired(runtime, definition=[deployment], workloads=[runtime.workload(deployment="default/httpbin")])

    assert [one.deployment for one in wanted.workloads()] == ["default/httpbin"]


def test_missing_file_is_pending_only_in_a_prediction(runtime: runtimes.Runtime) -> None:
    runtime.pki.path("server.key").unlink()

    wanted = desired(runtime, predict=True)

    assert wanted.pending == (str(runtime.pki.path("server.key")),)
    assert wanted.state.secrets["Secret istio-system/kyma-mtls"] == {"files": "not there yet"}
    with pytest.raises(MtlsError, match=r"file for tls\.key of Secret istio-system/kyma-mtls .* does not exist"):
        desired(runtime)


def test_gateway_of_an_apirule_is_pending_only_in_a_prediction(runtime: runtimes.Runtime) -> None:
    workload = [*samples.make_backend(), samples.make_apirule()]

    wanted = desired(runtime, definition=workload, secrets=[], predict=True)

    assert wanted.pending == ("Gateway test/kyma-mtls-gateway",)
    with pytest.raises(MtlsError, match="Could not get specified Gateway test/kyma-mtls-gateway"):
        desired(runtime, definition=workload, secrets=[])


def test_taking_back_the_gateway_of_an_apirule_is_refused_in_a_prediction_too(runtime: runtimes.Runtime) -> None:
    before = desired(runtime).state

    for predict in (False, True):
        with pytest.raises(MtlsError, match="Could not get specified Gateway"):
            desired(runtime, current=before, state="absent", definition=[samples.make_gateway()], predict=predict)


def test_taking_back_reads_no_file(runtime: runtimes.Runtime) -> None:
    before = desired(runtime).state
    runtime.pki.path("server.key").write_bytes(b"damaged")
    runtime.pki.path("ca-bundle.crt").unlink()

    for predict in (False, True):
        wanted = desired(runtime, current=before, state="absent", predict=predict)
        assert (wanted.pending, wanted.state.objects, wanted.state.secrets) == ((), {}, {})


def test_secret_of_another_namespace_is_none_of_the_gateways(runtime: runtimes.Runtime) -> None:
    secrets = [{"namespace": "test", **runtime.pki.server_secret()}, runtime.pki.client_secret()]

    with pytest.raises(MtlsError, match="needs Secret istio-system/kyma-mtls"):
        desired(runtime, secrets=secrets)


def test_client_cas_may_be_in_the_servers_secret(runtime: runtimes.Runtime) -> None:
    secrets = [runtime.pki.server_secret(**{"ca.crt": str(runtime.pki.path("ca-bundle.crt"))})]

    files = plan.gateway_files(desired(runtime, secrets=secrets))

    kinds = {key for document in files.values() for key in document["resources"][0]}
    assert {"tls_certificate", "validation_context"} <= kinds


def labelled(name: str, owner: str) -> dict[str, t.Any]:
    rule = samples.make_apirule(name=name, host=f"{name}.mtls.local.kyma.dev", service={"name": name, "port": 80})
    return {**rule, "metadata": {**rule["metadata"], "labels": {"example.org/owner": owner}}}


def test_labelled_objects_that_are_no_longer_asked_for_go_with_their_upstreams(runtime: runtimes.Runtime) -> None:
    rules = [labelled("shop", "mine"), labelled("old", "mine"), labelled("foreign", "theirs")]
    upstreams = [
        {"service": f"test/{name}", "port": 80, "address": "127.0.0.1:1", "labels": {}}
        for name in ("shop", "old", "foreign")
    ]
    before = desired(runtime)
    there = desired(
        runtime, current=before.state, definition=[*before.state.objects.values(), *rules], upstreams=upstreams
    )
    left = desired(
        runtime, current=there.state, definition=rules[:1], upstreams=upstreams[:1], prune="example.org/owner=mine"
    )
    gone = plan.differences(there.state, left.state)

    assert sorted(gone) == ["APIRule test/old", "upstream test/old:80"]
    unlabelled = desired(runtime, current=there.state, definition=rules[:1], upstreams=[], prune="example.org/owner=")
    assert plan.differences(there.state, unlabelled.state) == {}
