# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Score the path builder on test suites in the format of x509-limbo.

Usage:  tests/limbo/run_limbo.py [options] FILE...        (FILE: limbo JSON, plain or gzip)

The public suite is made by its own project (https://github.com/C2SP/x509-limbo, ``python -m limbo compile``, which
takes the BetterTLS cases from https://github.com/Netflix/bettertls). It is not part of this repository;
``make_own_suite.py`` writes a small suite of our own in the same format.

Nothing is skipped. The cases run by the rules of the profile ``webpki``, but BetterTLS and the cases that conflict
with one of the group ``webpki::`` (``conflicts_with``) by ``rfc5280``; ``--profile`` forces one for all. A case whose
outcome is not the expected one must stand in ``divergences.json`` with the reason, and a case that stands there must
diverge: any change either way fails.

On success the returned chain is checked as well: it starts with the peer certificate, ends in a trusted one, each
link's signature verifies, nothing repeats, and no shorter chain of valid signatures is acceptable to the builder.
With ``--shuffle SEED`` each case runs a second time with its certificates in another order: same verdict, same chain.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import gzip
import itertools
import json
import random
import sys
import time
import typing as t
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError  # noqa: E402  (needs the path above)
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load, names  # noqa: E402
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import build, signature  # noqa: E402
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy  # noqa: E402

DIVERGENCES = Path(__file__).with_name("divergences.json")
Case = dict[str, t.Any]


class Verdict(t.NamedTuple):
    """What the builder said of one case: accepted or not, its words, and what is wrong with the returned chain."""

    accepted: bool
    problem: str
    chain: tuple[t.Any, ...] = ()
    chain_faults: tuple[str, ...] = ()


def read_cases(path: Path) -> list[Case]:
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    cases: list[Case] = json.loads(raw)["testcases"]
    return cases


def profile_of(case: Case) -> str:
    """The better profile of a case: its own group's where the two profiles contradict each other."""
    if case["id"].startswith(("bettertls::", "own::rfc5280::")):
        return "rfc5280"
    if any(other.startswith("webpki::") for other in case["conflicts_with"]):
        return "rfc5280"
    return "webpki"


def judge(case: Case, *, profile: str, order: random.Random | None = None) -> Verdict:
    """Run one case as the module would."""
    try:
        leaf = load.load_certificates(case["peer_certificate"].encode(), source="peer").certificates[0]
        crls = revocation_lists(case)
    except MtlsError as exc:
        return Verdict(False, str(exc))
    pool, roots = certificates(case["untrusted_intermediates"]), certificates(case["trusted_certs"])
    if order is not None:
        order.shuffle(pool)
        order.shuffle(roots)
    outcome = build.build(leaf, candidates=pool, roots=roots, policy=policy_of(case, profile, crls))
    faults = chain_faults(outcome.chain, leaf, roots) if outcome.chain else ()
    return Verdict(bool(outcome.chain), outcome.problem, outcome.chain, faults)


def policy_of(case: Case, profile: str, crls: list[t.Any]) -> Policy:
    now = datetime.datetime.now(datetime.UTC)
    if case["validation_time"]:
        now = datetime.datetime.fromisoformat(case["validation_time"])
    peers = [case["expected_peer_name"]] if case["expected_peer_name"] else case["expected_peer_names"]
    depth = case["max_chain_depth"]
    return Policy(
        now=now.replace(microsecond=0),
        purpose="client" if case["validation_kind"] == "CLIENT" else "server",
        profile=profile,
        hostnames=tuple(peer["value"] for peer in peers),
        crls=tuple(crls),
        allow_partial=True,
        **({} if depth is None else {"max_depth": depth}),
    )


def revocation_lists(case: Case) -> list[t.Any]:
    return [one for text in case["crls"] for one in load.load_crls(text.encode(), source="crl").crls]


def certificates(texts: list[str]) -> list[t.Any]:
    """What can be loaded of the pool; the module skips the rest with a warning."""
    found = []
    for text in texts:
        try:
            found += load.load_certificates(text.encode(), source="pool").certificates
        except MtlsError:
            continue
    return found


def chain_faults(chain: tuple[t.Any, ...], leaf: t.Any, roots: list[t.Any]) -> tuple[str, ...]:
    faults = []
    if chain[0] != leaf:
        faults.append("does not start with the peer certificate")
    if chain[-1] not in roots:
        faults.append("does not end in a trusted certificate")
    if len(set(chain)) != len(chain):
        faults.append("repeats a certificate")
    for child, issuer in itertools.pairwise(chain):
        try:
            link_verifies(child, issuer)
        except Exception as exc:  # noqa: BLE001  (any failure is a fault to report)
            faults.append(f"has a link that does not verify: {exc!r}")
    return tuple(faults)


def link_verifies(child: t.Any, issuer: t.Any) -> None:
    """Raise unless ``issuer`` signed ``child``, by the library's own judgement where its name comparison allows it."""
    if child.issuer == issuer.subject:
        child.verify_directly_issued_by(issuer)
    elif not names.same_name(child.issuer, issuer.subject):
        raise ValueError("the names differ")
    else:  # equal by RFC 5280 section 7.1 but not byte for byte
        problem = signature.signature_problem(child, issuer.public_key())
        if problem:
            raise ValueError(problem)


def minimality_fault(case: Case, verdict: Verdict, *, profile: str) -> str | None:
    """Take one inner certificate after another away: no chain that is left may be shorter."""
    length = len(verdict.chain)
    for missing in verdict.chain[1:-1]:
        pool = [one for one in certificates(case["untrusted_intermediates"]) if one != missing]
        outcome = build.build(
            verdict.chain[0],
            candidates=pool,
            roots=certificates(case["trusted_certs"]),
            policy=policy_of(
                case, profile, [c for x in case["crls"] for c in load.load_crls(x.encode(), source="").crls]
            ),
        )
        if outcome.chain and len(outcome.chain) < length:
            return f"is not minimal: {len(outcome.chain)} certificates are enough"
    return None


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    warnings.simplefilter("ignore")
    known: dict[str, str] = {} if options.no_divergences else json.loads(DIVERGENCES.read_text())
    tally: collections.Counter[str] = collections.Counter()
    complaints: list[str] = []
    began = time.monotonic()
    for path in options.files:
        for case in read_cases(path):
            run_case(case, options, known, tally, complaints)
    report(tally, complaints, time.monotonic() - began)
    return 1 if complaints else 0


def run_case(
    case: Case,
    options: argparse.Namespace,
    known: dict[str, str],
    tally: collections.Counter[str],
    complaints: list[str],
) -> None:
    name = case["id"]
    profile = options.profile or profile_of(case)
    verdict = judge(case, profile=profile)
    right = verdict.accepted == (case["expected_result"] == "SUCCESS")
    for group in groups_of(case):
        tally[f"{group} / all"] += 1
        tally[f"{group} / right"] += right
    if verdict.accepted and right:
        faults = [*verdict.chain_faults]
        fault = minimality_fault(case, verdict, profile=profile)
        faults += [fault] if fault else []
        tally["chains returned / all"] += 1
        tally["chains returned / right"] += not faults
        complaints += [f"{name}: the returned chain {fault}" for fault in faults]
    if options.shuffle is not None:
        again = judge(case, profile=profile, order=random.Random(f"{options.shuffle}{name}"))  # noqa: S311  (no secret)
        if (again.accepted, again.chain) != (verdict.accepted, verdict.chain):
            complaints.append(f"{name}: another order of the input gives another answer")
    if not right and name not in known:
        said = "accepted" if verdict.accepted else f"refused: {verdict.problem}"
        complaints.append(f"{name}: expected {case['expected_result']}, {said}")
    if right and name in known and not options.profile:
        complaints.append(f"{name}: agrees now; take it out of {DIVERGENCES.name}")
    if options.verbose:
        print(f"{'ok ' if right else 'BAD'} {name} [{profile}] {verdict.problem or len(verdict.chain)}")


def groups_of(case: Case) -> list[str]:
    name = case["id"]
    if name.startswith("bettertls::"):
        reachable = case["expected_result"] == "SUCCESS" and name.startswith("bettertls::pathbuilding")
        return ["::".join(name.split("::")[:2]), *(["bettertls::pathbuilding, reachable"] if reachable else [])]
    if name.startswith("own::"):
        return ["own suite"]
    found = ["limbo, without BetterTLS", name.split("::", maxsplit=1)[0]]
    if case["importance"] in {"critical", "high"}:
        found.append("limbo, importance critical or high")
    if case["validation_kind"] == "CLIENT":
        found.append("limbo, kind CLIENT")
    return found


def report(tally: collections.Counter[str], complaints: list[str], seconds: float) -> None:
    for key in sorted(one for one in tally if one.endswith(" / all")):
        group = key.removesuffix(" / all")
        print(f"{group:45s} {tally[f'{group} / right']:5d} of {tally[key]}")
    print(f"{seconds:.1f} s")
    for complaint in complaints:
        print(f"CHANGED {complaint}")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--profile", choices=["rfc5280", "webpki"], help="run every case by this profile")
    parser.add_argument("--shuffle", metavar="SEED", help="run every case again in another order of its certificates")
    parser.add_argument("--no-divergences", action="store_true", help="list every divergence, known ones too")
    parser.add_argument("--verbose", action="store_true", help="one line a case")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
