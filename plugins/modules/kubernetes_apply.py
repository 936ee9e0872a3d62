#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_apply
short_description: Apply objects to a cluster and wait until they are ready
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Applies any number of objects server-side in one task, with C(kyma.mtls) as the field manager.
  - Creates Secrets from files on the target host, so that no key passes through Ansible, and validates them first.
    Neither the result nor a diff ever shows their data.
  - Applies objects in stages, and waits for each stage before the next. First namespaces and
    CustomResourceDefinitions; then everything else; then what reacts to the rest (Istio, APIGateway, APIRule),
    because a manager of Kyma that starts too early waits many minutes before it tries again.
  - Resets fields of its own that others have changed, with a warning that names the field and the field manager, and
    leaves fields of others alone. An object that another tool applies server-side, and that this module has never
    applied, is refused.
  - A Gateway is refused when it would take the issuer of the server's certificate for the clients' CA. Istio does so
    when the Secret with the client CAs is missing and the server's own has a C(ca.crt), as those of cert-manager and
    Gardener have.
  - The connection is made by C(kubernetes.core), so the environment variables C(K8S_AUTH_*) work too.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_kubernetes
  - kyma.mtls._kubeconfig
  - kyma.mtls._attributes.action_progress
  - kyma.mtls._objects
attributes:
  check_mode:
    support: full
    details:
      - The API server predicts the change (dry run). What needs a namespace, a kind, a file or a cluster that does not
        exist yet is predicted as created, and what is missing is listed in RV(pending).
options:
  manifests:
    description: Files on the target host with Kubernetes objects as YAML documents.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path of the file.
        type: path
        required: true
      sha256:
        description: SHA-256 of the file. Nothing is applied when the file has another one.
        type: str
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
          - With C(tls.crt) and C(tls.key) the Secret is of type C(kubernetes.io/tls), else C(Opaque).
        type: dict
        required: true
      optional_files:
        description: Like O(secrets[].files), for files that are used only when they exist, such as a CRL.
        type: dict
        default: {}
      for_gateway:
        description:
          - Whether the Secret is one for Istio's gateway. V(false) takes any files, under any keys, as they are.
        type: bool
        default: true
        version_added: 0.2.0
      replaces:
        description:
          - Name of the Secret whose place it takes, in the same namespace. Only for client CAs that a Gateway names by
            C(caCertCredentialName).
          - From Istio 1.28 on, a Secret of that name that this module has applied is compared with the new one as if it
            were the same, and removed after the Gateway has changed to the new one. While another Gateway uses it, it
            is kept up to date instead.
          - Before Istio 1.28, which does not know C(caCertCredentialName), the Secret gets that name, and the Gateway
            is applied without C(caCertCredentialName).
        type: str
        default: ""
        version_added: 0.2.0
  sidecars:
    description:
      - Deployments among the objects, as C(namespace/name), whose pods need Istio's sidecar.
      - A Deployment whose pods have none is restarted, unless it opts out (C(sidecar.istio.io/inject)).
    type: list
    elements: str
    default: []
  wait:
    description:
      - Whether to wait until what was applied is ready, or with O(state=absent) until it is gone.
      - A Certificate (of Gardener or cert-manager) must be issued, a DNSEntry or DNSProvider of Gardener C(Ready), a
        Bundle of trust-manager synced. The task stops waiting when the certificate's controller has given up for now.
      - A Deployment or DaemonSet must be rolled out, a CustomResourceDefinition established, the Istio and the
        APIGateway of Kyma C(Ready), and an APIRule C(Ready) after its last change.
    type: bool
    default: true
  wait_for:
    description: Further objects to wait for, after everything is applied.
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: API version of the object.
        type: str
        required: true
      kind:
        description: Kind of the object.
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace of the object.
        type: str
      until:
        description: The condition to wait for.
        type: str
        choices:
          - exists
          - deployment_ready
          - daemonset_ready
          - crd_established
          - webhook_injected
          - kyma_state_ready
          - apirule_ready
          - load_balancer_address
          - certificate_ready
          - dns_ready
          - bundle_synced
        default: exists
  wait_timeout:
    description: Seconds until the task gives up waiting, over all stages.
    type: int
    default: 300
  istio_version:
    description: Version of Istio that Kyma's Istio CR must report before it counts as ready.
    type: str
    default: ""
  accept_warning:
    description:
      - Whether the state C(Warning) of Kyma's Istio or APIGateway CR counts as ready. It becomes a warning of the task.
    type: bool
    default: false
  prune:
    description:
      - A label, as C(key=value). Objects that have it and are not in O(definition) are deleted before anything is
        applied.
      - They are looked for in all namespaces, or in O(prune_namespaces) when the user may not list on the whole
        cluster.
    type: str
    default: ""
    version_added: 0.2.0
  prune_kinds:
    description: Kinds that O(prune) looks for.
    type: list
    elements: str
    choices: [APIRule, VirtualService, RequestAuthentication, AuthorizationPolicy]
    default: [APIRule, AuthorizationPolicy]
    version_added: 0.2.0
  prune_namespaces:
    description: Namespaces for O(prune), when the user may not list on the whole cluster.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  state:
    description:
      - V(present) applies the objects.
      - V(absent) deletes them, in the opposite order, each gone before the next is deleted. Namespaces in O(manifests)
        stay, because there may be more in them.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: kubernetes.core.k8s
  - module: kyma.mtls.local_apply
"""

EXAMPLES = r"""
- name: Apply the Gateway and its Secrets
  kyma.mtls.kubernetes_apply:
    kubeconfig: ~/.kube/config
    context: k3d-kyma
    secrets:
      - name: kyma-mtls
        files:
          tls.crt: ~/.kyma-mtls/pki/server/server-chain.pem
          tls.key: ~/.kyma-mtls/pki/server/server.key
      - name: kyma-mtls-clients-cacert
        files:
          cacert: ~/.kyma-mtls/pki/client/ca-bundle.crt
    definition:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: test
          labels:
            istio-injection: enabled
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

- name: Wait for the address of Istio's ingress gateway
  kyma.mtls.kubernetes_apply:
    wait_for:
      - api_version: v1
        kind: Service
        name: istio-ingressgateway
        namespace: istio-system
        until: load_balancer_address
"""

RETURN = r"""
changes:
  description: What became of each object, or would become in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: The object, as kind and name.
      type: str
      sample: Gateway test/kyma-mtls-gateway
    action:
      description: C(created), C(changed), C(unchanged) or C(deleted).
      type: str
      sample: created
restarted:
  description: Deployments that were restarted to get their sidecars.
  returned: success
  type: list
  elements: str
  sample: []
pending:
  description: What is not there yet and kept the API server from predicting. Only in check mode.
  returned: success
  type: list
  elements: str
  sample: []
waiting:
  description: What was not ready, or not gone, when the time was up, in its own words.
  returned: when something does not get ready in time
  type: list
  elements: str
  sample: ["APIRule test/httpbin-mtls: Processing"]
addresses:
  description: Address of each Service in O(wait_for) that has one, by C(namespace/name).
  returned: success
  type: dict
  sample: {"istio-system/istio-ingressgateway": "172.18.0.3"}
requests:
  description: Number of requests that were sent to the API server.
  returned: success
  type: int
  sample: 7
"""

import datetime
import json

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.task import ApplyRequest, execute
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.waits import PREDICATES
from ansible_collections.kyma.mtls.plugins.module_utils._module import (
    Module,
    clean_failure,
    require_cryptography,
    require_kubernetes,
)
from ansible_collections.kyma.mtls.plugins.module_utils._progress import reporter

ARGUMENT_SPEC = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "definition": {"type": "list", "elements": "dict", "default": []},
    "manifests": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "sha256": {"type": "str"}},
    },
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
            "for_gateway": {"type": "bool", "default": True},
            "replaces": {"type": "str", "default": ""},
        },
    },
    "sidecars": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "bool", "default": True},
    "wait_for": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "api_version": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "until": {"type": "str", "choices": list(PREDICATES), "default": "exists"},
        },
    },
    "wait_timeout": {"type": "int", "default": 300},
    "istio_version": {"type": "str", "default": ""},
    "accept_warning": {"type": "bool", "default": False},
    "accept_older_crl": {"type": "bool", "default": False},
    "prune": {"type": "str", "default": ""},
    "prune_kinds": {
        "type": "list",
        "elements": "str",
        "choices": ["APIRule", "VirtualService", "RequestAuthentication", "AuthorizationPolicy"],
        "default": ["APIRule", "AuthorizationPolicy"],
    },
    "prune_namespaces": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = Module(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    require_cryptography(module)
    require_kubernetes(module)
    with clean_failure(module):
        now = datetime.datetime.now(tz=datetime.UTC)
        request = ApplyRequest.of(module.params)
        result = execute(request, check_only=module.check_mode, now=now, report=reporter())
        for warning in result.warnings:
            module.warn(warning)
        diff = {side: json.dumps(content, indent=2, sort_keys=True) + "\n" for side, content in result.diff.items()}
        module.exit_json(changed=result.changed, diff=diff, **result.facts)


if __name__ == "__main__":
    main()
