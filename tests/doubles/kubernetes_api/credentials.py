# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster's own CA, the API server's certificate and its administrator's, as every distribution makes them."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import ssl
import tempfile
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAYS = datetime.timedelta(days=365)


class Pair(t.NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class Credentials(t.NamedTuple):
    ca: Pair
    server: Pair
    admin: Pair

    def context(self) -> ssl.SSLContext:
        """Return what the server needs; a client certificate is asked for, and not required."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.ca.certificate_pem.decode())
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "server.pem"
            path.write_bytes(self.server.certificate_pem + self.server.key_pem)
            context.load_cert_chain(path)
        return context


def inline(data: bytes) -> str:
    """Return ``data`` as a kubeconfig has it."""
    return base64.b64encode(data).decode()


def credentials() -> Credentials:
    """Return the credentials of a new cluster.

    Each has its own: kubernetes.core takes the connection of an earlier call where the certificates are the same.
    """
    ca = make_pair("double-ca")
    server = make_pair(
        "kube-apiserver", ca, x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    )
    return Credentials(ca, server, make_pair("system:admin", ca))


def make_pair(
    name: str, issuer: Pair | None = None, *extensions: x509.ExtensionType, is_ca: bool | None = None
) -> Pair:
    """Return a certificate of ``issuer``, or a self-signed CA, and its key."""
    is_ca = issuer is None if is_ca is None else is_ca
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(tz=datetime.UTC)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAYS)
        .not_valid_after(now + DAYS)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if is_ca:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), key)
