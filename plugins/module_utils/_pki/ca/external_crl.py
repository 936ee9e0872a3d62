# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Revocation lists of CAs whose key is elsewhere: fetched on every run, checked, and published.

A list that cannot be had, or that Envoy could not use, never takes the place of the one that serves. The run warns, and
fails once the list that serves is near its end: when it has lapsed, Envoy refuses every client.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils import _http
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._istio_secret import crls
from ansible_collections.kyma.mtls.plugins.module_utils._pki import register as registers
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label, name_text, serial_text, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_crl_of

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Entry, Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CrlSource, PkiSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

# A new list is requested when less than a third of the lifetime is left, as with certificates. With less than a sixth,
# the next run may come too late.
_DUE, _NEAR = 3, 6

Certificates: t.TypeAlias = "t.Sequence[x509.Certificate]"
Lists: t.TypeAlias = "tuple[x509.CertificateRevocationList, ...]"


@dataclasses.dataclass(frozen=True)
class UrlSource:
    """Lists at URLs, as CAs publish them."""

    urls: tuple[str, ...]
    ca_file: str = ""

    def lists(self) -> tuple[list[tuple[str, bytes]], list[str]]:
        found, problems = [], []
        for url in self.urls:
            try:
                found.append((url, _http.fetch(url, trust=_http.TlsTrust(self.ca_file))))
            except MtlsError as exc:
                problems.append(str(exc))
        return found, problems

    def renew(self) -> None:
        raise MtlsError("The owner of the CA renews it.")


@dataclasses.dataclass(frozen=True)
class Fetched:
    """What the sources have, and what went wrong."""

    lists: tuple[tuple[str, x509.CertificateRevocationList], ...]
    problems: tuple[str, ...]

    def of(self, ca: x509.Certificate) -> list[tuple[str, x509.CertificateRevocationList]]:
        return [(place, crl) for place, crl in self.lists if is_crl_of(crl, ca)]

    def strangers(self, authorities: Certificates) -> list[str]:
        """Say which lists belong to none of the CAs."""
        return [
            f"{place} has the list of {name_text(crl.issuer)}, which is not signed by any CA that the gateway trusts."
            for place, crl in self.lists
            if not any(is_crl_of(crl, ca) for ca in authorities)
        ]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The list of each CA that is to be published. ``missing`` are the CAs without one; ``reasons`` are by CA."""

    lists: Lists
    missing: tuple[x509.Certificate, ...]
    reasons: dict[str, list[str]]
    notes: tuple[str, ...]
    due: tuple[str, ...]

    @property
    def data(self) -> bytes:
        return b"".join(crl.public_bytes(Encoding.PEM) for crl in self.lists)

    @property
    def serial_numbers(self) -> frozenset[int]:
        return frozenset(entry.serial_number for crl in self.lists for entry in crl)


def plan_external_lists(
    spec: PkiSpec,
    state: PkiState,
    authorities: t.Sequence[x509.Certificate],
    register: Register,
    *,
    now: datetime.datetime,
) -> list[dict[str, t.Any]]:
    """Plan the lists of all CAs that the gateway needs; return the module's report.

    Raises MtlsError when a list that has to be there is not, or the one that serves is near its end.
    """
    present = state.lists()
    chosen, trusted = _chosen(spec, authorities, present, now)
    state.notes += chosen.notes
    _take_up(state, chosen, register, now)
    names = list(dict.fromkeys(name_text(ca.subject) for ca in trusted))
    moment = time_text(now)
    revoked = {
        number
        for number, entry in register.revoked.items()
        if entry.get("issuer") in names and str(entry.get("not_after", "9")) > moment
    }
    is_published = spec.publishes_crls or state.exists(state.crl)
    if not (is_published or revoked or chosen.serial_numbers):
        return []  # Envoy refuses everybody when a list lapses: there is none before the first revocation
    _refuse_missing(chosen, state.crl)
    if spec.signer is not None and (chosen.due or revoked - chosen.serial_numbers):
        what = ", ".join(chosen.due) or ", ".join(map(label, trusted))
        state.actions.append(f"Have the list of {what} renewed, and publish it in {state.crl}.")
        operation = RenewLists(state.crl, spec.crl_sources, trusted, present, frozenset(revoked), now)
        state.operations.append(operation)
    elif sorted(map(_der, chosen.lists)) != sorted(map(_der, present)):
        state.actions += _actions(state, chosen)
        state.write(state.crl, chosen.data)
    return [
        {"issuer": name_text(ca.subject), "reasons": chosen.reasons.get(name_text(ca.subject), [])} for ca in trusted
    ]


def merged(
    spec: PkiSpec, state: PkiState, authorities: t.Sequence[x509.Certificate], present: Lists, *, now: datetime.datetime
) -> tuple[Lists, list[dict[str, t.Any]]]:
    """Return the lists of others beside those that are signed here, and the report on them. Raises MtlsError."""
    chosen, _trusted = _chosen(spec, authorities, present, now)
    state.notes += chosen.notes
    _refuse_missing(chosen, state.crl)
    state.actions += _written(state, chosen)
    return chosen.lists, [{"issuer": name, "reasons": reasons} for name, reasons in chosen.reasons.items()]


def _chosen(
    spec: PkiSpec, authorities: t.Sequence[x509.Certificate], present: Lists, now: datetime.datetime
) -> tuple[Chosen, tuple[x509.Certificate, ...]]:
    trusted = tuple(ca for ca in authorities if ca.not_valid_after_utc > now)
    return choose(trusted, fetch(spec.crl_sources), present, now=now, is_renewable=spec.signer is not None), trusted


def _actions(state: PkiState, chosen: Chosen) -> list[str]:
    return _written(state, chosen) or [f"Leave out of {state.crl} the list of a CA that is not trusted any more."]


def _written(state: PkiState, chosen: Chosen) -> list[str]:
    return [f"Write the list of {name} to {state.crl}: {reasons[0]}." for name, reasons in chosen.reasons.items()]


def _take_up(state: PkiState, chosen: Chosen, register: Register, now: datetime.datetime) -> None:
    entries = _revoked_elsewhere(chosen, register, now)
    if not entries:
        return
    register.take_up(entries)
    state.operations.append(registers.WriteRegister(register))
    names = ", ".join(dict.fromkeys(str(entry.get("name")) for entry in entries))
    text = f"Record in {register.path} what was revoked at the issuer: certificates of {names}."
    state.actions.append(text)
    state.notes.append(text)


def fetch(sources: t.Iterable[CrlSource]) -> Fetched:
    """Ask all sources. Nothing is raised: what serves goes on serving."""
    found: list[tuple[str, x509.CertificateRevocationList]] = []
    problems: list[str] = []
    for source in sources:
        try:
            answers, wrong = source.lists()
        except MtlsError as exc:
            problems.append(str(exc))
            continue
        problems += wrong
        for place, data in answers:
            try:
                found += [(place, crl) for crl in load.load_crls(data, source=place).crls]
            except MtlsError as exc:
                problems.append(str(exc))
    return Fetched(tuple(found), tuple(problems))


def choose(
    authorities: Certificates, fetched: Fetched, present: Lists, *, now: datetime.datetime, is_renewable: bool = False
) -> Chosen:
    """Choose a list for each CA: the newest that Envoy can use, of those fetched and the one that serves.

    With ``is_renewable``, a list near its end can be renewed on request, unless nobody answers.
    Raises MtlsError when the one that serves is near its end and there is no other.
    """
    lists: list[x509.CertificateRevocationList] = []
    missing: list[x509.Certificate] = []
    reasons: dict[str, list[str]] = {}
    notes: list[str] = []
    due: list[str] = []
    for ca in authorities:
        serving = next((crl for crl in present if is_crl_of(crl, ca)), None)
        offered = fetched.of(ca)
        best, problems = _best(offered, ca, now)
        if not (offered or is_renewable):
            problems += fetched.strangers(authorities)
        problems += fetched.problems if best is None else ()
        if serving is not None and (best is None or best == serving or crls.is_newer(serving, best)):
            if best is not None and best != serving:
                problems.append(f"the one that was fetched ({crls.title(best)}) is older than the one that serves")
            best = serving
        if best is None:
            missing.append(ca)
            notes += problems
            continue
        lists.append(best)
        if best is not serving:
            reasons[name_text(ca.subject)] = ["there is none yet" if serving is None else "its CA has a newer one"]
        elif problems:
            _keep(ca, best, problems, notes, now)
        if is_due(best, now, _DUE):
            due.append(label(ca))
            if not (problems or is_renewable):
                _keep(ca, best, ["Its owner has no newer one."], notes, now)
    return Chosen(tuple(lists), tuple(missing), reasons, tuple(dict.fromkeys(notes)), tuple(due))


def _refuse_missing(chosen: Chosen, path: Path) -> None:
    """Refuse to publish lists of some CAs only. Raises MtlsError."""
    if chosen.missing:
        raise MtlsError(
            f"There is no usable revocation list of {', '.join(map(label, chosen.missing))}. With the lists of some "
            f"CAs only, Envoy refuses every client of the others, so {path} was left as it is. Name where the CA "
            f"publishes its list by crl_url.{_because(chosen.notes)}"
        )


def _revoked_elsewhere(chosen: Chosen, known: Register, now: datetime.datetime) -> list[Entry]:
    """Return the register's lines for our certificates that were revoked at the issuer, or by a killed run."""
    entries: list[Entry] = []
    for crl in chosen.lists:
        for revoked in crl:
            entry = known.find(revoked.serial_number)
            if entry is None or revoked.serial_number in known.revoked:
                continue
            moment = min(revoked.revocation_date_utc, now)
            why = "the revocation list of its issuer has it"
            entries.append({**entry, "event": registers.REVOKED, "time": time_text(moment), "reasons": [why]})
    return entries


@dataclasses.dataclass(frozen=True)
class RenewLists:
    """Have the lists recreated, and publish what comes. ``revoked`` are serial numbers that they must have."""

    path: Path
    sources: tuple[CrlSource, ...]
    authorities: tuple[x509.Certificate, ...]
    present: Lists
    revoked: frozenset[int]
    now: datetime.datetime
    notes: list[str] = dataclasses.field(default_factory=list)

    def apply(self) -> None:
        chosen = self._choose()
        refusals: list[str] = []
        if chosen.due or self.revoked - chosen.serial_numbers:
            for source in self.sources:
                try:
                    source.renew()
                except MtlsError as exc:
                    refusals.append(str(exc))
            chosen = self._choose()
        _refuse_missing(chosen, self.path)
        if absent := self.revoked - chosen.serial_numbers:
            numbers = ", ".join(map(serial_text, sorted(absent)))
            raise MtlsError(
                f"Revoked at the issuer, but not on its revocation list yet, and so still accepted by the gateway: the "
                f"certificates with the serial numbers {numbers}.{_because(refusals)} "
                "Have the issuer renew its list, and run again."
            )
        self.notes.extend(chosen.notes)
        for ca, crl in zip(self.authorities, chosen.lists, strict=True):
            if is_due(crl, self.now, _DUE):
                _keep(ca, crl, refusals or ["its issuer has no newer one"], self.notes, self.now)
        if sorted(map(_der, chosen.lists)) != sorted(map(_der, self.present)):
            write_atomic(self.path, chosen.data, mode=CERTIFICATE_MODE)

    def _choose(self) -> Chosen:
        # Certificates are revoked, and lists made, after the moment of the plan.
        moment = max(self.now, datetime.datetime.now(datetime.UTC))
        return choose(self.authorities, fetch(self.sources), self.present, now=moment, is_renewable=True)


def _der(crl: x509.CertificateRevocationList) -> bytes:
    return crl.public_bytes(Encoding.DER)


def is_due(crl: x509.CertificateRevocationList, now: datetime.datetime, share: int) -> bool:
    """Whether less than one part in ``share`` of a list's lifetime is left."""
    end = crl.next_update_utc
    return end is None or (end - now) * share < end - crl.last_update_utc


def _best(
    offered: t.Sequence[tuple[str, x509.CertificateRevocationList]], ca: x509.Certificate, now: datetime.datetime
) -> tuple[x509.CertificateRevocationList | None, list[str]]:
    """Return the newest list that Envoy can use, and why others cannot be used."""
    best: x509.CertificateRevocationList | None = None
    problems: list[str] = []
    for place, crl in offered:
        try:
            crls.usable([crl], [ca], [], source=place, now=now)
        except MtlsError as exc:
            problems.append(str(exc))
            continue
        if best is None or crls.is_newer(crl, best):
            best = crl
    return best, problems


def _keep(
    ca: x509.Certificate,
    crl: x509.CertificateRevocationList,
    problems: t.Sequence[str],
    notes: list[str],
    now: datetime.datetime,
) -> None:
    """Note that a list goes on serving. Raises MtlsError when its end is near."""
    end = time_text(crl.next_update_utc) if crl.next_update_utc is not None else "no time"
    text = f"The revocation list of {label(ca)} serves until {end} and is not renewed:{_because(problems)}"
    if is_due(crl, now, _NEAR):
        raise MtlsError(f"{text} That is near, and Envoy refuses every client from then on.")
    notes.append(text)


def _because(problems: t.Iterable[str]) -> str:
    return "".join(f" {problem}" for problem in dict.fromkeys(problems))
