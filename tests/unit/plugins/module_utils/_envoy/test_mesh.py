# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mesh of the second hop."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.kyma.mtls.plugins.module_utils._envoy import mesh
from ansible_collections.kyma.mtls.plugins.module_utils._envoy.mesh import KeyPair, Mesh
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy.samples import NOW, Authority

GATEWAY, WORKLOAD = (f"spiffe://cluster.local/ns/{name}" for name in ("istio-system/sa/gateway", "test/sa/httpbin"))
BOTH = (GATEWAY, WORKLOAD)


@pytest.fixture(scope="module")
def made() -> Mesh:
    """A new mesh of two."""
    return mesh.make_mesh(BOTH, now=NOW)


def test_an_svid_has_its_identity_and_nothing_else(made: Mesh) -> None:
    certificate = x509.load_pem_x509_certificate(made.identities[WORKLOAD].certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert list(certificate.subject) == []
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier(WORKLOAD)]
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_the_root_issued_every_svid_and_outlives_it(made: Mesh) -> None:
    root = x509.load_pem_x509_certificate(made.root.certificate)

    for pair in made.identities.values():
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        certificate.verify_directly_issued_by(root)
        assert certificate.not_valid_after_utc <= root.not_valid_after_utc


def test_a_new_mesh_is_good_and_stays_as_it_is(made: Mesh) -> None:
    assert mesh.problems(made, BOTH, now=NOW) == ()
    assert mesh.renew(made, BOTH, now=NOW) == made


def test_a_key_is_never_printed(made: Mesh) -> None:
    assert "PRIVATE" not in repr(made)


def test_no_mesh_makes_a_new_one() -> None:
    assert mesh.problems(mesh.renew(None, BOTH, now=NOW), BOTH, now=NOW) == ()


def test_a_new_identity_leaves_the_others_alone(made: Mesh) -> None:
    another = "spiffe://cluster.local/ns/far/sa/echo"
    renewed = mesh.renew(made, (*BOTH, another), now=NOW)

    assert renewed.root == made.root
    assert {identity: renewed.identities[identity] for identity in BOTH} == made.identities
    assert mesh.problems(made, [another], now=NOW) == (f"The mesh has no certificate of {another}.",)
    assert mesh.problems(renewed, [another], now=NOW) == ()


def test_an_identity_that_nobody_needs_is_dropped(made: Mesh) -> None:
    assert set(mesh.renew(made, [GATEWAY], now=NOW).identities) == {GATEWAY}


def test_what_expires_soon_is_renewed(made: Mesh) -> None:
    later = NOW + mesh.LIFETIME - datetime.timedelta(days=20)
    renewed = mesh.renew(made, BOTH, now=later)

    assert "The mesh's root expires at" in mesh.problems(made, BOTH, now=later)[0]
    assert renewed.root != made.root
    assert mesh.problems(renewed, BOTH, now=later) == ()


def test_what_is_not_valid_yet_is_not_good(made: Mesh) -> None:
    assert "is not valid before" in mesh.problems(made, BOTH, now=NOW - datetime.timedelta(days=1))[0]


def _with_root(made: Mesh, **change: bytes) -> Mesh:
    return dataclasses.replace(made, root=dataclasses.replace(made.root, **change))


def _with_workload(made: Mesh, pair: KeyPair) -> Mesh:
    return dataclasses.replace(made, identities={**made.identities, WORKLOAD: pair})


def test_a_broken_root_makes_the_whole_mesh_anew(made: Mesh) -> None:
    other = mesh.make_mesh(BOTH, now=NOW)
    leaf = made.identities[GATEWAY]
    broken = [
        _with_root(made, certificate=b"nothing"),
        _with_root(made, key=b"nothing"),
        _with_root(made, key=other.root.key),
        _with_root(made, certificate=leaf.certificate, key=leaf.key),
    ]

    for candidate in broken:
        (problem,) = mesh.problems(candidate, BOTH, now=NOW)
        assert problem.startswith("The mesh's root cannot be used: ")
        assert mesh.problems(mesh.renew(candidate, BOTH, now=NOW), BOTH, now=NOW) == ()


def test_a_broken_svid_is_issued_anew(made: Mesh) -> None:
    other = mesh.make_mesh(BOTH, now=NOW)
    good = made.identities[WORKLOAD]
    broken = [
        KeyPair(b"nothing", good.key),
        KeyPair(good.certificate, b"nothing"),
        KeyPair(good.certificate, made.identities[GATEWAY].key),
        made.identities[GATEWAY],
        other.identities[WORKLOAD],
        KeyPair(*Authority("another", "CA").issue()),
    ]

    for pair in broken:
        candidate = _with_workload(made, pair)
        (problem,) = mesh.problems(candidate, BOTH, now=NOW)
        assert problem.startswith(f"The mesh's certificate of {WORKLOAD} cannot be used: ")
        renewed = mesh.renew(candidate, BOTH, now=NOW)
        assert renewed.root == made.root
        assert renewed.identities[GATEWAY] == made.identities[GATEWAY]
        assert mesh.problems(renewed, BOTH, now=NOW) == ()
