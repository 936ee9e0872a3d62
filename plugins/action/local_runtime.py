# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run local_runtime without a Python of its own where the target is the controller, and say what takes long."""

from __future__ import annotations

from ansible_collections.kyma.mtls.plugins.plugin_utils._cached_code import main_of
from ansible_collections.kyma.mtls.plugins.plugin_utils._in_process import ActionInProcess
from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction, named


class ActionModule(TellingAction, ActionInProcess):
    MAIN = staticmethod(main_of("local_runtime"))

    def waiting_for(self) -> str:
        """Return the packages that may have to be downloaded."""
        names = named(self._task.args.get("packages"))
        return f"installation of {names}" if names else ""
