# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The certificate authorities of our own: whether one on disk is the one that is wanted, and how one is made.

A CA is made once and never replaced. Its key comes first and is kept if it is there, so a run that was killed in
between goes on where it stopped.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    read_bytes,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, leaf
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import Issuer, is_issued_by, read_issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import ordered_pairs
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256, name_text, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import reading

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

_NEVER = "A CA is never replaced by itself; nothing was changed."


@dataclasses.dataclass(frozen=True)
class Authority:
    """A CA as it should be: ``basename`` is ``ca`` for the root and ``intermediate`` for the one below it.

    ``subject_variable`` and ``key_variables`` name what the caller sets, for messages. ``days`` and
    ``constraints`` only count when the CA is made.
    """

    title: str
    basename: str
    subject: x509.Name
    key: keys.KeySpec
    days: int
    constraints: x509.NameConstraints | None = None
    subject_variable: str = "ca.subject"
    key_variables: str = "ca.key_type, ca.key_size and ca.curve"

    @property
    def is_root(self) -> bool:
        return self.basename == "ca"

    def key_path(self, directory: Path) -> Path:
        return directory / f"{self.basename}.key"

    def certificate_path(self, directory: Path) -> Path:
        return directory / f"{self.basename}.crt"


@dataclasses.dataclass(frozen=True)
class Found:
    """A CA as it is on disk: what could be read of it, and what could not, in words."""

    certificate: x509.Certificate | None
    key: keys.LeafKey | None
    is_key_there: bool
    damage: tuple[tuple[Path, str], ...]


def look(
    wanted: Authority, directory: Path, *, passphrase: str | None, pending: t.Mapping[Path, bytes] | None = None
) -> Found:
    """Read the two files of a CA. An encrypted key that nobody gave the passphrase for is there but not read.

    ``pending`` are files that are still to be written, and count as if they were.
    """
    pending = pending or {}
    damage: list[tuple[Path, str]] = []
    key = certificate = None
    key_path, certificate_path = wanted.key_path(directory), wanted.certificate_path(directory)
    is_key_there = key_path.exists()
    if is_key_there:
        try:
            secret = passphrase.encode() if passphrase else None
            key = keys.load(read_bytes(key_path), source=str(key_path), passphrase=secret)
        except keys.WrongPassphraseError as exc:
            if passphrase:
                damage.append((key_path, str(exc)))
        except MtlsError as exc:
            damage.append((key_path, str(exc)))
    if certificate_path in pending or certificate_path.exists():
        try:
            data = pending.get(certificate_path) or read_bytes(certificate_path)
            certificate = load.load_certificates(data, source=str(certificate_path)).certificates[0]
            with reading(f"The key of the certificate in {certificate_path}"):
                certificate.public_key()
        except MtlsError as exc:
            damage.append((certificate_path, str(exc)))
    return Found(certificate, t.cast("keys.LeafKey | None", key), is_key_there, tuple(damage))


def problems(
    wanted: Authority, found: Found, directory: Path, *, made_with_it: t.Iterable[Path], now: datetime.datetime
) -> list[str]:
    """Say in sentences what keeps the CA in ``directory`` from being the one that is wanted, and what to do.

    A missing key or certificate is no problem, as they can be made or be kept offline; one that is damaged or another
    than wanted is. ``made_with_it`` are files that there can only be when the CA has been there.
    """
    title = wanted.title
    if found.damage:
        return [
            f"The {title} is damaged: {error} Restore {path} from a backup. {_NEVER}" for path, error in found.damage
        ]
    if found.certificate is None:
        orphans = sorted(str(path) for path in made_with_it if path.exists())
        if orphans:
            return [
                f"The certificate {wanted.certificate_path(directory)} of the {title} is missing, but what belongs to "
                f"it is there: {', '.join(orphans)}. Restore it from a backup; a served chain or a bundle of trusted "
                f"CAs ends with a copy of it. {_NEVER} Or move {directory} away to start over with a new CA."
            ]
        return _key_problems(wanted, found, directory)
    return _certificate_problems(wanted, found, found.certificate, directory, now) + _key_problems(
        wanted, found, directory
    )


def _certificate_problems(
    wanted: Authority, found: Found, certificate: x509.Certificate, directory: Path, now: datetime.datetime
) -> list[str]:
    path = wanted.certificate_path(directory)
    where = (
        f"The certificate {path} of the {wanted.title}, {name_text(certificate.subject)} "
        f"(SHA-256 {fingerprint_sha256(certificate)}),"
    )
    reasons = []
    if found.key is not None and not load.key_matches(certificate, found.key):
        reasons.append(
            f"{where} does not belong to the key {wanted.key_path(directory)}. Put back the pair that belongs "
            f"together. {_NEVER}"
        )
    if not _is_ca(certificate):
        reasons.append(f"{where} is not that of a CA. Put a CA certificate in its place.")
    if certificate.not_valid_after_utc <= now:
        reasons.append(
            f"{where} expired on {time_text(certificate.not_valid_after_utc)}. Put a valid one in its place."
        )
    if list(certificate.subject) != list(wanted.subject):  # as names: an attribute has several spellings
        reasons.append(
            f"{where} has the subject {_text(certificate.subject)}, but {wanted.subject_variable} asks for "
            f"{_text(wanted.subject)}. "
            f"{_NEVER} {_choice(wanted.subject_variable, directory)}"
        )
    return reasons


def _key_problems(wanted: Authority, found: Found, directory: Path) -> list[str]:
    key = found.certificate.public_key() if found.certificate is not None else found.key
    if key is None or (present := keys.spec_of(key)) == wanted.key:
        return []
    return [
        f"The {wanted.title}'s key in {wanted.key_path(directory)} is {present}, but the variables ask for "
        f"{wanted.key}. {_NEVER} {_choice(wanted.key_variables, directory)}"
    ]


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _choice(variables: str, directory: Path) -> str:
    return (
        f"Set {variables} to what is there, or move {directory} away to start over with a new CA that every peer must "
        "then be given."
    )


def _text(subject: x509.Name) -> str:
    return json.dumps(ordered_pairs(subject), ensure_ascii=False)


def lacking_keys(wanted: t.Sequence[Authority], found: t.Sequence[Found], directory: Path) -> list[str]:
    """Say which CA that is missing cannot be made, because a key that is needed for it cannot be used."""
    reasons = []
    for number, (one, seen) in enumerate(zip(wanted, found, strict=True)):
        if seen.certificate is not None:
            continue
        if seen.is_key_there and seen.key is None:
            reasons.append(
                f"The {one.title} has to be made, and its key {one.key_path(directory)} is encrypted. Give its "
                "passphrase."
            )
        above = found[number - 1] if number else None
        if above is not None and above.certificate is not None and above.key is None:
            path = wanted[number - 1].key_path(directory)
            lack = (
                "is encrypted. Give its passphrase."
                if above.is_key_there
                else "does not exist. Put the key back in place."
            )
            reasons.append(f"The {one.title} has to be issued, but its issuer's key {path} {lack}")
    return reasons


def unlinked(wanted: t.Sequence[Authority], found: t.Sequence[Found], directory: Path, *, between: Path) -> list[str]:
    """Say which CA was not issued by the one above it; ``between`` holds the CAs between the two, if there are any."""
    reasons = []
    for (above, seen_above), (one, seen) in itertools.pairwise(zip(wanted, found, strict=True)):
        if seen_above.certificate is None or seen.certificate is None:
            continue
        further = (
            load.load_certificates(read_bytes(between), source=str(between)).certificates if between.exists() else ()
        )
        way = (seen.certificate, *further, seen_above.certificate)
        if all(is_issued_by(*link) for link in itertools.pairwise(way)):
            continue
        path = one.certificate_path(directory)
        reasons.append(
            f"The certificate {path} of the {one.title}, {name_text(seen.certificate.subject)} "
            f"(SHA-256 {fingerprint_sha256(seen.certificate)}), was not issued by the {above.title} in "
            f"{above.certificate_path(directory)}, {name_text(seen_above.certificate.subject)}. {_NEVER} Put the CAs "
            f"that belong together in place, or move {path} and {one.key_path(directory)} away to have a new one "
            "issued."
        )
    return reasons


def unprotected(wanted: Authority, found: Found, directory: Path, *, passphrase: str | None) -> list[str]:
    """Say that a key is not encrypted although there is a passphrase: what is there is never changed by itself."""
    path = wanted.key_path(directory)
    if not passphrase or found.key is None or keys.is_encrypted(read_bytes(path)):
        return []
    return [
        f"The key {path} of the {wanted.title} is not encrypted: it was there before the passphrase, and a CA's key is "
        f"never changed by itself. To encrypt it, run openssl pkey -aes256 -in {path} -out {path}.new with that "
        f"passphrase, and move {path}.new to {path}."
    ]


def words(wanted: Authority, directory: Path, is_or_would: str) -> str:
    """Say that the CA is made, or would be."""
    limits = ""
    if wanted.constraints is not None:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki import name_constraints  # noqa: PLC0415  (rare)

        limits = f", {name_constraints.text(wanted.constraints)}"
    return (
        f"The {wanted.title} {is_or_would} made in {directory}: subject {_text(wanted.subject)}, key {wanted.key}, "
        f"{wanted.days} days{limits}."
    )


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate in ``path``; raises MtlsError when there is none."""
    return load.load_certificates(read_bytes(path, what="CA certificate"), source=str(path)).certificates[0]


def make(
    wanted: Authority,
    directory: Path,
    *,
    passphrase: str | None,
    now: datetime.datetime,
) -> x509.Certificate:
    """Make the CA in ``directory``, the key first; a root signs itself, an intermediate is signed by the root there.

    Raises MtlsError when a key that is there cannot be used, or a file cannot be written.
    """
    issuer = None
    if not wanted.is_root:
        root = directory / "ca.crt"
        issuer = read_issuer(root, root.with_suffix(".key"), passphrase=passphrase, chain_paths=())
        issuer.require_can_sign(now=now, example=f"of the {wanted.title}")
    key_path = wanted.key_path(directory)
    secret = passphrase.encode() if passphrase else None
    if key_path.exists():
        key = t.cast("keys.LeafKey", keys.load(read_bytes(key_path), source=str(key_path), passphrase=secret))
    else:
        key = keys.generate(wanted.key)
        write_atomic(key_path, keys.to_pem(key, passphrase=secret), mode=KEY_MODE)
    certificate = _certificate(wanted, key, issuer, now.replace(microsecond=0))
    write_atomic(wanted.certificate_path(directory), certificate.public_bytes(Encoding.PEM), mode=CERTIFICATE_MODE)
    return certificate


def _certificate(
    wanted: Authority, key: keys.LeafKey, issuer: Issuer | None, now: datetime.datetime
) -> x509.Certificate:
    subject = wanted.subject
    start, end = now - leaf.BACKDATE, now + datetime.timedelta(days=wanted.days)
    if issuer is not None:
        start, end = max(start, issuer.certificate.not_valid_before_utc), min(end, issuer.not_after)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if wanted.is_root else 0), critical=True)
        .add_extension(leaf.key_usage(is_ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        builder = builder.add_extension(leaf.authority_key_identifier(issuer.certificate), critical=False)
    if wanted.constraints is not None:
        builder = builder.add_extension(wanted.constraints, critical=True)
    signer = t.cast("keys.LeafKey", issuer.key) if issuer is not None else key
    return builder.sign(signer, leaf.digest(signer))
