# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run at a time on one runtime."""

from __future__ import annotations

import pathlib
import stat
import threading

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import locking


def test_second_run_waits_for_the_first(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    waiting = threading.Event()
    monkeypatch.setattr(locking.time, "sleep", lambda _seconds: waiting.set())

    def second() -> None:
        with locking.lock(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    with locking.lock(tmp_path / "lock"):
        thread.start()
        waiting.wait()
        order.append("first")
    thread.join()

    assert order == ["first", "second"]
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_lock_held_for_too_long_is_a_failure_in_words(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.0)

    with (
        locking.lock(tmp_path / "lock"),
        pytest.raises(MtlsError, match=r"Another run has held this runtime .*/lock is locked"),
        locking.lock(tmp_path / "lock"),
    ):
        pass


def test_lock_is_free_after_a_failure(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="x"), locking.lock(tmp_path / "lock"):
        raise ValueError("x")

    with locking.lock(tmp_path / "lock"):
        pass


def test_lock_that_cannot_be_opened_is_a_failure_in_words(tmp_path: pathlib.Path) -> None:
    with (
        pytest.raises(MtlsError, match=r"lock file .* cannot be opened: No such file or directory"),
        locking.lock(tmp_path / "gone" / "lock"),
    ):
        pass
