# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objects as data: addresses, manifests, order, and what counts of them."""

from __future__ import annotations

import hashlib
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import objects
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._kubernetes import clusters

if t.TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "Gateway", "metadata": {"name": "x"}}, "apiVersion is missing"),
        ({"apiVersion": "v1", "metadata": {"name": "x"}}, "kind is missing"),
        ({"apiVersion": "v1", "kind": "Service"}, "Service has no metadata.name"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": "x"}, "Service has no metadata.name"),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}, "Give it by files, in secrets"),
    ],
)
def test_an_incomplete_object_is_refused(body: dict[str, t.Any], words: str) -> None:
    with pytest.raises(MtlsError) as caught:
        objects.desired([body], where="definition")
    assert words in str(caught.value)


def test_an_object_given_twice_is_refused() -> None:
    with pytest.raises(MtlsError, match="Namespace test is twice in definition"):
        objects.desired([clusters.namespace(), clusters.namespace()], where="definition")


def test_what_others_need_comes_first_and_what_reacts_comes_last() -> None:
    bodies = [clusters.apirule(), *clusters.kyma_resources(), clusters.deployment(), clusters.service()]
    kinds = [one.ref.kind for one in objects.in_order(objects.desired(bodies, where="test"))]
    assert kinds == ["Namespace", "Deployment", "Service", "Istio", "APIGateway", "APIRule"]


def test_a_manifest_is_read_when_its_digest_is_right(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: X\n", encoding="utf-8"
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [body["kind"] for body in objects.read_manifest(path, sha256=digest.upper())] == ["Namespace", "X"]
    with pytest.raises(MtlsError, match=f"its SHA-256 is {digest}, expected is {'0' * 64}.*Nothing of it was applied"):
        objects.read_manifest(path, sha256="0" * 64)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist"),
        ("a: [", "is not YAML"),
        ("", "holds no Kubernetes objects"),
        ("- a", "holds no Kubernetes"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: pathlib.Path, text: str | None, words: str) -> None:
    path = tmp_path / "manifest.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(MtlsError, match=words):
        objects.read_manifest(path, sha256=None)


def managed(manager: str, operation: str, fields: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def test_bookkeeping_does_not_count_and_ownership_does() -> None:
    fields = {"f:spec": {"f:ports": {'k:{"port":80}': {".": {}, "f:name": {}}}, "f:type": {}}}
    body = {
        "kind": "Service",
        "metadata": {
            "name": "x",
            "labels": {},
            "resourceVersion": "7",
            "managedFields": [managed("other", "Update", {}), managed("kyma.mtls", "Apply", fields, time="then")],
        },
        "spec": {"type": "ClusterIP"},
        "status": {"loadBalancer": {}},
    }
    found = objects.content(body)
    assert found == {
        "kind": "Service",
        "metadata": {"name": "x", "fields of kyma.mtls": ['spec.ports.{"port":80}.name', "spec.type"]},
        "spec": {"type": "ClusterIP"},
    }
    assert objects.applied_at(body) == "then"
    assert objects.content(None) is None


def test_an_object_that_is_not_ours_has_no_time_of_ours() -> None:
    body = {"metadata": {"managedFields": [managed("other", "Apply", {}), managed("kyma.mtls", "Apply", {})]}}
    assert objects.applied_at({"metadata": {}}) is None
    assert objects.applied_at(body) is None
    assert objects.declared_by(body) == {"other", "kyma.mtls"}
