# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run mtls_verify without a Python of its own where the target is the controller, and say what takes long."""

from __future__ import annotations

from ansible_collections.kyma.mtls.plugins.plugin_utils._cached_code import main_of
from ansible_collections.kyma.mtls.plugins.plugin_utils._in_process import ActionInProcess
from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction


class ActionModule(TellingAction, ActionInProcess):
    MAIN = staticmethod(main_of("mtls_verify"))

    def waiting_for(self) -> str:
        """Return the server whose answer is waited for before anything is judged."""
        where = self._task.args.get("connect_to") or self._task.args.get("url")
        return f"{where} to answer a good client, and the checks"
