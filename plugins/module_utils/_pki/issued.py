# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a CA of one side issues: leaves, the chain that the server sends, and the clients' revocation lists.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import types
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import batch, demand, plan
from ansible_collections.kyma.mtls.plugins.module_utils._pki.authority import read_certificate
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register, read_register
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki import revocation, served
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.authority import Authority
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.demand import Demand
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.view import View
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import Wanted
    from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain

_NAME_CONSTRAINTS = "2.5.29.30"  # RFC 5280 section 4.2.1.10


@dataclasses.dataclass
class Issued:
    """What is to be done, or was."""

    leaves: batch.Decided | None = None
    chains: list[tuple[served.Served, chain.Answer]] = dataclasses.field(default_factory=list)
    lists: revocation.Decided | None = None
    list_words: list[str] = dataclasses.field(default_factory=list)
    taken_up: list[str] = dataclasses.field(default_factory=list)
    list_report: dict[str, t.Any] = dataclasses.field(default_factory=lambda: {"revoked": [], "lists": [], "kept": {}})
    stale_chains: list[Path] = dataclasses.field(default_factory=list)

    @property
    def is_change(self) -> bool:
        leaves = self.leaves is not None and (bool(self.leaves.changes) or self.leaves.was_torn)
        return (
            leaves
            or bool(self.stale_chains)
            or bool(self.taken_up)
            or (self.lists is not None and self.lists.is_change)
        )

    @property
    def notes(self) -> list[str]:
        own = self.leaves.notes if self.leaves is not None else []
        return [*self.taken_up, *own, *(warning for _served, answer in self.chains for warning in answer.warnings)]


def decide(
    asked: Demand,
    wanted: t.Sequence[Wanted],
    at: View,
    *,
    now: datetime.datetime,
    is_preparing: bool,
    is_predicted: bool,
    pending: t.Mapping[Path, bytes],
) -> Issued:
    """Compare with what is on disk; with ``is_predicted`` a CA is still to be made. Raises MtlsError.

    ``pending`` are files that will be written before anything is issued.
    """
    made = Issued()
    register = _register(asked, at, made)
    if asked.has_leaves(is_preparing=is_preparing):
        options = _batch_options(asked, at)
        made.leaves = batch.decide(
            options, wanted, register=register, now=now, is_predicted=is_predicted, pending=pending
        )
        if not asked.is_client:
            _decide_chains(asked, at, made, made.leaves, now)
    if asked.has_lists and (register.revoked or asked.revoke):
        about = _list_options(asked, at)
        made.lists = _revocation().decide(about, register, now=now)
        made.list_words = _revocation().words(about, made.lists)
        made.list_report = _revocation().report(about, made.lists)
    return made


def act(asked: Demand, at: View, made: Issued, *, now: datetime.datetime) -> None:
    """Do what was decided. Who is revoked is so before anybody gets a new certificate."""
    if made.lists is not None:
        _revocation().keep(_list_options(asked, at), made.lists)
    if asked.state == demand.REVOKED:
        _act_lists(asked, at, made, now)
    if made.leaves is not None:
        batch.act(_batch_options(asked, at), made.leaves, now=now)
        if not asked.is_client:
            for step in made.leaves.steps:
                if step.is_issue:
                    made.chains.append(_resolve(asked, at, step.wanted, now))
            for one, answer in made.chains:
                if not _served().is_written(one, answer):
                    _served().write(one, answer)
    if asked.state != demand.REVOKED:
        _act_lists(asked, at, made, now)


def _act_lists(asked: Demand, at: View, made: Issued, now: datetime.datetime) -> None:
    if made.lists is not None:
        options = _list_options(asked, at)
        _revocation().act(options, made.lists, now=now)
        made.list_report = _revocation().report(options, made.lists)


def _register(asked: Demand, at: View, made: Issued) -> Register:
    """Read the register, with what a list has and the register has lost."""
    register = read_register(asked.register)
    crl = asked.directory / "ca.crl"
    if asked.register is None or not asked.is_issuing or not crl.exists():
        return register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import recovery  # noqa: PLC0415  (when needed)

    signers = [certificate for certificate, _key in at.authorities]
    missing = recovery.missing_entries(register, recovery.read_lists(crl), signers, asked.directory / "clients")
    if missing:
        register.take_up(missing)
        made.taken_up.append(recovery.words(asked.register, crl, missing))
    return register


def check(asked: Demand, at: View) -> None:
    """Refuse what can never be. Raises MtlsError."""
    if asked.is_client and not 0 < asked.crl_refresh_before < asked.crl_days:
        _revocation().check(_list_options(asked, at))


def refuse_unpermitted(asked: Demand, wanted: t.Sequence[Wanted], at: View, to_make: t.Sequence[Authority]) -> None:
    """Refuse a leaf whose names a CA above it does not permit: whoever checks it would. Raises MtlsError."""
    limits: list[tuple[str, x509.NameConstraints]] = [
        (f"The {one.title}", one.constraints) for one in to_make if one.constraints is not None
    ]
    anchors = () if asked.is_client else (at.anchor,)
    if asked.provided is not None:
        above = [(describe.label(one), one) for one in asked.provided.authorities]
    else:
        paths = dict.fromkeys((at.authority / "ca.crt", at.issuer_path, *anchors))
        above = [(f"in {path}", read_certificate(path)) for path in paths if path.exists()]
    known = ((where, _constraints_of(one)) for where, one in above)
    limits += ((f"The CA {where}", found) for where, found in known if found is not None)
    if not limits:
        return
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import name_constraints  # noqa: PLC0415  (when needed)

    problems = [
        problem
        for title, found in limits
        for one in wanted
        if one.present
        for problem in name_constraints.problems(one, found, title=title, variable=asked.permitted_variable)
    ]
    if problems:
        raise MtlsError(" ".join([*problems, "Nothing was changed."]), problems=problems)


def _constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """Return the name constraints of a CA certificate, or None."""
    return next((one.value for one in certificate.extensions if one.oid.dotted_string == _NAME_CONSTRAINTS), None)


def _decide_chains(asked: Demand, at: View, made: Issued, leaves: batch.Decided, now: datetime.datetime) -> None:
    for step in leaves.steps:
        if step.is_issue:
            _served().refuse_uncovered(step.wanted, asked.hostnames)
        elif step.wanted.present:
            one, answer = _resolve(asked, at, step.wanted, now)
            made.chains.append((one, answer))
            if step.action == plan.NONE and not _served().is_written(one, answer):
                made.stale_chains.append(one.dest)


def _resolve(asked: Demand, at: View, wanted: Wanted, now: datetime.datetime) -> tuple[served.Served, chain.Answer]:
    one: served.Served = _served().Served(
        leaf=wanted.certificate_path,
        between=at.between,
        anchor=at.anchor,
        dest=wanted.chain_path,
        hostnames=asked.hostnames,
        include_root=asked.include_root,
    )
    return one, _served().resolve(one, now=now)


def _batch_options(asked: Demand, at: View) -> batch.Options:
    ends_with_root = not asked.is_client and asked.include_root
    following = at.below_root if asked.is_client else (*at.between, *((at.anchor,) if ends_with_root else ()))
    return batch.Options(
        ca_cert=at.issuer_path,
        ca_key=at.issuer_path.with_suffix(".key"),
        ca_key_passphrase=asked.passphrase,
        ca_chain=following,
        register=asked.register,
        certificates=asked.certificates,
        concurrency=asked.concurrency,
        check_mode=asked.check_mode,
    )


def _list_options(asked: Demand, at: View) -> revocation.Options:
    made: revocation.Options = _revocation().Options(
        register=asked.directory / "issued.jsonl",
        crl=asked.directory / "ca.crl",
        authorities=at.authorities,
        passphrase=asked.passphrase,
        names=asked.revoke,
        clients=asked.directory / "clients",
        keep=asked.directory / "revoked",
        days=asked.crl_days,
        refresh_before=asked.crl_refresh_before,
        check_mode=asked.check_mode,
    )
    return made


# On a target a module's code is compiled anew on every run: what is seldom needed is imported when it is.


def _revocation() -> types.ModuleType:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import revocation  # noqa: PLC0415  (see above)

    return revocation


def _served() -> types.ModuleType:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import served  # noqa: PLC0415  (see above)

    return served
