# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates as trust stores know them: by their bytes.

Nothing in them is looked at, so the standard library will do.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import re
import ssl
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes

if t.TYPE_CHECKING:
    from pathlib import Path

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate in DER."""

    der: bytes

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint in lower-case hexadecimal digits."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pem(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(self.der).encode()


def parse(data: bytes) -> tuple[Certificate, ...]:
    """Give the certificates in PEM that are in ``data``. Raises ValueError for a damaged one."""
    try:
        return tuple(Certificate(ssl.PEM_cert_to_DER_cert(one.decode("ascii"))) for one in _PEM.findall(data))
    except binascii.Error as exc:
        raise ValueError(str(exc)) from exc


def read(path: Path) -> tuple[Certificate, ...]:
    """Give the certificates in the file ``path``. Raises MtlsError when there are none."""
    try:
        found = parse(read_bytes(path, what="certificate"))
    except ValueError as exc:
        raise MtlsError(f"The certificate {path} is damaged: {exc}.", path=str(path)) from exc
    if not found:
        raise MtlsError(f"The file {path} holds no certificate in PEM.", path=str(path))
    return found


def read_content(content: str) -> tuple[Certificate, ...]:
    """Give the certificates in PEM that are in ``content``. Raises MtlsError when there are none."""
    try:
        found = parse(content.encode())
    except ValueError as exc:
        raise MtlsError(f"A certificate in content is damaged: {exc}.") from exc
    if not found:
        raise MtlsError("There is no certificate in PEM in content.")
    return found


def label(fingerprint: str) -> str:
    """Give the name under which a certificate with this fingerprint is in a store: only ours are called so."""
    return f"kyma-mtls-{fingerprint[:16]}"
