# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A callback plugin that kills the whole run (SIGKILL) after a task that changes something."""

from __future__ import annotations

import os
import signal
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: killed_after_change
type: notification
short_description: Kills the run after a task that changes something
description: For tests of what the next run makes of it. KILLED_AFTER names the task; without it, it is the first one.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "killed_after_change"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._kill_if_changed(result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        self._kill_if_changed(result)

    def _kill_if_changed(self, result: t.Any) -> None:
        # What changed nothing leaves nothing that an interruption could part.
        if result.is_changed() and os.environ.get("KILLED_AFTER", "") in result.task_name:
            os.killpg(os.getpgrp(), signal.SIGKILL)
