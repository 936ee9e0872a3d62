# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What check mode asks first: is there anything to verify yet?"""

from __future__ import annotations

import socket
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._verify.parameters import read_target

_FILES = (
    "probe_kit",
    "ca",
    "client_cert",
    "client_key",
    "client_p12",
    "clients_file",
    "client_ca_cert",
    "client_ca_key",
    "revoked_cert",
)
_PATIENCE_SECONDS = 3.0


def _is_missing(path: str) -> bool:
    """What cannot be looked at for another cause is there: who reads it says why it cannot be."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def missing(params: t.Mapping[str, t.Any]) -> str | None:
    """Return why nothing can be tried yet (a file or a listener is missing), None when all is there."""
    for name in _FILES:
        if name == "client_ca_key" and params["client_ca_signer"]:
            continue  # the key need not be a file
        value = params[name]
        for path in value if isinstance(value, list) else [value]:
            if path and _is_missing(path):
                return f"{name} {path} does not exist yet"
    hosts = [host for workload in params["workloads"] or () for host in workload.get("hosts") or ()]
    url = params["url"] or f"https://{str(hosts[0]).removeprefix('*.')}/" if hosts else params["url"] or ""
    target = read_target(url, params["connect_to"])
    try:
        socket.create_connection(target.address, timeout=min(params["timeout"], _PATIENCE_SECONDS)).close()
    except OSError as exc:
        return f"nothing listens at {target.place} yet ({exc.strerror or exc})"
    return None
