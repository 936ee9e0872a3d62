# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run pki without a Python of its own where the target is the controller."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.plugin_utils._cached_code import main_of
from ansible_collections.kyma.mtls.plugins.plugin_utils._in_process import ActionInProcess


class ActionModule(ActionInProcess):
    MAIN = staticmethod(main_of("pki"))

    def is_here(self, variables: t.Mapping[str, t.Any]) -> bool:
        """Not when it asks a cluster: the Python client has state of its own in a process."""
        return not self._task.args.get("cert_manager") and super().is_here(variables)
