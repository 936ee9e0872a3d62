# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One side of a PKI, the server's or the clients', brought to the wanted state in one run.

First everything is decided, and whatever cannot be done is refused; then it is done, in an order in which a killed run
is completed by the next: a rotation that is under way, the CAs, what the gateway trusts, the leaves, the chain that the
server sends, the revocation lists.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    ensure_directory,
    read_bytes,
    sweep,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import (
    authority,
    bundle,
    demand,
    execute,
    issued,
    permissions,
    rotation,
    view,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuer import read_issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import parse_all
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import pem_of

if t.TYPE_CHECKING:
    import datetime
    from pathlib import Path

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki import placement
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.demand import Demand

_SWEPT = (
    *("ca.key", "ca.crt", "intermediate.key", "intermediate.crt", "intermediate-chain.pem", "cross.crt"),
    *("ca-bundle.crt", "ca.crl", rotation.SWITCHED_AT),
)
_INTERRUPTED = (demand.FINISHED, rotation.SWITCHING)
# In which phase a step of the rotation has something to do.


@dataclasses.dataclass
class _Plan:
    """What a run does. ``actions`` are words for all but what is issued, which has its own.

    ``rotated`` and ``prepared`` are words for steps of the CA's rotation, before and after all of these: what they
    would do, and when they have been taken, what they did.
    """

    view: view.View
    rotated: list[str]
    facts: dict[str, t.Any]
    actions: list[str] = dataclasses.field(default_factory=list)
    prepared: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    to_make: tuple[authority.Authority, ...] = ()
    is_bundle_missing: bool = False
    bundle: tuple[x509.Certificate, ...] = ()  # as it is to be written anew
    loosened: tuple[permissions.Loosened, ...] = ()
    placed: placement.Decided | None = None
    issued: issued.Issued = dataclasses.field(default_factory=issued.Issued)

    @property
    def pending(self) -> dict[Path, bytes]:
        """The files of what is provided that are still to be written."""
        return {file.path: file.data for file in self.placed.files} if self.placed is not None else {}

    @property
    def is_placing(self) -> bool:
        return self.placed is not None and bool(self.placed.files)


def run(asked: Demand, *, now: datetime.datetime) -> dict[str, t.Any]:
    """Bring the side to the state that is asked for and return the module's result; in check mode only say it.

    Raises MtlsError. What can be found out beforehand is, and then nothing has been changed.
    """
    side = _Side(asked, now)
    if not asked.directory.is_dir():
        made = side.decide()
        if asked.check_mode:
            return side.report(made)
        ensure_directory(asked.directory)
    with contextlib.nullcontext() if asked.check_mode else execute.exclusive(asked.directory):
        made = side.decide()
        if not asked.check_mode:
            side.act(made)
        return side.report(made)


class _Side:
    def __init__(self, asked: Demand, now: datetime.datetime) -> None:
        self._asked = asked
        self._now = now
        if asked.concurrency is not None and asked.concurrency < 1:
            raise MtlsError(f"concurrency is {asked.concurrency}, but must be 1 or more.")
        self._wanted = parse_all(asked.certificates, now=now)
        issued.check(asked, self._view(rotation.NONE, is_finished=True))

    @property
    def _is_preparing(self) -> bool:
        """Whether a next CA is made: not while the one before is still accepted, or has only now been retired."""
        return self._asked.state == demand.PREPARED and not (self._asked.directory / "previous" / "ca.crt").exists()

    def _view(self, phase: str, *, is_finished: bool, is_preparing: bool = False) -> view.View:
        asked = self._asked
        if is_preparing or (asked.state == demand.SWITCHED and phase == rotation.PREPARED):
            return view.upcoming(asked.directory, asked.issuer)
        return view.current(asked.directory, asked.issuer, phase=phase, is_finished=is_finished)

    def decide(self) -> _Plan:
        """Compare with what is on disk. Raises MtlsError for whatever cannot be done."""
        asked, is_preparing = self._asked, self._is_preparing
        phase = rotation.phase(asked.directory)
        rotated, facts = self._rotate(phase, check_mode=True)
        is_finished = bool(facts.get("is_finished"))
        made = _Plan(self._view(phase, is_finished=is_finished, is_preparing=is_preparing), rotated, facts)
        made.loosened = permissions.survey(asked.directory)
        loosened = permissions.words(asked.directory, made.loosened, asked.is_or_would)
        made.actions += loosened
        made.notes += loosened
        if asked.provided is not None:
            self._decide_provided(made, asked.provided, phase)
        if asked.is_issuing and (asked.state == demand.PRESENT or is_preparing):
            self._decide_authorities(made, is_preparing=is_preparing)
        if asked.is_issuing and asked.state == demand.PRESENT and asked.is_client:
            self._decide_bundle(made)
        if is_preparing:
            self._decide_next(made)
        is_predicted = bool(made.to_make) or made.is_placing or is_preparing
        self._decide_issued(made, is_preparing=is_preparing, is_predicted=is_predicted)
        return made

    def _decide_provided(self, made: _Plan, provided: placement.Placement, phase: str) -> None:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki import placement  # noqa: PLC0415  (when needed)

        asked = self._asked
        if phase != rotation.NONE:
            raise MtlsError(
                f"A rotation of the CA in {asked.directory} is under way, so nothing can be provided there. End the "
                "rotation first. Nothing was changed."
            )
        made.placed = placement.decide(provided, is_or_would=asked.is_or_would, now=self._now)
        made.actions += made.placed.words
        made.notes += made.placed.notes

    def _rotate(self, phase: str, *, check_mode: bool) -> tuple[list[str], dict[str, t.Any]]:
        """Take the step of the CA's rotation that comes before everything else; in check mode say what it would be."""
        asked = self._asked
        if asked.state == demand.REVOKED:
            return [], {}
        if asked.state in {demand.PRESENT, demand.PREPARED} or (asked.state, phase) == _INTERRUPTED:
            return rotation.resume(asked.rotation(demand.FINISHED, check_mode=check_mode), now=self._now)
        result = rotation.take_step(asked.rotation(asked.state, check_mode=check_mode), now=self._now)
        return result["actions"], {one: result[one] for one in ("is_finished", "until", "left_behind") if one in result}

    def _decide_authorities(self, made: _Plan, *, is_preparing: bool) -> None:
        asked, place = self._asked, made.view.authority
        wanted = [
            dataclasses.replace(one, title=f"next {one.title}") if is_preparing else one for one in asked.authorities
        ]
        found = [authority.look(one, place, passphrase=asked.passphrase, pending=made.pending) for one in wanted]
        others = view.made_with_root(asked.usage, place, is_next=place != asked.directory)
        if asked.provided is not None:
            others = ()  # the certificate is not lost: it is provided
        problems = [
            problem
            for one, seen in zip(wanted, found, strict=True)
            for problem in authority.problems(
                one, seen, place, made_with_it=others if one.is_root else (), now=self._now
            )
        ]
        if asked.provided is None:
            problems = problems or authority.lacking_keys(wanted, found, place)
            problems = problems or authority.unlinked(wanted, found, place, between=place / "intermediate-chain.pem")
        if problems:
            raise MtlsError(" ".join(problems), problems=problems)
        for one, seen in zip(wanted, found, strict=True):
            made.notes += authority.unprotected(one, seen, place, passphrase=asked.passphrase)
        if asked.provided is not None:
            return
        made.to_make = tuple(one for one, seen in zip(wanted, found, strict=True) if seen.certificate is None)
        where = asked.directory / "next" if is_preparing else asked.directory
        made.actions += [authority.words(one, where, asked.is_or_would) for one in made.to_make]

    def _decide_bundle(self, made: _Plan) -> None:
        asked, root_path = self._asked, made.view.authority / "ca.crt"
        if asked.provided is not None:
            root: x509.Certificate | None = asked.provided.root
        else:
            root = None if any(one.is_root for one in made.to_make) else authority.read_certificate(root_path)
        made.is_bundle_missing = bundle.is_to_be_made(asked.bundle, root, root_path=root_path)
        if not made.is_bundle_missing and root is not None:
            made.bundle, notes = bundle.with_renewed(asked.bundle, root, self._now)
            made.notes += notes if asked.provided is None else []
            if made.bundle:
                made.actions.append(
                    f"{asked.bundle} {asked.is_or_would} written anew: of CA certificates with one name and key, the "
                    "one that ends last comes first."
                )
        if made.is_bundle_missing:
            is_again = root_path.exists()
            made.actions.append(bundle.words(asked.bundle, made.view.roots, asked.is_or_would, is_again=is_again))

    def _decide_next(self, made: _Plan) -> None:
        """Refuse a rotation that could not be begun, before the next CA is made."""
        asked = self._asked
        old = asked.directory / "ca.crt"
        if not made.to_make:
            step = asked.rotation(demand.PREPARED, check_mode=True)
            made.prepared = rotation.take_step(step, now=self._now)["actions"]
            return
        made.actions.append(f"The next CA {asked.is_or_would} accepted beside the CA in use.")
        if asked.is_client:
            read_bytes(asked.bundle, what="bundle of CAs")
        else:
            issuer = read_issuer(old, old.with_suffix(".key"), passphrase=asked.passphrase, chain_paths=())
            issuer.require_can_sign(now=self._now, example="of the next CA, for those who trust the CA in use,")

    def _decide_issued(self, made: _Plan, *, is_preparing: bool, is_predicted: bool) -> None:
        if self._asked.has_leaves(is_preparing=is_preparing):
            issued.refuse_unpermitted(self._asked, self._wanted, made.view, made.to_make)
        made.issued = issued.decide(
            self._asked,
            self._wanted,
            made.view,
            now=self._now,
            is_preparing=is_preparing,
            is_predicted=is_predicted,
            pending=made.pending if is_predicted else {},
        )

    def act(self, made: _Plan) -> None:
        """Do what was decided."""
        asked, is_preparing = self._asked, self._is_preparing
        permissions.correct(made.loosened)
        for place in (asked.directory, asked.directory / "next", asked.directory / "previous"):
            if place.is_dir():
                sweep(place, _SWEPT)
        if made.placed is not None and asked.provided is not None:
            from ansible_collections.kyma.mtls.plugins.module_utils._pki import placement  # noqa: PLC0415  (when needed)

            placement.act(asked.provided, made.placed)
        made.rotated, facts = self._rotate(rotation.phase(asked.directory), check_mode=False)
        place = asked.directory / "next" if is_preparing else asked.directory
        for one in made.to_make:
            ensure_directory(place)
            authority.make(one, place, passphrase=asked.passphrase, now=self._now)
        if is_preparing:
            step = asked.rotation(demand.PREPARED, check_mode=False)
            made.prepared = rotation.take_step(step, now=self._now)["actions"]
        if made.bundle:
            write_atomic(asked.bundle, "".join(map(pem_of, made.bundle)).encode(), mode=CERTIFICATE_MODE)
        if made.is_bundle_missing:
            roots = self._view(rotation.phase(asked.directory), is_finished=False).roots
            write_atomic(asked.bundle, bundle.pem(roots), mode=CERTIFICATE_MODE)
        if made.rotated or made.to_make or made.is_placing or is_preparing:
            # The files are elsewhere now, or are there only now.
            made.view = self._view(rotation.phase(asked.directory), is_finished=False, is_preparing=is_preparing)
            made.facts = facts
            self._decide_issued(made, is_preparing=is_preparing, is_predicted=False)
        issued.act(asked, made.view, made.issued, now=self._now)

    def report(self, made: _Plan) -> dict[str, t.Any]:
        """Give the module's result."""
        asked, leaves = self._asked, made.issued.leaves
        before, after = leaves.diff() if leaves is not None else ([], [])
        chains = [f"{path} {asked.is_or_would} written anew with the valid chain." for path in made.issued.stale_chains]
        taken_up, lists = made.issued.taken_up, made.issued.list_words
        actions = [*made.rotated, *made.actions, *made.prepared, *chains, *taken_up, *lists]
        return {
            "changed": bool(actions) or made.issued.is_change,
            "actions": actions,
            "changes": leaves.changes if leaves is not None else [],
            "phase": rotation.phase(asked.directory),
            **made.facts,
            **made.issued.list_report,
            "diff": {
                "before_header": f"{asked.usage} side in {asked.directory}",
                "after_header": f"{asked.usage} side in {asked.directory}",
                "before": "".join(f"{line}\n" for line in before),
                "after": "".join(f"{line}\n" for line in (*actions, *after)),
            },
            "notes": [*(asked.provided.notes if asked.provided is not None else ()), *made.notes, *made.issued.notes],
        }
