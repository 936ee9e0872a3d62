# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what each certificate needs and why. Nothing on disk is changed here."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import stat
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    content_if_any,
    require_regular,
)
from ansible_collections.kyma.mtls.plugins.module_utils._parallel import shared_out
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import duration_text, name_text, san_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS, first_line

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.issuer import Issuer
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec

# So many certificates are worth a process of their own: a third of a second.
_SHARE = 500

# What a step does. ISSUE also generates the key when there is none; REPAIR leaves key and certificate as they are.
ISSUE, REISSUE, REPAIR, REMOVE, NONE = "issue", "reissue", "repair", "remove", "none"


@dataclasses.dataclass(frozen=True)
class CertificateFiles:
    """The files of one certificate as they are on disk, None for one that is not there."""

    key: bytes | None
    certificate: bytes | None
    chain: bytes | None
    p12: bytes | None

    @classmethod
    def of(cls, spec: CertificateSpec) -> CertificateFiles:
        """Read them. Raises MtlsError for one that cannot be read."""
        return cls(
            key=content_if_any(spec.key_path, what="private key"),
            certificate=content_if_any(spec.certificate_path, what="certificate"),
            chain=content_if_any(spec.chain_path),
            p12=content_if_any(spec.p12_path) if spec.p12 is not None else None,
        )


@dataclasses.dataclass(frozen=True)
class CertificateStep:
    """One certificate's part of the plan: what will be done and, in words, why."""

    spec: CertificateSpec
    action: str
    reasons: tuple[str, ...] = ()
    key: keys.LeafKey | None = None  # the key on disk: None where a new one is generated, or nothing is to be done
    certificate: x509.Certificate | None = None  # the certificate on disk, when it can be read
    is_new_key: bool = False
    is_to_record: bool = False  # the register does not know the certificate on disk
    is_held: bool = False  # the certificate was revoked, and no new one is requested

    @property
    def is_issue(self) -> bool:
        return self.action in {ISSUE, REISSUE}


def plan(
    specs: t.Sequence[CertificateSpec], *, issuer: Issuer, register: Register, now: datetime.datetime
) -> tuple[CertificateStep, ...]:
    """Compare every certificate with what is on disk.

    Raises MtlsError that names every certificate which cannot be handled; then nothing may be done for any.
    """
    steps: list[CertificateStep] = []
    problems: list[str] = []
    plan_one = functools.partial(_plan_one, issuer=issuer, register=register, now=now)
    find_unchanged = functools.partial(_find_unchanged, plan_one=plan_one)
    for share, unchanged in shared_out(specs, find_unchanged, least=_SHARE):
        for spec in share:
            try:
                data = (unchanged or {}).get(spec.name)
                steps.append(plan_one(spec) if data is None else _unchanged(spec, data))
            except MtlsError as exc:
                problems.append(f"Certificate {spec.name}: {exc}")
    if problems:
        raise MtlsError(" ".join([*problems, "Nothing was changed."]), problems=problems)
    first = next((step.spec.name for step in steps if step.is_issue), None)
    if first is not None:
        issuer.require_can_sign(now=now, what=f"certificate {first}")
    return tuple(steps)


def _find_unchanged(
    specs: t.Iterable[CertificateSpec], *, plan_one: t.Callable[[CertificateSpec], CertificateStep]
) -> dict[str, bytes]:
    """Give the certificates, in DER, for which nothing is to be done."""
    found = {}
    for spec in specs:
        with contextlib.suppress(MtlsError):  # plan() meets it again, and reports it
            step = plan_one(spec)
            if step.action == NONE and step.certificate is not None and not step.is_held:
                found[spec.name] = step.certificate.public_bytes(Encoding.DER)
    return found


def _unchanged(spec: CertificateSpec, data: bytes) -> CertificateStep:
    return CertificateStep(spec, NONE, certificate=x509.load_der_x509_certificate(data))


def _plan_one(spec: CertificateSpec, *, issuer: Issuer, register: Register, now: datetime.datetime) -> CertificateStep:
    step = _plan_present(spec, issuer=issuer, register=register, now=now) if spec.is_present else _plan_absent(spec)
    if step.action != NONE:
        for path, _mode in modes(spec):
            require_regular(path)
    return step


def chain_pem(certificate: x509.Certificate, chain: t.Sequence[x509.Certificate]) -> bytes:
    """Give the PEM text of a certificate and what follows it."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, *chain))


def modes(spec: CertificateSpec) -> list[tuple[Path, int]]:
    """Give the mode that each file of a certificate has."""
    return [
        (spec.key_path, KEY_MODE),
        (spec.certificate_path, CERTIFICATE_MODE),
        (spec.chain_path, CERTIFICATE_MODE),
        (spec.p12_path, KEY_MODE),
    ]


def changes(steps: t.Iterable[CertificateStep]) -> list[dict[str, t.Any]]:
    """Name, action and reasons of every certificate that needs something."""
    return [
        {"name": step.spec.name, "action": step.action, "reasons": list(step.reasons)}
        for step in steps
        if step.action != NONE
    ]


def notes(steps: t.Iterable[CertificateStep]) -> list[str]:
    """What a person should be warned of."""
    found: list[str] = []
    for step in steps:
        found += step.spec.notes
        if step.is_held:
            name = step.spec.name
            found.append(
                f"The certificate of {name} was revoked, so {name} is left as it is and gets no new one automatically. "
                f"Request a new key and certificate by rekey, or set state to absent."
            )
    return found


def diff(steps: t.Iterable[CertificateStep], issuer: Issuer) -> tuple[list[str], list[str]]:
    """Give before and after in words: what a person wants to know, and no key material."""
    before: list[str] = []
    after: list[str] = []
    for step in steps:
        if step.action == NONE:
            continue
        before.append(f"{step.spec.name}: {_before(step)}")
        after.append(f"{step.spec.name}: {_after(step, issuer)}")
        after += [f"  because {reason}" for reason in step.reasons]
    return before, after


def _before(step: CertificateStep) -> str:
    certificate = step.certificate
    if certificate is None:
        return "no readable certificate" if step.action in {REISSUE, REMOVE} else "no certificate"
    return f"{name_text(certificate.subject)}, until {certificate.not_valid_after_utc:%Y-%m-%d}"


def _after(step: CertificateStep, issuer: Issuer) -> str:
    spec = step.spec
    if step.action == REMOVE:
        return "removed"
    if step.action == REPAIR:
        return f"{_before(step)}, repaired"
    key = f"a new {spec.key} key" if step.is_new_key else "the same key"
    sans = "".join(f", {san_text(name)}" for name in spec.sans)
    lifetime = duration_text(spec.lifetime) if spec.lifetime is not None else "as long as its issuer decides"
    return (
        f"{name_text(spec.subject) or 'no subject'}{sans}, {spec.usage}, {key}, for {lifetime}, issued by "
        f"{name_text(issuer.certificate.subject)}"
    )


def _plan_absent(spec: CertificateSpec) -> CertificateStep:
    present = [path.name for path, _mode in modes(spec) if path.exists()]
    if not present:
        return CertificateStep(spec, NONE)
    certificate = _certificate_if_any(spec, content_if_any(spec.certificate_path, what="certificate"))
    return CertificateStep(
        spec, REMOVE, (f"state is absent, but there are {', '.join(present)}",), certificate=certificate
    )


def _plan_present(
    spec: CertificateSpec, *, issuer: Issuer, register: Register, now: datetime.datetime
) -> CertificateStep:
    files = CertificateFiles.of(spec)
    if spec.is_rekey:
        certificate = _certificate_if_any(spec, files.certificate)
        action = ISSUE if certificate is None else REISSUE
        return CertificateStep(
            spec, action, ("a new key and certificate are requested",), certificate=certificate, is_new_key=True
        )
    if register.is_held(spec.name):
        return CertificateStep(spec, NONE, certificate=_certificate_if_any(spec, files.certificate), is_held=True)
    key, problems = _plan_key(spec, files)
    if files.certificate is None:
        reasons = tuple(problems or ["there is a key, but no certificate"])
        return CertificateStep(spec, ISSUE, reasons, key=key, is_new_key=key is None)
    certificate, problem = _read_certificate(spec.certificate_path, files.certificate)
    if certificate is None:
        problems.append(f"the certificate on disk cannot be read ({problem})")
    else:
        try:
            problems += _certificate_problems(certificate, spec, key=key, issuer=issuer, now=now)
        except PARSE_ERRORS as exc:  # cryptography parses the parts of a certificate on demand
            problems.append(f"the certificate on disk cannot be read ({first_line(exc)})")
            certificate = None
    if certificate is not None and certificate.serial_number in register.revoked:
        # A new one was recorded and did not get here. Whoever has the revoked one may have its key.
        problems.append("it was revoked, so a new key is generated")
        key = None
    if problems or certificate is None or key is None:
        return CertificateStep(spec, REISSUE, tuple(problems), key=key, certificate=certificate, is_new_key=key is None)
    is_to_record = not register.knows(certificate.serial_number)
    repairs = _repair_reasons(spec, files, certificate, issuer)
    if is_to_record:
        repairs.append("the register does not list its serial number")
    action = REPAIR if repairs else NONE
    return CertificateStep(spec, action, tuple(repairs), key=key, certificate=certificate, is_to_record=is_to_record)


def _certificate_if_any(spec: CertificateSpec, data: bytes | None) -> x509.Certificate | None:
    return None if data is None else _read_certificate(spec.certificate_path, data)[0]


def _plan_key(spec: CertificateSpec, files: CertificateFiles) -> tuple[keys.LeafKey | None, list[str]]:
    """Give the key to use on, or None and why a new one is needed. A damaged key is never replaced."""
    if files.key is None:
        is_lost = files.certificate is not None
        return None, ["there is a certificate, but its key is missing" if is_lost else "there is no certificate yet"]
    try:
        key = t.cast("keys.LeafKey", load.load_private_key(files.key, source=str(spec.key_path)))
    except MtlsError as exc:
        raise MtlsError(
            f"{exc} It was not replaced. Restore it from a backup, or remove the file to have a new key and "
            "certificate issued."
        ) from exc
    found = keys.spec_of(key)
    if found != spec.key:
        return None, [f"the key is {found}, specified is {spec.key}, so a new key is generated"]
    return key, []


def _read_certificate(path: Path, data: bytes) -> tuple[x509.Certificate | None, str]:
    try:
        found = load.load_certificates(data, source=str(path)).certificates
    except MtlsError as exc:
        return None, str(exc).rstrip(".")
    return (found[0], "") if len(found) == 1 else (None, f"the file holds {len(found)} certificates")


def _certificate_problems(
    certificate: x509.Certificate,
    spec: CertificateSpec,
    *,
    key: keys.LeafKey | None,
    issuer: Issuer,
    now: datetime.datetime,
) -> list[str]:
    reasons = []
    if key is not None and not load.key_matches(certificate, key):
        reasons.append("the certificate does not belong to the key")
    if not issuer.has_issued(certificate):
        reasons.append(f"it was not issued by {issuer.label}")
    reasons += issuer.differences(certificate, spec)
    return reasons + _lifetime_problems(certificate, spec, issuer=issuer, now=now)


def _lifetime_problems(
    certificate: x509.Certificate, spec: CertificateSpec, *, issuer: Issuer, now: datetime.datetime
) -> list[str]:
    end = certificate.not_valid_after_utc
    if end <= now:
        return [f"it expired on {end:%Y-%m-%d}"]
    if certificate.not_valid_before_utc > now:
        return [f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"]
    if profile.is_clamped(certificate, issuer.not_after):
        return []
    rule = spec.renewal.within(certificate) if issuer.is_external else spec.renewal
    if rule.is_due(certificate, now):
        return [f"it expires on {end:%Y-%m-%d}, within the renewal window of {rule}"]
    return []


def _repair_reasons(
    spec: CertificateSpec, files: CertificateFiles, certificate: x509.Certificate, issuer: Issuer
) -> list[str]:
    """What is wrong beside key and certificate: the files made from them, and permissions."""
    reasons = []
    if files.chain != chain_pem(certificate, issuer.chain):
        reasons.append(f"{spec.chain_path.name} is missing or not the certificate and its chain")
    if spec.p12 is not None:
        if files.p12 is None:
            reasons.append(f"{spec.p12_path.name} is missing")
        else:
            found = keys.pkcs12_differences(files.p12, spec.p12, certificate=certificate, chain=issuer.chain)
            reasons += [f"{spec.p12_path.name} is replaced: {difference}" for difference in found]
    for path, mode in modes(spec):
        found_mode = _mode(path)
        if found_mode is not None and found_mode != mode:
            reasons.append(f"{path.name} has the mode {found_mode:04o}, specified is {mode:04o}")
    return reasons


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
