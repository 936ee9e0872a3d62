# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a PKI to the state that is specified: read what is there, plan, apply.

The plan is made once and as a whole, and whatever cannot be done is refused. Applying it has an order in which a killed
run is completed by the next: a rotation that is under way, the CAs, what the gateway trusts, revocations, certificates,
the chain that the server sends. Check mode shows the plan.

On a target a module's code is compiled anew on every run: what is seldom needed is imported when it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, before_any_change
from ansible_collections.kyma.mtls.plugins.module_utils._pki import certificates, issue, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import authority, trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import issuer
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register, read_register
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PREPARED, PRESENT, REVOKED
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import (
    NONE,
    OVERLAP,
    PkiLayout,
    PkiState,
    exclusive,
    find_layout,
    plan_modes,
    remove_discarded,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec

_NAME_CONSTRAINTS = "2.5.29.30"  # RFC 5280 section 4.2.1.10


@dataclasses.dataclass
class PkiPlan:
    """What a run does to bring ``state`` to ``spec``, in the order of ``state.operations``, and what it reports."""

    spec: PkiSpec
    state: PkiState
    register: Register
    now: datetime.datetime
    issuing: issue.IssueCertificates | None = None
    rotation: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    revocation: dict[str, t.Any] = dataclasses.field(default_factory=lambda: {"revoked": [], "lists": []})

    @property
    def changes(self) -> list[dict[str, t.Any]]:
        return certificates.changes(self.issuing.steps) if self.issuing is not None else []

    @property
    def is_change(self) -> bool:
        is_torn = self.issuing is not None and self.issuing.register.is_torn
        return bool(self.state.actions or self.changes) or is_torn

    @property
    def diff(self) -> tuple[list[str], list[str]]:
        if self.issuing is None:
            return [], []
        return certificates.diff(self.issuing.steps, self.issuing.issuer)

    @property
    def later_notes(self) -> list[str]:
        """What became known when the plan was applied."""
        found = [note for operation in self.state.operations for note in getattr(operation, "notes", ())]
        return [*found, *(getattr(self.issuing.issuer, "notes", ()) if self.issuing is not None else ())]

    @property
    def notes(self) -> list[str]:
        return [*self.state.notes, *(certificates.notes(self.issuing.steps) if self.issuing is not None else ())]


def reconcile(spec: PkiSpec, *, check_mode: bool, now: datetime.datetime) -> dict[str, t.Any]:
    """Bring the PKI to the state that is specified and return the module's result; in check mode only report it.

    Raises MtlsError. What can be found out beforehand is, and then nothing has been changed.
    """
    with _closing(spec):
        return _reconcile(spec, check_mode=check_mode, now=now)


def _reconcile(spec: PkiSpec, *, check_mode: bool, now: datetime.datetime) -> dict[str, t.Any]:
    if check_mode:
        shown = dataclasses.replace(spec, ca_keys=dataclasses.replace(spec.ca_keys, is_signing=False))
        return _report(make_plan(shown, now=now))
    first = None
    if not spec.directory.is_dir():
        first = make_plan(spec, now=now)
        if not first.is_change:
            return _report(first)
        first.state.create_directory()
    with exclusive(spec.directory):
        # What was planned for a directory that was not there holds as long as nobody else has filled it.
        is_current = first is not None and not any(spec.directory.iterdir())
        plan = first if first is not None and is_current else make_plan(spec, now=now)
        # The report is of the plan before it is applied, which repairs the register's torn line, for one.
        report = _report(plan)
        _apply(plan)
        report["notes"] += plan.later_notes
        return report


@contextlib.contextmanager
def _closing(spec: PkiSpec) -> t.Iterator[None]:
    """End a login at an external issuer."""
    try:
        yield
    finally:
        if spec.signer is not None:
            spec.signer.close()


@before_any_change()
def make_plan(spec: PkiSpec, *, now: datetime.datetime) -> PkiPlan:
    """Read what is there and decide what has to be done. Raises MtlsError for whatever cannot be done."""
    state = PkiState(spec.directory, passphrase=spec.passphrase, ca_keys=spec.ca_keys)
    plan_modes(state)
    spec = _resolved(spec, state, now)
    register = read_register(state.register) if spec.keeps_register else Register(None)
    plan = PkiPlan(spec, state, register, now)
    is_preparing = spec.state == PREPARED and not state.exists(state.directory / "previous/ca.crt")
    _plan_supplied(plan)
    if _is_key_elsewhere(plan) and _plan_from_external(plan):
        return plan
    if spec.state != REVOKED and (state.phase != NONE or spec.state not in {PRESENT, PREPARED}):
        _plan_rotation(plan)
    if not spec.is_issuing:
        _plan_external_lists(plan)
        return plan
    layout = _plan_authorities(plan, is_preparing=is_preparing)
    if spec.is_client:
        _plan_revocation(plan, layout)
    if spec.issues_certificates(is_preparing=is_preparing):
        _plan_certificates(plan, layout)
    return plan


def _resolved(spec: PkiSpec, state: PkiState, now: datetime.datetime) -> PkiSpec:
    """Return the spec with the CA that is not created here, read and checked."""
    if spec.provided is None and spec.signer is None:
        return spec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import supplied_ca  # noqa: PLC0415  (most runs do without)

    return supplied_ca.resolve(spec, state, now=now)


def _plan_supplied(plan: PkiPlan) -> None:
    """Plan the files of a CA that is not created here."""
    if (supplied := plan.spec.supplied_ca) is None:
        return
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import supplied_ca  # noqa: PLC0415  (most runs do without)

    if plan.spec.is_external:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import rotation  # noqa: PLC0415  (most runs do without)

        rotation.discard_next(plan.spec, plan.state)
        if not plan.spec.is_client:
            if plan.state.phase == OVERLAP:  # when the previous CA is retired, the chain is another one
                _plan_rotation(plan)
            supplied = rotation.plan_to_external(plan.spec, supplied, plan.state, now=plan.now)
    supplied_ca.plan_supplied_files(plan.spec, supplied, plan.state, plan.register, now=plan.now)


def _plan_from_external(plan: PkiPlan) -> bool:
    """Plan the change from an external issuer to our own CA; return whether what is there stays in use for this run."""
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import rotation  # noqa: PLC0415  (most runs do without)

    waiting = rotation.plan_from_external(plan.spec, plan.state, now=plan.now)
    plan.rotation = waiting or {}
    return waiting is not None


def _plan_external_lists(plan: PkiPlan) -> None:
    """Plan the revocation lists where no CA issues."""
    if plan.spec.crl_sources:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import external_crl  # noqa: PLC0415  (most runs do without)

        trusted = trust_bundle.read_bundle(plan.state)
        lists = external_crl.plan_external_lists(plan.spec, plan.state, trusted, plan.register, now=plan.now)
        plan.revocation["lists"] = lists


def _plan_authorities(plan: PkiPlan, *, is_preparing: bool) -> PkiLayout:
    """Plan the CAs and what the gateway trusts; return where the CA is that issues."""
    spec, state = plan.spec, plan.state
    if spec.state == PRESENT or is_preparing:
        authority.plan_authorities(spec, state, is_preparing=is_preparing, now=plan.now)
    layout = find_layout(spec, state, is_preparing=is_preparing)
    if spec.state == PRESENT and spec.is_client:
        trust_bundle.plan_bundle(state, layout.authority / "ca.crt", roots=layout.roots, now=plan.now)
    if is_preparing:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import rotation  # noqa: PLC0415  (most runs do without)

        rotation.plan_next(spec, state, now=plan.now)
    return layout


def _is_key_elsewhere(plan: PkiPlan) -> bool:
    """Whether a CA of our own is specified, and the key of the root CA that is there is none of ours."""
    state = plan.state
    is_ours = state.ca_keys.of("ca") is not None or state.exists(state.directory / "ca.key")
    return plan.spec.supplied_ca is None and not is_ours and state.exists(state.directory / "ca.crt")


def _plan_rotation(plan: PkiPlan) -> None:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import rotation  # noqa: PLC0415  (most runs do without)

    plan.rotation = rotation.plan_rotation(plan.spec, plan.state, plan.register, now=plan.now)


def _plan_revocation(plan: PkiPlan, layout: PkiLayout) -> None:
    spec, state, register = plan.spec, plan.state, plan.register
    is_possible = 0 < spec.crl_refresh_before < spec.crl_days
    if is_possible and not (state.exists(state.crl) or register.revoked or spec.revoke or spec.crl_sources):
        return
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import revocation  # noqa: PLC0415  (most runs do without)

    revocation.refuse_days(spec)
    if state.exists(state.crl):
        revocation.recover(state, layout, register)
    if spec.keeps_crls and (register.revoked or spec.revoke or spec.crl_sources):
        plan.revocation = revocation.plan_revocation(spec, state, layout, register, now=plan.now)


def _plan_certificates(plan: PkiPlan, layout: PkiLayout) -> None:
    spec, state = plan.spec, plan.state
    _refuse_unpermitted(spec, state, layout)
    ends_with_root = not spec.is_client and spec.include_root
    following = (
        layout.below_root if spec.is_client else (*layout.between, *((layout.anchor,) if ends_with_root else ()))
    )
    local = issuer.read(state, layout.issuer_path, chain_paths=following)
    ca: issuer.Issuer = local
    if spec.signer is not None:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import request_issuer  # noqa: PLC0415  (most runs do without)

        ca = request_issuer.RequestIssuer(local, spec.signer)
    steps = certificates.plan(spec.certificates, issuer=ca, register=plan.register, now=plan.now)
    plan.issuing = issue.IssueCertificates(steps, ca, plan.register, spec.concurrency, plan.now, spec.provider)
    state.operations.append(plan.issuing)
    if not spec.is_client:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki import server_chain  # noqa: PLC0415  (most runs do without)

        server_chain.plan_chains(spec, state, layout, plan.issuing, now=plan.now)


def _refuse_unpermitted(spec: PkiSpec, state: PkiState, layout: PkiLayout) -> None:
    """Refuse a certificate whose names a CA above it does not permit: whoever checks it would. Raises MtlsError."""
    if spec.supplied_ca is not None:
        above = [(describe.label(ca), ca) for ca in spec.supplied_ca.authorities]
    else:
        anchors = () if spec.is_client else (layout.anchor,)
        paths = dict.fromkeys((layout.authority / "ca.crt", layout.issuer_path, *anchors))
        above = [(f"in {path}", state.certificate(path)) for path in paths if state.exists(path)]
    limits = [(f"The CA {name}", found) for name, ca in above if (found := _constraints_of(ca)) is not None]
    if not limits:
        return
    problems = [
        problem
        for title, found in limits
        for certificate in spec.certificates
        if certificate.is_present
        for problem in profile.unpermitted(certificate, found, title=title)
    ]
    if problems:
        raise MtlsError(" ".join(problems), problems=problems)


def _constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    return next(
        (extension.value for extension in certificate.extensions if extension.oid.dotted_string == _NAME_CONSTRAINTS),
        None,
    )


def _apply(plan: PkiPlan) -> None:
    """Do what was planned, after what a killed run was about to discard is gone."""
    if plan.issuing is not None:
        plan.issuing.begin()
    remove_discarded(plan.state.directory)
    for operation in plan.state.operations:
        operation.apply()


def _report(plan: PkiPlan) -> dict[str, t.Any]:
    """Give the module's result."""
    before, after = plan.diff
    supplied = plan.spec.supplied_ca
    header = f"{plan.spec.usage} PKI in {plan.state.directory}"
    return {
        "changed": plan.is_change,
        "actions": list(plan.state.actions),
        "changes": plan.changes,
        **plan.rotation,
        **plan.revocation,
        "phase": plan.state.phase,
        **_kept(plan.spec, plan.state),
        "diff": {
            "before_header": header,
            "after_header": header,
            "before": "".join(f"{line}\n" for line in before),
            "after": "".join(f"{line}\n" for line in (*plan.state.actions, *after)),
        },
        "notes": [*(supplied.notes if supplied is not None else ()), *plan.notes],
    }


def _kept(spec: PkiSpec, state: PkiState) -> dict[str, t.Any]:
    """What is, or will be, kept of revoked clients."""
    if not spec.revoke:
        return {"kept": {}}
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import revocation  # noqa: PLC0415  (most runs do without)

    return {"kept": revocation.kept(spec, state)}
