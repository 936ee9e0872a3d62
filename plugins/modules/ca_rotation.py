#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Take one step of a CA's rotation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ca_rotation
short_description: Change from one CA to the next without a moment in which anybody is refused
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Takes one step of a rotation. Each step can be published and proven before the next one.
  - Which step is due is read from the directories C(next), C(previous) and C(retired) under O(directory), so a run that
    was killed is simply run again.
  - No CA is ever removed. One that is no longer in use is moved to C(retired).
attributes:
  check_mode:
    support: full
    details:
      - When the new CA has only been predicted, all steps are reported as changes.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  directory:
    description: The directory with C(ca.key) and C(ca.crt), and C(intermediate.key) and C(intermediate.crt) if any.
    type: path
    required: true
  state:
    description:
      - V(prepared) makes the CA that is in C(next) acceptable beside the one in use, which still issues.
      - V(switched) puts the CA in C(next) into use and keeps the one before in C(previous).
      - V(finished) retires the CA in C(previous) when that is due.
    type: str
    choices: [prepared, switched, finished]
    required: true
  bundle:
    description: The file with the CAs that the gateway trusts. One is added and one is dropped; others in it stay.
    type: path
  cross_signed:
    description:
      - Have the old CA sign the new one, as C(cross.crt). A server that sends it along is accepted by clients that
        trust only the old CA and by clients that trust only the new one.
    type: bool
    default: false
  ca_key_passphrase:
    description: The passphrase of the CAs' keys, if they are encrypted.
    type: str
  grace_days:
    description:
      - Retire the old CA not before the new one has been in use for so many days.
      - With V(0) it is retired as soon as O(clients) has no certificate of it any more.
    type: int
    default: 0
  clients:
    description: The directory in which each client has one, with C(client-chain.pem).
    type: path
  register:
    description: The register of issued certificates. Clients that it lists as revoked keep no CA in use.
    type: path
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
requirements:
  - cryptography >= 44.0
seealso:
  - module: kyma.mtls.certificate_batch
"""

EXAMPLES = r"""
- name: An old CA is retired if its time is over
  kyma.mtls.ca_rotation:
    directory: ~/pki/client
    state: finished
    bundle: ~/pki/client/ca-bundle.crt
    clients: ~/pki/client/clients
    grace_days: 14
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [retire the CA before]
phase:
  description: V(none), V(prepared), V(switching) or V(overlap), after the step.
  returned: success
  type: str
  sample: none
is_finished:
  description: Whether no old CA is accepted any more.
  returned: with O(state=finished)
  type: bool
  sample: true
until:
  description: When the old CA is retired, or null when no time decides.
  returned: with O(state=finished)
  type: str
  sample: "2027-11-23T12:00:00Z"
left_behind:
  description: The clients that still have a certificate of the old CA.
  returned: with O(state=finished)
  type: list
  elements: str
  sample: [robot]
"""

import datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._pki import rotation


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["prepared", "switched", "finished"], "required": True},
            "bundle": {"type": "path"},
            "cross_signed": {"type": "bool", "default": False},
            "ca_key_passphrase": {"type": "str", "no_log": True},
            "grace_days": {"type": "int", "default": 0},
            "clients": {"type": "path"},
            "register": {"type": "path"},
        },
        supports_check_mode=True,
    )
    require_cryptography(module)
    params = module.params
    options = rotation.Options(
        directory=Path(params["directory"]),
        state=params["state"],
        bundle=Path(params["bundle"]) if params["bundle"] else None,
        is_cross_signed=params["cross_signed"],
        passphrase=params["ca_key_passphrase"],
        grace_days=params["grace_days"],
        clients=Path(params["clients"]) if params["clients"] else None,
        register=Path(params["register"]) if params["register"] else None,
        check_mode=module.check_mode,
    )
    with clean_failure(module):
        module.exit_json(**rotation.run(options, now=datetime.datetime.now(datetime.UTC)))


if __name__ == "__main__":
    main()
