# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An external issuer gives way to a CA of our own: a rotation whose overlap comes before it.

An external issuer signs no CA of ours, so no chain leads to both. Our CA is created in ``next`` while everything stays
in use. The gateway trusts both CAs of clients at once, and the next run issues. Who trusts the server is given
``next/ca.crt`` within the grace period, and the run after it switches. Without a grace period it switches at once.
"""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import authority, rotation, trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import read_register
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PRESENT, PROVIDED, SELF_SIGNED
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import NONE, OVERLAP, PREPARED
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Entry
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

_PREPARED_AT = "prepared-at"
# The certificate that the issuer made last is not renewed any more.
_MARGIN = datetime.timedelta(days=1)


def plan(spec: PkiSpec, state: PkiState, *, now: datetime.datetime) -> dict[str, t.Any] | None:
    """Plan the next step on the way back, if there is one to go.

    Return the facts about it when what is there stays in use for this run, or None when our CA issues.
    Raises MtlsError.
    """
    provider = _issuer(spec, state) if spec.state == PRESENT and spec.external is None else ""
    if provider and state.phase == OVERLAP:
        usage = "client" if spec.is_client else "server"
        raise MtlsError(
            f"{provider} took over from {label(state.certificate(spec.directory / 'previous/ca.crt'))}, whose grace "
            f"period is not over, so there is no way back yet. Set {usage}_pki_provider to {provider} again, and run "
            f"once with {usage}_pki_rotation_grace_days=0, or after the grace period. Nothing was changed."
        )
    if not provider or state.phase not in {NONE, PREPARED}:
        return None
    if spec.revoke:
        raise MtlsError(
            f"{provider} is replaced by a CA of our own, so nothing is revoked in this run. Revoke at the issuer, or "
            "after the change. Nothing was changed."
        )
    if state.phase == NONE:
        # First of all: a CA in ``next`` without it belongs to another rotation.
        state.write(spec.directory / "next" / _PREPARED_AT, f"{time_text(now)}\n".encode())
        authority.plan(spec, state, is_preparing=True, now=now)
    if spec.is_client:
        is_waiting, until = not _is_trusted(spec, state), None
        if is_waiting:
            rotation.plan_next(spec, state, now=now)
    else:
        until = _until(spec, state)
        is_waiting = now < until
    if is_waiting:
        state.notes.append(_note(spec, state, provider, until))
        return {"is_finished": False, "until": time_text(until) if until else None, "left_behind": []}
    rotation.switch(spec, state, now)
    return None


def abandon(spec: PkiSpec, state: PkiState) -> None:
    """Plan that our CA, which was to take over from an external issuer, goes: an external issuer goes on."""
    following = spec.directory / "next"
    if state.phase != PREPARED or not state.exists(following / _PREPARED_AT):
        return
    new = state.certificate(following / "ca.crt")
    if spec.is_client:
        trust_bundle.change(spec.trust_bundle, state, drop=new)
    state.discard_directory(following, rotation.NAMES)
    state.actions.append(f"Discard {label(new)}, which was to take over from an external issuer.")


def _is_trusted(spec: PkiSpec, state: PkiState) -> bool:
    new = state.certificate(spec.directory / "next/ca.crt")
    return new in trust_bundle.read(state, spec.trust_bundle)


def _issuer(spec: PkiSpec, state: PkiState) -> str:
    """Return which external issuer has issued below the root that is there; "" for a CA of our own, whose key is away.

    The register knows who has issued a certificate, and where none can be read any more, who issued the last one.
    """
    root = spec.directory / "ca.crt"
    is_ours = spec.ca_keys.of("ca") is not None or state.exists(spec.directory / "ca.key")
    if is_ours or not state.exists(root):
        return ""
    register = read_register(spec.directory / "issued.jsonl")
    paths = sorted(spec.clients.glob("*/client.crt")) if spec.is_client else [spec.directory / "server.crt"]
    is_any_read = False
    for path in paths:
        with contextlib.suppress(MtlsError):
            leaf = state.certificate(path)
            is_any_read = True
            provider = _provider(register.find(leaf.serial_number))
            is_below = not spec.is_client or is_issued_by(_chain(path, state)[-1], state.certificate(root))
            if provider and is_below:
                return provider
    return "" if is_any_read or not register.count else _provider(register.entries[-1])


def _provider(entry: Entry | None) -> str:
    """Return who has issued what an entry of the register is about; "" for a CA that is ours or provided."""
    provider = str((entry or {}).get("provider") or SELF_SIGNED)
    return "" if provider in {SELF_SIGNED, PROVIDED} else provider


def _chain(path: Path, state: PkiState) -> tuple[t.Any, ...]:
    return state.certificates(path.with_name("client-chain.pem"))


def _until(spec: PkiSpec, state: PkiState) -> datetime.datetime:
    """Until when the server's present certificate stays in use. One that cannot be read is not in use."""
    prepared = rotation.moment_in(spec.directory / "next" / _PREPARED_AT, state)
    # Where it is not known any more, our CA was made shortly after.
    prepared = prepared or state.certificate(spec.directory / "next/ca.crt").not_valid_before_utc
    try:
        present = state.certificate(spec.directory / "server.crt").not_valid_after_utc - _MARGIN
    except MtlsError:
        return prepared
    return min(prepared + datetime.timedelta(days=spec.grace_days), present)


def _note(spec: PkiSpec, state: PkiState, provider: str, until: datetime.datetime | None) -> str:
    path = spec.directory / "next/ca.crt"
    new = label(state.certificate(path))
    if until is None:
        return (
            f"{provider} is replaced by {new}, which was added to what the gateway trusts. Nothing was issued: publish "
            "it, and the next run issues certificates of it."
        )
    return (
        f"{provider} is replaced by {new}. It does not sign our CA, so give {path} to all clients, beside the CAs that "
        f"they trust. The current certificate stays in use until {time_text(until)}, and the first run after that "
        "switches. To switch at once, set server_pki_rotation_grace_days to 0."
    )
