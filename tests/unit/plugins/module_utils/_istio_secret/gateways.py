# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Envoy that is given Secrets byte by byte, as istiod would give them, and certificates of many kinds for it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import json
import pathlib
import ssl
import subprocess
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.kyma.mtls.tests.limbo import zoo
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import running

NOW = datetime.datetime.now(tz=datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM
TYPE = "type.googleapis.com/envoy.extensions"
Extension = tuple[x509.ExtensionType, bool]


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: t.Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> bytes:
    return t.cast(bytes, key.private_bytes(PEM, form, serialization.NoEncryption()))


def signing_hash(key: t.Any) -> t.Any:
    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()


def usage(*, certificates: bool = True, crls: bool = True) -> x509.KeyUsage:
    return zoo.usage("digital_signature", *["key_cert_sign"] * certificates, *["crl_sign"] * crls)


class Authority:
    """A CA; without ``issuer`` self-signed. ``days`` are its validity, from now."""

    def __init__(
        self,
        name: str,
        *,
        key: t.Any = None,
        issuer: Authority | None = None,
        days: tuple[float, float] = (-1, 30),
        key_usage: x509.KeyUsage | None = None,
    ) -> None:
        self.key = key or new_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + days[0] * DAY)
            .not_valid_after(NOW + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_usage or usage(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(signer.key, signing_hash(signer.key))
        )
        self.pem = self.certificate.public_bytes(PEM)

    def crl(
        self,
        *serials: int,
        number: int | None = 1,
        extensions: t.Sequence[Extension] = (),
        reason: x509.ReasonFlags | None = None,
        days: tuple[float, float] = (-1, 30),
        algorithm: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        """A list that revokes ``serials``."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(NOW + days[0] * DAY)
            .next_update(NOW + days[1] * DAY)
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, algorithm or signing_hash(self.key)).public_bytes(PEM)


class Leaf:
    """A client's or server's certificate and key, and what it sends of the CAs above it."""

    def __init__(self, issuer: Authority, *, key: t.Any = None, send: t.Sequence[Authority] = ()) -> None:
        self.key = key or new_key()
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway.test")]))
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + 20 * DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway.test")]), critical=False)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
            .sign(issuer.key, signing_hash(issuer.key))
        )
        self.serial = self.certificate.serial_number
        self.pem = self.certificate.public_bytes(PEM)
        self.chain = self.pem + b"".join(one.pem for one in send)
        self.key_pem = key_pem(self.key)


SERVER_ROOT = Authority("Server Root")
SERVER = Leaf(SERVER_ROOT)


@dataclasses.dataclass(frozen=True)
class Material:
    """What the gateway is given, byte by byte."""

    authorities: bytes
    crls: bytes | None = None
    chain: bytes = SERVER.pem
    key: bytes = SERVER.key_pem


class Gateway:
    """A running Envoy with one listener for each material; ``refusal`` says why it does not run."""

    def __init__(self, materials: t.Sequence[Material], directory: pathlib.Path) -> None:
        self.directory = directory
        self.ports = [free_port() for _one in materials]
        listeners = [_listener(one, port) for one, port in zip(materials, self.ports, strict=True)]
        self.path = directory / "envoy.json"
        self.path.write_text(json.dumps({"static_resources": {"listeners": listeners}}), encoding="utf-8")
        self.refusal = self._run("--mode", "validate").stderr

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return subprocess.CompletedProcess(done.args, done.returncode, "", done.stderr if done.returncode else "")

    @property
    def command(self) -> list[str]:
        return [str(running.envoy_binary()), "-c", str(self.path), "--disable-hot-restart", "-l", "error"]

    @contextlib.contextmanager
    def running(self) -> t.Iterator[Gateway]:
        process = subprocess.Popen([*self.command, "--concurrency", "1"], stderr=subprocess.DEVNULL)
        try:
            yield self
        finally:
            process.terminate()
            process.wait(30)

    def admits(self, client: Leaf, *, number: int = 0) -> bool:
        """Whether the client gets an answer from listener ``number``."""
        context = running.make_context(SERVER_ROOT.pem, (client.chain, client.key_pem), directory=self.directory)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        # Of TLS 1.3 a refusal arrives a second later only.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        answer = running.repeat(
            lambda: running.request(self.ports[number], context, "gateway.test"),
            until=lambda one: one.failure != "ConnectionRefusedError",
        )
        assert answer.status == 200 or "ALERT" in answer.failure, answer.failure
        return answer.status == 200


def _listener(material: Material, port: int) -> dict[str, t.Any]:
    validation = {"trusted_ca": _inline(material.authorities)}
    if material.crls is not None:
        validation["crl"] = _inline(material.crls)
    certificate = {"certificate_chain": _inline(material.chain), "private_key": _inline(material.key)}
    manager = {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}],
    }
    tls = {
        "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {"tls_certificates": [certificate], "validation_context": validation},
    }
    return {
        "name": f"listener-{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "filters": [{"name": "http", "typed_config": manager}],
                "transport_socket": {"name": "tls", "typed_config": tls},
            }
        ],
    }


def _inline(data: bytes) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode(data).decode()}
