# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificates of the second hop on disk: one file, so that no crash can separate a certificate from its key."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import mesh, render
from ansible_collections.kyma.mtls.plugins.module_utils._files import write_atomic

if t.TYPE_CHECKING:
    import datetime
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration, Json


class MeshStore:
    """The mesh of one runtime."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "mesh.json"

    def renewed(self, configuration: Configuration, *, now: datetime.datetime) -> mesh.Mesh:
        """Return the mesh for ``configuration``, with what is missing or expiring issued; writes nothing.

        A damaged file is replaced: nothing outside this runtime trusts it.
        """
        return mesh.renew(self._load(), configuration.mesh_identities, now=now)

    def save(self, made: mesh.Mesh) -> None:
        """Make the disk hold ``made``."""
        if made != self._load():
            write_atomic(self.path, self._dump(made), mode=0o600)

    @staticmethod
    def documents(configuration: Configuration, made: mesh.Mesh) -> dict[str, Json]:
        """Return the SDS files of the second hop: relative path -> document."""
        documents = {}
        for credential in configuration.mesh_credentials:
            if credential.kind == "certificate":
                pair = made.identities[credential.name]
                documents[credential.path] = render.sds_certificate(credential.resource, pair.certificate, pair.key)
            else:
                documents[credential.path] = render.sds_validation(credential.resource, made.root.certificate)
        return documents

    def _load(self) -> mesh.Mesh | None:
        try:
            stored = json.loads(self.path.read_bytes())
            return mesh.Mesh(
                root=self._pair(stored["root"]),
                identities={name: self._pair(pair) for name, pair in stored["identities"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @staticmethod
    def _pair(stored: t.Mapping[str, str]) -> mesh.KeyPair:
        return mesh.KeyPair(certificate=stored["certificate"].encode(), key=stored["key"].encode())

    @staticmethod
    def _dump(made: mesh.Mesh) -> bytes:
        def pair(key_pair: mesh.KeyPair) -> dict[str, str]:
            return {"certificate": key_pair.certificate.decode(), "key": key_pair.key.decode()}

        identities = {name: pair(key_pair) for name, key_pair in made.identities.items()}
        return json.dumps({"root": pair(made.root), "identities": identities}).encode()
