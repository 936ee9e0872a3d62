# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception family of the collection.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import typing as t

_UNCHANGED = "Nothing was changed."


class MtlsError(Exception):
    """A refusal in words: what failed, on what, why, and what to do.

    ``details`` are further facts that a module returns beside ``msg`` (JSON-serialisable, never key material).
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.details = details


@contextlib.contextmanager
def before_any_change() -> t.Iterator[None]:
    """Say in every error that nothing was changed: for code that only reads, checks and plans."""
    try:
        yield
    except MtlsError as exc:
        if _UNCHANGED.lower() in str(exc).lower():
            raise
        raise MtlsError(f"{sentence(str(exc))} {_UNCHANGED}", **exc.details) from exc


def sentence(text: str) -> str:
    """Return ``text`` with the full stop at its end that it may have already, as sentences of other programs do."""
    bare = text.rstrip()
    return bare if bare.endswith((".", "!", "?")) else f"{bare}."
