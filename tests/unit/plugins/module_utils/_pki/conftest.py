# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.corporate import Corporate, make_corporate
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import Home, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Give a directory with a CA in it."""
    return make_home(tmp_path)


@pytest.fixture
def corporate(tmp_path: Path) -> Corporate:
    """Give a corporate PKI beside the one of the test."""
    return make_corporate(tmp_path)
