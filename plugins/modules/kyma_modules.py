#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kyma_modules
short_description: Fetch manifests of Kyma's modules, and compare them with a cluster
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Downloads release manifests into a directory, and verifies each by its SHA-256. One that differs is not stored.
  - A manifest whose digest is known and that is there is not fetched again. Files that are in the directory without
    having been fetched (O(manifests[].url) is empty) are only verified.
  - In check mode a manifest is downloaded if only its content shows whether it would change, and nothing is written.
  - With O(cluster) it reads which versions of Kyma's Istio module, of its Istio and of the API Gateway module the
    cluster has, and fails when Kyma does not support the change to those of the manifests. That is a downgrade, or an
    upgrade of Istio by more than one minor version. Kyma itself would only show C(Warning) and do nothing.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_kubernetes
  - kyma.mtls._kubeconfig
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  directory:
    description: Directory for the manifests. It is created when it is missing.
    type: path
    required: true
  manifests:
    description: The manifests.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path of the file below O(directory).
        type: str
        required: true
      url:
        description: Where it is fetched from. Empty for a file that is there already.
        type: str
        default: ""
      sha256:
        description:
          - SHA-256 of the file, 64 hexadecimal digits. Empty when it is not known. One that is given always counts.
        type: str
        default: ""
      moving:
        description:
          - Whether the URL has another content with each release. It is then fetched every time, and without
            O(manifests[].sha256) its content is trusted.
        type: bool
        default: false
      variable:
        description: What a user sets to give the digest. Only messages use it.
        type: str
        default: ""
  require_sha256:
    description:
      - Whether a manifest without O(manifests[].sha256) is refused.
      - Otherwise it is trusted on first use, and recorded in O(record). From then on only the same file is
        accepted for that O(manifests[].path), wherever it comes from.
      - A manifest without a given or recorded SHA-256 is never fetched over plain HTTP.
    type: bool
    default: true
  record:
    description:
      - File for the SHA-256 of manifests that were trusted on first use, in the format of C(sha256sum).
      - The default is C(SHA256SUMS) in O(directory).
    type: path
  timeout:
    description: Seconds that a server may be silent.
    type: int
    default: 60
  cluster:
    description: Whether to compare the manifests with the cluster that O(kubeconfig) and O(context) lead to.
    type: bool
    default: false
seealso:
  - module: kyma.mtls.kubernetes_apply
"""

EXAMPLES = r"""
- name: Fetch the manifest of Kyma's Istio module, and see whether the cluster can get it
  kyma.mtls.kyma_modules:
    directory: ~/.kyma-mtls/manifests
    manifests:
      - path: istio/releases/download/1.30.0/istio-manager.yaml
        url: https://github.com/kyma-project/istio/releases/download/1.30.0/istio-manager.yaml
        sha256: a88d8f9fabbaaf4a82b88179ff22805e26f9719f4ba9f987de94d747340bdb2d
    cluster: true
    context: k3d-kyma
  register: kyma_modules
"""

RETURN = r"""
manifests:
  description: The manifests, in the order given, as M(kyma.mtls.kubernetes_apply) takes them.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file.
      type: str
    sha256:
      description: SHA-256 of the file. Empty in check mode where another file is still there.
      type: str
  sample:
    - path: /home/jane/.kyma-mtls/manifests/istio/releases/download/1.30.0/istio-manager.yaml
      sha256: a88d8f9fabbaaf4a82b88179ff22805e26f9719f4ba9f987de94d747340bdb2d
installed:
  description: Versions on the cluster. Empty where none is installed, or where it is unknown.
  returned: with O(cluster)
  type: dict
  sample: {"api_gateway_module": "3.10.0", "istio": "1.30.2", "istio_module": "1.30.0"}
wanted:
  description: Versions in O(manifests).
  returned: with O(cluster)
  type: dict
  sample: {"api_gateway_module": "", "istio": "1.30.2", "istio_module": "1.30.0"}
states:
  description: State of the modules' custom resources, by C(istio) and C(api_gateway).
  returned: with O(cluster)
  type: dict
  sample: {"api_gateway": "Ready", "istio": "Ready"}
pending:
  description: Files that do not exist. In check mode they are not an error.
  returned: with O(cluster)
  type: list
  elements: str
  sample: []
"""

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._download import fetch
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client, kyma, objects, releases
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_kubernetes

MANIFEST = {
    "path": {"type": "str", "required": True},
    "url": {"type": "str", "default": ""},
    "sha256": {"type": "str", "default": ""},
    "moving": {"type": "bool", "default": False},
    "variable": {"type": "str", "default": ""},
}


def compare(given: dict[str, t.Any], manifests: t.Sequence[Path], *, check_only: bool) -> dict[str, t.Any]:
    """Return the versions of the cluster and of the manifests. Raises MtlsError when Kyma does not make that step."""
    kubeconfig = given["kubeconfig"]
    needed = [*manifests, *([Path(kubeconfig)] if kubeconfig else [])]
    pending = [path for path in needed if check_only and not path.exists()]
    there = [path for path in manifests if path not in pending]
    in_manifests = kyma.in_manifests(body for path in there for body in objects.read_manifest(path, sha256=None))
    if kubeconfig and Path(kubeconfig) in pending:
        installed = kyma.Versions()
    else:
        installed = kyma.on_cluster(client.connect({"kubeconfig": kubeconfig, "context": given["context"]}))
    kyma.refuse_unsafe(installed, in_manifests)
    return {
        "installed": installed.numbers(),
        "wanted": in_manifests.numbers(),
        "states": dict(installed.states),
        "pending": [str(path) for path in pending],
    }


def main() -> None:
    module = Module(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "manifests": {"type": "list", "elements": "dict", "required": True, "options": MANIFEST},
            "require_sha256": {"type": "bool", "default": True},
            "record": {"type": "path"},
            "timeout": {"type": "int", "default": 60},
            "cluster": {"type": "bool", "default": False},
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["cluster"]:
        require_kubernetes(module)
    directory = Path(given["directory"])
    with clean_failure(module):
        found = releases.obtain(
            directory,
            [releases.Manifest(**manifest) for manifest in given["manifests"]],
            fetch=lambda url: fetch(url, timeout_seconds=given["timeout"]),
            require_sha256=given["require_sha256"],
            check_only=module.check_mode,
            record=Path(given["record"]) if given["record"] else None,
        )
        for warning in found.warnings:
            module.warn(warning)
        manifests = [{"path": str(directory / path), "sha256": digest or ""} for path, digest in found.digests.items()]
        paths = [directory / path for path in found.digests]
        compared = compare(given, paths, check_only=module.check_mode) if given["cluster"] else {}
        module.exit_json(changed=found.changed, manifests=manifests, **compared)


if __name__ == "__main__":
    main()
