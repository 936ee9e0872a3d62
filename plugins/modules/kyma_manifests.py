#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kyma_manifests
short_description: Manifests of Kyma's modules, verified by SHA-256
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Fetches manifests of releases into a directory, each verified by its SHA-256. One that has another is not put there.
  - A manifest whose digest is known and that is there is not fetched again. Files that are in the directory without
    having been fetched (O(manifests[].url) is empty) are only verified.
  - In check mode a manifest is fetched where only its content tells whether it would change, and nothing is written.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  directory:
    description:
      - Directory for the manifests. It is made when it is missing.
    type: path
    required: true
  manifests:
    description:
      - The manifests.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file is, or shall be, below O(directory).
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
          - Whether the URL has another content with each release. It is then asked every time, and without
            O(manifests[].sha256) what it gives is believed.
        type: bool
        default: false
      variable:
        description: What a user sets to give the digest. Only messages use it.
        type: str
        default: ""
  require_sha256:
    description:
      - Whether a manifest without O(manifests[].sha256) is refused.
      - Otherwise it is believed when it is first used, and recorded in O(record). From then on only the same file is
        accepted for that O(manifests[].path), wherever it comes from.
      - A manifest without a given or recorded SHA-256 is never fetched over plain HTTP.
    type: bool
    default: true
  record:
    description:
      - File for the SHA-256 of manifests that were believed, in the format of C(sha256sum).
      - The default is C(SHA256SUMS) in O(directory).
    type: path
  timeout:
    description:
      - Seconds that a server may be silent.
    type: int
    default: 60
seealso:
  - module: kyma.mtls.kyma_modules_info
  - module: kyma.mtls.kubernetes_apply
"""

EXAMPLES = r"""
- name: Manifest of Kyma's Istio module is there
  kyma.mtls.kyma_manifests:
    directory: ~/.kyma-mtls/manifests
    manifests:
      - path: istio/releases/download/1.30.0/istio-manager.yaml
        url: https://github.com/kyma-project/istio/releases/download/1.30.0/istio-manager.yaml
        sha256: a88d8f9fabbaaf4a82b88179ff22805e26f9719f4ba9f987de94d747340bdb2d
  register: manifests
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
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._download import fetch
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import releases
from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure


def main() -> None:
    manifest = {
        "path": {"type": "str", "required": True},
        "url": {"type": "str", "default": ""},
        "sha256": {"type": "str", "default": ""},
        "moving": {"type": "bool", "default": False},
        "variable": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "manifests": {"type": "list", "elements": "dict", "required": True, "options": manifest},
            "require_sha256": {"type": "bool", "default": True},
            "record": {"type": "path"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"])
    with clean_failure(module):
        found = releases.obtain(
            directory,
            [releases.Manifest(**one) for one in module.params["manifests"]],
            fetch=lambda url: fetch(url, timeout_seconds=module.params["timeout"]),
            require_sha256=module.params["require_sha256"],
            check_only=module.check_mode,
            record=Path(module.params["record"]) if module.params["record"] else None,
        )
        for words in found.warnings:
            module.warn(words)
        module.exit_json(
            changed=found.changed,
            manifests=[
                {"path": str(directory / path), "sha256": digest or ""} for path, digest in found.digests.items()
            ],
        )


if __name__ == "__main__":
    main()
