# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a CA wants a certificate renewed, and what a CA is that does not say so."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.kyma.mtls.plugins.module_utils import _http
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.order import AcmeServer, certificate_id
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import NOW

URL = "https://acme.test/dir"
ORDERS = {"newOrder": "https://acme.test/order"}
INFO = {"renewalInfo": "https://acme.test/ari"}
# The example of RFC 9773 section 4.1.
NAME = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def window(start: str, end: str) -> dict[str, t.Any]:
    return {"suggestedWindow": {"start": start, "end": end}}


WINDOW = window("2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z")


@pytest.fixture(scope="module")
def certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    authority = x509.AuthorityKeyIdentifier(bytes.fromhex("69885b6b87464041e1b37b847ba0ae2cde01c8d4"), None, None)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0x87654321)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=90))
        .add_extension(authority, critical=False)
        .sign(key, hashes.SHA256())
    )


def server(monkeypatch: pytest.MonkeyPatch, answers: dict[str, t.Any]) -> AcmeServer:
    def fetch(url: str, **_options: t.Any) -> bytes:
        if url not in answers:
            raise _http.NoAnswerError(f"{url} cannot be reached: Connection refused.")
        answer = answers[url]
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    monkeypatch.setattr(_http, "fetch", fetch)
    return AcmeServer(URL, "", 5)


def test_the_name_of_a_certificate_is_that_of_the_standard(certificate: x509.Certificate) -> None:
    assert certificate_id(certificate) == NAME


def test_the_moment_is_in_the_window_and_the_same_on_every_run(
    monkeypatch: pytest.MonkeyPatch, certificate: x509.Certificate
) -> None:
    asked = server(monkeypatch, {URL: ORDERS | INFO, f"https://acme.test/ari/{NAME}": WINDOW})
    first, second = asked.advice(certificate), asked.advice(certificate)
    assert first is not None
    assert first == second
    assert first.certificate_id == NAME
    assert first.start <= first.moment < first.end


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {URL: ORDERS},
        {URL: b"<html>"},
        {URL: [1]},
        {URL: ORDERS | INFO},
        {URL: ORDERS | INFO, f"https://acme.test/ari/{NAME}": {"suggestedWindow": None}},
        {URL: ORDERS | INFO, f"https://acme.test/ari/{NAME}": {"suggestedWindow": {"start": "soon", "end": "later"}}},
        {URL: ORDERS | INFO, f"https://acme.test/ari/{NAME}": window("2026-11-20T00:00:00", "2026-11-22T00:00:00")},
        {URL: ORDERS | INFO, f"https://acme.test/ari/{NAME}": window("2026-11-22T00:00:00Z", "2026-11-20T00:00:00Z")},
        {URL: ORDERS | INFO, f"https://acme.test/ari/{NAME}": window("0001-01-01T00:00:00+14:00", "2026-11-20T00:00Z")},
        {URL: ORDERS | INFO, f"https://acme.test/ari/{NAME}": b"[" * 100_000},
    ],
)
def test_no_usable_answer_is_no_advice(
    monkeypatch: pytest.MonkeyPatch, certificate: x509.Certificate, answers: dict[str, t.Any]
) -> None:
    assert server(monkeypatch, answers).advice(certificate) is None


def test_what_is_no_acme_server_is_said_before_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MtlsError, match="is not the directory of an ACME server"):
        server(monkeypatch, {URL: {"type": "about:blank"}}).directory()
    with pytest.raises(MtlsError, match="does not answer with JSON"):
        server(monkeypatch, {URL: b"<html>"}).directory()
