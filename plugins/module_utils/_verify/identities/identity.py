# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client's identity: a certificate chain with its private key, from files, from PKCS#12 or made on the spot."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

with contextlib.suppress(ImportError):  # the module's edge reports it
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import PublicKeyAlgorithmOID

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.mismatched_key import der_element, pem_block
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import (
    as_secret,
    load_certificates,
    load_pkcs12,
    load_private_key,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import reading

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


@dataclass(frozen=True)
class Identity:
    """What a client presents. ``chain[0]`` is its certificate; the key is in a file or, unencrypted, in memory."""

    name: str
    chain: tuple[x509.Certificate, ...]
    certificate_file: str | None = None
    key_file: str | None = None
    key_pem: bytes | None = field(default=None, repr=False)
    passphrase: bytes | None = field(default=None, repr=False)
    weak: bool = False

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def files(self) -> dict[str, str | None]:
        """The files, by the names of the module's options; empty for an identity in memory."""
        return {"client_cert": self.certificate_file, "client_key": self.key_file} if self.certificate_file else {}

    def load_key(self) -> t.Any:
        """Return the private key as an object. Raises MtlsError when it cannot be opened."""
        if self.key_pem is not None:
            return serialization.load_pem_private_key(self.key_pem, password=None)
        path = t.cast("str", self.key_file)
        return load_private_key(
            read_bytes(path, what=f"key of the client {self.name}"), passphrase=self.passphrase, source=path
        )

    def install(self, context: ssl.SSLContext) -> None:
        """Give this identity to ``context``. Raises MtlsError when the local OpenSSL refuses it."""
        try:
            if self.key_pem is not None:
                self._install_from_memory(context, self.key_pem)
            else:
                self._install_files(context)
        except (ssl.SSLError, OSError, ValueError, TypeError) as exc:
            reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            raise MtlsError(
                f"The client identity {self.name} cannot be used: OpenSSL says {reason}. "
                "Check that the key belongs to the certificate, that the passphrase is right, "
                "and that neither is weaker than the local OpenSSL allows."
            ) from exc

    def _install_files(self, context: ssl.SSLContext) -> None:
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(
                t.cast("str", self.certificate_file), self.key_file, password=self.passphrase or b""
            )
        except ssl.SSLError:
            # OpenSSL reads fewer forms than cryptography: no indented PEM, no OpenSSH key.
            self._install_from_memory(context, key_to_pem(self.load_key()))

    def _install_from_memory(self, context: ssl.SSLContext, key_pem: bytes) -> None:
        chain = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in self.chain)
        if self.certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
            key_pem = pss_key(key_pem)
        _load_from_memory(context, chain, key_pem)


def identity_from_files(name: str, *, certificate: str, key: str, passphrase: str | None = None) -> Identity:
    """Return the identity of a certificate file (PEM or DER, with its intermediates) and a key file."""
    data = read_bytes(certificate, what=f"certificate of the client {name}")
    chain = load_certificates(data, source=certificate).certificates
    if not chain:
        raise MtlsError(f"The certificate file {certificate} of the client {name} contains no certificate.")
    secret = as_secret(passphrase)
    key_data = read_bytes(key, what=f"key of the client {name}")
    if b"-----BEGIN CERTIFICATE-----" in data and b"-----BEGIN" in key_data[:4096]:
        return Identity(name, chain, certificate_file=certificate, key_file=key, passphrase=secret)
    loaded = load_private_key(key_data, passphrase=secret, source=key)
    return Identity(name, chain, key_pem=key_to_pem(loaded))


def identity_from_pkcs12(name: str, *, path: str, password: str | None) -> Identity:
    """Return the identity in the PKCS#12 file ``path``."""
    data = read_bytes(path, what=f"PKCS#12 file of the client {name}")
    found = load_pkcs12(data, password=as_secret(password), source=f"{path} of the client {name}")
    if found.key is None or found.cert is None:
        raise MtlsError(f"The PKCS#12 file {path} of the client {name} has no key with its certificate.")
    with reading(f"A certificate in the PKCS#12 file {path} of the client {name}"):
        # Roots do not belong into a presented chain; a server knows its own.
        others = [extra.certificate for extra in found.additional_certs]
        intermediates = [other for other in others if other.subject != other.issuer]
    return Identity(name, (found.cert.certificate, *intermediates), key_pem=key_to_pem(found.key))


def key_to_pem(key: PrivateKeyTypes) -> bytes:
    """Return ``key`` as unencrypted PKCS#8; the result stays in memory."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pss_key(key_pem: bytes) -> bytes:
    """Return the RSA key for a certificate with an RSASSA-PSS key, which OpenSSL wants to be named so in both.

    cryptography reads either and writes "rsaEncryption" (RFC 4055 sections 1.2 and 3.1).
    """
    key = serialization.load_pem_private_key(key_pem, password=None)
    numbers = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    algorithm = der_element(0x30, bytes.fromhex("06092a864886f70d01010a"))
    der = der_element(0x30, b"\x02\x01\x00" + algorithm + der_element(0x04, numbers))
    return pem_block("PRIVATE KEY", der)


def _load_from_memory(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Python's ssl loads keys from files only: give it one that has no place on any disk."""
    try:
        descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        _load_encrypted(context, chain, key)
        return
    try:
        path = f"/proc/self/fd/{descriptor}"
        if not Path(path).exists():
            _load_encrypted(context, chain, key)
            return
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(chain + key)
        context.load_cert_chain(path)
    finally:
        os.close(descriptor)


def _load_encrypted(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """The way without memfd: an encrypted 0600 file for the moment of loading, its passphrase never leaves memory."""
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
        passphrase = secrets.token_bytes(24).hex().encode()
        sealed = loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )
    except ValueError as exc:
        raise ValueError("this identity needs memfd, which this system does not offer") from exc
    descriptor, path = tempfile.mkstemp(prefix=".kyma-mtls-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(chain + sealed)
        context.load_cert_chain(path, password=passphrase)
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()
