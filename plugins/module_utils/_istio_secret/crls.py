# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocation lists as the gateway uses them.

Envoy takes every list that it is given for one of all certificates of its issuer, and refuses everybody when it cannot
take it so. Of two lists of one CA it may take either.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.x509.oid import ExtensionOID
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import authorities
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_crl_of
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, reading

Crl: t.TypeAlias = "x509.CertificateRevocationList"
# What BoringSSL verifies of lists; it has neither MD5 nor SHA-3.
HASHES = frozenset({"sha1", "sha224", "sha256", "sha384", "sha512"})


def usable(
    crls: t.Sequence[Crl],
    certificates: authorities.Certificates,
    retired: authorities.Certificates,
    *,
    source: str,
    now: datetime.datetime,
) -> tuple[list[Crl], list[str]]:
    """Return one list a CA, the newest, and what has to be said about the others.

    ``certificates`` are the client CAs that are published. Lists of ``retired`` ones, which have expired, are dropped.
    Raises MtlsError naming a list with which Envoy would refuse everybody, or let the revoked in.
    """
    chosen: list[Crl] = []
    notes: list[str] = []
    for scope in _scopes(crls, certificates):
        if _is_of_any(scope[0], retired) and not _is_of_any(scope[0], certificates):
            continue
        for crl in scope:
            _check_kind(crl, source=source)
        newest = _newest(scope, now=now)
        _check_signature(newest, certificates, source=source)
        _check_dates(newest, source=source, now=now)
        chosen.append(newest)
        notes += [
            f"{source}: there are {len(scope)} CRLs of {describe.name_text(newest.issuer)}; only the newest is "
            f"published ({title(newest)}). Envoy would take any of them, also one in which a revoked client is missing."
        ] * (len(scope) > 1)
    for certificate in certificates:
        if not any(is_crl_of(crl, certificate) for crl in chosen):
            raise MtlsError(
                f"{source}: there is a CRL, but none of the client CA {describe.label(certificate)}. With a CRL of "
                "some CAs only, Envoy refuses every client of the others: put one CRL for each CA in the path into the "
                "file."
            )
    _check_keys(chosen, source=source)
    return chosen, notes


def title(crl: Crl) -> str:
    """Return which list it is, for a person."""
    value = number(crl)
    return f"{f'number {value}, ' if value is not None else ''}of {describe.time_text(crl.last_update_utc)}"


def number(crl: Crl) -> int | None:
    """Return the number of the list, None when it has none."""
    with contextlib.suppress(x509.ExtensionNotFound, *PARSE_ERRORS):
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return None


def authority_key(crl: Crl) -> bytes | None:
    """Return the identifier of the key that signed the list, None when it does not say."""
    with contextlib.suppress(x509.ExtensionNotFound, *PARSE_ERRORS):
        return crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return None


def same_scope(one: Crl, other: Crl, certificates: authorities.Certificates) -> bool:
    """Whether two lists are of one CA, by its name and key."""
    if not names.same_name(one.issuer, other.issuer):
        return False
    signers = [{describe.spki_sha256(ca) for ca in certificates if is_crl_of(crl, ca)} for crl in (one, other)]
    if any(signers):
        return bool(signers[0] & signers[1])
    # Lists of an intermediate CA, whose certificate the clients bring.
    return authority_key(one) == authority_key(other)


def is_newer(one: Crl, other: Crl) -> bool:
    """Whether ``one`` came after ``other``, by their numbers when both have one."""
    numbers = number(one), number(other)
    if numbers[0] is not None and numbers[1] is not None and numbers[0] != numbers[1]:
        return numbers[0] > numbers[1]
    return (one.last_update_utc, len(one)) > (other.last_update_utc, len(other))


def _scopes(crls: t.Sequence[Crl], certificates: authorities.Certificates) -> list[list[Crl]]:
    scopes: list[list[Crl]] = []
    for crl in crls:
        scope = next((known for known in scopes if same_scope(known[0], crl, certificates)), None)
        if scope is None:
            scopes.append([crl])
        else:
            scope.append(crl)
    return scopes


def _newest(scope: t.Sequence[Crl], *, now: datetime.datetime) -> Crl:
    # A list that was made ahead of its time is none yet.
    begun = [crl for crl in scope if crl.last_update_utc <= now] or scope
    newest = begun[0]
    for crl in begun[1:]:
        if is_newer(crl, newest):
            newest = crl
    return newest


def _is_of_any(crl: Crl, certificates: authorities.Certificates) -> bool:
    return any(is_crl_of(crl, certificate) for certificate in certificates)


def _check_kind(crl: Crl, *, source: str) -> None:
    """Refuse a list that is not one of all certificates of its issuer, or not only that."""
    issuer = describe.name_text(crl.issuer)
    found = {extension.oid for extension in crl.extensions}
    if ExtensionOID.DELTA_CRL_INDICATOR in found:
        raise MtlsError(
            f"{source}: the CRL of {issuer} ({title(crl)}) is a delta list. Envoy does not add it to the complete one: "
            "it refuses every client, or lets revoked ones in. Give the complete list alone."
        )
    if ExtensionOID.ISSUING_DISTRIBUTION_POINT in found:
        raise MtlsError(
            f"{source}: the CRL of {issuer} ({title(crl)}) has an issuing distribution point, so it is not a list of "
            "all certificates of its CA. Envoy refuses every client with it. Have the CA issue a complete list without."
        )
    critical = sorted(extension.oid.dotted_string for extension in crl.extensions if extension.critical)
    with reading(f"{source}: an entry of the CRL of {issuer} ({title(crl)})"):
        critical += sorted(
            {extension.oid.dotted_string for entry in crl for extension in entry.extensions if extension.critical}
        )
    if critical:
        raise MtlsError(
            f"{source}: the CRL of {issuer} ({title(crl)}) has critical extensions that Envoy does not know "
            f"({', '.join(critical)}). Envoy refuses every client with it. Have the CA issue a list without them."
        )


def _check_signature(crl: Crl, certificates: authorities.Certificates, *, source: str) -> None:
    issuer = describe.name_text(crl.issuer)
    # A list of another issuer is that of an intermediate CA, whose certificate the clients bring.
    signers = [certificate for certificate in certificates if names.same_name(certificate.subject, crl.issuer)]
    if signers and not any(is_crl_of(crl, signer) for signer in signers):
        raise MtlsError(f"{source}: the CRL of {issuer} was not signed by any of the client CAs beside it.")
    algorithm = _algorithm_problem(crl)
    if algorithm:
        raise MtlsError(
            f"{source}: the CRL of {issuer} ({title(crl)}) is signed with {algorithm}, which Envoy cannot verify, so "
            "it refuses every client. Have the CA sign it with SHA-256."
        )


def _algorithm_problem(crl: Crl) -> str | None:
    try:
        algorithm, parameters = crl.signature_hash_algorithm, crl.signature_algorithm_parameters
    except PARSE_ERRORS:
        return f"the algorithm {crl.signature_algorithm_oid.dotted_string}"
    if algorithm is not None and algorithm.name not in HASHES:
        return algorithm.name.upper()
    # BoringSSL takes RSASSA-PSS with a salt as long as the hash only.
    if isinstance(parameters, padding.PSS) and algorithm is not None:
        salt = parameters._salt_length  # no other way to ask
        if salt != algorithm.digest_size:
            return f"RSASSA-PSS and a salt of {salt} bytes"
    return None


def _check_dates(crl: Crl, *, source: str, now: datetime.datetime) -> None:
    issuer = describe.name_text(crl.issuer)
    if crl.last_update_utc > now:
        raise MtlsError(
            f"{source}: the CRL of {issuer} is not valid before {crl.last_update_utc} (thisUpdate). "
            "Envoy refuses every client until then. Is the clock of this machine right?"
        )
    if crl.next_update_utc is None or crl.next_update_utc <= now:
        raise MtlsError(
            f"{source}: the CRL of {issuer} is stale (nextUpdate {crl.next_update_utc}). "
            "Envoy refuses every client when its CRL is stale: renew the CRL first."
        )


def _check_keys(crls: t.Sequence[Crl], *, source: str) -> None:
    """Refuse lists of two keys under one name that do not say whose they are: Envoy takes the first for both."""
    for crl in crls:
        others = [other for other in crls if other is not crl and names.same_name(other.issuer, crl.issuer)]
        if others and authority_key(crl) is None:
            raise MtlsError(
                f"{source}: there are CRLs of two CAs with the name {describe.name_text(crl.issuer)}, and one of them "
                "does not say which key signed it (authorityKeyIdentifier). Envoy takes one list for both CAs and "
                "refuses the clients of the other. Have the CA issue its CRL with that extension."
            )
