# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients that must not get in, and how each is tried (MV-24 to MV-35).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._tls import alerts
from ansible_collections.kyma.mtls.plugins.module_utils._tls.judge import judge_acceptance, judge_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._tls.revocation import is_signed_by
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._tls.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.minting import Mint

NO_AUTHORITY = "client_ca_cert and client_ca_key are not given, so no such identity can be made"
_UNMAKEABLE: tuple[type[Exception], ...] = (MtlsError, *PARSE_ERRORS)
ANY_CAUSE = alerts.CERTIFICATE_FAMILY
THROUGH_INTERMEDIATE = "through an intermediate"


@dataclass(frozen=True)
class Refusal:
    """One client that must be refused; ``expected`` are the alerts that name the right cause."""

    check: str
    name: str
    make: t.Callable[[], Identity | None]
    expected: frozenset[int]
    minted: bool = False
    accepted_is: Outcome = Outcome.FAILED


def refusals(
    mint: Mint,
    *,
    revoked: t.Sequence[Identity],
    authorities: t.Sequence[x509.Certificate],
    client_key: t.Callable[[], CertificateIssuerPrivateKeyTypes],
) -> list[Refusal]:
    """Return every client that must be refused."""
    unknown, forged = frozenset({alerts.UNKNOWN_CA}), frozenset({alerts.UNKNOWN_CA, alerts.DECRYPT_ERROR})
    # GnuTLS answers an empty certificate message in TLS 1.2 with decode_error.
    nobody = frozenset({alerts.CERTIFICATE_REQUIRED, alerts.DECODE_ERROR})
    expired, purpose = frozenset({alerts.CERTIFICATE_EXPIRED}), frozenset({alerts.UNSUPPORTED_CERTIFICATE})
    wanted = [
        Refusal("MV-24", "no certificate", lambda: None, nobody),
        Refusal("MV-25", "of another CA", mint.of_other_ca, unknown),
        Refusal("MV-26", "of a CA with the client CA's name", mint.of_impostor_ca, forged),
        Refusal("MV-26", "self-signed copy", mint.self_signed, unknown),
        Refusal("MV-27", "expired", mint.expired, expired, minted=True),
        Refusal("MV-27", "not yet valid", mint.not_yet_valid, expired, minted=True),
        Refusal("MV-28", "for servers only", mint.server_only, purpose, minted=True),
        Refusal("MV-28", "for any usage only", mint.any_usage, purpose, minted=True, accepted_is=Outcome.WARNING),
        Refusal(
            "MV-32",
            "issued by a client's certificate",
            lambda: mint.of_client_as_ca(client_key()),
            ANY_CAUSE,
        ),
        Refusal("MV-34", "RSA-1024", mint.weak_key, ANY_CAUSE, minted=True, accepted_is=Outcome.WARNING),
        Refusal("MV-34", "SHA-1", mint.sha1_signature, ANY_CAUSE, minted=True, accepted_is=Outcome.WARNING),
        Refusal("MV-35", "someone else's key", mint.with_stolen_certificate, frozenset({alerts.DECRYPT_ERROR})),
    ]
    return wanted + [
        Refusal("MV-29", one.name, functools.partial(_as_is, one), _why_revoked_is_refused(one, authorities))
        for one in revoked
    ]


def _why_revoked_is_refused(identity: Identity, authorities: t.Sequence[x509.Certificate]) -> frozenset[int]:
    """A client of a CA that is no longer trusted is refused for that, before anybody looks at lists."""
    if not authorities or any(is_signed_by(identity.chain[-1], one) for one in authorities):
        return frozenset({alerts.CERTIFICATE_REVOKED})
    return frozenset({alerts.CERTIFICATE_REVOKED, alerts.UNKNOWN_CA, alerts.DECRYPT_ERROR})


def _as_is(identity: Identity) -> Identity:
    return identity


def try_refusal(inspection: Inspection, refusal: Refusal, versions: t.Sequence[str]) -> list[Case]:
    """Try ``refusal`` in each of ``versions``."""
    try:
        identity = refusal.make()
    except _UNMAKEABLE as exc:
        return [Case(refusal.check, refusal.name, Outcome.SKIPPED, first_line(exc))]
    cases = [_try_once(inspection, refusal, identity, version) for version in versions]
    if refusal.check == "MV-24":
        # Asked for and needed are two things: without the second, the first is only an offer.
        cases += [dataclasses.replace(case, check="MV-20") for case in cases]
    return cases


def _try_once(inspection: Inspection, refusal: Refusal, identity: Identity | None, version: str) -> Case:
    observation = inspection.attempt(identity, version=version)
    outcome, text = judge_refusal(
        observation, expected=refusal.expected, expect_status=inspection.options.expect_status
    )
    if outcome is Outcome.FAILED:
        outcome = refusal.accepted_is
    return Case(refusal.check, f"{refusal.name}, {version}", outcome, text, observation.evidence())


def try_intermediate(inspection: Inspection, mint: Mint, versions: t.Sequence[str]) -> list[Case]:
    """MV-31 and the rules of MV-32 that need an intermediate CA: only where such a CA's clients get in at all."""
    name = THROUGH_INTERMEDIATE
    complete = inspection.attempt(mint.by_intermediate(name, presented=True), version=versions[-1])
    outcome, text = judge_acceptance(complete, expect_status=inspection.options.expect_status)
    if outcome is not Outcome.PASSED:
        if outcome is Outcome.FAILED:
            outcome = Outcome.SKIPPED
            text = f"a client of a throw-away intermediate CA does not get in ({text}), so this would prove nothing"
        return [
            Case("MV-31", "with the intermediate", outcome, text, complete.evidence()),
            *(Case("MV-32", one.name, Outcome.SKIPPED, text) for one in _below_intermediates(mint)),
        ]
    cases = [Case("MV-31", "with the intermediate", outcome, text, complete.evidence())]
    for refusal in (
        Refusal(
            "MV-31",
            "without the intermediate",
            lambda: mint.by_intermediate(name, presented=False),
            frozenset({alerts.UNKNOWN_CA}),
        ),
        *_below_intermediates(mint),
    ):
        cases += try_refusal(inspection, refusal, versions)
    return cases


def _below_intermediates(mint: Mint) -> tuple[Refusal, ...]:
    return (
        Refusal("MV-32", "beyond a path length", mint.beyond_path_length, ANY_CAUSE),
        Refusal("MV-32", "outside a name constraint", mint.outside_name_constraint, ANY_CAUSE),
    )
