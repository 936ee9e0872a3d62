# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client's directory as one encrypted file: a zip archive with AES-256 (AE-2).

7-Zip, WinZip, Keka and bsdtar open it; the password is typed there and not an argument.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import io
import typing as t
import zlib

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

# The format stretches a password by 1,000 rounds only, so the password has to be a good one.
MINIMUM_PASSWORD = 12
_REGULAR_FILE = 0o100000


def check_password(name: str, password: str) -> None:
    """Raise MtlsError when ``password`` is too short for what it protects."""
    if len(password) < MINIMUM_PASSWORD:
        raise MtlsError(
            f"The password of the archive of {name} has {len(password)} characters, but a file with a private key "
            f"in it that is sent around needs {MINIMUM_PASSWORD} or more. Choose a longer one."
        )


def build(files: t.Mapping[str, tuple[bytes, int]], *, password: str) -> bytes:
    """Encode ``files``, which maps a name in the archive to content and mode."""
    pyzipper = _library()
    buffer = io.BytesIO()
    with pyzipper.AESZipFile(buffer, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(password.encode())
        for name, (content, mode) in files.items():
            entry = archive.zipinfo_cls(name)
            entry.compress_type = pyzipper.ZIP_DEFLATED
            entry.external_attr = (_REGULAR_FILE | mode) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def holds(data: bytes, files: t.Mapping[str, tuple[bytes, int]], *, password: str) -> bool:
    """Whether ``data`` is an encrypted archive of exactly ``files`` under ``password``."""
    pyzipper = _library()
    try:
        with pyzipper.AESZipFile(io.BytesIO(data)) as archive:
            archive.setpassword(password.encode())
            entries = archive.infolist()
            if not all(entry.is_encrypted for entry in entries):
                return False
            found = {entry.filename: (archive.read(entry), entry.external_attr >> 16 & 0o7777) for entry in entries}
    except (pyzipper.BadZipFile, RuntimeError, ValueError, NotImplementedError, zlib.error, EOFError):
        return False  # not ours any more: another password, or damaged
    return found == dict(files)


def _library() -> t.Any:
    try:
        import pyzipper  # noqa: PLC0415  (needed for archives only, which few ask for)
    except ImportError as exc:
        raise MtlsError(
            "Encrypted archives need the Python library pyzipper on the target host. Install it there, or ask for none."
        ) from exc
    return pyzipper
