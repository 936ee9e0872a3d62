# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules run on targets, whatever the other tests of the same process have imported."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def on_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of filters and actions import Ansible's controller; from then on, a module's warnings would be printed."""
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False, raising=False)
    # And from then on, it would refuse lone surrogates before a module sees them.
    check = "ansible.module_utils._internal._json._profiles._string_encoding_check_enabled"
    monkeypatch.setattr(check, lambda: False, raising=False)
    # Ansible keeps what was warned of for the life of the process, which on a target is one module.
    for kept in ("_global_warnings", "_global_deprecations"):
        monkeypatch.setattr(f"ansible.module_utils.common.warnings.{kept}", {}, raising=False)
