# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a PKI should be: its CAs, its certificates, what is provided, and which part of it each state takes care of."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, expand, read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import CaKeys
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import KeySpec, LeafKey, Pkcs12

    Certificates = tuple[x509.Certificate, ...]

PRESENT, PREPARED, SWITCHED, FINISHED, REVOKED = "present", "prepared", "switched", "finished", "revoked"
# Who issues. Any other provider is an external issuer: it has issued before (what was acquired is checked), or it signs
# requests during this run.
SELF_SIGNED, PROVIDED = "self_signed", "provided"
#: For a CA of our own, and for external issuers.
OWN_DAYS, EXTERNAL_PERCENTAGE = 30, 33
#: No certificate lives longer than that, and dates end with the year 9999.
MOST_DAYS = 100_000


@dataclasses.dataclass(frozen=True)
class RenewalRule:
    """Renew when less than so many days are left, or less than that percentage of the lifetime. Days win when set."""

    days: int | None = None
    percentage: int = EXTERNAL_PERCENTAGE

    def __str__(self) -> str:
        return f"{self.days} days" if self.days is not None else f"{self.percentage} % of its lifetime"

    def window(self, certificate: x509.Certificate) -> datetime.timedelta:
        """How long before its end a certificate is renewed."""
        if self.days is not None:
            return datetime.timedelta(days=self.days)
        return (certificate.not_valid_after_utc - certificate.not_valid_before_utc) * self.percentage / 100

    def within(self, certificate: x509.Certificate) -> RenewalRule:
        """Return the rule for a certificate whose issuer decides how long it lives.

        Where it lives no longer than ``days``, it would be renewed on every run, so the percentage applies instead.
        """
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        is_endless = self.days is not None and datetime.timedelta(days=self.days) >= lifetime
        return dataclasses.replace(self, days=None) if is_endless else self

    def moment(self, certificate: x509.Certificate) -> datetime.datetime:
        """From when on a certificate is renewed."""
        return certificate.not_valid_after_utc - self.window(certificate)

    def is_due(self, certificate: x509.Certificate, now: datetime.datetime) -> bool:
        """Whether a certificate is to be renewed now."""
        return certificate.not_valid_after_utc - now < self.window(certificate)


def renewal_rule(days: int | None, percentage: int | None, *, default: RenewalRule) -> RenewalRule:
    """Give the rule that options ask for. Raises MtlsError for what no certificate could follow."""
    if days is not None and days < 0:
        raise MtlsError(f"renew_before is {days}, but must be 0 or more days.")
    if days is not None and days > MOST_DAYS:
        raise MtlsError(f"renew_before is {days} days, but {MOST_DAYS} is the most.")
    if percentage is None:
        return default if days is None else RenewalRule(days=days)
    if not 0 < percentage < 100:
        raise MtlsError(f"renew_before_percentage is {percentage}, but must be between 1 and 99.")
    return RenewalRule(days=days, percentage=percentage)


@dataclasses.dataclass(frozen=True)
class CertificateSpec:
    """One certificate as it should be on disk. Without ``lifetime``, an external issuer decides on it."""

    name: str
    directory: Path
    basename: str
    is_present: bool
    usage: str
    subject: x509.Name
    sans: tuple[x509.GeneralName, ...]
    key: KeySpec
    lifetime: datetime.timedelta | None
    renewal: RenewalRule
    p12: Pkcs12 | None
    is_rekey: bool = False
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def key_path(self) -> Path:
        return self.directory / f"{self.basename}.key"

    @functools.cached_property
    def certificate_path(self) -> Path:
        return self.directory / f"{self.basename}.crt"

    @functools.cached_property
    def chain_path(self) -> Path:
        return self.directory / f"{self.basename}-chain.pem"

    @functools.cached_property
    def p12_path(self) -> Path:
        return self.directory / f"{self.basename}.p12"


@dataclasses.dataclass(frozen=True)
class AuthoritySpec:
    """A CA as it should be: ``basename`` is ``ca`` for the root and ``intermediate`` for the one below it.

    ``days`` and ``constraints`` only count when the CA is created.
    """

    title: str
    basename: str
    subject: x509.Name
    key: KeySpec
    days: int
    constraints: x509.NameConstraints | None = None

    @property
    def is_root(self) -> bool:
        return self.basename == "ca"

    def key_path(self, directory: Path) -> Path:
        return directory / f"{self.basename}.key"

    def certificate_path(self, directory: Path) -> Path:
        return directory / f"{self.basename}.crt"


@dataclasses.dataclass(frozen=True)
class Source:
    """PEM as the caller gave it, a path or the content itself; ``name`` is the option.

    What an issuer answers is never a path: ``is_answer``.
    """

    name: str
    text: str = dataclasses.field(repr=False)
    is_answer: bool = False

    @property
    def _is_content(self) -> bool:
        return self.is_answer or self.name.endswith("_content") or "-----begin" in self.text.lower()

    @property
    def label(self) -> str:
        """What the source is called in messages: never its content."""
        return f"the content of {self.name}" if self._is_content else f"{self.text} ({self.name})"

    def read(self) -> bytes:
        """Return what is there; raises MtlsError when it is not."""
        if self._is_content:
            return self.text.encode()
        return read_bytes(expand(self.text), what=f"file of {self.name}")

    def certificates(self) -> Certificates:
        """Return the certificates; raises MtlsError when there is none, or one is damaged."""
        return load.load_certificates(self.read(), source=self.label, is_whole=True).certificates


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its key, with what belongs to its chain."""

    name: str
    certificate: Source
    key: Source | None  # None: it stays where it was made, as in a Secret of a cluster
    passphrase: str | None = dataclasses.field(repr=False)
    chain: Source | None


@dataclasses.dataclass(frozen=True)
class Provided:
    """What a PKI is provided with: CAs, and either the key of the one that issues or finished certificates.

    Without ``authorities``, the external issuer says what its CA is.
    """

    authorities: Source | None
    authority_key: Source | None = None
    pairs: tuple[Pair, ...] = ()


@dataclasses.dataclass(frozen=True)
class File:
    """One file as it should be; ``name`` is its path in the PKI's directory. Without ``data`` there is no such file.

    ``alternatives`` are CA certificates that are as good when they are there. ``authorities`` are those in ``data``.
    They take the place of the same CAs' certificates that end earlier, which a CA that is renewed with its key has.
    ``key`` is the key of a CA, which ``passphrase`` encrypts: it is another text every time that it is written.
    """

    name: str
    data: bytes | None = dataclasses.field(repr=False)
    mode: int = CERTIFICATE_MODE
    is_replaceable: bool = False
    authorities: Certificates = ()
    alternatives: tuple[Certificates, ...] = ()
    key: LeafKey | None = dataclasses.field(default=None, repr=False)
    passphrase: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class SuppliedCa:
    """What is provided or comes from an external issuer, checked, as files.

    ``bundle`` are the CAs that the gateway is to trust, where no CA issues here.

    ``leaves`` are the finished certificates by name.
    """

    files: tuple[File, ...]
    root: x509.Certificate
    authorities: Certificates
    bundle: Certificates = ()
    notes: tuple[str, ...] = ()
    leaves: tuple[tuple[str, x509.Certificate], ...] = ()


class RequestSigner(t.Protocol):
    """Who signs certificate requests, and revokes what came of them."""

    @property
    def title(self) -> str:
        """What the issuer is called in messages."""

    def prepare(self) -> None:
        """Make ready to sign. Raises MtlsError when nothing will be signed."""

    def authorities(self) -> bytes | None:
        """Return the CA that signs and those above it, as PEM; None where it is provided instead.

        Raises MtlsError when there is no answer.
        """

    def submit(self, spec: CertificateSpec, request: x509.CertificateSigningRequest) -> t.Callable[[], SignedRequest]:
        """Submit a request, and return what waits for the certificate. Both raise MtlsError in the issuer's words."""

    def revoke(self, serial_number: int, *, name: str) -> None:
        """Revoke a certificate; once more does no harm. Raises MtlsError in the issuer's words."""

    def usage_advice(self, usage: str) -> str:
        """How this issuer is made to issue for ``usage`` alone, as a clause in messages."""

    def close(self) -> None:
        """End what :meth:`prepare` began."""


@dataclasses.dataclass(frozen=True)
class SignedRequest:
    """What came back: the certificate as PEM, and what the issuer says about it."""

    certificate: bytes
    warnings: tuple[str, ...] = ()


class CrlSource(t.Protocol):
    """Where revocation lists come from."""

    def lists(self) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Return places and what is there, PEM or DER, and what went wrong. Raises MtlsError for a total failure."""

    def renew(self) -> None:
        """Have the lists recreated. Raises MtlsError when that is not possible."""


@dataclasses.dataclass(frozen=True)
class PkiSpec:
    """One PKI, the server's or the clients', as it should be.

    ``authorities`` are the root and, if there is one, the intermediate CA below it; none when finished certificates are
    provided. ``provided`` is the CA that is not created here; ``supplied_ca`` is what was found there, when it has been
    read and checked. ``provider`` is who issues. ``ca_keys`` are the CA keys that are not files.

    ``signer`` is the external issuer that signs certificate requests. ``crl_sources`` are where the revocation lists
    of CAs come from whose key is elsewhere; with ``publishes_crls`` there is always one, otherwise from the first
    revocation on. With ``is_held_back``, nothing is issued until the gateway trusts the issuer's new CA.
    """

    usage: str
    directory: Path
    state: str
    certificates: tuple[CertificateSpec, ...]
    authorities: tuple[AuthoritySpec, ...] = ()
    passphrase: str | None = dataclasses.field(default=None, repr=False)
    ca_keys: CaKeys = dataclasses.field(default_factory=CaKeys)
    provider: str = SELF_SIGNED
    provided: Provided | None = None
    supplied_ca: SuppliedCa | None = None
    hostnames: tuple[str, ...] = ()
    include_root: bool = True
    grace_days: int = 0
    crl_days: int = 90
    crl_refresh_before: int = 30
    revoke: tuple[str, ...] = ()
    rekey: tuple[str, ...] = ()
    signer: RequestSigner | None = dataclasses.field(default=None, repr=False)
    crl_sources: tuple[CrlSource, ...] = ()
    publishes_crls: bool = False
    is_held_back: bool = False
    concurrency: int | None = None

    @property
    def is_client(self) -> bool:
        return self.usage == "client"

    @property
    def is_issuing(self) -> bool:
        """Whether there is a CA here that issues; otherwise finished certificates are provided."""
        return bool(self.authorities)

    @property
    def is_external(self) -> bool:
        """Whether an external issuer issues: neither a CA of our own nor one that the user provides."""
        return self.provider not in {SELF_SIGNED, PROVIDED}

    @property
    def issuer_basename(self) -> str:
        return self.authorities[-1].basename if self.authorities else "ca"

    @property
    def keeps_register(self) -> bool:
        """Whether there is a register of certificates: the clients', and the server's from an external issuer."""
        return self.is_client or self.is_external

    @property
    def keeps_crls(self) -> bool:
        """Whether this state takes care of revocation lists: those of the clients' CAs."""
        return self.is_client and self.is_issuing and self.state != SWITCHED

    def issues_certificates(self, *, is_preparing: bool) -> bool:
        """Whether certificates are issued: a client gets none of a CA that is not in use yet, the server does."""
        if not self.is_issuing or self.is_held_back:
            return False
        if self.is_client:
            return self.state in {PRESENT, SWITCHED} or (self.state == REVOKED and bool(self.rekey))
        return self.state in {PRESENT, SWITCHED, FINISHED} or is_preparing
