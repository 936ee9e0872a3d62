# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where provided files go, and what they must not take the place of.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    ensure_directory,
    read_bytes,
    sweep,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, renewed
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

# Files of a CA of our own, and of its rotation.
_OWN = ("ca.key", "intermediate.key", "next/ca.crt", "previous/ca.crt")
_REPLACED = "replaced"


@dataclasses.dataclass(frozen=True)
class File:
    """One file as it should be. ``alternatives`` are contents that are as good as ``data`` when they are there.

    ``authorities`` are the CA certificates in ``data``. They take the place of the same CAs' certificates that end
    earlier, which a CA that is renewed with its key has.
    ``key`` is the key of a CA, which ``passphrase`` encrypts: it is another text every time that it is written.
    """

    path: Path
    data: bytes = dataclasses.field(repr=False)
    mode: int
    is_replaceable: bool = False
    alternatives: tuple[bytes, ...] = ()
    key: keys.LeafKey | None = dataclasses.field(default=None, repr=False)
    authorities: tuple[x509.Certificate, ...] = ()
    passphrase: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Placement:
    """The files of what was provided. ``bundle`` are the CAs that the gateway is to trust, where no CA issues here."""

    directory: Path
    files: tuple[File, ...]
    root: x509.Certificate
    authorities: tuple[x509.Certificate, ...]
    bundle: tuple[x509.Certificate, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Decided:
    """The files that are to be written, and the ones before that are kept elsewhere."""

    files: tuple[File, ...]
    kept: tuple[Path, ...]
    words: tuple[str, ...]
    notes: tuple[str, ...] = ()


def decide(placement: Placement, *, is_or_would: str, now: datetime.datetime) -> Decided:
    """Compare with what is on disk. Raises MtlsError for whatever would take the place of something else."""
    _refuse_another_authority(placement)
    due: list[File] = []
    kept: list[Path] = []
    words: list[str] = []
    bundle, notes = _bundle_file(placement, now)
    for given in (*placement.files, *bundle):
        file, present = given, _present(given)
        if file.authorities and present is not None:
            file = _renewed(file, present, now)
        if present is not None and _is_same(file, present):
            continue
        if present is not None and not file.is_replaceable:
            raise MtlsError(
                f"{file.path} is there and is not what is provided. It was not overwritten, and nothing was changed. "
                "Move it away to have it replaced, or provide what is there."
            )
        due.append(file)
        if present is not None and file.is_replaceable:
            kept.append(file.path)
        words.append(f"{file.path} {is_or_would} {'written' if present is None else 'replaced'} from what is provided.")
    return Decided(tuple(due), tuple(kept), tuple(words), tuple(notes))


def _renewed(file: File, present: bytes, now: datetime.datetime) -> File:
    """Let the better certificate of the same CA be what is wanted, whether it is provided or there already."""
    try:
        found = load.load_certificates(present, source=str(file.path)).certificates
    except MtlsError:
        return file
    alternatives = [load.load_certificates(one, source="").certificates for one in file.alternatives]
    for option in (file.authorities, *alternatives):
        if len(option) == len(found) and all(map(renewed.is_same_authority, found, option)):
            better = [renewed.best(pair, now) for pair in zip(found, option, strict=True)]
            return dataclasses.replace(file, data=_pem(better), is_replaceable=True, alternatives=())
    return file


def _pem(certificates: t.Iterable[x509.Certificate]) -> bytes:
    return "".join(map(describe.pem_of, certificates)).encode()


def act(placement: Placement, decided: Decided) -> None:
    """Write what is due, keys before certificates. What a certificate or key replaces is kept under ``replaced``."""
    for path in decided.kept:
        _keep(placement, path)
    for file in decided.files:
        if not file.path.parent.is_dir():
            ensure_directory(file.path.parent)
        sweep(file.path.parent, [file.path.name])
        write_atomic(file.path, file.data, mode=file.mode)


def _refuse_another_authority(placement: Placement) -> None:
    """Refuse a directory with a CA of its own, unless it is the one that is provided."""
    path = placement.directory / "ca.crt"
    if path.exists():
        present = load.load_certificates(read_bytes(path, what="CA certificate"), source=str(path)).certificates[0]
        if any(renewed.is_same_authority(present, one) for one in (placement.root, *placement.bundle)):
            return
        raise MtlsError(
            f"{placement.directory} has a CA already, {describe.label(present)} in {path}, and provided is "
            f"{describe.label(placement.root)}. A CA is never replaced by itself; nothing was changed. Move "
            f"{placement.directory} away to start over with what is provided, or provide the CA that is there."
        )
    own = [name for name in _OWN if (placement.directory / name).exists()]
    provided = {file.path for file in placement.files}
    if foreign := [name for name in own if placement.directory / name not in provided]:
        raise MtlsError(
            f"{placement.directory} has a CA of its own already: {', '.join(foreign)}. A CA is never replaced by "
            f"itself; nothing was changed. Move {placement.directory} away to start over with what is provided."
        )


def _bundle_file(placement: Placement, now: datetime.datetime) -> tuple[tuple[File, ...], list[str]]:
    """What the gateway trusts: CAs are added to those that are there, and only expired ones of a renewed CA go."""
    if not placement.bundle:
        return (), []
    path = placement.directory / "ca-bundle.crt"
    present: tuple[x509.Certificate, ...] = ()
    if path.exists():
        present = load.load_certificates(read_bytes(path, what="bundle of CAs"), source=str(path)).certificates
    wanted, notes = renewed.ordered((*present, *placement.bundle), now)
    same = (read_bytes(path),) if present == wanted else ()
    return (File(path, _pem(wanted), CERTIFICATE_MODE, is_replaceable=True, alternatives=same),), notes


def _present(file: File) -> bytes | None:
    return read_bytes(file.path) if file.path.exists() else None


def _is_same(file: File, present: bytes) -> bool:
    if present in {file.data, *file.alternatives}:
        return True
    return file.key is not None and _is_same_key(file, file.key, present)


def _is_same_key(file: File, key: keys.LeafKey, present: bytes) -> bool:
    """Whether the key of a CA that is there is ``key``, whatever protects it. Raises MtlsError if nobody can tell."""
    secret = file.passphrase.encode() if file.passphrase else None
    try:
        found = keys.load(present, source=str(file.path), passphrase=secret)
    except keys.WrongPassphraseError as exc:
        lack = "is not the one that is given" if secret else "is not given"
        raise MtlsError(
            f"{file.path} is there and is encrypted, and its passphrase {lack}, so it cannot be told whether it is "
            f"what is provided. {_of_which_certificate(file, key)} Give the passphrase of the stored key as "
            "ca_key_passphrase, and the provided key with the same one or with none. It was not overwritten, and "
            "nothing was changed."
        ) from exc
    except MtlsError:
        return False
    return load.public_bytes_of(found.public_key()) == load.public_bytes_of(key.public_key())


def _of_which_certificate(file: File, key: keys.LeafKey) -> str:
    path = file.path.with_suffix(".crt")
    if not path.exists():
        return f"There is no certificate {path} that could tell."
    present = load.load_certificates(read_bytes(path), source=str(path)).certificates[0]
    if load.key_matches(present, key):
        return f"The certificate {path} beside it is that of the provided key: probably only the passphrase differs."
    return f"The certificate {path} beside it is not that of the provided key."


def _keep(placement: Placement, path: Path) -> None:
    """Copy a file to a directory named after its content, so that nothing is ever lost."""
    import hashlib  # noqa: PLC0415  (rare)

    data = read_bytes(path)
    place = placement.directory / _REPLACED / hashlib.sha256(data).hexdigest()[:16]
    ensure_directory(place)
    write_atomic(place / path.name, data, mode=KEY_MODE)
