# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who issues: the one seam between what a certificate should be and what signs it.

:class:`Issuer` is what the rest of the package needs of a CA. :class:`LocalIssuer` is a CA that signs here, with a key
in a file, in a token or behind a command; an external issuer implements the same: see :mod:`request_issuer`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_ca, is_issued_by
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

try:
    from cryptography import x509
    from cryptography.exceptions import InternalError, UnsupportedAlgorithm
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState


class RequestRefusedError(MtlsError):
    """An external issuer does not do this one thing; others it may."""


class Issuer(t.Protocol):
    """A CA that issues certificates and revocation lists."""

    is_external: t.ClassVar[bool]
    """Whether it is an external issuer, which decides on more than is requested."""

    @property
    def certificate(self) -> x509.Certificate:
        """The CA's own certificate."""

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What follows a certificate in its chain."""

    @property
    def label(self) -> str:
        """What the CA is called in messages."""

    @property
    def is_signing(self) -> bool:
        """Whether what it issues is signed: not so in check mode, where the key is not a file."""

    @property
    def not_after(self) -> datetime.datetime:
        """When the CA ends: nothing that it issues lives longer."""

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether this CA's name and key are those that signed ``certificate``."""

    def differences(self, certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
        """Say in words what about a certificate of this CA is not as specified."""

    def require_can_sign(self, *, now: datetime.datetime, what: str) -> None:
        """Raise MtlsError when nothing can be signed; ``what`` names something that has to be."""

    def submit(
        self, spec: CertificateSpec, key: keys.LeafKey, *, serial_number: int, now: datetime.datetime
    ) -> t.Callable[[], x509.Certificate]:
        """Begin to issue the certificate of a server or client; what is returned ends it, and returns it."""


@dataclasses.dataclass(frozen=True)
class LocalIssuer:
    """A CA that signs here. Without its key nothing can be issued, but everything can be checked.

    Without ``is_signing``, what it issues has bytes that stand in for a signature, for a plan that is only shown.
    """

    certificate: x509.Certificate
    certificate_path: Path
    key: CertificateIssuerPrivateKeyTypes | None
    missing_key_reason: str
    chain: tuple[x509.Certificate, ...]
    is_signing: bool = True
    is_external: t.ClassVar[bool] = False

    @property
    def label(self) -> str:
        return label(self.certificate)

    @property
    def not_after(self) -> datetime.datetime:
        return self.certificate.not_valid_after_utc

    def has_issued(self, certificate: x509.Certificate) -> bool:
        # A thousand times on every run; what this refuses, the exact comparison of names may still accept.
        with contextlib.suppress(*PARSE_ERRORS):
            certificate.verify_directly_issued_by(self.certificate)
            return True
        return is_issued_by(certificate, self.certificate)

    def differences(self, certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
        return profile.differences(certificate, spec)

    def require_can_sign(self, *, now: datetime.datetime, what: str) -> None:
        if self.key is None:
            raise MtlsError(f"{what[0].upper()}{what[1:]} must be issued. {self.missing_key_reason}")
        start, end = self.certificate.not_valid_before_utc, self.not_after
        if not start <= now < end:
            raise MtlsError(
                f"The CA {self.label} in {self.certificate_path} is valid from {start:%Y-%m-%d %H:%M} to "
                f"{end:%Y-%m-%d %H:%M} UTC, and {what} must be issued at {now:%Y-%m-%d %H:%M} UTC. "
                "Renew the CA, or set the clock."
            )
        # A key can be read and still be one that OpenSSL cannot sign with; nothing is written before that is known.
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        try:
            request.sign(self.key, certificate_builder.digest(self.key))
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as exc:
            raise MtlsError(
                f"The key of the CA {self.label} in {self.certificate_path} cannot sign: {first_line(exc)}. Use a CA "
                "with an RSA key of 2048 bits or more, an ECDSA or an Ed25519 key."
            ) from exc

    def submit(
        self, spec: CertificateSpec, key: keys.LeafKey, *, serial_number: int, now: datetime.datetime
    ) -> t.Callable[[], x509.Certificate]:
        leaf = profile.leaf(spec, key.public_key(), self.certificate, serial_number=serial_number, now=now)
        return functools.partial(self.sign, leaf)

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Sign the certificate of a leaf, or of a CA below this one."""
        key = self._signing_key()
        return builder.sign(key, certificate_builder.digest(key))

    def sign_crl(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """Sign a revocation list."""
        key = self._signing_key()
        return builder.sign(key, certificate_builder.digest(key))

    def _signing_key(self) -> CertificateIssuerPrivateKeyTypes:
        if self.key is None:
            raise MtlsError(f"{self.label} cannot sign. {self.missing_key_reason}")
        return self.key


def read(
    state: PkiState, certificate_path: Path, *, key_path: Path | None = None, chain_paths: t.Sequence[Path] = ()
) -> LocalIssuer:
    """Read and check a CA. Its key is the file beside it or at ``key_path``, or one of ``ca_keys`` when there is none.

    Raises MtlsError when a file is damaged, the key is not the certificate's, the certificate may not sign
    certificates, or the chain does not lead on from it.
    """
    key_path = key_path or certificate_path.with_suffix(".key")
    found = state.certificates(certificate_path)
    if len(found) != 1:
        raise MtlsError(
            f"The CA certificate {certificate_path} must hold one certificate, but holds {len(found)}. "
            "Name the certificate that signs; further ones go into the chain."
        )
    certificate = found[0]
    _require_ca(certificate, certificate_path)
    key, reason = _read_key(state, key_path)
    if key is not None and not load.key_matches(certificate, key):
        raise MtlsError(
            f"The CA key {key_path} does not belong to the CA certificate {certificate_path}, which is "
            f"{label(certificate)}. Put back the pair that belongs together."
        )
    is_signing = True
    if state.ca_keys.every:
        is_elsewhere = not state.exists(key_path) and (signer_key := state.ca_keys.key_of(certificate)) is not None
        if is_elsewhere:
            key = signer_key
        planned = any(map(state.is_planned, (certificate_path, *chain_paths)))
        is_signing = state.ca_keys.is_signing or not (is_elsewhere or planned)
    chain = tuple(certificate for path in chain_paths for certificate in state.certificates(path))
    if is_signing:  # CA certificates in a plan that is only shown may have no signatures
        _require_chain(certificate, chain)
    return LocalIssuer(certificate, certificate_path, key, reason, chain, is_signing)


def _read_key(state: PkiState, path: Path) -> tuple[CertificateIssuerPrivateKeyTypes | None, str]:
    """Give the key, or None and why. Keys are kept offline or locked, and are needed only to issue."""
    try:
        key = state.ca_key(path)
    except load.WrongPassphraseError as exc:
        if state.passphrase:
            raise
        return None, f"{exc} Give it as ca_key_passphrase."
    return key, "" if key is not None else f"The CA key {path} does not exist. Put it back in place."


def _require_ca(certificate: x509.Certificate, path: Path) -> None:
    try:
        may_sign = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        may_sign = True  # RFC 5280 4.2.1.3: without the extension every use is allowed
    if not is_ca(certificate) or not may_sign:
        missing = "keyUsage keyCertSign" if is_ca(certificate) else "basicConstraints CA:TRUE"
        raise MtlsError(
            f"The certificate {label(certificate)} in {path} may not issue certificates: it has no {missing}. "
            "Name a CA certificate."
        )


def _require_chain(certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]) -> None:
    """Check that each certificate is issued by the next; the chain may start with the CA or with its issuer."""
    current = certificate
    for following in chain:
        if following == certificate and current is certificate:
            continue
        if not is_issued_by(current, following):
            raise MtlsError(
                f"The chain is broken: {label(current)} was not issued by {label(following)}, which follows it. "
                "Order the chain from the CA that signs to the root."
            )
        current = following
