#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: local_runtime
short_description: Install the environment of the local mTLS platform, and run its supervisor
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Creates a directory in which an Envoy gateway and its workloads run as supervised processes of the current user,
    without root, Docker or Kubernetes.
  - Installs pinned Python packages into a virtual environment in that directory, each artifact checked by its
    SHA-256 hash, and runs supervisor.
  - Processes and files of other runtimes, and anything else on the machine, are left alone.
  - M(kyma.mtls.local_apply) serves Kubernetes objects in it.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
  - kyma.mtls._attributes.action_in_process
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description:
      - Directory of the runtime. It is private to the current user (mode C(0700)).
      - Where its path is too long for a Unix socket, the sockets are put into a private directory below the system's
        temporary directory.
    type: path
    required: true
  packages:
    description: Packages to install, for O(state=present) and O(state=started).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of this set of packages. A set replaces the one that was installed under its name before.
        type: str
        required: true
      requirements:
        description:
          - Content of a pip requirements file in which every package has a version and the hashes of its artifacts.
          - The installer is uv where it is found beside the Python interpreter or on E(PATH), else pip.
        type: str
        required: true
  listen:
    description:
      - Ports of 127.0.0.1 that the gateway is going to listen on, for O(state=present) and O(state=started).
      - One that another process has, or that this user may not use, is refused before anything is created. One on which
        this runtime's own gateway listens is accepted.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present) installs the packages.
      - V(started) installs the packages and starts supervisor.
      - V(stopped) stops supervisor and everything that it runs. Files stay.
      - V(absent) stops everything and removes the directory. A directory that holds anything other than a runtime is
        refused.
    type: str
    choices: [present, started, stopped, absent]
    default: started
requirements:
  - Linux with glibc 2.31 or later (x86_64, aarch64) or macOS 15 or later (arm64), for Envoy
  - the Python module venv
seealso:
  - module: kyma.mtls.local_apply
"""

EXAMPLES = r"""
- name: Start the supervisor
  kyma.mtls.local_runtime:
    path: ~/.kyma-mtls/runtime
    packages:
      - name: supervisor
        requirements: |
          supervisor==4.3.0 \
              --hash=sha256:0bcb763fddafba410f35cbde226aa7f8514b9fb82eb05a0c85f6588d1c13f8db
    state: started

- name: Stop everything and remove its files
  kyma.mtls.local_runtime:
    path: ~/.kyma-mtls/runtime
    state: absent
"""

RETURN = r"""
actions:
  description: The actions taken, or predicted in check mode, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["install supervisor==4.3.0", "start the supervisor"]
environment:
  description: Path of the virtual environment.
  returned: success
  type: str
  sample: /home/me/.kyma-mtls/runtime/venv
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._local import runtime
from ansible_collections.kyma.mtls.plugins.module_utils._local.environment import PackageSet
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.preflight import port_number
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure


def main(make_module: t.Callable[..., AnsibleModule] = Module) -> None:
    module = make_module(
        argument_spec={
            "path": {"type": "path", "required": True},
            "packages": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "requirements": {"type": "str", "required": True},
                },
            },
            "listen": {"type": "list", "elements": "str", "default": []},
            "state": {
                "type": "str",
                "choices": ["present", "started", "stopped", "absent"],
                "default": "started",
            },
        },
        supports_check_mode=True,
    )
    layout = RuntimeLayout.at(module.params["path"])
    state = module.params["state"]
    packages = [PackageSet(**package) for package in module.params["packages"]]
    with clean_failure(module):
        listen = [port_number(port, what="listen") for port in module.params["listen"]]
        planned = runtime.steps(layout, packages=packages, state=state, listen=listen)
        if planned and not module.check_mode:
            runtime.carry_out(layout, planned, state=state)
        module.exit_json(
            changed=bool(planned), actions=[step.description for step in planned], environment=str(layout.environment)
        )


if __name__ == "__main__":
    main()
