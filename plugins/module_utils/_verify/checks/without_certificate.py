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
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.rules import judge_refusal
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.workload_trial import (
    SERVED,
    Trial,
    judge_served,
    judge_shut_out,
    name_of,
    try_disguises,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import CERTIFICATE_FAMILY
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


def try_nobody(
    trial: Trial, control: Identity | None, clients: t.Sequence[Identity]
) -> tuple[list[Case], Trial | None]:
    """Return the cases, and the trial in which a client without a certificate is served, as it should be.

    ``control`` is a client that is served.
    """
    if trial.path.jwt is not None:
        return _try_tokens(trial, trial.path.jwt, clients)
    observation = trial.inspection.attempt(None)
    if trial.path.admits(None):
        outcome, text = _judge_open(observation)
        return [trial.case(_CHECK, name_of(None), outcome, text, observation)], trial if outcome in SERVED else None
    outcome, text = _judge_closed(observation)
    if control is None and outcome is Outcome.PASSED:
        outcome, text = Outcome.SKIPPED, f"{text}; not counted: no client is served here"
    cases = [trial.case(_CHECK, name_of(None), outcome, text, observation)]
    if control is not None and observation.kind is Kind.ANSWERED:
        cases += try_disguises(trial, None, control, check=_CHECK)
    return cases, None


def _judge_open(observation: Observation) -> tuple[Outcome, str]:
    if observation.kind is Kind.ALERT:
        return Outcome.FAILED, f"certificate is optional here, but the handshake needs one: {observation.text()}"
    return judge_served(observation)


def _judge_closed(observation: Observation) -> tuple[Outcome, str]:
    if observation.kind is Kind.ALERT:
        return judge_refusal(observation, expected=CERTIFICATE_FAMILY, expect_status=())
    return judge_shut_out(observation)


def _judge_untrusted(observation: Observation) -> tuple[Outcome, str]:
    """Without a token that holds: 401 of the token check, or 403 of the policy."""
    if observation.kind is Kind.ANSWERED and observation.status == 401 and not observation.is_workloads:
        return Outcome.PASSED, f"refused with {observation.text()}"
    return _judge_closed(observation)


def _try_tokens(trial: Trial, jwt: Jwt, clients: t.Sequence[Identity]) -> tuple[list[Case], Trial | None]:
    """Try the path with no token, with the user's, and with ones that nobody may take for his."""
    cases: list[Case] = []
    token = ""
    if jwt.token_file:
        try:
            token = read_bytes(expand(jwt.token_file), what="token").decode("ascii", "replace").strip()
        except MtlsError as exc:
            cases.append(trial.case(_CHECK, "with a token", Outcome.FAILED, str(exc)))
    else:
        cases.append(trial.case(_CHECK, "with a token", Outcome.SKIPPED, UNTRIED.format(issuer=jwt.issuer)))
    everybody: tuple[Identity | None, ...] = (None, *clients)
    bearers = [client for client in everybody if _admits(trial, client)][:2]
    shut_out = [client for client in everybody if not _admits(trial, client)][:2]
    served: list[Identity | None] = []
    if not trial.path.is_open and None in bearers:
        # A gateway may well refuse who has no certificate before it looks at tokens.
        observation = trial.inspection.attempt(None)
        if observation.kind is Kind.ALERT:
            cases.append(trial.case(_CHECK, name_of(None), *_judge_closed(observation), observation))
            bearers.remove(None)
    for client in bearers if token else ():
        observation = trial.bearing(token).inspection.attempt(client)
        outcome, text = judge_served(observation)
        cases.append(trial.case(_CHECK, f"{name_of(client)}, with a token", outcome, text, observation))
        if outcome in SERVED:
            served.append(client)
            trial.inspection.reference = observation.response.body if observation.response else b""
    for client in shut_out if token else ():
        observation = trial.bearing(token).inspection.attempt(client)
        outcome, text = _judge_closed(observation)
        cases.append(trial.case(_CHECK, f"{name_of(client)}, with a token", outcome, text, observation))
    for client in bearers:
        for name, wrong in {"without a token": "", **_wrong_tokens(jwt, token)}.items():
            observation = trial.bearing(wrong).inspection.attempt(client)
            outcome, text = _judge_untrusted(observation)
            if outcome is Outcome.PASSED and not served:
                outcome, text = Outcome.SKIPPED, _UNCOUNTED.format(text=text)
            cases.append(trial.case(_CHECK, f"{name_of(client)}, {name}", outcome, text, observation))
    return cases, trial.bearing(token) if None in served else None


def _admits(trial: Trial, client: Identity | None) -> bool:
    return trial.path.admits(client.certificate if client else None)


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
