# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two Gateways with one host on one port: Istio takes either, and the other's routes answer 404."""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import ApiError

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes.client import Api

Body = t.Mapping[str, t.Any]


def overlapping(api: Api, gateways: t.Sequence[Body]) -> list[str]:
    """Return a warning for each other Gateway that serves a host and port of ``gateways`` on the same pods."""
    warnings = []
    for version in sorted({str(gateway["apiVersion"]) for gateway in gateways}):
        try:
            others = api.request("GET", f"/apis/{version}/gateways", what="all Gateways").get("items") or []
        except ApiError as exc:
            if exc.status == 403:
                # Whoever may not look at other namespaces cannot be warned.
                continue
            raise
        for ours in (gateway for gateway in gateways if gateway["apiVersion"] == version):
            for other in others:
                shared = sorted(_served(ours) & _served(other))
                if shared and _address(other) != _address(ours) and _same_pods(ours, other):
                    hosts = ", ".join(f"{host} on port {port}" for host, port in shared)
                    warnings.append(
                        f"Gateway {_address(ours)}: Gateway {_address(other)} serves {hosts} too. Istio takes only one "
                        "of them, and requests for the other's routes get 404. Give one a subdomain of its own."
                    )
    return warnings


def _address(gateway: Body) -> str:
    return f"{gateway['metadata']['namespace']}/{gateway['metadata']['name']}"


def _served(gateway: Body) -> set[tuple[str, int]]:
    """Return (host, port) of all servers; a host may have a namespace before it."""
    return {
        (str(host).rpartition("/")[2], int((server.get("port") or {}).get("number") or 0))
        for server in (gateway.get("spec") or {}).get("servers") or []
        for host in server.get("hosts") or []
    }


def _same_pods(one: Body, other: Body) -> bool:
    """Whether the selectors can mean the same pods: no label has another value."""
    first, second = ((body.get("spec") or {}).get("selector") or {} for body in (one, other))
    return all(second.get(key, value) == value for key, value in first.items())
