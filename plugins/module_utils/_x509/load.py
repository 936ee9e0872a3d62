# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one reader of certificates, CRLs, keys and PKCS#12 files: PEM with anything around it, DER, PKCS#7."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
import warnings as python_warnings

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, describe
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import first_line, is_parse_error, reading
from ansible_collections.kyma.mtls.plugins.module_utils._x509.pem import BEGIN, PemBlock, pem_blocks
from ansible_collections.kyma.mtls.plugins.module_utils._x509.private_key import (
    WrongPassphraseError,
    as_secret,
    is_consistent,
    key_matches,
    load_pkcs12,
    load_private_key,
    public_bytes_of,
)

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

__all__ = [
    "Loaded",
    "LoadedCrls",
    "PemBlock",
    "WrongPassphraseError",
    "as_secret",
    "certificates_of",
    "first_certificate",
    "first_element",
    "holds_certificates",
    "is_consistent",
    "key_matches",
    "load_certificates",
    "load_crls",
    "load_pkcs12",
    "load_private_key",
    "pem_blocks",
    "public_bytes_of",
]

MAX_INPUT_BYTES = 64 * 1024 * 1024
MAX_OBJECTS = 20000
_SHOWN = 5
_MAX_REASONS = 5

_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
_PKCS7_LABELS = frozenset({"PKCS7", "CMS", "PKCS #7 SIGNED DATA"})
_CRL_LABEL = "X509 CRL"
_COMMENT = re.compile(rb"(?m)^[ \t]*#[^\r\n]*")


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


def load_certificates(data: bytes, *, source: str, is_probed: bool = True, is_whole: bool = False) -> Loaded:
    """Return every certificate in ``data``: PEM (several, with text and keys between them), DER or PKCS#7.

    ``source`` names the input in warnings and errors. Raises MtlsError when there is no certificate at all, and when
    the names or extensions of one cannot be read, which cryptography does only when asked for them. The path builder
    leaves that out: it copes with candidates in any state. With ``is_whole`` each of them counts: a damaged one is
    refused and not passed over, unless its lines are comments.
    """
    _check_size(data, source)
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")  # cryptography's remarks on odd serials: we make our own
        if BEGIN.search(data):
            certificates, notes = _certificates_from_pem(data, source, is_whole=is_whole)
        else:
            certificates, notes = _certificates_from_der(data, source), []
        unique = dict.fromkeys(certificates)
        for certificate in unique if is_probed else ():
            _probe(certificate, source)
    if len(unique) < len(certificates):
        notes.append(f"{source} holds {len(certificates) - len(unique)} duplicate certificate(s); each is used once.")
    if not unique:
        reasons = " ".join(notes)
        raise MtlsError(
            f"There is no certificate in {source}. {reasons}".rstrip()
            + " It must hold PEM, DER or PKCS#7 (.p7b) certificates."
        )
    return Loaded(tuple(unique), tuple(notes))


def _probe(certificate: x509.Certificate, source: str) -> None:
    try:  # what the certificate is called costs more than to read it, and is needed only to refuse it
        _parts = (certificate.subject, certificate.issuer, certificate.extensions)
    except BaseException as exc:
        if not is_parse_error(exc):
            raise
        _refuse(certificate, source)


def _refuse(certificate: x509.Certificate, source: str) -> None:
    what = f"the certificate {describe.label(certificate)} in {source}"
    with reading(f"The names of {what}", "Have it reissued with names in UTF-8."):
        _names = (certificate.subject, certificate.issuer)
    with reading(f"The extensions of {what}"):
        _extensions = certificate.extensions


def first_certificate(data: bytes, *, source: str) -> x509.Certificate:
    """Return the first certificate in ``data``; raises MtlsError when there is none."""
    return load_certificates(data, source=source).certificates[0]


def load_crls(data: bytes, *, source: str) -> LoadedCrls:
    """Return every certificate revocation list in ``data`` (PEM or DER); raises MtlsError when there is none."""
    _check_size(data, source)
    crls: list[x509.CertificateRevocationList] = []
    blocks = list(pem_blocks(data)) or [PemBlock(_CRL_LABEL, data)]
    skipped = _Skipped(source)
    for number, block in enumerate(blocks, start=1):
        if block.label != _CRL_LABEL:
            skipped.add(number, f"({block.label}) is not a CRL", f"({block.label}) are not CRLs")
            continue
        with reading(f"The CRL in {source} (block {number})"):
            crl = x509.load_der_x509_crl(block.content or b"")
            # Parsed lazily: find out now.
            _read = (crl.issuer, crl.last_update_utc, crl.next_update_utc, list(crl.extensions))
        crls.append(crl)
    if not crls:
        raise MtlsError(f"There is no CRL in {source}. It must hold X509 CRL blocks in PEM, or one CRL in DER.")
    return LoadedCrls(tuple(crls), skipped.notes())


def _check_size(data: bytes, source: str) -> None:
    if len(data) > MAX_INPUT_BYTES:
        raise MtlsError(f"{source} is larger than {MAX_INPUT_BYTES // 1024 // 1024} MiB: it is not read.")


def _certificates_from_pem(data: bytes, source: str, *, is_whole: bool) -> tuple[list[x509.Certificate], list[str]]:
    certificates: list[x509.Certificate] = []
    skipped = _Skipped(source)
    damaged: list[int] = []
    for number, block in enumerate(pem_blocks(_COMMENT.sub(b"", data) if is_whole else data), start=1):
        if number > MAX_OBJECTS:
            raise MtlsError(f"{source} holds more than {MAX_OBJECTS} PEM blocks: it is not read.")
        label = f"({block.label})"
        if not holds_certificates(block.label):
            skipped.add(number, f"{label} is not a certificate", f"{label} are not certificates")
        elif block.content is None:
            skipped.add(number, f"{label} is damaged PEM", f"{label} are damaged PEM")
            damaged.append(number)
        else:
            try:
                certificates += certificates_of(block)
            except BaseException as exc:
                if not is_parse_error(exc):
                    raise
                reason = f"{label} cannot be parsed ({first_line(exc)})"
                skipped.add(number, reason, reason)
                damaged.append(number)
    if damaged and is_whole:
        raise MtlsError(
            f"The certificate in block {damaged[0]} of {source} is cut off or damaged. Replace it with the whole one, "
            "or remove it. Nothing was changed."
        )
    return certificates, list(skipped.notes())


class _Skipped:
    """The blocks that are passed over, one line for each reason, however many there are."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._blocks: dict[str, list[int]] = collections.defaultdict(list)
        self._words: dict[str, tuple[str, str]] = {}

    def add(self, number: int, one: str, several: str) -> None:
        self._blocks[one].append(number)
        self._words[one] = (one, several)

    def notes(self) -> tuple[str, ...]:
        found = []
        for reason, (one, several) in itertools.islice(self._words.items(), _MAX_REASONS):
            numbers = self._blocks[reason]
            if len(numbers) == 1:
                found.append(f"{self._source}: block {numbers[0]} {one} and is skipped.")
            else:
                shown = ", ".join(map(str, numbers[:_SHOWN])) + (" ..." if len(numbers) > _SHOWN else "")
                found.append(f"{self._source}: {len(numbers)} blocks {several} and are skipped: {shown}.")
        rest = list(self._words)[_MAX_REASONS:]
        if rest:
            count = sum(len(self._blocks[reason]) for reason in rest)
            found.append(f"{self._source}: {count} more blocks are skipped, for {len(rest)} other reasons.")
        return tuple(found)


def holds_certificates(label: str) -> bool:
    """Whether a PEM block with this label holds certificates."""
    return label in _CERTIFICATE_LABELS or label in _PKCS7_LABELS


def certificates_of(block: PemBlock) -> list[x509.Certificate]:
    """Return the certificates in one block that holds some; raises what cryptography raises on foreign data."""
    content = block.content or b""
    if block.label in _PKCS7_LABELS:
        return _certificates_from_pkcs7(content)
    if block.label == "TRUSTED CERTIFICATE":  # OpenSSL appends its own trust settings to the certificate
        content = first_element(content)
    return [x509.load_der_x509_certificate(content)]


def first_element(content: bytes) -> bytes:
    """Return the first DER element of ``content``; raises ValueError when there is none."""
    return content[: der.read(content, 0, len(content)).end]


def _certificates_from_der(data: bytes, source: str) -> list[x509.Certificate]:
    certificates: list[x509.Certificate] = []
    offset = 0
    try:
        while offset < len(data):
            element = der.read(data, offset, len(data))
            certificates += _certificates_from_element(data[element.offset : element.end])
            offset = element.end
    except BaseException as exc:
        if not is_parse_error(exc):
            raise
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
