# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run certificate_chain without a Python of its own where the target is the controller and no file is written."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.modules import certificate_chain
from ansible_collections.kyma.mtls.plugins.plugin_utils._in_process import ActionInProcess


class ActionModule(ActionInProcess):
    MAIN = staticmethod(certificate_chain.main)

    def is_here(self, variables: t.Mapping[str, t.Any]) -> bool:
        # A file's mode, owner, attributes and backup are AnsibleModule's business.
        return not self._task.args.get("dest") and super().is_here(variables)
