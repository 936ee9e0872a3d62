# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateway trusts: a file of CA certificates, among them the root of the clients.

It is created from the root CA, or from both while CAs are rotated. CAs that somebody has added to it stay.

Of the certificates of one CA, which has been renewed with its key, Envoy takes the first. When that one has expired, it
refuses every client, whatever else is in the bundle. So the one that ends last comes first.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import (
    der_of,
    fingerprint_sha256,
    label,
    name_text,
    pem_of,
    time_text,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_self_issued, same_authority

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

    Certificates = tuple[x509.Certificate, ...]

_AGAIN = "to have it written again with the existing CAs, then add the further CAs that were in it."


def plan_bundle(state: PkiState, root_path: Path, *, roots: t.Sequence[Path], now: datetime.datetime) -> None:
    """Plan the bundle when it is missing, or when a CA in it was renewed.

    ``roots`` are those of a new bundle: while CAs are rotated, two. Raises MtlsError when the one that is there is
    damaged or does not hold the root of ``root_path``.
    """
    path = state.trust_bundle
    root = state.certificate(root_path)
    if not state.exists(path):
        is_again = root_path.exists()
        of_what = f"again of {', '.join(map(str, roots))}" if is_again else "of the root CA"
        advice = " Add further CAs that were in it again." if is_again else ""
        state.actions.append(f"Make {path} {of_what}.{advice}")
        state.write(path, pem(dict.fromkeys(map(state.certificate, roots))))
        return
    present = read_bundle(state)
    if not any(same_authority(root, ca) for ca in present):
        first = present[0]
        raise MtlsError(
            f"{path} trusts {name_text(first.subject)} (SHA-256 {fingerprint_sha256(first)}), but not the root CA of "
            f"the clients in {root_path}. Remove the file {_AGAIN}"
        )
    trusted, notes = ordered((*present, root), now)
    state.notes += notes
    if trusted != present:
        state.actions.append(
            f"Rewrite {path}: of CA certificates with one name and key, the one that ends last comes first."
        )
        state.write(path, pem(trusted))


def read_bundle(state: PkiState) -> Certificates:
    """Return the CAs in the bundle; raises MtlsError that says what to do when it is damaged or missing."""
    path = state.trust_bundle
    state.require(path, what="bundle of CAs")
    try:
        return state.certificates(path)
    except MtlsError as exc:
        raise MtlsError(f"What the gateway trusts is damaged: {exc} Remove {path} {_AGAIN}") from exc


def change_bundle(
    state: PkiState, *, add: x509.Certificate | None = None, drop: x509.Certificate | None = None
) -> None:
    """Plan one CA more in what the gateway trusts, or one less. Others, which somebody has added, stay."""
    path = state.trust_bundle
    if add is None and not state.exists(path):
        return  # what is made in its place is made of the CAs that are left
    present = read_bundle(state)
    trusted = [ca for ca in present if ca != drop]
    if add is not None and add not in present:
        trusted.append(add)
    if trusted == list(present):
        return
    if add is not None:
        state.actions.append(f"Add {label(add)} to {path}.")
    elif drop is not None:
        state.actions.append(f"Drop {label(drop)} from {path}.")
    state.write(path, pem(trusted))


def pem(certificates: t.Iterable[x509.Certificate]) -> bytes:
    """Give the text of a bundle."""
    return "".join(map(pem_of, certificates)).encode()


def best(certificates: t.Iterable[x509.Certificate], now: datetime.datetime) -> x509.Certificate:
    """Of certificates with one name and key, give the valid one that ends last, a root before a cross-certificate."""

    def rank(certificate: x509.Certificate) -> tuple[bool, bool, bool, datetime.datetime]:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return start <= now, now < end, is_self_issued(certificate), end

    return max(certificates, key=rank)


def ordered(certificates: t.Iterable[x509.Certificate], now: datetime.datetime) -> tuple[Certificates, list[str]]:
    """Put the best of each name and key first, without the expired ones behind it; return notes about those too."""
    kept: list[x509.Certificate] = []
    notes = []
    for group in _groups(certificates):
        first = best(group, now)
        rest = sorted((ca for ca in group if ca != first), key=lambda ca: ca.not_valid_after_utc, reverse=True)
        kept.append(first)
        for ca in rest:
            if ca.not_valid_after_utc > now:
                kept.append(ca)
                continue
            notes.append(
                f"The CA {label(ca)} expired on {time_text(ca.not_valid_after_utc)} and is left out: {label(first)} "
                f"has the same name and key and is valid until {time_text(first.not_valid_after_utc)}."
            )
    return tuple(kept), notes


def one_each(certificates: t.Iterable[x509.Certificate], now: datetime.datetime) -> Certificates:
    """Give only the best of each name and key."""
    return tuple(best(group, now) for group in _groups(certificates))


def _groups(certificates: t.Iterable[x509.Certificate]) -> t.Iterable[list[x509.Certificate]]:
    groups: dict[t.Hashable, list[x509.Certificate]] = {}
    for certificate in dict.fromkeys(certificates):
        groups.setdefault(_identity(certificate), []).append(certificate)
    return groups.values()


def _identity(certificate: x509.Certificate) -> t.Hashable:
    parts = der.certificate_parts(der_of(certificate))
    try:
        return names.canonical_name(parts.subject), parts.spki
    except ValueError:
        return parts.subject, parts.spki
