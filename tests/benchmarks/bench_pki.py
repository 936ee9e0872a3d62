# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both PKI roles beside what else makes the same certificates: the tutorial's shell steps, and community.crypto.

Keys are RSA 2048 all over, as in the tutorial. 1,000 clients are compared with openssl's own key generation and
signatures, one process each, for as many of them as OPENSSL_SAMPLE says, scaled.
"""

from __future__ import annotations

import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.tests.benchmarks import harness, plays

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.tests.benchmarks.harness import Bench, Cost, Figure

REFERENCES = Path(__file__).parent / "references"
OPENSSL_SAMPLE = 200
MANY_CLIENTS = 1000
KINDS = {
    "ECDSA P-256": ({"key_type": "ECDSA"}, ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")),
    "RSA 2048": ({"key_type": "RSA"}, ("rsa:2048",)),
}
BOTH = ("kyma.mtls.server_pki", "kyma.mtls.client_pki")


def measure(bench: Bench) -> None:
    empty, _module = plays.floor(bench)
    for count in bench.sizes(1, 50):
        _beside_others(bench, count, empty)
    if not bench.quick:
        for kind in KINDS:
            _many(bench, kind, empty)


class Pair(t.NamedTuple):
    """The same again: what it costs to make everything, and to find that nothing is to do."""

    first: Cost
    again: Cost


def _tutorial(count: int) -> Cost:
    with tempfile.TemporaryDirectory() as directory:
        return harness.run("sh", REFERENCES / "tutorial_pki.sh", directory, str(count)).cost


def _community(count: int) -> Pair:
    names = [client["common_name"] for client in plays.clients(count)]
    with tempfile.TemporaryDirectory() as directory:
        values = {"pki_directory": directory, "pki_clients": names}
        first, again = (plays.playbook(REFERENCES / "community_crypto.yml", values) for _run in range(2))
        return Pair(first.cost, _unchanged(again))


def _roles(roles: t.Sequence[str], clients: list[dict[str, t.Any]], *, agains: int = 1) -> list[Pair]:
    with tempfile.TemporaryDirectory() as directory:
        values = {"mtls_home": directory, "client_pki_clients": clients}
        first = plays.play({"roles": list(roles)}, values).cost
        return [Pair(first, _unchanged(plays.play({"roles": list(roles)}, values))) for _run in range(agains)]


def _unchanged(done: harness.Done) -> Cost:
    if " changed=0 " not in done.output:
        raise SystemExit(f"The re-run changed something, so it measures something else:\n{done.output[-3000:]}")
    return done.cost


def _beside_others(bench: Bench, count: int, empty: Figure) -> None:
    of = f"{count} client{'s' if count > 1 else ''}"
    few = count == 1
    theirs = _community(count)
    rounds = [_roles(BOTH, plays.clients(count))[0] for _round in range(3 if few and not bench.quick else 1)]
    shell = bench.measure(f"the tutorial's shell steps, {of}", lambda: _tutorial(count), runs=3 if few else 1)
    their_first = bench.record(f"community.crypto, first run, {of}", [theirs.first])
    their_again = bench.record(f"community.crypto, unchanged, {of}", [theirs.again])
    first = bench.record(f"server_pki and client_pki, first run, {of}", [one.first for one in rounds])
    again = bench.record(f"server_pki and client_pki, unchanged, {of}", [one.again for one in rounds])
    _compare(bench, f"both PKI roles, first run, {of}", first, their_first, parts=4 if few else 6, empty=empty)
    if not few:
        _compare(bench, f"both PKI roles, unchanged, {of}", again, their_again, parts=25, empty=empty)
    lines = {"kyma.mtls": first, "community.crypto": their_first, "the tutorial's shell steps": shell}
    for name, figure in lines.items():
        bench.point("pki-first", name, count, figure.cpu)
    for name, figure in {"kyma.mtls": again, "community.crypto": their_again}.items():
        bench.point("pki-unchanged", name, count, figure.cpu)


def _compare(bench: Bench, what: str, ours: Figure, theirs: Figure, *, parts: int, empty: Figure) -> None:
    measured = f"1/{theirs.cpu / ours.cpu:.1f} ({ours.cpu:.1f} s against {theirs.cpu:.1f} s)"
    most = theirs.cpu / parts
    distance = f"{ours.cpu - most:.1f} s above the {most:.1f} s that this is; an empty play is {empty.cpu:.1f} s of it"
    is_met = ours.cpu <= most
    bench.target(what, f"at most 1/{parts} of community.crypto's CPU", measured, is_met=is_met, distance=distance)


def _many(bench: Bench, kind: str, empty: Figure) -> None:
    options, arguments = KINDS[kind]
    of = f"{MANY_CLIENTS} clients, {kind}"
    openssl = _openssl(arguments)
    pairs = _roles(BOTH[1:], plays.clients(MANY_CLIENTS, **options), agains=3)
    first = bench.record(f"client_pki, first run, {of}", [pairs[0].first])
    again = bench.record(f"client_pki, unchanged, {of}", [one.again for one in pairs])
    bench.note(f"openssl, {of}: {openssl:.1f} s CPU (measured on {OPENSSL_SAMPLE} of them)")
    distance = f"an empty play is {empty.wall:.1f} s of it"
    unchanged = f"client_pki, unchanged, {of}"
    bench.target(unchanged, "at most 4 s", f"{again.wall:.1f} s", is_met=again.wall <= 4, distance=distance)
    if options["key_type"] == "ECDSA":
        bench.target(f"client_pki, first issue, {of}", "at most 15 s", f"{first.wall:.1f} s", is_met=first.wall <= 15)
    else:
        ratio, target = first.cpu / openssl, "at most 1.2 times openssl's CPU"
        measured = f"{ratio:.2f} times ({first.cpu:.1f} s against {openssl:.1f} s)"
        bench.target(f"client_pki, first issue, {of}", target, measured, is_met=ratio <= 1.2)
        bench.point("pki-first", "kyma.mtls", MANY_CLIENTS, first.cpu)
        bench.point("pki-unchanged", "kyma.mtls", MANY_CLIENTS, again.cpu)


def _openssl(arguments: t.Sequence[str]) -> float:
    """Return the CPU seconds that openssl takes for the keys, requests and certificates of MANY_CLIENTS clients."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        key, request, certificate = (directory / f"leaf.{end}" for end in ("key", "csr", "crt"))
        ca = ("-keyout", directory / "ca.key", "-out", directory / "ca.crt")
        harness.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=CA", *ca)
        new = ("openssl", "req", "-nodes", "-newkey", *arguments, "-subj", "/CN=Client/O=Org")
        sign = ("openssl", "x509", "-req", "-days", "9", "-CA", directory / "ca.crt", "-CAkey", directory / "ca.key")
        total = 0.0
        for _number in range(OPENSSL_SAMPLE):
            total += harness.run(*new, "-keyout", key, "-out", request).cost.cpu
            total += harness.run(*sign, "-in", request, "-out", certificate).cost.cpu
        return total * MANY_CLIENTS / OPENSSL_SAMPLE
