# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chain that a server sends: built and verified by the path builder, and then written.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, read_bytes, write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, load, names
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.wanted import Wanted


@dataclasses.dataclass(frozen=True)
class Served:
    """What a chain is made of, where it is written, and the names that it has to be valid for."""

    leaf: Path
    between: tuple[Path, ...]
    anchor: Path
    dest: Path
    hostnames: tuple[str, ...]
    include_root: bool


def resolve(served: Served, *, now: datetime.datetime) -> chain.Answer:
    """Build and verify the chain for a client that trusts the anchor. Raises MtlsError when there is none."""
    return chain.resolve(
        chain.Request(
            leaf_input=_load(served.leaf),
            candidates=tuple(one for path in served.between for one in _load(path)),
            roots=_load(served.anchor),
            include_root=served.include_root,
            policy=Policy(now=now.replace(microsecond=0), purpose="server", hostnames=served.hostnames),
        )
    )


def is_written(served: Served, answer: chain.Answer) -> bool:
    """Whether the file holds the chain already."""
    return served.dest.exists() and read_bytes(served.dest, what="served chain") == _pem(answer)


def write(served: Served, answer: chain.Answer) -> None:
    """Write the chain."""
    write_atomic(served.dest, _pem(answer), mode=CERTIFICATE_MODE)


def refuse_uncovered(wanted: Wanted, hostnames: t.Sequence[str]) -> None:
    """Raise MtlsError when a certificate that is still to be issued would not be valid for one of ``hostnames``."""
    for host in hostnames:
        if not names.host_matches(wanted.sans, host):
            raise MtlsError(
                f"Certificate {wanted.name} would not be valid for {host!r}: its sans do not cover that name. Add it "
                "to the sans, or take it from the hostnames. Nothing was changed."
            )


def _pem(answer: chain.Answer) -> bytes:
    return "".join(answer.pem).encode()


def _load(path: Path) -> tuple[x509.Certificate, ...]:
    return load.load_certificates(read_bytes(path, what="certificate"), source=str(path)).certificates
