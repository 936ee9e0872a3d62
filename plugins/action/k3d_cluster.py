# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run k3d_cluster, and say which cluster is waited for while that takes long."""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction


class ActionModule(TellingAction, NormalAction):
    def waiting_for(self) -> str:
        """Return the cluster that is created, started or stopped."""
        return f"k3d cluster {self._task.args.get('name')} to be {self._task.args.get('state') or 'present'}"
