# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificate policies of a whole path (RFC 5280 sections 6.1.2 to 6.1.5), for a caller to whom any policy is welcome.

Then only one question is left: does the path still have a policy when one of its authorities requires one? The set
of policies that the next certificate may assert answers it; the full tree (see RFC 9618 on its size) is not needed.
"""

from __future__ import annotations

import dataclasses
import typing as t

try:
    from cryptography import x509
    from cryptography.x509.oid import CertificatePoliciesOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert


@dataclasses.dataclass
class _PolicyState:
    explicit_policy: int
    policy_mapping: int
    inhibit_any: int
    expected: set[x509.ObjectIdentifier] = dataclasses.field(default_factory=set)
    any_policy: bool = True

    @property
    def has_policy(self) -> bool:
        return self.any_policy or bool(self.expected)


def problem(path: t.Sequence[Cert]) -> str | None:
    """Why the path (leaf first, anchor last) breaks its policy requirements, as a clause about the anchor; or None."""
    if not any(cert.extension(x509.PolicyConstraints) for cert in path):
        return None  # none is required
    count = len(path)
    state = _PolicyState(explicit_policy=count, policy_mapping=count, inhibit_any=count)
    _tighten(state, path[-1])
    for position in range(count - 2, -1, -1):
        cert, final = path[position], position == 0
        _assert_policies(state, cert, final=final)
        if state.explicit_policy == 0 and not state.has_policy:
            return f"the chain's policy constraints require a certificate policy that {cert.label} does not have"
        if final:
            break
        if not _map_policies(state, cert):
            return f"the policy mappings of {cert.label} map anyPolicy, which RFC 5280 section 6.1.4 forbids"
        if not cert.self_issued:
            state.explicit_policy = max(0, state.explicit_policy - 1)
            state.policy_mapping = max(0, state.policy_mapping - 1)
            state.inhibit_any = max(0, state.inhibit_any - 1)
        _tighten(state, cert)
    constraints = path[0].value(x509.PolicyConstraints)
    is_required = constraints is not None and constraints.require_explicit_policy == 0
    if (is_required or state.explicit_policy <= 1) and not state.has_policy:
        return f"the chain's policy constraints require a certificate policy that {path[0].label} does not have"
    return None


def facts(cert: Cert) -> tuple[t.Hashable, ...]:
    """Return what counts in :func:`problem`: certificates with equal facts can stand for each other there."""
    values = [(extension.oid.dotted_string, extension.value.public_bytes()) for extension in cert.extensions]
    return (cert.self_issued, *sorted(value for value in values if value[0] in _RELEVANT))


# certificatePolicies, policyMappings, policyConstraints, inhibitAnyPolicy
_RELEVANT = frozenset({"2.5.29.32", "2.5.29.33", "2.5.29.36", "2.5.29.54"})


def _assert_policies(state: _PolicyState, cert: Cert, *, final: bool) -> None:
    found = cert.value(x509.CertificatePolicies)
    if found is None:
        state.expected, state.any_policy = set(), False
        return
    asserted = {information.policy_identifier for information in found}
    named = asserted - {CertificatePoliciesOID.ANY_POLICY}
    expected = named if state.any_policy else named & state.expected
    any_counts = CertificatePoliciesOID.ANY_POLICY in asserted and (
        state.inhibit_any > 0 or (not final and cert.self_issued)
    )
    if any_counts:
        expected |= state.expected
    state.expected, state.any_policy = expected, any_counts and state.any_policy


def _map_policies(state: _PolicyState, cert: Cert) -> bool:
    for extension in cert.extensions:
        if extension.oid.dotted_string != "2.5.29.33":
            continue
        mappings = list(_mappings(extension.value))
        if any(CertificatePoliciesOID.ANY_POLICY in pair for pair in mappings):
            return False
        sources = {issuer for issuer, _subject in mappings}
        kept = state.expected - sources
        if state.policy_mapping > 0:
            kept |= {subject for issuer, subject in mappings if issuer in state.expected or state.any_policy}
        state.expected = kept
    return True


def _mappings(value: t.Any) -> t.Iterator[tuple[x509.ObjectIdentifier, x509.ObjectIdentifier]]:
    for mapping in getattr(value, "policy_mappings", ()):  # a class that older releases of cryptography do not have
        yield mapping.issuer_domain_policy, mapping.subject_domain_policy


def _tighten(state: _PolicyState, cert: Cert) -> None:
    constraints = cert.value(x509.PolicyConstraints)
    if constraints is not None:
        if constraints.require_explicit_policy is not None:
            state.explicit_policy = min(state.explicit_policy, constraints.require_explicit_policy)
        if constraints.inhibit_policy_mapping is not None:
            state.policy_mapping = min(state.policy_mapping, constraints.inhibit_policy_mapping)
    inhibit = cert.value(x509.InhibitAnyPolicy)
    if inhibit is not None:
        state.inhibit_any = min(state.inhibit_any, inhibit.skip_certs)
