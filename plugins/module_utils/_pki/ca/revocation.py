# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocation: the register says who is revoked, and the revocation lists are made from it.

The register's line comes first. After a crash the lists are made again from the register, so nothing is un-revoked.
What a list of our own CAs has and the register has not is taken up from the list: the register was lost, or is that of
an older backup. Otherwise the list would never be renewed, and the gateway would refuse everybody once it had lapsed.

Envoy refuses every client once one CA in its path has no current list. So there is one list for each CA, all in one
file, and none at all before the first revocation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    is_synced_together,
)
from ansible_collections.kyma.mtls.plugins.module_utils._parallel import collected
from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import (
    REVOKED,
    Entry,
    Register,
    WriteRegister,
    entry_of,
    external_provider,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import SyncDisk
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import certificate_builder, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import name_text, serial_text, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_crl_of, same_authority
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it


if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec, RequestSigner
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiLayout, PkiState

# The files with which a later verification shows that a revoked client is refused.
_KEPT = (("client.key", KEY_MODE), ("client.crt", CERTIFICATE_MODE), ("client-chain.pem", CERTIFICATE_MODE))
# From so many clients on, their files are waited for together and not one by one.
_MANY = 20
# The files of so many clients are worth a process of their own: a fifth of a second.
_SHARE = 2000
# A gateway's clock may be a little behind ours: a list from the future refuses everybody.
_BACKDATE = datetime.timedelta(minutes=5)

Lists: t.TypeAlias = "tuple[x509.CertificateRevocationList, ...]"


@dataclasses.dataclass(frozen=True)
class RevokeAtIssuer:
    """Revoke certificates where they were issued. A run that is killed thereafter finds them in the issuer's list."""

    signer: RequestSigner
    entries: tuple[Entry, ...]

    def apply(self) -> None:
        self.signer.prepare()
        for entry in self.entries:
            self.signer.revoke(int(entry["serial_number"], 16), name=str(entry["name"]))


def refuse_days(spec: PkiSpec) -> None:
    """Refuse a list that would lapse or be made on every run. Raises MtlsError."""
    if not 0 < spec.crl_refresh_before < spec.crl_days:
        raise MtlsError(
            f"crl_days is {spec.crl_days} and crl_refresh_before is {spec.crl_refresh_before}, but crl_refresh_before "
            "must be more than 0 and less than crl_days, or a list would lapse or be made on every run."
        )


def recover(state: PkiState, layout: PkiLayout, register: Register) -> None:
    """Plan the register's missing lines for what lists of our own CAs revoke, and say so."""
    lists = state.lists()
    listed = {entry.serial_number: (crl, entry) for crl in lists for entry in crl}
    if register.revoked.keys() >= listed.keys():
        return
    signers = [state.certificate(path) for path in layout.authorities if state.exists(path)]
    missing = {
        number: found
        for number, found in listed.items()
        if number not in register.revoked and any(is_crl_of(found[0], signer) for signer in signers)
    }
    if not missing:
        return
    entries = list(_lost_entries(state, register, missing))
    register.take_up(entries)
    state.operations.append(WriteRegister(register))
    revoked = [entry for entry in entries if entry["event"] == REVOKED]
    shown = ", ".join(str(entry.get("name") or entry["serial_number"]) for entry in revoked[:5])
    more = ", ..." if len(revoked) > 5 else ""
    text = (
        f"{register.path} lacks {len(revoked)} revocations that {state.crl} has ({shown}{more}): it was "
        "lost, or restored from an older backup. They are restored from the list, which stays in force and is renewed."
    )
    state.actions.append(text)
    state.notes.append(text)


def _lost_entries(
    state: PkiState,
    register: Register,
    missing: t.Mapping[int, tuple[x509.CertificateRevocationList, x509.RevokedCertificate]],
) -> t.Iterator[Entry]:
    """Give the lines. Whose certificate it is, where the register does not say it, is read from the clients' files."""
    on_disk = {
        certificate.serial_number: (path.parent.name, certificate)
        for place in (state.revoked, state.clients)
        for path in sorted(place.glob("*/client.crt"))
        for certificate in _certificates(state, path)[:1]
    }
    names: dict[str, None] = {}
    for number, (crl, revoked) in sorted(missing.items()):
        entry = register.find(number)
        if entry is None and number in on_disk:
            yield (entry := _recorded(*on_disk[number], moment=revoked.revocation_date_utc))
        base = entry or {"serial_number": serial_text(number), "issuer": name_text(crl.issuer)}
        if base.get("name"):
            names[str(base["name"])] = None
        why = "the revocation list has it and the register had not"
        yield {**base, "event": REVOKED, "time": time_text(revoked.revocation_date_utc), "reasons": [why]}
    # Who has got a new certificate since is not held.
    for name in names:
        for certificate in _certificates(state, state.clients / name / "client.crt")[:1]:
            if certificate.serial_number not in missing and certificate.serial_number not in register.revoked:
                yield _recorded(name, certificate, moment=certificate.not_valid_before_utc)


def _recorded(name: str, certificate: x509.Certificate, *, moment: datetime.datetime) -> Entry:
    return entry_of("recorded", name, certificate, usage="client", moment=moment, reasons=["the register had lost it"])


def _certificates(state: PkiState, path: Path) -> tuple[x509.Certificate, ...]:
    with contextlib.suppress(MtlsError):
        return state.certificates(path, is_whole=False)
    return ()


def plan_revocation(
    spec: PkiSpec, state: PkiState, layout: PkiLayout, register: Register, *, now: datetime.datetime
) -> dict[str, t.Any]:
    """Plan the revocations of ``spec.revoke``, what is kept of them, and the lists; return the module's values.

    Raises MtlsError for whatever cannot be done.
    """
    entries = _requested(spec, register, now)
    register.take_up(entries)
    if not register.revoked and not spec.crl_sources:
        return {"revoked": [], "lists": []}
    state.actions += [
        f"Revoke the certificate of {entry['name']}: {entry['subject']}, serial number {entry['serial_number']}."
        for entry in entries
    ]
    if entries and spec.signer is not None:
        state.operations.append(RevokeAtIssuer(spec.signer, tuple(entries)))
    state.operations += [WriteRegister(register)] if entries else []
    names = _to_keep(state, register)
    is_synced = not is_synced_together(len(names), least=_MANY)
    for name in names:
        state.actions.append(f"Keep the revoked key and certificate of {name} in {state.revoked / name}.")
        for file_name, mode in _KEPT:
            data = state.require(state.clients / name / file_name)
            state.write(state.revoked / name / file_name, data, mode=mode, is_synced=is_synced)
    state.operations += [] if is_synced else [SyncDisk()]
    return {
        "revoked": [{part: entry[part] for part in ("name", "serial_number", "subject")} for entry in entries],
        "lists": (
            _external_crl().plan_external_lists(spec, state, _authorities(state, layout), register, now=now)
            if spec.signer is not None
            else _plan_lists(spec, state, layout, register, now)
        ),
    }


def kept(spec: PkiSpec, state: PkiState) -> dict[str, str]:
    """Give the directories that have, or will have, key and certificate of those who are revoked, by name."""
    places = {name: state.revoked / name for name in spec.revoke}
    return {name: str(place) for name, place in places.items() if state.exists(place / _KEPT[-1][0])}


def _requested(spec: PkiSpec, register: Register, now: datetime.datetime) -> list[Entry]:
    entries: list[Entry] = []
    known = dict.fromkeys(register.names()) if spec.revoke else {}
    for name in spec.revoke:
        if name not in known:
            raise MtlsError(
                f"Nothing was revoked: {name} never got a certificate, according to the register {register.path}. "
                f"It knows {', '.join(known) or 'nobody'}."
            )
        entries += [
            {**entry, "event": REVOKED, "time": time_text(now), "reasons": ["its revocation was requested"]}
            for entry in register.to_revoke(name, time_text(now))
        ]
    return entries


def _to_keep(state: PkiState, register: Register) -> list[str]:
    """Name the clients that still have a revoked certificate which is not kept, or not whole.

    A run that was killed is completed so, and nothing is kept that is not revoked.
    """
    revoked = sorted({str(entry["name"]) for entry in register.revoked.values() if entry.get("name")})
    return collected(revoked, functools.partial(_incomplete, state, register), least=_SHARE)


def _incomplete(state: PkiState, register: Register, revoked: t.Iterable[str]) -> list[str]:
    names = []
    for name in revoked:
        files = _kept_files(state, state.clients / name)
        if None in files or files == _kept_files(state, state.revoked / name):
            continue
        key, certificate = t.cast("list[bytes]", files[:2])
        with contextlib.suppress(MtlsError):
            found = load.load_certificates(certificate, source=name).certificates[0]
            # The key may be the next one's already, of a run that was killed.
            if found.serial_number in register.revoked and load.key_matches(
                found, load.load_private_key(key, source=name)
            ):
                names.append(name)
    return names


def _kept_files(state: PkiState, directory: Path) -> list[bytes | None]:
    return [state.read(directory / name) for name, _mode in _KEPT]


def _plan_lists(
    spec: PkiSpec, state: PkiState, layout: PkiLayout, register: Register, now: datetime.datetime
) -> list[dict[str, t.Any]]:
    present = state.lists()
    planned: list[x509.CertificateRevocationList] = []
    authorities: list[x509.Certificate] = []
    report = []
    for certificate in layout.authorities:
        if not state.exists(certificate):
            continue
        ca = issuer.read(state, certificate)
        if ca.key is None and spec.crl_sources:
            continue  # its owner's list is fetched
        name = name_text(ca.certificate.subject)
        own = sorted((crl for crl in present if is_crl_of(crl, ca.certificate)), key=_number, reverse=True)
        current = own[0] if own else None
        # A certificate's issuer is recorded by name, which a rotated CA shares with the previous one: a serial number
        # too many in a list does no harm, as they are unique among all of a register.
        revoked = {number: entry for number, entry in register.revoked.items() if entry.get("issuer") == name}
        reasons = _reasons(spec, current, revoked, now)
        if reasons or current is None:
            _refuse_external(ca, register)
            ca.require_can_sign(now=now, what=f"the revocation list in {state.crl}")
            current = _sign(spec, ca, current, revoked, now)
            state.actions.append(f"Write a new list of {name} to {state.crl}, because {', and '.join(reasons)}.")
        planned.append(current)
        authorities.append(ca.certificate)
        report.append({"issuer": name, "reasons": reasons})
    if not planned and not spec.crl_sources:
        raise MtlsError(f"There is no CA certificate in {state.directory} that could sign a revocation list.")
    if spec.crl_sources:
        others = [ca for ca in _authorities(state, layout) if not any(same_authority(ca, own) for own in authorities)]
        lists, found = _external_crl().merged(spec, state, others, present, now=now)
        planned += lists
        report += found
    else:
        planned += _lists_of_others(state, present, authorities)
    if set(map(_der, planned)) != set(map(_der, present)) or len(planned) != len(present):
        if not any(entry["reasons"] for entry in report):
            state.actions.append(f"Remove the list of a CA that is no longer trusted from {state.crl}.")
        state.write(state.crl, b"".join(crl.public_bytes(Encoding.PEM) for crl in planned))
    return report


def _refuse_external(ca: issuer.LocalIssuer, register: Register) -> None:
    """Refuse to sign for a CA whose key is at an issuer that gave way to ours. Raises MtlsError."""
    is_previous = ca.certificate_path.parent.name == "previous"
    name = name_text(ca.certificate.subject)
    issued = [entry for entry in register.entries if is_previous or entry.get("issuer") == name]
    provider = next(filter(None, map(external_provider, issued)), "")
    if ca.key is None and provider:
        raise MtlsError(
            f"The gateway still trusts {ca.label} of {provider}, which gave way to a CA of our own, and its revocation "
            f"list cannot be signed here. Revoke at {provider}, or set grace_days to 0 until that CA is "
            "retired, and then revoke again."
        )


def _authorities(state: PkiState, layout: PkiLayout) -> list[x509.Certificate]:
    """The CAs whose lists the gateway needs: those that it trusts, and those between them and the clients."""
    found = [*trust_bundle.read_bundle(state)]
    for path in layout.below_root:
        found += state.certificates(path)
    return list(dict.fromkeys(found))


def _external_crl() -> t.Any:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import external_crl  # noqa: PLC0415  (most runs do without)

    return external_crl


def _lists_of_others(state: PkiState, present: Lists, authorities: t.Sequence[x509.Certificate]) -> Lists:
    """The lists of other CAs in the trust bundle, which somebody has added by hand, stay."""
    foreign = [crl for crl in present if not any(is_crl_of(crl, ca) for ca in authorities)]
    if not foreign or not state.exists(state.trust_bundle):
        return ()
    trusted = trust_bundle.read_bundle(state)
    return tuple(crl for crl in foreign if any(is_crl_of(crl, ca) for ca in trusted))


def _reasons(
    spec: PkiSpec,
    current: x509.CertificateRevocationList | None,
    revoked: t.Mapping[int, Entry],
    now: datetime.datetime,
) -> list[str]:
    if current is None:
        return ["there is none yet"]
    reasons = []
    if missing := set(revoked) - {entry.serial_number for entry in current}:
        words = "certificate is" if len(missing) == 1 else "certificates are"
        reasons.append(f"{len(missing)} revoked {words} missing")
    end = current.next_update_utc
    if end is None or end - now < datetime.timedelta(days=spec.crl_refresh_before):
        reasons.append(f"its next update is due {f'on {end:%Y-%m-%d}' if end else 'at no time'}")
    if current.last_update_utc > now:
        reasons.append(f"it is not valid before {current.last_update_utc:%Y-%m-%d %H:%M}")
    return reasons


def _der(crl: x509.CertificateRevocationList) -> bytes:
    return crl.public_bytes(Encoding.DER)


def _sign(
    spec: PkiSpec,
    ca: issuer.LocalIssuer,
    current: x509.CertificateRevocationList | None,
    revoked: t.Mapping[int, Entry],
    now: datetime.datetime,
) -> x509.CertificateRevocationList:
    now = now.replace(microsecond=0)
    # A greater number than any before (RFC 5280 section 5.2.3), also when the file was lost: the time helps.
    number = max(_number(current) + 1 if current is not None else 1, int(now.timestamp()))
    present = {entry.serial_number: entry for entry in current or ()}
    # With its date, and also if another program put it there: nothing is un-revoked. All at once, because a builder
    # copies the whole list for each entry that is added.
    entries = [present.get(serial) or _revoked(serial, revoked[serial]) for serial in sorted({*revoked, *present})]
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=entries)
        .issuer_name(ca.certificate.subject)
        .last_update(max(now - _BACKDATE, ca.certificate.not_valid_before_utc))
        .next_update(now + datetime.timedelta(days=spec.crl_days))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(certificate_builder.authority_key_identifier(ca.certificate), critical=False)
    )
    return ca.sign_crl(builder)


def _revoked(serial_number: int, entry: Entry) -> x509.RevokedCertificate:
    moment = datetime.datetime.fromisoformat(str(entry["time"]))
    return x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(moment).build()


def _number(crl: x509.CertificateRevocationList) -> int:
    with contextlib.suppress(x509.ExtensionNotFound, *PARSE_ERRORS):
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return 0
