#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revoke certificates, and keep the revocation lists fresh."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_revocation
short_description: Revoke client certificates and keep the revocation lists of their CAs fresh
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Revokes every certificate of a client that O(register) knows and that has not expired, renewed ones included.
  - Keeps O(crl), a file with one revocation list for each of O(authorities). Envoy needs them all. With a list of one
    CA and none of another one in the path it refuses every client, as it does with a list whose next update is overdue.
  - No file is made before the first revocation.
  - The register is the truth, and the lists are made from it. A list is made anew when a revoked certificate is missing
    in it, when its next update is near, or when its CA is another. Numbers always increase. Nothing is ever taken off a
    list.
  - The lists have a number and an authority key identifier (RFC 5280 section 5.2), which
    M(community.crypto.x509_crl) does not write. The identifier is what tells the lists of two CAs of one name apart
    while CAs are rotated.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The difference is told in words.
  idempotent:
    support: full
options:
  register:
    description: The register of issued certificates, as M(kyma.mtls.certificate_batch) keeps it.
    type: path
    required: true
  crl:
    description: The file with the revocation lists.
    type: path
    required: true
  authorities:
    description:
      - The CAs that the gateway trusts, and the intermediate CAs below them.
      - One whose certificate does not exist is passed over. A key may be absent as long as its CA's list needs nothing.
    type: list
    elements: dict
    required: true
    suboptions:
      certificate:
        description: The CA's certificate.
        type: path
        required: true
      key:
        description: The CA's private key.
        type: path
        required: true
  ca_key_passphrase:
    description: The passphrase of the CAs' keys, if they are encrypted.
    type: str
  names:
    description: The clients to revoke, by their names in O(register). Without any, the lists are only kept fresh.
    type: list
    elements: str
    default: []
  clients:
    description: The directory in which each client has one by its name, with C(client.key) and C(client.crt).
    type: path
  keep:
    description:
      - Keep key and certificate of a client that is revoked in a directory of its name here, so that its refusal can be
        proven also after it has got new ones.
    type: path
  days:
    description: The days from now to the next update of a list.
    type: int
    default: 90
  refresh_before:
    description: Make a list anew when less than this many days are left until its next update.
    type: int
    default: 30
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
requirements:
  - cryptography >= 44.0
seealso:
  - module: kyma.mtls.certificate_batch
  - module: kyma.mtls.mtls_verify
"""

EXAMPLES = r"""
- name: The lost computer's certificates are revoked
  kyma.mtls.certificate_revocation:
    register: ~/pki/client/issued.jsonl
    crl: ~/pki/client/ca.crl
    authorities:
      - certificate: ~/pki/client/ca.crt
        key: ~/pki/client/ca.key
    names: [curl]

- name: The revocation lists are fresh
  kyma.mtls.certificate_revocation:
    register: ~/pki/client/issued.jsonl
    crl: ~/pki/client/ca.crl
    authorities:
      - certificate: ~/pki/client/ca.crt
        key: ~/pki/client/ca.key
"""

RETURN = r"""
revoked:
  description: The certificates that this run revoked, or would revoke in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The client.
      type: str
      sample: curl
    serial_number:
      description: The serial number in lower-case hexadecimal digits.
      type: str
      sample: 3d5c0a2b7e9f14c6a8b0d2e4f60718293a4b5c6d
    subject:
      description: The subject as RFC 4514 writes it.
      type: str
      sample: O=ML Client Org,CN=ML Client Curl
lists:
  description: The revocation lists, empty before the first revocation, with the reasons why one was made anew.
  returned: success
  type: list
  elements: dict
  sample:
    - issuer: CN=ML Client Root CA,O=ML Client Org
      reasons: [its next update is due on 2026-12-01]
kept:
  description: The directories under O(keep) of those of O(names) that have one, by name.
  returned: success
  type: dict
  sample: {curl: /home/me/pki/client/revoked/curl}
"""

import datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._module import clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._pki import revocation


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "register": {"type": "path", "required": True},
            "crl": {"type": "path", "required": True},
            "authorities": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "certificate": {"type": "path", "required": True},
                    "key": {"type": "path", "required": True, "no_log": False},
                },
            },
            "ca_key_passphrase": {"type": "str", "no_log": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "clients": {"type": "path"},
            "keep": {"type": "path"},
            "days": {"type": "int", "default": 90},
            "refresh_before": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    require_cryptography(module)
    params = module.params
    options = revocation.Options(
        register=Path(params["register"]),
        crl=Path(params["crl"]),
        authorities=tuple((Path(one["certificate"]), Path(one["key"])) for one in params["authorities"]),
        passphrase=params["ca_key_passphrase"],
        names=tuple(dict.fromkeys(params["names"])),
        clients=Path(params["clients"]) if params["clients"] else None,
        keep=Path(params["keep"]) if params["keep"] else None,
        days=params["days"],
        refresh_before=params["refresh_before"],
        check_mode=module.check_mode,
    )
    with clean_failure(module):
        module.exit_json(**revocation.run(options, now=datetime.datetime.now(datetime.UTC)))


if __name__ == "__main__":
    main()
