# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layout of a Secret that Istio's gateway reads.

Source: Istio's key formats. A certificate is in ``tls.crt`` and ``tls.key``, or in ``cert`` and ``key``; client CAs are
in ``cacert`` with the CRL in ``crl``, or in ``ca.crt`` with the CRL in ``ca.crl``. The pairs do not mix: a CRL under
the other pair's name is silently not used, and no status reports it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

CERTIFICATE_KEYS = (("tls.crt", "tls.key"), ("cert", "key"))
AUTHORITY_KEYS = (("cacert", "crl"), ("ca.crt", "ca.crl"))
KNOWN_KEYS = frozenset(key for pair in (*CERTIFICATE_KEYS, *AUTHORITY_KEYS) for key in pair)
# Kubernetes' own bound on the data of one Secret, decoded (ValidateSecret in its sources).
MAX_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Secret:
    """A Kubernetes Secret with its data decoded; never printed with it."""

    name: str
    namespace: str
    data: t.Mapping[str, bytes] = dataclasses.field(repr=False)
    for_gateway: bool = True
    replaces: str = ""
    """Name of the Secret whose place it takes."""

    @property
    def label(self) -> str:
        return f"Secret {self.namespace}/{self.name}"

    def certificate_keys(self) -> tuple[str, str] | None:
        """Return the names of the chain and its key in the data, None when this Secret holds no certificate."""
        return next((pair for pair in CERTIFICATE_KEYS if all(key in self.data for key in pair)), None)

    def authority_keys(self) -> tuple[str, str] | None:
        """Return the names of the client CAs and their CRLs in the data, None when this Secret holds no client CAs."""
        return next((pair for pair in AUTHORITY_KEYS if pair[0] in self.data), None)

    def certificate(self) -> tuple[bytes, bytes] | None:
        """Return (chain, key) in PEM, None when this Secret holds no certificate."""
        names = self.certificate_keys()
        return (self.data[names[0]], self.data[names[1]]) if names else None

    def authorities(self) -> tuple[bytes, bytes | None] | None:
        """Return (client CAs, CRLs or None) in PEM, None when this Secret holds no client CAs."""
        names = self.authority_keys()
        return (self.data[names[0]], self.data.get(names[1])) if names else None


def check_layout(secret: Secret) -> None:
    """Refuse a layout that Istio would read otherwise than it looks.

    Raises MtlsError naming the Secret and its keys.
    """
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


def too_large(secret: Secret) -> str:
    """Why a cluster would not take the Secret for its size, and what to do; "" when it would."""
    size = sum(map(len, secret.data.values()))
    if size <= MAX_BYTES:
        return ""
    largest = max(secret.data, key=lambda key: len(secret.data[key]))
    text = (
        f"{secret.label} has {_mebibytes(size)} of data, {_mebibytes(len(secret.data[largest]))} of it in {largest}, "
        "but Kubernetes takes no Secret of more than 1 MiB."
    )
    if largest not in {crl for _authorities, crl in AUTHORITY_KEYS}:
        return text
    return (
        f"{text} The list holds too many serial numbers for one gateway. Rotate the client CA (rotate=client_ca): the "
        "list of the next one begins empty, without those that have expired. Or divide the clients among gateways with "
        "client CAs of their own, or let certificates live for days only (client_pki_days) and expire instead of being "
        "revoked."
    )


def _mebibytes(size: int) -> str:
    return f"{size / MAX_BYTES:.2f} MiB"
