# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole playbooks, run from the collection as it is installed from its artifact, with nothing of the checkout."""

from __future__ import annotations

import re
import sys

from checks.step import Context
from checks.units import counts

TESTS = "tests/playbooks"


def installed(context: Context) -> str:
    output = context.run(
        *(sys.executable, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider"), reason="tests of whole playbooks fail"
    )
    skipped = re.findall(r"^SKIPPED \[\d+\] [^:]+:\d+: (.*)$", output, re.MULTILINE)
    return "; ".join([counts(output), *skipped])
