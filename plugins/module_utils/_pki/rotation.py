# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change from one CA to the next, in steps that can each be verified before the next one.

``next`` holds the next CA, ``previous`` the previous one while both are in use, ``retired`` the earlier ones.
Which step is due is read from these directories and from nothing else, so a run that was killed is simply run again:

* only ``next``: the next CA is prepared, and the current one still issues;
* both: the files are being exchanged, and are exchanged to the end;
* only ``previous``: the new CA issues, and the previous one is still accepted.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, KEY_MODE, content_if_any
from ansible_collections.kyma.mtls.plugins.module_utils._pki import issuer, profile, trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import FINISHED, PREPARED, PRESENT, SWITCHED
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import NONE, OVERLAP, SWITCHING
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PREPARED as IS_PREPARED
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256, label, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

# In this order: a CA's key is there before its certificate, and ca.crt comes last as it says that all is there.
_FILES = (
    ("intermediate-chain.pem", CERTIFICATE_MODE),
    ("intermediate.key", KEY_MODE),
    ("intermediate.crt", CERTIFICATE_MODE),
    ("ca.key", KEY_MODE),
    ("ca.crt", CERTIFICATE_MODE),
)
_CROSS = "cross.crt"
# In previous: when the new CA began to issue.
_SWITCHED_AT = "switched-at"
NAMES = (*(name for name, _mode in _FILES), _CROSS, _SWITCHED_AT)


def plan(spec: PkiSpec, state: PkiState, register: Register, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Plan the step that comes before everything else, and give the facts about the previous CA.

    An exchange of the files that was interrupted is completed. The previous CA is retired when that is due.
    Raises MtlsError when the step is not possible.
    """
    if state.phase == SWITCHING or (spec.state == SWITCHED and state.phase == IS_PREPARED):
        switch(spec, state, now)
    if spec.state == FINISHED or (spec.state in {PRESENT, PREPARED} and state.phase == OVERLAP):
        return _finish(spec, state, register, now)
    return {}


def plan_next(spec: PkiSpec, state: PkiState, *, now: datetime.datetime) -> None:
    """Plan that the next CA, which is there or planned, is accepted beside the current one, which still issues."""
    new = state.certificate(spec.directory / "next/ca.crt")
    if spec.is_client:
        trust_bundle.change(spec.trust_bundle, state, add=new)
    else:
        _cross_sign(spec, state, new, now)


def switch(spec: PkiSpec, state: PkiState, now: datetime.datetime) -> None:
    """Let the next CA issue. The one before is kept beside it."""
    directory, following, previous = spec.directory, spec.directory / "next", spec.directory / "previous"
    paths = (following / "ca.crt", following / "ca.key")
    new = issuer.read(state, *paths, passphrase=spec.passphrase, ca_keys=spec.ca_keys)
    if new.key is None:
        raise MtlsError(f"The next CA {new.label} cannot issue. {new.missing_key_reason}")
    if state.phase == IS_PREPARED:
        state.write(previous / _SWITCHED_AT, f"{time_text(now)}\n".encode())
        _copy(state, directory, previous)
    # From here on previous/ca.crt is there: a run that is killed below goes on here.
    _copy(state, following, directory)
    for name, _mode in reversed(_FILES):  # an intermediate of the previous CA must not issue below the new root
        if not state.exists(following / name):
            state.remove(directory / name)
    if (cross := state.read(following / _CROSS)) is not None:
        state.write(previous / _CROSS, cross)
    state.discard_directory(following, NAMES)
    state.actions.append(f"Put {new.label} into use.")


def _copy(state: PkiState, source: Path, target: Path) -> None:
    for name, mode in _FILES:
        if (data := state.read(source / name)) is not None:
            state.write(target / name, data, mode=mode)


def _finish(spec: PkiSpec, state: PkiState, register: Register, now: datetime.datetime) -> dict[str, t.Any]:
    """End the time in which the previous CA is accepted too, if that is due."""
    if state.phase != OVERLAP:
        return {"is_finished": state.phase == NONE, "until": None, "left_behind": []}
    previous = spec.directory / "previous"
    old = state.certificate(previous / "ca.crt")
    left_behind = _left_behind(spec, register, old, now) if spec.is_client else []
    until = _switched_at(spec, state) + datetime.timedelta(days=spec.grace_days)
    is_due = until <= now if spec.grace_days else not left_behind
    # An external issuer vouches for no CA of ours: no chain leads to it.
    is_due |= not spec.is_client and not state.exists(previous / _CROSS)
    is_finished = is_due or old.not_valid_after_utc <= now
    facts = {
        "is_finished": is_finished,
        "until": time_text(until) if spec.grace_days else None,
        "left_behind": left_behind,
    }
    if not is_finished:
        return facts
    state.actions.append(f"Retire the previous CA {label(old)}.")
    if spec.is_client:
        trust_bundle.change(spec.trust_bundle, state, drop=old)
    retired = spec.directory / "retired" / fingerprint_sha256(old).replace(":", "").lower()[:16]
    if retired.exists():
        state.discard_directory(previous, NAMES)
    else:
        state.move_directory(previous, retired, NAMES)
    return facts


def _switched_at(spec: PkiSpec, state: PkiState) -> datetime.datetime:
    """When the new CA began to issue; where that is not known any more, the beginning of its own time."""
    switched = moment_in(spec.directory / "previous" / _SWITCHED_AT, state)
    return switched or state.certificate(spec.directory / "ca.crt").not_valid_before_utc


def moment_in(path: Path, state: PkiState) -> datetime.datetime | None:
    """Return the time that is noted in a file; None when it is not there, or damaged."""
    with contextlib.suppress(MtlsError, ValueError, OverflowError):
        return datetime.datetime.fromisoformat(state.require(path).decode().strip()).astimezone(datetime.UTC)
    return None


def _left_behind(spec: PkiSpec, register: Register, old: x509.Certificate, now: datetime.datetime) -> list[str]:
    """Name the clients on disk whose certificate only the previous CA vouches for, but for those who are revoked."""
    found = []
    for path in sorted(spec.clients.glob("*/client-chain.pem")):
        with contextlib.suppress(MtlsError, *PARSE_ERRORS):
            chain = load.load_certificates(content_if_any(path) or b"", source=str(path)).certificates
            is_current = chain[0].not_valid_after_utc > now and chain[0].serial_number not in register.revoked
            if is_current and is_issued_by(chain[-1], old):
                found.append(path.parent.name)
    return found


def _cross_sign(spec: PkiSpec, state: PkiState, new: x509.Certificate, now: datetime.datetime) -> None:
    """Have the current CA vouch for the next one: who trusts only the current one then accepts what the next issues."""
    _vouch(spec, state, new, source=spec.directory, target=spec.directory / "next" / _CROSS, limits=None, now=now)


def vouch(
    spec: PkiSpec,
    state: PkiState,
    new: x509.Certificate,
    *,
    source: Path,
    limits: x509.NameConstraints | None,
    now: datetime.datetime,
) -> x509.Certificate:
    """Have the CA in ``source`` vouch for the root of an external issuer, for the names in ``limits`` only."""
    target = spec.directory / "previous" / _CROSS
    return _vouch(spec, state, new, source=source, target=target, limits=limits, now=now)


def set_aside(spec: PkiSpec, state: PkiState, *, place: str, now: datetime.datetime) -> None:
    """Plan that the CA in the directory goes to ``place``: another issuer takes over from now on."""
    directory, target = spec.directory, spec.directory / place
    old = state.certificate(directory / "ca.crt")
    state.write(target / _SWITCHED_AT, f"{time_text(now)}\n".encode())
    _copy(state, directory, target)
    for name, _mode in _FILES:
        if name != "ca.crt":  # what takes its place is written over it
            state.remove(directory / name)
    state.actions.append(f"Move {label(old)} to {target}: it issues no more.")


def _vouch(
    spec: PkiSpec,
    state: PkiState,
    new: x509.Certificate,
    *,
    source: Path,
    target: Path,
    limits: x509.NameConstraints | None,
    now: datetime.datetime,
) -> x509.Certificate:
    certificate = source / "ca.crt"
    paths = (certificate, certificate.with_suffix(".key"))
    current = issuer.read(state, *paths, passphrase=spec.passphrase, ca_keys=spec.ca_keys)
    with contextlib.suppress(MtlsError, *PARSE_ERRORS):
        present = state.certificate(target)
        if is_issued_by(present, current.certificate) and present.public_key() == new.public_key():
            return present
    current.require_can_sign(now=now, example="of the next CA, for those who trust only the current CA,")
    builder = (
        x509.CertificateBuilder()
        .subject_name(new.subject)
        .issuer_name(current.certificate.subject)
        .public_key(new.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now.replace(microsecond=0) - profile.BACKDATE, current.certificate.not_valid_before_utc))
        .not_valid_after(min(new.not_valid_after_utc, current.not_after))
        .add_extension(certificate_builder.authority_key_identifier(current.certificate), critical=False)
    )
    for extension in new.extensions:
        is_ours = isinstance(extension.value, x509.AuthorityKeyIdentifier)
        if not (is_ours or (limits is not None and isinstance(extension.value, x509.NameConstraints))):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    if limits is not None:
        builder = builder.add_extension(limits, critical=True)
    cross = current.sign(builder)
    state.write(target, cross.public_bytes(Encoding.PEM))
    state.actions.append(f"Sign the next CA with {current.label}, for those who trust only that.")
    return cross
