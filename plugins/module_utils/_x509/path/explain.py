# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why no chain was found: which link is missing, what was looked for, what was there instead."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert

REFUSED_BELOW = "the certificate below it"  # how a reason begins that is really another certificate's
_MAX_LINKS = 3
_MAX_CANDIDATES = 5


@dataclasses.dataclass(frozen=True)
class MissingLink:
    """A certificate whose issuer was not found, and the certificates with the issuer's name that did not fit."""

    cert: Cert
    same_name: tuple[Cert, ...]


def missing_link_text(link: MissingLink, reasons: t.Mapping[Cert, str]) -> str:
    """Return what was looked for above one certificate, what was found, and what to do."""
    cert = link.cert
    issuer = describe.issuer_text(cert.certificate)
    search = f"looked for the issuer of {cert.label}: a CA named {issuer!r}"
    if cert.authority_key_id is not None:
        search += f" (key identifier {cert.authority_key_id.hex()})"
    others = [other for other in link.same_name if other != cert]
    if not others:
        if cert.self_issued:
            return f"{cert.label} is self-issued and not among the roots. Add it to the roots if you trust it"
        return f"{search}. Nothing with that name is among the candidates and roots. Add that CA's certificate"
    shown = [
        f"{other.label} does not fit: {reasons.get(other, 'it leads to no root')}" for other in others[:_MAX_CANDIDATES]
    ]
    if len(others) > _MAX_CANDIDATES:
        shown.append(f"and {len(others) - _MAX_CANDIDATES} more")
    return f"{search}. Found: {'; '.join(shown)}. Add a CA certificate of that name that fits"


def failure_text(
    leaf: Cert,
    *,
    links: t.Sequence[MissingLink],
    reasons: t.Mapping[Cert, str],
    path_reasons: t.Mapping[Cert, str],
    stopped_by: str,
) -> str:
    """Return the whole message of a search that found nothing."""
    if stopped_by:
        parts = [
            f"The search for a chain from {leaf.label} to a root was stopped without a result: {stopped_by}. "
            "Give fewer candidates, only those that belong to this chain"
        ]
    else:
        parts = [f"No valid chain leads from {leaf.label} to a root"]
    if leaf in path_reasons:
        parts.append(f"{leaf.label} itself is refused: {path_reasons[leaf]}")
    own = [cert for cert, reason in path_reasons.items() if cert != leaf and not reason.startswith(REFUSED_BELOW)]
    refused = sorted(own, key=lambda cert: cert.fingerprint)
    parts += [f"{cert.label} is refused: {path_reasons[cert]}" for cert in refused[:_MAX_CANDIDATES]]
    if path_reasons:
        parts.append("Renew or replace what is refused, or add another way to a root")
    if leaf not in path_reasons:
        parts += [missing_link_text(link, reasons)[:4000] for link in links[:_MAX_LINKS]]
    if not (links or path_reasons or stopped_by):
        parts.append("The candidates issued each other in a circle and none of them is among the roots")
    elif len(links) > _MAX_LINKS:
        parts.append(f"{len(links) - _MAX_LINKS} more links are missing on other ways")
    return ". ".join(part[:1].upper() + part[1:] for part in parts) + "."
