# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: acme_standing_records
short_description: Records by which an ACME CA knows an account without further proof
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Returns the TXT records of the challenge C(dns-persist-01) (draft-ietf-acme-dns-persist). Published once, they let
    the account renew certificates, wildcards included, without access to the zone.
options:
  _input:
    description: Names, each as C(DNS:) and the value.
    type: list
    elements: str
    required: true
  issuer:
    description: The CA's C(directory), and the C(account_uri) of the account.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the record for a wildcard
  ansible.builtin.debug:
    msg: "{{ ['DNS:*.apps.example.com'] | kyma.mtls.acme_standing_records(issuer) }}"
  vars:
    issuer:
      directory:
        meta:
          caaIdentities: [ca.example.com]
      account_uri: https://acme.example.com/account/1
"""

RETURN = r"""
_value:
  description: The records, each with C(name) and C(values).
  type: list
  elements: dict
  sample:
    - name: _validation-persist.apps.example.com
      values: [ca.example.com; accounturi=https://acme.example.com/account/1; policy=wildcard]
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kyma.mtls.plugins.module_utils import _acme
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError


def acme_standing_records(sans: t.Sequence[str], issuer: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return the standing records, or fail with the reason."""
    try:
        return _acme.standing_records(sans, issuer)
    except MtlsError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file by name."""
        return {"acme_standing_records": acme_standing_records}
