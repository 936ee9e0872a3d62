#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a site."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_info
short_description: Show what runs, listens and expires on a site, and the last verdict
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Reads the directory of a site, the processes of its local runtime, the ports that the gateway should listen on,
    every certificate and revocation list, and the last report of the verification.
  - On a cluster (O(cluster)) it reads the nodes, the state of the given objects and the gateway's address, and compares
    the certificates in the Secrets with those on disk. Nodes that it may not read are left out.
  - Findings are facts of the result, never a failure. Let the next task fail on RV(is_well), as the role
    P(kyma.mtls.cluster#role) does (C(tasks_from=status)).
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
  - kyma.mtls._attributes.actiongroup_mtls
options:
  home:
    description: The directory of the site (C(mtls_home)).
    type: path
    required: true
  pki:
    description: Directories with the certificates and CRLs whose expiry is shown. By default C(pki) in O(home).
    type: list
    elements: path
    default: []
  cluster:
    description: The cluster that the site is on. Without it, the site is on the local platform.
    type: dict
    suboptions:
      kubeconfig:
        description: Path of the kubeconfig on the target host.
        type: path
      context:
        description: Context in the kubeconfig.
        type: str
      objects:
        description: Objects that should exist, as O(kyma.mtls.kubernetes_apply#module:wait_for).
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
            description: The condition, as in O(kyma.mtls.kubernetes_apply#module:wait_for[].until).
            type: str
            default: exists
      definition:
        description: Objects that should exist, and be ready if objects of their kind can be.
        type: list
        elements: dict
        default: []
      secrets:
        description: Secrets, and the files whose content they should have.
        type: list
        elements: dict
        default: []
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
            description: Key of the Secret's data to path of the file.
            type: dict
            required: true
          optional_files:
            description: The same, for files that need not exist.
            type: dict
            default: {}
          replaces:
            description: Name that it has on a cluster whose Istio is older than 1.28.
            type: str
            default: ""
            version_added: 0.2.0
      connect_to:
        description: Address of the gateway, as C(host:port). Looked up when empty.
        type: str
        default: ""
      port:
        description: Port of the ingress gateway's Service.
        type: int
        default: 443
requirements:
  - cryptography >= 44.0
  - kubernetes >= 29.0, for O(cluster)
seealso:
  - module: kyma.mtls.mtls_verify
"""

EXAMPLES = r"""
- name: Read the status of the site
  kyma.mtls.site_info:
    home: ~/.kyma-mtls
  register: site

- name: Show what is wrong, or that all is well
  ansible.builtin.debug:
    msg: "{{ site.verdict }}"
"""

RETURN = r"""
is_well:
  description:
    - Whether every process runs, every port is open, every certificate and revocation list can be read and is valid,
      and the last verification passed. A site that was never verified can be well.
  returned: success
  type: bool
  sample: true
problems:
  description: The problems found, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["envoy is fatal (Exited too quickly)", "nothing listens on 127.0.0.1:8443"]
verdict:
  description: The same in one line.
  returned: success
  type: str
  sample: All is well.
lines:
  description: The whole status as a person reads it.
  returned: success
  type: list
  elements: str
  sample: ["Processes", "  envoy    running since 2026-11-26 13:10:57", "All is well."]
objects:
  description: What was found on the cluster.
  returned: with O(cluster)
  type: list
  elements: dict
  contains:
    name:
      description: What was checked.
      type: str
    state:
      description: Its state, in its own words.
      type: str
    is_well:
      description: Whether that is how it should be.
      type: bool
  sample: [{"name": "APIRule test/httpbin-mtls", "state": "Ready (Reconciled successfully)", "is_well": true}]
processes:
  description: The supervised processes. Empty when the local runtime does not run, or there is none.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the process.
      type: str
    state:
      description: Its state as supervisor names it, in small letters.
      type: str
    pid:
      description: Its process number, 0 when it does not run.
      type: int
    since:
      description: When it was started last (ISO 8601, UTC), or null.
      type: str
    ends:
      description: Number of unexpected exits in supervisor's log; it was restarted after each.
      type: int
    last_end:
      description: The last unexpected exit, in the time of the host.
      type: str
  sample: [{"name": "envoy", "state": "running", "pid": 4711, "since": "2026-11-26T13:10:57+00:00", "ends": 0,
            "last_end": ""}]
ports:
  description: The ports of the gateway.
  returned: success
  type: list
  elements: dict
  contains:
    port:
      description: The port of 127.0.0.1.
      type: int
    gateway_port:
      description: The port in the Gateway that it stands for.
      type: int
    is_open:
      description: Whether something accepts connections there.
      type: bool
  sample: [{"port": 8443, "gateway_port": 443, "is_open": true}]
expiries:
  description: Certificates and revocation lists; those of revoked clients, which are kept as evidence, are left out.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file, relative to the directory C(pki) of the site.
      type: str
    name:
      description: Subject of the certificate, or issuer of the revocation list.
      type: str
    not_after:
      description: Its end (ISO 8601, UTC), or null.
      type: str
    error:
      description: Why the file cannot be read, or empty.
      type: str
  sample: [{"path": "server/ca.crt", "name": "CN=ML Server Root CA,O=ML Server Org",
            "not_after": "2036-11-23T13:07:02+00:00", "error": ""}]
verification:
  description: The last verification, or null when there was none.
  returned: success
  type: dict
  contains:
    when:
      description: When it was (ISO 8601, UTC).
      type: str
    verdict:
      description: Its verdict.
      type: str
    counts:
      description: How many checks ended how.
      type: dict
    report:
      description: Path of the report.
      type: str
monitor:
  description: What the role P(kyma.mtls.monitor#role) runs for the site, or null when it has no monitor.
  returned: success
  type: dict
  contains:
    every:
      description: Time from one run to the next.
      type: str
    last:
      description: The last runs, the newest last, each with C(when), C(verdict) and C(headline).
      type: list
      elements: dict
    next_run:
      description: When it runs next (ISO 8601, UTC), or null where another scheduler starts it.
      type: str
    problem:
      description: What is wrong with it, or empty.
      type: str
"""

import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.sources import secret_source
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import status as cluster_status
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.address import Service
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.objects import Ref, ref_of
from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.waits import BY_KIND
from ansible_collections.kyma.mtls.plugins.module_utils._local import status
from ansible_collections.kyma.mtls.plugins.module_utils._module import (
    Module,
    clean_failure,
    require_cryptography,
    require_kubernetes,
)


def plain(record: t.Any) -> dict[str, t.Any]:
    """Return a record as a dictionary, with moments as text."""
    return t.cast("dict[str, t.Any]", _plain_value(dataclasses.asdict(record)))


def _plain_value(value: t.Any) -> t.Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, dict):
        return {key: _plain_value(inner) for key, inner in value.items()}
    return [_plain_value(inner) for inner in value] if isinstance(value, (list, tuple)) else value


SECRET = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "istio-system"},
    "files": {"type": "dict", "required": True},
    "optional_files": {"type": "dict", "default": {}},
    "replaces": {"type": "str", "default": ""},
}
OBJECT = {
    "api_version": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str"},
    "until": {"type": "str", "default": "exists"},
}
CLUSTER = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "objects": {"type": "list", "elements": "dict", "default": [], "options": OBJECT},
    "definition": {"type": "list", "elements": "dict", "default": []},
    # They name files; there is nothing secret in the arguments.
    "secrets": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": SECRET},
    "connect_to": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 443},
}


def on_cluster(given: dict[str, t.Any]) -> list[status.ObjectStatus]:
    """Return what is found on the cluster that ``given`` describes."""
    named = [
        (Ref(target["api_version"], target["kind"], target["name"], target["namespace"]), target["until"])
        for target in given["objects"]
    ]
    refs = [ref_of(body, where="definition") for body in given["definition"]]
    expected = cluster_status.Expected(
        objects=(*named, *((ref, BY_KIND.get(ref.kind, "exists")) for ref in refs)),
        secrets=tuple(secret_source(source) for source in given["secrets"]),
        service=Service("istio-system", "istio-ingressgateway", given["port"]),
        connect_to=given["connect_to"],
    )
    connection = {key: given[key] or None for key in ("kubeconfig", "context")}
    return [
        status.ObjectStatus(finding.name, finding.state, finding.is_well)
        for finding in cluster_status.look(connection, expected)
    ]


def main() -> None:
    module = Module(
        argument_spec={
            "home": {"type": "path", "required": True},
            "pki": {"type": "list", "elements": "path", "default": []},
            "cluster": {"type": "dict", "options": CLUSTER},
        },
        supports_check_mode=True,
    )
    require_cryptography(module)
    cluster = module.params["cluster"]
    if cluster is not None:
        require_kubernetes(module)
    with clean_failure(module):
        objects = None if cluster is None else on_cluster(cluster)
        found = status.look(module.params["home"], pki=module.params["pki"], objects=objects)
        module.exit_json(
            changed=False,
            is_well=not found.problems,
            problems=list(found.problems),
            verdict=found.verdict,
            lines=status.lines(found),
            processes=[plain(program) for program in found.programs],
            ports=[plain(port) for port in found.ports],
            expiries=[plain(expiry) for expiry in found.expiries],
            verification=plain(found.verification) if found.verification else None,
            monitor=plain(found.monitor) if found.monitor else None,
            **({} if objects is None else {"objects": [plain(item) for item in objects]}),
        )


if __name__ == "__main__":
    main()
