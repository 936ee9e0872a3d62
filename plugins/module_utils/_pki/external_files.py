# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where provided files go, and what they must not take the place of."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, KEY_MODE
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, register, trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PROVIDED
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import NONE, OVERLAP
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import same_authority

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

    Certificates = tuple[x509.Certificate, ...]

# Files of a CA of our own, and of its rotation.
_OWN = ("ca.key", "intermediate.key", "next/ca.crt", "previous/ca.crt")


@dataclasses.dataclass(frozen=True)
class File:
    """One file as it should be. ``alternatives`` are CA certificates that are as good when they are there.

    ``authorities`` are the CA certificates in ``data``. They take the place of the same CAs' certificates that end
    earlier, which a CA that is renewed with its key has. ``key`` is the key of a CA, which ``passphrase`` encrypts: it
    is another text every time that it is written. Without ``data`` there is no such file.
    """

    path: Path
    data: bytes | None = dataclasses.field(repr=False)
    mode: int = CERTIFICATE_MODE
    is_replaceable: bool = False
    authorities: Certificates = ()
    alternatives: tuple[Certificates, ...] = ()
    key: keys.LeafKey | None = dataclasses.field(default=None, repr=False)
    passphrase: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class ExternalCa:
    """What was checked, as files. ``bundle`` are the CAs that the gateway is to trust, where no CA issues here.

    ``leaves`` are the finished certificates by name, which ``provider`` has issued.
    """

    directory: Path
    files: tuple[File, ...]
    root: x509.Certificate
    authorities: Certificates
    bundle: Certificates = ()
    notes: tuple[str, ...] = ()
    leaves: tuple[tuple[str, x509.Certificate], ...] = ()
    provider: str = PROVIDED

    @property
    def is_from_outside(self) -> bool:
        """Whether the certificates were acquired from an issuer, and not provided by the user."""
        return self.provider != PROVIDED


@dataclasses.dataclass(frozen=True)
class RecordCertificates:
    """Add certificates to the register, before they are published."""

    register: Register
    entries: tuple[dict[str, t.Any], ...]

    def apply(self) -> None:
        self.register.append(self.entries)


def plan(external: ExternalCa, state: PkiState, entries: Register, *, now: datetime.datetime) -> None:
    """Plan the files that are missing or replaced. Raises MtlsError for what would take the place of something else.

    What a certificate or key replaces is kept under ``replaced``.
    """
    is_overlap = external.is_from_outside and state.phase == OVERLAP
    if state.phase != NONE and not is_overlap:
        raise MtlsError(
            f"A rotation of the CA in {external.directory} is under way, so nothing can be provided there. End the "
            "rotation first."
        )
    _refuse_another_authority(external, state)
    if external.is_from_outside:
        _plan_record(external, state, entries, now)
    for provided in external.files:
        present = state.read(provided.path)
        file = provided if present is None else _renewed(provided, present, now)
        is_same = file.data is None if present is None else _is_same(state, file, present)
        if not is_same:
            _plan_file(external, state, file, present)
    if external.bundle:
        _plan_bundle(external, state, now)


def _plan_record(external: ExternalCa, state: PkiState, entries: Register, now: datetime.datetime) -> None:
    found = [
        register.entry_of(
            "recorded",
            name,
            leaf,
            usage="client" if external.bundle else "server",
            moment=now,
            reasons=["it was acquired"],
            provider=external.provider,
        )
        for name, leaf in external.leaves
        if not entries.knows(leaf.serial_number)
    ]
    if found or entries.is_torn:
        state.operations.append(RecordCertificates(entries, tuple(found)))
        state.actions += [
            f"Record the certificate of {entry['name']}, issued by {external.provider}." for entry in found
        ]


def _plan_file(external: ExternalCa, state: PkiState, file: File, present: bytes | None) -> None:
    if present is not None:
        if not file.is_replaceable:
            raise MtlsError(
                f"{file.path} is there and is not what is provided. It was not overwritten, and nothing was changed. "
                "Move it away to have it replaced, or provide what is there."
            )
        import hashlib  # noqa: PLC0415  (rare)

        # In a directory named after its content, so that nothing is ever lost.
        kept = external.directory / "replaced" / hashlib.sha256(present).hexdigest()[:16] / file.path.name
        state.write(kept, present, mode=KEY_MODE)
    if file.data is None:
        state.actions.append(f"Move {file.path} to {external.directory / 'replaced'}: the key in use is elsewhere.")
        state.remove(file.path)
        return
    source = f"issued by {external.provider}" if external.is_from_outside else "provided"
    state.actions.append(f"{'Write' if present is None else 'Replace'} {file.path} from what is {source}.")
    state.write(file.path, file.data, mode=file.mode)


def _plan_bundle(external: ExternalCa, state: PkiState, now: datetime.datetime) -> None:
    """CAs are added to those that the gateway trusts, and only expired ones of a CA that was renewed go."""
    path = external.directory / "ca-bundle.crt"
    present = state.certificates(path) if state.exists(path) else ()
    trusted, notes = trust_bundle.ordered((*present, *external.bundle), now)
    state.notes += notes
    if present != trusted:
        file = File(path, trust_bundle.pem(trusted), is_replaceable=True)
        _plan_file(external, state, file, state.read(path))


def _renewed(file: File, present: bytes, now: datetime.datetime) -> File:
    """Let the better certificate of the same CA be the right one, whether it is provided or there already."""
    if not file.authorities:
        return file
    try:
        found = load.load_certificates(present, source=str(file.path)).certificates
    except MtlsError:
        return file
    for option in (file.authorities, *file.alternatives):
        if len(option) == len(found) and all(map(same_authority, found, option)):
            better = [trust_bundle.best(pair, now) for pair in zip(found, option, strict=True)]
            # A bundle of one's own making may have comments or another order of lines: the certificates count.
            data = present if tuple(better) == found else trust_bundle.pem(better)
            return dataclasses.replace(file, data=data, is_replaceable=True)
    return file


def _refuse_another_authority(external: ExternalCa, state: PkiState) -> None:
    """Refuse a directory with a CA of its own, unless it is the one that is provided."""
    path = external.directory / "ca.crt"
    if state.exists(path):
        present = state.certificate(path)
        if any(same_authority(present, ca) for ca in (external.root, *external.bundle)):
            return
        if external.is_from_outside and not _own_left(external, state):
            return
        raise MtlsError(
            f"{external.directory} has a CA already, {describe.label(present)} in {path}, and provided is "
            f"{describe.label(external.root)}. A CA is never replaced automatically; nothing was changed. Move "
            f"{external.directory} away to start over with what is provided, or provide the CA that is there."
        )
    if foreign := _own_left(external, state):
        raise MtlsError(
            f"{external.directory} has a CA of its own already: {', '.join(foreign)}. A CA is never replaced "
            f"automatically; nothing was changed. Move {external.directory} away to start over with what is provided."
        )


def _own_left(external: ExternalCa, state: PkiState) -> list[str]:
    """Name the files of a CA of our own that are there and have no place in what is external."""
    planned = {file.path for file in external.files}
    # A previous CA may be there when an external issuer has taken over.
    names = _OWN[:-1] if external.is_from_outside else _OWN
    return [
        name for name in names if external.directory / name not in planned and state.exists(external.directory / name)
    ]


def _is_same(state: PkiState, file: File, present: bytes) -> bool:
    if present == file.data:
        return True
    return file.key is not None and _is_same_key(state, file, file.key, present)


def _is_same_key(state: PkiState, file: File, key: keys.LeafKey, present: bytes) -> bool:
    """Whether the key of a CA that is there is ``key``, whatever protects it. Raises MtlsError if nobody can tell."""
    secret = load.as_secret(file.passphrase)
    try:
        found = load.load_private_key(present, source=str(file.path), passphrase=secret)
    except load.WrongPassphraseError as exc:
        reason = "is not the one that is given" if secret else "is not given"
        raise MtlsError(
            f"{file.path} is there and is encrypted, and its passphrase {reason}, so it is unknown whether it is "
            f"what is provided. {_of_which_certificate(state, file, key)} Give the passphrase of the stored key as "
            "ca_key_passphrase, and the provided key with the same one or with none. It was not overwritten, and "
            "nothing was changed."
        ) from exc
    except MtlsError:
        return False
    return load.public_bytes_of(found.public_key()) == load.public_bytes_of(key.public_key())


def _of_which_certificate(state: PkiState, file: File, key: keys.LeafKey) -> str:
    path = file.path.with_suffix(".crt")
    if not state.exists(path):
        return f"There is no certificate {path} that could tell."
    present = state.certificate(path)
    if load.key_matches(present, key):
        return f"The certificate {path} beside it is that of the provided key: probably only the passphrase differs."
    return f"The certificate {path} beside it is not that of the provided key."
