# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules run in this process, as they would run on a target host."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def on_a_target_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test of a controller's plugin leaves behind: there, a module's warnings go to the display."""
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)
