# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client CAs as the gateway uses them: who could get in, and in which order they have to stand."""

from __future__ import annotations

import collections
import datetime
import typing as t

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import keys
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, describe, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import (
    is_ca,
    is_issued_by,
    is_self_issued,
    same_authority,
)

Certificates: t.TypeAlias = "t.Sequence[x509.Certificate]"


def usable(
    certificates: Certificates, *, source: str, has_crls: bool, now: datetime.datetime
) -> tuple[list[x509.Certificate], list[str]]:
    """Return the client CAs in the order in which they are published, and notes about those that are not.

    Raises MtlsError naming a certificate with which nobody, or the wrong one, would get in.
    """
    for certificate in certificates:
        _check(certificate, source=source, has_crls=has_crls)
    alive = [ca for ca in certificates if ca.not_valid_after_utc > now]
    if not alive:
        raise MtlsError(f"{source}: every client CA has expired, so no client could get in.")
    notes = _expired_notes([ca for ca in certificates if ca not in alive], alive, source=source)
    ordered = in_order(alive, now=now)
    if has_crls:
        _check_anchors(ordered, source=source)
    return ordered, notes


def _check(certificate: x509.Certificate, *, source: str, has_crls: bool) -> None:
    label = describe.label(certificate)
    if not is_authority(certificate):
        raise MtlsError(
            f"{source}: {label} is among the client CAs, but it is not a CA (basicConstraints). "
            "A gateway that trusts it would let exactly that certificate in."
        )
    problem = keys.problem(certificate, is_server=False)
    if problem:
        raise MtlsError(
            f"{source}: no client with a certificate of {label} gets in: {problem}. Recreate the CA with another key."
        )
    usage = _key_usage(certificate)
    if usage is not None and not usage.key_cert_sign:
        raise MtlsError(
            f"{source}: no client with a certificate of {label} gets in: its key usage does not allow it to issue "
            "certificates (keyCertSign). Recreate the CA with it, or remove the CA."
        )
    if has_crls and usage is not None and not usage.crl_sign:
        raise MtlsError(
            f"{source}: there is a CRL, but the key usage of {label} does not allow CRLs (cRLSign), so Envoy refuses "
            "every client of this CA. Recreate the CA with it, or leave the CRL out."
        )


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate is that of a CA; of version 1, which cannot say so, a self-signed one is."""
    is_old = certificate.version is x509.Version.v1
    return is_self_issued(certificate) if is_old else is_ca(certificate)


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _expired_notes(expired: Certificates, alive: Certificates, *, source: str) -> list[str]:
    """Return what has to be said about CAs that have expired: about twins each, about the others in one line."""
    notes = []
    others = []
    for certificate in expired:
        twin = next((ca for ca in alive if same_authority(ca, certificate)), None)
        if twin is None:
            others.append(certificate)
            continue
        notes.append(
            f"{source}: {describe.label(certificate)} expired at {certificate.not_valid_after_utc} and is not "
            f"published: the gateway would take it in place of {describe.label(twin)}, which has the same name and key."
        )
    if others:
        first = f"{describe.label(others[0])} expired at {others[0].not_valid_after_utc}"
        more = f", and {len(others) - 1} more client CAs have expired; they are" if len(others) > 1 else " and is"
        notes.append(f"{source}: {first}{more} not published: no client of theirs can get in.")
    return notes


def in_order(certificates: Certificates, *, now: datetime.datetime) -> list[x509.Certificate]:
    """Return client CAs in the order that the gateway needs; those that are unlike keep theirs.

    Envoy takes the first of those with one name and key, whatever its dates: the one that ends last comes first. istiod
    looks at the dates of the first of all: those that are not valid yet come last. With CRLs Envoy asks for one of the
    issuer of whatever it takes: one that ends the chain goes before a cross-certificate.
    """

    def rank(certificate: x509.Certificate) -> tuple[bool, bool, float]:
        return (
            certificate.not_valid_before_utc > now,
            not is_self_issued(certificate),
            -certificate.not_valid_after_utc.timestamp(),
        )

    groups: dict[t.Hashable, list[x509.Certificate]] = collections.defaultdict(list)
    for certificate in certificates:
        parts = der.certificate_parts(describe.der_of(certificate))
        groups[names.canonical_name(parts.subject), parts.spki].append(certificate)
    ordered = [ca for group in groups.values() for ca in sorted(group, key=rank)]
    return sorted(ordered, key=lambda ca: ca.not_valid_before_utc > now)


def _check_anchors(certificates: Certificates, *, source: str) -> None:
    """Refuse CRLs beside an intermediate CA without its root: Envoy wants to know that it is not revoked itself."""
    for certificate in certificates:
        if is_self_issued(certificate) or any(
            is_self_issued(ca) and same_authority(ca, certificate) for ca in certificates
        ):
            continue
        if not any(is_issued_by(certificate, issuer) for issuer in certificates):
            raise MtlsError(
                f"{source}: there is a CRL, and {describe.label(certificate)} is an intermediate CA whose issuer "
                f"{describe.issuer_text(certificate)} is not among the client CAs. With CRLs Envoy checks the "
                "intermediate CA too, for which it needs its issuer and the issuer's list, and refuses every client "
                "without them. Add the root CA to the client CAs, and its CRL to the lists."
            )
