# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate of an external issuer, between its request and its publication, killed at every moment."""

from __future__ import annotations

import datetime
import json
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import order
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.order import CertificateOrder, request_of
from ansible_collections.kyma.mtls.plugins.module_utils._pki.keys import KeySpec
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import RenewalRule
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import time_text
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW, certificate_pem, make_ca

DAY = datetime.timedelta(days=1)
SANS = ("DNS:www.example.com", "DNS:*.example.com")
P256 = KeySpec("ECDSA", curve="P-256")
TERMS = {"issuer": "https://acme.test/dir", "profile": ""}
CA_KEY = ec.generate_private_key(ec.SECP256R1())
CA = make_ca(CA_KEY)


def request(sans: t.Sequence[str] = SANS, key: KeySpec = P256, **terms: str) -> order.Request:
    return request_of(sans, key, TERMS | terms)


def look(place: CertificateOrder, asked: order.Request | None = None, **options: t.Any) -> dict[str, t.Any]:
    given = {"now": NOW, "is_forced": False, "check_mode": False, "rule": RenewalRule()} | options
    return place.reconcile("present", asked or request(), given.pop("rule"), **given)


def issue(
    place: CertificateOrder, csr: str, days: int = 90, given: t.Callable[[x509.GeneralName], bool] = lambda _name: True
) -> None:
    """What the CA does."""
    asked = x509.load_pem_x509_csr(csr.encode())
    names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    leaf = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(CA.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + days * DAY)
        .add_extension(x509.SubjectAlternativeName(filter(given, names)), critical=True)
        .sign(CA_KEY, hashes.SHA256())
    )
    path = place.directory / "order" / "fullchain.pem"
    path.write_bytes(certificate_pem(leaf) + certificate_pem(CA))


@pytest.fixture
def place(tmp_path: Path) -> CertificateOrder:
    return CertificateOrder(tmp_path / "acquired")


@pytest.fixture
def settled(place: CertificateOrder) -> CertificateOrder:
    issue(place, place.begin(request()))
    look(place)
    return place


def test_first_nothing_then_an_order_then_the_pair(place: CertificateOrder) -> None:
    first = look(place)
    assert (first["is_due"], first["reasons"], first["certificate"]) == (True, ["there is no certificate yet"], "")
    csr = place.begin(request())
    names = x509.load_pem_x509_csr(csr.encode()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["www.example.com", "*.example.com"]
    assert (place.directory / "order/server.key").stat().st_mode & 0o777 == 0o600
    assert look(place)["is_due"]  # the CA has not answered yet
    issue(place, csr)
    assert look(place, check_mode=True)["changed"]
    assert (place.directory / "order").exists()
    kept = look(place)
    assert (kept["changed"], kept["is_due"]) == (True, False)
    assert Path(kept["key"]).parent == Path(kept["certificate"]).parent == place.directory / "current"
    assert kept["renew_at"] == time_text(NOW + 90 * DAY * 0.67)
    assert not look(place)["changed"]


@pytest.mark.parametrize(
    ("asked", "options", "reason"),
    [
        (request(), {"now": NOW + 61 * DAY}, "within the renewal window of 33 % of its lifetime"),
        (request(), {"now": NOW + 50 * DAY, "rule": RenewalRule(days=41)}, "within the renewal window of 41 days"),
        (request(), {"is_forced": True}, "a new key and certificate are requested"),
        (request(profile="shortlived"), {}, "profile is shortlived, requested was nothing"),
        (request(issuer="https://other.test/dir"), {}, "issuer is https://other.test/dir, requested was https://acme"),
        (request(["DNS:www.example.com"]), {}, "names is DNS:www.example.com, requested was DNS:*.example.com"),
        (request(key=KeySpec("RSA", size=2048)), {}, "key is RSA 2048, requested was ECDSA P-256"),
    ],
)
def test_what_makes_a_new_order_due(
    settled: CertificateOrder, asked: order.Request, options: dict[str, t.Any], reason: str
) -> None:
    assert not look(settled)["is_due"]
    (found,) = look(settled, asked, **options)["reasons"]
    assert reason in found


def test_a_certificate_that_lives_shorter_than_the_days_is_not_renewed_on_every_run(place: CertificateOrder) -> None:
    issue(place, place.begin(request()), days=6)
    assert not look(place, rule=RenewalRule(days=30))["is_due"]
    assert look(place, rule=RenewalRule(days=30), now=NOW + 5 * DAY)["is_due"]


def test_an_order_that_came_to_nothing_leaves_the_pair(settled: CertificateOrder) -> None:
    before = look(settled)
    settled.begin(request())
    for check_mode in (True, False):
        given = {"is_forced": False, "check_mode": check_mode, "now": NOW}
        assert settled.reconcile("absent", request(), RenewalRule(), **given) == {"changed": True}
    assert [path.name for path in settled.directory.iterdir()] == ["current"]
    assert look(settled) == before


def test_a_certificate_for_another_key_is_none(settled: CertificateOrder) -> None:
    other = settled.begin(request())
    settled.begin(request())
    issue(settled, other)
    assert not look(settled)["changed"]
    assert look(settled)["certificate"].endswith("current/fullchain.pem")


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_while_the_pair_is_replaced_leaves_the_former_or_the_new_one(
    settled: CertificateOrder, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    issue(settled, settled.begin(request()))
    new = (settled.directory / "order/fullchain.pem").read_bytes()
    rename, done = Path.rename, 0

    def killed(self: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise KeyboardInterrupt
        done += 1
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        if renames < 2:
            with pytest.raises(KeyboardInterrupt):
                settled.complete()
        else:
            settled.complete()
    found = look(settled)
    assert Path(found["certificate"]).read_bytes() == new
    assert not found["is_due"]
    assert [path.name for path in settled.directory.iterdir()] == ["current"]


def test_a_former_pair_comes_back_when_the_order_is_lost(settled: CertificateOrder) -> None:
    (settled.directory / "current").rename(settled.directory / "former")
    assert not look(settled)["is_due"]
    assert (settled.directory / "current/server.key").exists()


def test_a_certificate_without_a_name_that_was_asked_for_is_ordered_again(settled: CertificateOrder) -> None:
    issue(settled, settled.begin(request()), given=lambda name: not str(name.value).startswith("*"))
    assert look(settled)["reasons"] == ["the issuer left out DNS:*.example.com"]
    issue(settled, settled.begin(request()))
    assert not look(settled)["is_due"]


def test_the_case_of_a_name_is_no_difference(place: CertificateOrder) -> None:
    asked = request(["DNS:WWW.Example.com"])
    issue(place, place.begin(request(["DNS:www.example.com"])))
    (place.directory / "order/request.json").write_text(json.dumps(asked.text))
    assert not look(place, asked)["is_due"]


def test_no_name_is_no_request() -> None:
    with pytest.raises(MtlsError, match="No name is requested"):
        request([])
