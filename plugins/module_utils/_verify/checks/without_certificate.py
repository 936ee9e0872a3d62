# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client without a certificate reaches of a workload, with and without a token (MV-73)."""

from __future__ import annotations

import base64
import json
import secrets
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import expand, read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.path_inspection import (
    SERVED,
    PathInspection,
    check_denied,
    check_served,
    name_of,
    try_disguises,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import check_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import CLIENT_CERTIFICATE_ALERTS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import Kind, Observation

try:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import Jwt
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

_CHECK = "MV-73"
UNTRIED = "not provable here: no token of {issuer} is at hand. Name a file with one (jwt.token_file)"
_UNCOUNTED = "{text}; not counted: no token shows that anybody is served"


def try_without_certificate(
    tested: PathInspection, control: Identity | None, clients: t.Sequence[Identity]
) -> tuple[list[Case], PathInspection | None]:
    """Return the cases, and what was tested, if a client without a certificate is served, as it should be.

    ``control`` is a client that is served.
    """
    if tested.path.jwt is not None:
        return _try_tokens(tested, tested.path.jwt, clients)
    observation = tested.inspection.attempt(None)
    if tested.path.admits(None):
        outcome, text = _check_open(observation)
        return [tested.case(_CHECK, name_of(None), outcome, text, observation)], tested if outcome in SERVED else None
    outcome, text = _check_closed(observation)
    if control is None and outcome is Outcome.PASSED:
        outcome, text = Outcome.SKIPPED, f"{text}; not counted: no client is served here"
    cases = [tested.case(_CHECK, name_of(None), outcome, text, observation)]
    if control is not None and observation.kind is Kind.ANSWERED:
        cases += try_disguises(tested, None, control, check=_CHECK)
    return cases, None


def _check_open(observation: Observation) -> tuple[Outcome, str]:
    if observation.kind is Kind.ALERT:
        return Outcome.FAILED, f"certificate is optional here, but the handshake needs one: {observation.text()}"
    return check_served(observation)


def _check_closed(observation: Observation) -> tuple[Outcome, str]:
    if observation.kind is Kind.ALERT:
        return check_refusal(observation, expected=CLIENT_CERTIFICATE_ALERTS, expect_status=())
    return check_denied(observation)


def _check_untrusted(observation: Observation) -> tuple[Outcome, str]:
    """Without a token that holds: 401 of the token check, or 403 of the policy."""
    if observation.kind is Kind.ANSWERED and observation.status == 401 and not observation.is_workloads:
        return Outcome.PASSED, f"refused with {observation.text()}"
    return _check_closed(observation)


def _try_tokens(
    tested: PathInspection, jwt: Jwt, clients: t.Sequence[Identity]
) -> tuple[list[Case], PathInspection | None]:
    """Try the path with no token, with the user's, and with ones that nobody may take for his."""
    cases: list[Case] = []
    token = ""
    if jwt.token_file:
        try:
            token = read_bytes(expand(jwt.token_file), what="token").decode("ascii", "replace").strip()
        except MtlsError as exc:
            cases.append(tested.case(_CHECK, "with a token", Outcome.FAILED, str(exc)))
    else:
        cases.append(tested.case(_CHECK, "with a token", Outcome.SKIPPED, UNTRIED.format(issuer=jwt.issuer)))
    everybody: tuple[Identity | None, ...] = (None, *clients)
    bearers = [client for client in everybody if _admits(tested, client)][:2]
    denied_clients = [client for client in everybody if not _admits(tested, client)][:2]
    served: list[Identity | None] = []
    if not tested.path.is_open and None in bearers:
        # A gateway may well refuse who has no certificate before it looks at tokens.
        observation = tested.inspection.attempt(None)
        if observation.kind is Kind.ALERT:
            cases.append(tested.case(_CHECK, name_of(None), *_check_closed(observation), observation))
            bearers.remove(None)
    for client in bearers if token else ():
        observation = tested.bearing(token).inspection.attempt(client)
        outcome, text = check_served(observation)
        cases.append(tested.case(_CHECK, f"{name_of(client)}, with a token", outcome, text, observation))
        if outcome in SERVED:
            served.append(client)
            tested.inspection.reference = observation.response.body if observation.response else b""
    for client in denied_clients if token else ():
        observation = tested.bearing(token).inspection.attempt(client)
        outcome, text = _check_closed(observation)
        cases.append(tested.case(_CHECK, f"{name_of(client)}, with a token", outcome, text, observation))
    for client in bearers:
        for name, wrong in {"without a token": "", **_wrong_tokens(jwt, token)}.items():
            observation = tested.bearing(wrong).inspection.attempt(client)
            outcome, text = _check_untrusted(observation)
            if outcome is Outcome.PASSED and not served:
                outcome, text = Outcome.SKIPPED, _UNCOUNTED.format(text=text)
            cases.append(tested.case(_CHECK, f"{name_of(client)}, {name}", outcome, text, observation))
    return cases, tested.bearing(token) if None in served else None


def _admits(tested: PathInspection, client: Identity | None) -> bool:
    return tested.path.admits(client.certificate if client else None)


def _wrong_tokens(jwt: Jwt, token: str) -> dict[str, str]:
    """Return tokens that only look like the issuer's."""
    claims = {"iss": jwt.issuer, "sub": "forged", "exp": 4102444800, "aud": [jwt.issuer], "scope": "read write"}
    key = ec.generate_private_key(ec.SECP256R1())
    signed = f"{_coded({'alg': 'ES256', 'typ': 'JWT', 'kid': secrets.token_hex(4)})}.{_coded(claims)}"
    first, second = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    found = {
        "with a token that nobody signed": f"{_coded({'alg': 'none', 'typ': 'JWT'})}.{_coded(claims)}.",
        "with a token of another key": f"{signed}.{_base64(first.to_bytes(32, 'big') + second.to_bytes(32, 'big'))}",
        "with a token that is none": "nonsense",
    }
    parts = token.split(".")
    if len(parts) == 3:
        found["with the claims of a token changed"] = f"{parts[0]}.{_coded(claims)}.{parts[2]}"
    return found


def _coded(document: t.Mapping[str, t.Any]) -> str:
    return _base64(json.dumps(document).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
