# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients that must not get in, and how each is tried (MV-24 to MV-35)."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import REFUSALS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.revocation import is_signed_by
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import (
    check_acceptance,
    check_refusal,
    is_served,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import alerts
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity, key_to_pem
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import (
    ATTRIBUTES,
    THROUGH_INTERMEDIATE,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import (
        Inspection,
        ListedClient,
        VerifyOptions,
    )
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities

NO_AUTHORITY = "no CA key: client_ca_cert and its key are not given or not there, so no such identity can be made"
_UNMAKEABLE: tuple[type[Exception], ...] = (MtlsError, *PARSE_ERRORS)
ANY_CAUSE = alerts.CLIENT_CERTIFICATE_ALERTS


# An expired client is refused for its age, whatever else speaks against it.
ANY_CAUSE_BUT_EXPIRY = ANY_CAUSE - {alerts.CERTIFICATE_EXPIRED}
REVOKED_TWIN = "twin with a revoked serial number"


@dataclass(frozen=True)
class Refusal:
    """One client that must be refused; ``expected`` are the alerts that name the right cause.

    ``is_user_supplied``: somebody named it as one to try; that it cannot be tried is then a failure.
    """

    check: str
    name: str
    make: t.Callable[[], Identity | None]
    expected: frozenset[int]
    is_throw_away: bool = False
    outcome_if_accepted: Outcome = Outcome.FAILED
    is_user_supplied: bool = False

    @property
    def is_basic(self) -> bool:
        """Whether who lets this client in verifies nothing: it is tried in rare ways, and at the end, too."""
        return self.check in {"MV-24", "MV-25"}

    @property
    def selectors(self) -> tuple[str, ...]:
        """The checks that need this client."""
        return ("MV-20", "MV-24") if self.check == "MV-24" else (self.check,)


def all_refusals(throw_away: ThrowAwayIdentities, options: VerifyOptions) -> list[Refusal]:
    """Return every client that must be refused."""
    authorities = options.expected_client_cas
    unknown, forged = frozenset({alerts.UNKNOWN_CA}), frozenset({alerts.UNKNOWN_CA, alerts.DECRYPT_ERROR})
    # GnuTLS answers an empty certificate message in TLS 1.2 with decode_error.
    no_certificate = frozenset({alerts.CERTIFICATE_REQUIRED, alerts.DECODE_ERROR})
    expired, purpose = frozenset({alerts.CERTIFICATE_EXPIRED}), frozenset({alerts.UNSUPPORTED_CERTIFICATE})
    return [
        Refusal("MV-24", "no certificate", lambda: None, no_certificate),
        Refusal("MV-25", "of another CA", throw_away.of_other_ca, unknown),
        Refusal("MV-26", "of a CA with the client CA's name", throw_away.of_impostor_ca, forged),
        Refusal("MV-26", "self-signed copy", throw_away.self_signed, unknown),
        *(
            Refusal(
                "MV-26", f"same {attribute}", functools.partial(throw_away.with_same, attribute, authorities), forged
            )
            for attribute in ATTRIBUTES
        ),
        Refusal("MV-26", "same in all but the signature", lambda: throw_away.forged_in_all(authorities), forged),
        Refusal("MV-27", "expired", throw_away.expired, expired, is_throw_away=True),
        Refusal("MV-27", "not yet valid", throw_away.not_yet_valid, expired, is_throw_away=True),
        Refusal("MV-28", "for servers only", throw_away.server_only, purpose, is_throw_away=True),
        Refusal(
            "MV-28",
            "for any usage only",
            throw_away.any_usage,
            purpose,
            is_throw_away=True,
            outcome_if_accepted=Outcome.WARNING,
        ),
        Refusal(
            "MV-32",
            "issued by a client's certificate",
            lambda: throw_away.of_client_as_ca(options.client.load_key()),
            ANY_CAUSE,
        ),
        Refusal(
            "MV-34", "RSA-1024", throw_away.weak_key, ANY_CAUSE, is_throw_away=True, outcome_if_accepted=Outcome.WARNING
        ),
        Refusal(
            "MV-34",
            "SHA-1",
            throw_away.sha1_signature,
            ANY_CAUSE,
            is_throw_away=True,
            outcome_if_accepted=Outcome.WARNING,
        ),
        Refusal("MV-35", "someone else's key", throw_away.with_stolen_certificate, frozenset({alerts.DECRYPT_ERROR})),
        *_revoked(throw_away, options),
        *(
            Refusal(
                "MV-33",
                f"client {client.name}",
                functools.partial(_as_given, client, options.client),
                ANY_CAUSE_BUT_EXPIRY,
                is_user_supplied=True,
            )
            for client in options.clients
            if client.expect == "refused"
        ),
    ]


def _revoked(throw_away: ThrowAwayIdentities, options: VerifyOptions) -> t.Iterator[Refusal]:
    for client in options.revoked:
        expected = _why_revoked_is_refused(client.identity, options.client, options.expected_client_cas)
        make = functools.partial(_as_given, client, options.client)
        yield Refusal("MV-29", client.name, make, expected, is_user_supplied=True)
    for crl in options.crls:
        if len(crl) and options.authority and crl.issuer == options.authority.certificate.subject:
            # Who has the CA's key needs no revoked client: its list goes by the serial number alone.
            latest = max(crl, key=lambda entry: entry.revocation_date_utc)
            make = functools.partial(throw_away.with_serial_number, latest.serial_number)
            yield Refusal("MV-29", REVOKED_TWIN, make, frozenset({alerts.CERTIFICATE_REVOKED}), is_throw_away=True)


def _why_revoked_is_refused(
    identity: Identity | None, good: Identity, authorities: t.Sequence[x509.Certificate]
) -> frozenset[int]:
    """A client of a CA that is no longer trusted is refused for that, before anybody looks at lists."""
    if (
        not authorities
        or identity is None
        or any(is_signed_by(_completed(identity, good)[-1], authority) for authority in authorities)
    ):
        return frozenset({alerts.CERTIFICATE_REVOKED})
    return frozenset({alerts.CERTIFICATE_REVOKED, alerts.UNKNOWN_CA, alerts.DECRYPT_ERROR})


def _as_given(client: ListedClient, good: Identity) -> Identity:
    if client.identity is None:
        raise MtlsError(client.problem)
    # That it is too weak for the local OpenSSL is no reason not to try it.
    identity = dataclasses.replace(client.identity, weak=True)
    chain = _completed(identity, good)
    if len(chain) == len(identity.chain):
        return identity
    return Identity(identity.name, chain, key_pem=key_to_pem(identity.load_key()), weak=True)


def _completed(identity: Identity, good: Identity) -> tuple[x509.Certificate, ...]:
    """Return the chain with the intermediates that it lacks and the good client has.

    Without them it would be refused for that, and whoever has them sends them along.
    """
    last = identity.chain[-1]
    if last in good.chain:
        return identity.chain
    above = (good.chain[number:] for number, ca in enumerate(good.chain) if is_issued_by(last, ca))
    return (*identity.chain, *next(above, ()))


def try_refusal(inspection: Inspection, refusal: Refusal, offers: t.Sequence[TlsOffer]) -> list[Case]:
    """Try ``refusal`` in each of ``offers``."""
    try:
        identity = refusal.make()
    except _UNMAKEABLE as exc:
        outcome = Outcome.FAILED if refusal.is_user_supplied else Outcome.SKIPPED
        text = f"could not be tried: {first_line(exc)}" if refusal.is_user_supplied else first_line(exc)
        return [Case(refusal.check, refusal.name, outcome, text)]
    return _of_each_check(refusal, [_try_once(inspection, refusal, identity, offer) for offer in offers])


def try_where_unserved(inspection: Inspection, refusal: Refusal, offer: TlsOffer) -> list[Case]:
    """Try ``refusal`` in a way in which the good client is not served: that anybody else is, is a hole, too."""
    observation = offer.attempt(inspection, refusal.make())
    # Under another name, another site may answer as well.
    is_expected = offer.server_name == "" and is_served(observation, inspection.options.expect_status)
    if not is_expected and not observation.is_workloads:
        return []
    text = f"not refused: {observation.text()}"
    case = Case(refusal.check, f"{refusal.name}, {offer}", Outcome.FAILED, text, observation.evidence())
    return _of_each_check(refusal, [case])


def _of_each_check(refusal: Refusal, cases: list[Case]) -> list[Case]:
    """A CertificateRequest alone makes no certificate mandatory: where a client without one is let in, MV-20 fails."""
    again = [dataclasses.replace(case, check="MV-20") for case in cases] if refusal.check == "MV-24" else []
    return [*cases, *again]


def _try_once(inspection: Inspection, refusal: Refusal, identity: Identity | None, offer: TlsOffer) -> Case:
    observation = offer.attempt(inspection, identity)
    outcome, text = check_refusal(
        observation, expected=refusal.expected, expect_status=inspection.options.expect_status
    )
    if outcome is Outcome.FAILED:
        outcome = refusal.outcome_if_accepted
    elif refusal.is_user_supplied and observation.kind is Kind.LOCAL:
        outcome = Outcome.FAILED
    elif outcome in {Outcome.PASSED, Outcome.WARNING} and _is_given_and_out_of_date(refusal, identity, inspection):
        # Nobody can tell for what else it was refused. What is revoked needs no refusal of its own any more.
        text = f"{text}; but its certificate is not valid now, so this says nothing about a valid one"
        outcome = Outcome.SKIPPED if refusal.check == "MV-29" else Outcome.FAILED
    return Case(refusal.check, f"{refusal.name}, {offer}", outcome, text, observation.evidence())


def _is_given_and_out_of_date(refusal: Refusal, identity: Identity | None, inspection: Inspection) -> bool:
    if not refusal.is_user_supplied or identity is None:
        return False
    certificate = identity.certificate
    return not certificate.not_valid_before_utc <= inspection.options.now <= certificate.not_valid_after_utc


def try_intermediate(
    inspection: Inspection, throw_away: ThrowAwayIdentities, offers: t.Sequence[TlsOffer]
) -> list[Case]:
    """MV-31 and the rules of MV-32 that need an intermediate CA: only where such a CA's clients get in at all."""
    name = THROUGH_INTERMEDIATE
    complete = offers[0].attempt(inspection, throw_away.by_intermediate(name, presented=True))
    outcome, text = check_acceptance(complete, expect_status=inspection.options.expect_status)
    if outcome is not Outcome.PASSED:
        if outcome is Outcome.FAILED:
            outcome = Outcome.SKIPPED
            text = f"throw-away intermediate CAs are not accepted: {text}, so this would prove nothing"
        return [
            Case("MV-31", "with the intermediate", outcome, text, complete.evidence()),
            *(Case("MV-32", refusal.name, Outcome.SKIPPED, text) for refusal in below_intermediates(throw_away)),
        ]
    cases = [Case("MV-31", "with the intermediate", Outcome.PASSED, text, complete.evidence())]
    for refusal in (
        Refusal(
            "MV-31",
            "without the intermediate",
            lambda: throw_away.by_intermediate(name, presented=False),
            frozenset({alerts.UNKNOWN_CA}),
        ),
        *below_intermediates(throw_away),
    ):
        cases += try_refusal(inspection, refusal, offers)
    return cases


def below_intermediates(throw_away: ThrowAwayIdentities) -> tuple[Refusal, ...]:
    return (
        Refusal("MV-32", "beyond a path length", throw_away.beyond_path_length, ANY_CAUSE),
        Refusal("MV-32", "outside a name constraint", throw_away.outside_name_constraint, ANY_CAUSE),
    )


def skip_throw_away(throw_away: ThrowAwayIdentities, options: VerifyOptions, problem: str) -> list[Case]:
    """Return the refusals of throw-away identities, skipped for ``problem``."""
    untried = [refusal for refusal in all_refusals(throw_away, options) if refusal.is_throw_away]
    return [
        *(Case(refusal.check, refusal.name, Outcome.SKIPPED, problem) for refusal in untried),
        *(Case(refusal.check, refusal.name, Outcome.SKIPPED, problem) for refusal in below_intermediates(throw_away)),
        *(Case(check, "throw-away identities", Outcome.SKIPPED, problem) for check in ("MV-31", "MV-42")),
    ]


def skip_all(problem: str) -> list[Case]:
    """Return every check that is a refusal, skipped for ``problem``."""
    return [Case(check, "refusals", Outcome.SKIPPED, problem) for check in sorted(REFUSALS)]
