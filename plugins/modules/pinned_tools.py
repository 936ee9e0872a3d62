#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pinned_tools
short_description: Programs of a release, verified by SHA-256
version_added: 0.1.0
seealso:
  - module: kyma.mtls.k3d_cluster
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Installs programs that are released as one file, such as k3d and kubectl, for Linux and macOS on amd64 and arm64.
  - Each is verified by a given SHA-256. Where none is given for the platform, by the file of checksums of the release;
    that proves an undamaged download, but not that the release is the one that somebody looked at.
  - A file with the given SHA-256 is not fetched again. Nothing unverified is ever put in place.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  directory:
    description:
      - Directory for the programs. It is made when it is missing.
    type: path
    required: true
  tools:
    description:
      - The programs.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file to be.
        type: str
        required: true
      url:
        description:
          - Where it is fetched from. C({os}) stands for V(linux) or V(darwin), C({arch}) for V(amd64) or V(arm64).
        type: str
        required: true
      sha256:
        description: SHA-256 by platform, such as C(linux-amd64).
        type: dict
        default: {}
      checksums_url:
        description:
          - Checksums of the release, in the format of C(sha256sum) (directories before names are ignored) or one digest
            alone. It is fetched only when O(tools[].sha256) has none for the platform.
        type: str
        default: ""
  timeout:
    description:
      - Seconds that a server may be silent.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: The pinned k3d is there
  kyma.mtls.pinned_tools:
    directory: ~/.kyma-mtls/bin
    tools:
      - name: k3d
        url: https://github.com/k3d-io/k3d/releases/download/v5.9.0/k3d-{os}-{arch}
        sha256:
          linux-amd64: 06d8f25bc3a971c4eb29e0ff08429b180402db0f4dec838c9eac427e296800a0
        checksums_url: https://github.com/k3d-io/k3d/releases/download/v5.9.0/checksums.txt
"""

RETURN = r"""
installed:
  description: Programs that were, or would be, installed.
  returned: success
  type: list
  elements: str
  sample: [k3d]
platform:
  description: Platform that they are for.
  returned: success
  type: str
  sample: linux-amd64
"""

import platform
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._download import fetch
from ansible_collections.kyma.mtls.plugins.module_utils._k3d import install
from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure


def main() -> None:
    tool = {
        "name": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "sha256": {"type": "dict", "default": {}},
        "checksums_url": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "tools": {"type": "list", "elements": "dict", "required": True, "options": tool},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    with clean_failure(module):
        here = install.this_platform(platform.system(), platform.machine())
        tools = [install.Tool(**one) for one in module.params["tools"]]
        for one in tools:
            if str(here) not in one.sha256:
                module.warn(f"{one.name} is verified by the checksums of its own release only: no SHA-256 was given.")
        installed = [
            one.name
            for one in tools
            if install.install(
                Path(module.params["directory"]),
                one,
                platform=here,
                fetch=lambda url: fetch(url, timeout_seconds=module.params["timeout"]),
                check_only=module.check_mode,
            )
        ]
        module.exit_json(changed=bool(installed), installed=installed, platform=str(here))


if __name__ == "__main__":
    main()
