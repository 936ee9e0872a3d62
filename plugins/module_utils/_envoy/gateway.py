# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Istio's Gateway, read strictly."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._envoy.reading import (
    DNS_LABEL,
    DNS_NAME,
    Field,
    KubernetesObject,
)

VERSIONS = ("networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3")

#: The labels of Kyma's ingress gateway, whose part the local Envoy plays.
INGRESS_LABELS = {"app": "istio-ingressgateway", "istio": "ingressgateway"}

#: On a Gateway: the application protocol (ALPN) that its servers are for, beside those that serve the same hosts.
#: Istio has no such choice; it is what RFC 8737 needs.
APPLICATION_PROTOCOL = "kyma.mtls/application-protocol"

_PROTOCOLS = {"TLSV1_0": "TLSv1_0", "TLSV1_1": "TLSv1_1", "TLSV1_2": "TLSv1_2", "TLSV1_3": "TLSv1_3"}

#: What istiod lets through (pkg/config/security/security.go). Others it drops with a warning only.
CIPHER_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
)

_FILES = "names a file in the ingress gateway's pod, which does not exist here; give the secret by credentialName."
_NEITHER = dict.fromkeys(
    ("HTTP2", "GRPC", "GRPC-WEB", "MONGO", "MYSQL", "REDIS", "TCP", "TLS"), "the local platform serves HTTPS and HTTP."
)
_PASSED_ON = dict.fromkeys(
    ("PASSTHROUGH", "AUTO_PASSTHROUGH"),
    "the local platform terminates TLS in the gateway; use SIMPLE, MUTUAL or OPTIONAL_MUTUAL.",
)
_ISTIO_MUTUAL = {"ISTIO_MUTUAL": "is for traffic inside a mesh; use MUTUAL with a credentialName."}


@dataclasses.dataclass(frozen=True)
class Tls:
    """The TLS settings of a server that terminates TLS."""

    mode: str
    credentials: tuple[str, ...]
    #: the credential that the client CAs come from; empty in the mode SIMPLE
    client_ca: str
    minimum: str
    maximum: str
    cipher_suites: tuple[str, ...]
    subject_alt_names: tuple[str, ...]
    spki_hashes: tuple[str, ...]
    certificate_hashes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Host:
    """A host that a server exposes, to APIRules of one namespace or of all (``*``)."""

    namespace: str
    name: str


@dataclasses.dataclass(frozen=True)
class Server:
    """One server of a Gateway."""

    gateway: str
    port: int
    port_name: str
    hosts: tuple[Host, ...]
    #: none for plain HTTP, which answers by the direct responses of VirtualServices only
    tls: Tls | None
    #: whether plain HTTP is sent on to HTTPS
    redirects: bool
    #: the only application protocol that it speaks; empty for HTTP
    application_protocol: str
    #: for refusals
    field: Field
    hosts_field: Field

    @property
    def route_name(self) -> str:
        """The name that istiod gives to the route configuration: all servers of plain HTTP on a port share one."""
        if self.tls is None:
            return f"http.{self.port}"
        namespace, name = self.gateway.split("/")
        return f"https.{self.port}.{self.port_name}.{name}.{namespace}"


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A Gateway that the local Envoy serves."""

    key: str
    servers: tuple[Server, ...]


def read_gateway(resource: KubernetesObject) -> Gateway:
    """The Gateway in ``resource``."""
    spec = resource.body.fields(required=("spec",))["spec"]
    fields = spec.fields(required=("servers",), optional=("selector",))
    if "selector" in fields:
        for label, field in fields["selector"].pairs().items():
            if INGRESS_LABELS.get(label) != field.value:
                labels = ", ".join(f"{key}: {value}" for key, value in INGRESS_LABELS.items())
                raise field.refusal(f"{field.value!r} selects no gateway: the local one has the labels {labels}.")
    servers = tuple(_read_server(resource, item) for item in fields["servers"].items())
    names: set[str] = set()
    for server in servers:
        if server.port_name in names:
            raise server.field.refusal(f"a second server with the port name {server.port_name!r}; they must differ.")
        names.add(server.port_name)
    return Gateway(key=resource.key, servers=servers)


def _read_server(resource: KubernetesObject, item: Field) -> Server:
    fields = item.fields(
        required=("port", "hosts"),
        optional=("name", "tls"),
        refused={
            "bind": "the local platform binds every server to its own loopback address.",
            "defaultEndpoint": "is not honoured by Istio's gateways either; route by an APIRule.",
        },
    )
    port = fields["port"].fields(
        required=("number", "protocol", "name"), refused={"targetPort": "has no effect on Gateways."}
    )
    protocol = port["protocol"].one_of(("HTTPS", "HTTP"), refused=_NEITHER)
    is_https = protocol == "HTTPS"
    if is_https and "tls" not in fields:
        raise port["protocol"].refusal("a server of protocol HTTPS needs tls settings.")
    redirects = (
        not is_https and "tls" in fields and fields["tls"].fields(required=("httpsRedirect",))["httpsRedirect"].flag()
    )
    hosts = tuple(_read_host(host, resource.namespace) for host in fields["hosts"].items())
    for index, host in enumerate(hosts):
        if host in hosts[:index]:
            raise fields["hosts"].refusal(f"has {host.name} twice.")
    return Server(
        gateway=resource.key,
        port=port["number"].number(1, 65535),
        port_name=port["name"].text(),
        hosts=hosts,
        tls=_read_tls(fields["tls"]) if is_https else None,
        redirects=redirects,
        application_protocol=resource.annotations.get(APPLICATION_PROTOCOL, ""),
        field=item,
        hosts_field=fields["hosts"],
    )


def _read_host(item: Field, own_namespace: str) -> Host:
    """``host``, ``namespace/host``, ``./host`` for the Gateway's own namespace, ``*/host`` for all."""
    namespace, _slash, name = item.text().lower().rpartition("/")
    if namespace not in ("", "*", ".") and not DNS_LABEL.fullmatch(namespace):
        raise item.refusal(f"{namespace!r} before the slash is not a namespace, '.' or '*'.")
    if name != "*" and not DNS_NAME.fullmatch(name.removeprefix("*.")):
        raise item.refusal(f"{name!r} is not a DNS name, a DNS name after '*.', or '*'.")
    return Host(namespace={"": "*", ".": own_namespace}.get(namespace, namespace), name=name)


def _read_tls(item: Field) -> Tls:
    fields = item.fields(
        required=("mode",),
        optional=(
            "credentialName",
            "credentialNames",
            "caCertCredentialName",
            "minProtocolVersion",
            "maxProtocolVersion",
            "cipherSuites",
            "subjectAltNames",
            "verifyCertificateSpki",
            "verifyCertificateHash",
            "httpsRedirect",
        ),
        refused={
            "serverCertificate": _FILES,
            "privateKey": _FILES,
            "caCertificates": _FILES,
            "tlsCertificates": _FILES,
            "caCrl": "is not supported together with credentialName: the CRL belongs into the secret of the client CA "
            "(key crl beside cacert, ca.crl beside ca.crt).",
        },
    )
    if "httpsRedirect" in fields and fields["httpsRedirect"].flag():
        raise fields["httpsRedirect"].refusal("only servers of protocol HTTP redirect to HTTPS.")
    mode = fields["mode"].one_of(("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"), refused={**_PASSED_ON, **_ISTIO_MUTUAL})
    credentials = _read_credentials(item, fields)
    minimum, maximum = _read_versions(fields)
    pinned = ("caCertCredentialName", "subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash")
    if mode == "SIMPLE":
        for name in pinned:
            if name in fields:
                raise fields[name].refusal("needs the mode MUTUAL or OPTIONAL_MUTUAL: SIMPLE asks for no certificate.")
    return Tls(
        mode=mode,
        credentials=credentials,
        client_ca="" if mode == "SIMPLE" else _read_client_ca(fields.get("caCertCredentialName"), credentials[0]),
        minimum=minimum,
        maximum=maximum,
        cipher_suites=_read_cipher_suites(fields.get("cipherSuites")),
        subject_alt_names=_texts(fields.get("subjectAltNames")),
        spki_hashes=_texts(
            fields.get("verifyCertificateSpki"), re.compile(r"[A-Za-z0-9+/]{43}="), "a SHA-256 hash in base64"
        ),
        certificate_hashes=_texts(
            fields.get("verifyCertificateHash"),
            re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}"),
            "a SHA-256 hash in hexadecimal digits",
        ),
    )


def _texts(item: Field | None, pattern: re.Pattern[str] | None = None, form: str = "") -> tuple[str, ...]:
    return () if item is None else tuple(entry.text(pattern, form=form) for entry in item.items())


def _read_credentials(item: Field, fields: t.Mapping[str, Field]) -> tuple[str, ...]:
    if "credentialName" in fields and "credentialNames" in fields:
        raise fields["credentialNames"].refusal("only one of credentialName and credentialNames can be set.")
    if "credentialName" in fields:
        entries: tuple[Field, ...] = (fields["credentialName"],)
    elif "credentialNames" in fields:
        entries = fields["credentialNames"].items()
        if len(entries) > 2:
            raise fields["credentialNames"].refusal("can name two secrets at most (one RSA, one ECDSA).")
    else:
        raise item.refusal("credentialName is required: the server's key and certificate come from that secret.")
    names = tuple(entry.text(DNS_NAME, form="the name of a Secret") for entry in entries)
    if len(set(names)) < len(names):
        raise fields["credentialNames"].refusal("names the same secret twice.")
    return names


def _read_client_ca(item: Field | None, credential: str) -> str:
    if item is None:
        return credential
    name = item.text(DNS_NAME, form="the name of a Secret")
    if not name.endswith("-cacert") or name == "-cacert":
        raise item.refusal("the secret's name must end in -cacert, else Istio takes it for a key and a certificate.")
    return name.removesuffix("-cacert")


def _read_versions(fields: t.Mapping[str, Field]) -> tuple[str, str]:
    found = []
    for name in ("minProtocolVersion", "maxProtocolVersion"):
        value = fields[name].one_of(("TLS_AUTO", *_PROTOCOLS)) if name in fields else "TLS_AUTO"
        found.append(_PROTOCOLS.get(value, ""))
    minimum, maximum = found
    if maximum and maximum < (minimum or _PROTOCOLS["TLSV1_2"]):
        raise fields["maxProtocolVersion"].refusal(
            f"{maximum} is below the minimum {minimum or _PROTOCOLS['TLSV1_2']}: no client could connect."
        )
    return minimum, maximum


def _read_cipher_suites(item: Field | None) -> tuple[str, ...]:
    if item is None:
        return ()
    refused = {
        "DES-CBC3-SHA": "Envoy has no such cipher suite any more.",
        "ALL": "name the suites one by one.",
        **dict.fromkeys(
            ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
            "the suites of TLS 1.3 cannot be configured in Envoy; all three are always on.",
        ),
    }
    suites = tuple(entry.one_of(CIPHER_SUITES, refused=refused) for entry in item.items())
    if len(set(suites)) < len(suites):
        raise item.refusal("names a cipher suite twice.")
    return suites
