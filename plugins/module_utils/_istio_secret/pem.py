# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PEM as the gateway reads it, and PEM as people write it.

Envoy's BoringSSL reads line by line and to the letter: a byte order mark hides the first certificate, a blank in front
of a BEGIN line the one behind it, and a line that ends otherwise makes it refuse everything. What people give is read
tolerantly here and published normalised; this file also says whether the gateway would have read it as given.
"""

from __future__ import annotations

import binascii
import codecs
import dataclasses
import re
import typing as t
import warnings

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import reading

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
except ImportError:
    pass  # the module's edge reports it

CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})
KEY_LABELS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})
CRL_LABEL = "X509 CRL"
# What BoringSSL cuts off at the end of a line.
BLANKS = bytes(range(0x21))
# Its buffer for one line, and the longest line behind a header.
LINE_BYTES = 253
BODY_LINE_BYTES = 64
AGAIN = "The gateway would not read it either. Replace it with the whole one."
PUBLISHED_AS_READ = "It is published in the form that the gateway reads; correct the file"


@dataclasses.dataclass(frozen=True)
class PemContent:
    """What one file holds for the gateway; ``warning`` says why the gateway would not have read it as given."""

    certificates: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    warning: str | None


class UnreadableError(Exception):
    """BoringSSL ends its reading here with an error, and Envoy refuses the whole input."""


def blocks_as_boringssl(data: bytes) -> t.Iterator[tuple[str, bytes]]:
    """Yield label and content of what ``PEM_read_bio`` of BoringSSL reads in ``data``.

    Raises UnreadableError where it would end with an error.
    """
    lines = _lines(data)
    for line in lines:
        if line.startswith(b"-----BEGIN ") and line.endswith(b"-----") and len(line) > len(b"-----BEGIN -----"):
            label = line[11:-5]
            body, end = _body(lines)
            if end != b"-----END " + label + b"-----":
                raise UnreadableError
            try:
                yield label.decode("latin-1"), _decoded(b"".join(body))
            except binascii.Error as exc:
                raise UnreadableError from exc


def _lines(data: bytes) -> t.Iterator[bytes]:
    for line in data.split(b"\n"):
        for start in range(0, max(len(line), 1), LINE_BYTES):
            yield line[start : start + LINE_BYTES].rstrip(BLANKS)


def _body(lines: t.Iterator[bytes]) -> tuple[list[bytes], bytes]:
    """Return the lines of a block, and its last line; what stands before an empty line is a header."""
    before: list[bytes] = []
    for line in lines:
        if line.startswith(b"-----END "):
            return before, line
        if not line:
            break
        before.append(line)
    if before:  # a certificate with a header is an error, an encrypted key is refused elsewhere
        raise UnreadableError
    body: list[bytes] = []
    for line in lines:
        if line.startswith(b"-----END "):
            return body, line
        if len(line) > BODY_LINE_BYTES:
            break
        body.append(line)
        if len(line) != BODY_LINE_BYTES:
            return body, next(lines, b"")
    return body, b""


def _decoded(body: bytes) -> bytes:
    return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)


def read(data: bytes, *, source: str, what: str, is_chain: bool = False) -> PemContent:
    """Return the certificates and CRLs in ``data``; keys and requests between them are passed over.

    Raises MtlsError naming ``source`` when a certificate or CRL in it is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography's remarks on odd serials
        return _read(data, source=source, what=what, is_chain=is_chain)


def _read(data: bytes, *, source: str, what: str, is_chain: bool) -> PemContent:
    _check_pem(data, source=source, what=what)
    certificates: dict[x509.Certificate, None] = {}
    crls: dict[bytes, x509.CertificateRevocationList] = {}
    given: list[bytes] = []
    for number, block in enumerate(load.pem_blocks(_as_text(data)), start=1):
        label = block.label.strip().upper()
        if label != CRL_LABEL and not load.holds_certificates(label):
            continue
        kind = "CRL" if label == CRL_LABEL else "certificate"
        with reading(f"{source}: the {kind} in block {number} of {what} ({block.label})", AGAIN):
            if block.content is None:
                raise ValueError("it is cut off, or it has something other than base64 in it")
            if label == CRL_LABEL:
                crl = x509.load_der_x509_crl(block.content)
                _probe = (crl.issuer, crl.last_update_utc, crl.next_update_utc, list(crl.extensions))  # parsed lazily
                crls.setdefault(block.content, crl)
                given.append(block.content)
            else:
                found = load.certificates_of(load.PemBlock(label, block.content))
                _probes = [(parsed.subject, parsed.issuer, list(parsed.extensions)) for parsed in found]
                certificates.update(dict.fromkeys(found))
                given += [describe.der_of(parsed) for parsed in found]
    _check_ends(data, source=source, what=what)
    warning = None
    if _as_gateway(data, is_chain=is_chain) != given:
        warning = f"{source}: the gateway would not read {what} as it is given ({_reason(data)}). {PUBLISHED_AS_READ}."
    return PemContent(tuple(certificates), tuple(crls.values()), warning)


def _as_gateway(data: bytes, *, is_chain: bool) -> list[bytes] | None:
    """Return the DER of all certificates and CRLs that the gateway reads in ``data``; None when it refuses it."""
    found: list[bytes] = []
    try:
        for label, content in blocks_as_boringssl(data):
            # Behind the first certificate of a chain, OpenSSL's own form is passed over.
            is_skipped = is_chain and found and label == "TRUSTED CERTIFICATE"
            if label == CRL_LABEL or (label in CERTIFICATE_LABELS and not is_skipped):
                found.append(load.first_element(content) if label in CERTIFICATE_LABELS else content)
    except (UnreadableError, ValueError):
        return None
    return found


def read_key(data: bytes, *, source: str, what: str) -> tuple[t.Any, str | None]:
    """Return the private key in ``data``, and why the gateway would not have read it as given.

    Raises MtlsError naming ``source``; no key material is in the message.
    """
    _check_pem(data, source=source, what=what)
    key = load.load_private_key(_as_text(data), source=source)
    try:
        first = next((label for label, _content in blocks_as_boringssl(data) if label in KEY_LABELS), None)
    except UnreadableError:
        first = None
    if first is not None:
        return key, None
    return key, f"{source}: the gateway would not read {what} as it is given ({_reason(data)}). {PUBLISHED_AS_READ}."


def text_of(*objects: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Return certificates or CRLs in the one form that every reader of PEM agrees on."""
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in objects)


def text_of_key(key: t.Any) -> bytes:
    """Return a private key as PKCS#8, without encryption."""
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded


def _check_pem(data: bytes, *, source: str, what: str) -> None:
    if b"-----BEGIN " not in _as_text(data):
        raise MtlsError(f"{source}: {what} is not PEM, the one form that a gateway reads. Convert it to PEM.")


def _check_ends(data: bytes, *, source: str, what: str) -> None:
    """Refuse a certificate of which only the end is left: nothing else would notice that one is missing."""
    text = _as_text(data).upper()
    for label in (*sorted(CERTIFICATE_LABELS), CRL_LABEL):
        if text.count(f"-----END {label}-----".encode()) > text.count(f"-----BEGIN {label}-----".encode()):
            raise MtlsError(
                f"{source}: in {what} there is an END {label} without its BEGIN. Replace it with the whole one."
            )


def _as_text(data: bytes) -> bytes:
    """Return ``data`` without comment lines (a commented certificate is none), and what Windows saves as ASCII."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode("ascii", "replace")
    return re.sub(rb"(?m)^[ \t]*#[^\r\n]*", b"", data)


def _reason(data: bytes) -> str:
    """Return what is unusual about ``data``, for a person who looks for it."""
    text = _as_text(data)
    labels = re.findall(rb"-----BEGIN ([^\r\n-]{1,64})-----", text)
    tests = (
        (data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)), "it is UTF-16"),
        (data.startswith(codecs.BOM_UTF8), "there is a byte order mark in front"),
        (b"\n" not in data and b"\r" in data, "its lines end with CR only"),
        (re.search(rb"-----END [^\r\n-]+-----[ \t]*-----BEGIN", text), "two blocks are joined without a newline"),
        (re.search(rb"(?m)^[ \t]+-----(BEGIN|END)", text), "its lines are indented"),
        (re.search(rb"(?m)^[^\s-][^\r\n]*-----BEGIN", text.removeprefix(codecs.BOM_UTF8)), "text before a BEGIN"),
        (re.search(rb"-----END [^\r\n-]+-----[ \t]*[^\s-]", text), "text behind an END"),
        (any(label != label.upper() for label in labels), "a label is not in upper case"),
        (any(b"PKCS" in label or label == b"CMS" for label in labels), "PKCS#7"),
        (b"TRUSTED CERTIFICATE" in labels, "TRUSTED CERTIFICATE is OpenSSL's own form"),
        (b"OPENSSH PRIVATE KEY" in labels, "the key is in OpenSSH's own form"),
    )
    found = [words for is_so, words in tests if is_so]
    return ", ".join(found) or "there are headers, empty lines or lines of another form in a block"
