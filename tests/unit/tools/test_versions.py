# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is declared as supported is what the tests run with."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]


def pinned() -> list[tuple[int, int]]:
    """The versions of ansible-core that the pinned environments have."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("requirements-test.txt", "tools/core-2.20.txt")]
    pins = re.findall(r"^ansible-core==(\d+)\.(\d+)\.", "\n".join(texts), re.MULTILINE)
    return sorted({(int(major), int(minor)) for major, minor in pins})


def test_ansible_core_is_declared_from_the_oldest_to_the_newest_version_that_is_tested() -> None:
    declared = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["requires_ansible"]
    oldest, newest = pinned()[0], pinned()[-1]
    assert declared == f">={oldest[0]}.{oldest[1]}.0,<{newest[0]}.{newest[1] + 1}.0"
