# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates, CRLs and keys out of whatever a file holds: PEM with anything around it, DER, PKCS#7.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import binascii
import dataclasses
import re
import typing as t
import warnings as python_warnings

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

MAX_INPUT_BYTES = 64 * 1024 * 1024
MAX_OBJECTS = 20000

_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
_PKCS7_LABELS = frozenset({"PKCS7", "CMS", "PKCS #7 SIGNED DATA"})
_CRL_LABEL = "X509 CRL"
_BEGIN = re.compile(rb"-----BEGIN ([^\r\n-]{1,64})-----")


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The certificates of one input in their order there, without duplicates, and what was passed over."""

    certificates: tuple[x509.Certificate, ...]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class LoadedCrls:
    """The certificate revocation lists of one input, and what was passed over."""

    crls: tuple[x509.CertificateRevocationList, ...]
    warnings: tuple[str, ...]


class PemBlock(t.NamedTuple):
    """One PEM block: its label, its decoded content (None when it cannot be decoded)."""

    label: str
    content: bytes | None


def pem_blocks(data: bytes) -> t.Iterator[PemBlock]:
    """Yield the PEM blocks in ``data`` in one pass, whatever stands around them."""
    position = 0
    while (begin := _BEGIN.search(data, position)) is not None:
        text = begin[1].decode("ascii", "replace")
        end_line = b"-----END " + begin[1] + b"-----"
        next_dashes = data.find(b"-----", begin.end())
        if next_dashes < 0 or not data.startswith(end_line, next_dashes):
            yield PemBlock(text, None)
            position = begin.end()
            continue
        try:
            content = binascii.a2b_base64(data[begin.end() : next_dashes])
        except binascii.Error:
            yield PemBlock(text, None)
        else:
            yield PemBlock(text, content)
        position = next_dashes + len(end_line)


def load_certificates(data: bytes, *, source: str) -> Loaded:
    """Return every certificate in ``data``: PEM (several, with text and keys between them), DER or PKCS#7.

    ``source`` names the input in warnings and errors. Raises MtlsError when there is no certificate at all.
    """
    _check_size(data, source)
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")  # cryptography's remarks on odd serials: we make our own
        if _BEGIN.search(data):
            certificates, notes = _certificates_from_pem(data, source)
        else:
            certificates, notes = _certificates_from_der(data, source), []
    unique = dict.fromkeys(certificates)
    if len(unique) < len(certificates):
        notes.append(f"{source} holds {len(certificates) - len(unique)} duplicate certificate(s); each is used once.")
    if not unique:
        reasons = " ".join(notes)
        raise MtlsError(
            f"There is no certificate in {source}. {reasons}".rstrip()
            + " It must hold PEM, DER or PKCS#7 (.p7b) certificates."
        )
    return Loaded(tuple(unique), tuple(notes))


def load_crls(data: bytes, *, source: str) -> LoadedCrls:
    """Return every certificate revocation list in ``data`` (PEM or DER); raises MtlsError when there is none."""
    _check_size(data, source)
    crls: list[x509.CertificateRevocationList] = []
    notes: list[str] = []
    blocks = list(pem_blocks(data)) or [PemBlock(_CRL_LABEL, data)]
    for number, block in enumerate(blocks, start=1):
        if block.label != _CRL_LABEL:
            notes.append(f"{source}: block {number} ({block.label}) is not a CRL and is skipped.")
            continue
        try:
            crl = x509.load_der_x509_crl(block.content or b"")
            _probe = (crl.issuer, crl.last_update_utc, crl.next_update_utc)  # parsed lazily: find out now
            crls.append(crl)
        except PARSE_ERRORS as exc:
            raise MtlsError(f"The CRL in {source} (block {number}) cannot be read: {first_line(exc)}.") from exc
    if not crls:
        raise MtlsError(f"There is no CRL in {source}. It must hold X509 CRL blocks in PEM, or one CRL in DER.")
    return LoadedCrls(tuple(crls), tuple(notes))


def load_private_key(data: bytes, *, passphrase: bytes | None, source: str) -> PrivateKeyTypes:
    """Return the first private key in ``data`` (PEM with anything around it, or DER).

    OpenSSL's own check of an RSA key tests two primes, which costs as much as a hundred signatures, on every run; the
    arithmetic of the key's numbers finds a damaged one as well.
    Raises MtlsError when there is none or it cannot be opened; no key material is in the message.
    """
    _check_size(data, source)
    loader: t.Callable[..., PrivateKeyTypes] = serialization.load_der_private_key
    material = data
    if _BEGIN.search(data):
        material = _first_key_block(data, source)
        loader = serialization.load_pem_private_key
        if b"OPENSSH PRIVATE KEY" in material:
            loader = serialization.load_ssh_private_key
    try:
        options = {} if loader is serialization.load_ssh_private_key else {"unsafe_skip_rsa_key_validation": True}
        key = loader(material, password=passphrase or None, **options)
    except TypeError as exc:
        if passphrase:  # cryptography refuses a passphrase that is not needed; so do we not
            return load_private_key(data, passphrase=None, source=source)
        raise MtlsError(
            f"The private key in {source} is encrypted and no passphrase is given. Give its passphrase."
        ) from exc
    except UnsupportedAlgorithm as exc:
        raise MtlsError(f"The private key in {source} is of a kind that is not supported: {first_line(exc)}.") from exc
    except ValueError as exc:
        hint = "Check the passphrase and the file." if passphrase else "Check the file."
        raise MtlsError(
            f"The private key in {source} cannot be read: it is damaged or cannot be decrypted. {hint}"
        ) from exc
    if not is_consistent(key):
        raise MtlsError(f"The private key in {source} is damaged: its numbers do not belong together. Check the file.")
    return key


def is_consistent(key: PrivateKeyTypes) -> bool:
    """Whether the numbers of an RSA or ECDSA key belong together; those of other keys are one number."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        derived = ec.derive_private_key(key.private_numbers().private_value, key.curve)
        return derived.public_key() == key.public_key()
    if not isinstance(key, rsa.RSAPrivateKey):
        return True
    numbers = key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    public = numbers.public_numbers
    return (
        p * q == public.n
        and min(p, q) > 1
        and public.e * d % (p - 1) == 1
        and public.e * d % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and numbers.iqmp * q % p == 1
    )


def public_bytes_of(key: t.Any) -> bytes:
    """Return the SubjectPublicKeyInfo of a public key in DER."""
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def key_matches(certificate: x509.Certificate, key: PrivateKeyTypes) -> bool:
    """Whether ``key`` is the private key of ``certificate``."""
    try:
        return public_bytes_of(certificate.public_key()) == public_bytes_of(key.public_key())
    except PARSE_ERRORS:
        return False


def _check_size(data: bytes, source: str) -> None:
    if len(data) > MAX_INPUT_BYTES:
        raise MtlsError(f"{source} is larger than {MAX_INPUT_BYTES // 1024 // 1024} MiB: it is not read.")


def _certificates_from_pem(data: bytes, source: str) -> tuple[list[x509.Certificate], list[str]]:
    certificates: list[x509.Certificate] = []
    notes: list[str] = []
    for number, block in enumerate(pem_blocks(data), start=1):
        if number > MAX_OBJECTS:
            raise MtlsError(f"{source} holds more than {MAX_OBJECTS} PEM blocks: it is not read.")
        if block.label not in _CERTIFICATE_LABELS and block.label not in _PKCS7_LABELS:
            notes.append(f"{source}: block {number} ({block.label}) is not a certificate and is skipped.")
        elif block.content is None:
            notes.append(f"{source}: block {number} ({block.label}) is damaged PEM and is skipped.")
        else:
            try:
                certificates += _certificates_from_block(block.label, block.content)
            except PARSE_ERRORS as exc:
                notes.append(
                    f"{source}: block {number} ({block.label}) cannot be parsed and is skipped: {first_line(exc)}."
                )
    return certificates, notes


def _certificates_from_block(block_label: str, content: bytes) -> list[x509.Certificate]:
    if block_label in _PKCS7_LABELS:
        return _certificates_from_pkcs7(content)
    if block_label == "TRUSTED CERTIFICATE":  # OpenSSL appends its own trust settings to the certificate
        content = content[: der.read(content, 0, len(content)).end]
    return [x509.load_der_x509_certificate(content)]


def _certificates_from_der(data: bytes, source: str) -> list[x509.Certificate]:
    certificates: list[x509.Certificate] = []
    offset = 0
    try:
        while offset < len(data):
            element = der.read(data, offset, len(data))
            certificates += _certificates_from_element(data[element.offset : element.end])
            offset = element.end
    except PARSE_ERRORS as exc:
        raise MtlsError(
            f"There is no readable certificate in {source}: it has no PEM blocks and its DER cannot be parsed "
            f"({first_line(exc)}). It must hold PEM, DER or PKCS#7 (.p7b) certificates."
        ) from exc
    return certificates


def _certificates_from_element(content: bytes) -> list[x509.Certificate]:
    outer = der.read(content, 0, len(content))
    inner = der.read(content, outer.start, outer.end)
    if inner.tag == der.OBJECT_IDENTIFIER:  # ContentInfo: PKCS#7
        return _certificates_from_pkcs7(content)
    return [x509.load_der_x509_certificate(content)]


def _certificates_from_pkcs7(content: bytes) -> list[x509.Certificate]:
    from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: PLC0415  (rare, and costly to import)

    return list(pkcs7.load_der_pkcs7_certificates(content))


def _first_key_block(data: bytes, source: str) -> bytes:
    for begin in _BEGIN.finditer(data):
        if begin[1].endswith(b"PRIVATE KEY"):
            end_line = b"-----END " + begin[1] + b"-----"
            end = data.find(end_line, begin.end())
            if end >= 0:
                return data[begin.start() : end + len(end_line)] + b"\n"
    raise MtlsError(f"There is no private key in {source}. It must hold a PRIVATE KEY block in PEM, or a key in DER.")
