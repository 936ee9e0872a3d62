# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA that was renewed with its key: the new certificate comes first and takes over, and nothing is issued again."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.corporate import provided
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    certificate_pem,
    key_pem,
    make_ca,
)
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.sides import (
    Side,
    client,
    openssl_accepts,
    server,
)

LATER = NOW + 100 * DAY  # when OLD has expired


class Renewed(t.NamedTuple):
    """One key and name with an old certificate and a new one."""

    key: ec.EllipticCurvePrivateKey
    old: x509.Certificate
    new: x509.Certificate

    def pem(self, which: str) -> str:
        return certificate_pem(*(getattr(self, one) for one in which.split("+"))).decode()


def renewed(issuer: tuple[x509.Certificate, t.Any] | None = None, **changes: t.Any) -> Renewed:
    key = ec.generate_private_key(ec.SECP256R1())
    old = make_ca(key, start=NOW - 700 * DAY, days=750, issuer=issuer, **changes)
    return Renewed(key, old, make_ca(key, start=NOW - DAY, days=3650, issuer=issuer, **changes))


@pytest.fixture
def ca() -> Renewed:
    return renewed(common_name="Corporate Root")


def given(ca: Renewed, which: str, *, with_key: bool = False) -> dict[str, t.Any]:
    return provided(ca.pem(which), ca_key_content=key_pem(ca.key).decode() if with_key else None)


@pytest.mark.parametrize("which", ["old+new", "new+old"])
def test_what_the_gateway_trusts_has_the_new_certificate_first_and_loses_the_old_one_when_it_expires(
    tmp_path: Path, ca: Renewed, which: str
) -> None:
    side = client(tmp_path)
    side.run(certificates=[], provided=given(ca, "old"))
    side.run(certificates=[], provided=given(ca, which))
    assert side.certificates("ca-bundle.crt") == [ca.new, ca.old]
    assert side.certificates("ca.crt") == [ca.new]
    assert not side.run(certificates=[], provided=given(ca, which))["changed"]
    late = side.run(certificates=[], provided=given(ca, which), now=LATER)
    assert side.certificates("ca-bundle.crt") == [ca.new]
    assert any("expired on" in note and "has the same name and key" in note for note in late["notes"])
    again = side.run(certificates=[], provided=given(ca, which), now=LATER)
    assert not again["changed"]


@pytest.mark.parametrize("now", [NOW, LATER], ids=["before the old one expires", "after it"])
@pytest.mark.parametrize("with_key", [False, True])
def test_the_new_certificate_alone_takes_over(
    tmp_path: Path, ca: Renewed, now: datetime.datetime, *, with_key: bool
) -> None:
    side = client(tmp_path)
    people = [{"name": "curl"}] if with_key else []
    side.run(certificates=people, provided=given(ca, "old", with_key=with_key))
    before = side.tree()
    options = {"certificates": people, "provided": given(ca, "new", with_key=with_key), "now": now}
    predicted = side.run(**options, check_mode=True)
    assert predicted["changed"]
    assert side.tree() == before
    done = side.run(**options)
    for result in (predicted, done):
        # Only a certificate whose end the old CA had cut is renewed.
        assert all("expire" in str(one["reasons"]) for one in result["changes"]), result["changes"]
    assert side.certificates("ca.crt") == [ca.new]
    assert side.certificates("ca-bundle.crt") == ([ca.new, ca.old] if now == NOW else [ca.new])
    assert not side.run(**options)["changed"]
    # What was there is kept.
    assert certificate_pem(ca.old) in [path.read_bytes() for path in side.path.glob("replaced/*/ca.crt")]
    # The old one alone, in somebody's inventory, does not take it back.
    if now == NOW:
        assert not side.run(certificates=people, provided=given(ca, "old", with_key=with_key))["changed"]
        assert side.certificates("ca.crt") == [ca.new]


@pytest.mark.parametrize("make", [server, client])
def test_an_intermediate_that_was_renewed_takes_over_too(tmp_path: Path, make: type[Side]) -> None:
    root, middle = renewed(common_name="Root"), renewed(common_name="ignored")
    middle = renewed((root.new, root.key), common_name="Middle")
    lowest_key = ec.generate_private_key(ec.SECP256R1())
    lowest = make_ca(lowest_key, common_name="Lowest", issuer=(middle.new, middle.key), days=700)

    def heap(middles: str, roots: str) -> dict[str, t.Any]:
        text = certificate_pem(lowest).decode() + middle.pem(middles) + root.pem(roots)
        return provided(text, ca_key_content=key_pem(lowest_key).decode())

    side = make(tmp_path)
    side.run(provided=heap("old", "old"))
    leaf = "server.crt" if side.usage == "server" else "clients/curl/client.crt"
    for middles, roots in (("old+new", "old"), ("new", "old+new"), ("new", "new")):
        before = side.tree()[leaf]
        done = side.run(provided=heap(middles, roots))
        assert not [one for one in done["changes"] if one["action"] in {"issue", "reissue"}], done["changes"]
        assert side.tree()[leaf] == before
        assert not side.run(provided=heap(middles, roots))["changed"]
    assert side.certificates("ca.crt") == [root.new]
    assert side.certificates("intermediate-chain.pem") == [middle.new]
    chain = "server-chain.pem" if side.usage == "server" else "clients/curl/client-chain.pem"
    done = side.run(provided=heap("new", "new"), now=LATER)
    arguments = ("-untrusted", str(side.path / chain))
    assert openssl_accepts(side.path / "ca.crt", side.path / chain, *arguments, at=LATER)


def test_a_server_of_a_ca_that_was_renewed_serves_the_new_root(tmp_path: Path, ca: Renewed) -> None:
    issuing = server(tmp_path / "issuing", provided=given(ca, "old", with_key=True))
    issuing.run()
    finished = {
        "name": "server",
        "certificate": str(issuing.path / "server.crt"),
        "key": str(issuing.path / "server.key"),
    }
    side = server(tmp_path)
    side.run(finished, provided=given(ca, "old"))
    for which in ("old+new", "new+old", "new"):
        changed = side.run(finished, provided=given(ca, which))["changed"]
        assert changed == (which == "old+new")
        assert side.certificates("ca.crt") == [ca.new]
        assert side.certificates("server-chain.pem")[-1] == ca.new
        assert not side.run(finished, provided=given(ca, which))["changed"]


def test_one_that_is_not_valid_yet_comes_behind(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = make_ca(key, start=NOW - 700 * DAY, days=1000)
    coming = make_ca(key, start=NOW + 10 * DAY, days=3650)
    both = provided(certificate_pem(old, coming).decode())
    side = client(tmp_path, provided=both)
    with pytest.raises(MtlsError, match="is not valid before"):
        side.run(certificates=[])
    side = client(tmp_path)
    side.run()
    bundle = side.path / "ca-bundle.crt"
    bundle.write_bytes(bundle.read_bytes() + certificate_pem(coming, old))
    side.run()
    assert side.certificates("ca-bundle.crt")[1:] == [old, coming]
    side.run(now=NOW + 20 * DAY)
    assert side.certificates("ca-bundle.crt")[1:] == [coming, old]


def test_a_root_comes_before_its_cross_certificate_as_long_as_it_is_valid(tmp_path: Path) -> None:
    other = renewed(common_name="Other Root")
    key = ec.generate_private_key(ec.SECP256R1())
    root = make_ca(key, common_name="Crossed", days=50)
    cross = make_ca(key, common_name="Crossed", issuer=(other.new, other.key), days=300)
    side = client(tmp_path)
    side.run()
    bundle = side.path / "ca-bundle.crt"
    bundle.write_bytes(bundle.read_bytes() + certificate_pem(cross, root, other.new))
    side.run()
    assert side.certificates("ca-bundle.crt")[1:] == [root, cross, other.new]
    side.run(now=NOW + 60 * DAY)
    assert side.certificates("ca-bundle.crt")[1:] == [cross, other.new]


def test_another_key_of_the_same_name_is_another_ca(tmp_path: Path, ca: Renewed) -> None:
    side = client(tmp_path)
    side.run(certificates=[], provided=given(ca, "old"))
    stranger = renewed(common_name="Corporate Root")
    with pytest.raises(MtlsError, match="has a CA already"):
        side.run(certificates=[], provided=given(stranger, "new"))
    both = provided(ca.pem("old") + stranger.pem("new"))
    side.run(certificates=[], provided=both)
    assert side.certificates("ca-bundle.crt") == [ca.old, stranger.new]


@pytest.mark.parametrize("make", [server, client])
def test_a_ca_of_our_own_that_somebody_renewed_goes_on(tmp_path: Path, make: type[Side]) -> None:
    side = make(tmp_path, intermediate=None)
    side.run()
    if side.usage == "client":
        side.run({"name": "curl"}, {"name": "robot"})
        side.run({"name": "curl"}, {"name": "robot"}, state="revoked", revoke=["robot"])
    people = [{"name": "curl"}, {"name": "robot"}] if side.usage == "client" else [side.certificate()]
    old = side.one("ca.crt")
    new = make_ca(side.key("ca.key"), organization="Test Org", common_name=f"Test {side.usage.title()} Root", days=7000)
    (side.path / "ca.crt").write_bytes(certificate_pem(new))
    predicted = side.run(*people, check_mode=True)
    done = side.run(*people)
    assert predicted["changed"]
    assert done["changed"]
    assert not [one for one in done["changes"] if one["action"] in {"issue", "reissue"}]
    if side.usage == "client":
        assert side.certificates("ca-bundle.crt") == [new, old]
    else:
        assert side.certificates("server-chain.pem")[-1] == new
    assert not side.run(*people)["changed"]
