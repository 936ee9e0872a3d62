# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Issue certificates as planned: ahead of what is written, the register first, then the files.

A CA whose key is here issues on all cores. An external issuer has several requests under way at once, and one thread
sends them, checks what comes back and writes: threads would only wait for each other, and the issuer for them.

The order within one certificate is what makes a crash harmless: the register's line, the key, the certificate, and
last what is made from them. Whatever is missing after a crash, the next plan finds.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import os
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    StagedFile,
    ensure_directory,
    is_synced_together,
    stage,
    sweep,
    sync_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._parallel import cores
from ansible_collections.kyma.mtls.plugins.module_utils._pki import certificates, keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.issuer import RequestRefusedError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import entry_of
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import SELF_SIGNED

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import concurrent.futures
    import datetime

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.issuer import Issuer
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain

# So many certificates are recorded together, then written. A crash loses the work on one batch, and on what is ahead.
_BATCH = 64
# While an issuer's certificates are written, it works on the requests that are under way: fewer for each of these.
_REQUESTED_BATCH = 32
_CONNECTIONS = 8
# From so many certificates on, the disk is waited for once.
_MANY = 8
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class _NewCertificate:
    step: certificates.CertificateStep
    key: keys.LeafKey
    certificate: x509.Certificate
    files: list[StagedFile] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class IssueCertificates:
    """Do what the steps say. ``issued`` are the new certificates by name, when it has been done.

    ``chain_checks`` are chains, by name, in which a new certificate must be valid before anything is written.
    """

    steps: t.Sequence[certificates.CertificateStep]
    issuer: Issuer
    register: Register
    concurrency: int | None
    now: datetime.datetime
    provider: str = SELF_SIGNED
    chain_checks: dict[str, chain.ChainRequest] = dataclasses.field(default_factory=dict)
    issued: dict[str, x509.Certificate] = dataclasses.field(default_factory=dict)
    _first: list[_NewCertificate | RequestRefusedError] = dataclasses.field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What a person should know of the certificates that are there now."""
        if not self.issuer.is_external:  # ours outlive no CA
            return []
        present = {step.spec.name: step.certificate for step in self.steps if step.certificate and not step.is_issue}
        return profile.outliving_note(present | self.issued, self.issuer.certificate)

    @property
    def _to_issue(self) -> list[certificates.CertificateStep]:
        return [step for step in self.steps if step.is_issue]

    def begin(self) -> None:
        """Have an external issuer sign the first certificate, before anything at all is written.

        It shows whether the issuer issues, and what is requested. Raises MtlsError when it does not.
        """
        if not self.issuer.is_external or not (steps := self._to_issue):
            return
        try:
            self._first.append(self._issue(steps[0], self._free_serial_number()))
        except RequestRefusedError as exc:
            if len(steps) == 1:
                raise
            self._first.append(exc)

    def apply(self) -> None:
        """Raises MtlsError for what cannot be done; what is done by then is complete and recorded.

        A request that an external issuer refuses keeps no other from being issued.
        """
        self.register.write([])  # what is still to be written, or torn
        for step in self.steps:
            if step.action == certificates.REMOVE:
                self._remove(step)
            elif step.is_to_record and step.certificate is not None:
                self._record("recorded", step, step.certificate)
        repairs = [step for step in self.steps if step.action == certificates.REPAIR]
        to_issue = self._to_issue
        if not to_issue and not repairs:
            return
        import concurrent.futures  # noqa: PLC0415  (an unchanged run does without)

        for step in repairs:
            _repair(step, self.issuer)
        problems: list[MtlsError] = [outcome for outcome in self._first if isinstance(outcome, MtlsError)]
        batch: list[_NewCertificate] = []
        size = _REQUESTED_BATCH if self.issuer.is_external else _BATCH
        is_synced_once = is_synced_together(len(to_issue), least=_MANY)
        first: list[t.Callable[[], _NewCertificate]] = [
            functools.partial(_already_issued, outcome)
            for outcome in self._first
            if isinstance(outcome, _NewCertificate)
        ]
        with concurrent.futures.ThreadPoolExecutor(max_workers=self.concurrency or cores()) as executor:
            rest = self._started(executor, to_issue[len(self._first) :], problems)
            try:
                for wait in itertools.chain(first, rest):
                    try:
                        batch.append(issued := wait())
                        issued.files.extend(_stage(issued, self.issuer, is_synced=not is_synced_once))
                        if len(batch) == size:
                            full, batch = batch, []
                            self._publish_batch(full, is_synced_once=is_synced_once)
                    except concurrent.futures.CancelledError:
                        continue
                    except MtlsError as exc:
                        problems.append(exc)
                        if _serious(problems) is not None:
                            executor.shutdown(wait=False, cancel_futures=True)
                self._publish_batch(batch, is_synced_once=is_synced_once)
            finally:
                _discard(batch)
        if is_synced_once:
            os.sync()  # the names, too
        _raise(problems, len(self.issued))

    def _started(
        self,
        executor: concurrent.futures.Executor,
        steps: t.Sequence[certificates.CertificateStep],
        problems: t.Sequence[MtlsError],
    ) -> t.Iterator[t.Callable[[], _NewCertificate]]:
        """Begin to issue, ahead of what is wanted and until there is a serious problem.

        What is yielded waits for the certificate, and raises what went wrong with it.
        """
        if self.issuer.is_external:
            keyed = _in_flight(((step, self._key(executor, step)) for step in steps), _BATCH)
            requested = (self._submit(step, get_key) for step, get_key in keyed)
            return _in_flight(requested, self.concurrency or _CONNECTIONS, problems)
        begun = (executor.submit(self._issue, step, self._free_serial_number()).result for step in steps)
        return _in_flight(begun, 2 * _BATCH, problems)

    def _key(
        self, executor: concurrent.futures.Executor, step: certificates.CertificateStep
    ) -> t.Callable[[], keys.LeafKey]:
        if step.key is None and step.spec.key.type == "RSA":  # only these take their time
            return executor.submit(keys.generate, step.spec.key).result
        return functools.partial(_key_of, step)

    def _submit(
        self, step: certificates.CertificateStep, get_key: t.Callable[[], keys.LeafKey]
    ) -> t.Callable[[], _NewCertificate]:
        try:
            key = get_key()
            number = self._free_serial_number()
            wait = self.issuer.submit(step.spec, key, serial_number=number, now=self.now)
        except MtlsError as exc:
            return functools.partial(_fail, exc)
        return functools.partial(self._finished, step, key, wait)

    def _publish_batch(self, batch: t.Sequence[_NewCertificate], *, is_synced_once: bool) -> None:
        """Record certificates, and then publish their files."""
        try:
            entries = [self._entry("issued", issued.step, issued.certificate) for issued in batch]
            self.register.write(entries, is_synced=not is_synced_once)
            if is_synced_once:
                os.sync()  # once for the register and all files, instead of for each
            problems: list[MtlsError] = []
            for issued in (one for one in batch if one.files):
                try:
                    _publish_files(issued, is_synced=not is_synced_once)
                    self.issued[issued.step.spec.name] = issued.certificate
                except MtlsError as exc:
                    problems.append(exc)
            if problems:
                raise problems[0]
        finally:  # of what was not published, too: keys are among it
            _discard(batch)

    def _free_serial_number(self) -> int:
        while not self.register.is_free(number := x509.random_serial_number()):
            pass  # one in 2**159
        return number

    def _issue(self, step: certificates.CertificateStep, serial_number: int) -> _NewCertificate:
        key = _key_of(step)
        return self._finished(step, key, self.issuer.submit(step.spec, key, serial_number=serial_number, now=self.now))

    def _finished(
        self, step: certificates.CertificateStep, key: keys.LeafKey, wait: t.Callable[[], x509.Certificate]
    ) -> _NewCertificate:
        certificate = wait()
        if (check := self.chain_checks.get(step.spec.name)) is not None:
            from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain  # noqa: PLC0415  (servers only)

            chain.resolve(dataclasses.replace(check, leaf_input=(certificate,)))
        return _NewCertificate(step, key, certificate)

    def _remove(self, step: certificates.CertificateStep) -> None:
        spec, certificate = step.spec, step.certificate
        serial_number = certificate.serial_number if certificate is not None else None
        if self.register.last_event(spec.name, serial_number) != "removed":
            self._record("removed", step, certificate)
        try:
            for path, _mode in reversed(certificates.modes(spec)):  # the key last
                path.unlink(missing_ok=True)
            if any(spec.directory.iterdir()):
                sync_directory(spec.directory)
            else:
                spec.directory.rmdir()
                sync_directory(spec.directory.parent)
        except OSError as exc:
            raise MtlsError(
                f"Certificate {spec.name}: the files in {spec.directory} cannot be removed: {exc.strerror}."
            ) from exc

    def _record(self, event: str, step: certificates.CertificateStep, certificate: x509.Certificate | None) -> None:
        self.register.write([self._entry(event, step, certificate)])

    def _entry(
        self, event: str, step: certificates.CertificateStep, certificate: x509.Certificate | None
    ) -> dict[str, t.Any]:
        spec, reasons = step.spec, list(step.reasons)
        return entry_of(
            event,
            spec.name,
            certificate,
            usage=spec.usage,
            moment=self.now,
            reasons=reasons,
            provider=self.provider,
        )


_Result = t.TypeVar("_Result")


def _in_flight(begun: t.Iterable[_Result], count: int, problems: t.Sequence[MtlsError] = ()) -> t.Iterator[_Result]:
    """Yield what is begun by asking for it, with ``count`` of them under way, until there is a serious problem."""
    under_way: collections.deque[_Result] = collections.deque()
    for one in begun:
        under_way.append(one)
        if len(under_way) == count:
            yield under_way.popleft()
            if _serious(problems) is not None:
                break
    yield from under_way


def _key_of(step: certificates.CertificateStep) -> keys.LeafKey:
    return step.key if step.key is not None else keys.generate(step.spec.key)


def _already_issued(issued: _NewCertificate) -> _NewCertificate:
    return issued


def _fail(exc: MtlsError) -> t.NoReturn:
    raise exc


def _serious(problems: t.Iterable[MtlsError]) -> MtlsError | None:
    """Return a problem that is no matter of one certificate."""
    return next((problem for problem in problems if not isinstance(problem, RequestRefusedError)), None)


def _raise(problems: t.Sequence[MtlsError], issued: int) -> None:
    """Raise what kept certificates from being issued: one that is no matter of one certificate, or all of them."""
    if not problems:
        return
    others = f" {issued} other certificate{'s were' if issued > 1 else ' was'} issued." if issued else ""
    if (serious := _serious(problems)) is not None:
        raise MtlsError(f"{serious}{others}", **serious.details) from serious
    shown = " ".join(map(str, problems[:_SHOWN]))
    more = f" And {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
    raise MtlsError(f"{shown}{more}{others}", problems=list(map(str, problems))) from problems[0]


def _stage(issued: _NewCertificate, issuer: Issuer, *, is_synced: bool) -> list[StagedFile]:
    """Write the files of a certificate beside those whose place they take, in that order: the key first."""
    spec = issued.step.spec
    if not spec.directory.is_dir():  # the mode of a directory that is there already is its owner's business
        ensure_directory(spec.directory)
    files = [(spec.certificate_path, issued.certificate.public_bytes(Encoding.PEM), CERTIFICATE_MODE, is_synced)]
    if issued.step.is_new_key:
        files.insert(0, (spec.key_path, keys.to_pem(issued.key), KEY_MODE, is_synced))
    # What is made again by the next run wherever it is not as it should be need not wait for the disk.
    files += [(*one, False) for one in _derived_files(spec, issued.key, issued.certificate, issuer)]
    staged: list[StagedFile] = []
    try:
        for path, data, mode, is_waited_for in files:
            staged.append(stage(path, data, mode=mode, is_synced=is_waited_for))
        if not issued.step.is_new_key:
            _set_modes(spec)
    except BaseException:
        for one in staged:
            one.discard()
        raise
    return staged


def _publish_files(issued: _NewCertificate, *, is_synced: bool) -> None:
    directory = issued.step.spec.directory
    try:
        for one in issued.files:
            one.publish()
        if is_synced:
            sync_directory(directory)
    except OSError as exc:
        raise MtlsError(f"The files in {directory} cannot be written: {exc.strerror}.") from exc


def _discard(batch: t.Sequence[_NewCertificate]) -> None:
    for one in itertools.chain.from_iterable(issued.files for issued in batch):
        one.discard()


def _derived_files(
    spec: CertificateSpec, key: keys.LeafKey, certificate: x509.Certificate, issuer: Issuer
) -> t.Iterator[tuple[Path, bytes, int]]:
    """Yield what is made from key and certificate: path, content and mode."""
    yield spec.chain_path, certificates.chain_pem(certificate, issuer.chain), CERTIFICATE_MODE
    if spec.p12 is not None:
        data = keys.to_pkcs12(spec.p12, key=key, certificate=certificate, chain=issuer.chain)
        yield spec.p12_path, data, KEY_MODE


def _set_modes(spec: CertificateSpec) -> None:
    try:
        for path, mode in certificates.modes(spec):
            if path.exists():
                path.chmod(mode)
    except OSError as exc:
        raise MtlsError(f"Certificate {spec.name}: its files cannot be given their modes: {exc.strerror}.") from exc


def _repair(step: certificates.CertificateStep, issuer: Issuer) -> None:
    if step.key is not None and step.certificate is not None:
        for path, data, mode in _derived_files(step.spec, step.key, step.certificate, issuer):
            write_atomic(path, data, mode=mode, is_derived=True)
        _set_modes(step.spec)


def sweep_directory(spec: CertificateSpec) -> None:
    """Remove our temporary files that a killed run left, for they may hold a key."""
    if not spec.directory.is_dir():
        return
    try:
        sweep(spec.directory, [path.name for path, _mode in certificates.modes(spec)])
    except OSError as exc:
        raise MtlsError(
            f"Certificate {spec.name}: what a killed run left in {spec.directory} cannot be removed: {exc.strerror}."
        ) from exc
