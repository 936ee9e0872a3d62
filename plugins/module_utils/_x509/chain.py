# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a request in a user's words to a finished chain: which input is the leaf, what fits it, what to report."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import der, describe, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import build
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import as_cert

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

MAX_REPORTED = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChainRequest:
    """What the chain is made from: certificates as they were loaded, the leaf somewhere in its own input."""

    leaf_input: tuple[x509.Certificate, ...]
    candidates: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]
    policy: Policy
    private_key: PrivateKeyTypes | None = None
    include_root: bool = True
    min_remaining: int | None = None
    min_remaining_fails: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolvedChain:
    """A valid chain: ``served`` is what a server sends, ``path`` goes on to the trust anchor."""

    served: tuple[x509.Certificate, ...]
    path: tuple[x509.Certificate, ...]
    rejected: tuple[build.Rejected, ...]
    warnings: tuple[str, ...]
    now: datetime.datetime

    @property
    def pem(self) -> list[str]:
        return [describe.pem_of(certificate) for certificate in self.served]

    @property
    def expires(self) -> datetime.datetime:
        return min(certificate.not_valid_after_utc for certificate in self.path)

    def as_result(self) -> dict[str, t.Any]:
        """Return the values of the module."""
        pem = self.pem
        return {
            "chain": pem,
            "complete_chain": "".join(pem),
            "certificates": [describe.describe_certificate(certificate, now=self.now) for certificate in self.path],
            "root": describe.pem_of(self.path[-1]),
            "expires": describe.time_text(self.expires),
            "rejected": rejected_result(self.rejected),
        }


def rejected_result(rejected: t.Sequence[build.Rejected]) -> list[dict[str, str]]:
    """Return the first :data:`MAX_REPORTED` rejected candidates as data; a flood of them has few names."""
    texts: dict[bytes, str] = {}
    found = []
    for rejection in rejected[:MAX_REPORTED]:
        data = describe.der_of(rejection.certificate)
        try:
            parts = der.certificate_parts(data)
        except ValueError:
            subject, issuer = describe.subject_text(rejection.certificate), describe.issuer_text(rejection.certificate)
        else:
            subject = texts.get(parts.subject) or describe.subject_text(rejection.certificate)
            issuer = texts.get(parts.issuer) or describe.issuer_text(rejection.certificate)
            texts.update({parts.subject: subject, parts.issuer: issuer})
        found.append(
            {
                "subject": subject,
                "issuer": issuer,
                "fingerprint_sha256": hashlib.sha256(data).hexdigest(),
                "reason": rejection.reason,
            }
        )
    return found


def resolve(request: ChainRequest) -> ResolvedChain:
    """Build the chain that was asked for; raises MtlsError, with ``rejected`` in its details, when there is none."""
    if not request.roots:
        raise MtlsError("There is no root to end a chain in: the roots hold no certificate.")
    leaf = pick_leaf(request.leaf_input, request.private_key)
    others = tuple(certificate for certificate in request.leaf_input if certificate != leaf)
    outcome = build.build(leaf, candidates=(*request.candidates, *others), roots=request.roots, policy=request.policy)
    if not outcome.chain:
        raise MtlsError(
            outcome.problem,
            rejected=rejected_result(outcome.rejected),
            stopped_by_limit=outcome.stopped_by or None,
        )
    path = outcome.chain
    served = path if request.include_root or len(path) == 1 else path[:-1]
    warnings = [*outcome.warnings, *_input_remarks(request.leaf_input, path)]
    if len(outcome.rejected) > MAX_REPORTED:
        warnings.append(f"{len(outcome.rejected)} candidates were rejected; the first {MAX_REPORTED} are reported.")
    answer = ResolvedChain(
        served=served,
        path=path,
        rejected=outcome.rejected,
        warnings=tuple(warnings),
        now=request.policy.now,
    )
    return _with_remaining_checked(answer, request)


def pick_leaf(certificates: tuple[x509.Certificate, ...], private_key: PrivateKeyTypes | None) -> x509.Certificate:
    """Return the end-entity certificate among ``certificates``, in whatever order they are.

    It is the one that the private key fits; without a key, the only one that issued none of the others.
    """
    if not certificates:
        raise MtlsError("The leaf input holds no certificate.")
    if private_key is not None:
        fitting = [certificate for certificate in certificates if load.key_matches(certificate, private_key)]
        if not fitting:
            raise MtlsError(
                f"The private key does not belong to {_list(certificates)}: the public keys differ. "
                "Give the key that was made for this certificate."
            )
        certificates = tuple(fitting)
    if len(certificates) == 1:
        return certificates[0]
    ends = _ends(certificates)
    if len(ends) == 1:
        return ends[0]
    raise MtlsError(
        f"The leaf input holds {len(ends) or len(certificates)} certificates that may be the leaf: "
        f"{_list(ends or certificates)}. Give one of them, or its private key."
    )


def _ends(certificates: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
    views = [cert for cert in map(as_cert, certificates) if not isinstance(cert, str)]
    issuing = {cert.issuer for cert in views if not cert.self_issued}
    ends = [cert for cert in views if cert.subject not in issuing]
    ends = [cert for cert in ends if not cert.is_ca] or ends
    return tuple(cert.certificate for cert in ends)


def _list(certificates: t.Sequence[x509.Certificate]) -> str:
    shown = [describe.label(certificate) for certificate in certificates[:5]]
    return ", ".join(shown) + (" ..." if len(certificates) > len(shown) else "")


def _input_remarks(leaf_input: tuple[x509.Certificate, ...], path: tuple[x509.Certificate, ...]) -> list[str]:
    """What was put right in an input that came as a chain already."""
    strangers = [certificate for certificate in leaf_input if certificate not in path]
    remarks = []
    if strangers:
        remarks.append(f"The leaf input holds certificates that do not belong to the chain: {_list(strangers)}.")
    own = [certificate for certificate in leaf_input if certificate in path]
    if own != sorted(own, key=path.index):
        remarks.append("The certificates of the leaf input are not in the order of the chain; the chain is sorted.")
    return remarks


def _with_remaining_checked(answer: ResolvedChain, request: ChainRequest) -> ResolvedChain:
    if request.min_remaining is None:
        return answer
    first = min(answer.path, key=lambda certificate: certificate.not_valid_after_utc)
    left = describe.days_left(first, now=answer.now)
    if left >= request.min_remaining:
        return answer
    text = (
        f"The chain expires in {left} days, at {describe.time_text(answer.expires)}, with {describe.label(first)}; "
        f"at least {request.min_remaining} days are required. Renew that certificate."
    )
    if request.min_remaining_fails:
        raise MtlsError(text, expires=describe.time_text(answer.expires), rejected=rejected_result(answer.rejected))
    return dataclasses.replace(answer, warnings=(*answer.warnings, text))
