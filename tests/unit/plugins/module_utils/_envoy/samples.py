# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tutorial's Kubernetes objects, and the settings and secrets to go with them."""

from __future__ import annotations

import datetime
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import mesh, render
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.model import Configuration, Settings
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.translate import translate

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
HOST = "httpbin.mtls.local.kyma.dev"
IDENTITY_HEADERS = {
    "X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT% ",
    "X-CLIENT-SSL-ISSUER": "%DOWNSTREAM_PEER_ISSUER%",
    "X-CLIENT-SSL-SAN": "URI=%DOWNSTREAM_PEER_URI_SAN%",
}
SETTINGS = Settings(ports={443: 20543}, directory="/home/me/gateway", sockets="/home/me/s")
WORKLOADS = {"test/httpbin": "unix:/home/me/s/httpbin.sock"}

Json = dict[str, t.Any]


def make_server(*hosts: str, name: str = "mtls", **tls: t.Any) -> Json:
    """One HTTPS server of a Gateway."""
    return {
        "port": {"number": 443, "name": name, "protocol": "HTTPS"},
        "tls": {"mode": "MUTUAL", "credentialName": "kyma-mtls", **tls},
        "hosts": list(hosts) or ["*.mtls.local.kyma.dev"],
    }


def make_gateway(*servers: Json, name: str = "kyma-mtls-gateway", version: str = "v1") -> Json:
    """A Gateway in the namespace test."""
    return {
        "apiVersion": f"networking.istio.io/{version}",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {
            "selector": {"app": "istio-ingressgateway", "istio": "ingressgateway"},
            "servers": list(servers) or [make_server()],
        },
    }


def make_rule(**fields: t.Any) -> Json:
    """One rule of an APIRule."""
    return {
        "methods": ["GET"],
        "noAuth": True,
        "path": "/*",
        "timeout": 300,
        "request": {"headers": dict(IDENTITY_HEADERS)},
        **fields,
    }


def make_apirule(*rules: Json, name: str = "httpbin-mtls", host: str = HOST, **spec: t.Any) -> Json:
    """An APIRule in the namespace test."""
    return {
        "apiVersion": "gateway.kyma-project.io/v2",
        "kind": "APIRule",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {
            "gateway": "test/kyma-mtls-gateway",
            "hosts": [host],
            "rules": list(rules) or [make_rule()],
            "service": {"name": "httpbin", "port": 8000},
            **spec,
        },
    }


def make_service(name: str = "httpbin", namespace: str = "test", **port: t.Any) -> Json:
    """A Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "ports": [{"name": "http", "port": 8000, "targetPort": 80, **port}],
            "selector": {"app": name},
        },
    }


def make_deployment(name: str = "httpbin", namespace: str = "test") -> Json:
    """A Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name, "version": "v1"}},
                "spec": {
                    "serviceAccountName": name,
                    "containers": [{"name": name, "image": "httpbin", "ports": [{"name": "web", "containerPort": 80}]}],
                },
            },
        },
    }


def make_account(name: str = "httpbin", namespace: str = "test") -> Json:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def make_denial(*rules: Json, name: str = "denial", labels: Json | None = None) -> Json:
    """An AuthorizationPolicy in the namespace test that denies what one of the rules matches."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {
            "selector": {"matchLabels": labels or {"app": "httpbin"}},
            "action": "DENY",
            "rules": list(rules),
        },
    }


def make_namespace(name: str = "test", **labels: str) -> Json:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def make_backend(name: str = "httpbin", namespace: str = "test") -> list[Json]:
    """A Service with all that is behind it."""
    return [make_account(name, namespace), make_service(name, namespace), make_deployment(name, namespace)]


def make_objects() -> list[Json]:
    """The tutorial's objects."""
    return [make_namespace(**{"istio-injection": "enabled"}), make_gateway(), *make_backend(), make_apirule()]


def translated(objects: t.Sequence[Json] | None = None, settings: Settings = SETTINGS) -> Configuration:
    """The translation of ``objects``, by default of the tutorial's."""
    return translate(make_objects() if objects is None else objects, workloads=WORKLOADS, settings=settings)


class Authority:
    """A throw-away CA."""

    def __init__(self, common_name: str, organization: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            self._builder(self.name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, *subject: tuple[x509.ObjectIdentifier, str], sans: t.Sequence[x509.GeneralName] = ()
    ) -> tuple[bytes, bytes]:
        """A leaf certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(kind, value) for kind, value in subject])
        builder = self._builder(name, key.public_key()).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=not subject)
        certificate = builder.sign(self.key, hashes.SHA256())
        return (
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def revocation_list(self, *certificates: bytes) -> bytes:
        """A CRL with the given certificates, PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(NOW - datetime.timedelta(hours=1))
            .next_update(NOW + datetime.timedelta(days=1))
        )
        for certificate in certificates:
            serial = x509.load_pem_x509_certificate(certificate).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(hours=1))
            .not_valid_after(NOW + datetime.timedelta(days=30))
        )


def make_secrets(
    configuration: Configuration, server: tuple[bytes, bytes], client_ca: bytes, crl: bytes | None = None
) -> dict[str, Json]:
    """The SDS files of ``configuration`` by resource name: one pair for every Gateway, and a new mesh."""
    secrets = {
        credential.resource: render.sds_certificate(credential.resource, *server)
        if credential.kind == "certificate"
        else render.sds_validation(credential.resource, client_ca, crl)
        for credential in configuration.credentials
    }
    made = mesh.make_mesh(configuration.mesh_identities, now=NOW)
    for credential in configuration.mesh_credentials:
        if credential.kind == "certificate":
            pair = made.identities[credential.name]
            secrets[credential.resource] = render.sds_certificate(credential.resource, pair.certificate, pair.key)
        else:
            secrets[credential.resource] = render.sds_validation(credential.resource, made.root.certificate)
    return secrets
