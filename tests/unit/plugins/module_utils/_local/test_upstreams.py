# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody's own application behind the local platform: applied, changed under load, and taken back."""

from __future__ import annotations

import threading
import typing as t

import pytest
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running, samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import Json
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local.runtimes import Runtime

IDENTITY = {"X-Client-Cert-Subject": "subject=%DOWNSTREAM_PEER_SUBJECT%"}
APIRULE = samples.make_apirule(
    samples.make_rule(request={"headers": IDENTITY}), host=runtimes.HOST, service={"name": "shop", "port": 80}
)


def upstream(address: str, **fields: t.Any) -> Json:
    """The upstream of the Service shop, as the module has it."""
    return {"service": "test/shop", "port": 80, "address": address, "labels": {"app": "shop"}, **fields}


def only(*names: str) -> Json:
    """What denies everybody but the clients with these common names."""
    values = [f"subject=O=ML Client Org,CN={name}" for name in names]
    rule = {"to": [{"operation": {}}], "when": [{"key": "request.headers[X-Client-Cert-Subject]", "notValues": values}]}
    return samples.make_denial(rule, labels={"app": "shop"})


@pytest.fixture(scope="module")
def port() -> t.Iterator[int]:
    with running.echo_on_port() as found:
        yield found


@pytest.fixture(scope="module")
def runtime(port: int) -> t.Iterator[Runtime]:
    """A gateway in front of an application, and nothing else."""
    with runtimes.runtime() as made:
        parameters: Json = {
            "definition": [samples.make_gateway(), APIRULE],
            "workloads": [],
            "upstreams": [upstream(f"127.0.0.1:{port}")],
        }
        assert made.apply(check_only=True, **parameters).changed
        assert not made.layout.objects.exists() or not list(made.layout.objects.iterdir())
        assert made.apply(**parameters).changed
        assert not made.apply(**parameters).changed
        yield made


def test_an_application_is_served_without_a_process_of_ours(runtime: Runtime) -> None:
    answer = runtime.get()

    assert answer.status == 200
    assert answer.received("x-client-cert-subject") == ["subject=O=ML Client Org,CN=ML Client Curl"]
    assert list(runtime.pids()) == ["envoy"]


def test_a_client_that_may_not_pass_any_more_does_not_disturb_the_others(runtime: Runtime) -> None:
    shut_out = runtime.pki.client_ca.issue(
        (NameOID.COMMON_NAME, "shut out"), (NameOID.ORGANIZATION_NAME, "ML Client Org")
    )
    answers: list[int] = []
    ended = threading.Event()

    def request() -> None:
        while not ended.is_set():
            answers.append(runtime.get().status)

    threads = [threading.Thread(target=request) for _number in range(3)]
    for thread in threads:
        thread.start()
    seen = []
    try:
        for denial in (only("ML Client Curl"), only("ML Client Curl", "shut out"), only("ML Client Curl")):
            assert runtime.update(definition=[denial]).changed
            seen.append(runtime.get_as(shut_out).status)
        assert not runtime.update(definition=[denial]).changed
        assert runtime.update(definition=[denial], state="absent").changed
        seen.append(runtime.get_as(shut_out).status)
    finally:
        ended.set()
        for thread in threads:
            thread.join()

    assert seen == [403, 200, 403, 200]
    assert set(answers) == {200}
    assert len(answers) > 20


def test_another_address_takes_the_place_of_the_first(runtime: Runtime, port: int) -> None:
    with running.echo_on_port() as other:
        assert "upstream test/shop:80" in runtime.update(upstreams=[upstream(f"127.0.0.1:{other}")]).differences
        assert runtime.get().status == 200
    down = runtime.get()
    assert runtime.update(upstreams=[upstream(f"127.0.0.1:{port}")]).changed

    assert (down.status, runtime.get().status) == (503, 200)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"address": ""}, "The upstream of Service test/shop:80: the address '' is not one of unix:/path"),
        ({"address": "10.0.0.1:80"}, "is another machine, and without TLS"),
        ({"ca": "/none/ca.crt"}, "/none/ca.crt"),
    ],
)
def test_an_upstream_that_is_refused_leaves_everything_as_it_was(
    runtime: Runtime, port: int, changes: Json, reason: str
) -> None:
    before = runtime.content()
    with pytest.raises(MtlsError, match=reason):
        runtime.update(upstreams=[{**upstream(f"127.0.0.1:{port}"), **changes}])

    assert runtime.content() == before


def test_a_service_that_is_nowhere_is_named(runtime: Runtime, port: int) -> None:
    with pytest.raises(MtlsError, match='services "shop" not found'):
        runtime.update(upstreams=[upstream(f"127.0.0.1:{port}")], state="absent")
    assert runtime.update(definition=[APIRULE], upstreams=[upstream("")], state="absent").changed
    assert runtime.get().status == 404
    assert runtime.update(definition=[APIRULE], upstreams=[upstream(f"127.0.0.1:{port}")]).changed
