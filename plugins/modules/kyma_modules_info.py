#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kyma_modules_info
short_description: Which versions of Kyma's Istio and API Gateway modules a cluster has
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Reads the versions of Kyma's Istio module, of the Istio that it has installed, and of the API Gateway module.
  - Given manifests, it fails when going to their versions is a step that Kyma does not make. These are a downgrade, and
    an Istio that is more than one minor version ahead. Kyma itself would only say C(Warning) and do nothing.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_kubernetes
options:
  kubeconfig:
    description: Path of the kubeconfig on the target host.
    type: path
  context:
    description: Context in the kubeconfig.
    type: str
  manifests:
    description: Files on the target host with the manifests of the modules that are to be installed.
    type: list
    elements: path
    default: []
requirements:
  - kubernetes >= 29.0
seealso:
  - module: kyma.mtls.kubernetes_apply
"""

EXAMPLES = r"""
- name: Versions are known, and the upgrade is possible
  kyma.mtls.kyma_modules_info:
    context: k3d-kyma
    manifests:
      - ~/.kyma-mtls/manifests/istio/releases/download/1.30.0/istio-manager.yaml
  register: kyma_modules
"""

RETURN = r"""
installed:
  description: Versions on the cluster. Empty where there is none, or where it cannot be told.
  returned: success
  type: dict
  sample: {"api_gateway_module": "3.10.0", "istio": "1.30.2", "istio_module": "1.30.0"}
wanted:
  description: Versions in O(manifests).
  returned: success
  type: dict
  sample: {"api_gateway_module": "", "istio": "1.30.2", "istio_module": "1.30.0"}
states:
  description: State of the modules' custom resources, by C(istio) and C(api_gateway).
  returned: success
  type: dict
  sample: {"api_gateway": "Ready", "istio": "Ready"}
pending:
  description: Files that are not there. In check mode they make no failure.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client, kyma, objects
from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure, require_kubernetes


def versions(found: kyma.Versions) -> dict[str, str]:
    """Return ``found`` as a result."""
    return {
        "istio_module": found.istio_module,
        "istio": found.istio,
        "api_gateway_module": found.api_gateway_module,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
            "manifests": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    require_kubernetes(module)
    with clean_failure(module):
        paths = [Path(path) for path in module.params["manifests"]]
        kubeconfig = module.params["kubeconfig"]
        needed = [*paths, *([Path(kubeconfig)] if kubeconfig else [])]
        pending = [path for path in needed if module.check_mode and not path.exists()]
        wanted = kyma.in_manifests(
            body for path in paths if path not in pending for body in objects.read_manifest(path, sha256=None)
        )
        if kubeconfig and Path(kubeconfig) in pending:
            installed = kyma.Versions()
        else:
            installed = kyma.on_cluster(client.connect({"kubeconfig": kubeconfig, "context": module.params["context"]}))
        kyma.refuse_unsafe(installed, wanted)
        module.exit_json(
            changed=False,
            installed=versions(installed),
            wanted=versions(wanted),
            states=dict(installed.states),
            pending=[str(path) for path in pending],
        )


if __name__ == "__main__":
    main()
