# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change from one CA to the next, in steps that can each be proven before the following one.

``next`` holds the CA to come, ``previous`` the one before while both are in use, ``retired`` those that have been.
Which step is due is read from these directories and from nothing else, so a run that was killed is simply run again:

* only ``next``: the new CA is prepared, and the old one still issues;
* both: the files are being exchanged, and are exchanged to the end;
* only ``previous``: the new CA issues, and the old one is still accepted.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shutil
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    ensure_directory,
    read_bytes,
    sweep,
    sync_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import bundle, execute, leaf
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import read_issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import read_register
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256, label, time_text

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

NONE, PREPARED, SWITCHING, OVERLAP = "none", "prepared", "switching", "overlap"

# In this order: a CA's key is there before its certificate, and ca.crt comes last as it says that all is there.
_FILES = (
    ("intermediate-chain.pem", CERTIFICATE_MODE),
    ("intermediate.key", KEY_MODE),
    ("intermediate.crt", CERTIFICATE_MODE),
    ("ca.key", KEY_MODE),
    ("ca.crt", CERTIFICATE_MODE),
)
_CROSS = "cross.crt"
_DONE = ".rotated"
# In previous: when the new CA began to issue.
SWITCHED_AT = "switched-at"


_Result: t.TypeAlias = tuple[list[str], dict[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Options:
    """What the module's caller asks for."""

    directory: Path
    state: str
    bundle: Path | None
    is_cross_signed: bool
    passphrase: str | None
    grace_days: int
    clients: Path | None
    register: Path | None
    check_mode: bool

    @property
    def next(self) -> Path:
        return self.directory / "next"

    @property
    def previous(self) -> Path:
        return self.directory / "previous"


def phase(directory: Path) -> str:
    """Give the phase of the rotation in ``directory``."""
    is_next, is_previous = ((directory / one / "ca.crt").exists() for one in ("next", "previous"))
    return {(False, False): NONE, (True, False): PREPARED, (True, True): SWITCHING, (False, True): OVERLAP}[
        (is_next, is_previous)
    ]


def run(options: Options, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Take the step that ``options.state`` names and return the module's result; in check mode only say it.

    Raises MtlsError when the step is not possible.
    """
    with execute.exclusive(options.directory):
        return take_step(options, now=now)


def take_step(options: Options, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Do what :func:`run` does, for a caller that keeps others out itself."""
    if not options.check_mode:
        _sweep(options.directory)
    step = {"prepared": _prepare, "switched": _switch, "finished": _finish}[options.state]
    actions, facts = step(options, now)
    return {"changed": bool(actions), "actions": actions, "phase": phase(options.directory), **facts}


def _prepare(options: Options, now: datetime.datetime) -> _Result:
    """Make the new CA acceptable beside the old one, which still issues."""
    found = phase(options.directory)
    if found == NONE:
        raise MtlsError(f"There is no new CA in {options.next}. Make {options.next / 'ca.crt'} first.")
    actions: list[str] = []
    if found == PREPARED and options.is_cross_signed:
        actions += _cross_sign(options, now)
    if found == PREPARED and options.bundle is not None:
        actions += _change_bundle(options, add=_one(options.next / "ca.crt"))
    return actions, {}


def _switch(options: Options, now: datetime.datetime) -> _Result:
    """Let the new CA issue. The old one is kept beside it."""
    found = phase(options.directory)
    if found in {NONE, OVERLAP}:
        return [], {}
    new = read_issuer(options.next / "ca.crt", options.next / "ca.key", passphrase=options.passphrase, chain_paths=())
    if new.key is None:
        raise MtlsError(f"The new CA {new.label} cannot issue. {new.lack}")
    if options.check_mode:
        return [f"{new.label} would issue from now on"], {}
    if found == PREPARED:
        ensure_directory(options.previous)
        write_atomic(options.previous / SWITCHED_AT, f"{time_text(now)}\n".encode(), mode=CERTIFICATE_MODE)
        _copy(options.directory, options.previous)
    # From here on previous/ca.crt is there: a run that is killed below goes on here.
    _copy(options.next, options.directory)
    _remove_what_lacks(options.next, options.directory)
    if (options.next / _CROSS).exists():
        write_atomic(options.previous / _CROSS, read_bytes(options.next / _CROSS), mode=CERTIFICATE_MODE)
    _discard(options.next)
    return [f"{new.label} issues from now on"], {}


def _finish(options: Options, now: datetime.datetime) -> _Result:
    """End the time in which the old CA is accepted too, if that is due."""
    found, new = phase(options.directory), options.directory / "ca.crt"
    if found == SWITCHING and options.check_mode:  # the exchange comes before this step, and was only predicted
        found, new = OVERLAP, options.next / "ca.crt"
    if found != OVERLAP:
        return [], {"is_finished": found == NONE, "until": None, "left_behind": []}
    old, facts = _judge_end(options, new=new, now=now)
    if not facts["is_finished"]:
        return [], facts
    actions = [f"{label(old)} {'would be' if options.check_mode else 'is'} retired"]
    if options.bundle is not None:
        actions += _change_bundle(options, drop=old)
    if not options.check_mode:
        retired = options.directory / "retired" / fingerprint_sha256(old).replace(":", "").lower()[:16]
        ensure_directory(retired.parent)
        if retired.exists():
            _discard(options.previous)
        else:
            options.previous.rename(retired)
        sync_directory(options.directory)
    return actions, facts


def resume(options: Options, *, now: datetime.datetime) -> _Result:
    """Go on with a rotation in which there is a CA before the one in use; for a caller that keeps others out itself.

    An interrupted exchange of the files is completed, and the old CA is retired if that is due. Returns what was done,
    in words, and the facts of the state ``finished``, which are empty when there is nothing to go on with.
    """
    found = phase(options.directory)
    if not options.check_mode:
        _sweep(options.directory)
    if found not in {SWITCHING, OVERLAP}:
        return [], {}
    actions = _switch(options, now)[0] if found == SWITCHING else []
    more, facts = _finish(options, now)
    return actions + more, facts


def _judge_end(options: Options, *, new: Path, now: datetime.datetime) -> tuple[x509.Certificate, dict[str, t.Any]]:
    """Return the old CA, and whether and when it is retired; ``new`` is the file of the one that issues."""
    old = _one(options.previous / "ca.crt")
    left_behind = _left_behind(options, old, now)
    until = _switched_at(options, new) + datetime.timedelta(days=options.grace_days)
    is_due = until <= now if options.grace_days else not left_behind
    return old, {
        "is_finished": is_due or old.not_valid_after_utc <= now,
        "until": time_text(until) if options.grace_days else None,
        "left_behind": left_behind,
    }


def _switched_at(options: Options, new: Path) -> datetime.datetime:
    """When the new CA began to issue; where that is not known any more, the beginning of its own time."""
    with contextlib.suppress(MtlsError, ValueError):
        text = read_bytes(options.previous / SWITCHED_AT).decode().strip()
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    return _one(new).not_valid_before_utc


def _left_behind(options: Options, old: x509.Certificate, now: datetime.datetime) -> list[str]:
    """Name the clients on disk whose certificate only the old CA vouches for. Who is revoked has nothing to lose."""
    if options.clients is None:
        return []
    found = []
    revoked = read_register(options.register).revoked
    for path in sorted(options.clients.glob("*/client-chain.pem")):
        try:
            chain = load.load_certificates(read_bytes(path), source=str(path)).certificates
            if chain[0].not_valid_after_utc <= now or chain[0].serial_number in revoked:
                continue
            chain[-1].verify_directly_issued_by(old)
        except (MtlsError, InvalidSignature, ValueError, TypeError):
            continue
        found.append(path.parent.name)
    return found


def _cross_sign(options: Options, now: datetime.datetime) -> list[str]:
    """Have the old CA vouch for the new one: who trusts only the old one then accepts what the new one issues."""
    new, path = _one(options.next / "ca.crt"), options.next / _CROSS
    old = read_issuer(
        options.directory / "ca.crt", options.directory / "ca.key", passphrase=options.passphrase, chain_paths=()
    )
    with contextlib.suppress(MtlsError, InvalidSignature, ValueError, TypeError):
        present = _one(path)
        present.verify_directly_issued_by(old.certificate)
        if present.public_key() == new.public_key():
            return []
    key = t.cast("t.Any", old.require_can_sign(now=now, example=f"of {label(new)} for those who trust the old CA"))
    if options.check_mode:
        return [f"{old.label} would sign the new CA"]
    builder = (
        x509.CertificateBuilder()
        .subject_name(new.subject)
        .issuer_name(old.certificate.subject)
        .public_key(new.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now.replace(microsecond=0) - leaf.BACKDATE, old.certificate.not_valid_before_utc))
        .not_valid_after(min(new.not_valid_after_utc, old.not_after))
        .add_extension(leaf.authority_key_identifier(old.certificate), critical=False)
    )
    for extension in new.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    write_atomic(path, certificate.public_bytes(Encoding.PEM), mode=CERTIFICATE_MODE)
    return [f"{old.label} has signed the new CA"]


def _change_bundle(
    options: Options, *, add: x509.Certificate | None = None, drop: x509.Certificate | None = None
) -> list[str]:
    """Add one CA to what the gateway trusts, or drop one. Others in there are somebody's, and stay."""
    path = t.cast("Path", options.bundle)
    if add is None and not path.exists():
        return []  # what is made in its place is made of the CAs that are left
    present = bundle.read(path)
    wanted = [one for one in present if one != drop] + [add] * (add is not None and add not in present)
    certificates = [one for one in wanted if one is not None]
    if certificates == list(present):
        return []
    if not options.check_mode:
        data = b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
        sweep(path.parent, [path.name])
        write_atomic(path, data, mode=CERTIFICATE_MODE)
    changed = add or drop
    return [f"{path.name} {'with' if add else 'without'} {label(t.cast('x509.Certificate', changed))}"]


def _one(path: Path) -> x509.Certificate:
    return load.load_certificates(read_bytes(path, what="CA certificate"), source=str(path)).certificates[0]


def _copy(source: Path, target: Path) -> None:
    for name, mode in _FILES:
        if (source / name).exists():
            write_atomic(target / name, read_bytes(source / name), mode=mode)


def _remove_what_lacks(source: Path, target: Path) -> None:
    """Remove what ``source`` does not have: an intermediate of the CA before must not issue below the new root."""
    for name, _mode in reversed(_FILES):  # a certificate before its key
        if not (source / name).exists():
            (target / name).unlink(missing_ok=True)
    sync_directory(target)


def _discard(directory: Path) -> None:
    """Remove a directory in one step for whoever looks: half of one would be another phase."""
    done = directory.with_name(_DONE)
    directory.rename(done)
    sync_directory(directory.parent)
    shutil.rmtree(done, ignore_errors=True)


def _sweep(directory: Path) -> None:
    if (directory / _DONE).exists():
        shutil.rmtree(directory / _DONE, ignore_errors=True)
    for one in (directory, directory / "previous"):
        if one.is_dir():
            sweep(one, [_CROSS, SWITCHED_AT, *(name for name, _mode in _FILES)])
