# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server CA of our own gives way to an external issuer: a rotation with overlap.

The previous CA signs the issuer's root, for the server's names only. Over that cross-certificate, who trusts only the
previous CA accepts what the issuer has issued, until the grace period is over and ``rotation`` retires the previous CA.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import name_constraints, rotation
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import NONE, OVERLAP
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    import datetime

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.external_files import ExternalCa
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

_CHAIN = "server-chain.pem"


def plan(spec: PkiSpec, external: ExternalCa, state: PkiState, *, now: datetime.datetime) -> ExternalCa:
    """Plan that our own CA steps back, and give the files with the chain that both kinds of clients accept.

    Raises MtlsError when the previous CA cannot vouch for the issuer.
    """
    directory = spec.directory
    is_ours = state.exists(directory / "ca.crt") and state.exists(directory / "ca.key")
    if state.phase == NONE and not is_ours:
        return external
    if state.phase == NONE and spec.grace_days == 0:
        rotation.set_aside(spec, state, place="replaced/own-ca", now=now)
        return external
    if state.phase not in {NONE, OVERLAP} or (state.phase == OVERLAP and is_ours and not _was_killed(spec, state)):
        return external  # a rotation of our own CA is under way, which is refused
    source = directory if state.phase == NONE else directory / "previous"
    cross = rotation.vouch(spec, state, external.root, source=source, limits=_limits(external), now=now)
    data = _chain_over(spec, external, state.certificate(source / "ca.crt"), cross, now)
    if is_ours:
        rotation.set_aside(spec, state, place="previous", now=now)
    files = tuple(dataclasses.replace(file, data=data) if file.path.name == _CHAIN else file for file in external.files)
    return dataclasses.replace(external, files=files)


def _was_killed(spec: PkiSpec, state: PkiState) -> bool:
    """Whether our CA is in both places, as a run leaves it that is killed while the CA steps back."""
    return state.read(spec.directory / "ca.crt") == state.read(spec.directory / "previous/ca.crt")


def _limits(external: ExternalCa) -> x509.NameConstraints | None:
    """The names of the server: for no others does the previous CA vouch."""
    names = external.leaves[0][1].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return name_constraints.permitting((), list(names))


def _chain_over(
    spec: PkiSpec, external: ExternalCa, anchor: x509.Certificate, cross: x509.Certificate, now: datetime.datetime
) -> bytes:
    request = chain.ChainRequest(
        leaf_input=(external.leaves[0][1],),
        candidates=(*external.authorities[:-1], cross),
        roots=(anchor,),
        include_root=spec.include_root,
        policy=Policy(now=now.replace(microsecond=0), purpose="server", hostnames=spec.hostnames),
    )
    try:
        return "".join(chain.resolve(request).pem).encode()
    except MtlsError as exc:
        raise MtlsError(
            f"Clients that trust only the current CA would refuse what {external.provider} has issued: {exc} Set "
            "server_pki_rotation_grace_days to 0 to change the issuer without overlap.",
            **exc.details,
        ) from exc
