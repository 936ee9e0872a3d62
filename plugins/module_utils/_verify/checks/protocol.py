# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The TLS protocol: which versions, suites and groups the server accepts (MV-01 to MV-04)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake import client_hello
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.alerts import alert_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import parse_ip

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import Inspection

_MAXIMUM_ROUNDS = 64
_PQ_GROUPS = frozenset({0x11EB, 0x11EC, 0x11ED, 0x6399})
_WEAK_GROUPS = (0x0013, 0x0015, 0x0016)
_GROUPS = (0x11EC, 0x11EB, 0x001D, 0x0017, 0x0018, 0x0019, 0x001E, 0x0100, 0x0101)
_OLD_SUITES = (
    *(0xC013, 0xC014, 0xC009, 0xC00A, 0x0033, 0x0039, 0x002F, 0x0035, 0x000A, 0xC012, 0x0016),
    *(0x0005, 0x0004, 0xC011, 0xC007, 0x0041, 0x0084),
)

Ask: t.TypeAlias = t.Callable[[client_hello.ClientHello], client_hello.HelloAnswer]


@dataclass(frozen=True)
class Accepted:
    """What an elimination found: the accepted values in the server's order, and the answer that ended it."""

    values: tuple[int, ...]
    last: client_hello.HelloAnswer


def version_answer(ask: Ask, version: int, server_name: str | None) -> client_hello.HelloAnswer:
    """Ask for exactly ``version``."""
    if version == client_hello.TLS_1_3:
        return ask(client_hello.ClientHello(version, tuple(client_hello.MODERN_SUITES), _GROUPS, server_name))
    suites = (*client_hello.STRONG_SUITES, *_OLD_SUITES) if version == client_hello.TLS_1_2 else _OLD_SUITES
    return ask(client_hello.ClientHello(version, suites, server_name=server_name, compressions=(1, 0)))


def speaks(answer: client_hello.HelloAnswer, version: int) -> bool:
    """Whether the server went along with ``version``."""
    return answer.kind == "hello" and answer.version == version


def accepted_suites(ask: Ask, version: int, suites: t.Iterable[int], server_name: str | None) -> Accepted:
    """Return the suites that the server takes, one after the other, until it takes none of the rest."""
    left = list(suites)
    found: list[int] = []
    answer = client_hello.HelloAnswer("closed")
    for _round in range(_MAXIMUM_ROUNDS):
        groups = _GROUPS if version == client_hello.TLS_1_3 else (0x001D, 0x0017, 0x0018, 0x0019, 0x001E, 0x0100)
        answer = ask(client_hello.ClientHello(version, left, groups, server_name))
        if not speaks(answer, version) or answer.suite not in left:
            break
        found.append(answer.suite)
        left.remove(answer.suite)
        if not left:
            break
    return Accepted(tuple(found), answer)


def accepted_groups(ask: Ask, server_name: str | None) -> Accepted:
    """Return the TLS 1.3 groups that the server takes, in its order of preference as far as it has one."""
    left = [*_GROUPS, *_WEAK_GROUPS]
    found: list[int] = []
    answer = client_hello.HelloAnswer("closed")
    while left:
        answer = ask(
            client_hello.ClientHello(client_hello.TLS_1_3, tuple(client_hello.MODERN_SUITES), left, server_name)
        )
        if not speaks(answer, client_hello.TLS_1_3) or answer.group not in left:
            break
        found.append(answer.group)
        left.remove(answer.group)
    return Accepted(tuple(found), answer)


def check_old_version(version: int, answer: client_hello.HelloAnswer) -> Case:
    """MV-01: a version below the minimum."""
    name = client_hello.VERSION_NAMES[version]
    if answer.kind == "hello":
        if answer.version is not None and answer.version > version:
            return Case("MV-01", name, Outcome.FAILED, "the server answered with a version that was not offered")
        spoken = client_hello.VERSION_NAMES.get(answer.version or 0, "an unknown version")
        suite = client_hello.SUITE_NAMES.get(answer.suite or 0, f"0x{answer.suite or 0:04x}")
        return Case("MV-01", name, Outcome.FAILED, f"accepted: {spoken} with {suite}")
    if answer.kind == "alert":
        return Case("MV-01", name, Outcome.PASSED, f"refused with {alert_text(answer.alert or 0)}", _evidence(answer))
    return _unusable("MV-01", name, answer)


def check_modern_version(answer: client_hello.HelloAnswer, negotiated: str | None) -> Case:
    """MV-01: TLS 1.3 is there and preferred."""
    if speaks(answer, client_hello.TLS_1_3):
        if negotiated not in {None, "TLSv1.3"}:
            text = f"TLS 1.3 is offered, but a client that offers both gets {negotiated}"
            return Case("MV-01", "TLSv1.3", Outcome.WARNING, text)
        return Case("MV-01", "TLSv1.3", Outcome.PASSED, "TLS 1.3 is offered and preferred")
    if answer.kind in {"hello", "alert"}:
        return Case("MV-01", "TLSv1.3", Outcome.WARNING, "TLS 1.3 is not offered")
    return _unusable("MV-01", "TLSv1.3", answer)


def check_suites(strong: Accepted | None, weak: Accepted, modern: Accepted | None) -> list[Case]:
    """MV-02."""
    cases = []
    for version, accepted in (("TLSv1.3", modern), ("TLSv1.2", strong)):
        if accepted is not None and accepted.values:
            listed = ", ".join(client_hello.SUITE_NAMES[suite] for suite in accepted.values)
            cases.append(Case("MV-02", version, Outcome.PASSED, listed))
    if weak.values:
        listed = ", ".join(client_hello.SUITE_NAMES[suite] for suite in weak.values)
        cases.append(Case("MV-02", "weak suites in TLSv1.2", Outcome.FAILED, f"accepted: {listed}"))
    elif weak.last.kind in {"alert", "hello"}:
        text = f"{len(client_hello.WEAK_SUITES)} offered, none accepted"
        cases.append(Case("MV-02", "weak suites in TLSv1.2", Outcome.PASSED, text, _evidence(weak.last)))
    else:
        cases.append(_unusable("MV-02", "weak suites in TLSv1.2", weak.last))
    return cases


def check_groups(groups: Accepted) -> list[Case]:
    """MV-03."""
    if not groups.values:
        if groups.last.kind in {"alert", "hello"}:
            return [Case("MV-03", "TLSv1.3 groups", Outcome.SKIPPED, "TLS 1.3 is not offered")]
        return [_unusable("MV-03", "TLSv1.3 groups", groups.last)]
    listed = ", ".join(client_hello.GROUP_NAMES[group] for group in groups.values)
    weak = [group for group in groups.values if group in _WEAK_GROUPS]
    outcome = Outcome.FAILED if weak else Outcome.PASSED
    hybrid = [group for group in groups.values if group in _PQ_GROUPS]
    if not hybrid:
        said = "absent"
    elif len(hybrid) == len(groups.values):
        said = "required"
    else:
        said = "preferred" if groups.values[0] in _PQ_GROUPS else "accepted, not preferred"
    # Who breaks off may take more, and weaker ones.
    cut = [] if groups.last.kind in {"alert", "hello"} else [_unusable("MV-03", "the other groups", groups.last)]
    return [
        *cut,
        Case("MV-03", "TLSv1.3 groups", outcome, listed),
        Case("MV-03", "post-quantum key exchange", Outcome.PASSED, f"X25519MLKEM768 or another hybrid: {said}"),
    ]


def check_hygiene(answer: client_hello.HelloAnswer) -> list[Case]:
    """MV-04, from the answer to a TLS 1.2 hello that offered compression."""
    if not speaks(answer, client_hello.TLS_1_2):
        if answer.kind in {"hello", "alert"}:
            return [
                Case("MV-04", "TLSv1.2", Outcome.SKIPPED, "TLS 1.2 is not offered; TLS 1.3 has none of these faults")
            ]
        return [_unusable("MV-04", "TLSv1.2", answer)]
    compressed = Case(
        "MV-04",
        "compression",
        Outcome.FAILED if answer.compression else Outcome.PASSED,
        "compression is used when offered" if answer.compression else "compression is declined",
    )
    return [
        compressed,
        _extension_case("secure renegotiation", client_hello.EXTENSION_RENEGOTIATION_INFO, answer, Outcome.FAILED),
        _extension_case(
            "extended master secret", client_hello.EXTENSION_EXTENDED_MASTER_SECRET, answer, Outcome.WARNING
        ),
    ]


def _extension_case(name: str, number: int, answer: client_hello.HelloAnswer, otherwise: Outcome) -> Case:
    there = number in answer.extensions
    return Case("MV-04", name, Outcome.PASSED if there else otherwise, f"{name} is {'' if there else 'not '}supported")


def _unusable(check: str, name: str, answer: client_hello.HelloAnswer) -> Case:
    if answer.kind == "cancelled":
        return Case(check, name, Outcome.SKIPPED, answer.text())
    return Case(check, name, Outcome.OUTAGE, answer.text(), _evidence(answer))


def _evidence(answer: client_hello.HelloAnswer) -> dict[str, t.Any]:
    if answer.alert is None:
        return {"ended": answer.text()}
    return {"alert_code": answer.alert, "alert_name": alert_text(answer.alert).split("(")[1].rstrip(")")}


def _sni(inspection: Inspection) -> str | None:
    host = inspection.target.host
    return None if parse_ip(host) is not None else host


def probe_versions(inspection: Inspection, negotiated: str | None) -> list[Case]:
    """MV-01. ``negotiated``: what a client gets that offers every version."""
    old = [
        client_hello.TLS_1_0,
        client_hello.TLS_1_1,
        *([client_hello.TLS_1_2] if inspection.options.minimum_tls == "1.3" else []),
    ]
    cases = [check_old_version(version, version_answer(inspection.ask, version, _sni(inspection))) for version in old]
    answer = version_answer(inspection.ask, client_hello.TLS_1_3, _sni(inspection))
    return [*cases, check_modern_version(answer, negotiated)]


def probe_suites(inspection: Inspection, suites: dict[str, list[str]]) -> list[Case]:
    """MV-02. The accepted suites of each version are put into ``suites``."""
    ask, name = inspection.ask, _sni(inspection)
    modern = accepted_suites(ask, client_hello.TLS_1_3, client_hello.MODERN_SUITES, name)
    strong = accepted_suites(ask, client_hello.TLS_1_2, client_hello.STRONG_SUITES, name)
    weak = accepted_suites(ask, client_hello.TLS_1_2, client_hello.WEAK_SUITES, name)
    found = {"TLSv1.3": modern.values, "TLSv1.2": (*strong.values, *weak.values)}
    suites |= {
        version: [client_hello.SUITE_NAMES[suite] for suite in values] for version, values in found.items() if values
    }
    return check_suites(strong, weak, modern)


def probe_groups(inspection: Inspection) -> list[Case]:
    """MV-03."""
    return check_groups(accepted_groups(inspection.ask, _sni(inspection)))


def probe_hygiene(inspection: Inspection) -> list[Case]:
    """MV-04."""
    return check_hygiene(version_answer(inspection.ask, client_hello.TLS_1_2, _sni(inspection)))
