# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run kubernetes_access without a Python of its own where the target is the controller, and say what takes long."""

from __future__ import annotations

from ansible_collections.kyma.mtls.plugins.modules import kubernetes_access
from ansible_collections.kyma.mtls.plugins.plugin_utils._in_process import ActionInProcess
from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction


class ActionModule(TellingAction, ActionInProcess):
    MAIN = staticmethod(kubernetes_access.main)

    def waiting_for(self) -> str:
        """Return what has to become ready."""
        wanted = [f"{self._task.args['nodes']} nodes"] if self._task.args.get("nodes") else []
        wanted += ["DNS"] if self._task.args.get("dns") else []
        return f"{' and '.join(wanted) or 'API server'} of the cluster to be ready"
