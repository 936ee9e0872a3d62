# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kubeconfig of one cluster, in a file of its own.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    KEY_MODE,
    ensure_directory,
    read_bytes,
    write_atomic,
)

# Names of clusters, contexts and users, in YAML or JSON; enough to tell whose file it is without a YAML parser.
_NAME = re.compile(r"""^[\s{\[,-]*["']?name["']?\s*:\s*["']?([^"'\s,}]+)""", re.MULTILINE)


def clean(text: str) -> bytes:
    """Return what ``k3d kubeconfig get`` printed as the content of a file.

    Raises MtlsError when it is not a kubeconfig; it holds a private key, so it is not shown.
    """
    body = text.removeprefix("---").lstrip("\n")
    if "clusters:" not in body or "users:" not in body:
        raise MtlsError("k3d has not printed a kubeconfig. Run 'k3d kubeconfig get' yourself to see what it says.")
    return body.encode()


def check_owner(path: Path, *, cluster: str) -> bool:
    """Return whether ``path`` exists and holds the kubeconfig of ``cluster`` alone.

    Raises MtlsError when it holds something else: it may be the user's own, and is not ours to replace.
    """
    if not path.exists():
        return False
    text = read_bytes(path, what="kubeconfig").decode(errors="replace")
    if not text.strip():
        return True
    others = sorted(set(_NAME.findall(text)) - {f"k3d-{cluster}", f"admin@k3d-{cluster}"})
    if others or not _NAME.search(text):
        what = f"holds {', '.join(others)} as well" if others else "is not a kubeconfig"
        raise MtlsError(
            f"The file {path} {what}, so the kubeconfig of the cluster {cluster} is not written there. "
            "Name a file for this cluster alone.",
            path=str(path),
        )
    return True


def is_current(path: Path, content: bytes) -> bool:
    """Return whether ``path`` has this content and is readable by its owner only."""
    with contextlib.suppress(OSError):
        return path.read_bytes() == content and path.stat().st_mode & 0o777 == KEY_MODE
    return False


def write(path: Path, content: bytes) -> None:
    """Write ``content`` for the owner's eyes only. Raises MtlsError when that is not possible."""
    if not path.parent.exists():
        ensure_directory(path.parent)
    write_atomic(path, content, mode=KEY_MODE)


def remove(path: Path) -> None:
    """Remove ``path``. Raises MtlsError when that is not possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise MtlsError(f"The kubeconfig {path} cannot be removed: {exc.strerror}.", path=str(path)) from exc
