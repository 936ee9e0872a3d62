# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is about to be published, against what the gateway has: revocation must not go backwards unnoticed.

A PKI that was restored from an old backup, or a list fetched from a stale mirror, would let revoked clients in again.
"""

from __future__ import annotations

import typing as t

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import crls, pem
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_crl_of, same_authority

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret

OPTION = "accept_older_crl"
VARIABLE = "gateway_accept_older_crl"
SHOWN_SERIALS = 5


def refuse_older(current: Secret | None, desired: Secret, *, accept: bool) -> list[str]:
    """Refuse to replace ``current``, which the gateway has, by ``desired`` when a revocation would be lost.

    With ``accept`` it is not refused, and what is lost is returned, to be shown as warnings.
    Raises MtlsError naming the CA, the numbers of the lists and the serial numbers.
    """
    losses = _losses(current, desired) if current is not None else []
    if losses and not accept:
        raise MtlsError(
            f"{desired.label}: {' '.join(losses)} Was the PKI restored from a backup, or is the file an older copy? "
            "Put the newest list there (the gateway has it), or revoke these clients again. If they are to get in "
            f"again, set {OPTION} (role variable {VARIABLE}) for one run. Nothing was changed."
        )
    return [f"{desired.label}: {loss} It is published all the same ({OPTION})." for loss in losses]


def missing_crl(current: Secret | None, desired: Secret) -> str | None:
    """Return the name of the list's key when ``desired`` has a list where ``current`` has CAs alone; else None."""
    names = desired.authority_keys()
    if current is None or names is None or names[1] not in desired.data:
        return None
    has = current.authority_keys()
    return names[1] if has is not None and has[1] not in current.data else None


def _losses(current: Secret, desired: Secret) -> list[str]:
    had, lists = _content(current)
    has, desired_lists = _content(desired)
    # Lists of a CA that is no longer trusted are of no use to anybody.
    kept = [ca for ca in had if any(same_authority(ca, other) for other in has)]
    found = []
    for crl in lists:
        signers = [ca for ca in had if is_crl_of(crl, ca)]
        if signers and not any(ca in kept for ca in signers):
            continue
        successor = next((later for later in desired_lists if crls.same_scope(crl, later, [*had, *has])), None)
        loss = _loss(crl, successor) if has else None
        if loss:
            found.append(loss)
    return found


def _loss(crl: crls.Crl, successor: crls.Crl | None) -> str | None:
    issuer = describe.name_text(crl.issuer)
    revoked = _revoked(crl)
    if successor is None:
        if not revoked:
            return None
        return f"the gateway has a CRL of {issuer} ({crls.title(crl)}) with {_listed(revoked)}; now there is none."
    gone = revoked - _revoked(successor)
    numbers = crls.number(crl), crls.number(successor)
    is_lower = numbers[0] is not None and numbers[1] is not None and numbers[1] < numbers[0]
    is_earlier = None in numbers and successor.last_update_utc < crl.last_update_utc
    if not (gone or is_lower or is_earlier):
        return None
    lost = f", in which {_listed(gone)} would no longer be revoked" if gone else ""
    return (
        f"the gateway has a CRL of {issuer} ({crls.title(crl)}); the one that is to replace it "
        f"({crls.title(successor)}) is {'older' if is_lower or is_earlier else 'another'}{lost}."
    )


def _revoked(crl: crls.Crl) -> set[int]:
    """Return the serial numbers that are revoked for good; what is only on hold may be released."""
    found = set()
    for entry in crl:
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except (x509.ExtensionNotFound, ValueError):
            reason = x509.ReasonFlags.unspecified
        if reason not in (x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl):
            found.add(entry.serial_number)
    return found


def _listed(serials: t.Collection[int]) -> str:
    shown = [f"{serial:x}" for serial in sorted(serials)[:SHOWN_SERIALS]]
    more = f" and {len(serials) - len(shown)} more" if len(serials) > len(shown) else ""
    return f"serial number{'s' if len(serials) > 1 else ''} {', '.join(shown)}{more}"


def _content(secret: Secret) -> tuple[list[x509.Certificate], list[crls.Crl]]:
    """Return the client CAs and lists in ``secret``; what cannot be read there, the gateway does not have."""
    found = pem.PemContent((), (), None), pem.PemContent((), (), None)
    given = secret.authorities()
    if given is not None:
        found = (_read(given[0]), _read(given[1] or b""))
    return list(found[0].certificates), [*found[0].crls, *found[1].crls]


def _read(data: bytes) -> pem.PemContent:
    try:
        return pem.read(data, source="", what="")
    except MtlsError:
        return pem.PemContent((), (), None)
