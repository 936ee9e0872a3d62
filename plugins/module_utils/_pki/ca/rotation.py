# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change from one CA to the next, in steps that can each be verified before the next one.

``next`` holds the next CA, ``previous`` the previous one while both are in use, ``retired`` the earlier ones.
Which step is due is read from these directories and from nothing else, so a run that was killed is simply run again:

* only ``next``: the next CA is prepared, and the current one still issues;
* both: the files are being exchanged, and are exchanged to the end;
* only ``previous``: the new CA issues, and the previous one is still accepted.

A server CA of our own gives way to an external issuer by a rotation with overlap. The previous CA signs the issuer's
root, for the server's names only. Over that cross-certificate, who trusts only the previous CA accepts what the issuer
has issued, until the grace period is over and the previous CA is retired.

On the way back, the overlap comes first, as an external issuer signs no CA of ours. Our CA is created in ``next``
while everything stays in use. The gateway trusts both CAs of clients at once, and the next run issues. Who trusts the
server is given ``next/ca.crt`` within the grace period, and the run after it switches. Without a grace period it
switches at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, KEY_MODE
from ansible_collections.kyma.mtls.plugins.module_utils._pki import profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import authority, trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import external_provider, read_register
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import (
    FINISHED,
    PREPARED,
    PRESENT,
    REVOKED,
    SWITCHED,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import NONE, OVERLAP, SWITCHING
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PREPARED as IS_PREPARED
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, chain
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256, label, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec, SuppliedCa
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
# In next: when the CA there was created, which is to take over from an external issuer.
_PREPARED_AT = "prepared-at"
# The certificate that the issuer made last is not renewed any more.
_MARGIN = datetime.timedelta(days=1)
_CHAIN = "server-chain.pem"
_NAMES = (*(name for name, _mode in _FILES), _CROSS, _SWITCHED_AT)


def plan_rotation(spec: PkiSpec, state: PkiState, register: Register, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Plan the step that comes before everything else, and give the facts about the previous CA.

    An exchange of the files that was interrupted is completed. The previous CA is retired when that is due.
    Raises MtlsError when the step is not possible.
    """
    if state.phase == SWITCHING or (spec.state == SWITCHED and state.phase == IS_PREPARED):
        _switch(state, now)
    if spec.state == FINISHED or (spec.state in {PRESENT, PREPARED} and state.phase == OVERLAP):
        return _finish(spec, state, register, now)
    return {}


def plan_next(spec: PkiSpec, state: PkiState, *, now: datetime.datetime) -> None:
    """Plan that the next CA, which is there or planned, is accepted beside the current one, which still issues."""
    new = state.certificate(state.directory / "next/ca.crt")
    if spec.is_client:
        trust_bundle.change_bundle(state, add=new)
    else:
        _cross_sign(state, new, state.directory, state.directory / "next" / _CROSS, now=now)


def _switch(state: PkiState, now: datetime.datetime) -> None:
    """Let the next CA issue. The one before is kept beside it."""
    directory, following, previous = state.directory, state.directory / "next", state.directory / "previous"
    new = issuer.read(state, following / "ca.crt")
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
    state.discard_directory(following, _NAMES)
    state.actions.append(f"Put {new.label} into use.")


def _copy(state: PkiState, source: Path, target: Path) -> None:
    for name, mode in _FILES:
        if (data := state.read(source / name)) is not None:
            state.write(target / name, data, mode=mode)


def _finish(spec: PkiSpec, state: PkiState, register: Register, now: datetime.datetime) -> dict[str, t.Any]:
    """End the time in which the previous CA is accepted too, if that is due."""
    if state.phase != OVERLAP:
        return {"is_finished": state.phase == NONE, "until": None, "left_behind": []}
    previous = state.directory / "previous"
    old = state.certificate(previous / "ca.crt")
    left_behind = _left_behind(state, register, old, now) if spec.is_client else []
    until = _switched_at(state) + datetime.timedelta(days=spec.grace_days)
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
        trust_bundle.change_bundle(state, drop=old)
    retired = state.directory / "retired" / fingerprint_sha256(old)[:16]
    if retired.exists():
        state.discard_directory(previous, _NAMES)
    else:
        state.move_directory(previous, retired, _NAMES)
    return facts


def _switched_at(state: PkiState) -> datetime.datetime:
    """When the new CA began to issue; where that is not known any more, the beginning of its own time."""
    switched = _moment_in(state.directory / "previous" / _SWITCHED_AT, state)
    return switched or state.certificate(state.directory / "ca.crt").not_valid_before_utc


def _moment_in(path: Path, state: PkiState) -> datetime.datetime | None:
    """Return the time that is noted in a file; None when it is not there, or damaged."""
    with contextlib.suppress(MtlsError, ValueError, OverflowError):
        return datetime.datetime.fromisoformat(state.require(path).decode().strip()).astimezone(datetime.UTC)
    return None


def _left_behind(state: PkiState, register: Register, old: x509.Certificate, now: datetime.datetime) -> list[str]:
    """Name the clients on disk whose certificate only the previous CA vouches for, but for those who are revoked."""
    found = []
    for path in sorted(state.clients.glob("*/client-chain.pem")):
        with contextlib.suppress(MtlsError, *PARSE_ERRORS):
            links = state.certificates(path, is_whole=False)
            is_current = links[0].not_valid_after_utc > now and links[0].serial_number not in register.revoked
            if is_current and is_issued_by(links[-1], old):
                found.append(path.parent.name)
    return found


def _set_aside(state: PkiState, *, place: str, now: datetime.datetime) -> None:
    """Plan that the CA in the directory goes to ``place``: another issuer takes over from now on."""
    directory, target = state.directory, state.directory / place
    old = state.certificate(directory / "ca.crt")
    state.write(target / _SWITCHED_AT, f"{time_text(now)}\n".encode())
    _copy(state, directory, target)
    for name, _mode in _FILES:
        if name != "ca.crt":  # what takes its place is written over it
            state.remove(directory / name)
    state.actions.append(f"Move {label(old)} to {target}: it issues no more.")


def _cross_sign(
    state: PkiState,
    new: x509.Certificate,
    source: Path,
    target: Path,
    *,
    now: datetime.datetime,
    limits: x509.NameConstraints | None = None,
) -> x509.Certificate:
    """Have the CA in ``source`` sign the next one: who trusts only that CA then accepts what the next one issues.

    With ``limits``, for these names only.
    """
    current = issuer.read(state, source / "ca.crt")
    with contextlib.suppress(MtlsError, *PARSE_ERRORS):
        present = state.certificate(target)
        if is_issued_by(present, current.certificate) and present.public_key() == new.public_key():
            return present
    current.require_can_sign(now=now, what="the certificate of the next CA for those who trust only the current CA")
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


def plan_to_external(spec: PkiSpec, supplied_ca: SuppliedCa, state: PkiState, *, now: datetime.datetime) -> SuppliedCa:
    """Plan that an external issuer takes over, and give the files with the chain that both kinds of clients accept.

    Raises MtlsError when the previous CA cannot sign the issuer's root.
    """
    directory = state.directory
    is_ours = state.exists(directory / "ca.crt") and state.exists(directory / "ca.key")
    if state.phase == NONE and not is_ours:
        return supplied_ca
    if state.phase == NONE and spec.grace_days == 0:
        _set_aside(state, place="replaced/own-ca", now=now)
        return supplied_ca
    if state.phase not in {NONE, OVERLAP} or (state.phase == OVERLAP and is_ours and not _was_killed(state)):
        return supplied_ca  # a rotation of our own CA is under way, which is refused
    source = directory if state.phase == NONE else directory / "previous"
    target = directory / "previous" / _CROSS
    cross = _cross_sign(state, supplied_ca.root, source, target, limits=_limits(supplied_ca), now=now)
    data = _chain_over(spec, supplied_ca, state.certificate(source / "ca.crt"), cross, now)
    if is_ours:
        _set_aside(state, place="previous", now=now)
    files = tuple(dataclasses.replace(file, data=data) if file.name == _CHAIN else file for file in supplied_ca.files)
    return dataclasses.replace(supplied_ca, files=files)


def _was_killed(state: PkiState) -> bool:
    """Whether our CA is in both places, as a run leaves it that is killed while the CA steps back."""
    return state.read(state.directory / "ca.crt") == state.read(state.directory / "previous/ca.crt")


def _limits(supplied_ca: SuppliedCa) -> x509.NameConstraints | None:
    """The names of the server: for no others does the previous CA vouch."""
    names = supplied_ca.leaves[0][1].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return profile.permitting((), list(names))


def _chain_over(
    spec: PkiSpec, supplied_ca: SuppliedCa, anchor: x509.Certificate, cross: x509.Certificate, now: datetime.datetime
) -> bytes:
    request = chain.ChainRequest(
        leaf_input=(supplied_ca.leaves[0][1],),
        candidates=(*supplied_ca.authorities[:-1], cross),
        roots=(anchor,),
        include_root=spec.include_root,
        policy=Policy(now=now.replace(microsecond=0), purpose="server", hostnames=spec.hostnames),
    )
    try:
        return "".join(chain.resolve(request).pem).encode()
    except MtlsError as exc:
        raise MtlsError(
            f"Clients that trust only the current CA would refuse what {spec.provider} has issued: {exc} Set "
            "grace_days to 0 to change the issuer without overlap.",
            **exc.details,
        ) from exc


def plan_from_external(spec: PkiSpec, state: PkiState, *, now: datetime.datetime) -> dict[str, t.Any] | None:
    """Plan the next step from an external issuer to a CA of our own, if there is one to go.

    Return the facts about it when what is there stays in use for this run, or None when our CA issues.
    Raises MtlsError.
    """
    provider = _issuer(spec, state)
    if provider and state.phase == OVERLAP:
        raise MtlsError(
            f"{provider} took over from {label(state.certificate(state.directory / 'previous/ca.crt'))}, whose grace "
            f"period is not over, so there is no way back yet. Set the provider to {provider} again, and run once with "
            "grace_days set to 0, or after the grace period. Nothing was changed."
        )
    if not provider or state.phase not in {NONE, IS_PREPARED}:
        return None
    if spec.state not in {PRESENT, REVOKED}:
        raise MtlsError(
            f"{provider} is replaced by a CA of our own, and this change takes its steps when they are due. Run the "
            "site instead of a rotation. Nothing was changed."
        )
    if spec.revoke or spec.state == REVOKED:
        raise MtlsError(
            f"{provider} is replaced by a CA of our own, so nothing is revoked in this run. Revoke at the issuer, or "
            "after the change. Nothing was changed."
        )
    if state.phase == NONE:
        # Written first: without it, a CA in ``next`` is that of an ordinary rotation, and not of a change of issuer.
        state.write(state.directory / "next" / _PREPARED_AT, f"{time_text(now)}\n".encode())
        authority.plan_authorities(spec, state, is_preparing=True, now=now)
    if spec.is_client:
        is_waiting, until = not _is_trusted(state), None
        if is_waiting:
            plan_next(spec, state, now=now)
    else:
        until = _until(spec, state)
        is_waiting = now < until
    if is_waiting:
        state.notes.append(_note(state, provider, until))
        return {"is_finished": False, "until": time_text(until) if until else None, "left_behind": []}
    _switch(state, now)
    return None


def discard_next(spec: PkiSpec, state: PkiState) -> None:
    """Plan that our CA, which was to take over from an external issuer, goes: an external issuer goes on."""
    following = state.directory / "next"
    if state.phase != IS_PREPARED or not state.exists(following / _PREPARED_AT):
        return
    new = state.certificate(following / "ca.crt")
    if spec.is_client:
        trust_bundle.change_bundle(state, drop=new)
    state.discard_directory(following, _NAMES)
    state.actions.append(f"Discard {label(new)}, which was to take over from an external issuer.")


def _is_trusted(state: PkiState) -> bool:
    new = state.certificate(state.directory / "next/ca.crt")
    return new in trust_bundle.read_bundle(state)


def _issuer(spec: PkiSpec, state: PkiState) -> str:
    """Return which external issuer has issued below the root that is there, "" for none.

    The register knows who has issued a certificate, and where none can be read any more, who issued the last one.
    """
    root = state.directory / "ca.crt"
    register = read_register(state.register)
    paths = sorted(state.clients.glob("*/client.crt")) if spec.is_client else [state.directory / "server.crt"]
    is_any_read = False
    for path in paths:
        with contextlib.suppress(MtlsError):
            leaf = state.certificate(path)
            is_any_read = True
            provider = external_provider(register.find(leaf.serial_number))
            is_below = not spec.is_client or is_issued_by(_chain(path, state)[-1], state.certificate(root))
            if provider and is_below:
                return provider
    return "" if is_any_read or not register.count else external_provider(register.entries[-1])


def _chain(path: Path, state: PkiState) -> tuple[t.Any, ...]:
    return state.certificates(path.with_name("client-chain.pem"))


def _until(spec: PkiSpec, state: PkiState) -> datetime.datetime:
    """Until when the server's present certificate stays in use. One that cannot be read is not in use."""
    prepared = _moment_in(state.directory / "next" / _PREPARED_AT, state)
    # Where it is not known any more, our CA was made shortly after.
    prepared = prepared or state.certificate(state.directory / "next/ca.crt").not_valid_before_utc
    try:
        present = state.certificate(state.directory / "server.crt").not_valid_after_utc - _MARGIN
    except MtlsError:
        return prepared
    return min(prepared + datetime.timedelta(days=spec.grace_days), present)


def _note(state: PkiState, provider: str, until: datetime.datetime | None) -> str:
    path = state.directory / "next/ca.crt"
    new = label(state.certificate(path))
    if until is None:
        return (
            f"{provider} is replaced by {new}, which was added to what the gateway trusts. Nothing was issued: publish "
            "it, and the next run issues certificates of it."
        )
    return (
        f"{provider} is replaced by {new}. It does not sign our CA, so give {path} to all clients, beside the CAs that "
        f"they trust. The current certificate stays in use until {time_text(until)}, and the first run after that "
        "switches. To switch at once, set grace_days to 0."
    )
