# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets are read as Istio reads them, and refused where Istio would be silent."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.prepare import prepare
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import MAX_BYTES, Secret, too_large

NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


class Entity:
    """A key with a certificate; without ``issuer`` self-signed."""

    def __init__(
        self,
        name: str,
        issuer: Entity | None = None,
        *,
        ca: bool | None = True,
        days: tuple[int, int] = (-1, 30),
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name if issuer else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + days[0] * DAY)
            .not_valid_after(NOW + days[1] * DAY)
        )
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        self.certificate = builder.sign((issuer or self).key, hashes.SHA256())
        self.pem = self.certificate.public_bytes(PEM)
        self.key_pem = self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def crl(self, *serials: int, days: tuple[int, int] = (-1, 1)) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(NOW + days[0] * DAY)
            .next_update(NOW + days[1] * DAY)
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(PEM)


ROOT = Entity("Root")
INTERMEDIATE = Entity("Intermediate", ROOT)
LEAF = Entity("leaf", INTERMEDIATE, ca=False)
CLIENT_CA = Entity("Client CA")
OTHER_CA = Entity("Other CA")
CHAIN = LEAF.pem + INTERMEDIATE.pem + ROOT.pem


def secret(**data: bytes) -> Secret:
    """A Secret; underscores in the names stand for dots."""
    named = {key.replace("_", "."): value for key, value in data.items()}
    return Secret(name="s", namespace="istio-system", data=named)


def lint(**data: bytes) -> dict[str, t.Any]:
    return prepare(secret(**data), now=NOW).facts


def refusal(**data: bytes) -> str:
    with pytest.raises(MtlsError) as caught:
        lint(**data)
    message = str(caught.value)
    assert "Secret istio-system/s" in message
    assert "-----BEGIN" not in message
    return message


def test_data_is_never_printed() -> None:
    made = secret(tls_key=LEAF.key_pem)

    assert "PRIVATE" not in repr(made)
    assert "PRIVATE" not in str(made)


@pytest.mark.parametrize("names", [("tls_crt", "tls_key"), ("cert", "key")])
def test_certificate_is_described_without_its_key(names: tuple[str, str]) -> None:
    data = dict(zip(names, (CHAIN, LEAF.key_pem), strict=True))

    facts = lint(**data)

    assert facts["certificate"]["subject"] == "CN=leaf"
    assert facts["certificate"]["issuer"] == "CN=Intermediate"
    assert [one.split(" ")[0] for one in facts["certificate"]["chain"]] == ["CN=Intermediate", "CN=Root"]
    assert secret(**data).certificate() == (CHAIN, LEAF.key_pem)
    assert secret(**data).authorities() is None
    assert "PRIVATE" not in repr(facts)


@pytest.mark.parametrize("names", [("cacert", "crl"), ("ca_crt", "ca_crl")])
def test_client_cas_are_described_with_their_revocation_lists(names: tuple[str, str]) -> None:
    bundle, crls = CLIENT_CA.pem + OTHER_CA.pem, CLIENT_CA.crl(5, 6) + OTHER_CA.crl()
    data = dict(zip(names, (bundle, crls), strict=True))

    facts = lint(**data)

    assert [one["subject"] for one in facts["client_cas"]] == ["CN=Client CA", "CN=Other CA"]
    assert [(one["issuer"], one["revoked"]) for one in facts["crls"]] == [("CN=Client CA", 2), ("CN=Other CA", 0)]
    assert secret(**data).authorities() == (bundle, crls)
    assert secret(**data).certificate() is None


def test_certificate_and_client_cas_may_share_a_secret() -> None:
    facts = lint(tls_crt=CHAIN, tls_key=LEAF.key_pem, ca_crt=CLIENT_CA.pem)

    assert set(facts) == {"certificate", "client_cas"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "there is no data in it"),
        ({"ca_pem": CLIENT_CA.pem}, "reads no key named ca.pem. It reads ca.crl, ca.crt, cacert, cert, crl, key"),
        ({"tls_crt": CHAIN}, "tls.crt and tls.key go together"),
        ({"key": LEAF.key_pem}, "cert and key go together"),
        ({"cacert": CLIENT_CA.pem, "ca_crl": CLIENT_CA.crl()}, "Istio reads a CRL from ca.crl only beside ca.crt"),
        ({"ca_crt": CLIENT_CA.pem, "crl": CLIENT_CA.crl()}, "Istio reads a CRL from crl only beside cacert"),
        ({"cacert": CLIENT_CA.pem, "ca_crt": CLIENT_CA.pem}, "cacert and ca.crt are both there"),
        (
            {"tls_crt": CHAIN, "tls_key": LEAF.key_pem, "cert": CHAIN, "key": LEAF.key_pem},
            "tls.crt and cert are both there",
        ),
    ],
)
def test_layout_that_istio_reads_otherwise_is_refused(data: dict[str, bytes], message: str) -> None:
    assert message in refusal(**data)


EXPIRED_CA = Entity("Expired CA", days=(-9, -1))
FUTURE_CA = Entity("Future CA", days=(1, 9))
EXPIRED = Entity("expired", ROOT, ca=False, days=(-9, -1))
FUTURE = Entity("future", ROOT, ca=False, days=(1, 9))
UNDER_EXPIRED = Entity("under", EXPIRED_CA, ca=False)
FALSE_ROOT = Entity("Root")


@pytest.mark.parametrize(
    ("chain", "key", "message"),
    [
        (b"", LEAF.key_pem, "tls.crt is not PEM"),
        (LEAF.certificate.public_bytes(serialization.Encoding.DER), LEAF.key_pem, "tls.crt is not PEM"),
        (CHAIN, b"", "tls.key is not PEM"),
        (LEAF.key_pem, LEAF.key_pem, "no certificate in the certificate chain of Secret istio-system/s"),
        (CHAIN, LEAF.pem, "no private key in Secret istio-system/s"),
        (CHAIN, ROOT.key_pem, "the private key does not belong to CN=leaf [sha256 "),
        (LEAF.pem + ROOT.pem, LEAF.key_pem, "CN=leaf [sha256 "),
        (LEAF.pem + ROOT.pem + INTERMEDIATE.pem, LEAF.key_pem, "the chain is not in order"),
        (LEAF.pem + INTERMEDIATE.pem + FALSE_ROOT.pem, LEAF.key_pem, "was not issued by the next certificate, CN=Root"),
        (EXPIRED.pem, EXPIRED.key_pem, "CN=expired [sha256 "),
        (EXPIRED.pem, EXPIRED.key_pem, "expired at 2026-05-31"),
        (FUTURE.pem, FUTURE.key_pem, "is valid only from 2026-06-02 12:00:00+00:00 on. Is the clock"),
        (UNDER_EXPIRED.pem + EXPIRED_CA.pem, UNDER_EXPIRED.key_pem, "CN=Expired CA [sha256 "),
    ],
)
def test_certificate_that_envoy_or_clients_would_refuse_is_refused(chain: bytes, key: bytes, message: str) -> None:
    assert message in refusal(tls_crt=chain, tls_key=key)


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (b"nothing", "cacert is not PEM"),
        (LEAF.key_pem, "no certificate in the client CAs of Secret istio-system/s"),
        (LEAF.pem, "CN=leaf [sha256 "),
        (CLIENT_CA.pem + LEAF.pem, "it is not a CA (basicConstraints)"),
        (Entity("v3 without constraints", ca=None).pem, "it is not a CA (basicConstraints)"),
        (EXPIRED_CA.pem, "every client CA has expired"),
    ],
)
def test_client_cas_that_let_the_wrong_or_nobody_in_are_refused(bundle: bytes, message: str) -> None:
    assert message in refusal(cacert=bundle)


def test_one_expired_client_ca_among_others_is_dropped_with_a_note() -> None:
    made = prepare(secret(cacert=EXPIRED_CA.pem + CLIENT_CA.pem), now=NOW)

    assert made.secret.authorities() == (CLIENT_CA.pem, None)
    assert [one["subject"] for one in made.facts["client_cas"]] == ["CN=Client CA"]
    assert "CN=Expired CA" in made.warnings[0]
    assert "is not published: no client of theirs can get in" in made.warnings[0]


def test_many_expired_client_cas_are_one_line() -> None:
    expired = b"".join(Entity(f"Expired {number}", days=(-9, -1)).pem for number in range(5))

    (warning,) = prepare(secret(cacert=expired + CLIENT_CA.pem), now=NOW).warnings

    assert "CN=Expired 0" in warning
    assert "and 4 more client CAs have expired; they are not published" in warning


FALSE_CA = Entity("Client CA")


def test_lists_of_intermediate_cas_are_left_to_the_gateway() -> None:
    lists = CLIENT_CA.crl() + OTHER_CA.crl(5)
    facts = prepare(secret(cacert=CLIENT_CA.pem, crl=lists), now=NOW).facts
    assert [one["revoked"] for one in facts["crls"]] == [0, 1]


@pytest.mark.parametrize(
    ("crl", "message"),
    [
        (b"", "crl is not PEM"),
        (CLIENT_CA.pem, "there is no CRL in PEM form in crl"),
        (b"-----BEGIN X509 CRL-----\nbm90aGluZw==\n-----END X509 CRL-----\n", "the CRL in block 1 of crl"),
        (CLIENT_CA.crl() + b"-----BEGIN X509 CRL-----\nx\n", "the CRL in block 2 of crl"),
        (OTHER_CA.crl(), "there is a CRL, but none of the client CA CN=Client CA"),
        (FALSE_CA.crl(), "the CRL of CN=Client CA was not signed by any of the client CAs beside it"),
        (CLIENT_CA.crl(days=(-9, -1)), "the CRL of CN=Client CA is stale (nextUpdate 2026-05-31 12:00:00+00:00)"),
        (CLIENT_CA.crl(days=(1, 9)), "the CRL of CN=Client CA is not valid before 2026-06-02 12:00:00+00:00"),
        (CLIENT_CA.crl() + OTHER_CA.crl(days=(-9, -1)), "the CRL of CN=Other CA is stale"),
    ],
)
def test_revocation_list_that_envoy_would_fail_on_is_refused(crl: bytes, message: str) -> None:
    assert message in refusal(cacert=CLIENT_CA.pem, crl=crl)


def test_damaged_chain_names_the_secret() -> None:
    assert "the certificate in block 1 of tls.crt (CERTIFICATE) cannot be read: it is cut off" in refusal(
        tls_crt=CHAIN[:200], tls_key=LEAF.key_pem
    )


@pytest.mark.parametrize(("key", "is_list"), [("crl", True), ("ca.crl", True), ("tls.crt", False)])
def test_the_advice_for_a_large_secret_is_about_lists_only_where_a_list_is_large(key, is_list):
    fits = Secret("kyma-mtls", "istio-system", {key: b"x" * (MAX_BYTES - 1), "cacert": b"x"})
    assert too_large(fits) == ""
    problem = too_large(Secret("kyma-mtls", "istio-system", {**fits.data, "tls.key": b"x"}))
    assert f"1.00 MiB of data, 1.00 MiB of it in {key}, but Kubernetes takes no Secret of more than 1 MiB." in problem
    assert ("Rotate the client CA" in problem) is is_list
