# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._pki import state
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


@pytest.fixture
def kill_at_each_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Iterator[None]]:
    """Give what runs a step on a directory, killed at the first write, then at the second, until the step ends.

    It yields after each of these runs; the directory is as it was before the next one.
    """

    def runs(directory: Path, step: t.Callable[[], object], *, most: int) -> t.Iterator[None]:
        write, backup = state.write_atomic, tmp_path / "backup"
        shutil.copytree(directory, backup)
        for writes in range(most):
            shutil.rmtree(directory)
            shutil.copytree(backup, directory)
            remaining = iter(range(writes))

            def write_or_die(*arguments: t.Any, allowed: t.Iterator[int] = remaining, **options: t.Any) -> None:
                if next(allowed, None) is None:
                    raise KeyboardInterrupt
                write(*arguments, **options)

            is_killed = False
            with monkeypatch.context() as patched:
                patched.setattr(state, "write_atomic", write_or_die)
                try:
                    step()
                except KeyboardInterrupt:
                    is_killed = True
            yield
            if not is_killed:
                return
        raise AssertionError("more writes than expected")

    return runs
