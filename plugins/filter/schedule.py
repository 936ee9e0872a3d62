# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: schedule
short_description: An interval as schedule of systemd and cron
version_added: 0.2.0
author:
  - The kyma.mtls authors (@kyma-mtls)
description:
  - Turns an interval such as V(15m), V(6h) or V(1d) into the expressions that systemd and cron need.
  - An interval that divides neither an hour nor a day is an error.
options:
  _input:
    description: The interval, a number with C(m), C(h) or C(d).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show how systemd says every six hours
  ansible.builtin.debug:
    msg: "{{ ('6h' | kyma.mtls.schedule).calendar }}"
"""

RETURN = r"""
_value:
  description:
    - C(calendar) for OnCalendar of a systemd timer, C(cron_minute) and C(cron_hour) for cron, and the C(seconds).
  type: dict
  sample: {calendar: '*-*-* 0/6:00:00', cron_minute: '0', cron_hour: '*/6', seconds: 21600}
"""

import dataclasses
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._monitor.schedule import read_interval


def schedule(interval: str) -> dict[str, t.Any]:
    """Return the schedule of ``interval`` as a dictionary."""
    try:
        return dataclasses.asdict(read_interval(str(interval)))
    except MtlsError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters of this file by name."""
        return {"schedule": schedule}
