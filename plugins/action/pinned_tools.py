# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run pinned_tools, and say what is being downloaded while that takes long."""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction, named


class ActionModule(TellingAction, NormalAction):
    def waiting_for(self) -> str:
        """Return the tools that may have to be downloaded."""
        names = named(self._task.args.get("tools"))
        return f"download of {names}" if names else ""
