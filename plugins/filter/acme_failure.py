# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: acme_failure
short_description: Say in the CA's own words why an ACME order failed
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Turns the result of a failed task of community.crypto's ACME modules into the CA's reason, and what to do about it.
options:
  _input:
    description: Result of the task that failed, with its C(msg), or its C(order) and C(authorizations_by_identifier).
    type: dict
    required: true
  about:
    description: What was ordered, with C(directory), C(names), C(challenge) and C(records).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a CA would have said
  ansible.builtin.debug:
    msg: "{{ result | kyma.mtls.acme_failure(about) }}"
  vars:
    result:
      msg: "Error urn:ietf:params:acme:error:rateLimited: too many certificates already issued"
    about:
      directory: https://acme.example.com/directory
      names: [DNS:shop.example.com]
      challenge: http-01
      records: []
"""

RETURN = r"""
_value:
  description: The reason and what to do.
  type: str
  sample: https://acme.example.com/directory issued no certificate for DNS:shop.example.com. ...
"""

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils import _acme


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file by name."""
        return {"acme_failure": _acme.failure}
