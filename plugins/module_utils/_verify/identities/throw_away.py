# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throw-away identities: near twins of the good client, each wrong in exactly one way.

Their keys exist in memory only, and their certificates live for at most a day, so a copy of one is of no use. Only a
probe kit (probe_kit.py) keeps those of the client CA on disk, for hosts that must not have the CA's key.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import typing as t
from dataclasses import dataclass

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity, key_to_pem
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa, sign
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.mismatched_key import key_with_wrong_secret
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.sha1_signing import signed_with_sha1
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import EXTENSION_ERRORS

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

URI_SAN = "spiffe://verify.kyma.mtls/near-twin"
# Names of identities that a check and the probe kit must both know, and a size that many header limits do not carry.
THROUGH_INTERMEDIATE = "through an intermediate"
SERVER_CA_CLIENT = "a client of the server's CA"
OVERSIZE_BYTES = 12 * 1024
# What a server might compare instead of verifying the signature.
ATTRIBUTES = ("serial number", "issuer name", "common name", "subject", "SAN", "issuer certificate", "chain")


@dataclass(frozen=True)
class Recipe:
    """How a throw-away certificate differs from the good client's."""

    subject: x509.Name
    sans: tuple[x509.GeneralName, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] | None = None
    serial_number: int | None = None
    from_days: float = -0.02
    to_days: float | None = None
    weak_key: bool = False
    sha1: bool = False
    rsa: bool = False


class ThrowAwayIdentities:
    """Makes identities that look like ``model``; what needs the client CA's key needs ``authority``."""

    def __init__(
        self, model: Identity, authority: IssuingCa | None, *, now: datetime.datetime, days: float = 0.9
    ) -> None:
        self._model = model
        self._authority = authority
        self._now = now
        self._days = days
        self._use_rsa = False

    @property
    def has_authority(self) -> bool:
        return self._authority is not None

    # Identities of the client CA

    def twin(self, name: str = "valid twin", **changes: t.Any) -> Identity:
        """A certificate of the client CA, like the good client's, but for ``changes``."""
        recipe = Recipe(**{"subject": self._model.certificate.subject, "sans": self._sans(), **changes})
        return self._of_client_ca(name, lambda: self._issue(name, recipe, self._own_authority()))

    def with_uri(self) -> Identity:
        return self.twin("twin with a URI SAN", sans=(x509.UniformResourceIdentifier(URI_SAN),))

    def without_uri(self) -> Identity:
        return self.twin("twin without a SAN", sans=())

    def without_subject(self) -> Identity:
        return self.twin(
            "twin with an empty subject",
            subject=x509.Name([]),
            sans=(x509.UniformResourceIdentifier(URI_SAN),),
        )

    def expired(self) -> Identity:
        return self.twin("expired an hour ago", from_days=-2, to_days=-0.04)

    def not_yet_valid(self) -> Identity:
        return self.twin("not valid yet", from_days=self._days + 1, to_days=self._days + 2)

    def server_only(self) -> Identity:
        return self.twin("for servers only", usages=(ExtendedKeyUsageOID.SERVER_AUTH,))

    def any_usage(self) -> Identity:
        return self.twin("for any usage only", usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))

    def weak_key(self) -> Identity:
        return self.twin("RSA key of 1024 bits", weak_key=True)

    def with_serial_number(self, serial_number: int) -> Identity:
        return self.twin("twin with a revoked serial number", serial_number=serial_number)

    def sha1_signature(self) -> Identity:
        return self.twin("signed with SHA-1", sha1=True)

    def oversized(self, size: int) -> Identity:
        """A certificate whose identity fills about ``size`` bytes of a header."""
        filler = tuple(
            x509.UniformResourceIdentifier(f"{URI_SAN}/{number:04d}/{'x' * 80}") for number in range(size // 122 + 1)
        )
        return self.twin("oversized identity", sans=filler)

    def by_intermediate(self, name: str, *, presented: bool) -> Identity:
        """A client of a throw-away intermediate CA, with or without that CA in its chain."""
        name = f"{name}, {'with' if presented else 'without'} it in the chain"

        def make() -> Identity:
            leaf = self._issue(name, self._like_model(), self._intermediate(self._own_authority(), path_length=0))
            return leaf if presented else Identity(name, leaf.chain[:1], key_pem=leaf.key_pem)

        return self._of_client_ca(name, make)

    def beyond_path_length(self) -> Identity:
        """Two CAs where the upper one allows none below it (RFC 5280 section 4.2.1.9)."""
        name = "below a CA that allows no further CA"

        def make() -> Identity:
            upper = self._intermediate(self._own_authority(), path_length=0)
            return self._issue(name, self._like_model(), self._intermediate(upper, path_length=None))

        return self._of_client_ca(name, make)

    def outside_name_constraint(self) -> Identity:
        """A DNS name that its CA may not vouch for (RFC 5280 section 4.2.1.10)."""
        name = "outside its CA's name constraint"
        recipe = Recipe(subject=self._model.certificate.subject, sans=(x509.DNSName("client.outside.invalid"),))

        def make() -> Identity:
            middle = self._intermediate(self._own_authority(), path_length=0, permitted="permitted.invalid")
            return self._issue(name, recipe, middle)

        return self._of_client_ca(name, make)

    # Identities that need nobody's key

    def of_other_ca(self) -> Identity:
        """A sound certificate of a CA that nobody trusts, with that CA presented."""
        return self._issue("of another CA", self._like_model(), self._unrelated_authority())

    def of_impostor_ca(self) -> Identity:
        """A certificate of an impostor: the client CA's name and key identifier, another key."""
        return self._issue("of a CA with the client CA's name", self._forged(), self._impostor_authority())

    def with_same(self, attribute: str, authorities: t.Sequence[x509.Certificate]) -> Identity:
        """A stranger's certificate with one of the good client's ATTRIBUTES, for servers that look at no more.

        ``authorities``: where the certificate of the good client's CA may be. Raises MtlsError when the good client
        has no such attribute.
        """
        subject, stranger = self._model.certificate.subject, Recipe(subject=_unrelated_name("Unrelated client"))
        recipes = {
            "serial number": dataclasses.replace(stranger, serial_number=self._serial_number()),
            "common name": Recipe(subject=x509.Name(subject.get_attributes_for_oid(NameOID.COMMON_NAME))),
            "subject": Recipe(subject=subject),
            "SAN": dataclasses.replace(stranger, sans=self._sans()),
        }
        recipe = recipes.get(attribute, stranger)
        if (recipe == stranger and attribute in recipes) or not list(recipe.subject):
            raise MtlsError(f"the good client has no {attribute}")
        is_impostor = attribute == "issuer name"
        authority = self._impostor_authority() if is_impostor else self._unrelated_authority()
        leaf = self._issue(f"a stranger with the same {attribute}", recipe, authority)
        if attribute == "issuer certificate":
            return dataclasses.replace(leaf, chain=(leaf.certificate, self._true_issuer(authorities)))
        if attribute == "chain":  # the good client's certificate is no secret
            return dataclasses.replace(leaf, chain=(leaf.certificate, *self._model.chain))
        return leaf

    def forged_in_all(self, authorities: t.Sequence[x509.Certificate]) -> Identity:
        """All of the good client's attributes, and the true CA's certificate beside: only the signature is wrong."""
        leaf = self._issue("the same in all but the signature", self._forged(), self._impostor_authority())
        return dataclasses.replace(leaf, chain=(leaf.certificate, self._true_issuer(authorities)))

    def _forged(self) -> Recipe:
        return dataclasses.replace(self._like_model(), serial_number=self._serial_number())

    def _serial_number(self) -> int | None:
        """The good client's serial number, unless it is one that cannot be written (RFC 5280 section 4.1.2.2)."""
        number = self._model.certificate.serial_number
        return number if 0 < number < 1 << 159 else None

    def _unrelated_authority(self) -> IssuingCa:
        return self._self_signed_authority(_unrelated_name("Unrelated CA"))

    def _impostor_authority(self) -> IssuingCa:
        identifier = self._issuer_key_identifier()
        return self._self_signed_authority(self._model.certificate.issuer, identifier=identifier)

    def _true_issuer(self, authorities: t.Sequence[x509.Certificate]) -> x509.Certificate:
        issuer = self._model.certificate.issuer
        candidate: x509.Certificate
        for candidate in (*self._model.chain[1:], *authorities):
            if candidate.subject == issuer:
                return candidate
        raise MtlsError("the certificate of the good client's CA is not among client_ca_cert")

    def self_signed(self) -> Identity:
        """The good client's subject, names and serial number, signed by its own key."""
        key = ec.generate_private_key(ec.SECP256R1())
        recipe = self._forged()
        builder = self._builder(recipe, key.public_key(), issuer=recipe.subject)
        certificate = builder.sign(key, hashes.SHA256())
        return Identity("self-signed copy of the client", (certificate,), key_pem=key_to_pem(key))

    def of_client_as_ca(self, model_key: CertificateIssuerPrivateKeyTypes) -> Identity:
        """A certificate that the good client signed, though it is no CA (RFC 5280 section 4.2.1.9)."""
        authority = IssuingCa(self._model.certificate, model_key, self._model.chain)
        return self._issue("issued by a client's certificate", self._like_model(), authority)

    def with_stolen_certificate(self) -> Identity:
        """The good client's certificate with a key that is not its own."""
        certificate = self._model.certificate
        pem = key_with_wrong_secret(certificate.public_key())
        return Identity("someone else's key", self._model.chain, key_pem=pem)

    # Making them

    def prefer_rsa(self) -> None:
        """Make RSA keys from now on, for servers that accept no others."""
        self._use_rsa = True

    def _of_client_ca(self, _name: str, make: t.Callable[[], Identity]) -> Identity:
        """Return the identity of the client CA that ``make`` makes; a probe kit has it under its name instead."""
        return make()

    def _own_authority(self) -> IssuingCa:
        if self._authority is None:
            raise MtlsError("client_ca_cert and client_ca_key are needed to make such an identity")
        return self._authority

    def _sans(self) -> tuple[x509.GeneralName, ...]:
        try:
            extension = self._model.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except EXTENSION_ERRORS:
            return ()
        return tuple(extension.value)

    def _like_model(self) -> Recipe:
        return Recipe(subject=self._model.certificate.subject, sans=self._sans())

    def _issuer_key_identifier(self) -> bytes | None:
        try:
            found = self._model.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        except EXTENSION_ERRORS:
            return None
        return found.value.key_identifier

    def _issue(self, name: str, recipe: Recipe, authority: IssuingCa) -> Identity:
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if recipe.weak_key:
            key = rsa.generate_private_key(65537, 1024)  # noqa: S505  (its weakness is the point)
        elif self._use_rsa or recipe.rsa:
            key = rsa.generate_private_key(65537, 2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(recipe, key.public_key(), issuer=authority.certificate.subject)
        builder = builder.add_extension(
            certificate_builder.authority_key_identifier(authority.certificate), critical=False
        )
        certificate = sign(builder, authority)
        if recipe.sha1:
            certificate = signed_with_sha1(certificate, authority.key)
        return Identity(
            name,
            (certificate, *authority.presented),
            key_pem=key_to_pem(key),
            weak=recipe.weak_key or recipe.sha1,
        )

    def _builder(self, recipe: Recipe, public_key: t.Any, *, issuer: x509.Name) -> x509.CertificateBuilder:
        usages = (ExtendedKeyUsageOID.CLIENT_AUTH,) if recipe.usages is None else recipe.usages
        builder = certificate_builder.start(
            recipe.subject,
            issuer,
            public_key,
            not_before=self._now + datetime.timedelta(days=recipe.from_days),
            not_after=self._now + datetime.timedelta(days=self._days if recipe.to_days is None else recipe.to_days),
            serial_number=recipe.serial_number,
        ).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if recipe.sans:
            # RFC 5280 section 4.2.1.6: critical when the subject is empty.
            critical = not list(recipe.subject)
            builder = builder.add_extension(x509.SubjectAlternativeName(recipe.sans), critical=critical)
        return builder

    def _intermediate(self, above: IssuingCa, *, path_length: int | None, permitted: str | None = None) -> IssuingCa:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _unrelated_name("Throw-away CA")
        builder = self._ca_builder(name, above.certificate.subject, key, path_length=path_length)
        builder = builder.add_extension(certificate_builder.authority_key_identifier(above.certificate), critical=False)
        if permitted:
            constraint = x509.NameConstraints(permitted_subtrees=[x509.DNSName(permitted)], excluded_subtrees=None)
            builder = builder.add_extension(constraint, critical=True)
        certificate = sign(builder, above)
        return IssuingCa(certificate, key, (certificate, *above.presented))

    def _self_signed_authority(self, name: x509.Name, *, identifier: bytes | None = None) -> IssuingCa:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._ca_builder(name, name, key, path_length=None, identifier=identifier)
        certificate = builder.sign(key, hashes.SHA256())
        return IssuingCa(certificate, key, (certificate,))

    def _ca_builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        path_length: int | None,
        identifier: bytes | None = None,
    ) -> x509.CertificateBuilder:
        return certificate_builder.start(
            subject,
            issuer,
            key.public_key(),
            not_before=self._now - datetime.timedelta(hours=1),
            not_after=self._now + datetime.timedelta(days=self._days + 0.1),
            is_ca=True,
            path_length=path_length,
            subject_key=x509.SubjectKeyIdentifier(identifier) if identifier else None,
        )


def _unrelated_name(role: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{role} {secrets.token_hex(4)}")])
