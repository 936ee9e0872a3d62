# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Istio's VirtualService, of which the local platform honours direct responses: answers to exact paths.

They answer what a CA asks for by plain HTTP (ACME's http-01). Everything else is an APIRule's.
"""

from __future__ import annotations

import dataclasses

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import DNS_NAME, Field, KubernetesObject

VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3")

_BACKENDS = dict.fromkeys(
    ("route", "redirect", "delegate", "rewrite"), "the local platform routes by APIRules; here, give a directResponse."
)


@dataclasses.dataclass(frozen=True)
class VirtualService:
    """Answers to exact paths of some hosts."""

    namespace: str
    hosts: tuple[str, ...]
    gateways: tuple[Field, ...]
    routes: tuple[Json, ...]
    #: for refusals
    host_field: Field


def read_virtual_service(resource: KubernetesObject) -> VirtualService:
    """The VirtualService in ``resource``."""
    spec = resource.body.fields(required=("spec",))["spec"]
    fields = spec.fields(
        required=("hosts", "gateways", "http"),
        refused=dict.fromkeys(("tcp", "tls"), "the local platform serves HTTPS and HTTP."),
    )
    hosts = tuple(_read_host(item) for item in fields["hosts"].items())
    return VirtualService(
        namespace=resource.namespace,
        hosts=hosts,
        gateways=fields["gateways"].items(),
        routes=tuple(route for item in fields["http"].items() for route in _read_routes(item)),
        host_field=fields["hosts"],
    )


def _read_host(item: Field) -> str:
    host = item.text().lower()
    if not DNS_NAME.fullmatch(host.removeprefix("*.")):
        raise item.refusal(f"{host!r} is not a DNS name, or a DNS name after '*.'.")
    return host


def _read_routes(item: Field) -> list[Json]:
    fields = item.fields(required=("match", "directResponse"), optional=("name",), refused=_BACKENDS)
    answer = fields["directResponse"].fields(required=("status",), optional=("body",))
    response: Json = {"status": answer["status"].number(200, 599)}
    if "body" in answer:
        body = answer["body"].fields(
            required=("string",), refused={"bytes": "give the body as text (string); it is all that is needed here."}
        )
        response["body"] = {"inline_string": body["string"].text(empty=True)}
    return [
        {
            "match": {"path": match.fields(required=("uri",))["uri"].fields(required=("exact",))["exact"].text()},
            "direct_response": response,
        }
        for match in fields["match"].items()
    ]
