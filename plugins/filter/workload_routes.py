# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: workload_routes
short_description: Routes, policies and upstreams of a list of workloads
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Turns O(_input), workloads as the role P(kyma.mtls.httpbin#role) has them, into what its templates are filled with.
  - A workload that cannot be served, a host that two workloads have and an empty grant are refused by name.
options:
  _input:
    description: The workloads.
    type: list
    elements: dict
    required: true
  defaults:
    description:
      - What holds for every workload, C(owner), C(namespace), C(gateway), C(identity_headers), C(tls_mode) and
        C(platform).
      - C(host) is the host that HTTPBin has. C(httpbin) is HTTPBin as a workload, with the name of its C(object), when
        it needs a route from here.
      - C(certificates) has the certificate of each client that a workload allows by its name, as a loop of
        M(ansible.builtin.slurp) registers it.
      - With C(predict) these may be missing.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the denials of a workload that one client may use
  ansible.builtin.debug:
    msg: "{{ (workloads | kyma.mtls.workload_routes(defaults=defaults)).routes[0].denials }}"
  vars:
    workloads:
      - name: shop
        hosts: [shop.mtls.local.kyma.dev]
        upstream: 127.0.0.1:5000
        allow:
          - subjects: ["O=ML Client Org,CN=ML Client Curl"]
    defaults:
      owner: test
      namespace: test
      gateway: test/kyma-mtls-gateway
      identity_headers: {}
      tls_mode: MUTUAL
      platform: local
"""

RETURN = r"""
_value:
  description:
    - C(routes), one for each host of a workload, and C(upstreams) for the platform C(local).
    - C(absent) and C(absent_upstreams), the same of workloads whose C(state) is C(absent).
  type: dict
  sample:
    routes: []
    upstreams: []
    absent: []
    absent_upstreams: []
"""

import base64
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kyma.mtls.plugins.module_utils import _workloads
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError


def workload_routes(workloads: t.Sequence[t.Mapping[str, t.Any]], defaults: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the routes; raise AnsibleFilterError naming the workload and what is wrong with it."""
    read = {
        item["item"]: base64.b64decode(item["content"])
        for item in defaults.get("certificates", ())
        if "content" in item
    }
    try:
        subjects = {name: _workloads.subject(name, pem) for name, pem in read.items()}
        return _workloads.read_workloads(workloads, defaults=defaults, subjects=subjects)
    except MtlsError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file by name."""
        return {"workload_routes": workload_routes}
