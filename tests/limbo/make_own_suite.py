# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write our own cases in the format of x509-limbo; the tests do so on each run, with new keys and serial numbers.

Usage:  tests/limbo/make_own_suite.py FILE
"""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

from cryptography import x509  # noqa: E402  (needs the path above)
from cryptography.x509.oid import NameOID  # noqa: E402

from ansible_collections.kyma.mtls.tests.limbo import zoo  # noqa: E402
from ansible_collections.kyma.mtls.tests.limbo.zoo import crl, leaf, make  # noqa: E402

Case = dict[str, t.Any]
CASES: list[Case] = []


def case(
    name: str,
    fine: bool,
    end: zoo.Made,
    pool: t.Sequence[zoo.Made],
    roots: t.Sequence[zoo.Made],
    *,
    crls: t.Sequence[str] = (),
    client: bool = False,
    peer: str | None = "leaf.example",
    max_depth: int | None = None,
) -> None:
    """Add one case; ``name`` begins with the profile that it runs by."""
    CASES.append(
        {
            "id": f"own::{name}",
            "conflicts_with": [],
            "features": [],
            "importance": "undetermined",
            "description": name.rsplit("::", maxsplit=1)[-1].replace("-", " "),
            "validation_kind": "CLIENT" if client else "SERVER",
            "trusted_certs": [one.pem for one in roots],
            "untrusted_intermediates": [one.pem for one in pool],
            "peer_certificate": end.pem,
            "peer_certificate_key": None,
            "validation_time": zoo.NOW.isoformat(),
            "signature_algorithms": [],
            "key_usage": [],
            "extended_key_usage": [],
            "expected_result": "SUCCESS" if fine else "FAILURE",
            "expected_peer_name": {"kind": "DNS", "value": peer} if peer and not client else None,
            "expected_peer_names": [],
            "max_chain_depth": max_depth,
            "crls": list(crls),
        }
    )


def paths() -> None:
    root, other = make("Root"), make("Other")
    middle = make("Middle", issuer=root)
    crossed = make("Middle", issuer=other)
    case("rfc5280::direct", True, leaf(root), [], [root])
    case("rfc5280::one-intermediate", True, leaf(middle), [middle], [root])
    case("rfc5280::missing-intermediate", False, leaf(middle), [], [root])
    case("rfc5280::cross-signed-first", True, leaf(middle), [crossed, middle], [root])
    case("rfc5280::cross-signed-last", True, leaf(middle), [middle, crossed], [root])
    case("rfc5280::both-roots-trusted", True, leaf(middle), [middle, crossed], [root, other])
    old = make("Middle", issuer=root, days=(-90, -1))
    case("rfc5280::expired-before-valid", True, leaf(middle), [old, middle], [root])
    case("rfc5280::expired-only", False, leaf(middle), [old], [root])
    early = make("Middle", issuer=root, days=(1, 90))
    case("rfc5280::not-yet-valid-only", False, leaf(middle), [early], [root])
    expired_root = make("Root", days=(-90, -1))
    case("rfc5280::expired-root-before-valid", True, leaf(root), [], [expired_root, root])
    case("rfc5280::expired-root-only", False, leaf(root), [], [expired_root])
    a, b = make("A"), make("B")
    circle = [make("A", issuer=b), make("B", issuer=a)]
    case("rfc5280::circle-with-a-way-out", True, leaf(a), [*circle, make("B", issuer=root)], [root])
    case("rfc5280::circle", False, leaf(a), circle, [root])
    rekeys = [make("Middle", issuer=root, kind=kind) for kind in ("ed25519", "ec", "ml-dsa-65")]
    for issuer in rekeys:
        kind = type(issuer.key).__name__.removesuffix("PrivateKey").lower()
        case(f"rfc5280::re-key-{kind}", True, leaf(issuer), rekeys, [root])
    pss = make("PSS Root", kind="rsa2048", pss=True)
    case("rfc5280::rsassa-pss", True, leaf(pss, pss=True), [], [pss])
    impostor = make("Root", own_key=zoo.key("impostor"))
    case("rfc5280::impostor-of-the-root", False, leaf(root), [], [impostor])
    case("rfc5280::impostor-beside-the-root", True, leaf(root), [], [impostor, root])
    spelt = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "  ROOT ", x509.name._ASN1Type.PrintableString)])
    case("rfc5280::other-spelling-of-the-issuer", True, leaf(root, issuer_name=spelt), [], [root])
    case("rfc5280::trusted-intermediate", True, leaf(middle), [root], [middle])
    first = make("First", issuer=root)
    second = make("Second", issuer=first)
    case("rfc5280::max-depth-enough", True, leaf(second), [first, second], [root], max_depth=2)
    case("rfc5280::max-depth-exceeded", False, leaf(second), [first, second], [root], max_depth=1)


def rules() -> None:
    root = make("Root")
    broken = {
        "no-basic-constraints": {"without": ["bc"]},
        "no-ca": {"ca": False},
        "no-key-cert-sign": {"key_usage": zoo.usage("crl_sign")},
        "other-purpose": {"eku": [zoo.CLIENT]},
        "unknown-critical": {"extra": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"0"), True)]},
        "excluded-name": {"excluded": ["DNS:example"]},
        "other-name-permitted": {"permitted": ["DNS:other.example"]},
        "demands-a-policy": {"extra": [(x509.PolicyConstraints(0, None), True)]},
    }
    for name, options in broken.items():
        middle = make("Middle", issuer=root, **options)
        case(f"rfc5280::authority-{name}", False, leaf(middle), [middle], [root])
        case(
            f"rfc5280::authority-{name}-beside-a-good-one",
            True,
            leaf(middle),
            [middle, make("Middle", issuer=root)],
            [root],
        )
    lenient = {"no-ski": ["ski"], "no-aki": ["aki"], "no-key-usage": ["ku"]}
    for name, missing in lenient.items():
        middle = make("Middle", issuer=root, without=missing)
        case(f"rfc5280::authority-{name}", True, leaf(middle), [middle], [root])
        case(f"webpki::authority-{name}", name == "no-key-usage", leaf(middle), [middle], [root])
    outer = make("Outer", issuer=root, path_length=0)
    inner = make("Inner", issuer=outer)
    case("rfc5280::path-length-exceeded", False, leaf(inner), [outer, inner], [root])
    case("rfc5280::wildcard", True, leaf(root, sans=["DNS:*.example"], subject="x"), [], [root], peer=None)
    case("rfc5280::wildcard-one-label", True, leaf(root, sans=["DNS:*.w.example"]), [], [root], peer="a.w.example")
    case("rfc5280::wildcard-two-labels", False, leaf(root, sans=["DNS:*.w.example"]), [], [root], peer="a.b.w.example")
    case("rfc5280::other-host", False, leaf(root), [], [root], peer="other.example")
    case("rfc5280::common-name-only", False, leaf(root, "leaf.example", sans=()), [], [root])
    case("webpki::no-subject-alternative-name", False, leaf(root, sans=()), [], [root], peer=None)
    case("webpki::no-extended-key-usage", False, leaf(root, without=["eku"]), [], [root])
    case("rfc5280::no-extended-key-usage", True, leaf(root, without=["eku"]), [], [root])
    case("webpki::ed25519", False, leaf(root, kind="ed25519"), [], [root])
    case("rfc5280::short-rsa-key", False, leaf(root, kind="rsa1024"), [], [root])
    case("rfc5280::client", True, leaf(root, eku=[zoo.CLIENT]), [], [root], client=True)
    case("rfc5280::server-certificate-as-client", False, leaf(root, eku=[zoo.SERVER]), [], [root], client=True)


def revocation() -> None:
    root = make("Root")
    middle, twin = make("Middle", issuer=root), make("Middle", issuer=root)
    end = leaf(middle)
    mine, roots = crl(middle), crl(root)
    case("rfc5280::crl-good", True, end, [middle], [root], crls=[mine, roots])
    case("rfc5280::crl-leaf-revoked", False, end, [middle], [root], crls=[crl(middle, end)])
    case("rfc5280::crl-intermediate-revoked", False, end, [middle], [root], crls=[crl(root, middle)])
    case("rfc5280::crl-intermediate-revoked-twin-good", True, end, [middle, twin], [root], crls=[crl(root, middle)])
    case("rfc5280::crl-stale", False, end, [middle], [root], crls=[crl(middle, days=(-9, -1))])
    case("rfc5280::crl-stale-beside-a-fresh-one", True, end, [middle], [root], crls=[crl(middle, days=(-9, -1)), mine])
    case("rfc5280::crl-of-the-future", False, end, [middle], [root], crls=[crl(middle, days=(1, 9))])
    stranger = make("Middle", own_key=zoo.key("stranger"))
    case("rfc5280::crl-of-another-key-of-that-name", True, end, [middle], [root], crls=[crl(stranger, end)])
    case("rfc5280::crl-forged", False, end, [middle], [root], crls=[crl(stranger, without_aki=True)])
    only_authorities = x509.IssuingDistributionPoint(None, None, False, True, None, False, False)
    case(
        "rfc5280::crl-for-authorities-only",
        True,
        end,
        [middle],
        [root],
        crls=[crl(middle, extra=[(only_authorities, True)])],
    )
    mute = make("Middle", issuer=root, key_usage=zoo.usage("key_cert_sign"))
    case("rfc5280::crl-by-an-authority-that-may-not", False, end, [mute], [root], crls=[mine])
    case("rfc5280::crl-without-number", False, end, [middle], [root], crls=[crl(middle, number=None)])


def write_suite(target: Path) -> int:
    """Write all cases to ``target`` and return how many they are."""
    CASES.clear()
    for part in (paths, rules, revocation):
        part()
    target.write_text(json.dumps({"version": 1, "testcases": CASES}, indent=1) + "\n")
    return len(CASES)


if __name__ == "__main__":
    print(f"{sys.argv[1]}: {write_suite(Path(sys.argv[1]))} cases")
