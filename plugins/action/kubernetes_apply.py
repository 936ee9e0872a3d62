# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run kubernetes_apply, and show what it waits for in the objects' own words."""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction


class ActionModule(TellingAction, NormalAction):
    REPORTS = True

    def waiting_for(self) -> str:
        """Return what takes long, for a module that runs elsewhere and cannot be heard."""
        return f"objects of the cluster to be {'gone' if self._task.args.get('state') == 'absent' else 'ready'}"
