# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that a crash cannot tear and that nobody else can read."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils import _files
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError


def mode_of(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_missing_file_is_named_with_its_role(tmp_path: pathlib.Path) -> None:
    with pytest.raises(MtlsError, match=r"The client key .*/gone does not exist") as caught:
        _files.read_bytes(tmp_path / "gone", what="client key")

    assert caught.value.details == {"path": str(tmp_path / "gone")}


def test_unreadable_file_is_named_with_the_reason(tmp_path: pathlib.Path) -> None:
    with pytest.raises(MtlsError, match=r"The file .* cannot be read: Is a directory"):
        _files.read_bytes(tmp_path)


def test_content_is_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    assert _files.read_bytes(tmp_path / "file") == b"content"


def test_directory_and_its_parents_are_made_private(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "a" / "b"

    assert _files.ensure_directory(directory)

    assert (mode_of(directory), mode_of(directory.parent)) == (0o700, 0o700)
    assert not _files.ensure_directory(directory)


def test_directory_mode_does_not_depend_on_the_umask(tmp_path: pathlib.Path) -> None:
    before = os.umask(0o077)
    try:
        assert _files.ensure_directory(tmp_path / "a", mode=0o755)
    finally:
        os.umask(before)

    assert mode_of(tmp_path / "a") == 0o755


def test_open_directory_is_closed_to_others(tmp_path: pathlib.Path) -> None:
    tmp_path.chmod(0o755)

    assert _files.ensure_directory(tmp_path)
    assert mode_of(tmp_path) == 0o700


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_file_in_place_of_a_directory_is_refused_and_left_alone(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "file").chmod(0o644)

    with pytest.raises(MtlsError, match=r"cannot be created with mode 0700: Not a directory.*Choose a place"):
        _files.ensure_directory(tmp_path / name)

    assert mode_of(tmp_path / "file") == 0o644


def test_dangling_link_in_place_of_a_directory_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")

    with pytest.raises(MtlsError, match="cannot be created"):
        _files.ensure_directory(tmp_path / "link")


def test_file_is_replaced_with_its_mode_and_leaves_nothing_else(tmp_path: pathlib.Path) -> None:
    (tmp_path / "key").write_bytes(b"old")

    _files.write_atomic(tmp_path / "key", b"new", mode=0o600)

    assert (tmp_path / "key").read_bytes() == b"new"
    assert mode_of(tmp_path / "key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_key_is_private_before_it_has_content(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    real = os.fchmod

    def look(descriptor: int, mode: int) -> None:
        real(descriptor, mode)
        status = os.fstat(descriptor)
        seen.append((stat.S_IMODE(status.st_mode), status.st_size))

    monkeypatch.setattr(os, "fchmod", look)
    _files.write_atomic(tmp_path / "key", b"secret", mode=0o600)

    assert seen == [(0o600, 0)]


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_failure_leaves_the_old_content_and_no_remains(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "key").write_bytes(b"old")
    monkeypatch.setattr(os, step, fail)

    with pytest.raises(MtlsError, match="key cannot be written: No space left on device"):
        _files.write_atomic(tmp_path / "key", b"new", mode=0o600)

    assert (tmp_path / "key").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_missing_directory_is_a_failure_in_words(tmp_path: pathlib.Path) -> None:
    with pytest.raises(MtlsError, match="cannot be written: No such file or directory"):
        _files.write_atomic(tmp_path / "gone" / "key", b"new", mode=0o600)
