# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell a person, while a module works, what is being waited for and how long so far.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import tempfile
import threading
import time
import typing as t
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.kyma.mtls.plugins.module_utils import _progress

FIRST_SECONDS = 10.0
EVERY_SECONDS = 15.0

display = Display()


class TellingAction(ActionBase):  # type: ignore[misc]  # Ansible's plugin classes have no types
    """In front of another action: what it waits for is shown at intervals, and a quick one shows nothing."""

    REPORTS: t.ClassVar[bool] = False
    """Whether the module itself says, by module_utils._progress, what it waits for at the moment."""

    def waiting_for(self) -> str:
        """Return, from the task's arguments, what the module may have to wait for; empty when nothing takes long."""
        raise NotImplementedError

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        words = self.waiting_for()
        host = str((task_vars or {}).get("inventory_hostname", ""))
        if not words:
            result: dict[str, t.Any] = super().run(tmp, task_vars)
            return result
        with self._reports() as reported, telling(f"[{host}]", lambda: reported() or [words]):
            waited: dict[str, t.Any] = super().run(tmp, task_vars)
        return waited

    @contextmanager
    def _reports(self) -> t.Iterator[t.Callable[[], list[str]]]:
        """Have the module report; the value returns its last words, none where it cannot be heard."""
        is_near = self._connection.transport in {"local", "ansible.builtin.local"} and not self._connection.become
        if not (self.REPORTS and is_near):
            yield list
            return
        with tempfile.TemporaryDirectory(dir=constants.DEFAULT_LOCAL_TMP) as directory:
            path = Path(directory) / "waiting"
            self._task.environment = [*(self._task.environment or []), {_progress.VARIABLE: str(path)}]

            def last() -> list[str]:
                return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

            yield last


def named(items: t.Any, key: str = "name") -> str:
    """Return the names of ``items`` for a person. Whether they are what they should be is for the module to say."""
    if not isinstance(items, Sequence) or isinstance(items, str):
        return ""
    return ", ".join(str(item.get(key)) for item in items if isinstance(item, Mapping))


@contextmanager
def telling(host: str, words: t.Callable[[], list[str]]) -> t.Iterator[None]:
    """Tell ``words`` at intervals, from a thread of its own, until the block ends."""
    ended = threading.Event()
    started = time.monotonic()

    def tell() -> None:
        pause = FIRST_SECONDS
        while not ended.wait(pause):
            for line in words():
                display.display(f"waiting: {host} {time.monotonic() - started:.0f} s: {line}")
            pause = EVERY_SECONDS

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
