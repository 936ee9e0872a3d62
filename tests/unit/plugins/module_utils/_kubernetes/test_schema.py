# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The comparison with the API's schema finds what a server would lose without a word."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.doubles.kubernetes_api import schema

DEPLOYMENT: dict[str, t.Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "one", "labels": {"app": "one"}},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "one"}},
        "template": {"spec": {"containers": [{"name": "one", "image": "one:1", "ports": [{"containerPort": 80}]}]}},
    },
}


def test_a_sound_object_has_no_problem() -> None:
    assert schema.problems(DEPLOYMENT) == []


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (["spec", "replica"], 2, "spec.replica: Extra inputs are not permitted"),
        (["spec", "replicas"], "2", "spec.replicas: Input should be a valid integer"),
        (
            ["spec", "selector"],
            None,
            "spec.selector: Input should be a valid dictionary or instance of V1LabelSelector",
        ),
        (["metadata", "labels", "app"], 7, "metadata.labels.app: Input should be a valid string"),
        (
            ["spec", "template", "spec", "containers"],
            [{"name": "one", "comand": ["true"]}],
            "spec.template.spec.containers.0.comand: Extra inputs are not permitted",
        ),
        (["kind"], "Deploiment", "no schema of apps/v1 Deploiment"),
    ],
)
def test_what_the_schema_does_not_allow_is_found(path: list[str], value: t.Any, found: str) -> None:
    body = copy.deepcopy(DEPLOYMENT)
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert schema.problems(body) == [found]
