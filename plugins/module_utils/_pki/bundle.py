# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateway trusts: a file of CA certificates, among them the root of the clients.

It is made of the root CA once. Further CAs in it are somebody's, and stay: while CAs are rotated there are two.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256, name_text

if t.TYPE_CHECKING:
    from cryptography import x509


def is_to_be_made(path: Path, root: x509.Certificate | None, *, root_path: Path) -> bool:
    """Whether there is no bundle yet; ``root`` None is a CA that is still to be made.

    Raises MtlsError when there is one that is damaged or does not hold the root.
    """
    if not path.exists():
        return True
    try:
        present = load.load_certificates(read_bytes(path, what="bundle of CAs"), source=str(path)).certificates
    except MtlsError as exc:
        raise MtlsError(
            f"What the gateway trusts is damaged: {exc} Remove {path} to have it made of the root CA again. "
            "Nothing was changed."
        ) from exc
    if root not in present:
        first = present[0]
        raise MtlsError(
            f"{path} trusts {name_text(first.subject)} (SHA-256 {fingerprint_sha256(first)}), but not the root CA of "
            f"the clients in {root_path}. Remove the file to have it made of the root CA again. Nothing was changed."
        )
    return False
