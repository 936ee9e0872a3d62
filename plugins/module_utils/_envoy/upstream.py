# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that answer already: somebody's own application in place of the pods of a Service."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.connection_manager import TYPE
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Json
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

PROTOCOLS = ("HTTP/1.1", "HTTP/2")
_ADDRESS = re.compile(r"unix:(?P<path>/.+)|(\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\s]+)):(?P<port>[1-9][0-9]{0,4})")
_LOGGED = re.compile(r"[A-Za-z0-9_.-]+")
_FORMS = "unix:/path, 127.0.0.1:port, or with a CA also the IP address of another machine"


@dataclasses.dataclass(frozen=True)
class Upstream:
    """What answers for one port of a Service."""

    address: Json
    protocol: str = "HTTP/1.1"
    #: the labels of the pods that it stands for, which policies select by
    labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: PEM; with it the connection is TLS, and the server needs a certificate of this CA for ``server_name``
    ca: str = ""
    server_name: str = ""
    #: the headers that a line of the access log has, for requests that ask for one
    identity_log: tuple[str, ...] = ()

    def cluster_fields(self) -> Json:
        """What a cluster needs beside the address."""
        fields: Json = {}
        if self.protocol == "HTTP/2":
            fields["typed_extension_protocol_options"] = {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            }
        if self.ca:
            names = [{"san_type": kind, "matcher": {"exact": self.server_name}} for kind in ("DNS", "IP_ADDRESS")]
            fields["transport_socket"] = {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "sni": "" if _is_ip(self.server_name) else self.server_name,
                    "common_tls_context": {
                        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                        "alpn_protocols": ["h2" if self.protocol == "HTTP/2" else "http/1.1"],
                        "validation_context": {
                            "trusted_ca": {"inline_string": self.ca},
                            "match_typed_subject_alt_names": names,
                        },
                    },
                },
            }
        return fields


def read_upstream(owner: str, given: t.Mapping[str, t.Any]) -> Upstream:
    """Return the upstream of ``owner``, which messages name. Raises MtlsError that says what is wrong."""
    address, ca = str(given.get("address") or ""), str(given.get("ca") or "")
    protocol = str(given.get("protocol") or PROTOCOLS[0])
    if protocol not in PROTOCOLS:
        raise MtlsError(f"{owner}: the protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}.")
    envoy_address, host = _read_address(address, owner)
    if host and not ca and not ipaddress.ip_address(host).is_loopback:
        raise MtlsError(
            f"{owner}: the address {address} is another machine, and without TLS everybody in between could read and "
            "change requests. Give the CA of its certificate, or an address of this machine."
        )
    server_name = str(given.get("server_name") or host)
    if ca and not server_name:
        raise MtlsError(f"{owner}: the address {address} is not a name that a certificate has. Give server_name.")
    labels = {str(name): str(value) for name, value in (given.get("labels") or {}).items()}
    logged = tuple(str(name) for name in given.get("identity_log") or ())
    if unprintable := [name for name in logged if not _LOGGED.fullmatch(name)]:
        raise MtlsError(f"{owner}: identity_log cannot print the header {unprintable[0]!r}. Give it a plainer name.")
    return Upstream(envoy_address, protocol, labels, ca, server_name if ca else "", logged)


def _read_address(address: str, owner: str) -> tuple[Json, str]:
    """Return Envoy's form of ``address``, and its IP address, empty for a socket."""
    match = _ADDRESS.fullmatch(address)
    if match and match["path"]:
        return {"pipe": {"path": match["path"]}}, ""
    host = (match["six"] or match["host"] or "").replace("localhost", "127.0.0.1") if match else ""
    if match is None or not _is_ip(host) or int(match["port"]) > 65535:
        raise MtlsError(f"{owner}: the address {address!r} is not one of {_FORMS}.")
    return {"socket_address": {"address": host, "port_value": int(match["port"])}}, host


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
