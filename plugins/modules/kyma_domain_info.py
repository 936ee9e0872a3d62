#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kyma_domain_info
short_description: Read the domain of a Kyma cluster
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Reads the default domain of a cluster with Kyma from the first host of its Gateway C(kyma-system/kyma-gateway). On
    SAP BTP, its DNS records resolve already.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_kubernetes
  - kyma.mtls._kubeconfig
seealso:
  - module: kyma.mtls.gateway_address
"""

EXAMPLES = r"""
- name: Read the domain of the cluster
  kyma.mtls.kyma_domain_info:
    kubeconfig: ~/.kube/config
  register: cluster

- name: Show it
  ansible.builtin.debug:
    msg: "{{ cluster.domain }}"
"""

RETURN = r"""
domain:
  description: The domain, without the asterisk before it.
  returned: success
  type: str
  sample: c-1a2b3c4.kyma.ondemand.com
"""

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client, kyma
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_kubernetes


def main() -> None:
    module = Module(
        argument_spec={"kubeconfig": {"type": "path"}, "context": {"type": "str"}}, supports_check_mode=True
    )
    require_kubernetes(module)
    with clean_failure(module):
        api = client.connect({key: module.params[key] for key in ("kubeconfig", "context")})
        module.exit_json(changed=False, domain=kyma.domain(api))


if __name__ == "__main__":
    main()
