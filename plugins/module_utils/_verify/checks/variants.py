# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unusual requests of the good client, which gateways answer differently: for the report, without a judgement."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import connection
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import HTTP_1
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import HttpRequest

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.client_context import ClientContext

# Some servers never answer some of them; nothing is judged by it.
_PATIENCE_SECONDS = 3.0
_UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "a3ltYS5tdGxzIHZlcmlmeQ=="),
)


def try_variants(inspection: Inspection) -> dict[str, str]:
    """Return what the good client gets for each unusual request, in words; nothing where only HTTP/2 is spoken."""
    if inspection.offer != HTTP_1:
        return {}
    target, options = inspection.target, inspection.options
    plain = HttpRequest(options.method, target.path, target.authority)
    path, question, query = target.path.partition("?")
    requests = {
        "HTTP/1.0": dataclasses.replace(plain, version="HTTP/1.0"),
        "Host with a port": dataclasses.replace(plain, authority=f"{target.bare_authority}:{target.port}"),
        "path with brackets": dataclasses.replace(plain, path=f"{path}[1]{question}{query}"),
        "WebSocket": dataclasses.replace(plain, headers=_UPGRADE),
    }
    context = inspection.context(options.client, verified=inspection.trusted)
    return {name: _answer(inspection, context, request) for name, request in requests.items()}


def _answer(inspection: Inspection, context: ClientContext, request: HttpRequest) -> str:
    observation = connection.converse(
        inspection.target.address,
        context,
        server_name=inspection.server_name,
        request=request,
        timeout=min(inspection.options.timeout, _PATIENCE_SECONDS),
    )
    return f"HTTP {observation.response.status}" if observation.response else observation.detail
