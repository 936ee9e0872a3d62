#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_certificate_info
short_description: Read a server certificate whose key stays in a Secret of the cluster
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Reads a Secret that an issuer in the cluster keeps, such as Gardener's cert-management or cert-manager, and checks
    that a gateway can serve what is in it. The key must belong to the certificate, the chain must be in order, and
    everything must be valid now.
  - The key is compared and not returned.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_kubernetes
  - kyma.mtls._kubeconfig
options:
  name:
    description: Name of the Secret.
    type: str
    required: true
  namespace:
    description: Namespace of the Secret.
    type: str
    default: istio-system
requirements:
  - cryptography >= 44.0
seealso:
  - module: kyma.mtls.kubernetes_apply
  - module: kyma.mtls.pki
"""

EXAMPLES = r"""
- name: Read the certificate that the gateway serves
  kyma.mtls.cluster_certificate_info:
    kubeconfig: ~/.kube/config
    name: kyma-mtls
  register: served

- name: Show until when it is valid
  ansible.builtin.debug:
    msg: "{{ served.facts.subject }} until {{ served.facts.not_after }}"
"""

RETURN = r"""
certificate:
  description:
    - The certificate and its chain, in PEM. Empty in check mode when there is no such Secret, because an earlier task
      would have it made.
  returned: success
  type: str
  sample: "-----BEGIN CERTIFICATE-----\\nMIIB..."
ca:
  description:
    - The root CAs in C(ca.crt) of the Secret, in PEM. Empty when there is none. An issuing intermediate, which some
      issuers put there, is not a root.
  returned: success
  type: str
  sample: ""
facts:
  description: What is known of the certificate, empty when there is none.
  returned: success
  type: dict
  sample: {"subject": "CN=*.mtls.example.com", "issuer": "CN=R11,O=Let's Encrypt,C=US", "chain": [],
           "fingerprint_sha256": "5A:01", "not_after": "2027-02-27T09:00:00Z"}
"""

import datetime

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import client
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.issued import IssuedCertificate, read
from ansible_collections.kyma.mtls.plugins.module_utils._module import (
    Module,
    clean_failure,
    require_cryptography,
    require_kubernetes,
)


def main() -> None:
    module = Module(
        argument_spec={
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": "istio-system"},
        },
        supports_check_mode=True,
    )
    require_cryptography(module)
    require_kubernetes(module)
    given = module.params
    with clean_failure(module):
        api = client.connect({key: given[key] for key in ("kubeconfig", "context")})
        found = read(api, given["namespace"], given["name"], now=datetime.datetime.now(tz=datetime.UTC))
        if found is None and not module.check_mode:
            raise MtlsError(
                f"There is no Secret {given['namespace']}/{given['name']}: its issuer has not written it yet, or it "
                f"was deleted. Run again; if it stays away, see kubectl describe certificates -n {given['namespace']}."
            )
        issued = found or IssuedCertificate()
        for warning in issued.warnings:
            module.warn(warning)
        module.exit_json(changed=False, certificate=issued.chain, ca=issued.ca, facts=dict(issued.facts))


if __name__ == "__main__":
    main()
