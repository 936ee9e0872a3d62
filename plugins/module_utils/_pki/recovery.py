# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocations that a list of our own CAs has and the register has not: it was lost, or cut back to an older backup.

Without them the list would never be renewed, and the gateway would refuse everybody once it had lapsed.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import content_if_any
from ansible_collections.kyma.mtls.plugins.module_utils._pki import leaf
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import REVOKED, Entry, Register
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import name_text, serial_text, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

_WHY = "the revocation list has it and the register had not"


def read_lists(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Read what is there. Something that cannot be read is nothing: the register has all that matters."""
    data = content_if_any(path)
    with contextlib.suppress(MtlsError, *PARSE_ERRORS):
        lists = load.load_crls(data, source=str(path)).crls if data is not None else ()
        _probe = [list(one) for one in lists]
        return lists
    return ()


def is_list_of(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Tell whether ``authority`` has signed ``crl``."""
    with contextlib.suppress(*PARSE_ERRORS):
        return crl.issuer == authority.subject and crl.is_signature_valid(t.cast("t.Any", authority.public_key()))
    return False


def missing_entries(
    register: Register, lists: t.Sequence[x509.CertificateRevocationList], authorities: t.Iterable[Path], clients: Path
) -> list[Entry]:
    """Give the register's missing lines for what lists signed by ``authorities`` (paths of certificates) revoke.

    Who a certificate belongs to, where the register does not say it, is read from the files of the clients.
    """
    unknown = {entry.serial_number: (crl, entry) for crl in lists for entry in crl} if lists else {}
    if not any(serial not in register.revoked for serial in unknown):
        return []
    signers = [certificate for path in authorities if path.exists() for certificate in _certificates(path)[:1]]
    found = {
        serial: (crl, entry)
        for serial, (crl, entry) in unknown.items()
        if serial not in register.revoked and any(is_list_of(crl, one) for one in signers)
    }
    entries: list[Entry] = []
    kept = _certificates_by_serial(clients.parent / "revoked", clients) if found else {}
    for serial, (crl, revoked) in sorted(found.items()):
        time = time_text(revoked.revocation_date_utc)
        given = register.given(serial)
        if given is None and serial in kept:
            given = _recorded(*kept[serial], time)
            entries.append(given)
        base = given or {"serial_number": serial_text(serial), "issuer": name_text(crl.issuer)}
        entries.append({**base, "event": REVOKED, "time": time, "reasons": [_WHY]})
    return entries + _current(entries, clients)


def words(register: Path, crl: Path, entries: t.Sequence[Entry]) -> str:
    """Say what is taken up and why."""
    revoked = [one for one in entries if one["event"] == REVOKED]
    shown = ", ".join(str(one.get("name") or one["serial_number"]) for one in revoked[:5])
    more = ", ..." if len(revoked) > 5 else ""
    return (
        f"{register} lacks {len(revoked)} revocations of {crl} ({shown}{more}): it was lost, or restored from an older "
        "backup. They are taken up from the list, which stays in force and is renewed."
    )


def _current(entries: t.Sequence[Entry], clients: Path) -> list[Entry]:
    """The certificates that those clients have now: who has got a new one since is not held."""
    revoked = {int(one["serial_number"], 16) for one in entries if one["event"] == REVOKED}
    return [
        _recorded(name, certificate, time_text(certificate.not_valid_before_utc))
        for name in dict.fromkeys(str(one["name"]) for one in entries if one.get("name"))
        for certificate in _certificates(clients / name / "client.crt")[:1]
        if certificate.serial_number not in revoked
    ]


def _recorded(name: str, certificate: x509.Certificate, time: str) -> Entry:
    return leaf.entry(
        "recorded", time=time, name=name, usage="client", certificate=certificate, reasons=["the register had lost it"]
    )


def _certificates_by_serial(*places: Path) -> dict[int, tuple[str, x509.Certificate]]:
    return {
        certificate.serial_number: (path.parent.name, certificate)
        for place in places
        for path in sorted(place.glob("*/client.crt"))
        for certificate in _certificates(path)[:1]
    }


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    with contextlib.suppress(MtlsError, *PARSE_ERRORS):
        if (data := content_if_any(path)) is not None:
            return load.load_certificates(data, source=str(path)).certificates
    return ()
