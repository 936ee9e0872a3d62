# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run kyma_modules, and say what is being downloaded while that takes long.

It is executed as any module, not in Ansible's worker: on macOS, asking for the system's proxies crashes a process that
was forked.
"""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.kyma.mtls.plugins.plugin_utils._waiting import TellingAction


class ActionModule(TellingAction, NormalAction):
    def waiting_for(self) -> str:
        """Return what may have to be downloaded."""
        return "download of the manifests of Kyma's modules"
