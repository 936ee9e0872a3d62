# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cryptography raises for content that is not what it claims to be: it parses lazily, so anywhere.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

PARSE_ERRORS: tuple[type[Exception], ...] = (ValueError, TypeError, OverflowError, NotImplementedError)

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
except ImportError:
    pass  # the module's edge reports it
else:
    PARSE_ERRORS = (
        *PARSE_ERRORS,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text without its final dot, for use inside a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
