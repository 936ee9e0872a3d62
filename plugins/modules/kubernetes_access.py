#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_access
short_description: Check whether a Kubernetes cluster can be used
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Asks an API server for its version and for what its user may do, and fails with everything that is not allowed.
  - Optionally waits until the nodes and CoreDNS are ready.
  - Changes nothing. Permissions are checked by reviews (SelfSubjectRulesReview), which are not stored.
  - The connection is made by C(kubernetes.core), so the environment variables C(K8S_AUTH_*) work too.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_kubernetes
  - kyma.mtls._kubeconfig
  - kyma.mtls._attributes.action_progress
options:
  minimum_version:
    description: Version of Kubernetes that the cluster must have at least, such as V(1.30).
    type: str
  recommended_version:
    description: Version of Kubernetes below which there is a warning.
    type: str
  permissions:
    description: What the user of the kubeconfig must be allowed to do.
    type: list
    elements: dict
    default: []
    suboptions:
      verbs:
        description: Verbs of the API, such as V(get) and V(patch).
        type: list
        elements: str
        required: true
      resource:
        description: Resource in plural, such as V(secrets).
        type: str
        required: true
      group:
        description: API group of the resource; none for the core group.
        type: str
        default: ""
      namespace:
        description: Namespace; none for all of them, and for resources that are in none.
        type: str
        default: ""
      namespaces:
        description: Several namespaces, in place of O(permissions[].namespace).
        type: list
        elements: str
        version_added: 0.2.0
      names:
        description: Names of the objects that it is needed for; none for any.
        type: list
        elements: str
        default: []
  nodes:
    description: Number of nodes to wait for; all nodes must be ready. V(0) skips the check of nodes.
    type: int
    default: 0
  dns:
    description: Whether to wait until CoreDNS is available.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for nodes and CoreDNS.
    type: int
    default: 300
seealso:
  - module: kyma.mtls.kubernetes_apply
"""

EXAMPLES = r"""
- name: Check that the cluster can be used for a gateway
  kyma.mtls.kubernetes_access:
    kubeconfig: ~/.kube/config
    minimum_version: "1.30"
    permissions:
      - resource: secrets
        namespace: istio-system
        verbs: [get, create, patch]
      - group: networking.istio.io
        resource: gateways
        namespace: test
        verbs: [get, create, patch]

- name: Wait until a new cluster is ready
  kyma.mtls.kubernetes_access:
    kubeconfig: ~/.kyma-mtls/kubeconfig
    nodes: 1
    dns: true
"""

RETURN = r"""
version:
  description: Version of Kubernetes.
  returned: success
  type: str
  sample: v1.33.7+k3s1
nodes:
  description: Number of nodes.
  returned: when O(nodes) is given
  type: int
  sample: 1
denied:
  description: What is not allowed.
  returned: when something is not allowed
  type: list
  elements: str
  sample: ["patch secrets in istio-system"]
"""


from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import access
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import connect
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.permissions import Permission
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_kubernetes
from ansible_collections.kyma.mtls.plugins.module_utils._progress import reporter

PERMISSION = {
    "verbs": {"type": "list", "elements": "str", "required": True},
    "resource": {"type": "str", "required": True},
    "group": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": ""},
    "namespaces": {"type": "list", "elements": "str"},
    "names": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = Module(
        argument_spec={
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
            "minimum_version": {"type": "str"},
            "recommended_version": {"type": "str"},
            "permissions": {"type": "list", "elements": "dict", "default": [], "options": PERMISSION},
            "nodes": {"type": "int", "default": 0},
            "dns": {"type": "bool", "default": False},
            "wait_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    require_kubernetes(module)
    given = module.params
    permissions = [
        Permission(verb, permission["group"], permission["resource"], namespace, name)
        for permission in given["permissions"]
        for namespace in permission["namespaces"] or [permission["namespace"]]
        for verb in permission["verbs"]
        for name in permission["names"] or [""]
    ]
    with clean_failure(module):
        found = access.check(
            access.connect_patiently(
                lambda: connect({key: given[key] or None for key in ("kubeconfig", "context")}),
                # A cluster whose nodes are waited for is a new one.
                timeout_seconds=given["wait_timeout"] if given["nodes"] else 0,
            ),
            minimum_version=given["minimum_version"] or "",
            recommended_version=given["recommended_version"] or "",
            needed=permissions,
            nodes=given["nodes"],
            dns=given["dns"],
            timeout_seconds=given["wait_timeout"],
            report=reporter(),
        )
        for warning in found.warnings:
            module.warn(warning)
        counted = {} if found.nodes is None else {"nodes": found.nodes}
        module.exit_json(changed=False, version=found.version, **counted)


if __name__ == "__main__":
    main()
