#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_records
short_description: Set or remove TXT records by dynamic updates
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Adds TXT values to names of one zone, or removes them, by one dynamic update (RFC 2136), signed with a TSIG key.
  - Other values of the same names stay. So several CAs can validate one name at the same time.
options:
  server:
    description: Address of the zone's primary name server.
    type: str
    required: true
  port:
    description: Its port.
    type: int
    default: 53
  zone:
    description: Zone to update.
    type: str
    required: true
  key_name:
    description: Name of the TSIG key. Without it, updates are not signed.
    type: str
  key_secret:
    description: The TSIG key in Base64.
    type: str
  key_algorithm:
    description: Algorithm of the TSIG key.
    type: str
    choices: [hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512]
    default: hmac-sha256
  records:
    description: Names and their values.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name of the record, such as C(_acme-challenge.www.example.com).
        type: str
        required: true
      values:
        description: Values of TXT records.
        type: list
        elements: str
        required: true
  ttl:
    description: Time to live of new records in seconds.
    type: int
    default: 60
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 10
  state:
    description: V(present) adds the values, V(absent) removes them.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - dnspython >= 2.0
seealso:
  - module: kyma.mtls.certificate_order
"""

EXAMPLES = r"""
- name: Publish the answer to a challenge
  kyma.mtls.dns_records:
    server: 192.0.2.53
    zone: example.com
    key_name: acme-key
    key_secret: "{{ vault_acme_tsig }}"
    records:
      - name: _acme-challenge.www.example.com
        values: [gfj9Xq...Rg85nM]
"""

RETURN = r"""
records:
  description: Values that were added or removed, or would be in check mode, by name.
  returned: success
  type: dict
  sample: {_acme-challenge.www.example.com: [gfj9Xq...Rg85nM]}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils import _dns
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_library


def argument_spec() -> dict[str, t.Any]:
    """Give the module's options."""
    return {
        "server": {"type": "str", "required": True},
        "port": {"type": "int", "default": 53},
        "zone": {"type": "str", "required": True},
        "key_name": {"type": "str", "no_log": False},
        "key_secret": {"type": "str", "no_log": True},
        "key_algorithm": {
            "type": "str",
            "choices": ["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"],
            "default": "hmac-sha256",
            "no_log": False,
        },
        "records": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "values": {"type": "list", "elements": "str", "required": True},
            },
        },
        "ttl": {"type": "int", "default": 60},
        "timeout": {"type": "int", "default": 10},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }


def main(make_module: t.Callable[..., AnsibleModule] = Module) -> None:
    """Run the module."""
    module = make_module(
        argument_spec=argument_spec(), supports_check_mode=True, required_together=[("key_name", "key_secret")]
    )
    require_library(module, "dns", "dnspython")
    with clean_failure(module):
        given = module.params
        zone = _dns.Zone(
            server=given["server"],
            port=given["port"],
            name=given["zone"],
            key=(given["key_name"], given["key_secret"], given["key_algorithm"]) if given["key_name"] else None,
            timeout_seconds=given["timeout"],
        )
        records = {record["name"]: record["values"] for record in given["records"]}
        is_present = given["state"] == "present"
        differing = zone.differing(records, is_present=is_present)
        if differing and not module.check_mode:
            zone.update(differing, is_present=is_present, ttl=given["ttl"])
        shown = "".join(f'{name} TXT "{value}"\n' for name, values in differing.items() for value in values)
        module.exit_json(
            changed=bool(differing),
            records=differing,
            diff={"before": "" if is_present else shown, "after": shown if is_present else ""},
        )


if __name__ == "__main__":
    main()
