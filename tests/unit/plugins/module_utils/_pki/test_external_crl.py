# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocation lists at URLs: what takes the place of the one that serves, and what does not."""

from __future__ import annotations

import datetime
import http.server
import re
import threading
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki import sides
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import (
    DAY,
    NOW,
    certificate_pem,
    key_pem,
    make_ca,
)


class Publisher:
    """A CA that publishes its list, and a client PKI that trusts it."""

    def __init__(self, path: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = make_ca(self.key)
        self.content: bytes | None = self.crl()
        self.side = sides.client(path, ca=None)
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if publisher.content is not None else 503)
                self.end_headers()
                self.wfile.write(publisher.content or b"")

            def log_message(self, *_arguments: t.Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/ca.crl"

    def crl(
        self,
        *revoked: int,
        number: int = 1,
        days: int = 9,
        at: datetime.datetime = NOW,
        key: ec.EllipticCurvePrivateKey | None = None,
        point: bool = False,
        encoding: serialization.Encoding = serialization.Encoding.DER,
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.ca.subject)
            .last_update(at)
            .next_update(at + days * DAY)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        if point:
            name = [x509.UniformResourceIdentifier("http://ca.example/ca.crl")]
            distribution = x509.IssuingDistributionPoint(name, None, False, False, None, False, False)
            builder = builder.add_extension(distribution, critical=True)
        for serial_number in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(NOW)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(encoding)

    def run(self, *, now: datetime.datetime = NOW, **changes: t.Any) -> dict[str, t.Any]:
        provided = {"ca": certificate_pem(self.ca).decode(), "ca_key": None, "ca_key_content": None, "provider": None}
        given = {"provided": provided, "certificates": [], "crl_url": [self.url]} | changes
        return self.side.run(now=now, **given)

    @property
    def served(self) -> bytes:
        crl = x509.load_pem_x509_crl((self.side.path / "ca.crl").read_bytes())
        return crl.public_bytes(serialization.Encoding.DER)


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Publisher]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Publisher(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_list_is_published_in_pem_and_the_newer_one_takes_its_place(publisher: Publisher) -> None:
    first = publisher.content
    shown = publisher.run(check_mode=True)
    assert "Write the list of" in str(shown["actions"])
    assert not publisher.side.path.exists()
    assert publisher.run()["lists"][0]["reasons"] == ["there is none yet"]
    assert publisher.served == first
    assert not publisher.run()["changed"]
    publisher.content = publisher.crl(7, number=2, encoding=serialization.Encoding.PEM)
    assert publisher.run()["lists"][0]["reasons"] == ["its CA has a newer one"]
    assert 7 in {entry.serial_number for entry in x509.load_der_x509_crl(publisher.served)}


def test_what_cannot_serve_never_takes_the_place_of_what_does(publisher: Publisher) -> None:
    publisher.content = good = publisher.crl(number=5)
    publisher.run()
    bad = {
        "answers with the status 503": None,
        "There is no CRL in": b"-----BEGIN NOTHING-----\n-----END NOTHING-----\n",
        "has an issuing distribution point": publisher.crl(number=6, point=True),
        "is stale": publisher.crl(number=6, at=NOW - 20 * DAY),
        "not valid before": publisher.crl(number=6, at=NOW + DAY),
        "is older than the one that serves": publisher.crl(number=4),
    }
    for words, content in bad.items():
        publisher.content = content
        done = publisher.run()
        assert not done["changed"], words
        assert words in str(done["notes"])
        assert "serves until 2026-12-02T12:00:00Z and is not renewed" in str(done["notes"])
    # Another key under the CA's name: no list of this CA at all.
    publisher.content = publisher.crl(number=9, key=ec.generate_private_key(ec.SECP256R1()))
    assert not publisher.run()["changed"]
    assert publisher.served == good


def test_the_list_of_a_stranger_is_named(publisher: Publisher) -> None:
    own, publisher.content = publisher.content, publisher.crl(key=ec.generate_private_key(ec.SECP256R1()))
    named = r"ca\.crl has the list of .*, which is not signed by any CA that the gateway trusts"
    with pytest.raises(MtlsError, match=named):
        publisher.run()
    publisher.content, stranger = own, publisher.content
    publisher.run()
    publisher.content = stranger
    told = publisher.run()
    assert not told["changed"]
    assert re.search(named, str(told["notes"]))
    assert publisher.served == own


def test_the_run_warns_until_the_end_is_near_and_then_fails(publisher: Publisher) -> None:
    publisher.run()
    publisher.content = None
    assert "is not renewed" in str(publisher.run(now=NOW + 7 * DAY)["notes"])
    with pytest.raises(
        MtlsError, match=r"That is near, and Envoy refuses every client from then on. Nothing was changed"
    ):
        publisher.run(now=NOW + 8 * DAY)
    publisher.content = publisher.crl()  # its owner is late: the same list as before
    assert not publisher.run(now=NOW + 5 * DAY)["notes"]
    assert "Its owner has no newer one." in str(publisher.run(now=NOW + 7 * DAY)["notes"])


def test_without_a_list_of_every_ca_none_is_published(publisher: Publisher) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    both = certificate_pem(publisher.ca, make_ca(other, common_name="Other Root")).decode()
    provided = {"ca": both, "ca_key": None, "ca_key_content": None, "provider": None}
    with pytest.raises(MtlsError, match=r"no usable revocation list of .*Other Root.* by crl_url"):
        publisher.run(provided=provided)
    assert not (publisher.side.path / "ca.crl").exists()


def test_the_list_of_the_root_stands_beside_that_of_a_ca_that_issues_here(publisher: Publisher) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    below = make_ca(key, common_name="Issuing", issuer=(publisher.ca, publisher.key), path_length=0)
    provided = {
        "ca": certificate_pem(below, publisher.ca).decode(),
        "ca_key": None,
        "ca_key_content": key_pem(key).decode(),
        "provider": None,
    }
    publisher.run(provided=provided, certificates=[{"name": "curl"}])
    lists = (publisher.side.path / "ca.crl").read_bytes().split(b"-----END X509 CRL-----\n")[:-1]
    issuers = [x509.load_pem_x509_crl(one + b"-----END X509 CRL-----\n").issuer for one in lists]
    assert issuers == [below.subject, publisher.ca.subject]
    assert not publisher.run(provided=provided, certificates=[{"name": "curl"}])["changed"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"usage": "server", "provided": None}, "crl_url is for clients"),
        ({"provided": None}, "crl_url is for CAs whose key is elsewhere"),
    ],
)
def test_urls_where_there_is_no_use_for_them_are_refused(
    publisher: Publisher, changes: dict[str, t.Any], expected: str
) -> None:
    with pytest.raises(MtlsError, match=expected):
        publisher.run(ca=sides.ca_of("client"), **changes)
