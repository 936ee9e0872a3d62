#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: local_apply
short_description: Serve Kubernetes objects on the local mTLS platform
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Takes the objects that a cluster would get, and configures a real Envoy on this machine as istiod and Kyma's API
    Gateway would.
  - Understands Gateway and VirtualService (C(networking.istio.io), the latter with direct responses only), APIRule
    (C(gateway.kyma-project.io/v2)), AuthorizationPolicy (C(security.istio.io), with the action C(DENY)), Service,
    Deployment, ServiceAccount and Namespace. Unsupported fields are refused by name, with their path.
  - Objects are merged into those that were applied earlier.
  - Everything is checked before anything is touched; Envoy's own validator checks the whole configuration, secrets
    included. Each file is replaced in one step while Envoy runs, so no connection is lost.
  - The module returns when Envoy reports that it accepted exactly what was written, and when every workload answers
    its readiness probe.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
  - kyma.mtls._attributes.action_in_process
  - kyma.mtls._objects
attributes:
  check_mode:
    support: full
    details:
      - Files in O(secrets), and Gateways that an APIRule names, may not exist yet, because an earlier task did not
        make them in check mode. They are listed in RV(pending), and the change is predicted without them.
options:
  runtime:
    description: Directory of the runtime, as made by M(kyma.mtls.local_runtime), with Envoy installed.
    type: path
    required: true
  secrets:
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      namespace:
        description: Namespace of the Secret.
        type: str
        default: istio-system
      files:
        description:
          - Key of the Secret's data to path of the file with its content.
          - Istio's ingress gateway reads C(tls.crt) with C(tls.key), C(cert) with C(key), C(cacert) with C(crl), and
            C(ca.crt) with C(ca.crl).
        type: dict
        required: true
      optional_files:
        description: Like O(secrets[].files), for files that are used only when they exist, such as a CRL.
        type: dict
        default: {}
      replaces:
        description:
          - Name of the Secret whose place it takes, in the same namespace. Only for client CAs that a Gateway names by
            C(caCertCredentialName).
          - It is compared with the new one as if it were the same, and forgotten. While another Gateway uses it, it is
            kept up to date instead.
        type: str
        default: ""
        version_added: 0.2.0
  ports:
    description:
      - Port number in a Gateway to the port of 127.0.0.1 that Envoy listens on for it.
      - With O(state=absent), ports that no Gateway needs any more.
    type: dict
    default: {}
  workloads:
    description: Local processes that stand in for Deployments.
    type: list
    elements: dict
    default: []
    suboptions:
      deployment:
        description: The Deployment, as C(namespace/name).
        type: str
        required: true
      requirements:
        description:
          - Content of a pip requirements file in which every package has a version and the hashes of its artifacts.
          - It stands for the container image.
        type: str
        required: true
      command:
        description:
          - The program, by its name in the virtual environment, and its arguments.
          - V({socket}) is replaced by the path of the Unix socket on which it must serve HTTP.
        type: list
        elements: str
        required: true
  upstreams:
    description: Applications that already run, each in place of the pods of a Service that is not an object here.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: The Service, as C(namespace/name).
        type: str
        required: true
      port:
        description: The port of the Service that an APIRule names.
        type: int
        required: true
      address:
        description:
          - V(127.0.0.1:5000), V([::1]:5000) or V(unix:/path/to/socket).
          - With O(upstreams[].ca) also the IP address of another machine.
          - It need not answer yet; until it does, requests get 503.
        type: str
      protocol:
        description: V(HTTP/2) without O(upstreams[].ca) is h2c with prior knowledge.
        type: str
        choices: [HTTP/1.1, HTTP/2]
        default: HTTP/1.1
      ca:
        description:
          - A file with the CA certificates of the application's TLS certificate.
          - Without it, the connection has no TLS.
        type: path
      server_name:
        description: Name in that certificate. The default is the IP address in O(upstreams[].address).
        type: str
      labels:
        description: Labels of the pods on a cluster, by which AuthorizationPolicies select.
        type: dict
        default: {}
      identity_log:
        description:
          - Headers with the client's identity. A request with the header C(X-Kyma-Mtls-Verify) then gets a line of JSON
            in C(logs/access.log) of the runtime, with what went to the application in these headers.
        type: list
        elements: str
        version_added: 0.2.0
  key_sets:
    description:
      - For APIRules with C(jwt), from a C(jwksUri) to a file on the target host with the JSON Web Key Set.
      - A cluster downloads it; here nothing is downloaded.
    type: dict
    default: {}
    version_added: 0.2.0
  prune:
    description:
      - A label, as C(key=value). Objects that have it and are not in O(definition) are removed, with the upstreams
        that only they led to.
    type: str
    default: ""
    version_added: 0.2.0
  state:
    description:
      - V(present) applies the given objects, Secrets, workloads and upstreams.
      - V(absent) removes those that are named. Files of O(secrets) are not read, and need not exist.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: kyma.mtls.local_runtime
  - module: kubernetes.core.k8s
"""

EXAMPLES = r"""
- name: Apply the Gateway and its Secrets
  kyma.mtls.local_apply:
    runtime: ~/.kyma-mtls/runtime
    ports:
      443: 8443
    secrets:
      - name: kyma-mtls
        files:
          tls.crt: ~/.kyma-mtls/pki/server/server-chain.pem
          tls.key: ~/.kyma-mtls/pki/server/server.key
      - name: kyma-mtls-clients-cacert
        files:
          cacert: ~/.kyma-mtls/pki/client/ca-bundle.crt
    definition:
      - apiVersion: networking.istio.io/v1
        kind: Gateway
        metadata:
          name: kyma-mtls-gateway
          namespace: test
        spec:
          selector:
            app: istio-ingressgateway
            istio: ingressgateway
          servers:
            - port:
                number: 443
                name: mtls
                protocol: HTTPS
              tls:
                mode: MUTUAL
                credentialName: kyma-mtls
                caCertCredentialName: kyma-mtls-clients-cacert
              hosts:
                - "*.mtls.local.kyma.dev"
"""

RETURN = r"""
actions:
  description: The actions taken, or predicted in check mode, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["write sds/kubernetes-kyma-mtls/sds.json", "run envoy"]
addresses:
  description: Addresses that Envoy listens on.
  returned: success
  type: list
  elements: str
  sample: ["127.0.0.1:8443"]
pending:
  description: Files of O(secrets) and Gateways of APIRules that do not exist yet. Only in check mode.
  returned: success
  type: list
  elements: str
  sample: []
"""

import json
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._local.apply import LocalPlatform, LocalResult
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.plan import LocalRequest
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_cryptography

ARGUMENT_SPEC = {
    "runtime": {"type": "path", "required": True},
    "definition": {"type": "list", "elements": "dict", "default": []},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        # They name files; there is nothing secret in the arguments.
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": "istio-system"},
            "files": {"type": "dict", "required": True},
            "optional_files": {"type": "dict", "default": {}},
            "replaces": {"type": "str", "default": ""},
        },
    },
    "ports": {"type": "dict", "default": {}},
    "workloads": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "deployment": {"type": "str", "required": True},
            "requirements": {"type": "str", "required": True},
            "command": {"type": "list", "elements": "str", "required": True},
        },
    },
    "accept_older_crl": {"type": "bool", "default": False},
    "upstreams": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "service": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "address": {"type": "str"},
            "protocol": {"type": "str", "choices": ["HTTP/1.1", "HTTP/2"], "default": "HTTP/1.1"},
            "ca": {"type": "path"},
            "server_name": {"type": "str"},
            "labels": {"type": "dict", "default": {}},
            "identity_log": {"type": "list", "elements": "str"},
        },
    },
    # Public keys, by files.
    "key_sets": {"type": "dict", "default": {}, "no_log": False},
    "prune": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def diff(outcome: LocalResult) -> dict[str, str]:
    """Return the two sides of what differs, as text."""
    before = {label: old for label, (old, _new) in outcome.differences.items() if old is not None}
    after = {label: new for label, (_old, new) in outcome.differences.items() if new is not None}
    return {
        side: json.dumps(content, indent=2, sort_keys=True) + "\n"
        for side, content in (("before", before), ("after", after))
    }


def main(make_module: t.Callable[..., AnsibleModule] = Module) -> None:
    module = make_module(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    require_cryptography(module)
    with clean_failure(module):
        platform = LocalPlatform(RuntimeLayout.at(module.params["runtime"]))
        outcome = platform.apply(LocalRequest.of(module.params), check_only=module.check_mode)
        for warning in outcome.warnings:
            module.warn(warning)
        module.exit_json(
            changed=outcome.changed,
            actions=list(outcome.actions),
            addresses=list(outcome.addresses),
            pending=list(outcome.pending),
            diff=diff(outcome),
        )


if __name__ == "__main__":
    main()
