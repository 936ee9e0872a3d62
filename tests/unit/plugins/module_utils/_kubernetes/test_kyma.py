# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of Kyma's modules, and the steps between them that Kyma makes."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import kyma
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.kyma import Versions
from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import manifests
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters

if t.TYPE_CHECKING:
    import pathlib


def test_versions_are_read_from_manifests() -> None:
    bodies = [*manifests.istio_manager("1.30.0"), *manifests.api_gateway_manager("3.10.0")]
    found = kyma.in_manifests(bodies)
    assert (found.istio_module, found.istio, found.api_gateway_module) == ("1.30.0", "1.30.2", "3.10.0")


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("europe-docker.pkg.dev/kyma-project/prod/istio/releases/istio-manager:1.30.0", "1.30.0"),
        ("mirror:5000/istio-manager:1.30.0-experimental", "1.30.0"),
        ("mirror/istio-manager:1.30.0@sha256:00", "1.30.0"),
        ("mirror/istio-manager:main-abcdef", ""),
        ("mirror/istio-manager", ""),
    ],
)
def test_only_a_released_version_is_one(image: str, version: str) -> None:
    deployment = {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}
    assert kyma.module_version(deployment) == version
    assert kyma.istio_of(deployment) == ""


def test_versions_are_read_from_a_cluster(tmp_path: pathlib.Path) -> None:
    with clusters.cluster(tmp_path) as cluster:
        assert kyma.on_cluster(cluster.api()) == Versions()
        cluster.install_kyma()
        found = kyma.on_cluster(cluster.api())
    assert (found.istio_module, found.istio, found.api_gateway_module) == ("1.30.0", "1.30.2", "3.10.0")
    assert found.states == {"istio": "Ready", "api_gateway": "Ready"}


@pytest.mark.parametrize(
    ("installed", "desired", "words"),
    [
        (
            Versions(istio_module="1.30.0"),
            Versions(istio_module="1.29.0"),
            "Kyma's Istio module is 1.30.0 on",
        ),
        (Versions(api_gateway_module="3.10.0"), Versions(api_gateway_module="3.9.0"), "API Gateway module is 3.10.0"),
        (Versions(istio="1.30.2"), Versions(istio="1.30.1"), "A downgrade is not supported"),
        (
            Versions(istio="1.28.6"),
            Versions(istio="1.30.2"),
            "first install a release of Kyma's Istio module with",
        ),
        (Versions(istio="1.30.2"), Versions(istio="2.0.0"), "one minor version at a time"),
    ],
)
def test_a_step_that_kyma_does_not_make_is_refused(installed: Versions, desired: Versions, words: str) -> None:
    with pytest.raises(MtlsError) as caught:
        kyma.refuse_unsafe(installed, desired)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("installed", "desired"),
    [
        (Versions(), Versions(istio_module="1.30.0", istio="1.30.2")),
        (Versions(istio_module="1.27.4", istio="1.29.3"), Versions(istio_module="1.30.0", istio="1.30.2")),
        (Versions(istio_module="1.30.0", istio="1.30.2"), Versions(istio_module="1.30.0", istio="1.30.2")),
        (Versions(api_gateway_module="3.9.0"), Versions(api_gateway_module="3.10.0")),
        (Versions(istio="1.30.2"), Versions()),
    ],
)
def test_other_steps_are_made(installed: Versions, desired: Versions) -> None:
    kyma.refuse_unsafe(installed, desired)
