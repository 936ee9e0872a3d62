# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: renamed
short_description: Warn that something has another name now
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description: Returns its input, and warns that something is deprecated and what to use instead.
options:
  _input:
    description: Any value, usually that of a variable with an old name.
    type: raw
    required: true
  old:
    description: What is deprecated, to begin the sentence with.
    type: str
    required: true
  new:
    description: What to use instead.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Use a variable that has another name now
  ansible.builtin.debug:
    msg: "{{ my_port | kyma.mtls.renamed('The variable my_port', 'my_listener_port') }}"
  vars:
    my_port: 8443
"""

RETURN = r"""
_value:
  description: The input.
  type: raw
  sample: 8443
"""

import typing as t

from ansible.utils.display import Display

display = Display()


def renamed(value: t.Any, old: str, new: str) -> t.Any:
    """Return ``value``, and warn that ``old`` is deprecated."""
    display.warning(f"{old} is deprecated. Use {new}.")
    return value


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file by name."""
        return {"renamed": renamed}
