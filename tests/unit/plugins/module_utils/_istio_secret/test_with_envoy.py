# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is published is what the real Envoy reads; what it would not have read as given is said."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.prepare import Prepared, prepare
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret.secret import Secret
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._istio_secret.gateways import (
    NOW,
    PEM,
    Authority,
    Gateway,
    Leaf,
    Material,
    key_pem,
    new_key,
    usage,
)

ONE, TWO = Authority("Client Root 1"), Authority("Client Root 2")
ALICE, BOB, GONE = Leaf(ONE), Leaf(TWO), Leaf(ONE)
A, B = ONE.pem, TWO.pem
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
BOM = b"\xef\xbb\xbf"


def prepared(**data: bytes) -> Prepared:
    named = {key.replace("_", "."): value for key, value in data.items()}
    return prepare(Secret(name="s", namespace="istio-system", data=named), now=NOW)


def refusal(**data: bytes) -> str:
    with pytest.raises(MtlsError) as caught:
        prepared(**data)
    message = str(caught.value)
    assert "istio-system/s" in message
    assert "-----BEGIN" not in message
    return message


def indented(data: bytes) -> bytes:
    return b"".join(b"  " + line + b"\n" for line in data.splitlines())


def block(content: bytes, *, label: bytes = b"CERTIFICATE", columns: int = 64) -> bytes:
    text = base64.b64encode(content)
    lines = [text[start : start + columns] for start in range(0, len(text), columns)]
    return b"\n".join([b"-----BEGIN " + label + b"-----", *lines, b"-----END " + label + b"-----", b""])


DER = ONE.certificate.public_bytes(serialization.Encoding.DER)
REQUEST = block(b"0000", label=b"CERTIFICATE REQUEST")
# What is given -> what the warning calls it; empty where the gateway reads it as given.
BUNDLES: dict[str, tuple[bytes, str]] = {
    "plain": (A + B, ""),
    "line ends of Windows": ((A + B).replace(b"\n", b"\r\n"), ""),
    "no final newline": ((A + B).rstrip(), ""),
    "comments and text between": (b"# first\n" + A + b"\nsubject=CN=2\n" + B, ""),
    "blanks at line ends": (b"".join(line + b" \t\n" for line in (A + B).splitlines()), ""),
    "the same CA twice": (A + A + B, ""),
    "old label": (A.replace(b" CERTIFICATE", b" X509 CERTIFICATE") + B, ""),
    "OpenSSL's own form": (A.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE") + B, ""),
    "lines of 76 characters": (block(DER, columns=76) + B, ""),
    "one long line": (block(DER, columns=100000) + B, ""),
    "an empty line behind BEGIN": (A.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\n\n", 1) + B, ""),
    "a request between": (A + REQUEST + B, ""),
    "a CA's key between": (A + ONE.key.private_bytes(PEM, PKCS8, serialization.NoEncryption()) + B, ""),
    "a commented certificate": (A + b"".join(b"# " + line + b"\n" for line in A.splitlines()) + B, ""),
    "byte order mark": (BOM + A + B, "there is a byte order mark in front"),
    "UTF-16": ((A + B).decode().encode("utf-16"), "it is UTF-16"),
    "text on the line of BEGIN": (b"Root 1: " + A + B, "text before a BEGIN"),
    "text on the line of END": (A.rstrip() + b" of root 1\n" + B, "text behind an END"),
    "label in mixed case": (A.replace(b" CERTIFICATE", b" Certificate") + B, "a label is not in upper case"),
    "joined": (A.rstrip() + B, "two blocks are joined without a newline"),
    "indented": (indented(A + B), "its lines are indented"),
    "PKCS#7": (pkcs7.serialize_certificates([ONE.certificate, TWO.certificate], PEM), "PKCS#7"),
    "line ends of old Macs": ((A + B).replace(b"\n", b"\r"), "its lines end with CR only"),
    "an empty line inside": (A[:158] + b"\n" + A[158:] + B, "empty lines"),
    "a damaged block of another kind": (b"-----BEGIN X-----\n!\n-----END X-----\n" + A + B, "lines of another form"),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Gateway]:
    """One Envoy that has every bundle of the table as it is published."""
    materials = [Material(prepared(cacert=data).secret.data["cacert"]) for data, _warning in BUNDLES.values()]
    gateway = Gateway(materials, tmp_path_factory.mktemp("envoy"))
    assert not gateway.refusal
    with gateway.running():
        yield gateway


@pytest.mark.parametrize("name", BUNDLES)
def test_client_cas_are_all_read_as_they_are_published(name: str, published: Gateway) -> None:
    number = list(BUNDLES).index(name)

    assert published.admits(ALICE, number=number)
    assert published.admits(BOB, number=number)
    # PKCS#7 holds a set, which has an order of its own.
    assert prepared(cacert=BUNDLES[name][0]).secret.data["cacert"] in (A + B, B + A)


@pytest.mark.parametrize("name", BUNDLES)
def test_warning_is_shown_exactly_where_envoy_does_not_read_the_bundle_as_given(
    name: str, tmp_path: pathlib.Path
) -> None:
    data, reason = BUNDLES[name]
    gateway = Gateway([Material(data)], tmp_path)
    is_read = not gateway.refusal
    if is_read:
        with gateway.running():
            is_read = gateway.admits(ALICE) and gateway.admits(BOB)

    warnings = prepared(cacert=data).warnings

    assert len(warnings) == (0 if is_read else 1)
    assert is_read == (reason == "")
    assert all("the gateway would not read cacert as it is given" in one and reason in one for one in warnings)


@pytest.mark.parametrize(
    "bundle",
    [
        A + B[:300],
        A + B[:200] + b"!!!!" + B[204:],
        A + B[:200] + B[204:],
        A + B.split(b"\n", 1)[1],
        A + block(b"nothing"),
        A + block(TWO.certificate.public_bytes(serialization.Encoding.DER)[:-9]),
        A.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\n# a comment\nX: y\n\n", 1),
    ],
    ids=["cut off", "damaged", "a part is missing", "BEGIN is missing", "no certificate", "cut DER", "headers"],
)
def test_damaged_certificate_among_client_cas_is_refused_by_its_place(bundle: bytes) -> None:
    assert "cacert" in refusal(cacert=bundle)


KEY_FORMS = {
    "PKCS#8": (ALICE.key_pem, True),
    "traditional": (key_pem(ALICE.key, TRADITIONAL), True),
    "parameters in front": (block(b"\x06\x08*\x86H\xce=\x03\x01\x07", label=b"EC PARAMETERS") + ALICE.key_pem, True),
    "certificate in front": (A + ALICE.key_pem, True),
    "OpenSSH": (key_pem(ALICE.key, serialization.PrivateFormat.OpenSSH), False),
    "byte order mark": (BOM + ALICE.key_pem, False),
    "indented": (indented(ALICE.key_pem), False),
    "text in front": (b"key: " + ALICE.key_pem, False),
}


@pytest.mark.parametrize("name", KEY_FORMS)
def test_key_is_published_so_that_envoy_loads_it(name: str, tmp_path: pathlib.Path) -> None:
    data, is_read = KEY_FORMS[name]
    given = Gateway([Material(A, chain=ALICE.pem, key=data)], tmp_path)

    made = prepared(tls_crt=ALICE.pem, tls_key=data)

    assert bool(given.refusal) is not is_read
    assert len(made.warnings) == (0 if is_read else 1)
    assert not any("PRIVATE" in one for one in made.warnings)
    chain, key = t.cast("tuple[bytes, bytes]", made.secret.certificate())
    assert not Gateway([Material(A, chain=chain, key=key)], tmp_path).refusal


KEYS: dict[str, tuple[t.Callable[[], t.Any], bool, bool]] = {
    # kind of key -> key, whether a server may have it, whether a client CA may have it
    "RSA-2048": (lambda: rsa.generate_private_key(65537, 2048), True, True),
    "RSA-3072": (lambda: rsa.generate_private_key(65537, 3072), True, True),
    "RSA-2047": (lambda: rsa.generate_private_key(65537, 2047), False, True),  # noqa: S505  (a weak key is the case)
    "RSA-1024": (lambda: rsa.generate_private_key(65537, 1024), False, True),  # noqa: S505  (a weak key is the case)
    "P-256": (new_key, True, True),
    "P-384": (lambda: ec.generate_private_key(ec.SECP384R1()), True, True),
    "P-521": (lambda: ec.generate_private_key(ec.SECP521R1()), True, True),
    "P-224": (lambda: ec.generate_private_key(ec.SECP224R1()), False, True),
    "secp256k1": (lambda: ec.generate_private_key(ec.SECP256K1()), False, False),
    "Brainpool": (lambda: ec.generate_private_key(ec.BrainpoolP256R1()), False, False),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, True, True),
    "Ed448": (ed448.Ed448PrivateKey.generate, False, False),
}


@pytest.mark.parametrize("kind", KEYS)
def test_server_key_is_accepted_exactly_where_envoy_loads_it(kind: str, tmp_path: pathlib.Path) -> None:
    make, is_loaded, _ca = KEYS[kind]
    server = Leaf(ONE, key=make())

    assert bool(Gateway([Material(A, chain=server.pem, key=server.key_pem)], tmp_path).refusal) is not is_loaded
    if is_loaded:
        assert not prepared(tls_crt=server.pem, tls_key=server.key_pem).warnings
    else:
        assert "which Envoy does not load" in refusal(tls_crt=server.pem, tls_key=server.key_pem)


AUTHORITIES = {
    **{
        f"with a key of {kind}": (lambda make=make: Authority("CA", key=make()), ok)
        for kind, (make, _s, ok) in KEYS.items()
    },
    "without keyCertSign": (lambda: Authority("CA", key_usage=usage(certificates=False)), False),
    "without cRLSign": (lambda: Authority("CA", key_usage=usage(crls=False)), False),
}


@pytest.mark.parametrize("kind", AUTHORITIES)
def test_client_ca_is_accepted_exactly_where_its_clients_get_in(kind: str, tmp_path: pathlib.Path) -> None:
    make, gets_in = AUTHORITIES[kind]
    authority = make()
    client, lists = Leaf(authority), authority.crl(7)

    with Gateway([Material(authority.pem, lists)], tmp_path).running() as gateway:
        assert gateway.admits(client) is gets_in
    if gets_in:
        assert not prepared(cacert=authority.pem, crl=lists).warnings
    else:
        assert "CN=CA" in refusal(cacert=authority.pem, crl=lists)


def test_ca_without_crl_sign_is_good_without_a_list() -> None:
    assert not prepared(cacert=Authority("CA", key_usage=usage(crls=False)).pem).warnings


def point(**given: t.Any) -> x509.IssuingDistributionPoint:
    fields = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**fields, **given})


URL = [x509.UniformResourceIdentifier("http://crl.test/1")]
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
OLD, NEW = ONE.crl(number=1, days=(-2, 30)), ONE.crl(GONE.serial, number=2)
HARMFUL = {
    "delta list": (ONE.crl(GONE.serial, extensions=[(x509.DeltaCRLIndicator(1), True)]), "is a delta list"),
    "complete and delta list": (
        OLD + ONE.crl(GONE.serial, number=2, extensions=[(x509.DeltaCRLIndicator(1), True)]),
        "is a delta list",
    ),
    "user certificates only": (
        ONE.crl(GONE.serial, extensions=[(point(only_contains_user_certs=True), True)]),
        "issuing distribution point",
    ),
    "distribution point, not critical": (
        ONE.crl(GONE.serial, extensions=[(point(full_name=URL), False)]),
        "issuing distribution point",
    ),
    "indirect": (ONE.crl(GONE.serial, extensions=[(point(indirect_crl=True), True)]), "issuing distribution point"),
    "unknown critical extension": (ONE.crl(GONE.serial, extensions=[(UNKNOWN, True)]), "critical extensions (1.2.3.4)"),
    "SHA-3": (ONE.crl(GONE.serial, algorithm=hashes.SHA3_256()), "signed with SHA3-256"),
    "stale": (ONE.crl(GONE.serial, days=(-9, -1)), "is stale"),
    "not yet valid": (ONE.crl(GONE.serial, days=(1, 9)), "is not valid before"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_list_with_which_envoy_would_refuse_everybody_or_admit_the_revoked_is_refused(
    name: str, tmp_path: pathlib.Path
) -> None:
    lists, message = HARMFUL[name]

    with Gateway([Material(A, lists)], tmp_path).running() as gateway:
        assert gateway.admits(GONE) or not gateway.admits(ALICE)
    assert message.removesuffix(" (1.2.3.4)") in refusal(cacert=A, crl=lists)


@pytest.mark.parametrize(
    ("lists", "warning"),
    [
        (NEW, ""),
        (NEW.replace(b"\n", b"\r\n"), ""),
        (A + NEW, ""),
        (OLD + NEW, "only the newest is published (number 2"),
        (NEW + OLD, "only the newest is published (number 2"),
        (ONE.crl(number=None, days=(-2, 9)) + ONE.crl(GONE.serial, number=None), "only the newest is published"),
        (NEW + ONE.crl(number=3, days=(1, 9)), "only the newest is published (number 2"),
        (BOM + NEW, "there is a byte order mark"),
        (indented(NEW), "its lines are indented"),
        (ONE.crl(GONE.serial, extensions=[(UNKNOWN, False)]), ""),
    ],
    ids=["one", "CRLF", "with CA", "older first", "newer first", "no numbers", "next", "BOM", "indented", "extension"],
)
def test_published_list_admits_the_good_and_refuses_the_revoked(
    lists: bytes, warning: str, tmp_path: pathlib.Path
) -> None:
    made = prepared(cacert=A, crl=lists)

    assert len(made.warnings) == bool(warning)
    assert all(warning in one for one in made.warnings)
    with Gateway([Material(*t.cast("tuple[bytes, bytes]", made.secret.authorities()))], tmp_path).running() as gateway:
        assert gateway.admits(ALICE)
        assert not gateway.admits(GONE)


def test_list_among_the_client_cas_keeps_its_effect() -> None:
    made = prepared(cacert=A + NEW)

    assert made.secret.data == {"cacert": A, "crl": NEW}
    assert made.facts["crls"][0]["revoked"] == 1


ROOT = Authority("Root")
BETWEEN = Authority("Between", issuer=ROOT)
BELOW, REVOKED_BELOW = Leaf(BETWEEN, send=[BETWEEN]), Leaf(BETWEEN, send=[BETWEEN])
LISTS = ROOT.crl() + BETWEEN.crl(REVOKED_BELOW.serial)


@pytest.mark.parametrize("lists", [BETWEEN.crl(REVOKED_BELOW.serial), LISTS], ids=["own list", "both lists"])
def test_intermediate_ca_alone_with_a_list_is_refused(lists: bytes, tmp_path: pathlib.Path) -> None:
    with Gateway([Material(BETWEEN.pem, lists)], tmp_path).running() as gateway:
        assert not gateway.admits(BELOW)
    assert "Add the root CA to the client CAs, and its CRL" in refusal(cacert=BETWEEN.pem, crl=lists)


@pytest.mark.parametrize(
    ("bundle", "lists"),
    [(BETWEEN.pem, None), (ROOT.pem + BETWEEN.pem, LISTS), (BETWEEN.pem + ROOT.pem, LISTS), (ROOT.pem, LISTS)],
)
def test_intermediate_ca_without_lists_or_with_its_root_is_accepted(
    bundle: bytes, lists: bytes | None, tmp_path: pathlib.Path
) -> None:
    made = prepared(cacert=bundle, **({"crl": lists} if lists else {}))

    authorities = t.cast("tuple[bytes, bytes | None]", made.secret.authorities())
    with Gateway([Material(*authorities)], tmp_path).running() as gateway:
        assert gateway.admits(BELOW)
        assert gateway.admits(REVOKED_BELOW) is (lists is None)


def test_of_cas_with_one_name_and_key_the_one_that_ends_last_comes_first(tmp_path: pathlib.Path) -> None:
    key = new_key()
    expired, live = Authority("Same", key=key, days=(-9, -1)), Authority("Same", key=key, days=(-9, 5))
    latest, next_one = Authority("Same", key=key, days=(-1, 30)), Authority("Next", days=(1, 9))
    client = Leaf(latest)

    made = prepared(cacert=next_one.pem + expired.pem + live.pem + A + latest.pem)

    bundle = made.secret.data["cacert"]
    assert bundle == latest.pem + live.pem + A + next_one.pem
    assert "which has the same name and key" in made.warnings[0]
    with Gateway([Material(expired.pem + latest.pem), Material(bundle)], tmp_path).running() as gateway:
        assert not gateway.admits(client, number=0)
        assert gateway.admits(client, number=1)


def test_lists_of_two_keys_under_one_name_have_to_say_whose_they_are(tmp_path: pathlib.Path) -> None:
    first, second = Authority("Same"), Authority("Same")

    def lists(*, with_key: bool) -> bytes:
        return b"".join(
            one.crl(
                7,
                extensions=[(x509.AuthorityKeyIdentifier.from_issuer_public_key(one.key.public_key()), False)][
                    : int(with_key)
                ],
            )
            for one in (first, second)
        )

    bundle = first.pem + second.pem
    with Gateway([Material(bundle, lists(with_key=one)) for one in (False, True)], tmp_path).running() as gateway:
        assert [gateway.admits(Leaf(one), number=0) for one in (first, second)].count(True) == 1
        assert all(gateway.admits(Leaf(one), number=1) for one in (first, second))
    assert "does not say which key signed it" in refusal(cacert=bundle, crl=lists(with_key=False))
    assert not prepared(cacert=bundle, crl=lists(with_key=True)).warnings
