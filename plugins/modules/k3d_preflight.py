#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3d_preflight
short_description: Whether a host can carry a k3d cluster with Kyma's modules
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Looks at Docker and its version, at k3d and its version, at the k3s image and its version (which Kyma's Istio module
    has to recognise), at the cgroup version, at the ports that the cluster shall have, and at the kernel's inotify
    limits.
  - Fails with everything that stands in the way, not with the first of it. What may go wrong but need not is a warning.
  - Changes nothing. A cluster that exists already may have its ports.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_mtls
options:
  name:
    description:
      - Name of the cluster.
    type: str
    required: true
  image:
    description:
      - k3s image of the cluster. Its tag has to be that of a final release, at least V(v1.31.7-k3s1), or
        V(v1.32.3-k3s1) from Kubernetes 1.32 on.
    type: str
    required: true
  ports:
    description:
      - Ports of the host that the cluster shall have, as in M(kyma.mtls.k3d_cluster).
    type: list
    elements: raw
    default: []
  k3s_args:
    description:
      - Arguments for k3s, as in M(kyma.mtls.k3d_cluster).
    type: list
    elements: raw
    default: []
  executable:
    description:
      - Name or path of k3d.
    type: str
    default: k3d
  directories:
    description:
      - Directories in which k3d is looked for before the PATH.
    type: list
    elements: path
    default: []
seealso:
  - module: kyma.mtls.k3d_cluster
"""

EXAMPLES = r"""
- name: Host is ready for the cluster
  kyma.mtls.k3d_preflight:
    name: kyma
    image: rancher/k3s:v1.33.7-k3s1
    ports:
      - "80:80@loadbalancer"
      - "443:443@loadbalancer"
"""

RETURN = r"""
docker_version:
  description: Version of Docker.
  returned: success
  type: str
  sample: 28.5.2
cgroup_version:
  description: Version of Linux control groups that Docker uses.
  returned: success
  type: str
  sample: "2"
k3d_version:
  description: Version of k3d.
  returned: success
  type: str
  sample: 5.9.0
k3s_version:
  description: Version of Kubernetes in the image.
  returned: success
  type: str
  sample: 1.33.7
problems:
  description: What stands in the way, one sentence each.
  returned: failure
  type: list
  elements: str
  sample: ["the port 443 is taken on this host"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._k3d import preflight
from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "raw", "default": []},
            "k3s_args": {"type": "list", "elements": "raw", "default": []},
            "executable": {"type": "str", "default": "k3d"},
            "directories": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    with clean_failure(module):
        found = preflight.look(**module.params)
        for warning in found.warnings:
            module.warn(warning)
        if found.problems:
            raise preflight.summary(found, name=module.params["name"])
        module.exit_json(changed=False, **found.facts)


if __name__ == "__main__":
    main()
