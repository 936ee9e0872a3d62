# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules that run in Ansible's process are compiled once, not in each run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.plugin_utils import _cached_code

NAME = "ansible_collections.kyma.mtls.plugins.modules.sample_for_the_cache"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "sample_for_the_cache.py").write_text("def main():\n    return 1\n")
    return tmp_path


def load(directory: Path) -> t.Any:
    spec = _cached_code.CachedCode.find_spec(NAME, [str(directory)])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_code_is_cached_and_compiled_again_when_the_file_has_changed(directory: Path) -> None:
    assert load(directory).main() == 1
    (cached,) = (directory / "__pycache__").glob("sample_for_the_cache.*.pyc")
    written = cached.stat().st_mtime_ns
    assert load(directory).main() == 1
    assert cached.stat().st_mtime_ns == written

    (directory / "sample_for_the_cache.py").write_text("def main():\n    return 22\n")
    assert load(directory).main() == 22


@pytest.mark.parametrize("length", [0, 10, 16, 40, -1])
def test_byte_code_that_is_cut_short_is_not_used(directory: Path, length: int) -> None:
    load(directory)
    (cached,) = (directory / "__pycache__").glob("sample_for_the_cache.*.pyc")
    cached.write_bytes(cached.read_bytes()[:length])
    assert load(directory).main() == 1


def test_only_the_collections_modules_are_looked_for(directory: Path) -> None:
    for name, path in (
        ("ansible_collections.kyma.mtls.plugins.action.sample_for_the_cache", [str(directory)]),
        ("ansible_collections.other.mtls.plugins.modules.sample_for_the_cache", [str(directory)]),
        (NAME, None),
        (NAME, [str(directory / "elsewhere")]),
    ):
        assert _cached_code.CachedCode.find_spec(name, path) is None


def test_ansible_uses_the_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - kyma.mtls.client_handover:\n"
        f"        directory: {tmp_path}\n        clients: []\n        url: https://a.test\n"
    )
    ansible = Path(sys.executable).with_name("ansible-playbook")

    done = subprocess.run([ansible, playbook], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    cached = {path.name.partition(".")[0] for path in (tmp_path / "cache").rglob("*.pyc") if "mtls" in str(path)}
    assert {"client_handover", "_errors", "_files"} <= cached
