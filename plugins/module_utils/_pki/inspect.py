# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at the files of a PKI: what each is, what it says, which key belongs to which certificate.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import stat
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import read_register
from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import ordered_pairs
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import (
    describe_certificate,
    name_text,
    serial_text,
    time_text,
)

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import datetime

# What a look at a whole directory takes in.
_SUFFIXES = frozenset({".key", ".crt", ".pem", ".crl", ".p12", ".jsonl"})


@dataclasses.dataclass
class _Seen:
    """One file's facts, and the public keys by which keys and certificates are paired afterwards."""

    facts: dict[str, t.Any]
    certificate_key: bytes | None = None
    private_key: bytes | None = None


def list_files(directory: Path) -> list[str]:
    """Give the files of a PKI anywhere under ``directory``, relative to it and sorted."""
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.suffix in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def look(
    names: t.Sequence[str], *, directory: Path, passphrase: str | None, now: datetime.datetime
) -> dict[str, dict[str, t.Any]]:
    """Look at ``names`` (absolute, or relative to ``directory``). Whatever is wrong with a file is one of its facts."""
    secret = passphrase.encode() if passphrase else None
    seen = {name: _look_at(directory / name, passphrase=secret, now=now) for name in names}
    for one in seen.values():
        if one.private_key is not None:
            one.facts["matches"] = [name for name, other in seen.items() if other.certificate_key == one.private_key]
        elif one.certificate_key is not None:
            one.facts["matches"] = [name for name, other in seen.items() if other.private_key == one.certificate_key]
    return {name: one.facts for name, one in seen.items()}


def _look_at(path: Path, *, passphrase: bytes | None, now: datetime.datetime) -> _Seen:
    facts: dict[str, t.Any] = {"path": str(path), "exists": False, "kind": None, "error": None}
    seen = _Seen(facts)
    try:
        facts["mode"] = f"{stat.S_IMODE(path.stat().st_mode):04o}"
        facts["exists"] = True
        data = path.read_bytes()
    except FileNotFoundError:
        return seen
    except OSError as exc:
        facts |= {"exists": True, "error": f"{path} cannot be read: {exc.strerror}."}
        return seen
    facts["kind"] = kind = _kind(path, data)
    reader = {
        "private_key": _read_key,
        "certificate": _read_certificates,
        "crl": _read_crl,
        "register": _read_register,
    }.get(kind)
    if reader is not None:
        try:
            reader(seen, path, data, passphrase, now)
        except (MtlsError, ValueError, UnsupportedAlgorithm) as exc:
            facts["error"] = str(exc)
    return seen


def _kind(path: Path, data: bytes) -> str:
    """The content decides; a damaged file is what its name says."""
    for mark, kind in (
        (b"PRIVATE KEY-----", "private_key"),
        (b"BEGIN CERTIFICATE", "certificate"),
        (b"X509 CRL", "crl"),
    ):
        if mark in data:
            return kind
    by_suffix = {
        ".key": "private_key",
        ".crt": "certificate",
        ".pem": "certificate",
        ".crl": "crl",
        ".p12": "pkcs12",
        ".jsonl": "register",
    }
    return by_suffix.get(path.suffix, "unknown")


def _read_key(seen: _Seen, path: Path, data: bytes, passphrase: bytes | None, now: datetime.datetime) -> None:
    del now
    seen.facts["is_encrypted"] = b"ENCRYPTED" in data
    try:
        key = keys.load(data, source=str(path), passphrase=passphrase)
    except keys.WrongPassphraseError:
        if passphrase is not None:
            raise
        return  # encrypted, and nobody asked to open it
    spec = keys.spec_of(key)
    seen.facts["key"] = dataclasses.asdict(spec)
    seen.private_key = load.public_bytes_of(key.public_key())


def _read_certificates(seen: _Seen, path: Path, data: bytes, passphrase: bytes | None, now: datetime.datetime) -> None:
    del passphrase
    loaded = load.load_certificates(data, source=str(path))
    first = loaded.certificates[0]
    described = [_describe(one, now=now) for one in loaded.certificates]
    seen.facts |= described[0] | {"certificates": described, "warnings": list(loaded.warnings)}
    seen.certificate_key = load.public_bytes_of(first.public_key())


def _describe(certificate: x509.Certificate, *, now: datetime.datetime) -> dict[str, t.Any]:
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    return describe_certificate(certificate, now=now) | {
        "serial_number": serial_text(certificate.serial_number),
        "subject_pairs": ordered_pairs(certificate.subject),
        "key": dataclasses.asdict(keys.spec_of(certificate.public_key())),
        "is_ca": is_ca,
        "is_expired": certificate.not_valid_after_utc <= now,
    }


def _read_crl(seen: _Seen, path: Path, data: bytes, passphrase: bytes | None, now: datetime.datetime) -> None:
    del passphrase
    lists = load.load_crls(data, source=str(path)).crls
    described = []
    for one in lists:
        next_update = one.next_update_utc
        described.append(
            {
                "issuer": name_text(one.issuer),
                "last_update": time_text(one.last_update_utc),
                "next_update": time_text(next_update) if next_update else None,
                "days_left": (next_update - now).days if next_update else None,
                "number": _crl_number(one),
                "revoked": len(one),
                "serial_numbers": sorted(serial_text(entry.serial_number) for entry in one),
            }
        )
    seen.facts |= described[0] | {"crls": described}


def _crl_number(crl: x509.CertificateRevocationList) -> int | None:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        return None


def _read_register(seen: _Seen, path: Path, data: bytes, passphrase: bytes | None, now: datetime.datetime) -> None:
    del data, passphrase, now
    register = read_register(path)
    seen.facts |= {
        "entries": register.count,
        "is_torn": register.is_torn,
        "revoked": sorted(map(serial_text, register.revoked)),
    }
