# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A callback plugin that kills the whole run (SIGKILL) after as many tasks as KILLED_AFTER says."""

from __future__ import annotations

import os
import signal
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: killed_after
type: notification
short_description: Kills the run after some tasks
description: For tests of what the next run makes of it.
"""
# These leave nothing behind that an interruption could part.
COUNTED_NOT = frozenset({"include_tasks", "include_role", "validate_argument_spec", "assert", "debug", "set_fact"})


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "killed_after"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.left = int(os.environ["KILLED_AFTER"])

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._count(result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        self._count(result)

    def _count(self, result: t.Any) -> None:
        if result.task.action.rpartition(".")[2] in COUNTED_NOT:
            return
        self.left -= 1
        if self.left == 0:
            os.killpg(os.getpgrp(), signal.SIGKILL)
