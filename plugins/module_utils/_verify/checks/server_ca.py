# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the server takes certificates of its own CA for client certificates (MV-22).

That CA need not be among the names that the server asks for: nginx's ssl_trusted_certificate is trusted and not named,
and so is the CA in a Secret's ca.crt on Istio. Without the CA's key it can be told from servers that judge a client's
chain before its signature: the server's own chain with a key that does not belong to it is then refused for the
signature (or the purpose) where the chain is trusted, and for the chain where it is not.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.refusals import Refusal, try_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import is_served
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import alerts
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.mismatched_key import key_with_wrong_secret
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import (
    SERVER_CA_CLIENT,
    ThrowAwayIdentities,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import name_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import key_matches
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.offers import TlsOffer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Observation

_TRUST = "the server's own CA"
_UNMAKEABLE: tuple[type[Exception], ...] = (MtlsError, *PARSE_ERRORS)
# Alerts that a server sends only when it has found the chain to be trusted.
_AFTER_THE_CHAIN = frozenset(
    {
        alerts.UNSUPPORTED_CERTIFICATE,
        alerts.CERTIFICATE_REVOKED,
        alerts.CERTIFICATE_EXPIRED,
        alerts.DECRYPT_ERROR,
    }
)


def try_server_ca(
    inspection: Inspection,
    throw_away: ThrowAwayIdentities,
    chain: t.Sequence[x509.Certificate],
    offers: t.Sequence[TlsOffer],
) -> list[Case]:
    """Try in each of ``offers`` whether the CA above the presented ``chain`` is trusted for clients."""
    if not chain:
        return []
    if shared := _shared_ca(inspection, chain):
        text = f"clients and server have the same CA ({shared}): every server of it could log in as a client"
        return [Case("MV-22", _TRUST, Outcome.WARNING, text)]
    cases = [*_try_wrong_keys(inspection, throw_away, chain, offers), *_try_real_client(inspection, chain, offers)]
    decided = [case for case in cases if case.outcome is not Outcome.SKIPPED]
    return decided or cases


def find_trust(
    inspection: Inspection,
    throw_away: ThrowAwayIdentities,
    chain: t.Sequence[x509.Certificate],
    offers: t.Sequence[TlsOffer],
) -> list[Case]:
    """Where the good client is refused: perhaps because the server's CA stands in the client CAs' place."""
    found = try_server_ca(inspection, throw_away, chain, offers)
    return [case for case in found if case.outcome is Outcome.FAILED]


def _shared_ca(inspection: Inspection, chain: t.Sequence[x509.Certificate]) -> str:
    """Return the CA that clients and server have in common by intention, "" when they have none."""
    expected = {ca.subject for ca in inspection.options.expected_client_cas}
    expected = expected or {inspection.options.client.chain[-1].issuer}
    return next((name_text(certificate.issuer) for certificate in chain if certificate.issuer in expected), "")


def _try_wrong_keys(
    inspection: Inspection,
    throw_away: ThrowAwayIdentities,
    chain: t.Sequence[x509.Certificate],
    offers: t.Sequence[TlsOffer],
) -> list[Case]:
    """First a stranger's chain, as a control, then the server's own: both with keys that are not theirs."""
    try:
        stranger = _with_wrong_key("a stranger with a wrong key", throw_away.of_other_ca().chain)
        server = _with_wrong_key("the server's certificate with a wrong key", chain)
    except _UNMAKEABLE as exc:
        text = f"whether {_TRUST} is trusted was not tried: {first_line(exc)}"
        return [Case("MV-22", _TRUST, Outcome.SKIPPED, text)]
    cases = []
    for offer in offers:
        control, own = offer.attempt(inspection, stranger), offer.attempt(inspection, server)
        outcome, text = _check_trust(control, own, inspection.options.expect_status)
        cases.append(Case("MV-22", f"{_TRUST}, {offer}", outcome, text, own.evidence()))
    return cases


def _with_wrong_key(name: str, chain: t.Sequence[x509.Certificate]) -> Identity:
    return Identity(name, tuple(chain), key_pem=key_with_wrong_secret(chain[0].public_key()))


def _check_trust(control: Observation, own: Observation, expect_status: t.Collection[int]) -> tuple[Outcome, str]:
    if own.seen.certificate_request is False:
        return Outcome.SKIPPED, "the server asks for no client certificate"
    for observation in (control, own):
        if is_served(observation, expect_status):
            return Outcome.FAILED, f"a certificate gets in without its key: {observation.text()}"
    if control.alert != alerts.UNKNOWN_CA:
        text = f"the server does not check a chain before the signature ({control.text()})"
        return Outcome.SKIPPED, f"whether {_TRUST} is trusted, too, cannot be decided: {text}; give server_ca_key"
    if own.alert == alerts.UNKNOWN_CA:
        return Outcome.PASSED, f"{_TRUST} is not trusted for clients: {own.text()}"
    if own.alert in _AFTER_THE_CHAIN:
        return Outcome.FAILED, (
            f"{_TRUST} is trusted for clients: its chain was accepted, and only then refused, with {own.text()} "
            f"(a stranger's chain gets {control.text()})"
        )
    return Outcome.SKIPPED, f"whether {_TRUST} is trusted, too, cannot be decided: {own.text()}"


def _try_real_client(
    inspection: Inspection, chain: t.Sequence[x509.Certificate], offers: t.Sequence[TlsOffer]
) -> list[Case]:
    """With the key of the server's CA, or a kit: a client of that CA, which must be refused."""
    options = inspection.options
    client = options.kit.server_ca_client if options.kit is not None else None
    if options.kit is None and options.server_ca_key is not None:
        key = options.server_ca_key
        issuer = next(
            (certificate for certificate in (*chain[1:], *options.server_cas) if key_matches(certificate, key)), None
        )
        if issuer is None:
            text = "server_ca_key belongs to no certificate of the served chain and to none of ca"
            return [Case("MV-22", _TRUST, Outcome.SKIPPED, text)]
        client = ThrowAwayIdentities(options.client, IssuingCa.of(issuer, key), now=options.now).twin(SERVER_CA_CLIENT)
    if client is None:
        return []
    refusal = Refusal("MV-22", client.name, lambda: client, frozenset({alerts.UNKNOWN_CA}))
    return try_refusal(inspection, refusal, offers)
