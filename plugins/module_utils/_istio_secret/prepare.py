# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Secret as it is published: checked, normalised, and with words for what is in it."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import authorities, crls, keys, pem
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret, check_layout
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by

AUTHORITIES = "the client CAs"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What is published. ``facts`` say what is in it without key material, for diffs and results."""

    secret: Secret
    facts: dict[str, t.Any]
    warnings: tuple[str, ...]


def prepare(secret: Secret, *, now: datetime.datetime) -> Prepared:
    """Check ``secret`` and return it in the one form that every reader of the gateway understands.

    Raises MtlsError naming the Secret, the key of its data and what is wrong with it.
    """
    if not secret.for_gateway:
        return Prepared(secret, {}, ())
    check_layout(secret)
    data: dict[str, bytes] = {}
    facts: dict[str, t.Any] = {}
    warnings: list[str] = []
    names = secret.certificate_keys()
    if names is not None:
        data.update(_certificate(secret, names, facts=facts, warnings=warnings, now=now))
    names = secret.authority_keys()
    if names is not None:
        data.update(_authorities(secret, names, facts=facts, warnings=warnings, now=now))
    return Prepared(dataclasses.replace(secret, data=data), facts, tuple(warnings))


def _certificate(
    secret: Secret, names: tuple[str, str], *, facts: dict[str, t.Any], warnings: list[str], now: datetime.datetime
) -> dict[str, bytes]:
    chain_name, key_name = names
    found = pem.read(secret.data[chain_name], source=secret.label, what=chain_name, is_chain=True)
    if not found.certificates:
        raise MtlsError(f"There is no certificate in the certificate chain of {secret.label} ({chain_name}).")
    key, key_warning = pem.read_key(secret.data[key_name], source=secret.label, what=key_name)
    leaf, *issuers = found.certificates
    label = describe.label(leaf)
    problem = keys.problem(leaf, is_server=True)
    if problem:
        raise MtlsError(f"{secret.label}: the gateway cannot serve {label}: {problem}. Make it with another key.")
    if not load.key_matches(leaf, key):
        raise MtlsError(f"{secret.label}: the private key does not belong to {label}, the first of its chain.")
    for certificate, issuer in zip((leaf, *issuers), issuers, strict=False):
        if not is_issued_by(certificate, issuer):
            raise MtlsError(
                f"{secret.label}: the chain is not in order: {describe.label(certificate)} was not issued by the next "
                f"certificate, {describe.label(issuer)}. Assemble it with kyma.mtls.certificate_chain."
            )
    for certificate in found.certificates:
        _check_validity(secret, certificate, now=now)
    warnings += [warning for warning in (found.warning, key_warning) if warning]
    facts["certificate"] = {**_facts(leaf, now=now), "chain": [describe.label(ca) for ca in issuers]}
    return {chain_name: pem.text_of(*found.certificates), key_name: pem.text_of_key(key)}


def _authorities(
    secret: Secret, names: tuple[str, str], *, facts: dict[str, t.Any], warnings: list[str], now: datetime.datetime
) -> dict[str, bytes]:
    authority_name, crl_name = names
    found = pem.read(secret.data[authority_name], source=secret.label, what=authority_name)
    if not found.certificates:
        raise MtlsError(f"There is no certificate in {AUTHORITIES} of {secret.label} ({authority_name}).")
    # Envoy reads CRLs from among the CAs too; they are published where people look for them.
    lists = list(found.crls)
    warnings += [found.warning] if found.warning else []
    if crl_name in secret.data:
        revoked = pem.read(secret.data[crl_name], source=secret.label, what=crl_name)
        if not revoked.crls:
            raise MtlsError(f"{secret.label}: there is no CRL in PEM form in {crl_name}.")
        warnings += [revoked.warning] if revoked.warning else []
        lists += [crl for crl in revoked.crls if crl not in lists]
    published, notes = authorities.usable(found.certificates, source=secret.label, has_crls=bool(lists), now=now)
    warnings += notes
    facts["client_cas"] = [_facts(ca, now=now) for ca in published]
    data = {authority_name: pem.text_of(*published)}
    if lists:
        retired = [certificate for certificate in found.certificates if certificate not in published]
        chosen, notes = crls.usable(lists, published, retired, source=secret.label, now=now)
        warnings += notes
        facts["crls"] = [_crl_facts(crl) for crl in chosen]
        data[crl_name] = pem.text_of(*chosen)
    return data


def _check_validity(secret: Secret, certificate: x509.Certificate, *, now: datetime.datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise MtlsError(f"{secret.label}: {describe.label(certificate)} expired at {certificate.not_valid_after_utc}.")
    if certificate.not_valid_before_utc > now:
        raise MtlsError(
            f"{secret.label}: {describe.label(certificate)} is valid only from {certificate.not_valid_before_utc} on. "
            "Is the clock of this machine right?"
        )


def _facts(certificate: x509.Certificate, *, now: datetime.datetime) -> dict[str, t.Any]:
    described = describe.describe_certificate(certificate, now=now)
    return {key: described[key] for key in ("subject", "issuer", "fingerprint_sha256", "not_after")}


def _crl_facts(crl: x509.CertificateRevocationList) -> dict[str, t.Any]:
    next_update = crl.next_update_utc
    return {
        "issuer": describe.name_text(crl.issuer),
        "number": crls.number(crl),
        "next_update": next_update.isoformat() if next_update else None,
        "revoked": len(crl),
    }
