# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateway trusts: a file of CA certificates, among them the root of the clients.

It is made once: of the root CA, and while CAs are rotated of both. Further CAs in it are somebody's, and stay.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._pki import renewed
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256, name_text, pem_of

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509


_AGAIN = "to have it made again of the CAs that are there; further CAs that were in it have to be added again."


def read(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the CAs in the bundle; raises MtlsError that says what to do when it is damaged or missing."""
    data = read_bytes(path, what="bundle of CAs")
    try:
        return load.load_certificates(data, source=str(path)).certificates
    except MtlsError as exc:
        raise MtlsError(
            f"What the gateway trusts is damaged: {exc} Remove {path} {_AGAIN} Nothing was changed."
        ) from exc


def is_to_be_made(path: Path, root: x509.Certificate | None, *, root_path: Path) -> bool:
    """Whether there is no bundle yet; ``root`` None is a CA that is still to be made.

    Raises MtlsError when there is one that is damaged or does not hold the root.
    """
    if not path.exists():
        return True
    present = read(path)
    if root is None or not any(renewed.is_same_authority(root, one) for one in present):
        first = present[0]
        raise MtlsError(
            f"{path} trusts {name_text(first.subject)} (SHA-256 {fingerprint_sha256(first)}), but not the root CA of "
            f"the clients in {root_path}. Remove the file {_AGAIN} Nothing was changed."
        )
    return False


def with_renewed(
    path: Path, root: x509.Certificate, now: datetime.datetime
) -> tuple[tuple[x509.Certificate, ...], list[str]]:
    """Give the bundle as it should be, the best certificate of each CA first, and notes; no CAs when it is so."""
    present = read(path)
    wanted, notes = renewed.ordered((*present, root), now)
    return (() if wanted == present else wanted), notes


def words(path: Path, roots: t.Sequence[Path], is_or_would: str, *, is_again: bool) -> str:
    """Say of which CAs the bundle is made, or would be; ``is_again`` where the root has been there before."""
    if not is_again:
        return f"{path} {is_or_would} made of the root CA."
    return f"{path} {is_or_would} made again of {', '.join(map(str, roots))}. Add further CAs that were in it again."


def pem(roots: t.Sequence[Path]) -> bytes:
    """Give the bundle of the CAs in ``roots``; raises MtlsError when one cannot be read."""
    found = [
        one for path in roots for one in load.load_certificates(read_bytes(path), source=str(path)).certificates[:1]
    ]
    return "".join(pem_of(one) for one in dict.fromkeys(found)).encode()
