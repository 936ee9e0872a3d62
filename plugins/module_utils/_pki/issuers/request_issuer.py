# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An external issuer that signs certificate requests: the keys stay here, and what comes back is checked.

:class:`RequestSigner` is what such an issuer has to do, and :class:`RequestIssuer` makes an :class:`issuer.Issuer` of
it. An issuer decides on more than is requested: on the rest of the subject, on the lifetime, on key usages. So a
certificate is right when it has what was requested and is good for its purpose alone.

One in a cluster, such as cert-manager's, is a :class:`ClusterSigner`. Who talks to the cluster is given by whoever
calls: this package knows no cluster.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, sentence
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.issuer import RequestRefusedError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import SignedRequest
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_ca

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.issuer import LocalIssuer
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec, RequestSigner

# The issuer's clock may be ahead of ours.
_AHEAD = datetime.timedelta(minutes=5)
# A lifetime that is shorter by less than that was not cut, only rounded or backdated.
_ROUNDED = datetime.timedelta(minutes=10)
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Shortened:
    """A certificate that lives less long than was requested."""

    name: str
    requested: datetime.timedelta
    given: datetime.timedelta
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class RequestIssuer:
    """A CA whose key is at an external issuer. ``authority`` is what is known of it here."""

    authority: LocalIssuer
    signer: RequestSigner
    shortened: list[Shortened] = dataclasses.field(default_factory=list)
    is_external: t.ClassVar[bool] = True
    is_signing: t.ClassVar[bool] = True

    @property
    def certificate(self) -> x509.Certificate:
        return self.authority.certificate

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        return self.authority.chain

    @property
    def label(self) -> str:
        return self.authority.label

    @property
    def not_after(self) -> datetime.datetime:
        return self.authority.not_after

    def has_issued(self, certificate: x509.Certificate) -> bool:
        return self.authority.has_issued(certificate)

    def differences(self, certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
        return _differences(certificate, spec, self.signer.usage_advice(spec.usage))

    def require_can_sign(self, *, now: datetime.datetime, what: str) -> None:
        if not now < self.not_after:
            raise MtlsError(
                f"The CA {self.label} expired on {self.not_after:%Y-%m-%d %H:%M} UTC, and {what} must be "
                f"issued. Renew the CA at {self.signer.title}."
            )
        self.signer.prepare()

    def submit(
        self,
        spec: CertificateSpec,
        key: keys.LeafKey,
        *,
        serial_number: int,  # noqa: ARG002  (the issuer's own)
        now: datetime.datetime,
    ) -> t.Callable[[], x509.Certificate]:
        return functools.partial(self._issued, spec, key, now, self.signer.submit(spec, request_of(spec, key)))

    def _issued(
        self,
        spec: CertificateSpec,
        key: keys.LeafKey,
        now: datetime.datetime,
        wait: t.Callable[[], SignedRequest],
    ) -> x509.Certificate:
        signed = wait()
        source = f"what {self.signer.title} signed for {spec.name}"
        certificate = load.first_certificate(signed.certificate, source=source)
        if problems := self._problems(certificate, spec, key, now):
            raise MtlsError(
                f"Certificate {spec.name}: {self.signer.title} signed one that cannot be used: {'; '.join(problems)}. "
                "It was not published. Correct the issuer's settings, or the request."
            )
        given = certificate.not_valid_after_utc - now
        if spec.lifetime is not None and given < spec.lifetime - _ROUNDED:
            self.shortened.append(Shortened(spec.name, spec.lifetime, given, signed.warnings))
        return certificate

    @property
    def notes(self) -> list[str]:
        """What a person should know of what was signed."""
        if not self.shortened:
            return []
        first = min(self.shortened, key=lambda certificate: certificate.name)
        names = sorted(certificate.name for certificate in self.shortened)
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        cause = next((warning for warning in first.warnings if "TTL" in warning), "")
        words = f" It says: {sentence(cause)}" if cause else ""
        return [
            f"{self.signer.title} shortened the lifetime of {len(names)} "
            f"certificate{'s' if len(names) > 1 else ''} ({shown}): requested "
            f"{describe.duration_text(first.requested)}, given {describe.duration_text(first.given)}.{words} "
            "Request less, or raise the issuer's limit."
        ]

    def _problems(
        self, certificate: x509.Certificate, spec: CertificateSpec, key: keys.LeafKey, now: datetime.datetime
    ) -> list[str]:
        found = []
        if not load.key_matches(certificate, key):
            found.append("it is for another key")
        if not self.has_issued(certificate):
            found.append(
                f"it was issued by {describe.name_text(certificate.issuer)}, and not by {self.label}, which the "
                "issuer names as its CA"
            )
        if certificate.not_valid_before_utc > now + _AHEAD:
            found.append(f"it is not valid before {describe.time_text(certificate.not_valid_before_utc)}")
        if certificate.not_valid_after_utc <= now:
            found.append(f"it expired at {describe.time_text(certificate.not_valid_after_utc)}")
        return found + self.differences(certificate, spec)


def request_of(spec: CertificateSpec, key: keys.LeafKey) -> x509.CertificateSigningRequest:
    """Return a certificate request for what is specified."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(spec.subject)
    if spec.sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(spec.sans), critical=not list(spec.subject))
    algorithm = None if keys.spec_of(key).type == "Ed25519" else hashes.SHA256()
    return builder.sign(key, algorithm)


def _differences(certificate: x509.Certificate, spec: CertificateSpec, usage_advice: str) -> list[str]:
    """Say what about ``certificate`` is not as requested, where an external issuer decides on the rest."""
    found = _missing_in_subject(certificate, spec)
    try:
        found += profile.different_sans(certificate, spec)
        found += _wrong_usage(certificate, spec, usage_advice)
    except ValueError as exc:
        found.append(f"its extensions cannot be read ({exc})")
    return found


def _missing_in_subject(certificate: x509.Certificate, spec: CertificateSpec) -> list[str]:
    """What was requested must be there, in whatever order and encoding; the common name as the only one."""
    have = {(attribute.oid, attribute.value) for attribute in certificate.subject}
    missing = [attribute for attribute in spec.subject if (attribute.oid, attribute.value) not in have]
    requested = {attribute.value for attribute in spec.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    further = {
        attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    } - requested
    if not missing and not further:
        return []
    words = [f"without {attribute.rfc4514_string()}" for attribute in missing] + [
        f"with CN={name}" for name in sorted(map(str, further))
    ]
    return [f"the subject is {describe.name_text(certificate.subject)}, {', '.join(words)}"]


def _wrong_usage(certificate: x509.Certificate, spec: CertificateSpec, advice: str) -> list[str]:
    found = []
    is_client = spec.usage == "client"
    needed = ExtendedKeyUsageOID.CLIENT_AUTH if is_client else ExtendedKeyUsageOID.SERVER_AUTH
    excluded = ExtendedKeyUsageOID.SERVER_AUTH if is_client else ExtendedKeyUsageOID.CLIENT_AUTH
    purposes: set[x509.ObjectIdentifier] = set()
    usage = None
    with contextlib.suppress(x509.ExtensionNotFound):
        purposes = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    with contextlib.suppress(x509.ExtensionNotFound):
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if needed not in purposes or purposes & {excluded, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}:
        has = ", ".join(sorted(purpose._name for purpose in purposes)) or "none"  # there is no public name for it
        found.append(f"its extended key usage is not that of a {spec.usage} alone, but {has} ({advice})")
    if usage is not None and not usage.digital_signature:
        found.append("its key usage has no digitalSignature")
    if is_ca(certificate):
        found.append("it is the certificate of a CA")
    return found


class ClusterRequests(t.Protocol):
    """What signs in the cluster."""

    @property
    def title(self) -> str:
        """What the issuer is called in messages."""

    def connect(self) -> None:
        """Connect. Raises MtlsError when nothing will be signed."""

    def submit(self, name: str, request: bytes, *, usage: str, duration_seconds: float | None) -> t.Callable[[], bytes]:
        """Submit a request as PEM, and return what waits for the certificate, as PEM. Both raise MtlsError."""


@dataclasses.dataclass(frozen=True)
class ClusterSigner:
    """A :class:`spec.RequestSigner`. Its CA is provided: an issuer names it only beside a certificate."""

    requests: ClusterRequests

    @property
    def title(self) -> str:
        return self.requests.title

    def prepare(self) -> None:
        self.requests.connect()

    def authorities(self) -> None:
        """It is provided."""

    def submit(self, spec: CertificateSpec, request: x509.CertificateSigningRequest) -> t.Callable[[], SignedRequest]:
        seconds = spec.lifetime.total_seconds() if spec.lifetime is not None else None
        pem = request.public_bytes(Encoding.PEM)
        with _refusals():
            wait = self.requests.submit(spec.name, pem, usage=spec.usage, duration_seconds=seconds)

        def signed() -> SignedRequest:
            with _refusals():
                return SignedRequest(wait())

        return signed

    def revoke(self, serial_number: int, *, name: str) -> None:  # noqa: ARG002  (nothing is revoked)
        raise MtlsError(
            f"{self.title} does not revoke certificates, so {name} cannot be shut out before its certificate ends. Use "
            "short lifetimes, or have the CA's owner revoke it and take its list from a URL (crl_url)."
        )

    def usage_advice(self, usage: str) -> str:
        return f"the request names the usage {usage} auth alone; configure {self.title} so that it adds no other"

    def close(self) -> None:
        """There is nothing to end."""


@contextlib.contextmanager
def _refusals() -> t.Iterator[None]:
    """What concerns one request only says so."""
    try:
        yield
    except MtlsError as exc:
        if exc.details.get("is_refused"):
            raise RequestRefusedError(str(exc)) from exc
        raise
