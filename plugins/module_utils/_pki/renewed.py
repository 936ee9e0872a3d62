# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CA certificates of one name and key: a CA that was renewed with its old key.

Envoy takes the first certificate with the issuer's name. When that one has expired, it refuses every client, whatever
else is in the bundle. So the one to use comes first.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    Certificates = tuple[x509.Certificate, ...]


def is_same_authority(one: x509.Certificate, other: x509.Certificate) -> bool:
    """Tell whether two certificates have the same name and key."""
    return one == other or _identity(one) == _identity(other)


def best(certificates: t.Iterable[x509.Certificate], now: datetime.datetime) -> x509.Certificate:
    """Of certificates with one name and key, give the valid one that ends last."""
    return max(certificates, key=lambda one: (one.not_valid_before_utc <= now, one.not_valid_after_utc))


def ordered(certificates: t.Iterable[x509.Certificate], now: datetime.datetime) -> tuple[Certificates, list[str]]:
    """Put the best of each name and key first, without the expired ones behind it; return notes about those too."""
    kept: list[x509.Certificate] = []
    notes = []
    for group in _groups(certificates):
        first = best(group, now)
        rest = sorted((one for one in group if one != first), key=lambda one: one.not_valid_after_utc, reverse=True)
        kept.append(first)
        for one in rest:
            if one.not_valid_after_utc > now:
                kept.append(one)
                continue
            notes.append(
                f"The CA {label(one)} expired on {time_text(one.not_valid_after_utc)} and is left out: {label(first)} "
                f"has the same name and key and is valid until {time_text(first.not_valid_after_utc)}."
            )
    return tuple(kept), notes


def one_each(certificates: t.Iterable[x509.Certificate], now: datetime.datetime) -> Certificates:
    """Give only the best of each name and key."""
    return tuple(best(group, now) for group in _groups(certificates))


def _groups(certificates: t.Iterable[x509.Certificate]) -> t.Iterable[list[x509.Certificate]]:
    groups: dict[t.Any, list[x509.Certificate]] = {}
    for one in dict.fromkeys(certificates):
        groups.setdefault(_identity(one), []).append(one)
    return groups.values()


def _identity(certificate: x509.Certificate) -> t.Any:
    try:
        public_key = load.public_bytes_of(certificate.public_key())
        return names.canonical_name(certificate.subject.public_bytes()), public_key
    except PARSE_ERRORS:
        return certificate  # what cannot be read is like nothing else
