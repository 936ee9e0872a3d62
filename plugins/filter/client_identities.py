# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: client_identities
short_description: Where the certificates and keys of clients are
version_added: 0.1.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Turns a list of clients, as the role P(kyma.mtls.client_pki#role) has it, into the list of identities that
    M(kyma.mtls.mtls_verify) takes.
  - Clients whose C(state) is C(absent) have no certificate and are left out.
options:
  _input:
    description: Clients, each with a C(name) and perhaps a C(state).
    type: list
    elements: dict
    required: true
  directory:
    description: The directory that has one directory for each client, by its name.
    type: str
    required: true
  without:
    description: The name of a client that is left out.
    type: str
    default: ""
  only_first:
    description: Return the first client only, without a look at the others. Of thousands, that is much faster.
    type: bool
    default: false
    version_added: 0.2.0
"""

EXAMPLES = r"""
- name: Show all clients but the first as identities that must get in
  ansible.builtin.debug:
    msg: "{{ clients | kyma.mtls.client_identities(directory='~/.kyma-mtls/pki/client/clients', without='alice') }}"
  vars:
    clients:
      - name: alice
      - name: bob
      - name: carol
        state: absent
"""

RETURN = r"""
_value:
  description: For each client its C(name), and the paths C(cert) of its certificate chain and C(key) of its key.
  type: list
  elements: dict
  sample:
    - name: bob
      cert: ~/.kyma-mtls/pki/client/clients/bob/client-chain.pem
      key: ~/.kyma-mtls/pki/client/clients/bob/client.key
"""

import itertools
import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError


def client_identities(
    clients: t.Sequence[t.Mapping[str, t.Any]], directory: str, without: str = "", *, only_first: bool = False
) -> list[dict[str, str]]:
    """Return name, certificate and key of every client that has them."""
    names = (name for name in _present(clients) if name != without)
    chosen = itertools.islice(names, 1) if only_first else names
    return [
        {"name": name, "cert": f"{directory}/{name}/client-chain.pem", "key": f"{directory}/{name}/client.key"}
        for name in dict.fromkeys(chosen)
    ]


def _present(clients: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    for number, client in enumerate(clients, 1):
        if not isinstance(client, Mapping) or not client.get("name"):
            raise AnsibleFilterError(f"Client number {number} of the list of clients has no name. Give it one.")
        if client.get("state", "present") == "present":
            yield str(client["name"])


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file by name."""
        return {"client_identities": client_identities}
