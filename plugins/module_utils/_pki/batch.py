# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run over a list of certificates of one CA: read, plan, apply, report."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._pki import certificates, issue, parameters, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register, read_register
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState, exclusive
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import describe_certificate

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec

# With a thousand certificates every fact counts: Ansible copies the whole result several times.
_FACTS = (
    "subject",
    "issuer",
    "sans",
    "fingerprint_sha256",
    "not_before",
    "not_after",
    "days_left",
    "key",
    "serial_number",
)


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """The options of the module certificate_batch."""

    ca_cert: Path
    ca_key: Path
    ca_key_passphrase: str | None
    ca_chain: tuple[Path, ...]
    register: Path | None
    certificates: tuple[t.Mapping[str, t.Any], ...]
    concurrency: int | None
    check_mode: bool


def run(options: BatchOptions, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Bring all certificates to the specified state and return the module's result; in check mode only report it.

    Raises MtlsError. Everything that can be found out beforehand is, and then nothing has been changed.
    """
    parameters.refuse_concurrency(options.concurrency)
    parameters.refuse_unwritable(options.certificates, "certificates")
    specs = parameters.parse_certificates(options.certificates, now=now)
    lock = contextlib.nullcontext() if options.check_mode else exclusive(options.ca_cert.parent)
    with lock:
        state = PkiState(options.ca_cert.parent, passphrase=options.ca_key_passphrase)
        register = read_register(options.register)
        was_torn = register.is_torn
        if options.check_mode and not all(path.exists() for path in (options.ca_cert, *options.ca_chain)):
            return _without_ca(options, specs, register)
        ca = issuer.read(state, options.ca_cert, key_path=options.ca_key, chain_paths=options.ca_chain)
        steps = certificates.plan(specs, issuer=ca, register=register, now=now)
        issuing = issue.IssueCertificates(steps, ca, register, options.concurrency, now)
        if not options.check_mode:
            for spec in specs:
                issue.sweep_directory(spec)
            issuing.apply()
    before, after = certificates.diff(steps, ca)
    if was_torn:
        before.append(f"{register.path}: the last line is torn")
        after.append(f"{register.path}: without the torn line")
    changes = certificates.changes(steps)
    return {
        "changed": bool(changes) or was_torn,
        "certificates": [_report(step, issuing.issued.get(step.spec.name), ca, now) for step in steps],
        "changes": changes,
        "ca": _ca_report(options, ca, now),
        "register": _register_report(register, was_torn=was_torn),
        "diff": _diff(before, after),
        "notes": certificates.notes(steps),
    }


def _diff(before: t.Sequence[str], after: t.Sequence[str]) -> dict[str, str]:
    return {
        "before_header": "certificates",
        "after_header": "certificates",
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
    }


def _without_ca(options: BatchOptions, specs: t.Sequence[CertificateSpec], register: Register) -> dict[str, t.Any]:
    """In check mode a task before this one may only have predicted the CA: then all that is missing is issued."""
    steps = [
        certificates.CertificateStep(
            spec,
            certificates.REISSUE if spec.certificate_path.exists() else certificates.ISSUE,
            ("its CA is not created yet",),
            is_new_key=not spec.key_path.exists(),
        )
        for spec in specs
        if spec.is_present
    ]
    changes = certificates.changes(steps)
    return {
        "changed": bool(changes),
        "certificates": [_paths(step) for step in steps],
        "changes": changes,
        "ca": {"path": str(options.ca_cert), "exists": False},
        "register": _register_report(register, was_torn=register.is_torn),
        "diff": _diff(
            [f"{step.spec.name}: no certificate" for step in steps],
            [f"{step.spec.name}: issued by the CA that is still to be created" for step in steps],
        ),
        "notes": certificates.notes(steps),
    }


def _paths(step: certificates.CertificateStep) -> dict[str, t.Any]:
    spec = step.spec
    return {
        "name": spec.name,
        "action": step.action,
        "reasons": list(step.reasons),
        "key_path": str(spec.key_path),
        "certificate_path": str(spec.certificate_path),
        "chain_path": str(spec.chain_path),
        "p12_path": str(spec.p12_path) if spec.p12 else None,
        "is_new_key": step.is_new_key,
        "is_held": step.is_held,
    }


def _report(
    step: certificates.CertificateStep, issued: x509.Certificate | None, ca: issuer.Issuer, now: datetime.datetime
) -> dict[str, t.Any]:
    certificate = issued or (None if step.is_issue or not step.spec.is_present else step.certificate)
    if certificate is None:
        return _paths(step)
    facts = describe_certificate(certificate, now=now)
    return (
        _paths(step)
        | {fact: facts[fact] for fact in _FACTS}
        | {"is_clamped": profile.is_clamped(certificate, ca.not_after)}
    )


def _ca_report(options: BatchOptions, ca: issuer.LocalIssuer, now: datetime.datetime) -> dict[str, t.Any]:
    return describe_certificate(ca.certificate, now=now) | {
        "path": str(options.ca_cert),
        "exists": True,
        "has_key": ca.key is not None,
        "subject_pairs": profile.ordered_pairs(ca.certificate.subject),
    }


def _register_report(register: Register, *, was_torn: bool) -> dict[str, t.Any] | None:
    if register.path is None:
        return None
    return {"path": str(register.path), "entries": register.count, "was_torn": was_torn}
