# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the server takes certificates of its own CA for client certificates (MV-22).

That CA need not be among the names that the server asks for: nginx's ssl_trusted_certificate is trusted and not named,
and so is the CA in a Secret's ca.crt on Istio. Without the CA's key it can be told from servers that judge a client's
chain before its signature: the server's own chain with a key that does not belong to it is then refused for the
signature (or the purpose) where the chain is trusted, and for the chain where it is not.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._tls import alerts
from ansible_collections.kyma.mtls.plugins.module_utils._tls.identity import Identity
from ansible_collections.kyma.mtls.plugins.module_utils._tls.judge import judge_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._tls.minting import Authority, Mint
from ansible_collections.kyma.mtls.plugins.module_utils._tls.miskey import key_with_wrong_secret
from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Case, Kind, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import name_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import key_matches
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._tls.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Observation

_TRUST = "the server's own CA"
_UNMAKEABLE: tuple[type[Exception], ...] = (MtlsError, *PARSE_ERRORS)
SERVER_CA_CLIENT = "a client of the server's CA"
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
    inspection: Inspection, mint: Mint, chain: t.Sequence[x509.Certificate], versions: t.Sequence[str]
) -> list[Case]:
    """Try in each of ``versions`` whether the CA above the presented ``chain`` is trusted for clients."""
    if not chain:
        return []
    if shared := _shared_ca(inspection, chain):
        text = f"clients and server have the same CA ({shared}): every server of it could log in as a client"
        return [Case("MV-22", _TRUST, Outcome.WARNING, text)]
    cases = [_try_wrong_key(inspection, mint, chain, version) for version in versions]
    cases += _try_real_client(inspection, chain, versions)
    decided = [case for case in cases if case.outcome is not Outcome.SKIPPED]
    return decided or cases


def _shared_ca(inspection: Inspection, chain: t.Sequence[x509.Certificate]) -> str:
    """Return the CA that clients and server have in common by intention, "" when they have none."""
    expected = {one.subject for one in inspection.options.expected_client_cas}
    expected = expected or {inspection.options.client.chain[-1].issuer}
    return next((name_text(one.issuer) for one in chain if one.issuer in expected), "")


def _try_wrong_key(inspection: Inspection, mint: Mint, chain: t.Sequence[x509.Certificate], version: str) -> Case:
    """First a stranger's chain, as a control, then the server's own: both with keys that are not theirs."""
    name = f"{_TRUST}, {version}"
    stranger = mint.of_other_ca().chain
    try:
        control = inspection.attempt(_with_wrong_key("a stranger with a wrong key", stranger), version=version)
        own = inspection.attempt(_with_wrong_key("the server's certificate with a wrong key", chain), version=version)
    except _UNMAKEABLE as exc:
        return Case("MV-22", name, Outcome.SKIPPED, f"whether {_TRUST} is trusted was not tried: {first_line(exc)}")
    return Case("MV-22", name, *_judge(control, own, inspection.options.expect_status), own.evidence())


def _with_wrong_key(name: str, chain: t.Sequence[x509.Certificate]) -> Identity:
    return Identity(name, tuple(chain), key_pem=key_with_wrong_secret(chain[0].public_key()))


def _judge(control: Observation, own: Observation, expect_status: t.Collection[int]) -> tuple[Outcome, str]:
    if own.seen.certificate_request is False:
        return Outcome.SKIPPED, "the server asks for no client certificate"
    for observation in (control, own):
        if observation.kind is Kind.ANSWERED and observation.status in expect_status:
            return Outcome.FAILED, f"a certificate gets in without its key: {observation.text()}"
    if control.alert != alerts.UNKNOWN_CA:
        text = f"the server does not judge a chain before the signature ({control.text()})"
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
    inspection: Inspection, chain: t.Sequence[x509.Certificate], versions: t.Sequence[str]
) -> list[Case]:
    """With the key of the server's CA: a client of it, which must be refused."""
    options = inspection.options
    if options.kit is not None:
        client = options.kit.server_ca_client
        return [] if client is None else _try_client(inspection, client, versions)
    if options.server_ca_key is None:
        return []
    issuer = next((one for one in (*chain[1:], *options.server_cas) if key_matches(one, options.server_ca_key)), None)
    if issuer is None:
        text = "server_ca_key belongs to no certificate of the served chain and to none of ca"
        return [Case("MV-22", _TRUST, Outcome.SKIPPED, text)]
    authority = Authority.of(issuer, options.server_ca_key)
    return _try_client(inspection, Mint(options.client, authority, now=options.now).twin(SERVER_CA_CLIENT), versions)


def _try_client(inspection: Inspection, client: Identity, versions: t.Sequence[str]) -> list[Case]:
    options = inspection.options
    cases = []
    for version in versions:
        observation = inspection.attempt(client, version=version)
        outcome, text = judge_refusal(
            observation, expected=frozenset({alerts.UNKNOWN_CA}), expect_status=options.expect_status
        )
        if outcome is Outcome.FAILED:
            text = f"{_TRUST} is trusted for clients: a client certificate of it was {text}"
        cases.append(Case("MV-22", f"{client.name}, {version}", outcome, text, observation.evidence()))
    return cases
