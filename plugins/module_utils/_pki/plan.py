# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what each certificate needs and why. Nothing on disk is changed here.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import datetime
import stat
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, KEY_MODE, content_if_any
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, leaf
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import Issuer
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import Wanted

# What a step does. ISSUE also makes the key when there is none; REPAIR leaves key and certificate as they are.
ISSUE, REISSUE, REPAIR, REMOVE, NONE = "issue", "reissue", "repair", "remove", "none"


@dataclasses.dataclass(frozen=True)
class Step:
    """One certificate's part of the plan: what will be done and, in words, why."""

    wanted: Wanted
    action: str
    reasons: tuple[str, ...] = ()
    key: keys.LeafKey | None = None  # the key on disk; None where a new one has to be made
    certificate: x509.Certificate | None = None  # the certificate on disk, when it can be read
    is_new_key: bool = False
    is_to_record: bool = False  # the register does not know the certificate on disk
    is_held: bool = False  # the holder's certificate was revoked, and nobody asked for a new one

    @property
    def is_issue(self) -> bool:
        return self.action in {ISSUE, REISSUE}


def make_plan(
    wanted: t.Sequence[Wanted], *, issuer: Issuer | None, register: Register, now: datetime.datetime
) -> tuple[Step, ...]:
    """Compare every certificate with what is on disk. ``issuer`` None means a CA that is still to be made.

    Raises MtlsError that names every certificate which cannot be handled; then nothing may be done for any.
    """
    steps: list[Step] = []
    problems: list[str] = []
    for one in wanted:
        try:
            plan_one = _plan_present if one.present else _plan_absent
            steps.append(plan_one(one, issuer=issuer, register=register, now=now))
        except MtlsError as exc:
            problems.append(f"Certificate {one.name}: {exc}")
    if problems:
        raise MtlsError(" ".join([*problems, "Nothing was changed."]), problems=problems)
    return tuple(steps)


def chain_pem(certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]) -> bytes:
    """Give the PEM text of a certificate and what follows it."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in (certificate, *chain))


def _plan_absent(wanted: Wanted, *, issuer: Issuer | None, register: Register, now: datetime.datetime) -> Step:
    del issuer, register, now
    paths = (wanted.key_path, wanted.certificate_path, wanted.chain_path, wanted.p12_path)
    present = [path.name for path in paths if path.exists()]
    if not present:
        return Step(wanted, NONE)
    certificate = None
    if wanted.certificate_path.exists():
        certificate, _problem = _read_certificate(wanted.certificate_path)
    return Step(wanted, REMOVE, (f"state is absent, but there are {', '.join(present)}",), certificate=certificate)


def _plan_present(wanted: Wanted, *, issuer: Issuer | None, register: Register, now: datetime.datetime) -> Step:
    if wanted.is_rekey:
        return _plan_rekey(wanted)
    if register.is_held(wanted.name):
        return Step(wanted, NONE, certificate=_certificate_if_any(wanted), is_held=True)
    key, key_reasons = _plan_key(wanted)
    try:
        certificate, problem = _read_certificate(wanted.certificate_path)
    except FileNotFoundError:
        reasons = key_reasons or ["there is a key, but no certificate"]
        return Step(wanted, ISSUE, tuple(reasons), key=key, is_new_key=key is None)
    reasons = list(key_reasons)
    if certificate is None:
        reasons.append(f"the certificate on disk cannot be read ({problem})")
    else:
        try:
            reasons += _certificate_reasons(certificate, wanted, key=key, issuer=issuer, now=now)
        except (ValueError, UnsupportedAlgorithm) as exc:  # cryptography parses the parts of a certificate on demand
            reasons.append(f"the certificate on disk cannot be read ({exc})")
            certificate = None
    if certificate is not None and certificate.serial_number in register.revoked:
        # A new one was recorded and did not get here. Whoever has the revoked one may have its key.
        reasons.append("it was revoked, so a new key is made")
        key = None
    if reasons:
        return Step(wanted, REISSUE, tuple(reasons), key=key, certificate=certificate, is_new_key=key is None)
    certificate = t.cast("x509.Certificate", certificate)
    is_to_record = not register.knows(certificate.serial_number)
    repairs = _repair_reasons(wanted, certificate, t.cast("Issuer", issuer))
    if is_to_record:
        repairs.append("the register does not list its serial number")
    return Step(
        wanted,
        REPAIR if repairs else NONE,
        tuple(repairs),
        key=key,
        certificate=certificate,
        is_to_record=is_to_record,
    )


def _plan_rekey(wanted: Wanted) -> Step:
    certificate = _certificate_if_any(wanted)
    return Step(
        wanted,
        ISSUE if certificate is None else REISSUE,
        ("a new key and certificate are asked for",),
        certificate=certificate,
        is_new_key=True,
    )


def _certificate_if_any(wanted: Wanted) -> x509.Certificate | None:
    try:
        return _read_certificate(wanted.certificate_path)[0]
    except FileNotFoundError:
        return None


def _plan_key(wanted: Wanted) -> tuple[keys.LeafKey | None, list[str]]:
    """Give the key to use on, or None and why a new one is needed. A damaged key is never replaced."""
    path = wanted.key_path
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        lost = wanted.certificate_path.exists()
        return None, ["there is a certificate, but its key is missing" if lost else "there is no certificate yet"]
    except OSError as exc:
        raise MtlsError(f"its private key {path} cannot be read: {exc.strerror}.") from exc
    try:
        key = t.cast("keys.LeafKey", keys.load(data, source=str(path)))
    except MtlsError as exc:
        raise MtlsError(
            f"{exc} It was not replaced. Restore it from a backup, or remove the file to have a new key and "
            "certificate made."
        ) from exc
    found = keys.spec_of(key)
    if found != wanted.key:
        return None, [f"the key is {found}, wanted is {wanted.key}, so a new key is made"]
    return key, []


def _read_certificate(path: Path) -> tuple[x509.Certificate | None, str]:
    try:
        found = load.load_certificates(path.read_bytes(), source=str(path)).certificates
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise MtlsError(f"its certificate {path} cannot be read: {exc.strerror}.") from exc
    except MtlsError as exc:
        return None, str(exc).rstrip(".")
    if len(found) != 1:
        return None, f"the file holds {len(found)} certificates"
    return found[0], ""


def _certificate_reasons(
    certificate: x509.Certificate,
    wanted: Wanted,
    *,
    key: keys.LeafKey | None,
    issuer: Issuer | None,
    now: datetime.datetime,
) -> list[str]:
    reasons = []
    if key is not None and not load.key_matches(certificate, key):
        reasons.append("the certificate does not belong to the key")
    if issuer is None:
        reasons.append("its CA is not made yet")
    elif not issuer.has_issued(certificate):
        reasons.append(f"it was not issued by {issuer.label}")
    reasons += leaf.differences(certificate, wanted)
    return reasons + _lifetime_reasons(certificate, wanted, issuer=issuer, now=now)


def _lifetime_reasons(
    certificate: x509.Certificate, wanted: Wanted, *, issuer: Issuer | None, now: datetime.datetime
) -> list[str]:
    end = certificate.not_valid_after_utc
    if end <= now:
        return [f"it expired on {end:%Y-%m-%d}"]
    if certificate.not_valid_before_utc > now:
        return [f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"]
    if issuer is not None and leaf.is_clamped(certificate, issuer):
        return []
    if end - now < datetime.timedelta(days=wanted.renew_before):
        return [f"it expires on {end:%Y-%m-%d}, within the renewal window of {wanted.renew_before} days"]
    return []


def _repair_reasons(wanted: Wanted, certificate: x509.Certificate, issuer: Issuer) -> list[str]:
    """What is wrong beside key and certificate: the files made from them, and permissions."""
    reasons = []
    if content_if_any(wanted.chain_path) != chain_pem(certificate, issuer.chain):
        reasons.append(f"{wanted.chain_path.name} is missing or not the certificate and its chain")
    if wanted.p12 is not None:
        data = content_if_any(wanted.p12_path)
        if data is None:
            reasons.append(f"{wanted.p12_path.name} is missing")
        else:
            from ansible_collections.kyma.mtls.plugins.module_utils._pki import p12  # noqa: PLC0415  (costly to import)

            found = p12.differences(data, wanted.p12, certificate=certificate, chain=issuer.chain)
            reasons += [f"{wanted.p12_path.name} is replaced: {one}" for one in found]
    for path, mode in wanted_modes(wanted):
        found_mode = _mode(path)
        if found_mode is not None and found_mode != mode:
            reasons.append(f"{path.name} has the mode {found_mode:04o}, wanted is {mode:04o}")
    return reasons


def wanted_modes(wanted: Wanted) -> list[tuple[Path, int]]:
    """Give the mode that each file of a certificate has."""
    return [
        (wanted.key_path, KEY_MODE),
        (wanted.certificate_path, CERTIFICATE_MODE),
        (wanted.chain_path, CERTIFICATE_MODE),
        (wanted.p12_path, KEY_MODE),
    ]


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
