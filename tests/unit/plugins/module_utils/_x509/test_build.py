# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import build
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Limits, Policy
from ansible_collections.kyma.mtls.tests.limbo import zoo
from ansible_collections.kyma.mtls.tests.limbo.zoo import leaf, make


def run(end: zoo.Made, pool: t.Sequence[zoo.Made], roots: t.Sequence[zoo.Made], **demands: t.Any) -> build.PathSearch:
    """Build in several orders of the input and insist on one answer."""
    outcomes = []
    for candidates, anchors in ((pool, roots), (pool[::-1], roots[::-1]), (sorted(pool, key=id), [*roots, *roots])):
        outcomes.append(
            build.build(
                end.certificate,
                candidates=[one.certificate for one in candidates],
                roots=[one.certificate for one in anchors],
                policy=Policy(**{"now": zoo.NOW, **demands}),
            )
        )
    assert len({(outcome.chain, outcome.problem) for outcome in outcomes}) == 1
    return outcomes[0]


def chain_is(outcome: build.PathSearch, *wanted: zoo.Made) -> bool:
    assert outcome.problem == ""
    return list(outcome.chain) == [one.certificate for one in wanted]


def reason_for(outcome: build.PathSearch, made: zoo.Made) -> str:
    return next(one.reason for one in outcome.rejected if one.certificate == made.certificate)


def test_a_leaf_is_joined_to_its_root_over_an_intermediate():
    root = make("Root")
    middle = make("Middle", issuer=root)
    end = leaf(middle)
    assert chain_is(run(end, [middle], [root]), end, middle, root)


@pytest.mark.parametrize("trusted", [0, 1])
def test_a_cross_signed_intermediate_leads_to_whichever_root_is_trusted(trusted):
    roots = [make("Root 1"), make("Root 2")]
    middles = [make("Middle", issuer=root) for root in roots]
    end = leaf(middles[0])
    assert chain_is(run(end, middles, [roots[trusted]]), end, middles[trusted], roots[trusted])


def test_an_expired_intermediate_gives_way_to_its_renewal_and_is_named():
    root = make("Root")
    old, new = (make("Middle", issuer=root, days=days) for days in ((-60, -1), (-5, 300)))
    end = leaf(new)
    outcome = run(end, [old, new], [root])
    assert chain_is(outcome, end, new, root)
    assert "expired" in reason_for(outcome, old)


def test_an_expired_root_gives_way_to_its_renewal():
    old, new = (make("Root", days=days) for days in ((-60, -1), (-5, 300)))
    end = leaf(new)
    assert chain_is(run(end, [], [old, new]), end, new)


def test_an_expired_leaf_is_refused_with_the_time():
    root = make("Root")
    outcome = run(leaf(root, days=(-60, -1)), [], [root])
    assert "expired at 2030-05-31T12:00:00Z" in outcome.problem


def test_authorities_that_signed_each_other_do_not_lead_in_a_circle():
    root = make("Root")
    one, other = make("One"), make("Other")
    one_by_other, other_by_one = make("One", issuer=other), make("Other", issuer=one)
    other_by_root = make("Other", issuer=root)
    end = leaf(one)
    outcome = run(end, [one_by_other, other_by_one, other_by_root], [root])
    assert chain_is(outcome, end, one_by_other, other_by_root, root)


def test_a_circle_without_a_root_is_refused_and_explained():
    root = make("Root")
    one, other = make("One"), make("Other")
    pool = [make("One", issuer=other), make("Other", issuer=one)]
    outcome = run(leaf(one), pool, [root])
    assert "circle" in outcome.problem


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rsa2048", {}),
        ("rsa2048", {"pss": True}),
        ("rsa2048", {"pss": True, "algorithm": hashes.SHA512()}),
        ("ec", {"algorithm": hashes.SHA384()}),
        ("ed25519", {}),
        ("ed448", {}),
        ("ml-dsa-65", {}),
    ],
)
def test_signatures_of_every_kind_are_followed(kind, options):
    if kind == "ml-dsa-65":
        pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    root = make("Root", kind=kind, **options)
    middle = make("Middle", issuer=root, kind=kind, **options)
    end = leaf(middle, **options)
    assert chain_is(run(end, [middle], [root]), end, middle, root)


@pytest.mark.parametrize("kinds", list(itertools.permutations(["rsa2048", "ec", "ed25519"], 2)))
def test_a_re_key_to_another_algorithm_under_one_name_is_followed(kinds):
    root = make("Root")
    old, new = (make("Middle", issuer=root, kind=kind) for kind in kinds)
    end = leaf(new)
    outcome = run(end, [old, new], [root])
    assert chain_is(outcome, end, new, root)


@pytest.mark.parametrize(
    "spelling",
    [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "The Root", x509.name._ASN1Type.PrintableString)]),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the  ROOT")]),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, " The Root ")]),
    ],
)
def test_names_compare_by_rfc_5280_section_7_1(spelling):
    root = make("The Root")
    end = leaf(root, issuer_name=spelling)
    assert chain_is(run(end, [], [root]), end, root)


def test_duplicates_and_strangers_do_no_harm():
    root, stranger = make("Root"), make("Stranger")
    middle = make("Middle", issuer=root)
    end = leaf(middle)
    assert chain_is(run(end, [stranger, middle, stranger, middle, end, root], [stranger, root]), end, middle, root)


def test_an_issuer_that_is_no_ca_is_refused():
    root = make("Root")
    fake = make("Fake", issuer=root, ca=False)
    outcome = run(leaf(fake), [fake], [root])
    assert "CA:FALSE" in outcome.problem


def test_the_shortest_way_is_taken():
    one, other = make("One"), make("Other")
    crossed = make("One", issuer=other)
    end = leaf(one)
    assert chain_is(run(end, [crossed], [one, other]), end, one)
    assert chain_is(run(end, [crossed], [other]), end, crossed, other)


def test_a_refused_short_way_does_not_hide_a_long_one():
    """Five cross-signed intermediates lead to the root; the two ways that come nearest to it end in a path length."""
    root, stray = make("Root"), make("Stray", path_length=0)
    cas = [make(f"CA {number}") for number in range(5)]
    ways = [make(f"CA {low}", issuer=high) for low, high in enumerate(cas[1:])]
    last = make("CA 4", issuer=root)
    refused = [make("CA 0", issuer=stray), make("CA 1", issuer=stray), make("Stray", issuer=cas[3], path_length=0)]
    end = leaf(cas[0])
    assert chain_is(run(end, [*refused, *ways, last], [root]), end, *ways, last, root)


def test_among_many_keys_of_one_name_the_one_that_signed_is_tried_first():
    without = ("ski", "aki")
    root = make("Root", without=without)
    pool = [make("Middle", issuer=root, own_key=zoo.key(f"many {n}"), without=without) for n in range(300)]
    signer = min(pool, key=lambda one: one.certificate.fingerprint(hashes.SHA256()))
    for middle in (signer, pool[-1]):
        end = leaf(middle, without=without)
        assert chain_is(run(end, pool, [root], limits=Limits(signatures=8)), end, middle, root)


def test_among_many_keys_of_one_name_none_of_which_signed_all_are_tried():
    without = ("ski", "aki")
    root = make("Root", without=without)
    pool = [make("Middle", issuer=root, own_key=zoo.key(f"many {n}"), without=without) for n in range(300)]
    stranger = make("Middle", issuer=root, own_key=zoo.key("a stranger"), without=without)
    outcome = run(leaf(stranger, without=without), pool, [root])
    assert {one.reason.split(" on ")[0] for one in outcome.rejected} == {"its key did not make the signature"}
    assert len(outcome.rejected) == len(pool)


def test_a_flood_of_certificates_for_two_authorities_is_searched_in_bounded_work():
    upper, lower = make("Upper"), make("Lower")
    pool = [make("Lower", issuer=upper) for _copy in range(300)] + [make("Upper", issuer=lower) for _copy in range(300)]
    outcome = run(leaf(lower), pool, [make("Root")], limits=Limits(steps=5000))
    assert outcome.problem
    assert not outcome.stopped_by


def test_key_identifiers_rank_but_never_decide():
    root = make("Root")
    lying = x509.AuthorityKeyIdentifier(b"nonsense" * 2, None, None)
    end = leaf(root, without=["aki"], extra=[(lying, False)])
    assert chain_is(run(end, [], [root]), end, root)


def test_a_revoked_intermediate_gives_way_to_one_that_is_not():
    root = make("Root")
    revoked, good = make("Middle", issuer=root, days=(-9, 900)), make("Middle", issuer=root)
    end = leaf(good)
    crls = load.load_crls(zoo.crl(root, revoked).encode(), source="crl").crls
    outcome = run(end, [revoked, good], [root], crls=crls)
    assert chain_is(outcome, end, good, root)
    assert "revoked" in reason_for(outcome, revoked)


def test_a_self_signed_leaf_among_the_roots_is_a_chain_of_its_own():
    end = leaf(None)
    assert chain_is(run(end, [], [end]), end)
    assert "not among the roots" in run(end, [], [make("Root")]).problem


def test_a_root_that_is_not_self_issued_ends_a_chain_only_when_partial_chains_are_allowed():
    root = make("Root")
    middle = make("Middle", issuer=root)
    end = leaf(middle)
    assert chain_is(run(end, [], [middle], allow_partial=True), end, middle)
    assert run(end, [], [middle]).problem
    assert chain_is(run(end, [], [middle, root]), end, middle, root)


def test_path_length_counts_only_intermediates_that_are_not_self_issued():
    root = make("Root", path_length=1)
    first = make("Middle", issuer=root, own_key=zoo.key("first"))
    second = make("Middle", issuer=first, own_key=zoo.key("second"))
    end = leaf(second)
    assert chain_is(run(end, [first, second], [root]), end, second, first, root)
    third = make("Third", issuer=second)
    assert "path length" in run(leaf(third), [first, second, third], [root]).problem


def test_max_depth_bounds_the_intermediates():
    root = make("Root")
    first = make("First", issuer=root)
    second = make("Second", issuer=first)
    end = leaf(second)
    assert chain_is(run(end, [first, second], [root], max_depth=2), end, second, first, root)
    outcome = run(end, [first, second], [root], max_depth=1)
    assert "max_depth" in outcome.problem


def test_a_constrained_way_gives_way_to_a_longer_one_without_constraint():
    root, other = make("Root"), make("Other")
    constrained = make("Middle", issuer=root, permitted=["DNS:elsewhere.example"])
    bridge = make("Bridge", issuer=other)
    free = make("Middle", issuer=bridge)
    end = leaf(free)
    outcome = run(end, [constrained, free, bridge], [root, other])
    assert chain_is(outcome, end, free, bridge, other)
    assert "name constraints" in reason_for(outcome, constrained)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"own_key": zoo.key("short", "rsa1024")}, "shorter than 2048"),
        ({"own_key": zoo.key("p192", "p192")}, "shorter than 224"),
        ({"eku": [zoo.CLIENT]}, "serverAuth"),
        ({"key_usage": zoo.usage("key_cert_sign")}, "not a CA"),
        ({"key_usage": zoo.usage("crl_sign")}, "cannot serve TLS"),
        ({"extra": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x"), True)]}, "1.2.3.4"),
        ({"sans": ["DNS:under_score.example"]}, "not a DNS name"),
        ({"sans": ["DNS:192.0.2.1"]}, "IP address"),
    ],
)
def test_a_leaf_that_breaks_a_rule_is_refused_and_the_rule_is_named(options, said):
    root = make("Root")
    end = leaf(root, **options)
    assert said in run(end, [], [root]).problem


@pytest.mark.parametrize("place", ["leaf", "intermediate"])
def test_a_sha_1_signature_is_refused_though_it_verifies(place):
    root = make("Root", kind="rsa2048")
    middle = make("Middle", issuer=root, kind="rsa2048")
    end = leaf(middle, kind="rsa2048")
    if place == "leaf":
        end = zoo.with_sha1_signature(end, middle)
    else:
        middle = zoo.with_sha1_signature(middle, root)
    assert "SHA-1" in run(end, [middle], [root]).problem


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"days": (1, 9)}, "not valid before"),
        ({"key_usage": zoo.usage("crl_sign")}, "keyCertSign"),
        ({"eku": [zoo.CLIENT]}, "serverAuth"),
        ({"without": ["bc"]}, "no basicConstraints"),
        ({"excluded": ["DNS:example"]}, "exclude DNS:leaf.example"),
        ({"excluded": ["DNS:.bad"]}, "malformed"),
        ({"extra": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x"), True)]}, "1.2.3.4"),
        ({"extra": [(x509.PolicyConstraints(0, None), True)]}, "policy"),
    ],
)
@pytest.mark.parametrize("place", ["root", "intermediate"])
def test_an_authority_that_breaks_a_rule_is_refused_and_the_rule_is_named(options, said, place):
    root = make("Root", **(options if place == "root" else {}))
    middle = make("Middle", issuer=root, **(options if place == "intermediate" else {}))
    outcome = run(leaf(middle), [middle], [root])
    assert said in outcome.problem
    assert not outcome.stopped_by


def test_a_demanded_policy_that_every_certificate_has_is_satisfied():
    policy = (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]), False)
    root = make("Root")
    middle = make("Middle", issuer=root, extra=[policy, (x509.PolicyConstraints(0, None), True)])
    end = leaf(middle, extra=[policy])
    assert chain_is(run(end, [middle], [root]), end, middle, root)
    assert "policy" in run(leaf(middle), [middle], [root]).problem


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("leaf.example", True),
        ("LEAF.example.", True),
        ("other.example", False),
        ("one.wild.example", True),
        ("one.two.wild.example", False),
        ("wild.example", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("someone@mail.example", True),
        ("other@mail.example", False),
        ("https://uri.example/x", True),
        ("*.wild.example", True),
        ("*.example", False),
        ("not a host", False),
    ],
)
def test_host_names_match_by_rfc_9525(host, fits):
    root = make("Root")
    sans = ["DNS:leaf.example", "DNS:*.wild.example", "IP:192.0.2.7", "IP:2001:db8::1"]
    end = leaf(root, sans=[*sans, "email:someone@mail.example", "URI:https://uri.example/x"])
    assert bool(run(end, [], [root], hostnames=(host,)).chain) is fits


def test_the_common_name_is_no_host_name():
    root = make("Root")
    end = leaf(root, "host.example", sans=())
    assert "not valid for 'host.example'" in run(end, [], [root], hostnames=("host.example",)).problem


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sans": ()}, "no subjectAltName"),
        ({"without": ["eku"]}, "no extended key usage"),
        ({"without": ["aki"]}, "no authorityKeyIdentifier"),
        ({"own_key": zoo.key("ed", "ed25519")}, "neither RSA nor ECDSA"),
        ({"subject": "other.example"}, "common name"),
        ({"ca": True}, "CA certificate"),
    ],
)
def test_the_profile_webpki_refuses_what_rfc_5280_lets_pass(options, said):
    root = make("Root")
    end = make(**{"subject": "leaf.example", "issuer": root, "ca": False, **options})
    assert run(end, [], [root]).chain
    assert said in run(end, [], [root], profile="webpki").problem


def test_purposes_are_told_apart():
    root = make("Root")
    end = leaf(root, eku=[zoo.CLIENT])
    assert run(end, [], [root], purpose="client").chain
    assert run(end, [], [root], purpose="any").chain
    assert not run(end, [], [root], purpose="server").chain


def test_a_missing_intermediate_is_named_with_what_was_looked_for():
    root = make("Root")
    middle = make("Middle", issuer=root)
    end = leaf(middle)
    problem = run(end, [], [root]).problem
    assert "'CN=Middle'" in problem
    assert end.certificate.fingerprint(hashes.SHA256()).hex() in problem
    assert "Add that CA's certificate" in problem


def test_an_impostor_of_the_root_is_named_with_the_reason():
    root, impostor = make("Root", own_key=zoo.key("true")), make("Root", own_key=zoo.key("false"))
    problem = run(leaf(root), [], [impostor]).problem
    assert "its key did not make the signature" in problem


def test_a_message_speaks_of_the_one_thing_that_is_wrong():
    root = make("Root")
    middle = make("Middle", issuer=root)
    crls = load.load_crls(zoo.crl(root, middle).encode(), source="crl").crls
    problem = run(leaf(middle), [middle], [root], crls=crls).problem
    assert problem.count(". ") == 2
    assert "CN=Middle" in problem
    assert "was revoked" in problem


def test_a_search_that_a_limit_stops_says_so():
    pool = [make("Middle", own_key=zoo.key(f"limit {number}")) for number in range(30)]
    stranger = make("Middle", own_key=zoo.key("not in the pool"))
    outcome = run(leaf(stranger), pool, [make("Root")], limits=Limits(signatures=10))
    assert "10 signature checks" in outcome.stopped_by
    assert outcome.stopped_by in outcome.problem


def test_a_dense_graph_without_a_way_out_is_given_up_in_bounded_work():
    layers = [[make(f"Layer {level}", own_key=zoo.key(f"{level}")) for _copy in range(5)] for level in range(9)]
    pool = [
        make(f"Layer {level}", issuer=layers[level + 1][0], own_key=zoo.key(f"{level}"))
        for level in range(8)
        for _copy in range(20)
    ]
    outcome = run(leaf(layers[0][0]), pool, [make("Root")], limits=Limits(steps=20000))
    assert outcome.problem
    assert not outcome.stopped_by
