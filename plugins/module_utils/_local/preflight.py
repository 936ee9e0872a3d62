# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the local gateway can have what it will need, found out before anything is made."""

from __future__ import annotations

import os
import socket
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import launch

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._local.admin import Admin
    from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout

ADDRESS = "127.0.0.1"
ENVOY = "envoy"


def port_number(value: t.Any, *, what: str = "ports") -> int:
    """Return ``value`` as a TCP port.

    Raises MtlsError when it is none.
    """
    text = str(value)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise MtlsError(f"{what}: {text!r} is not a TCP port (1 to 65535).")
    return int(text)


def refuse_taken_ports(
    layout: RuntimeLayout, admin: Admin, ports: t.Collection[int], *, address: str = ADDRESS
) -> None:
    """Refuse a port that another program than this runtime's Envoy listens on: Envoy would only log it.

    Raises MtlsError with the reason.
    """
    if not ports or (admin.accepted_versions() is None and launch.lock_holder(layout.locks / f"{ENVOY}.lock")):
        # Our own Envoy runs but does not answer: what it listens on is not known.
        return
    ours = admin.listens_on()
    for port in sorted(ports):
        if f"{address}:{port}" not in ours:
            refuse_if_taken(address, port)


def refuse_if_taken(address: str, port: int) -> None:
    """Refuse a port that cannot be listened on.

    Raises MtlsError with the reason.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError as exc:
            raise MtlsError(
                f"This user may not listen on port {port} of {address}. Choose a port from 1024 on "
                "(role variable gateway_port)."
            ) from exc
        except OSError as exc:
            raise MtlsError(
                f"Port {port} on {address} is taken by another process, so the gateway cannot listen on it. "
                f"Stop that process (ss -ltnp 'sport = :{port}' names it), or choose another port "
                "(role variable gateway_port)."
            ) from exc


def refuse_unwritable(layout: RuntimeLayout) -> None:
    """Refuse a directory in which this user can make nothing.

    Raises MtlsError with the directory that is in the way.
    """
    place = layout.root
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise MtlsError(
            f"The local runtime belongs in {layout.root}, but {place} is not a directory. Choose another home."
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise MtlsError(
            f"The local runtime belongs in {layout.root}, but this user may not write in {place}. "
            "Choose another home (mtls_home), or have the directory given to this user."
        )
