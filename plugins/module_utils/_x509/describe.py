# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a certificate says, in words and as data."""

from __future__ import annotations

import datetime
import hashlib
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

# Names as RFC 9881 (ML-DSA) has them; cryptography's own classes exist from version 47 on only.
ML_DSA_NAMES = {
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}

_SECONDS_PER_DAY = 86400


def name_text(name: x509.Name) -> str:
    """Return the name as RFC 4514 writes it (what Envoy prints as well)."""
    return name.rfc4514_string()


def subject_text(certificate: x509.Certificate) -> str:
    """Return the subject's text, whatever its state."""
    return _name_text(certificate, "subject")


def issuer_text(certificate: x509.Certificate) -> str:
    """Return the issuer's text, whatever its state."""
    return _name_text(certificate, "issuer")


def _name_text(certificate: x509.Certificate, field: str) -> str:
    try:
        return name_text(getattr(certificate, field))
    except PARSE_ERRORS:
        pass  # an encoding that cryptography does not read, as Latin-1 in a T61String
    try:
        return name_text(names.name_from_der(getattr(der.certificate_parts(der_of(certificate)), field)))
    except PARSE_ERRORS:
        return "(unreadable)"


def serial_text(serial_number: int) -> str:
    """Return a serial number in lower-case hexadecimal digits, an even number of them, as Envoy prints it."""
    digits = f"{abs(serial_number):x}"
    return "-" * (serial_number < 0) + digits.zfill(len(digits) + len(digits) % 2)


def time_text(moment: datetime.datetime) -> str:
    """Return the moment in UTC as RFC 3339 writes it."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def der_of(certificate: x509.Certificate) -> bytes:
    """Return the certificate's DER."""
    return certificate.public_bytes(Encoding.DER)


def pem_of(certificate: x509.Certificate) -> str:
    """Return the certificate's PEM, with a final newline."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def fingerprint_sha256(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint in lower-case hexadecimal digits, as Envoy's ``hash`` has it."""
    return hashlib.sha256(der_of(certificate)).hexdigest()


def spki_sha256(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the SubjectPublicKeyInfo in lower-case hexadecimal digits."""
    return hashlib.sha256(der.certificate_parts(der_of(certificate)).spki).hexdigest()


def label(certificate: x509.Certificate) -> str:
    """Name the certificate in a message: its subject and its fingerprint."""
    return f"{subject_text(certificate) or '(empty subject)'} [sha256 {fingerprint_sha256(certificate)}]"


def san_text(name: x509.GeneralName) -> str:
    """Return a SAN as users write it: ``DNS:``, ``IP:``, ``URI:``, ``email:`` ..."""
    prefixes: dict[type[x509.GeneralName], str] = {
        x509.DNSName: "DNS",
        x509.IPAddress: "IP",
        x509.UniformResourceIdentifier: "URI",
        x509.RFC822Name: "email",
    }
    prefix = prefixes.get(type(name))
    if prefix is not None:
        return f"{prefix}:{name.value}"
    if isinstance(name, x509.DirectoryName):
        return f"dirName:{name_text(name.value)}"
    if isinstance(name, x509.RegisteredID):
        return f"RID:{name.value.dotted_string}"
    return f"otherName:{name.type_id.dotted_string}" if isinstance(name, x509.OtherName) else "unknown"


def duration_text(duration: datetime.timedelta) -> str:
    """Return a lifetime in days; in hours where it is no whole days, or few."""
    hours = round(duration.total_seconds() / 3600)
    return f"{hours} hours" if hours < 48 or hours % 24 else f"{hours // 24} days"


def key_facts(certificate: x509.Certificate) -> dict[str, t.Any]:
    """Return ``type`` and, where the type has them, ``size`` (bits) and ``curve`` of the public key."""
    oid = certificate.public_key_algorithm_oid.dotted_string
    facts: dict[str, t.Any] = {"type": ML_DSA_NAMES.get(oid, oid)}
    try:
        key = certificate.public_key()
    except PARSE_ERRORS:
        return facts
    if isinstance(key, rsa.RSAPublicKey):
        facts = {"type": "RSA", "size": key.key_size}
    elif isinstance(key, ec.EllipticCurvePublicKey):
        facts = {"type": "ECDSA", "size": key.key_size, "curve": key.curve.name}
    elif isinstance(key, ed25519.Ed25519PublicKey):
        facts = {"type": "Ed25519", "size": 256}
    elif isinstance(key, ed448.Ed448PublicKey):
        facts = {"type": "Ed448", "size": 456}
    elif isinstance(key, dsa.DSAPublicKey):
        facts = {"type": "DSA", "size": key.key_size}
    return facts


def signature_facts(certificate: x509.Certificate) -> dict[str, t.Any]:
    """Return ``algorithm`` (its usual name), ``oid`` and ``hash`` (None where the algorithm has its own)."""
    oid = certificate.signature_algorithm_oid
    name = ML_DSA_NAMES.get(oid.dotted_string, oid._name)  # cryptography has no public way to an OID's name
    try:
        algorithm = certificate.signature_hash_algorithm
        if isinstance(certificate.signature_algorithm_parameters, padding.PSS):
            name = "RSASSA-PSS"
    except PARSE_ERRORS:
        algorithm = None
    return {"algorithm": name, "oid": oid.dotted_string, "hash": algorithm.name if algorithm else None}


def days_left(certificate: x509.Certificate, *, now: datetime.datetime) -> int:
    """Return the whole days until the certificate expires; negative when it has expired."""
    return int((certificate.not_valid_after_utc - now).total_seconds() // _SECONDS_PER_DAY)


def describe_certificate(certificate: x509.Certificate, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Return the certificate's facts, JSON-serialisable; never raises for a certificate that has been loaded."""
    try:
        san_extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        sans = [san_text(name) for name in san_extension.value]
    except x509.ExtensionNotFound:
        sans = []
    except PARSE_ERRORS:
        sans = []
    return {
        "subject": subject_text(certificate),
        "issuer": issuer_text(certificate),
        "sans": sans,
        "serial_number": serial_text(der.certificate_parts(der_of(certificate)).serial_number),
        "fingerprint_sha256": fingerprint_sha256(certificate),
        "spki_sha256": spki_sha256(certificate),
        "not_before": time_text(certificate.not_valid_before_utc),
        "not_after": time_text(certificate.not_valid_after_utc),
        "days_left": days_left(certificate, now=now),
        "key": key_facts(certificate),
        "signature": signature_facts(certificate),
    }


def describe_crl(crl: x509.CertificateRevocationList) -> dict[str, t.Any]:
    """Return the facts of a revocation list, JSON-serialisable; ``next_update`` is None where it names none."""
    next_update = crl.next_update_utc
    return {
        "issuer": name_text(crl.issuer),
        "this_update": time_text(crl.last_update_utc),
        "next_update": None if next_update is None else time_text(next_update),
        "revoked": len(crl),
    }
