# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets given as files on this host, so that no key passes through Ansible."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._files import expand, read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret


@dataclasses.dataclass(frozen=True)
class SecretSource:
    """A Secret to be made of files on this host: ``files`` maps a key of its data to a path.

    ``optional_files`` do the same when they exist. One that is not ``for_gateway`` holds any files, as they are.
    ``replaces`` is the name of the Secret whose place it takes: that one is compared with it before, and removed after
    it is in use.
    """

    name: str
    namespace: str
    files: t.Mapping[str, str]
    optional_files: t.Mapping[str, str]
    for_gateway: bool = True
    replaces: str = ""

    @property
    def label(self) -> str:
        return f"Secret {self.namespace}/{self.name}"

    @property
    def replaced_label(self) -> str:
        return f"Secret {self.namespace}/{self.replaces}"


def secret_source(parameters: t.Mapping[str, t.Any]) -> SecretSource:
    """Return one item of the module's ``secrets``, with ``~`` expanded in its paths."""
    return SecretSource(
        name=parameters["name"],
        namespace=parameters["namespace"],
        files=expanded(parameters["files"]),
        optional_files=expanded(parameters["optional_files"]),
        for_gateway=parameters.get("for_gateway", True),
        replaces=parameters.get("replaces") or "",
    )


def expanded(files: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the paths of ``files`` with ``~`` expanded."""
    return {str(key): str(expand(str(path))) for key, path in files.items()}


def read_secrets(sources: t.Sequence[SecretSource], *, predict: bool) -> tuple[list[Secret], tuple[str, ...]]:
    """Return the Secrets whose files are all there, and the files that are not (only with ``predict``).

    Raises MtlsError for a missing or unreadable file.
    """
    secrets = []
    pending: list[str] = []
    for source in sources:
        missing = [path for path in source.files.values() if predict and not Path(path).exists()]
        if missing:
            pending.extend(missing)
            continue
        optional = {key: path for key, path in source.optional_files.items() if Path(path).exists()}
        data = {
            key: read_bytes(path, what=f"file for {key} of {source.label}")
            for key, path in {**source.files, **optional}.items()
        }
        secrets.append(
            Secret(
                name=source.name,
                namespace=source.namespace,
                data=data,
                for_gateway=source.for_gateway,
                replaces=source.replaces,
            )
        )
    return secrets, tuple(pending)
