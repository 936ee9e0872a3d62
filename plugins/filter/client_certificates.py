# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turn a role's list of clients into the list that certificate_batch takes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: client_certificates
short_description: Turn a list of clients into the certificates of kyma.mtls.certificate_batch
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Gives every client its directory and the usage V(client), and fills in defaults.
  - A client without a subject and without a common name has its name as common name.
positional: _input
options:
  _input:
    description: The clients, as the variable C(client_pki_clients) of the role P(kyma.mtls.client_pki#role) has them.
    type: list
    elements: dict
    required: true
  directory:
    description: The directory in which each client has one, by its name.
    type: str
    required: true
  defaults:
    description:
      - What holds for clients that say nothing else. C(key_size) and C(curve) are used with C(key_type) only.
      - C(organization) is used for clients without a subject.
    type: dict
    default: {}
  rekey:
    description: The names of clients that get a new key and certificate on this run.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Clients have certificates
  kyma.mtls.certificate_batch:
    ca_cert: ~/pki/client/ca.crt
    ca_key: ~/pki/client/ca.key
    certificates: "{{ clients | kyma.mtls.client_certificates(directory='~/pki/client/clients',
      defaults={'days': 90}) }}"
  vars:
    clients:
      - name: curl
        common_name: ML Client Curl
        organization: ML Client Org
"""

RETURN = r"""
_value:
  description: The list for the option C(certificates).
  type: list
  elements: dict
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError


def client_certificates(
    clients: t.Sequence[Mapping[str, t.Any]],
    *,
    directory: str,
    defaults: Mapping[str, t.Any] | None = None,
    rekey: t.Sequence[str] = (),
) -> list[dict[str, t.Any]]:
    """Return the certificates of ``clients``."""
    certificates = []
    for client in clients:
        if not isinstance(client, Mapping) or not client.get("name"):
            raise AnsibleFilterError(f"Every client needs a name, but one has none: {client!r}")
        given = {key: value for key, value in client.items() if value is not None}
        certificate = dict(defaults or {}) | {"usage": "client"} | given
        if given.get("subject"):
            certificate = {key: value for key, value in certificate.items() if key in given or key != "organization"}
        else:
            certificate.setdefault("common_name", client["name"])
        certificate["directory"] = f"{directory}/{client['name']}"
        certificates.append(certificate | ({"rekey": True} if client["name"] in rekey else {}))
    present = {one["name"] for one in certificates if one.get("state", "present") == "present"}
    if unknown := sorted(set(rekey) - present):
        raise AnsibleFilterError(
            f"A new certificate is asked for {', '.join(unknown)}, but the list of clients has "
            f"{', '.join(sorted(present))}."
        )
    return certificates


class FilterModule:
    """The filter plugin."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file."""
        return {"client_certificates": client_certificates}
