# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run kubernetes_access, and show what the cluster is waited for."""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction


class ActionModule(TellingAction, NormalAction):
    REPORTS = True

    def waiting_for(self) -> str:
        """Return what has to become ready."""
        awaited = [f"{self._task.args['nodes']} nodes"] if self._task.args.get("nodes") else []
        awaited += ["DNS"] if self._task.args.get("dns") else []
        return f"{' and '.join(awaited) or 'API server'} of the cluster to be ready"
