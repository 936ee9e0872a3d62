#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_kit
short_description: Prepare the test identities of a verification for a host that must not have a CA's key
version_added: 0.2.0
description:
  - Creates a directory with which M(kyma.mtls.mtls_verify) runs every check without the client CA's key - one good
    client, and clients that a gateway must refuse (expired, not valid yet, for another purpose, beyond a path length,
    outside a name constraint, revoked ...).
  - Run it where the client CA's key is, at any interval. The kit is created again in the last third of its life,
    and when the client, a CA or a revoked client changes. Then copy it to the host that verifies.
  - Some identities in the kit are accepted by the gateway, as a check needs it. Protect the kit like a client's key,
    and give O(client_cert) a subject of its own, for example C(CN=probe), so that logs show who connected.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
  - kyma.mtls._signer.test_identities
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The diff shows when the kit expires and why it is created again, never a key.
  idempotent:
    support: full
requirements:
  - cryptography >= 44.0
author:
  - The kyma.mtls authors (@kyma-mtls)
options:
  directory:
    description: The directory of the kit. It gets mode 0700, its keys 0600.
    type: path
    required: true
  state:
    description: V(absent) removes the kit's files, and the directory when nothing else is in it.
    type: str
    choices: [present, absent]
    default: present
  client_cert:
    description: The good client's certificate, with its intermediate certificates if it has any.
    type: path
  client_key:
    description: The good client's private key.
    type: path
  client_key_passphrase:
    description: The passphrase of O(client_key). The key in the kit has none.
    type: str
  client_ca_cert:
    description: The CA certificates whose clients the gateway trusts, all of them.
  client_ca_key:
    description: The private key of one of O(client_ca_cert). It signs the test identities, and is never in the kit.
    type: path
  client_ca_signer:
    description:
      - Where the key of one of O(client_ca_cert) is, when it is not a file. It signs the test identities.
      - It is not used when O(client_ca_key) names a file that is there.
  ca:
    description:
      - The CA certificates that the gateway's certificate must lead to. Without them, the verifying host's trust store
        decides.
    type: list
    elements: path
  server_ca_key:
    description:
      - The private key of one of O(ca). A client of that CA is then in the kit, which the gateway must refuse; the key
        is not. A missing file counts as none.
    type: path
  server_ca_signer:
    description: Where the key of O(server_ca_key) is, when it is not a file. It is not used when that file is there.
  revoked:
    description: Revoked clients that the gateway must refuse. Without one, the revocation check is skipped.
    type: list
    elements: dict
    default: []
    suboptions:
      cert:
        description: The certificate.
        type: path
        required: true
      key:
        description: Its private key.
        type: path
        required: true
  days:
    description: Days until the kit expires; fewer if O(client_cert) expires earlier.
    type: int
    default: 14
seealso:
  - module: kyma.mtls.mtls_verify
    description: Verifies from a kit with its option O(kyma.mtls.mtls_verify#module:probe_kit).
"""

EXAMPLES = r"""
- name: Prepare the probe's identities
  kyma.mtls.probe_kit:
    directory: ~/.kyma-mtls/probe
    client_cert: ~/.kyma-mtls/pki/client/clients/curl/client-chain.pem
    client_key: ~/.kyma-mtls/pki/client/clients/curl/client.key
    client_ca_cert: [~/.kyma-mtls/pki/client/ca-bundle.crt]
    client_ca_key: ~/.kyma-mtls/pki/client/ca.key
    ca: [~/.kyma-mtls/pki/server/ca.crt]
"""

RETURN = r"""
reason:
  description: Why the kit was or would be created.
  type: str
  returned: when changed and O(state=present)
  sample: it expires on 2026-12-13T12:00:00Z
not_after:
  description: When the kit can no longer be used.
  type: str
  returned: when there is a kit
  sample: '2026-12-13T12:00:00Z'
renew_after:
  description: From when on a run creates the kit again.
  type: str
  returned: when there is a kit
  sample: '2026-12-08T20:00:00Z'
serial_numbers:
  description: The serial numbers of the identities in the kit, in hexadecimal, to revoke them should the kit be stolen.
  type: list
  elements: str
  returned: when there is a kit
  sample: [4f1c3a9b7d2e6058, 7be0125583c9d1aa]
"""

import datetime
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._signer import options as signers
from ansible_collections.kyma.mtls.plugins.module_utils._verify import parameters
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities import probe_kit


def main(make_module: t.Callable[..., AnsibleModule] = Module) -> None:
    module = make_module(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "client_cert": {"type": "path"},
            "client_key": {"type": "path", "no_log": False},
            "client_key_passphrase": {"type": "str", "no_log": True},
            "client_ca_cert": {"type": "list", "elements": "path"},
            "client_ca_key": {"type": "path", "no_log": False},
            "client_ca_key_passphrase": {"type": "str", "no_log": True},
            "client_ca_signer": {"type": "dict", "options": signers.OPTIONS},
            "ca": {"type": "list", "elements": "path"},
            "server_ca_key": {"type": "path", "no_log": False},
            "server_ca_key_passphrase": {"type": "str", "no_log": True},
            "server_ca_signer": {"type": "dict", "options": signers.OPTIONS},
            "revoked": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "cert": {"type": "path", "required": True},
                    "key": {"type": "path", "required": True, "no_log": False},
                },
            },
            "days": {"type": "int", "default": 14},
        },
        required_if=[
            ("state", "present", ("client_cert", "client_key", "client_ca_cert")),
            ("state", "present", ("client_ca_key", "client_ca_signer"), True),
        ],
        supports_check_mode=True,
    )
    require_cryptography(module)
    directory = Path(module.params["directory"])
    with clean_failure(module):
        if module.params["state"] == "absent":
            module.exit_json(changed=probe_kit.remove_kit(directory, check=module.check_mode))
        now = datetime.datetime.now(tz=datetime.UTC)
        request = parameters.read_kit_request(module.params, probe_kit.issuers(directory))
        if reason := probe_kit.reason_to_create(directory, request, now=now):
            request = parameters.read_kit_request(module.params)
        before = probe_kit.describe_kit(directory)
        if reason and not module.check_mode:
            probe_kit.create_kit(directory, request, now=now)
        after = probe_kit.describe_kit(directory) if reason and not module.check_mode else before
        difference = {"before": before, "after": {**after, "reason": reason} if reason else after}
        module.exit_json(changed=bool(reason), diff=difference, **({"reason": reason} if reason else {}), **after)


if __name__ == "__main__":
    main()
