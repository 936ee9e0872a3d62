# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run certificate_order without a Python of its own where the target is the controller."""

from __future__ import annotations

from ansible_collections.kyma.mtls.plugins.plugin_utils._cached_code import main_of
from ansible_collections.kyma.mtls.plugins.plugin_utils._in_process import ActionInProcess


class ActionModule(ActionInProcess):
    MAIN = staticmethod(main_of("certificate_order"))
