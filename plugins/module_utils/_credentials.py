# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets the way Istio's gateway reads them: layouts, and a lint before anything takes them up.

Source: Istio's key formats. A certificate is in ``tls.crt`` and ``tls.key``, or in ``cert`` and ``key``; client CAs are
in ``cacert`` with the CRL in ``crl``, or in ``ca.crt`` with the CRL in ``ca.crl``. The pairs do not mix: a CRL under
the other pair's name is silently not used, and no status reports it.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load

CERTIFICATE_KEYS = (("tls.crt", "tls.key"), ("cert", "key"))
AUTHORITY_KEYS = (("cacert", "crl"), ("ca.crt", "ca.crl"))
KNOWN_KEYS = frozenset(key for pair in (*CERTIFICATE_KEYS, *AUTHORITY_KEYS) for key in pair)


@dataclasses.dataclass(frozen=True)
class Secret:
    """A Kubernetes Secret with its data decoded; never printed with it."""

    name: str
    namespace: str
    data: t.Mapping[str, bytes] = dataclasses.field(repr=False)

    @property
    def label(self) -> str:
        return f"Secret {self.namespace}/{self.name}"

    def certificate(self) -> tuple[bytes, bytes] | None:
        """Return (chain, key) in PEM, None when this Secret holds no certificate."""
        for chain_key, private_key in CERTIFICATE_KEYS:
            if chain_key in self.data and private_key in self.data:
                return self.data[chain_key], self.data[private_key]
        return None

    def authorities(self) -> tuple[bytes, bytes | None] | None:
        """Return (client CAs, CRLs or None) in PEM, None when this Secret holds no client CAs."""
        for authority_key, crl_key in AUTHORITY_KEYS:
            if authority_key in self.data:
                return self.data[authority_key], self.data.get(crl_key)
        return None


def lint(secret: Secret, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Check ``secret`` and return what it holds in words: no key material, for diffs and results.

    Raises MtlsError naming the Secret, the key and what is wrong with it.
    """
    _lint_layout(secret)
    facts: dict[str, t.Any] = {}
    certificate = secret.certificate()
    if certificate is not None:
        facts["certificate"] = _lint_certificate(secret, *certificate, now=now)
    authorities = secret.authorities()
    if authorities is not None:
        facts["client_cas"], crls = _lint_authorities(secret, *authorities, now=now)
        if crls:
            facts["crls"] = crls
    return facts


def _lint_layout(secret: Secret) -> None:
    unknown = sorted(set(secret.data) - KNOWN_KEYS)
    if unknown:
        raise MtlsError(
            f"{secret.label}: Istio's gateway reads no key named {', '.join(unknown)}. "
            f"It reads {', '.join(sorted(KNOWN_KEYS))}."
        )
    for chain_key, private_key in CERTIFICATE_KEYS:
        if (chain_key in secret.data) != (private_key in secret.data):
            raise MtlsError(f"{secret.label}: {chain_key} and {private_key} go together, but only one is there.")
    for authority_key, crl_key in AUTHORITY_KEYS:
        if crl_key in secret.data and authority_key not in secret.data:
            raise MtlsError(
                f"{secret.label}: Istio reads a CRL from {crl_key} only beside {authority_key}; without it the CRL is "
                "silently ignored and revoked clients get in. Put cacert with crl, or ca.crt with ca.crl."
            )
    if all(key in secret.data for key, _crl in AUTHORITY_KEYS):
        raise MtlsError(f"{secret.label}: cacert and ca.crt are both there; Istio reads only cacert. Keep one.")
    if all(key in secret.data for key, _private_key in CERTIFICATE_KEYS):
        raise MtlsError(f"{secret.label}: tls.crt and cert are both there; Istio reads only one of them. Keep one.")
    if not secret.data:
        raise MtlsError(f"{secret.label}: there is no data in it.")
    for key, data in sorted(secret.data.items()):
        if b"-----BEGIN " not in data:
            raise MtlsError(f"{secret.label}: {key} is not PEM, the one form that a gateway reads. Convert it to PEM.")


def _certificates(secret: Secret, data: bytes, *, what: str) -> tuple[x509.Certificate, ...]:
    loaded: tuple[x509.Certificate, ...] = load.load_certificates(data, source=f"{what} of {secret.label}").certificates
    return loaded


def _lint_certificate(secret: Secret, chain: bytes, key: bytes, *, now: datetime.datetime) -> dict[str, t.Any]:
    leaf, *issuers = _certificates(secret, chain, what="the certificate chain")
    private_key = load.load_private_key(key, passphrase=None, source=f"the private key of {secret.label}")
    label = _label(leaf)
    if not load.key_matches(leaf, private_key):
        raise MtlsError(f"{secret.label}: the private key does not belong to {label}, the first of its chain.")
    for certificate, issuer in zip((leaf, *issuers), issuers, strict=False):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError) as exc:
            raise MtlsError(
                f"{secret.label}: the chain is not in order: {_label(certificate)} was not issued by the next "
                f"certificate, {_label(issuer)}. Assemble it with kyma.mtls.certificate_chain."
            ) from exc
    for certificate in (leaf, *issuers):
        _lint_validity(secret, certificate, now=now)
    return {**_facts(leaf, now=now), "chain": [_label(one) for one in issuers]}


def _lint_authorities(
    secret: Secret, authorities: bytes, crls: bytes | None, *, now: datetime.datetime
) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    certificates = _certificates(secret, authorities, what="the client CAs")
    for certificate in certificates:
        if not _is_authority(certificate):
            raise MtlsError(
                f"{secret.label}: {_label(certificate)} is among the client CAs, but it is no CA (basicConstraints). "
                "A gateway that trusts it would let exactly that certificate in."
            )
    if not any(one.not_valid_after_utc > now for one in certificates):
        raise MtlsError(f"{secret.label}: every client CA has expired, so no client could get in.")
    facts = [_facts(certificate, now=now) for certificate in certificates]
    lists = _crls(secret, crls)
    described = [_lint_crl(secret, crl, certificates, now=now) for crl in lists]
    for certificate in certificates if lists else ():
        if not any(crl.issuer == certificate.subject and _signed(crl, by=certificate) for crl in lists):
            raise MtlsError(
                f"{secret.label}: there is a CRL, but none of the client CA {_label(certificate)}. With a CRL of some "
                "CAs only, Envoy refuses every client of the others: put one CRL for each CA in the path into the file."
            )
    return facts, described


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return certificate.version is x509.Version.v1 and certificate.subject == certificate.issuer


def _crls(secret: Secret, data: bytes | None) -> list[x509.CertificateRevocationList]:
    if data is None:
        return []
    marker = b"-----BEGIN X509 CRL-----"
    found = []
    for part in data.split(marker)[1:]:
        try:
            found.append(x509.load_pem_x509_crl(marker + part))
        except ValueError as exc:
            raise MtlsError(f"{secret.label}: CRL #{len(found) + 1} cannot be read: {exc}.") from exc
    if not found:
        raise MtlsError(f"{secret.label}: there is no CRL in PEM form in its CRL key.")
    return found


def _lint_crl(
    secret: Secret,
    crl: x509.CertificateRevocationList,
    authorities: t.Sequence[x509.Certificate],
    *,
    now: datetime.datetime,
) -> dict[str, t.Any]:
    issuer = describe.name_text(crl.issuer)
    signers = [one for one in authorities if one.subject == crl.issuer]
    # A list of another issuer is that of an intermediate CA, whose certificate the clients bring.
    if signers and not any(_signed(crl, by=one) for one in signers):
        raise MtlsError(f"{secret.label}: the CRL of {issuer} was not signed by any of the client CAs beside it.")
    if crl.last_update_utc > now:
        raise MtlsError(
            f"{secret.label}: the CRL of {issuer} is not valid before {crl.last_update_utc} (thisUpdate). "
            "Envoy refuses every client until then. Is the clock of this machine right?"
        )
    if crl.next_update_utc is None or crl.next_update_utc <= now:
        raise MtlsError(
            f"{secret.label}: the CRL of {issuer} is stale (nextUpdate {crl.next_update_utc}). "
            "Envoy refuses every client when its CRL is stale: renew the CRL first."
        )
    return {"issuer": issuer, "next_update": crl.next_update_utc.isoformat(), "revoked": len(crl)}


def _signed(crl: x509.CertificateRevocationList, *, by: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(by.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _lint_validity(secret: Secret, certificate: x509.Certificate, *, now: datetime.datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise MtlsError(f"{secret.label}: {_label(certificate)} expired at {certificate.not_valid_after_utc}.")
    if certificate.not_valid_before_utc > now:
        raise MtlsError(
            f"{secret.label}: {_label(certificate)} is valid only from {certificate.not_valid_before_utc} on. "
            "Is the clock of this machine right?"
        )


def _label(certificate: x509.Certificate) -> str:
    fingerprint = describe.describe_certificate(certificate, now=datetime.datetime.now(tz=datetime.UTC))[
        "fingerprint_sha256"
    ]
    return f"{describe.name_text(certificate.subject) or 'a certificate without subject'} (SHA-256 {fingerprint})"


def _facts(certificate: x509.Certificate, *, now: datetime.datetime) -> dict[str, t.Any]:
    described = describe.describe_certificate(certificate, now=now)
    return {key: described[key] for key in ("subject", "issuer", "fingerprint_sha256", "not_after")}
