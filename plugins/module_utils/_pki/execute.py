# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry out a plan: keys and signatures on all cores, the register first, then the files.

The order within one certificate is what makes a crash harmless: the register's line, the key, the certificate, and
last what is made from them. Whatever is missing after a crash, the next plan finds and makes.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    ensure_directory,
    sweep,
    sync_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, leaf, plan
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import time_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import concurrent.futures
    import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import Issuer
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import Wanted

# So many certificates are made, then recorded together, then written. A crash loses the work on one batch at most.
_BATCH = 64
# Writing waits for the disk, not for a core.
_WRITERS = 8


@dataclasses.dataclass(frozen=True)
class _Made:
    step: plan.Step
    key: keys.LeafKey
    certificate: x509.Certificate


@contextlib.contextmanager
def exclusive(directory: Path) -> t.Iterator[None]:
    """Keep other runs on the same CA out until the block ends. The lock leaves no file and dies with the process."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # no directory, no CA: reading it says so in words
        yield
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot lock a directory
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def cores() -> int:
    """Give the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def carry_out(
    steps: t.Sequence[plan.Step],
    *,
    issuer: Issuer,
    register: Register,
    concurrency: int,
    now: datetime.datetime,
) -> dict[str, x509.Certificate]:
    """Do what ``steps`` say; return the newly issued certificates by name.

    Raises MtlsError at the first thing that cannot be done; what is done by then is complete and recorded.
    """
    to_issue = [step for step in steps if step.is_issue]
    issued: dict[str, x509.Certificate] = {}
    register.append([])  # repairs a torn last line
    for step in steps:
        _sweep(step.wanted)
        if step.action == plan.REMOVE:
            _remove(step, register, now)
        elif step.is_to_record and step.certificate is not None:
            register.append([_entry("recorded", step, step.certificate, now)])
    if not to_issue and not any(step.action == plan.REPAIR for step in steps):
        return issued
    import concurrent.futures  # noqa: PLC0415  (an unchanged run does without)

    with (
        concurrent.futures.ThreadPoolExecutor(max_workers=concurrency) as makers,
        concurrent.futures.ThreadPoolExecutor(max_workers=_WRITERS) as writers,
    ):
        repairs = [step for step in steps if step.action == plan.REPAIR]
        _wait(writers.submit(_repair, step, issuer) for step in repairs)
        if not to_issue:
            return issued
        signing_key = issuer.require_can_sign(now=now, example=to_issue[0].wanted.name)
        for start in range(0, len(to_issue), _BATCH):
            batch = [(step, _free_serial(register)) for step in to_issue[start : start + _BATCH]]
            made = _wait(
                makers.submit(_make, step, serial, issuer=issuer, signing_key=signing_key, now=now)
                for step, serial in batch
            )
            register.append([_entry("issued", one.step, one.certificate, now) for one in made])
            _wait(writers.submit(_deliver, one, issuer) for one in made)
            issued.update((one.step.wanted.name, one.certificate) for one in made)
    return issued


_Result = t.TypeVar("_Result")


def _wait(futures: t.Iterable[concurrent.futures.Future[_Result]]) -> list[_Result]:
    """Wait for all, then raise the first error: nothing is left half-written by another thread."""
    import concurrent.futures  # noqa: PLC0415  (see above)

    started = list(futures)
    concurrent.futures.wait(started)
    return [one.result() for one in started]


def _free_serial(register: Register) -> int:
    while not register.is_free(serial := x509.random_serial_number()):
        pass  # one in 2**159
    return serial


def _make(
    step: plan.Step,
    serial: int,
    *,
    issuer: Issuer,
    signing_key: CertificateIssuerPrivateKeyTypes,
    now: datetime.datetime,
) -> _Made:
    key = step.key if step.key is not None else keys.generate(step.wanted.key)
    certificate = leaf.issue(
        step.wanted,
        public_key=key.public_key(),
        issuer=issuer,
        signing_key=signing_key,
        serial=serial,
        now=now,
    )
    return _Made(step, key, certificate)


def _deliver(made: _Made, issuer: Issuer) -> None:
    wanted = made.step.wanted
    if not wanted.directory.is_dir():  # the mode of a directory that is there already is its owner's business
        ensure_directory(wanted.directory)
    if made.step.is_new_key:
        write_atomic(wanted.key_path, keys.to_pem(made.key), mode=KEY_MODE)
    write_atomic(wanted.certificate_path, made.certificate.public_bytes(Encoding.PEM), mode=CERTIFICATE_MODE)
    _derive(made.step, made.key, made.certificate, issuer)


def _derive(step: plan.Step, key: keys.LeafKey, certificate: x509.Certificate, issuer: Issuer) -> None:
    """Write what is made from key and certificate, and set the modes."""
    wanted = step.wanted
    write_atomic(wanted.chain_path, plan.chain_pem(certificate, issuer.chain), mode=CERTIFICATE_MODE)
    if wanted.p12 is not None:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki import p12  # noqa: PLC0415  (costly to import)

        data = p12.build(wanted.p12, key=key, certificate=certificate, chain=issuer.chain)
        write_atomic(wanted.p12_path, data, mode=KEY_MODE)
    try:
        for path, mode in plan.wanted_modes(wanted):
            if path.exists():
                path.chmod(mode)
    except OSError as exc:
        raise MtlsError(f"Certificate {wanted.name}: its files cannot be given their modes: {exc.strerror}.") from exc


def _repair(step: plan.Step, issuer: Issuer) -> None:
    if step.key is not None and step.certificate is not None:
        _derive(step, step.key, step.certificate, issuer)


def _remove(step: plan.Step, register: Register, now: datetime.datetime) -> None:
    wanted = step.wanted
    serial = step.certificate.serial_number if step.certificate is not None else None
    if register.last_event(wanted.name, serial) != "removed":
        register.append([_entry("removed", step, step.certificate, now)])
    try:
        for path, _mode in reversed(plan.wanted_modes(wanted)):  # the key last
            path.unlink(missing_ok=True)
        if any(wanted.directory.iterdir()):
            sync_directory(wanted.directory)
        else:
            wanted.directory.rmdir()
            sync_directory(wanted.directory.parent)
    except OSError as exc:
        raise MtlsError(
            f"Certificate {wanted.name}: the files in {wanted.directory} cannot be removed: {exc.strerror}."
        ) from exc


def _sweep(wanted: Wanted) -> None:
    """Remove temporary files of ours that a killed run left, for they may hold a key."""
    if not wanted.directory.is_dir():
        return
    try:
        sweep(wanted.directory, [path.name for path, _mode in plan.wanted_modes(wanted)])
    except OSError as exc:
        raise MtlsError(
            f"Certificate {wanted.name}: what a killed run left in {wanted.directory} cannot be removed: "
            f"{exc.strerror}."
        ) from exc


def _entry(
    event: str, step: plan.Step, certificate: x509.Certificate | None, now: datetime.datetime
) -> dict[str, t.Any]:
    return leaf.entry(
        event,
        time=time_text(now),
        name=step.wanted.name,
        usage=step.wanted.usage,
        certificate=certificate,
        reasons=list(step.reasons),
    )
