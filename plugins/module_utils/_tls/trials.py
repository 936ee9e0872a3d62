# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is tried beside refusals: names, plain HTTP, resumption and identity headers (MV-05, 06, 40 to 42, 50, 51).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import secrets
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._tls import connection, expectations, headers
from ansible_collections.kyma.mtls.plugins.module_utils._tls.judge import (
    REDIRECTS,
    judge_misdirected,
    judge_plain,
    judge_refusal,
)
from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Case, Kind, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._tls.request import build_request
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.inspection import Inspection
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.minting import Mint
    from ansible_collections.kyma.mtls.plugins.module_utils._tls.model import Observation

UNKNOWN_NAME = "unrelated.invalid"
_CANARY = "X-Kyma-Mtls-Canary"
_OVERSIZE = 12 * 1024


def sibling_of(host: str) -> str:
    """Return another name beside ``host``, in the same domain."""
    _label, dot, parent = host.partition(".")
    return f"elsewhere.{parent}" if dot else f"elsewhere-{host}"


def try_wrong_names(inspection: Inspection) -> list[Case]:
    """MV-50 and MV-51. Reached without a certificate is a hole; reached with one is a warning."""
    options, own = inspection.options, inspection.target.authority
    if parse_ip(inspection.target.host) is not None:
        reason = "the host is an IP address: there is no SNI to go by"
        return [Case(check, "names", Outcome.SKIPPED, reason) for check in ("MV-50", "MV-51")]
    good, sibling = options.client, sibling_of(inspection.target.host)
    trials: list[tuple[str, str, Identity | None, str | None, str]] = [
        ("MV-50", "Host of another site, with a certificate", good, "", UNKNOWN_NAME),
        ("MV-50", "SNI of another site, with a certificate", good, UNKNOWN_NAME, own),
        ("MV-50", "SNI of another site, without a certificate", None, UNKNOWN_NAME, own),
        ("MV-50", "SNI of a neighbour, without a certificate", None, sibling, own),
        ("MV-51", "no SNI, with a certificate", good, None, own),
        ("MV-51", "no SNI, without a certificate", None, None, own),
        ("MV-51", "unknown SNI and Host, with a certificate", good, UNKNOWN_NAME, UNKNOWN_NAME),
    ]
    cases = []
    for check, name, identity, server_name, host in trials:
        if check not in options.checks:
            continue
        observation = inspection.attempt(identity, server_name=server_name, host=host)
        outcome, text = judge_misdirected(observation, expect_status=options.expect_status)
        if outcome is Outcome.FAILED and identity is not None:
            outcome, text = Outcome.WARNING, f"{text} (to a client with a good certificate)"
        cases.append(Case(check, name, outcome, text, observation.evidence()))
    return cases


def try_plain_http(inspection: Inspection) -> list[Case]:
    """MV-06: on the TLS port, and on port 80 of the real address when the URL has the default port."""
    observation = inspection.knock()
    outcome, text = judge_plain(observation)
    cases = [Case("MV-06", "on the TLS port", outcome, text, observation.evidence())]
    target = inspection.target
    if target.explicit_address or target.port != 443:
        return cases
    request = build_request(method="GET", path=target.path, authority=target.host)
    observation = connection.knock((target.host, 80), request, timeout=min(inspection.options.timeout, 3.0))
    if observation.kind in {Kind.UNREACHABLE, Kind.TIMEOUT}:
        outcome, text = Outcome.PASSED, "closed"
    elif observation.status in REDIRECTS and _redirects_to_https(observation):
        outcome, text = Outcome.PASSED, f"HTTP {observation.status} to https"
    else:
        outcome, text = judge_plain(observation)
    return [*cases, Case("MV-06", "on port 80", outcome, text, observation.evidence())]


def _redirects_to_https(observation: Observation) -> bool:
    pairs = observation.response.headers if observation.response else ()
    return any(name.lower() == "location" and value.lower().startswith("https://") for name, value in pairs)


def try_resumption(inspection: Inspection, version: str) -> list[Case]:
    """MV-05: the good client resumes its session; nobody else's session opens the door."""
    good = inspection.options.client
    first = inspection.attempt(good, version=version, keep_session=True)
    if first.kind is not Kind.ANSWERED:
        return [Case("MV-05", f"session, {version}", Outcome.OUTAGE, first.text(), first.evidence())]
    cases = [_judge_early_data(first, version)] if version == "TLSv1.3" and first.seen.early_data is not None else []
    name = f"resumed, {version}"
    if first.session is None:
        cases.append(Case("MV-05", name, Outcome.PASSED, "the server offers no resumption"))
        return [*cases, *_try_foreign_session(inspection, version)]
    second = inspection.attempt(good, version=version, session=first.session)
    cases.append(_judge_resumed(inspection, first, second, name))
    return [*cases, *_try_foreign_session(inspection, version)]


def _judge_early_data(observation: Observation, version: str) -> Case:
    size = observation.seen.early_data or 0
    if size:
        text = f"the server accepts up to {size} bytes before the handshake is over: they can be replayed"
        return Case("MV-05", f"early data, {version}", Outcome.FAILED, text)
    return Case("MV-05", f"early data, {version}", Outcome.PASSED, "early data is not offered")


def _judge_resumed(inspection: Inspection, first: Observation, second: Observation, name: str) -> Case:
    if second.kind is not Kind.ANSWERED or second.status != first.status:
        if second.kind is Kind.ALERT:
            return Case("MV-05", name, Outcome.PASSED, f"not resumed: {second.text()}", second.evidence())
        return Case("MV-05", name, Outcome.OUTAGE, second.text(), second.evidence())
    if not second.resumed:
        return Case("MV-05", name, Outcome.PASSED, "not resumed: a full handshake instead", second.evidence())
    problems = identity_problems(inspection, second, inspection.options.client)
    if problems and not identity_problems(inspection, first, inspection.options.client):
        text = f"the resumed session lost the client's identity: {'; '.join(problems)}"
        return Case("MV-05", name, Outcome.FAILED, text, second.evidence())
    return Case("MV-05", name, Outcome.PASSED, "resumed, with the same identity", second.evidence())


def _try_foreign_session(inspection: Inspection, version: str) -> list[Case]:
    """A session from a handshake without a certificate, offered for the protected name (as in CVE-2025-23419)."""
    name = f"session of a client without a certificate, {version}"
    host = inspection.target.host
    by_name = parse_ip(host) is None
    for server_name in (sibling_of(host), UNKNOWN_NAME, host) if by_name else (None,):
        first = inspection.attempt(None, version=version, server_name=server_name, verified=False, keep_session=True)
        if first.kind is not Kind.ANSWERED or first.session is None:
            continue
        second = inspection.attempt(None, version=version, session=first.session, verified=False)
        outcome, text = judge_refusal(second, expected=frozenset({116}))
        if outcome is Outcome.FAILED:
            text = f"a session made under {server_name or host} without a certificate got in: {text}"
        return [Case("MV-05", name, outcome, text, second.evidence())]
    return [Case("MV-05", name, Outcome.PASSED, "without a certificate no session can be had")]


# Identity headers


def echo_of(inspection: Inspection, observation: Observation) -> headers.Echo | None:
    """Return the request headers that the workload reports in its answer."""
    if observation.response is None:
        return None
    document = expectations.parse_json(observation.response.body)
    return headers.read_echo(expectations.resolve(inspection.options.identity_path, document))


def identity_problems(inspection: Inspection, observation: Observation, identity: Identity) -> list[str]:
    """Return in words how the workload's view differs from ``identity``; nothing when there is no view."""
    echo = echo_of(inspection, observation)
    if echo is None or not inspection.options.identity_headers:
        return []
    return headers.mismatches(echo, identity.certificate, inspection.options.identity_headers)


def judge_identity(inspection: Inspection, observation: Observation, identity: Identity, name: str) -> Case:
    """MV-40 for one accepted client."""
    if not inspection.options.identity_headers:
        return Case("MV-40", name, Outcome.SKIPPED, "identity_headers is empty: nothing is claimed")
    if echo_of(inspection, observation) is None:
        path = inspection.options.identity_path
        return Case("MV-40", name, Outcome.SKIPPED, f"the answer is not JSON with request headers under {path!r}")
    problems = identity_problems(inspection, observation, identity)
    if problems:
        return Case("MV-40", name, Outcome.FAILED, "; ".join(problems), observation.evidence())
    return Case("MV-40", name, Outcome.PASSED, "the workload sees this certificate", observation.evidence())


def try_minted_identity(inspection: Inspection, make: t.Callable[[], Identity]) -> list[Case]:
    """MV-40 for a throw-away identity."""
    identity = make()
    observation = inspection.attempt(identity)
    if observation.kind is not Kind.ANSWERED or observation.status not in inspection.options.expect_status:
        return [Case("MV-40", identity.name, *_refused_or_broken(observation), observation.evidence())]
    return [judge_identity(inspection, observation, identity, identity.name)]


def _refused_or_broken(observation: Observation) -> tuple[Outcome, str]:
    outcome, text = judge_refusal(observation, expected=frozenset())
    if outcome is Outcome.OUTAGE:
        return outcome, text
    return Outcome.SKIPPED, f"this identity does not get in: {text}"


def try_forgeries(inspection: Inspection, make: t.Callable[[], Identity]) -> list[Case]:
    """MV-41: the identity of ``make`` claims to be someone else, in several spellings."""
    identity = make()
    configured = tuple(inspection.options.identity_headers)
    canary = secrets.token_hex(8)
    reference = inspection.attempt(identity, headers=((_CANARY, canary),))
    if reference.kind is not Kind.ANSWERED or reference.status not in inspection.options.expect_status:
        return [Case("MV-41", identity.name, *_refused_or_broken(reference), reference.evidence())]
    echo = echo_of(inspection, reference)
    if echo is None:
        path = inspection.options.identity_path
        return [
            Case("MV-41", identity.name, Outcome.SKIPPED, f"the answer is not JSON with request headers under {path!r}")
        ]
    echoes_all = any(canary in value for values in echo.values() for value in values)
    names = tuple(dict.fromkeys((*configured, headers.FORWARDED_CLIENT_CERT)))
    if not echoes_all:
        names = tuple(name for name in names if name.lower() in echo)
    if not names:
        text = "the workload does not report the headers of a request, so what survives cannot be seen"
        return [Case("MV-41", identity.name, Outcome.SKIPPED, text)]
    marker = f"forged-{secrets.token_hex(8)}"
    return [_try_forgery(inspection, identity, forgery, marker, names) for forgery in headers.forgeries(names, marker)]


def _try_forgery(
    inspection: Inspection, identity: Identity, forgery: headers.Forgery, marker: str, names: t.Sequence[str]
) -> Case:
    name = f"{identity.name}: {forgery.name}"
    observation = inspection.attempt(identity, headers=forgery.headers)
    evidence = observation.evidence()
    if observation.kind is not Kind.ANSWERED:
        return Case("MV-41", name, *_refused_or_broken(observation), evidence)
    status = observation.status or 0
    if status not in inspection.options.expect_status:
        if 400 <= status < 500:
            return Case("MV-41", name, Outcome.PASSED, f"the request was refused: HTTP {status}", evidence)
        return Case("MV-41", name, Outcome.OUTAGE, observation.text(), evidence)
    outcome, text = _judge_survivors(inspection, observation, identity, marker, names)
    return Case("MV-41", name, outcome, text, evidence)


def _judge_survivors(
    inspection: Inspection, observation: Observation, identity: Identity, marker: str, names: t.Sequence[str]
) -> tuple[Outcome, str]:
    echo = echo_of(inspection, observation)
    if echo is None:
        return Outcome.OUTAGE, "the answer no longer reports the request's headers"
    within, alike = headers.survivors(echo, marker, names)
    if within and not inspection.options.identity_headers:
        return Outcome.WARNING, f"forged values survived in {', '.join(within)}; a workload must not rely on it"
    if within:
        return Outcome.FAILED, f"forged values survived in: {', '.join(within)}"
    problems = headers.mismatches(echo, identity.certificate, inspection.options.identity_headers)
    if problems:
        return Outcome.FAILED, f"the identity was disturbed: {'; '.join(problems)}"
    if alike:
        return Outcome.WARNING, f"look-alikes passed that some frameworks take for the real ones: {', '.join(alike)}"
    return Outcome.PASSED, "nothing survived"


def try_oversized_identity(inspection: Inspection, mint: Mint) -> list[Case]:
    """MV-42: an identity too large for many header limits is carried whole or refused, never dropped."""
    identity = mint.oversized(_OVERSIZE)
    observation = inspection.attempt(identity)
    if observation.kind is Kind.ANSWERED and observation.status in inspection.options.expect_status:
        case = judge_identity(inspection, observation, identity, identity.name)
        return [dataclasses.replace(case, check="MV-42")]
    if observation.kind is Kind.ANSWERED and 400 <= (observation.status or 0) < 500:
        text = f"refused openly: HTTP {observation.status}"
        return [Case("MV-42", identity.name, Outcome.PASSED, text, observation.evidence())]
    outcome, text = judge_refusal(observation, expected=frozenset())
    if outcome is Outcome.OUTAGE and observation.kind is Kind.ANSWERED:
        outcome, text = Outcome.WARNING, f"{observation.text()}: refused, but as if the workload were broken"
    return [Case("MV-42", identity.name, outcome, text, observation.evidence())]
