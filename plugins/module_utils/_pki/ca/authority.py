# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CAs of our own: whether one on disk is the one that is specified, and how one is created.

A CA is created once and never replaced. Its key comes first and is kept if it is there, so a run that was killed in
between goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import KEY_MODE
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PREPARED, made_with_root
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import (
    fingerprint_sha256,
    name_text,
    time_text,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_ca, is_issued_by
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import reading

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import AuthoritySpec, PkiSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState
    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import Signer

_NEVER = "A CA is never replaced automatically; nothing was changed."


@dataclasses.dataclass(frozen=True)
class AuthorityState:
    """A CA as it is: what could be read of it, and what could not, in words."""

    spec: AuthoritySpec
    certificate: x509.Certificate | None
    key: keys.LeafKey | None
    is_key_there: bool
    damage: tuple[tuple[Path, str], ...]


def plan_authorities(spec: PkiSpec, state: PkiState, *, is_preparing: bool, now: datetime.datetime) -> None:
    """Compare the CAs with those that are specified, and plan those that are missing.

    Raises MtlsError for whatever is damaged, lost or another CA.
    """
    place = state.directory / "next" if is_preparing else state.directory
    specs = [
        dataclasses.replace(authority, title=f"next {authority.title}") if is_preparing else authority
        for authority in spec.authorities
    ]
    found = [_look(ca, state, place) for ca in specs]
    is_in_files = not state.ca_keys.every
    is_supplied = spec.supplied_ca is not None
    # A missing certificate that is provided is not lost.
    others = () if is_supplied else made_with_root(spec.usage, state, place)
    problems = [
        problem
        for ca in found
        for problem in _problems(ca, state, place, made_with_it=others if ca.spec.is_root else (), now=now)
    ]
    if not is_supplied:
        problems = problems or _missing_keys(found, place, is_in_files=is_in_files)
        problems = problems or _unlinked(found, state, place)
    if problems:
        raise MtlsError(" ".join(problems), problems=problems)
    for ca in found:
        state.notes += _unprotected(ca, state, place)
        if state.ca_keys.of(ca.spec.basename) is not None and ca.is_key_there:
            _compare(ca, state, place)
        if ca.certificate is None and not is_supplied:
            _create(ca.spec, state, place, now)


def _look(spec: AuthoritySpec, state: PkiState, place: Path) -> AuthorityState:
    """Read the two files of a CA. An encrypted key without a passphrase is reported as present but unread."""
    damage: list[tuple[Path, str]] = []
    key = certificate = None
    key_path, certificate_path = spec.key_path(place), spec.certificate_path(place)
    is_key_there = state.read(key_path, what="CA key") is not None
    try:
        key = state.ca_key(key_path)
    except load.WrongPassphraseError as exc:
        if state.passphrase:
            damage.append((key_path, str(exc)))
    except MtlsError as exc:
        damage.append((key_path, str(exc)))
    if state.exists(certificate_path):
        try:
            certificate = state.certificate(certificate_path)
            with reading(f"A part of the certificate in {certificate_path}"):
                _probe = (certificate.subject, certificate.public_key(), list(certificate.extensions))
        except MtlsError as exc:
            damage.append((certificate_path, str(exc)))
    return AuthorityState(spec, certificate, key, is_key_there, tuple(damage))


def _compare(found: AuthorityState, state: PkiState, place: Path) -> None:
    """Compare the key file of a CA with its configured key, which is in a token or behind a command.

    Raises MtlsError unless they are the same key.
    """
    path, signer = found.spec.key_path(place), t.cast("Signer", state.ca_keys.of(found.spec.basename))
    if found.certificate is None:
        raise MtlsError(
            f"The {found.spec.title} is to be created with the key of {signer.name}, but there is the file {path}. "
            f"Move it away, or remove {signer.name}."
        )
    if place != state.directory or state.phase != PREPARED:  # until the next CA issues, the current one keeps its key
        state.notes.append(state.ca_keys.note_on_file(signer, found.certificate, path))


def _create(spec: AuthoritySpec, state: PkiState, place: Path, now: datetime.datetime) -> None:
    """Plan a new CA in ``place``, the key first; a root signs itself, an intermediate is signed by the root there.

    Raises MtlsError when a key that is there cannot be used.
    """
    above = None
    if not spec.is_root:
        above = issuer.read(state, place / "ca.crt")
        above.require_can_sign(now=now, what=f"the certificate of the {spec.title}")
    key_path, where = spec.key_path(place), ""
    if (signer := state.ca_keys.of(spec.basename)) is not None:
        key: keys.LeafKey = state.ca_keys.new_key(signer, spec.key)
        _refuse_key_in_use(state, key, signer.name)
        where = f" in {signer.place}"
    elif (present := state.ca_key(key_path)) is not None:
        key = present
    else:
        key = keys.generate(spec.key)
        state.write(key_path, keys.to_pem(key, passphrase=load.as_secret(state.passphrase)), mode=KEY_MODE)
    certificate = _certificate(spec, key, above, now.replace(microsecond=0))
    state.write(spec.certificate_path(place), certificate.public_bytes(Encoding.PEM))
    limits = ""
    if spec.constraints is not None:
        limits = f", {profile.constraints_text(spec.constraints)}"
    state.actions.append(
        f"Create the {spec.title} in {place}: subject {_text(spec.subject)}, key {spec.key}{where}, {spec.days} days"
        f"{limits}."
    )


def _refuse_key_in_use(state: PkiState, key: keys.LeafKey, option: str) -> None:
    """Refuse a new CA with the key of the current one: a rotation is a change of the key. Raises MtlsError."""
    for path in (state.directory / "ca.crt", state.directory / "intermediate.crt"):
        if state.exists(path) and load.key_matches(state.certificate(path), key):
            raise MtlsError(
                f"{option} names the key of the current CA in {path}, and a new CA needs a new key. Create one with "
                f"the token's own tools, name it as {option}, and the current one in previous_ca_keys."
            )


def _problems(
    found: AuthorityState, state: PkiState, place: Path, *, made_with_it: t.Iterable[Path], now: datetime.datetime
) -> list[str]:
    """Say in sentences what keeps a CA from being the one that is specified, and what to do.

    A missing key or certificate is no problem, as they can be created or be kept offline; one that is damaged or
    another is. ``made_with_it`` are files that there can only be when the CA has been there.
    """
    spec = found.spec
    if found.damage:
        return [
            f"The {spec.title} is damaged: {error} Restore {path} from a backup. {_NEVER}"
            for path, error in found.damage
        ]
    if found.certificate is not None:
        return _certificate_problems(found, found.certificate, place, now) + _key_problems(found, place)
    if orphans := sorted(str(path) for path in made_with_it if state.exists(path)):
        return [
            f"The certificate {spec.certificate_path(place)} of the {spec.title} is missing, but what belongs to "
            f"it is there: {', '.join(orphans)}. Restore it from a backup; a served chain or a trust bundle ends with "
            f"a copy of it. {_NEVER} Or move {place} away to start over with a new CA."
        ]
    return _key_problems(found, place)


def _certificate_problems(
    found: AuthorityState, certificate: x509.Certificate, place: Path, now: datetime.datetime
) -> list[str]:
    spec = found.spec
    where = (
        f"The certificate {spec.certificate_path(place)} of the {spec.title}, {name_text(certificate.subject)} "
        f"(SHA-256 {fingerprint_sha256(certificate)}),"
    )
    reasons = []
    if found.key is not None and not load.key_matches(certificate, found.key):
        reasons.append(
            f"{where} does not belong to the key {spec.key_path(place)}. Put back the pair that belongs together. "
            f"{_NEVER}"
        )
    if not is_ca(certificate):
        reasons.append(f"{where} is not that of a CA. Put a CA certificate in its place.")
    if certificate.not_valid_after_utc <= now:
        reasons.append(
            f"{where} expired on {time_text(certificate.not_valid_after_utc)}. Put a valid one in its place."
        )
    if list(certificate.subject) != list(spec.subject):  # as names: an attribute has several spellings
        option = f"{spec.basename}.subject"
        reasons.append(
            f"{where} has the subject {_text(certificate.subject)}, but {option} is {_text(spec.subject)}. "
            f"{_NEVER} {_choice(option, place)}"
        )
    return reasons


def _key_problems(found: AuthorityState, place: Path) -> list[str]:
    key = found.certificate.public_key() if found.certificate is not None else found.key
    if key is None or (present := keys.spec_of(key)) == found.spec.key:
        return []
    options = "ca.key_type, ca.key_size and ca.curve"
    return [
        f"The {found.spec.title} in {place} has the key {present}, but {options} specify {found.spec.key}. {_NEVER} "
        f"{_choice(options, place)}"
    ]


def _choice(options: str, place: Path) -> str:
    return (
        f"Set {options} to what is there, or move {place} away to start over with a new CA that every peer must then "
        "be given."
    )


def _text(subject: x509.Name) -> str:
    return json.dumps(profile.ordered_pairs(subject), ensure_ascii=False)


def _missing_keys(found: t.Sequence[AuthorityState], place: Path, *, is_in_files: bool) -> list[str]:
    """Say which CA that is missing cannot be created, because a key that is needed for it cannot be used."""
    reasons = []
    for above, ca in zip((None, *found[:-1]), found, strict=True):
        if ca.certificate is not None:
            continue
        if ca.is_key_there and ca.key is None:
            reasons.append(
                f"The {ca.spec.title} is to be created, and its key {ca.spec.key_path(place)} is encrypted. Give its "
                "passphrase."
            )
        is_needed = is_in_files or (above is not None and above.is_key_there)
        if above is not None and above.certificate is not None and above.key is None and is_needed:
            reason = (
                "is encrypted. Give its passphrase."
                if above.is_key_there
                else "does not exist. Put the key back in place."
            )
            reasons.append(
                f"The {ca.spec.title} is to be issued, but its issuer's key {above.spec.key_path(place)} {reason}"
            )
    return reasons


def _unlinked(found: t.Sequence[AuthorityState], state: PkiState, place: Path) -> list[str]:
    """Say which CA was not issued by the one above it, over the CAs between the two, if there are any."""
    between = place / "intermediate-chain.pem"
    reasons = []
    for above, ca in itertools.pairwise(found):
        if above.certificate is None or ca.certificate is None:
            continue
        further = state.certificates(between) if state.exists(between) else ()
        way = (ca.certificate, *further, above.certificate)
        if all(is_issued_by(*link) for link in itertools.pairwise(way)):
            continue
        path = ca.spec.certificate_path(place)
        reasons.append(
            f"The certificate {path} of the {ca.spec.title}, {name_text(ca.certificate.subject)} "
            f"(SHA-256 {fingerprint_sha256(ca.certificate)}), was not issued by the {above.spec.title} in "
            f"{above.spec.certificate_path(place)}, {name_text(above.certificate.subject)}. {_NEVER} Put the CAs that "
            f"belong together in place, or move {path} and {ca.spec.key_path(place)} away to have a new "
            "intermediate CA issued."
        )
    return reasons


def _unprotected(found: AuthorityState, state: PkiState, place: Path) -> list[str]:
    """Say that a key is not encrypted although there is a passphrase: what is there is never changed automatically."""
    path = found.spec.key_path(place)
    if not state.passphrase or found.key is None or keys.is_encrypted(state.require(path)):
        return []
    return [
        f"The key {path} of the {found.spec.title} is not encrypted: it was there before the passphrase, and a CA's "
        f"key is never changed automatically. To encrypt it, run openssl pkey -aes256 -in {path} -out {path}.new with "
        f"that passphrase, and move {path}.new to {path}."
    ]


def _certificate(
    spec: AuthoritySpec, key: keys.LeafKey, above: issuer.LocalIssuer | None, now: datetime.datetime
) -> x509.Certificate:
    start, end = now - profile.BACKDATE, now + datetime.timedelta(days=spec.days)
    if above is not None:
        start, end = max(start, above.certificate.not_valid_before_utc), min(end, above.not_after)
    builder = certificate_builder.start(
        spec.subject,
        above.certificate.subject if above is not None else spec.subject,
        key.public_key(),
        not_before=start,
        not_after=end,
        is_ca=True,
        path_length=None if spec.is_root else 0,
    )
    if above is not None:
        builder = builder.add_extension(certificate_builder.authority_key_identifier(above.certificate), critical=False)
    if spec.constraints is not None:
        builder = builder.add_extension(spec.constraints, critical=True)
    return above.sign(builder) if above is not None else builder.sign(key, certificate_builder.digest(key))
