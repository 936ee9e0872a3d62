#!/usr/bin/python

# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_roles
short_description: Validate the arguments of several roles before the first one starts
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Ansible validates the arguments of a role when the role starts. This action does it for several roles of this
    collection at once, so that a wrong value for the last role is found before the first role changes anything.
  - It sees what the play, the inventory and the command line set, and the roles' own defaults. When
    C(DEFAULT_PRIVATE_ROLE_VARS) hides these, it has nothing to validate.
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.info_module
options:
  roles:
    description: Names of roles of this collection.
    type: list
    elements: str
    required: true
attributes:
  action:
    description: Has a corresponding action plugin, so that something of it may be executed on the controller.
    support: full
    details:
      - It is executed on the controller as a whole.
seealso:
  - module: ansible.builtin.validate_argument_spec
"""

EXAMPLES = r"""
- name: Validate the arguments of two roles
  kyma.mtls.validate_roles:
    roles: [server_pki, client_pki]
"""

RETURN = r""" # """
