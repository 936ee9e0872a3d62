# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write down what the cluster holds: ``held.py KUBECONFIG DIRECTORY``.

DIRECTORY gets ``objects.json`` (the tutorial's objects, for comparing), ``served.json`` (what the local platform is to
serve, without what only a server sets) and ``secrets/NAME/KEY``.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from kubernetes.config import new_client_from_config
from kubernetes.dynamic import DynamicClient

LISTS = (
    "/api/v1/namespaces/test/serviceaccounts",
    "/api/v1/namespaces/test/services",
    "/apis/apps/v1/namespaces/test/deployments",
    "/apis/networking.istio.io/v1/namespaces/test/gateways",
    "/apis/gateway.kyma-project.io/v2/namespaces/test/apirules",
)
KINDS = ("ServiceAccount", "Service", "Deployment", "Gateway", "APIRule")
KEPT = ("name", "namespace", "labels", "annotations")


def main(kubeconfig: str, directory: Path) -> None:
    client = DynamicClient(new_client_from_config(kubeconfig))

    def get(path: str) -> dict:
        return json.loads(client.request("GET", path, serialize=False).data)

    objects = [get("/api/v1/namespaces/test")]
    for path, kind in zip(LISTS, KINDS, strict=True):
        version = path.split("/namespaces")[0].removeprefix("/apis/").removeprefix("/api/")
        objects += [{**one, "kind": kind, "apiVersion": version} for one in get(path)["items"]]
    secrets = get("/api/v1/namespaces/istio-system/secrets")["items"]
    for secret in secrets:
        place = directory / "secrets" / secret["metadata"]["name"]
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key, value in secret["data"].items():
            (place / key).touch(mode=0o600)
            (place / key).write_bytes(base64.b64decode(value))
    served = [
        {
            **{key: value for key, value in one.items() if key not in ("status", "metadata")},
            "metadata": {key: value for key, value in one["metadata"].items() if key in KEPT},
        }
        for one in objects
    ]
    (directory / "served.json").write_text(json.dumps(served), encoding="utf-8")
    kind = {"kind": "Secret", "apiVersion": "v1"}
    shown = [{**one, **kind, "data": dict.fromkeys(one["data"], "data")} for one in secrets]
    (directory / "objects.json").write_text(json.dumps(objects + shown), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
