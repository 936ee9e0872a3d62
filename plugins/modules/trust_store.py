#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have a host or a browser trust a CA."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trust_store
short_description: Add CA certificates to the trust stores of a system and of browsers, and remove them again
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Supports the system's store on Debian, Ubuntu, Alpine, Fedora, Red Hat Enterprise Linux and its derivatives, SUSE
    and Arch, and NSS databases, which Firefox uses, and Chromium on Linux.
  - Adds a certificate under a name with its fingerprint. Only a certificate with such a name and that fingerprint is
    ever removed.
  - When O(certificate) holds another CA than before, the previous one is removed.
  - A CA that a user has added to an NSS database is used as it is when it is trusted for servers there, and never
    removed. Without that trust the module fails and changes nothing.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The difference lists the changes.
  idempotent:
    support: full
options:
  certificate:
    description: The file with the CA certificates in PEM. It need not exist for O(state=absent) with O(record).
    type: path
  content:
    description:
      - The CA certificates themselves, in PEM, in place of O(certificate).
      - For a second call with C(become), which gets RV(content) of the first one, because root should not trust a path
        that another user can replace.
    type: str
  state:
    description: Whether the certificates must be trusted.
    type: str
    choices: [present, absent]
    default: present
  system:
    description:
      - Whether to change the system's store.
      - A user that may not write to it changes nothing there, and RV(system_pending) says so. A second call with
        C(become) does it.
    type: bool
    default: false
  system_directory:
    description: Directory that the system's store takes certificates from, for a system that this module does not know.
    type: path
  system_command:
    description: The program that updates the store, with its arguments.
    type: list
    elements: str
    default: []
  nss:
    description:
      - The directories of NSS databases (C(cert9.db)). One that is missing is created, without a password.
      - C(certutil) is needed, from the package C(libnss3-tools) or C(nss-tools).
    type: list
    elements: path
    default: []
  record:
    description:
      - A file that records what was added to which store. It is written before any store is changed, and removed with
        the last certificate.
      - With it, O(state=absent) needs no other option.
    type: path
  obsolete:
    description: Fingerprints (SHA-256, lower-case hexadecimal digits) of further certificates to remove.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
seealso:
  - module: kyma.mtls.client_handover
"""

EXAMPLES = r"""
- name: Add the gateway's CA to this user's Chromium
  kyma.mtls.trust_store:
    certificate: ~/pki/server/ca.crt
    nss: [~/.pki/nssdb]
    record: ~/trust.json

- name: Remove the gateway's CA from Chromium
  kyma.mtls.trust_store:
    state: absent
    record: ~/trust.json
"""

RETURN = r"""
changes:
  description: What was changed.
  returned: success
  type: list
  elements: str
  sample: ["/home/me/.pki/nssdb: kyma-mtls-0123456789abcdef trusted"]
system_pending:
  description: Whether the system's store is still to be changed, by a user that may write to it.
  returned: success
  type: bool
  sample: false
content:
  description: The CA certificates that were read, in PEM.
  returned: success
  type: str
  sample: "-----BEGIN CERTIFICATE-----..."
obsolete:
  description: Fingerprints of certificates that must not be trusted any more.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure
from ansible_collections.kyma.mtls.plugins.module_utils._trust import trust


def main() -> None:
    """Run the module."""
    module = Module(
        argument_spec={
            "certificate": {"type": "path"},
            "content": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "system": {"type": "bool", "default": False},
            "system_directory": {"type": "path"},
            "system_command": {"type": "list", "elements": "str", "default": []},
            "nss": {"type": "list", "elements": "path", "default": []},
            "record": {"type": "path"},
            "obsolete": {"type": "list", "elements": "str", "default": []},
        },
        mutually_exclusive=[("certificate", "content")],
        required_if=[("state", "present", ["certificate", "content"], True)],
        supports_check_mode=True,
    )
    params = module.params
    with clean_failure(module):
        result = trust.run(
            trust.TrustOptions(
                certificate=Path(params["certificate"]) if params["certificate"] else None,
                content=params["content"],
                is_present=params["state"] == "present",
                is_system=params["system"],
                system_directory=Path(params["system_directory"]) if params["system_directory"] else None,
                system_command=tuple(params["system_command"]),
                databases=tuple(Path(directory) for directory in params["nss"]),
                record=Path(params["record"]) if params["record"] else None,
                obsolete=tuple(params["obsolete"]),
                check_mode=module.check_mode,
            )
        )
        module.exit_json(**result)


if __name__ == "__main__":
    main()
