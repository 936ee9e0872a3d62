# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificate authority that signs: its certificate, what follows it in a chain, and its key.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, leaf
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import first_line

try:
    from cryptography import x509
    from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes


@dataclasses.dataclass(frozen=True)
class Issuer:
    """A CA. Without its ``key``, for the reason ``lack``, nothing can be issued, but everything can be checked."""

    certificate: x509.Certificate
    certificate_path: Path
    key: CertificateIssuerPrivateKeyTypes | None
    lack: str
    chain: tuple[x509.Certificate, ...]

    @property
    def label(self) -> str:
        return label(self.certificate)

    @property
    def not_after(self) -> datetime.datetime:
        return self.certificate.not_valid_after_utc

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Tell whether this CA's name and key are those that signed ``certificate``."""
        return is_issued_by(certificate, self.certificate)

    def require_can_sign(self, *, now: datetime.datetime, example: str) -> CertificateIssuerPrivateKeyTypes:
        """Return the key, or say why nothing can be issued; ``example`` names a certificate that needs it."""
        if self.key is None:
            raise MtlsError(f"Certificate {example} has to be issued. {self.lack}")
        self._require_usable(self.key)
        start, end = self.certificate.not_valid_before_utc, self.not_after
        if not start <= now < end:
            raise MtlsError(
                f"The CA {self.label} in {self.certificate_path} is valid from {start:%Y-%m-%d %H:%M} to "
                f"{end:%Y-%m-%d %H:%M} UTC, and certificate {example} has to be issued at {now:%Y-%m-%d %H:%M} UTC. "
                "Renew the CA, or set the clock."
            )
        return self.key

    def _require_usable(self, key: CertificateIssuerPrivateKeyTypes) -> None:
        # A key can be read and still be one that OpenSSL cannot sign with; nothing is written before that is known.
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        try:
            request.sign(key, leaf.digest(key))
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as exc:
            raise MtlsError(
                f"The key of the CA {self.label} in {self.certificate_path} cannot sign: {first_line(exc)}. Use a CA "
                "with an RSA key of 2048 bits or more, an ECDSA or an Ed25519 key."
            ) from exc


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether the name and the key of ``authority`` are those that signed ``certificate``."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def read_issuer(
    certificate_path: Path,
    key_path: Path,
    *,
    passphrase: str | None,
    chain_paths: t.Sequence[Path],
    pending: t.Mapping[Path, bytes] | None = None,
) -> Issuer:
    """Read and check a CA. ``pending`` are files that are still to be written, and count as if they were.

    Raises MtlsError when a file is damaged, the key is not the certificate's, the certificate may not sign
    certificates, or the chain does not lead on from it.
    """
    pending = pending or {}
    certificate = _one_certificate(certificate_path, pending)
    _require_ca(certificate, certificate_path)
    key, lack = _read_key(key_path, passphrase, pending)
    if key is not None and not load.key_matches(certificate, key):
        raise MtlsError(
            f"The CA key {key_path} does not belong to the CA certificate {certificate_path}, which is "
            f"{label(certificate)}. Put back the pair that belongs together."
        )
    chain = [one for path in chain_paths for one in _certificates(path, pending)]
    _require_chain(certificate, chain)
    return Issuer(certificate=certificate, certificate_path=certificate_path, key=key, lack=lack, chain=tuple(chain))


def _read_key(
    path: Path, passphrase: str | None, pending: t.Mapping[Path, bytes]
) -> tuple[CertificateIssuerPrivateKeyTypes | None, str]:
    """Give the key, or None and why. Keys are kept offline or locked, and are needed only to issue."""
    if path not in pending and not path.exists():
        return None, f"The CA key {path} does not exist. Put it back in place."
    data = pending.get(path) or read_bytes(path, what="CA key")
    try:
        key = keys.load(data, source=str(path), passphrase=passphrase.encode() if passphrase else None)
    except keys.WrongPassphraseError as exc:
        if passphrase:
            raise
        return None, f"{exc} Give it as ca_key_passphrase."
    return t.cast("CertificateIssuerPrivateKeyTypes", key), ""


def _certificates(path: Path, pending: t.Mapping[Path, bytes]) -> tuple[x509.Certificate, ...]:
    data = pending.get(path) or read_bytes(path, what="CA certificate")
    return load.load_certificates(data, source=str(path)).certificates


def _one_certificate(path: Path, pending: t.Mapping[Path, bytes]) -> x509.Certificate:
    found = _certificates(path, pending)
    if len(found) != 1:
        raise MtlsError(
            f"The CA certificate {path} must hold one certificate, but holds {len(found)}. "
            "Name the certificate that signs; further ones go into the chain."
        )
    return found[0]


def _require_ca(certificate: x509.Certificate, path: Path) -> None:
    extensions = certificate.extensions
    try:
        is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    try:
        may_sign = extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        may_sign = True  # RFC 5280 4.2.1.3: without the extension every use is allowed
    if not is_ca or not may_sign:
        lack = "basicConstraints CA:TRUE" if not is_ca else "keyUsage keyCertSign"
        raise MtlsError(
            f"The certificate {label(certificate)} in {path} may not issue certificates: it lacks {lack}. "
            "Name a CA certificate."
        )


def _require_chain(certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]) -> None:
    """Check that each certificate is issued by the next; the chain may start with the CA or with its issuer."""
    current = certificate
    for one in chain:
        if one == certificate and current is certificate:
            continue
        if not is_issued_by(current, one):
            raise MtlsError(
                f"The chain is broken: {label(current)} was not issued by {label(one)}, which follows it in ca_chain. "
                "Order ca_chain from the CA that signs to the root."
            )
        current = one
