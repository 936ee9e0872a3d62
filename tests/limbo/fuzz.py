# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Feed damaged certificates, bundles and CRLs to the chain builder: each must be answered or refused in words.

Usage:  tests/limbo/fuzz.py [--count 100000] [--seed 1] [--first 0]

A traceback, or more than five seconds for one input, is a failure; it is reported with its number, and
``--first NUMBER --count 1`` repeats it (the keys differ from run to run, the damage does not).
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import random
import signal
import sys
import time
import traceback
import typing as t
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

from cryptography import x509  # noqa: E402  (needs the path above)
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: E402

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError  # noqa: E402
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, load  # noqa: E402
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Limits, Policy  # noqa: E402
from ansible_collections.kyma.mtls.tests.limbo import zoo  # noqa: E402

SECONDS = 5
TAGS = bytes([0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x16, 0x1E, 0x30, 0x31, 0x80, 0x81, 0x82, 0x84])
TAGS += bytes([0xA0, 0xA3, 0xFF, 0x7F])


class Seeds(t.NamedTuple):
    """Good input that is damaged later: the parts of one chain."""

    leaf: bytes
    pool: bytes
    root: bytes
    crl: bytes
    key: bytes


def make_seeds() -> list[Seeds]:
    everything = [
        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]), False),
        (x509.PolicyConstraints(0, 1), True),
        (x509.InhibitAnyPolicy(2), True),
    ]
    policy = everything[:1]
    found = []
    for kind, options in (("ec", {}), ("rsa2048", {"pss": True}), ("ed25519", {})):
        root = zoo.make("Root", kind=kind, **options)
        middle = zoo.make(
            "Middle",
            issuer=root,
            kind=kind,
            path_length=2,
            permitted=["DNS:example", "IP:192.0.2.0/24", "email:example.com", "URI:example.com", "dir:leaf"],
            excluded=["DNS:bad.example", "dir:bad"],
            extra=everything,
            **options,
        )
        sans = ["DNS:leaf.example", "DNS:*.w.example", "IP:192.0.2.1", "email:a@example.com", "URI:https://example.com"]
        end = zoo.leaf(middle, sans=sans, extra=policy, **options)
        lists = zoo.crl(
            root, extra=[(x509.IssuingDistributionPoint(None, None, False, True, None, False, False), True)]
        )
        lists += zoo.crl(middle, zoo.leaf(middle, "other"))
        der = [one.der for one in (end, middle, root)]
        found.append(Seeds(der[0], der[1], der[2], lists.encode(), end.key_pem().encode()))
        found.append(
            Seeds(
                end.pem.encode(),
                (end.key_pem() + middle.pem + "text\n" + root.pem).encode(),
                root.pem.encode(),
                lists.encode(),
                end.key_pem(b"secret").encode(),
            )
        )
        if kind != "ed25519":
            bundle = pkcs7.serialize_certificates([middle.certificate, root.certificate], serialization.Encoding.DER)
            found.append(Seeds(der[0], bundle, der[2], lists.encode(), end.key_pem().encode()))
    return found


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Return ``data`` with one to four wounds; PEM is sometimes damaged inside its Base64's content."""
    if data.startswith(b"-----") and dice.random() < 0.7:
        blocks = list(load.pem_blocks(data))
        wounded = dice.randrange(len(blocks))
        return b"".join(
            armoured(block.label, wound(block.content or b"", dice) if index == wounded else block.content or b"")
            for index, block in enumerate(blocks)
        )
    return wound(data, dice)


def armoured(label: str, content: bytes) -> bytes:
    import base64  # noqa: PLC0415  (used here only)

    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(content) + f"-----END {label}-----\n".encode()


def wound(data: bytes, dice: random.Random) -> bytes:
    body = bytearray(data)
    for _number in range(dice.randint(1, 4)):
        if not body:
            break
        place = dice.randrange(len(body))
        action = dice.randrange(7)
        if action == 0:
            body[place] ^= 1 << dice.randrange(8)
        elif action == 1:
            body[place] = dice.choice(TAGS)
        elif action == 2:
            body[place] = (body[place] + dice.choice([-1, 1])) % 256
        elif action == 3:
            del body[place : place + dice.randint(1, 8)]
        elif action == 4:
            body[place:place] = bytes(dice.randrange(256) for _byte in range(dice.randint(1, 8)))
        elif action == 5:
            other = dice.randrange(len(body))
            body[place : place + 8] = body[other : other + 8]
        elif dice.random() < 0.1:
            del body[place:]
    return bytes(body)


def attempt(seeds: Seeds, dice: random.Random) -> str:
    """Damage one part or several, ask for a chain, and return what came of it."""
    parts = {
        field: damaged(content, dice) if dice.random() < 0.4 else content for field, content in seeds._asdict().items()
    }
    try:
        crls = load.load_crls(parts["crl"], source="crl").crls if dice.random() < 0.5 else ()
        key = load.load_private_key(parts["key"], passphrase=b"secret", source="key") if dice.random() < 0.2 else None
        request = chain.Request(
            leaf_input=load.load_certificates(parts["leaf"], source="leaf").certificates,
            candidates=load.load_certificates(parts["pool"], source="pool").certificates,
            roots=load.load_certificates(parts["root"], source="root").certificates,
            private_key=key,
            policy=Policy(
                now=zoo.NOW,
                purpose=dice.choice(["server", "client", "any"]),
                profile=dice.choice(["rfc5280", "webpki"]),
                hostnames=("leaf.example",) if dice.random() < 0.5 else (),
                crls=crls,
                require_crl=dice.random() < 0.2,
                allow_partial=dice.random() < 0.5,
                limits=Limits(signatures=200),
            ),
        )
        chain.resolve(request).as_result()
    except MtlsError as exc:
        return "refused" if str(exc) else "refused without a word"
    return "answered"


@contextlib.contextmanager
def time_limit() -> t.Iterator[None]:
    def stop(*_signal: t.Any) -> None:
        raise TimeoutError(f"more than {SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def fuzz(*, count: int, seed: int, first: int = 0) -> tuple[collections.Counter[str], list[str]]:
    """Run ``count`` inputs; return how many were answered and refused, and the failures in words."""
    tally: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    seeds = make_seeds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in itertools.islice(itertools.count(first), count):
            dice = random.Random(f"{seed}/{number}")  # noqa: S311  (no secret)
            try:
                with time_limit():
                    said = attempt(seeds[number % len(seeds)], dice)
            except BaseException as exc:
                if isinstance(exc, KeyboardInterrupt):
                    raise
                failures.append(f"input {number}: {''.join(traceback.format_exception(exc))}")
                said = "FAILED"
            tally[said] += 1
    return tally, failures


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    tally, failures = fuzz(count=options.count, seed=options.seed, first=options.first)
    for failure in failures[:10]:
        print(failure)
    print(f"{options.count} inputs in {time.monotonic() - began:.0f} s: {dict(tally)}")
    return 1 if failures or tally["refused without a word"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
