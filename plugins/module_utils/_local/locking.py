# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run at a time on one runtime."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

LOCK_SECONDS = 60.0


@contextlib.contextmanager
def lock(path: Path) -> t.Iterator[None]:
    """Hold the lock file ``path``.

    Raises MtlsError when another run holds it for too long, or when it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise MtlsError(f"The lock file {path} cannot be opened: {exc.strerror}.") from exc
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MtlsError(
                        f"Another run has held this runtime for {LOCK_SECONDS:.0f} seconds ({path} is locked). "
                        "Wait for it to end, and run this one again."
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)
