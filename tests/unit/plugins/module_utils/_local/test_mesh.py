# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificates of the second hop on disk."""

from __future__ import annotations

import pathlib
import stat

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._local.mesh import MeshStore
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import samples

CONFIGURATION = samples.translated()


@pytest.fixture
def store(tmp_path: pathlib.Path) -> MeshStore:
    return MeshStore(tmp_path)


def test_mesh_is_made_once_and_private(store: MeshStore) -> None:
    made = store.renewed(CONFIGURATION, now=samples.NOW)
    assert not store.path.exists()
    store.save(made)
    inode = store.path.stat().st_ino

    assert store.renewed(CONFIGURATION, now=samples.NOW) == made
    store.save(made)

    assert store.path.stat().st_ino == inode
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_every_secret_of_the_second_hop_has_its_file(store: MeshStore) -> None:
    made = store.renewed(CONFIGURATION, now=samples.NOW)

    documents = store.documents(CONFIGURATION, made)

    assert set(documents) == {one.path for one in CONFIGURATION.mesh_credentials}
    assert len([one for one in documents.values() if "tls_certificate" in one["resources"][0]]) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"root": {}}', b'{"root": {"certificate": 1, "key": 2}}', b"\xff"])
def test_damaged_mesh_is_made_anew(store: MeshStore, content: bytes) -> None:
    store.save(store.renewed(CONFIGURATION, now=samples.NOW))
    store.path.write_bytes(content)

    made = store.renewed(CONFIGURATION, now=samples.NOW)
    store.save(made)

    assert store.renewed(CONFIGURATION, now=samples.NOW) == made
