# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run over a list of certificates: read, plan, act, report.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import execute, leaf, plan
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import Issuer, read_issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register, read_register
from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import (
    Wanted,
    ordered_pairs,
    parse_all,
    refuse_unwritable,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import (
    describe_certificate,
    name_text,
    san_text,
    serial_text,
)

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509


# With a thousand certificates every fact counts: Ansible copies the whole result several times.
_FACTS = ("subject", "issuer", "sans", "fingerprint_sha256", "not_before", "not_after", "days_left", "key")


@dataclasses.dataclass(frozen=True)
class Options:
    """What the module's caller asks for."""

    ca_cert: Path
    ca_key: Path
    ca_key_passphrase: str | None
    ca_chain: tuple[Path, ...]
    register: Path | None
    certificates: tuple[t.Mapping[str, t.Any], ...]
    concurrency: int | None
    check_mode: bool


@dataclasses.dataclass(frozen=True)
class Decided:
    """What a run will do: the CA, the register and a step for every certificate. Nothing has been changed yet."""

    issuer: Issuer | None
    register: Register
    steps: tuple[plan.Step, ...]
    was_torn: bool

    @property
    def changes(self) -> list[dict[str, t.Any]]:
        """Name, action and reasons of every certificate that needs something."""
        return [
            {"name": step.wanted.name, "action": step.action, "reasons": list(step.reasons)}
            for step in self.steps
            if step.action != plan.NONE
        ]

    @property
    def notes(self) -> list[str]:
        """What a person should be warned of."""
        return [note for step in self.steps for note in (*step.wanted.notes, *_held(step))]

    def diff(self) -> tuple[list[str], list[str]]:
        """Give before and after in words: what a person wants to know, and no key material."""
        return _diff(self.steps, self.issuer, self.register if self.was_torn else None)


def run(options: Options, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Bring all certificates to the wanted state and return the module's result; in check mode only say it.

    Raises MtlsError. Everything that can be found out beforehand is, and then nothing has been changed.
    """
    wanted = check(options, now=now)
    lock = contextlib.nullcontext() if options.check_mode else execute.exclusive(options.ca_cert.parent)
    with lock:
        decided = decide(options, wanted, register=read_register(options.register), now=now)
        issued = {} if options.check_mode else act(options, decided, now=now)
    changes = decided.changes
    before, after = decided.diff()
    return {
        "changed": bool(changes) or decided.was_torn,
        "certificates": [_report(step, issued.get(step.wanted.name), decided.issuer, now) for step in decided.steps],
        "changes": changes,
        "ca": _ca_report(options, decided.issuer, now),
        "register": _register_report(decided.register, was_torn=decided.was_torn),
        "diff": {
            "before_header": "certificates",
            "after_header": "certificates",
            "before": "".join(f"{line}\n" for line in before),
            "after": "".join(f"{line}\n" for line in after),
        },
        "notes": decided.notes,
    }


def check(options: Options, *, now: datetime.datetime) -> tuple[Wanted, ...]:
    """Return what is wanted; raises MtlsError for what can never be."""
    if options.concurrency is not None and options.concurrency < 1:
        raise MtlsError(f"concurrency is {options.concurrency}, but must be 1 or more.")
    refuse_unwritable(options.certificates, "certificates")
    return parse_all(options.certificates, now=now)


def decide(
    options: Options,
    wanted: t.Sequence[Wanted],
    *,
    register: Register,
    now: datetime.datetime,
    is_predicted: bool = False,
    pending: t.Mapping[Path, bytes] | None = None,
) -> Decided:
    """Compare with what is on disk. With ``is_predicted``, or in check mode, a CA that is still to be made is none.

    ``pending`` are files that will be written before anything is issued.

    Raises MtlsError for whatever cannot be handled.
    """
    issuer = _read_issuer(options, is_predicted=is_predicted or options.check_mode, pending=pending or {})
    steps = plan.make_plan(wanted, issuer=issuer, register=register, now=now)
    first = next((step.wanted.name for step in steps if step.is_issue), None)
    if issuer is not None and first is not None:
        issuer.require_can_sign(now=now, example=first)
    return Decided(issuer=issuer, register=register, steps=steps, was_torn=register.is_torn)


def act(options: Options, decided: Decided, *, now: datetime.datetime) -> dict[str, x509.Certificate]:
    """Do what was decided; return the newly issued certificates by name."""
    if decided.issuer is None:
        return {}
    concurrency = options.concurrency or execute.cores()
    return execute.carry_out(
        decided.steps, issuer=decided.issuer, register=decided.register, concurrency=concurrency, now=now
    )


def _held(step: plan.Step) -> tuple[str, ...]:
    if not step.is_held:
        return ()
    name = step.wanted.name
    return (
        f"The certificate of {name} was revoked, so {name} is left as it is and gets no new one by itself. "
        f"Ask for a new key and certificate by rekey, or set state to absent.",
    )


def _read_issuer(options: Options, *, is_predicted: bool, pending: t.Mapping[Path, bytes]) -> Issuer | None:
    needed = (options.ca_cert, *options.ca_chain)
    is_new = any(not path.exists() for path in pending)
    if is_new or (is_predicted and not all(path.exists() for path in needed)):
        return None
    return read_issuer(
        options.ca_cert,
        options.ca_key,
        passphrase=options.ca_key_passphrase,
        chain_paths=options.ca_chain,
        pending=pending,
    )


def _report(
    step: plan.Step, issued: x509.Certificate | None, issuer: Issuer | None, now: datetime.datetime
) -> dict[str, t.Any]:
    wanted = step.wanted
    report: dict[str, t.Any] = {
        "name": wanted.name,
        "action": step.action,
        "reasons": list(step.reasons),
        "key_path": str(wanted.key_path),
        "certificate_path": str(wanted.certificate_path),
        "chain_path": str(wanted.chain_path),
        "p12_path": str(wanted.p12_path) if wanted.p12 else None,
        "is_new_key": step.is_new_key,
        "is_held": step.is_held,
    }
    certificate = issued or (None if step.is_issue or not wanted.present else step.certificate)
    if certificate is None:
        return report
    facts = describe_certificate(certificate, now=now)
    return (
        report
        | {fact: facts[fact] for fact in _FACTS}
        | {
            "serial_number": serial_text(certificate.serial_number),
            "is_clamped": issuer is not None and leaf.is_clamped(certificate, issuer),
        }
    )


def _ca_report(options: Options, issuer: Issuer | None, now: datetime.datetime) -> dict[str, t.Any]:
    if issuer is None:
        return {"path": str(options.ca_cert), "exists": False}
    return describe_certificate(issuer.certificate, now=now) | {
        "path": str(options.ca_cert),
        "exists": True,
        "has_key": issuer.key is not None,
        "serial_number": serial_text(issuer.certificate.serial_number),
        "subject_pairs": ordered_pairs(issuer.certificate.subject),
    }


def _register_report(register: Register, *, was_torn: bool) -> dict[str, t.Any] | None:
    if register.path is None:
        return None
    return {"path": str(register.path), "entries": register.count, "was_torn": was_torn}


def _diff(steps: t.Sequence[plan.Step], issuer: Issuer | None, torn: Register | None) -> tuple[list[str], list[str]]:
    before: list[str] = []
    after: list[str] = []
    for step in steps:
        if step.action == plan.NONE:
            continue
        name = step.wanted.name
        before.append(f"{name}: {_before(step)}")
        after.append(f"{name}: {_after(step, issuer)}")
        after += [f"  because {reason}" for reason in step.reasons]
    if torn is not None:
        before.append(f"{torn.path}: the last line is torn")
        after.append(f"{torn.path}: without the torn line")
    return before, after


def _before(step: plan.Step) -> str:
    certificate = step.certificate
    if certificate is None:
        return "no readable certificate" if step.action in {plan.REISSUE, plan.REMOVE} else "no certificate"
    return f"{name_text(certificate.subject)}, until {certificate.not_valid_after_utc:%Y-%m-%d}"


def _after(step: plan.Step, issuer: Issuer | None) -> str:
    wanted = step.wanted
    if step.action == plan.REMOVE:
        return "removed"
    if step.action == plan.REPAIR:
        return f"{_before(step)}, repaired"
    key = f"a new {wanted.key} key" if step.is_new_key else "the same key"
    ca = name_text(issuer.certificate.subject) if issuer is not None else "the CA that is still to be made"
    sans = ", ".join(san_text(one) for one in wanted.sans)
    return (
        f"{name_text(wanted.subject) or 'no subject'}{f', {sans}' if sans else ''}, {wanted.usage}, {key}, "
        f"for {wanted.days} days, issued by {ca}"
    )
