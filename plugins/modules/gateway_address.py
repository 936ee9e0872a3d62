#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_address
short_description: Find how a cluster's ingress gateway is reached
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Finds the address at which the ingress gateway of a cluster answers. The first of these is taken.
  - The address of the Service's load balancer; then the Service's C(nodePort) on the address of a node, if a connection
    from here is accepted there; then a forwarded port of 127.0.0.1, if O(port_forward=true).
  - Each forwarded connection has a stream of its own, to the ready pods in turn. When the gateway resets
    one, as it does for a client that it refuses, only that one ends. C(kubectl port-forward) then stops altogether, so
    it does not work for a verification.
  - A forwarded port is served by a process of its own, on the target host, which ends after O(port_forward_seconds).
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_kubernetes
  - kyma.mtls._kubeconfig
options:
  namespace:
    description: Namespace of the Service.
    type: str
    default: istio-system
  service:
    description: Name of the Service.
    type: str
    default: istio-ingressgateway
  port:
    description: Port of the Service.
    type: int
    default: 443
  address:
    description: An address that is known already, as C(host:port). It is returned as it is, with RV(replicas).
    type: str
  port_forward:
    description:
      - Whether a port may be forwarded through the API server when the gateway is not reached otherwise. The user needs
        the right to list pods and to C(create) and C(get) C(pods/portforward) in O(namespace).
      - In check mode nothing is forwarded.
    type: bool
    default: false
  forwarded_port:
    description: Port of 127.0.0.1 for that. V(0) is a free one, another one each time.
    type: int
    default: 0
  port_forward_seconds:
    description: Seconds after which forwarding ends.
    type: int
    default: 900
seealso:
  - module: kyma.mtls.mtls_verify
"""

EXAMPLES = r"""
- name: Find the address of the ingress gateway
  kyma.mtls.gateway_address:
    kubeconfig: ~/.kube/config
    context: my-cluster
    port_forward: true
  register: gateway
"""

RETURN = r"""
connect_to:
  description: The address, as M(kyma.mtls.mtls_verify) takes it. Empty when there is none.
  returned: success
  type: str
  sample: 192.0.2.10:443
way:
  description: C(load_balancer), C(node_port), C(port_forward), C(given), or C(none).
  returned: success
  type: str
  sample: load_balancer
replicas:
  description:
    - The addresses of the ready pods themselves, which need not be reached from here.
      None where pods may not be listed.
  returned: success
  type: list
  elements: str
  sample: ['10.42.0.7:8443', '10.42.1.4:8443']
"""

import itertools
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import address, forward
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import connect
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_kubernetes


def find(given: t.Mapping[str, t.Any], say: forward.Say, *, may_forward: bool) -> None:
    """Say where the gateway answers; when a port is forwarded, go on doing that."""
    api = connect({key: given[key] or None for key in ("kubeconfig", "context")})
    service = address.Service(given["namespace"], given["service"], given["port"])
    body = address.look(api, service)
    replicas = address.replicas(api, body, service)
    known = address.Endpoint(given["address"], "given") if given["address"] else None
    found = known or address.outside(api, body, service)
    if found is not None or not may_forward:
        way = found.way if found else "none"
        say({"connect_to": found.connect_to if found else "", "way": way, "replicas": replicas})
        return
    pods = itertools.cycle(address.pods_to_forward_to(api, body, service))

    def stream() -> forward.Stream:
        pod = next(pods)
        return forward.open_stream(api.python_client, namespace=service.namespace, pod=pod.name, port=pod.port)

    with forward.listen(stream, port=given["forwarded_port"]) as listener:
        connect_to = address.joined(*listener.getsockname()[:2])
        say({"connect_to": connect_to, "way": "port_forward", "replicas": replicas})
        forward.serve(listener, stream, seconds=given["port_forward_seconds"])


def main() -> None:
    module = Module(
        argument_spec={
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
            "namespace": {"type": "str", "default": "istio-system"},
            "service": {"type": "str", "default": "istio-ingressgateway"},
            "port": {"type": "int", "default": 443},
            "address": {"type": "str"},
            "port_forward": {"type": "bool", "default": False},
            "forwarded_port": {"type": "int", "default": 0},
            "port_forward_seconds": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    require_kubernetes(module)
    given = module.params
    with clean_failure(module):
        if given["port_forward"] and not module.check_mode:
            found = forward.in_a_process_of_its_own(lambda say: find(given, say, may_forward=True))
        else:
            found = {}
            find(given, found.update, may_forward=False)
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
