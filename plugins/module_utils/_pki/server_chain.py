# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chain that a server sends: built and verified by the path builder, and then written."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._pki import certificates, keys
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import datetime

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issue import IssueCertificates
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.issuer import Issuer
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiLayout, PkiState


@dataclasses.dataclass(frozen=True)
class WriteServerChain:
    """Write the chain of the certificate that has just been issued by ``issuing``."""

    name: str
    path: Path
    request: chain.ChainRequest
    issuing: IssueCertificates

    def apply(self) -> None:
        leaf = self.issuing.issued[self.name]
        answer = chain.resolve(dataclasses.replace(self.request, leaf_input=(leaf,)))
        write_atomic(self.path, "".join(answer.pem).encode(), mode=CERTIFICATE_MODE)


def plan_chains(
    spec: PkiSpec,
    state: PkiState,
    layout: PkiLayout,
    issuing: IssueCertificates,
    *,
    now: datetime.datetime,
) -> None:
    """Plan the chain of every certificate. Raises MtlsError when there is no valid one.

    The chain of a certificate that is still to be issued is checked with a throw-away key, before anything is written.
    Where an external issuer would have to sign that too, the certificate itself is checked before it is written.
    """
    between = tuple(certificate for path in layout.between for certificate in state.certificates(path))
    roots = state.certificates(layout.anchor)
    policy = Policy(now=now.replace(microsecond=0), purpose="server", hostnames=spec.hostnames)
    for step in issuing.steps:
        if not step.spec.is_present:
            continue
        path = step.spec.chain_path
        if step.is_issue and not issuing.issuer.is_signing:
            continue  # without a signature there is no chain to prove
        leaf = _throw_away(step, issuing.issuer, now) if step.is_issue else step.certificate
        request = chain.ChainRequest(
            leaf_input=() if leaf is None else (leaf,),
            candidates=between,
            roots=roots,
            include_root=spec.include_root,
            policy=policy,
        )
        if leaf is None:
            issuing.chain_checks[step.spec.name] = request
        if step.is_issue:
            if leaf is not None:
                chain.resolve(request)
            state.operations.append(WriteServerChain(step.spec.name, path, request, issuing))
            continue
        answer = chain.resolve(request)
        state.notes += answer.warnings
        data = "".join(answer.pem).encode()
        if state.read(path) != data:
            if step.action == certificates.NONE:
                state.actions.append(f"Rewrite {path} with the valid chain.")
            state.write(path, data)


def _throw_away(step: certificates.CertificateStep, issuer: Issuer, now: datetime.datetime) -> x509.Certificate | None:
    if issuer.is_external:
        return None
    key = keys.generate(keys.KeySpec("ECDSA", curve="P-256"))
    try:
        return issuer.submit(step.spec, key, serial_number=x509.random_serial_number(), now=now)()
    except ValueError as exc:
        raise MtlsError(f"Certificate {step.spec.name} cannot be issued: {exc}.") from exc
