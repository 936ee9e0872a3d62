# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster for tests: the double of the Kubernetes API on a free port, with the real Python client in front of it."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t
from unittest import mock

import yaml

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import access, client, objects, run, waits
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.run import AppliedChanges, ApplyRun
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import issuers, kinds, manifests
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.cluster import Cluster
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api.server import Server

if t.TYPE_CHECKING:
    import pathlib

Json = dict[str, t.Any]
QUICK = {
    "established_after": 0.05,
    "pods_ready_after": 0.05,
    "manager_seconds": 0.05,
    "apirule_seconds": 0.1,
    "blocked_seconds": 0.05,
    "first_ready_seconds": 0.0,
}


class TestCluster:
    """A running double, and what a test does with it."""

    __test__ = False

    def __init__(self, cluster: Cluster, server: Server, kubeconfig: pathlib.Path) -> None:
        self.double = cluster
        self.server = server
        self.kubeconfig = kubeconfig
        self.store = cluster.store

    def api(self, *, retry_seconds: float = 10) -> client.Api:
        """A connection whose waiting is short."""
        api = client.connect({"kubeconfig": str(self.kubeconfig), "context": None})
        api.sleep = lambda seconds: time.sleep(seconds if seconds < 1 else 0.02)
        api._retry_seconds = retry_seconds
        return api

    def run(self, *, check_only: bool = False, timeout: float = 20, **options: t.Any) -> ApplyRun:
        return ApplyRun(self.api(), check_only=check_only, timeout_seconds=timeout, **options)

    def apply(self, *bodies: Json, check_only: bool = False, **options: t.Any) -> AppliedChanges:
        wait = options.pop("wait", True)
        sidecars = options.pop("with_sidecar", ())
        run = self.run(check_only=check_only, **options)
        return run.present(objects.desired(bodies, where="test"), wait=wait, with_sidecar=sidecars)

    def install_istio(self) -> None:
        """What Kyma's Istio manager installs, without the manager."""
        for stored, bodies in manifests.installed_by_istio("1.30.2"):
            if stored == "deployments.apps":
                self.store.set(
                    "namespaces.", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
                )
            for body in bodies:
                self.store.set(stored, body)
        definitions = "customresourcedefinitions.apiextensions.k8s.io"
        # A cluster whose controllers a test has taken away establishes nothing.
        while self.double.parts and not all(kinds.established(one) for one in self.store.peek_all(definitions)):
            time.sleep(0.02)

    def install_issuers(self, *crds: Json) -> None:
        """The kinds of an issuer in the cluster, and cert-manager's issuer company-ca where there are any."""
        for crd in crds:
            self.store.set("customresourcedefinitions.apiextensions.k8s.io", crd)
        definitions = "customresourcedefinitions.apiextensions.k8s.io"
        while not all(kinds.established(one) for one in self.store.peek_all(definitions)):
            time.sleep(0.02)
        issuer = {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "company-ca"}}
        self.store.set(issuers.CLUSTER_ISSUER, {**issuer, "spec": {"ca": {"secretName": "company-ca"}}})

    def install_kyma(self) -> None:
        """Both modules by their manifests and custom resources."""
        bodies = [*manifests.istio_manager("1.30.0"), *manifests.api_gateway_manager("3.10.0"), *kyma_resources()]
        self.apply(*bodies)

    def body(self, kind: str, namespace: str, name: str) -> Json:
        found = self.store.peek(kind, namespace, name)
        assert found is not None, f"{kind} {namespace}/{name}"
        return found


@contextlib.contextmanager
def cluster(directory: pathlib.Path, *, poll_seconds: float = 0.02, **mishaps: t.Any) -> t.Iterator[TestCluster]:
    """A cluster inside the block; its kubeconfig is a file in ``directory``."""
    double = Cluster()
    for key, value in {**QUICK, **mishaps}.items():
        setattr(double.mishaps, key, value)
    server = Server(double)
    # Where there is no second pass, a first Ready is final.
    settled = waits.SETTLED_SECONDS if double.mishaps.first_ready_seconds else 0
    with (
        server.running(),
        mock.patch.object(waits, "SETTLED_SECONDS", settled),
        mock.patch.object(access, "POLL_SECONDS", poll_seconds),
        mock.patch.object(run, "POLL_SECONDS", poll_seconds),
    ):
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()), encoding="utf-8")
        yield TestCluster(double, server, kubeconfig)


def kyma_resources() -> list[Json]:
    return [
        namespace("kyma-system"),
        {
            "apiVersion": "operator.kyma-project.io/v1alpha2",
            "kind": "Istio",
            "metadata": {"name": "default", "namespace": "kyma-system"},
        },
        {
            "apiVersion": "operator.kyma-project.io/v1alpha1",
            "kind": "APIGateway",
            "metadata": {"name": "default"},
            "spec": {"enableKymaGateway": True},
        },
    ]


def namespace(name: str = "test") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"istio-injection": "enabled"}},
    }


def gateway(name: str = "kyma-mtls-gateway", *, mode: str = "MUTUAL") -> Json:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {
            "selector": {"app": "istio-ingressgateway", "istio": "ingressgateway"},
            "servers": [
                {
                    "port": {"number": 443, "name": "mtls", "protocol": "HTTPS"},
                    "tls": {"mode": mode, "credentialName": "kyma-mtls"},
                    "hosts": ["*.mtls.local.kyma.dev"],
                }
            ],
        },
    }


def service(**spec: t.Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "httpbin", "namespace": "test", "labels": {"app": "httpbin"}},
        "spec": {"ports": [{"name": "http", "port": 8000, "targetPort": 8080}], "selector": {"app": "httpbin"}, **spec},
    }


def deployment(*, replicas: int = 1, image: str = "docker.io/mccutchen/go-httpbin:v2.15.0") -> Json:
    labels = {"app": "httpbin", "version": "v1"}
    container = {"name": "httpbin", "image": image, "ports": [{"containerPort": 8080}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "httpbin", "namespace": "test"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def apirule(name: str = "httpbin-mtls", *, methods: t.Sequence[str] = ("GET",), **spec: t.Any) -> Json:
    return {
        "apiVersion": "gateway.kyma-project.io/v2",
        "kind": "APIRule",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {
            "gateway": "test/kyma-mtls-gateway",
            "hosts": ["httpbin.mtls.local.kyma.dev"],
            "rules": [{"methods": list(methods), "noAuth": True, "path": "/*", "timeout": 300}],
            "service": {"name": "httpbin", "port": 8000},
            **spec,
        },
    }


def tutorial() -> list[Json]:
    """The tutorial's objects but the Secrets."""
    return [namespace(), gateway(), service(), deployment(), apirule()]


def actions(outcome: AppliedChanges) -> dict[str, str]:
    return {change.ref.label: change.action for change in outcome.changes}


def text_of(value: t.Any) -> str:
    return json.dumps(value, default=repr)
