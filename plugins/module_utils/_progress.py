# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module waits for, for the action plugin that shows it: the file that the plugin names in the environment.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import write_atomic

VARIABLE = "KYMA_MTLS_PROGRESS"

Report = t.Callable[[t.Sequence[str]], None]


def reporter() -> Report:
    """Return the function that a module tells, line by line, what it waits for; nobody listens without the variable."""
    path = os.environ.get(VARIABLE)
    return _to_file(Path(path)) if path else silent


def silent(_lines: t.Sequence[str]) -> None:
    """Report to nobody."""


def _to_file(path: Path) -> Report:
    def report(lines: t.Sequence[str]) -> None:
        try:
            write_atomic(path, "\n".join(lines).encode(), mode=0o600, is_derived=True)
        except (MtlsError, OSError):
            # The plugin no longer listens, as after the start of an asynchronous task.
            return

    return report
