# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The local platform with real parts: what is applied is served, and what is refused leaves no trace."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import pathlib
import signal
import socket
import stat
import threading
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import keys
from ansible_collections.kyma.mtls.plugins.module_utils._local import apply, preflight, workloads
from ansible_collections.kyma.mtls.plugins.module_utils._local import environment as environments
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local.runtimes import Runtime


@pytest.fixture(scope="module")
def running_runtime() -> t.Iterator[Runtime]:
    with runtimes.runtime() as made, runtimes.taken_port() as made.port_of_somebody_else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("A_TOKEN_OF_THE_CALLER", "secret")
            made.apply()
        yield made


@pytest.fixture
def shared(running_runtime: Runtime) -> t.Iterator[Runtime]:
    """The tutorial's gateway and httpbin, running; every test finds it complete."""
    yield running_runtime
    running_runtime.pki.path("ca.crl").unlink(missing_ok=True)
    running_runtime.apply(accept_older_crl=True)


@contextlib.contextmanager
def requesting(runtime: Runtime) -> t.Iterator[list[tuple[int, str]]]:
    """A client that keeps requesting over new connections; gives the list of its answers."""
    answers: list[tuple[int, str]] = []
    ended = threading.Event()

    def request() -> None:
        while not ended.is_set():
            answer = runtime.get("/status/200")
            answers.append((answer.status, answer.failure))

    thread = threading.Thread(target=request)
    thread.start()
    try:
        runtimes.wait_for(lambda: answers, what="a first answer")
        yield answers
        before = len(answers)
        runtimes.wait_for(lambda: len(answers) > before + 2, what="further answers")
    finally:
        ended.set()
        thread.join()


def snapshot(runtime: Runtime) -> tuple[t.Any, ...]:
    """Everything that a refusal must leave alone."""
    return runtime.content(), runtime.platform.admin.accepted_versions(), runtime.pids()


# --- what is applied is served ------------------------------------------------------------------------------------


def test_workload_gets_the_identity_of_the_client(shared: Runtime) -> None:
    answer = shared.get()

    assert answer.status == 200
    assert b'"X-Client-Ssl-Cn": "O=ML Client Org,CN=ML Client Curl"' in answer.body
    assert b'"X-Client-Ssl-Issuer": "CN=ML Client Root CA,O=ML Client Org"' in answer.body


def test_clients_without_a_good_certificate_are_refused(shared: Runtime) -> None:
    impostor = samples.Authority("ML Client Root CA", "ML Client Org").issue((NameOID.COMMON_NAME, "ML Client Curl"))

    assert "CERTIFICATE_REQUIRED" in shared.get_as(None).failure
    assert "ALERT" in shared.get_as(impostor).failure


def test_second_run_changes_nothing_and_restarts_nothing(shared: Runtime) -> None:
    before = snapshot(shared)

    with requesting(shared) as answers:
        outcome = shared.apply()

    assert (outcome.changed, outcome.actions, outcome.differences) == (False, (), {})
    assert outcome.addresses == (f"127.0.0.1:{shared.port}",)
    assert snapshot(shared) == before
    assert set(answers) == {(200, "")}


def test_new_server_certificate_is_served_without_a_lost_request(shared: Runtime) -> None:
    pids = shared.pids()

    with requesting(shared) as answers:
        for _round in range(3):
            leaf, _key = shared.pki.new_server_certificate()
            outcome = shared.update(secrets=[shared.pki.server_secret()])
            wanted = x509.load_pem_x509_certificate(leaf).public_bytes(serialization.Encoding.DER)
            assert shared.served_certificate() == wanted

    assert len(outcome.actions) == 1
    assert outcome.actions[0].startswith("write sds/")
    assert list(outcome.differences) == ["Secret istio-system/kyma-mtls"]
    assert set(answers) == {(200, "")}
    assert shared.pids() == pids


def test_revocation_list_is_taken_up_when_it_appears(shared: Runtime) -> None:
    other = shared.pki.client_ca.issue((NameOID.COMMON_NAME, "other"))
    shared.pki.put("ca.crl", shared.pki.client_ca.revocation_list(other[0]))

    outcome = shared.apply()

    assert outcome.differences["Secret istio-system/kyma-mtls-cacert"][1]["crls"][0]["revoked"] == 1
    assert "CERTIFICATE_REVOKED" in shared.get_as(other).failure
    assert shared.get().status == 200


def test_client_cas_move_to_a_secret_of_their_own_without_a_lost_request(shared: Runtime) -> None:
    other = shared.pki.client_ca.issue((NameOID.COMMON_NAME, "other"))
    shared.pki.put("ca.crl", shared.pki.client_ca.revocation_list(other[0]))
    shared.apply()
    clients = {**shared.pki.client_secret(), "name": "kyma-mtls-clients-cacert", "replaces": "kyma-mtls-cacert"}
    gateway = samples.make_gateway(samples.make_server(caCertCredentialName="kyma-mtls-clients-cacert"))
    second = samples.make_gateway(samples.make_server("*.second.kyma.dev"), name="second")
    secret_files = ("sds/kyma-mtls-cacert/sds.json", "sds/kyma-mtls-clients-cacert/sds.json")

    shared.pki.put("ca.crl", shared.pki.client_ca.revocation_list())
    with pytest.raises(MtlsError, match=r"kyma-mtls-clients-cacert: the gateway has a CRL .* no longer be revoked"):
        shared.update(definition=[gateway], secrets=[clients])
    shared.pki.put("ca.crl", shared.pki.client_ca.revocation_list(other[0]))
    with requesting(shared) as answers:
        # While a Gateway takes its client CAs from the old one, it is kept.
        kept = shared.update(definition=[gateway, second], secrets=[clients])
        files = [(shared.layout.envoy / name).exists() for name in secret_files]
        shared.update(state="absent", definition=[second])
        moved = shared.update(definition=[gateway], secrets=[clients])
        assert not shared.update(definition=[gateway], secrets=[clients]).changed

    assert files == [True, True]
    assert "Secret istio-system/kyma-mtls-cacert" not in kept.differences
    assert moved.differences["Secret istio-system/kyma-mtls-cacert"][1] is None
    assert [(shared.layout.envoy / name).exists() for name in secret_files] == [False, True]
    assert set(answers) == {(200, "")}
    assert "CERTIFICATE_REVOKED" in shared.get_as(other).failure
    shared.apply()
    shared.update(state="absent", secrets=[{"name": "kyma-mtls-clients-cacert", "files": {}}])


def test_taking_back_the_workload_ends_its_process_and_keeps_the_gateway(shared: Runtime) -> None:
    envoy, workload = shared.pid("envoy"), shared.pid("workload-test-httpbin")
    objects = [samples.make_apirule(), *samples.make_backend()]

    outcome = shared.update(state="absent", definition=objects, workloads=[shared.workload()])

    assert outcome.changed
    assert workload not in shared.processes()
    assert shared.pid("envoy") == envoy
    assert shared.get().status == 404
    assert not shared.update(state="absent", definition=objects, workloads=[shared.workload()]).changed


def test_taking_back_everything_needs_no_files_and_closes_the_port(shared: Runtime) -> None:
    gone = [{"name": name, "files": {"tls.crt": "/nowhere"}} for name in ("kyma-mtls", "kyma-mtls-cacert")]

    shared.update(state="absent", definition=samples.make_objects(), secrets=gone, workloads=[shared.workload()])

    runtimes.wait_for(lambda: shared.get().failure == "ConnectionRefusedError", what="the port is closed")
    assert not [name for name in shared.content() if "sds/" in name]
    assert b"PRIVATE KEY" not in b"".join(
        data for name, data in shared.content().items() if not name.startswith("mesh/")
    )
    with pytest.raises(MtlsError, match=r"needs Secret istio-system/kyma-mtls .*no such Secret was given"):
        shared.update(definition=[samples.make_gateway()])


def test_envoy_that_missed_a_change_is_restarted(shared: Runtime) -> None:
    old = {path: path.read_bytes() for path in shared.layout.envoy.rglob("sds.json")}
    chain, key = (shared.pki.path(name).read_bytes() for name in ("server-chain.pem", "server.key"))
    shared.pki.new_server_certificate()
    shared.apply()
    # Written in place: Envoy watches for renames, and so does not see it.
    for path, data in old.items():
        path.write_bytes(data)
    shared.pki.put("server-chain.pem", chain)
    shared.pki.put("server.key", key)

    assert shared.update(secrets=[shared.pki.server_secret()], check_only=True).changed
    outcome = shared.update(secrets=[shared.pki.server_secret()])

    assert "have Envoy load its files" in outcome.actions
    assert shared.platform.admin.runs(shared.platform._versions({"x": next(iter(old.values()))}))
    assert not shared.apply().changed


def test_envoy_that_does_not_answer_is_restarted(shared: Runtime) -> None:
    pid = shared.pid("envoy")
    shared.layout.admin_socket.unlink()

    outcome = shared.apply()

    assert outcome.actions == ("have Envoy load its files",)
    assert shared.pid("envoy") != pid
    assert shared.get().status == 200


def test_other_bootstrap_restarts_envoy_and_is_put_back_when_that_fails(
    shared: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap = shared.layout.envoy / "bootstrap.json"
    good = bootstrap.read_bytes()
    older = good + b" \n"
    bootstrap.write_bytes(older)
    pid = shared.pid("envoy")
    with monkeypatch.context() as patch:
        patch.setattr(keys, "RSA_BITS_OF_SERVERS", 1024)
        patch.setattr(apply.LocalPlatform, "_validate", lambda *_arguments: None)
        with pytest.raises(MtlsError, match="Envoy refused the configuration"):
            shared.update(**weak_key(shared))
    assert bootstrap.read_bytes() == older

    outcome = shared.apply()

    assert outcome.actions == ("write bootstrap.json",)
    assert bootstrap.read_bytes() == good
    assert shared.pid("envoy") != pid
    runtimes.wait_for(lambda: shared.get().status == 200, what="an answer")


def test_other_packages_are_installed_and_restart_the_workload_only(
    shared: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "find_uv", lambda: "/bin/true")
    before = shared.pids()
    newer = shared.workload(requirements=runtimes.REQUIREMENTS.replace("0.10.4", "0.10.5"))
    try:
        predicted = shared.update(workloads=[newer], check_only=True)
        outcome = shared.update(workloads=[newer])
    finally:
        runtimes.record_installed(shared.layout, runtimes.HTTPBIN_PACKAGES)

    assert predicted.actions == ("install httpbin==0.10.5",)
    assert outcome.actions == ("install httpbin==0.10.5", "run workload-test-httpbin")
    after = shared.pids()
    assert after["envoy"] == before["envoy"]
    assert after["workload-test-httpbin"] != before["workload-test-httpbin"]


def test_envoy_of_an_older_version_keeps_its_process_and_every_request(shared: Runtime) -> None:
    supervisor = shared.platform.supervisor
    now = supervisor.configured()
    older = now["envoy"].replace(" --file-flush-interval-msec 100\n", " --file-flush-interval-msec 1000\n")
    assert older != now["envoy"]
    supervisor.replace(now | {"envoy": older})
    runtimes.wait_for(lambda: shared.get("/status/200").status == 200, what="the older one serves")
    before = shared.pids()

    with requesting(shared) as answers:
        outcome = shared.apply()

    assert set(answers) == {(200, "")}
    assert not outcome.changed
    assert shared.pids() == before


def test_remains_of_a_killed_run_are_removed(shared: Runtime) -> None:
    remains = shared.layout.scratch / "tmpabc" / "validate.json"
    remains.parent.mkdir()
    remains.write_bytes(shared.pki.path("server.key").read_bytes())

    assert not shared.apply().changed
    assert not list(shared.layout.scratch.iterdir())


def test_secret_file_that_is_gone_is_asked_for(shared: Runtime) -> None:
    for path in shared.layout.envoy.rglob("sds.json"):
        path.unlink()

    with pytest.raises(MtlsError, match=r"secret file of kyma-mtls in .* is gone .*Apply its Secret again"):
        shared.update(definition=[samples.make_namespace("other")])


# --- what is refused leaves no trace ------------------------------------------------------------------------------


def make_crl(authority: samples.Authority, *, days: tuple[int, int]) -> bytes:
    begin, end = (samples.NOW + datetime.timedelta(days=one) for one in days)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.name).last_update(begin).next_update(end)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def wrong_key(runtime: Runtime) -> runtimes.Json:
    key = runtime.pki.put("other.key", runtime.pki.server_ca.issue((NameOID.COMMON_NAME, "x"))[1])
    return {"secrets": [runtime.pki.server_secret(**{"tls.key": key})]}


def damaged_key(runtime: Runtime) -> runtimes.Json:
    key = runtime.pki.path("server.key").read_bytes()
    return {"secrets": [runtime.pki.server_secret(**{"tls.key": runtime.pki.put("damaged.key", key[:80])})]}


def chain_in_wrong_order(runtime: Runtime) -> runtimes.Json:
    chain = runtime.pki.path("server-chain.pem").read_bytes()
    middle = runtime.pki.client_ca.pem
    end = chain.index(b"-----BEGIN", 1)
    path = runtime.pki.put("wrong-order.pem", chain[:end] + middle + chain[end:])
    return {"secrets": [runtime.pki.server_secret(**{"tls.crt": path})]}


def weak_key(runtime: Runtime) -> runtimes.Json:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  (weak on purpose)
    builder = runtime.pki.server_ca._builder(x509.Name([]), key.public_key())  # type: ignore[arg-type]
    certificate = builder.sign(runtime.pki.server_ca.key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = {
        "tls.crt": runtime.pki.put("weak.pem", certificate.public_bytes(serialization.Encoding.PEM)),
        "tls.key": runtime.pki.put("weak.key", pem),
    }
    return {"secrets": [runtime.pki.server_secret(**files)]}


def client_files(runtime: Runtime, days: tuple[int, int] = (-2, 2), **names: str) -> runtimes.Json:
    paths = {
        "bundle": str(runtime.pki.path("ca-bundle.crt")),
        "crl": runtime.pki.put("list.crl", make_crl(runtime.pki.client_ca, days=days)),
    }
    files = {key.replace("_", "."): paths[what] for key, what in names.items()}
    return {"secrets": [{"name": "kyma-mtls-cacert", "files": files}]}


def taken_port(runtime: Runtime) -> runtimes.Json:
    return {"ports": {"443": runtime.port_of_somebody_else}}


REFUSALS: dict[str, tuple[t.Callable[[Runtime], runtimes.Json], str]] = {
    "key of another": (wrong_key, r"Secret istio-system/kyma-mtls: the private key does not belong to CN=.*sha256"),
    "damaged key": (damaged_key, "no private key in Secret istio-system/kyma-mtls"),
    "chain in wrong order": (chain_in_wrong_order, "the chain is not in order: .* was not issued by the next"),
    "key that Envoy refuses": (weak_key, "its key is RSA of 1024 bits, which Envoy does not load"),
    "missing file": (
        lambda runtime: {"secrets": [runtime.pki.server_secret(**{"tls.key": "/nowhere/key"})]},
        "file for tls.key of Secret istio-system/kyma-mtls /nowhere/key does not exist",
    ),
    "stale CRL": (
        lambda runtime: client_files(runtime, (-2, -1), cacert="bundle", crl="crl"),
        "the CRL of CN=ML Client Root CA.* is stale",
    ),
    "CRL under the other name": (
        lambda runtime: client_files(runtime, cacert="bundle", ca_crl="crl"),
        "Istio reads a CRL from ca.crl only beside ca.crt",
    ),
    "CRL under an unknown name": (
        lambda runtime: client_files(runtime, cacert="bundle", crl_pem="crl"),
        "reads no key named crl.pem",
    ),
    "both names of client CAs": (
        lambda runtime: client_files(runtime, cacert="bundle", ca_crt="bundle"),
        "cacert and ca.crt are both there",
    ),
    "client CAs in place of a certificate": (
        lambda runtime: {
            "secrets": [{"name": "kyma-mtls", "files": {"cacert": str(runtime.pki.path("ca-bundle.crt"))}}]
        },
        "Secret istio-system/kyma-mtls holds no certificate",
    ),
    "certificate in place of client CAs": (
        lambda runtime: {"secrets": [{**runtime.pki.server_secret(), "name": "kyma-mtls-cacert"}]},
        "Secret istio-system/kyma-mtls-cacert holds no client CAs",
    ),
    "unknown object": (
        lambda _runtime: {"definition": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}]},
        "does not support ConfigMap",
    ),
    "Secret among the definitions": (
        lambda _runtime: {"definition": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}]},
        "Secret x is among the definitions",
    ),
    "no object": (lambda _runtime: {"definition": [{"kind": "Gateway"}]}, "is not a Kubernetes object"),
    "no Kubernetes name": (
        lambda _runtime: {"definition": [{"kind": "Service", "metadata": {"name": "../x"}}]},
        "'../x' is not a Kubernetes name",
    ),
    "credential that nobody gave": (
        lambda _runtime: {"definition": [samples.make_gateway(samples.make_server(credentialName="other"))]},
        "needs Secret istio-system/other",
    ),
    "header without an end": (
        lambda _runtime: {
            "definition": [samples.make_apirule(samples.make_rule(request={"headers": {"X-A": "%NOPE%"}}))]
        },
        "field spec.rules.0..request.headers.X-A",
    ),
    "taken port": (taken_port, r"Port \d+ on 127.0.0.1 is taken by another process"),
    "no port": (lambda _runtime: {"ports": {"443": "https"}}, "'https' is not a TCP port"),
    "workload without socket": (
        lambda runtime: {"workloads": [runtime.workload(command=["gunicorn", "httpbin:app"])]},
        r"command of workload test/httpbin must contain \{socket\}",
    ),
    "workload without program": (
        lambda runtime: {"workloads": [runtime.workload(command=["nowhere", "{socket}"])]},
        "has no program nowhere",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_input_leaves_everything_as_it_was(running_runtime: Runtime, name: str) -> None:
    make, message = REFUSALS[name]
    before = snapshot(running_runtime)

    with pytest.raises(MtlsError, match=message) as caught:
        running_runtime.update(**make(running_runtime))

    assert snapshot(running_runtime) == before
    assert "-----BEGIN" not in str(caught.value)
    assert not list(running_runtime.layout.scratch.iterdir())


def test_refusals_cost_no_request(shared: Runtime) -> None:
    with requesting(shared) as answers:
        for make in (weak_key, taken_port, chain_in_wrong_order):
            with pytest.raises(MtlsError):
                shared.update(**make(shared))

    assert set(answers) == {(200, "")}


def test_port_that_needs_root_is_refused(running_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unprivileged(socket.socket):
        def bind(self, address: t.Any) -> None:
            if address[1] < 1024:
                raise PermissionError(13, "Permission denied")
            super().bind(address)

    before = snapshot(running_runtime)
    monkeypatch.setattr(preflight.socket, "socket", Unprivileged)

    with pytest.raises(MtlsError, match=r"may not listen on port 1023 .*from 1024 on"):
        running_runtime.update(ports={"443": 1023})

    assert snapshot(running_runtime) == before


@pytest.mark.parametrize("content", [b'{"kind": ', b"[]", b"\xff\xfe{}"])
def test_damaged_stored_object_is_refused_by_its_path(running_runtime: Runtime, content: bytes) -> None:
    path = running_runtime.layout.objects / "Service_test_httpbin.json"
    good = path.read_bytes()
    path.write_bytes(content)
    before = snapshot(running_runtime)
    try:
        with pytest.raises(MtlsError, match=f"stored object {path} is damaged"):
            running_runtime.apply()
        assert snapshot(running_runtime) == before
    finally:
        path.write_bytes(good)


def test_workload_that_does_not_come_up_is_taken_back(shared: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "READY_SECONDS", 0.2)
    before = shared.content()
    command = [*runtimes.COMMAND[:-1], "there.is.no:app"]

    with pytest.raises(MtlsError, match=r"local process of Deployment test/httpbin does not answer GET / .*\.log"):
        shared.update(workloads=[shared.workload(command=command)])

    assert shared.content() == before
    runtimes.wait_for(lambda: shared.get("/status/200").status == 200, what="the old workload serves again")
    assert not shared.apply().changed


def test_loosened_mode_of_a_key_is_corrected(shared: Runtime) -> None:
    path = next(one for one in (shared.layout.envoy / "sds").rglob("*.json") if b"private_key" in one.read_bytes())
    path.chmod(0o644)

    outcome = shared.apply()

    assert outcome.actions == (f"write {path.relative_to(shared.layout.envoy)}",)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not shared.apply().changed


def test_older_list_is_refused_and_a_removed_one_is_put_back_with_a_warning(shared: Runtime) -> None:
    gone = shared.pki.client_ca.issue((NameOID.COMMON_NAME, "gone"))
    shared.pki.put("ca.crl", shared.pki.client_ca.revocation_list(gone[0]))
    shared.apply()
    path = next(one for one in (shared.layout.envoy / "sds").rglob("*.json") if '"crl"' in one.read_text())
    published = path.read_bytes()
    before = snapshot(shared)

    shared.pki.put("ca.crl", shared.pki.client_ca.revocation_list())
    with pytest.raises(MtlsError, match="would no longer be revoked"):
        shared.apply()
    shared.pki.path("ca.crl").unlink()
    with pytest.raises(MtlsError, match="now there is none"):
        shared.apply(check_only=True)

    assert snapshot(shared) == before
    shared.pki.put("ca.crl", shared.pki.client_ca.revocation_list(gone[0]))
    document = json.loads(published)
    del document["resources"][0]["validation_context"]["crl"]
    path.write_text(json.dumps(document), encoding="utf-8")
    outcome = shared.apply()
    assert "removed the revocation list" in outcome.warnings[0]
    assert not shared.apply().warnings
    assert shared.apply(accept_older_crl=True).warnings == ()


def test_what_envoys_validator_refuses_leaves_everything_as_it_was(
    shared: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "RSA_BITS_OF_SERVERS", 1024)
    before = snapshot(shared)

    with pytest.raises(MtlsError, match=r"Envoy refuses the configuration .*2048-bit"):
        shared.update(**weak_key(shared))

    assert snapshot(shared) == before


def test_what_envoy_rejects_after_all_is_taken_back(shared: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of keys and the validator are switched off: then only the running Envoy says what is wrong."""
    monkeypatch.setattr(keys, "RSA_BITS_OF_SERVERS", 1024)
    monkeypatch.setattr(apply.LocalPlatform, "_validate", lambda *_arguments: None)
    before = snapshot(shared)

    with pytest.raises(MtlsError, match=r"Envoy refused the configuration: .*2048-bit.* See .*envoy\.log"):
        shared.update(**weak_key(shared))

    assert shared.content() == before[0]
    runtimes.wait_for(lambda: snapshot(shared) == before, what="Envoy runs what it ran before")
    assert shared.get().status == 200


def test_full_disk_half_way_is_taken_back(shared: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shared.content()
    write = apply.write_atomic
    calls: list[pathlib.Path] = []

    def write_until_full(path: pathlib.Path, data: bytes, *, mode: int) -> None:
        calls.append(path)
        if len(calls) == 3:  # the first is the validator's, the second the first of Envoy's
            raise MtlsError(f"The file {path} cannot be written: No space left on device.")
        write(path, data, mode=mode)

    shared.pki.new_server_certificate()
    shared.pki.put("ca-bundle.crt", shared.pki.client_ca.pem + samples.Authority("Other", "Org").pem)
    monkeypatch.setattr(apply, "write_atomic", write_until_full)

    with pytest.raises(MtlsError, match="No space left"):
        shared.apply()

    shared.pki.put("ca-bundle.crt", shared.pki.client_ca.pem)
    assert shared.content() == before
    assert shared.get().status == 200


# --- check mode ---------------------------------------------------------------------------------------------------


def test_check_mode_predicts_and_writes_nothing(shared: Runtime) -> None:
    shared.pki.new_server_certificate()
    before = snapshot(shared)

    predicted = shared.apply(check_only=True)
    assert snapshot(shared) == before
    done = shared.apply()

    assert predicted.changed
    assert (predicted.actions, dict(predicted.differences)) == (done.actions, dict(done.differences))


def test_check_mode_without_runtime_creates_nothing() -> None:
    with runtimes.runtime() as runtime:
        layout = runtime.layout
        layout.environment.rename(layout.root.with_name("elsewhere"))
        layout.root.rmdir()
        pending = runtime.pki.path("server.key")
        pending.unlink()

        outcome = runtime.apply(check_only=True)

        assert outcome.changed
        assert outcome.pending == (str(pending),)
        assert outcome.actions == ("install httpbin==0.10.4",)
        assert not layout.root.exists()


def test_check_mode_before_envoy_is_installed_names_the_objects() -> None:
    with runtimes.runtime() as runtime:
        (runtime.layout.installed / "envoy.sha256").unlink()

        outcome = runtime.apply(check_only=True)

        assert "Gateway test/kyma-mtls-gateway" in outcome.actions
        assert not runtime.layout.envoy.exists()


# --- secrets stay secret ------------------------------------------------------------------------------------------


def secret_texts(runtime: Runtime) -> list[bytes]:
    """The middle of every private key, in the forms in which it could leak."""
    key = runtime.pki.path("server.key").read_bytes()
    inner = key.splitlines()[2]
    return [b"PRIVATE KEY", inner, base64.b64encode(key)[64:128]]


def test_no_key_in_logs_arguments_environments_and_outcomes(shared: Runtime) -> None:
    shared.pki.new_server_certificate()
    outcome = shared.apply()
    with pytest.raises(MtlsError):
        shared.update(**weak_key(shared))

    texts = [repr(outcome).encode(), repr(shared.platform.store.load()).encode()]
    texts += [path.read_bytes() for path in shared.layout.logs.iterdir()]
    for pid in shared.processes():
        texts += [pathlib.Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]

    assert len(texts) > 10
    for secret in secret_texts(shared):
        assert not [text for text in texts if secret in text]


def test_processes_know_nothing_of_the_callers_environment(shared: Runtime) -> None:
    known = {"PATH", "LANG", "PYTHONNOUSERSITE", "LC_CTYPE", "KYMA_MTLS_PACKAGES"}
    environments = [pathlib.Path(f"/proc/{pid}/environ").read_bytes() for pid in shared.processes()]
    names = {entry.partition(b"=")[0].decode() for one in environments for entry in one.split(b"\0") if entry}

    assert {"PATH", "KYMA_MTLS_PACKAGES"} <= names
    assert {name for name in names - known if not name.startswith(("SUPERVISOR_", "SERVER_"))} == set()


def test_nobody_else_can_read_anything(shared: Runtime) -> None:
    kept = [path for path in shared.layout.root.rglob("*") if shared.layout.environment not in path.parents]
    kept = [path for path in kept if path != shared.layout.environment and not path.is_symlink()]

    assert len(kept) > 30
    for path in [shared.layout.root, *kept]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode & 0o077 == 0, f"{path} has mode {mode:04o}"


# --- what is killed comes back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["envoy", "workload-test-httpbin"])
def test_killed_process_comes_back_by_itself(shared: Runtime, name: str) -> None:
    victim = shared.pid(name)
    assert victim

    os.kill(victim, signal.SIGKILL)

    runtimes.wait_for(lambda: shared.pid(name) not in (None, 0, victim), what=f"a new {name}")
    runtimes.wait_for(lambda: shared.get("/status/200").status == 200, what="an answer")


def kill_supervisor(runtime: Runtime) -> None:
    pid = runtime.supervisor_pid()
    os.kill(pid, signal.SIGKILL)
    runtimes.wait_for(lambda: pid not in runtime.processes(), what="the supervisor is dead")


def test_orphans_of_a_killed_supervisor_are_replaced(shared: Runtime) -> None:
    kill_supervisor(shared)
    orphans = shared.pids()
    assert shared.get("/status/200").status == 200, "orphans serve on"

    assert shared.apply(check_only=True).actions == ("run envoy", "run workload-test-httpbin")
    outcome = shared.apply()

    assert outcome.changed
    runtimes.wait_for(lambda: shared.get("/status/200").status == 200, what="an answer")
    runtimes.wait_for(lambda: not set(orphans.values()) & set(shared.processes()), what="the orphans have ended")
    assert len([line for line in shared.processes().values() if "/_bin/envoy" in line]) == 1


def test_orphan_that_is_no_longer_wanted_is_ended(shared: Runtime) -> None:
    kill_supervisor(shared)
    orphan = shared.pid("workload-test-httpbin")

    shared.update(
        state="absent",
        definition=[samples.make_apirule(), *samples.make_backend()],
        workloads=[shared.workload()],
    )

    assert orphan not in shared.processes()
    assert shared.pid("workload-test-httpbin") is None


def test_supervisor_that_cannot_be_reached_is_replaced(shared: Runtime) -> None:
    old = shared.supervisor_pid()
    shared.layout.supervisor_socket.unlink()

    shared.apply()

    assert old not in shared.processes()
    assert len([line for line in shared.processes().values() if "supervisord" in line]) == 1
    runtimes.wait_for(lambda: shared.get("/status/200").status == 200, what="an answer")
    assert not shared.apply().changed


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing is put back."""


def test_run_killed_at_any_write_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    write = apply.write_atomic

    def interrupted_at(number: int) -> t.Callable[..., None]:
        remaining = iter(range(number))

        def write_or_die(path: pathlib.Path, data: bytes, *, mode: int) -> None:
            if next(remaining, None) is None:
                (path.parent / f".{path.name}.abc123").write_bytes(data[: len(data) // 2])
                raise Killed
            write(path, data, mode=mode)

        return write_or_die

    with runtimes.runtime() as runtime:
        interrupted = 0
        for number in range(1, 20):
            with monkeypatch.context() as patch, contextlib.suppress(Killed):
                patch.setattr(apply, "write_atomic", interrupted_at(number))
                runtime.apply()
                break
            interrupted += 1
        assert interrupted >= 4
        assert runtime.get().status == 200
        assert not runtime.apply().changed
        assert not [name for name in runtime.content() if "abc123" in name]


def test_run_killed_before_its_state_is_recorded_is_completed_by_the_next(
    shared: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_arguments: t.Any) -> None:
        raise Killed

    shared.pki.new_server_certificate()
    with monkeypatch.context() as patch:
        patch.setattr(apply.ObjectStore, "save", die)
        with pytest.raises(Killed):
            shared.apply()
    pids = shared.pids()

    outcome = shared.apply()

    assert (outcome.actions, list(outcome.differences)) == ((), ["Secret istio-system/kyma-mtls"])
    assert shared.pids() == pids
    assert not shared.apply().changed


def test_taken_port_on_an_empty_runtime_starts_nothing() -> None:
    with runtimes.runtime() as runtime, runtimes.taken_port() as port:
        with pytest.raises(MtlsError, match=rf"Port {port} on 127\.0\.0\.1 is taken"):
            runtime.apply(ports={"443": port})
        assert not runtime.processes()
        assert not runtime.content()


# --- two runtimes -------------------------------------------------------------------------------------------------


def test_runtime_with_a_long_and_odd_path_runs_beside_the_first(shared: Runtime, tmp_path: pathlib.Path) -> None:
    directory = tmp_path / ("long " * 12 + "100%h")
    directory.mkdir()
    second = Runtime(directory)
    before = snapshot(shared)
    try:
        assert not second.layout.sockets.is_relative_to(second.layout.root)
        second.apply()
        assert second.port != shared.port
        assert second.get().status == 200
        assert "ALERT" in second.get_as(shared.pki.client).failure
        assert stat.S_IMODE(second.layout.sockets.stat().st_mode) == 0o700
    finally:
        second.end()
    assert snapshot(shared) == before
    assert shared.get().status == 200


def listeners(**found: t.Any) -> bytes:
    resources = [{"name": name, "address": {"pipe": {}}, "log": log} for name, log in found.items()]
    return json.dumps({"resources": [{"name": "gateway", "address": {"socket_address": {}}}, *resources]}).encode()


@pytest.mark.parametrize(
    ("before", "after", "is_change"),
    [
        (None, listeners(shop=1), False),
        (listeners(shop=1), listeners(shop=1), False),
        (listeners(shop=1), listeners(shop=2), True),
        (listeners(shop=1), listeners(shop=1, other=1), False),
        (listeners(shop=1, other=1), listeners(shop=1), False),
        (b"{", listeners(shop=1), False),
        (b"[]", listeners(shop=1), False),
        (b'{"resources": [1]}', listeners(shop=1), False),
    ],
    ids=["first", "same", "changed", "added", "removed", "damaged", "list", "number"],
)
def test_kept_connections_matter_where_a_listener_of_a_workload_changes(
    before: bytes | None, after: bytes, is_change: bool
) -> None:
    assert apply._changes_sidecars(before, after) is is_change
