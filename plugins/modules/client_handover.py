#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients need beside their keys and certificates."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_handover
short_description: Write a script, instructions and the server CA for each client
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Adds to each client's directory, beside its key and certificate, the server's CA, a script C(curl.sh) that sends a
    request to the gateway from any working directory, and a C(README.md) with the URL and the commands for curl,
    Python and browsers.
  - One call takes any number of clients.
  - A client without a certificate gets no files. Those of an earlier run are removed, with the directory if it is
    then empty. A client that has a certificate and is not in O(clients) is left as it is.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The difference lists the files and why they change.
  idempotent:
    support: full
options:
  directory:
    description:
      - The directory with a subdirectory for each client, by its name, which holds C(client.key), C(client.crt),
        C(client-chain.pem) and, if there is one, C(client.p12).
    type: path
    required: true
  clients:
    description: The names of the clients.
    type: list
    elements: str
    required: true
  clients_file:
    description: A file on the target host with more clients, as O(kyma.mtls.pki#module:certificates_file) has them.
    type: path
    version_added: 0.2.0
  url:
    description: The URL of the gateway for clients.
    type: str
    required: true
  connect_to:
    description: Connect to this C(host:port) instead of the host in O(url).
    type: str
  server_ca:
    description:
      - A file with the CA certificates in PEM by which clients know the server.
      - While it does not exist, no files are written, with a warning.
      - Without it, clients rely on the CAs that their system trusts, which is right for a publicly trusted server.
    type: path
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
  - kyma.mtls._attributes.action_in_process
requirements:
  - idna >= 3.4, for names with letters outside ASCII only
seealso:
  - module: kyma.mtls.certificate_batch
"""

EXAMPLES = r"""
- name: Prepare the directories of two clients for handover
  kyma.mtls.client_handover:
    directory: ~/pki/client/clients
    clients: [curl, robot]
    url: https://httpbin.mtls.local.kyma.dev/headers
    connect_to: 127.0.0.1:8443
    server_ca: ~/pki/server/ca.crt
"""

RETURN = r"""
changes:
  description: The files that were written or removed.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The client.
      type: str
      sample: curl
    path:
      description: The file.
      type: str
      sample: /home/me/pki/client/clients/curl/curl.sh
    reason:
      description: Why.
      type: str
      sample: it is missing
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._client_list import present_names, read_client_list
from ansible_collections.kyma.mtls.plugins.module_utils._handover import handover
from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import read_address
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure


def main(make_module: t.Callable[..., AnsibleModule] = Module) -> None:
    """Run the module."""
    module = make_module(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "clients": {"type": "list", "elements": "str", "required": True},
            "clients_file": {"type": "path"},
            "url": {"type": "str", "required": True},
            "connect_to": {"type": "str"},
            "server_ca": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    with clean_failure(module):
        more = present_names(read_client_list(params["clients_file"])) if params["clients_file"] else []
        result = handover.run(
            handover.HandoverOptions(
                directory=Path(params["directory"]),
                clients=(*params["clients"], *more),
                address=read_address(params["url"], params["connect_to"]),
                server_ca=Path(params["server_ca"]) if params["server_ca"] else None,
                check_mode=module.check_mode,
            )
        )
        for warning in result.pop("warnings"):
            module.warn(warning)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
