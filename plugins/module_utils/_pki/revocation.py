# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocation: the register says who is revoked, and the revocation lists are made from it.

The register's line comes first. After a crash the lists are made again from the register, so nothing is un-revoked.

Envoy refuses every client once one CA in its path has no current list. So there is one list for each CA, all in one
file, and none at all before the first revocation.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    content_if_any,
    ensure_directory,
    read_bytes,
    sweep,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import execute, keys, leaf
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import Issuer, read_issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.recovery import is_list_of, read_lists
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import REVOKED, Entry, Register, read_register
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import name_text, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

# What proves later that a revoked client is refused.
_KEPT = (("client.key", KEY_MODE), ("client.crt", CERTIFICATE_MODE), ("client-chain.pem", CERTIFICATE_MODE))
# A gateway's clock may be a little behind ours: a list from the future refuses everybody.
_BACKDATE = datetime.timedelta(minutes=5)


@dataclasses.dataclass(frozen=True)
class Options:
    """What the module's caller asks for."""

    register: Path
    crl: Path
    authorities: tuple[tuple[Path, Path], ...]  # certificate and key; those without a certificate are not there yet
    passphrase: str | None
    names: tuple[str, ...]
    clients: Path | None
    keep: Path | None
    days: int
    refresh_before: int
    check_mode: bool


@dataclasses.dataclass(frozen=True)
class _List:
    """One CA's revocation list: the one on disk, and why it has to be made anew."""

    issuer: Issuer
    current: x509.CertificateRevocationList | None
    serials: t.Mapping[int, Entry]
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Decided:
    """What a run will do: entries for the register, and the lists. Nothing has been changed yet."""

    register: Register
    entries: tuple[Entry, ...]
    lists: tuple[_List, ...]
    is_stale: bool  # a list of a CA that is no longer trusted goes with it
    to_keep: tuple[str, ...]  # clients whose revoked key and certificate are still to be kept

    @property
    def due(self) -> tuple[_List, ...]:
        return tuple(one for one in self.lists if one.reasons)

    @property
    def is_change(self) -> bool:
        return bool(self.entries or self.due or self.is_stale or self.to_keep)


def run(options: Options, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Revoke and bring the lists up to date; in check mode only say it. Raises MtlsError before anything is touched."""
    check(options)
    with execute.exclusive(options.register.parent):
        decided = decide(options, read_register(options.register), now=now)
        if not options.check_mode:
            act(options, decided, now=now)
    return report(options, decided) | {
        "changed": decided.is_change,
        "diff": {
            "before_header": "revocations",
            "after_header": "revocations",
            "before": "",
            "after": "".join(f"{line}\n" for line in words(options, decided)),
        },
    }


def check(options: Options) -> None:
    """Refuse what can never be; raises MtlsError."""
    if not 0 < options.refresh_before < options.days:
        raise MtlsError(
            f"days is {options.days} and refresh_before is {options.refresh_before}, but refresh_before must be more "
            "than 0 and less than days, or a list would lapse or be made on every run."
        )


def decide(options: Options, register: Register, *, now: datetime.datetime) -> Decided:
    """Compare with what is on disk. Raises MtlsError for whatever cannot be done."""
    entries = _entries(options, register, now)
    revoked = {**register.revoked, **{int(one["serial_number"], 16): one for one in entries}}
    lists = _plan(options, revoked, now) if revoked else []
    for one in lists:
        if one.reasons:
            one.issuer.require_can_sign(now=now, example=f"revocation list in {options.crl}")
    is_stale = bool(lists) and len(lists) != len(read_lists(options.crl))
    return Decided(
        register=register,
        entries=tuple(entries),
        lists=tuple(lists),
        is_stale=is_stale,
        to_keep=_to_keep(options, revoked),
    )


def act(options: Options, decided: Decided, *, now: datetime.datetime) -> None:
    """Do what was decided: the register's lines first, then the lists."""
    decided.register.append(decided.entries)
    keep(options, decided)
    if decided.due or decided.is_stale:
        _write(options, decided.lists, now)


def report(options: Options, decided: Decided) -> dict[str, t.Any]:
    """Give the values that a module returns."""
    return {
        "revoked": [
            {"name": one["name"], "serial_number": str(one["serial_number"]).lower(), "subject": one["subject"]}
            for one in decided.entries
        ],
        "lists": [
            {"issuer": name_text(one.issuer.certificate.subject), "reasons": list(one.reasons)} for one in decided.lists
        ],
        "kept": _kept(options),
    }


def words(options: Options, decided: Decided) -> list[str]:
    """Say what is done and why."""
    after = [
        f"{one['name']}: {one['subject']}, serial number {one['serial_number']}, is revoked" for one in decided.entries
    ]
    for one in decided.due:
        after.append(f"{options.crl}: new list of {name_text(one.issuer.certificate.subject)}")
        after += [f"  because {reason}" for reason in one.reasons]
    after += [f"{one}: key and revoked certificate are kept in {_kept_in(options, one)}" for one in decided.to_keep]
    if decided.is_stale and not decided.due:
        after.append(f"{options.crl}: without the list of a CA that is no longer there")
    return after


def _entries(options: Options, register: Register, now: datetime.datetime) -> list[Entry]:
    entries: list[Entry] = []
    known = register.names()
    for name in options.names:
        if name not in known:
            raise MtlsError(
                f"Nothing was revoked: {name} never got a certificate, says the register {options.register}. "
                f"It knows {', '.join(known) or 'nobody'}."
            )
        entries += [
            {**one, "event": REVOKED, "time": time_text(now), "reasons": ["its revocation was asked for"]}
            for one in register.to_revoke(name, time_text(now))
        ]
    return entries


def _plan(options: Options, revoked: t.Mapping[int, Entry], now: datetime.datetime) -> list[_List]:
    on_disk = read_lists(options.crl)
    planned = []
    for certificate, key in options.authorities:
        if not certificate.exists():
            continue
        issuer = read_issuer(certificate, key, passphrase=options.passphrase, chain_paths=())
        own = sorted((one for one in on_disk if is_list_of(one, issuer.certificate)), key=_number, reverse=True)
        # A certificate's issuer is recorded by name, which a rotated CA shares with the one before: a serial number too
        # many in a list does no harm, as they are unique among all of a register.
        name = name_text(issuer.certificate.subject)
        serials = {serial: one for serial, one in revoked.items() if one.get("issuer") == name}
        current = own[0] if own else None
        planned.append(_List(issuer, current, serials, tuple(_reasons(current, serials, options, now))))
    if not planned:
        raise MtlsError(f"There is no CA certificate in {options.register.parent} that could sign a revocation list.")
    return planned


def _reasons(
    current: x509.CertificateRevocationList | None,
    serials: t.Mapping[int, Entry],
    options: Options,
    now: datetime.datetime,
) -> list[str]:
    if current is None:
        return ["there is none yet"]
    reasons = []
    if missing := set(serials) - {one.serial_number for one in current}:
        words = "certificate is" if len(missing) == 1 else "certificates are"
        reasons.append(f"{len(missing)} revoked {words} missing")
    end = current.next_update_utc
    if end is None or end - now < datetime.timedelta(days=options.refresh_before):
        reasons.append(f"its next update is due {f'on {end:%Y-%m-%d}' if end else 'at no time'}")
    if current.last_update_utc > now:
        reasons.append(f"it is not valid before {current.last_update_utc:%Y-%m-%d %H:%M}")
    return reasons


def _write(options: Options, lists: t.Sequence[_List], now: datetime.datetime) -> None:
    pem = [
        (_sign(one, options, now) if one.reasons else t.cast("x509.CertificateRevocationList", one.current))
        for one in lists
    ]
    data = b"".join(one.public_bytes(Encoding.PEM) for one in pem)
    sweep(options.crl.parent, [options.crl.name])
    write_atomic(options.crl, data, mode=CERTIFICATE_MODE)


def _sign(one: _List, options: Options, now: datetime.datetime) -> x509.CertificateRevocationList:
    issuer, key = one.issuer, t.cast("t.Any", one.issuer.key)
    now = now.replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(max(now - _BACKDATE, issuer.certificate.not_valid_before_utc))
        .next_update(now + datetime.timedelta(days=options.days))
        .add_extension(x509.CRLNumber(_next_number(one.current, now)), critical=False)
        .add_extension(leaf.authority_key_identifier(issuer.certificate), critical=False)
    )
    present = {entry.serial_number: entry for entry in one.current or ()}
    for serial in sorted({*one.serials, *present}):
        if serial in present:  # with its date, and also if somebody else put it there: nothing is un-revoked
            builder = builder.add_revoked_certificate(present[serial])
            continue
        revoked = x509.RevokedCertificateBuilder().serial_number(serial)
        moment = datetime.datetime.fromisoformat(str(one.serials[serial]["time"]))
        builder = builder.add_revoked_certificate(revoked.revocation_date(moment).build())
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _next_number(current: x509.CertificateRevocationList | None, now: datetime.datetime) -> int:
    """Give a greater number than any before (RFC 5280 section 5.2.3), also when the file was lost: the time helps."""
    return max(_number(current) + 1 if current is not None else 1, int(now.timestamp()))


def _number(crl: x509.CertificateRevocationList) -> int:
    with contextlib.suppress(x509.ExtensionNotFound, *PARSE_ERRORS):
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return 0


def _to_keep(options: Options, revoked: t.Mapping[int, Entry]) -> tuple[str, ...]:
    """Name the clients that still have a revoked certificate which is not kept, or not whole.

    A run that was killed is completed so, and nothing is kept that is not revoked.
    """
    if options.keep is None or options.clients is None:
        return ()
    names = []
    for name in sorted({str(one["name"]) for one in revoked.values() if one.get("name")}):
        files = _files_of(options.clients / name)
        if any(one is None for one in files) or files == _files_of(options.keep / name):
            continue
        key, certificate = t.cast("list[bytes]", files[:2])
        with contextlib.suppress(MtlsError):
            found = load.load_certificates(certificate, source=name).certificates[0]
            # The key may be the next one's already, of a run that was killed.
            if found.serial_number in revoked and load.key_matches(found, keys.load(key, source=name)):
                names.append(name)
    return tuple(names)


def _files_of(directory: Path) -> list[bytes | None]:
    return [content_if_any(directory / file_name) for file_name, _mode in _KEPT]


def keep(options: Options, decided: Decided) -> None:
    """Keep key and certificate of those that are revoked, before a new certificate takes their place."""
    if options.keep is None or options.clients is None:
        return
    if options.keep.is_dir():  # a run that was killed may have left half a key
        for place in options.keep.iterdir():
            if place.is_dir():
                sweep(place, [file_name for file_name, _mode in _KEPT])
    for name in decided.to_keep:
        source, target = options.clients / name, options.keep / name
        ensure_directory(target)
        for file_name, mode in _KEPT:
            write_atomic(target / file_name, read_bytes(source / file_name, what="client's file"), mode=mode)


def _kept_in(options: Options, name: str) -> Path:
    return t.cast("Path", options.keep) / name


def _kept(options: Options) -> dict[str, str]:
    if options.keep is None:
        return {}
    return {name: str(options.keep / name) for name in options.names if (options.keep / name / _KEPT[-1][0]).exists()}
